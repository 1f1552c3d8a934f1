"""The network that plans.json of nnU-Net v2 describes, as settings of ours.

Names of classes are looked up among those that are known; nothing is imported by them. Old plans
(2.0 to 2.2) describe the network with keys of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from MISFMLib.configs import NetworkConfig, Size, StagesConfig
from MISFMLib.jobs.imports.sources import refused

Json = Mapping[str, Any]

_ARCHITECTURES = {"PlainConvUNet": "plainconvunet", "ResidualEncoderUNet": "resencunet"}
_SCHEMES = {
    "CTNormalization": "ct-percentile",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "unit-range",
    "RGBTo01Normalization": "divide-255",
}
_NORMS = {
    "InstanceNorm2d": "instance",
    "InstanceNorm3d": "instance",
    "BatchNorm2d": "batch",
    "BatchNorm3d": "batch",
}
_UNSUPPORTED_ARGUMENTS = ("block", "bottleneck_channels", "stem_channels", "nonlin_first")
_SLICES = 2


def network_config(
    configuration: Json, in_channels: int, num_classes: int, *, is_batch_norm: bool
) -> NetworkConfig:
    """Return the network of a configuration.

    Args:
        configuration: Resolved configuration of the plans.
        in_channels: Channels of its input.
        num_classes: Outputs.
        is_batch_norm: Whether the weights hold the statistics of batch norms; some trainers replace
            the norms of the plans by those.

    Raises:
        BundleError: The network is none of those that are known.
    """
    name, arguments = _architecture(configuration)
    stages = int(arguments["n_stages"])
    blocks_key = "n_conv_per_stage" if name == "plainconvunet" else "n_blocks_per_stage"
    decoder = arguments.get("n_conv_per_stage_decoder", 1)
    norm = _short(arguments.get("norm_op"))
    if norm and norm not in _NORMS:
        raise refused(f"The network normalises with {norm}, which is not known.")
    is_flat = len(configuration["patch_size"]) == _SLICES
    kernels, strides = (_repeated(arguments[key], stages) for key in ("kernel_sizes", "strides"))
    norm_arguments = arguments.get("norm_op_kwargs") or {}
    return NetworkConfig(
        architecture=name,  # type: ignore[arg-type]
        in_channels=in_channels,
        num_classes=num_classes,
        level_channels=tuple(map(int, _repeated(arguments["features_per_stage"], stages))),
        stages=StagesConfig(
            kernels=tuple(size_of(size, is_flat) for size in kernels),
            strides=tuple(size_of(size, is_flat) for size in strides),
            blocks=tuple(map(int, _repeated(arguments[blocks_key], stages))),
            decoder_blocks=tuple(map(int, _repeated(decoder, stages - 1))),
            norm="batch" if is_batch_norm else _NORMS.get(norm, "none"),  # type: ignore[arg-type]
            norm_eps=float(norm_arguments.get("eps", 1e-5)),
            norm_affine=bool(norm_arguments.get("affine", is_batch_norm or "Batch" in norm)),
            conv_bias=bool(arguments.get("conv_bias", False)),
            slope=_slope(arguments),
        ),
    )


def _architecture(configuration: Json) -> tuple[str, Json]:
    """Return our name of the network and its arguments in the form of plans since 2.3."""
    if "architecture" in configuration:
        architecture = configuration["architecture"]
        path, arguments = architecture["network_class_name"], architecture["arch_kwargs"]
    else:
        path, arguments = configuration.get("UNet_class_name", "none"), _translated(configuration)
    name = _ARCHITECTURES.get(_short(path))
    if name is None:
        raise refused(
            f"The network is {path}, known are {' and '.join(_ARCHITECTURES)}.",
            "Networks of other kinds cannot be imported.",
        )
    used = [key for key in _UNSUPPORTED_ARGUMENTS if arguments.get(key)]
    if used and not (used == ["block"] and _short(arguments["block"]) == "BasicBlockD"):
        raise refused(f"The network sets {', '.join(used)}, which is not known here.")
    return name, arguments


def _translated(configuration: Json) -> dict[str, Any]:
    """Return the arguments of a network that plans of 2.0 to 2.2 describe."""
    encoder = configuration.get("n_conv_per_stage_encoder")
    if not encoder:
        raise refused("The plans describe no network.")
    base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    return {
        "n_stages": len(encoder),
        "features_per_stage": [min(base * 2**stage, most) for stage in range(len(encoder))],
        "kernel_sizes": configuration["conv_kernel_sizes"],
        "strides": configuration["pool_op_kernel_sizes"],
        "n_conv_per_stage": encoder,
        "n_blocks_per_stage": encoder,
        "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": "InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "LeakyReLU",
    }


def _slope(arguments: Json) -> float:
    name = _short(arguments.get("nonlin"))
    if name == "ReLU":
        return 0.0
    if name != "LeakyReLU":
        raise refused(f"The network activates with {name or 'nothing'}, which is not known.")
    return float((arguments.get("nonlin_kwargs") or {}).get("negative_slope", 0.01))


def _short(path: Any) -> str:
    return str(path).rsplit(".", 1)[-1] if path else ""


def _repeated(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * count


def size_of(edges: Any, is_flat: bool = False) -> Size:
    """Return three edges of one, two or three; networks of slices are one voxel deep."""
    if isinstance(edges, int):
        edges = [edges] * (_SLICES if is_flat else 3)
    depth, height, width = (1, *edges) if len(edges) == _SLICES else edges
    return int(depth), int(height), int(width)
