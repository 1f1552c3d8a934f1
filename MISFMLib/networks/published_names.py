"""What the tensors of the published networks are called, and what their shapes tell.

Source of the names: `net/pct_net.py`, `net/transformer.py` and `net/fmunet.py` of
github.com/openmedlab/MIS-FM.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from MISFMLib.configs import NetworkConfig, ResolutionMode
from MISFMLib.errors import BundleError

_NORMED_CONV = {"0": "norm", "1": "activation", "2": "conv"}
_CONV_BLOCK = {
    "0": "norm1",
    "1": "activation1",
    "2": "conv1",
    "3": "norm2",
    "4": "activation2",
    "6": "conv2",
}
_TRANSFORMER_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn": "attention",
    "attn.qkv": "attention.qkv",
    "attn.proj": "attention.project",
    "mlp.fc1": "mlp.expand",
    "mlp.fc2": "mlp.shrink",
}
_FMUNET_CONV = {"0": "norm", "2": "conv"}
_FMUNET_STEP = {"0": "norm", "3": "conv"}


def rename(published: str, modules: Mapping[str, str]) -> str | None:
    """Translate the name of a tensor, or return None when `modules` lacks its module."""
    module, _, tensor = published.rpartition(".")
    if module not in modules:
        return None
    tensor = {"relative_position_bias_table": "bias_table"}.get(tensor, tensor)
    return f"{modules[module]}.{tensor}"


def pctnet_modules(config: NetworkConfig) -> dict[str, str]:
    """Map the modules of the published PCT-Net that the configured mode uses to ours."""
    stem = f"embeddings.{config.resolution_mode}"
    head = f"pred_heads.{config.resolution_mode}"
    modules = {f"{stem}.proj": "project"}
    for level in (0, 1):
        modules |= _inside(f"{stem}.conv{level}.conv_conv", f"encoder.blocks.{level}", _CONV_BLOCK)
        modules |= _inside(f"{head}.conv{level}.conv_conv", f"decoder.blocks.{level}", _CONV_BLOCK)
    for level in range(4):
        upper = level < 2
        # The published numbers name the coarser of the two levels that they lie between.
        down = f"{stem if upper else 'pyramid_ct'}.down{level + 1}"
        modules |= _inside(f"{down}.conv", f"encoder.downs.{level}", _NORMED_CONV)
        up = f"{head if upper else 'pyramid_ct'}.up{level + 1}"
        modules |= _inside(f"{up}.up", f"decoder.ups.{level}.up", _NORMED_CONV)
        modules |= _inside(f"{up}.conv", f"decoder.ups.{level}.merge", _NORMED_CONV)
        out = f"{head if upper else 'pyramid_ct'}.out_conv{level}"
        modules |= _inside(f"{out}.conv", f"heads.{level}", _NORMED_CONV)
    for level, depth in zip((2, 3, 4), config.depths, strict=True):
        theirs, ours = "pyramid_ct.convtrans_e", "encoder.blocks."
        modules |= _conv_transformer(f"{theirs}{level}", f"{ours}{level}", depth)
    for level, depth in zip((2, 3), config.depths, strict=False):
        theirs, ours = "pyramid_ct.convtrans_d", "decoder.blocks."
        modules |= _conv_transformer(f"{theirs}{level}", f"{ours}{level}", depth)
    return modules


def fmunet_modules(config: NetworkConfig) -> dict[str, str]:
    """Map the modules of the published FMUNet to ours."""
    modules = {"project": "project"}
    for level in range(5):
        decoder = f"decoder.blocks.{level}" if level < 4 else "bottom"
        for i in range(config.depths[0]):
            step = f"conv{level}.conv_list.{i}"
            modules |= _inside(f"encoder.en_{step}", f"encoder.blocks.{level}.{i}", _FMUNET_STEP)
            modules |= _inside(f"decoder.de_{step}", f"{decoder}.{i}", _FMUNET_STEP)
    for level in range(4):
        up = f"decoder.upcat{level}"
        modules |= _inside(f"encoder.down{level}.down", f"encoder.downs.{level}", _FMUNET_CONV)
        modules |= _inside(f"{up}.up", f"decoder.ups.{level}.up", _FMUNET_CONV)
        modules |= _inside(f"{up}.conv", f"decoder.ups.{level}.merge", _FMUNET_CONV)
        modules |= _inside(f"out_layers.{level}", f"heads.{level}", _FMUNET_CONV)
    return modules


def pctnet_config(tensors: Mapping[str, Tensor], mode: ResolutionMode) -> NetworkConfig:
    """Infer the settings of a published PCT-Net from its tensors; the mode is not in them."""
    project = _shape(tensors, f"embeddings.{mode}.proj.weight")
    channels = [project[0]] + [
        _shape(tensors, f"{place}.conv.2.weight")[0]
        for place in (
            f"embeddings.{mode}.down1",
            f"embeddings.{mode}.down2",
            "pyramid_ct.down3",
            "pyramid_ct.down4",
        )
    ]
    blocks = [f"pyramid_ct.convtrans_e{level}.trans.blocks" for level in (2, 3, 4)]
    tables = [
        _shape(tensors, f"{place}.0.attn.relative_position_bias_table", axes=2) for place in blocks
    ]
    return NetworkConfig(
        architecture="pctnet",
        in_channels=project[1],
        num_classes=_shape(tensors, f"pred_heads.{mode}.out_conv0.conv.2.weight")[0],
        level_channels=tuple(channels),
        resolution_mode=mode,
        depths=tuple(_count(tensors, place) for place in blocks),
        num_heads=tuple(heads for _, heads in tables),
        window_sizes=tuple(_window(rows) for rows, _ in tables),
    )


def fmunet_config(tensors: Mapping[str, Tensor]) -> NetworkConfig:
    """Infer the settings of a published FMUNet from its tensors."""
    project = _shape(tensors, "project.weight")
    second = _shape(tensors, "encoder.en_conv1.conv_list.0.3.weight")
    flat_levels = (project[2] == 1) + (second[2] == 1)
    modes: tuple[ResolutionMode, ...] = (0, 1, 2)
    return NetworkConfig(
        architecture="fmunet",
        in_channels=project[1],
        num_classes=_shape(tensors, "out_layers.0.2.weight")[0],
        level_channels=tuple(
            _shape(tensors, f"encoder.en_conv{level}.conv_list.0.3.weight")[0] for level in range(5)
        ),
        resolution_mode=modes[flat_levels],
        depths=(_count(tensors, "encoder.en_conv0.conv_list"),) * 3,
    )


def _conv_transformer(theirs: str, ours: str, depth: int) -> dict[str, str]:
    modules = _inside(f"{theirs}.conv.conv_conv", f"{ours}.conv", _CONV_BLOCK)
    for i in range(depth):
        block = f"{theirs}.trans.blocks.{i}"
        modules |= _inside(block, f"{ours}.transformer.{i}", _TRANSFORMER_BLOCK)
    return modules


def _inside(theirs: str, ours: str, parts: Mapping[str, str]) -> dict[str, str]:
    return {f"{theirs}.{part}": f"{ours}.{name}" for part, name in parts.items()}


def _shape(tensors: Mapping[str, Tensor], name: str, axes: int = 5) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim != axes:
        raise BundleError(
            f"The checkpoint lacks the tensor {name} with {axes} axes.",
            code="checkpoint-incomplete",
            remedy="Get the file again, or choose a resolution mode that it holds.",
        )
    return tuple(tensors[name].shape)


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Count the modules that are numbered behind a prefix."""
    matches = (re.match(rf"{re.escape(prefix)}\.(\d+)\.", name) for name in tensors)
    return len({match[1] for match in matches if match})


def _window(rows: int) -> int:
    """Invert rows = (2 window - 1)^3."""
    edge: int = round(rows ** (1 / 3))
    if edge**3 != rows or edge % 2 == 0:
        raise BundleError(
            f"A relative position bias table has {rows} rows, which fits no window.",
            code="checkpoint-bad-table",
            remedy="The checkpoint comes from a changed network, which is not supported.",
        )
    return (edge + 1) // 2
