"""The names that nnU-Net gives to the tensors of its networks, and ours for the same tensors.

nnU-Net keeps most tensors under several names (``all_modules``, ``decoder.encoder``) that share
memory; one name of each is read. Weights for slices become weights for volumes one voxel deep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from MISFMLib.configs import NetworkConfig
from MISFMLib.errors import BundleError

_REPEATED = re.compile(r"(^|\.)all_modules\.|^decoder\.encoder\.")
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+")

_RULES: tuple[tuple[str, str], ...] = (
    (r"encoder\.stem\.convs\.0\.(conv|norm)\.", r"project.\1."),
    (r"encoder\.stages\.(\d+)\.0\.convs\.(\d+)\.(conv|norm)\.", r"encoder.blocks.\1.\2.\3."),
    (
        r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.(conv[12])\.(conv|norm)\.",
        r"encoder.blocks.\1.\2.\3.\4.",
    ),
    (
        r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.skip\.[01]\.(conv|norm)\.",
        r"encoder.blocks.\1.\2.shortcut.\3.",
    ),
)
_DECODER_RULES: tuple[tuple[str, str], ...] = (
    (r"decoder\.stages\.(\d+)\.convs\.(\d+)\.(conv|norm)\.", r"decoder.blocks.{level}.\2.\3."),
    (r"decoder\.transpconvs\.(\d+)\.", r"decoder.ups.{level}.up."),
    (r"decoder\.seg_layers\.(\d+)\.", r"heads.{level}.conv."),
)


def from_nnunet(weights: Mapping[str, Tensor], config: NetworkConfig) -> dict[str, Tensor]:
    """Rename the weights of a network of nnU-Net, without the heads of deep supervision.

    Args:
        weights: ``network_weights`` of a checkpoint.
        config: The network they belong to.

    Returns:
        Tensors by the names of `build_network`, of five dimensions where they are kernels.

    Raises:
        BundleError: A name belongs to none of the networks that are known.
    """
    levels = len(config.level_channels) - 1
    renamed, unknown = {}, []
    for given, tensor in weights.items():
        name = _WRAPPERS.sub("", given)
        if _REPEATED.search(name):
            continue
        new = _renamed(name, levels)
        if new is None:
            unknown.append(name)
        elif not re.match(r"heads\.[1-9]", new):
            renamed[new] = tensor[:, :, None] if tensor.ndim == 4 else tensor
    if unknown:
        raise BundleError(
            f"{len(unknown)} tensors belong to no network of nnU-Net that is known, such as "
            f"{unknown[0]}: the trainer builds a network of its own.",
            code="nnunet-network",
            remedy="Only PlainConvUNet and ResidualEncoderUNet can be imported.",
        )
    return renamed


def _renamed(name: str, levels: int) -> str | None:
    for pattern, template in _RULES:
        if re.match(pattern, name):
            return re.sub("^" + pattern, template, name)
    for pattern, template in _DECODER_RULES:
        if match := re.match(pattern, name):
            # nnU-Net counts the stages of the decoder from the coarsest.
            level = levels - 1 - int(match[1])
            return re.sub("^" + pattern, template.format(level=level), name)
    return None


def to_nnunet(weights: Mapping[str, Tensor], config: NetworkConfig) -> dict[str, Tensor]:
    """Return the weights of one network by all names that nnU-Net expects.

    Heads of deep supervision, which no prediction uses, are zero.

    Args:
        weights: Tensors by the names of `build_network`.
        config: The network they belong to.
    """
    levels = len(config.level_channels) - 1
    is_flat = is_for_slices(config)
    named: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        values = tensor[:, :, 0] if is_flat and tensor.ndim == 5 else tensor
        for given in _given_names(name, levels, config):
            named[given] = values
    dimensions = 2 if is_flat else 3
    for level in range(1, levels):
        stage = f"decoder.seg_layers.{levels - 1 - level}"
        shape = (config.num_classes, config.level_channels[level], *(1,) * dimensions)
        named[f"{stage}.weight"] = torch.zeros(shape)
        named[f"{stage}.bias"] = torch.zeros(config.num_classes)
    return named


def is_for_slices(config: NetworkConfig) -> bool:
    """Tell whether a network of nnU-Net was made for slices."""
    stages = config.stages
    return stages is not None and all(size[0] == 1 for size in (*stages.kernels, *stages.strides))


def _given_names(name: str, levels: int, config: NetworkConfig) -> list[str]:
    """Return all names that nnU-Net has for a tensor."""
    parts = name.split(".")
    if parts[0] == "heads":
        return [f"decoder.seg_layers.{levels - 1 - int(parts[1])}.{parts[3]}"]
    if name.startswith("decoder.ups."):
        return [f"decoder.transpconvs.{levels - 1 - int(parts[2])}.{parts[4]}"]
    layer, kind = parts[-2], parts[-1]
    if parts[0] == "project":
        place = "encoder.stem.convs.0"
    elif parts[0] == "decoder":
        place = f"decoder.stages.{levels - 1 - int(parts[2])}.convs.{parts[3]}"
    elif config.architecture == "plainconvunet":
        place = f"encoder.stages.{parts[2]}.0.convs.{parts[3]}"
    else:
        block = f"encoder.stages.{parts[2]}.blocks.{parts[3]}"
        place = f"{block}.{_branch(parts, config)}"
    number = {"conv": 0, "norm": 1}[layer]
    names = [f"{place}.{layer}.{kind}", f"{place}.all_modules.{number}.{kind}"]
    if place.startswith("encoder."):
        names += [f"decoder.{given}" for given in names]
    return names


def _branch(parts: list[str], config: NetworkConfig) -> str:
    """Return the name of a part of a residual block."""
    if parts[4] != "shortcut":
        return parts[4]
    assert config.stages is not None
    is_strided = config.stages.strides[int(parts[2])] != (1, 1, 1) and parts[3] == "0"
    return f"skip.{int(is_strided)}"
