"""How plans.json and dataset.json of nnU-Net v2 prepare volumes, as settings of ours.

Names of functions in the plans are looked up among those that are known; nothing is imported by
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from MISFMLib.configs import IntensityConfig, InterpolationConfig, PreprocessingConfig
from MISFMLib.jobs.imports.nnunet_network import size_of
from MISFMLib.jobs.imports.sources import refused

Json = Mapping[str, Any]

_SCHEMES = {
    "CTNormalization": "ct-percentile",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "unit-range",
    "RGBTo01Normalization": "divide-255",
}
_ORIENTATIONS = {
    "SimpleITKIO": "",
    "NibabelIO": "",
    "NibabelIOWithReorient": "RAS",
    "SimpleITKIOWithReorient": "RAS",
}
_SLICES = 2
_RESAMPLING_DEFAULTS = {
    "separate_z_anisotropy_threshold": 3,
    "mode": "linear",
    "aniso_axis_mode": "nearest-exact",
}
"""Arguments of nnU-Net's resampling functions that plans may set but never were seen to change."""


def resolved(plans: Json, name: str) -> dict[str, Any]:
    """Return a configuration of the plans with what it inherits.

    Raises:
        BundleError: There is no such configuration, or it inherits from itself.
    """
    chain: list[str] = []
    current: str | None = name
    while current is not None:
        configurations = plans.get("configurations", {})
        if current not in configurations or current in chain:
            raise refused(f"The plans have no usable configuration {current!r}.")
        chain.append(current)
        current = configurations[current].get("inherits_from")
    values: dict[str, Any] = {}
    for link in reversed(chain):
        values |= plans["configurations"][link]
    return values


def preprocessing_config(
    plans: Json, configuration: Json, dataset: Json, mirror_axes: tuple[int, ...]
) -> PreprocessingConfig:
    """Return how a configuration prepares volumes, and the way back.

    Args:
        plans: The plans.
        configuration: Resolved configuration of the plans.
        dataset: ``dataset.json``.
        mirror_axes: Axes that the checkpoint allows to mirror, counted as the network's.

    Raises:
        BundleError: Something in the plans is not known.
    """
    _check_names(plans, configuration)
    reader = str(plans.get("image_reader_writer") or dataset.get("overwrite_image_reader_writer"))
    if reader not in _ORIENTATIONS:
        raise refused(f"The model reads its images with {reader}; known are those of volumes.")
    patch = size_of(configuration["patch_size"])
    is_slices = len(configuration["patch_size"]) == _SLICES
    spacing = [float(edge) for edge in configuration["spacing"]]
    if is_slices:
        spacing = [float(plans["original_median_spacing_after_transp"][0]), *spacing]
        mirror_axes = tuple(axis + 1 for axis in mirror_axes)
    names = channel_names(dataset)
    images = interpolation(configuration, "data", 3)
    if images is None:  # the hack that leaves all voxels as they are
        spacing, images = [], InterpolationConfig()
    first, second, third = plans.get("transpose_forward", (0, 1, 2))
    return PreprocessingConfig(
        modality=_modality(names, configuration),
        channels=tuple(names),
        intensity=_intensities(plans, configuration, len(names)),
        spacing_dhw=(spacing[0], spacing[1], spacing[2]) if spacing else None,
        orientation=_ORIENTATIONS[reader],
        transpose=(int(first), int(second), int(third)),
        crop="nonzero",
        crop_margin=0,
        keeps_depth=is_slices,
        resampling=images,
        restoring=interpolation(configuration, "probabilities", 1) or InterpolationConfig(),
        padding="zero",
        windows="even",
        skips_air=False,
        patch_size=patch,
        mirror_axes=mirror_axes,
    )


def channel_names(dataset: Json) -> list[str]:
    """Return the names of the channels in their order, made unique."""
    given = dataset.get("channel_names") or dataset.get("modality") or {}
    names = [str(given[key]) for key in sorted(given, key=int)]
    if not names:
        raise refused("dataset.json names no channel.")
    return [f"{name} {i}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _check_names(plans: Json, configuration: Json) -> None:
    known = {
        "preprocessor_name": (configuration.get("preprocessor_name"), "DefaultPreprocessor"),
        "label_manager": (plans.get("label_manager"), "LabelManager"),
    }
    for key, (given, expected) in known.items():
        if given not in (None, expected):
            raise refused(f"The plans name the {key} {given}; known is {expected}.")


def previous_choice(configuration: Json) -> Literal["nearest", "lowest", "above-half"]:
    """Return which label of the model before a voxel takes, by the resampling of a cascade."""
    if not str(configuration.get("resampling_fn_seg", "")).startswith("resample_torch"):
        return "nearest"
    arguments = configuration.get("resampling_fn_seg_kwargs") or {}
    return "above-half" if arguments.get("memefficient_seg_resampling") else "lowest"


def interpolation(configuration: Json, what: str, order: int) -> InterpolationConfig | None:
    """Return how ``data``, ``seg`` or ``probabilities`` are resampled; None where they are not.

    Args:
        configuration: Resolved configuration of the plans.
        what: Which of the three.
        order: Order of the spline where the plans name none.

    Raises:
        BundleError: The plans name a way that is not known.
    """
    name = configuration.get(f"resampling_fn_{what}", "resample_data_or_seg_to_shape")
    arguments = configuration.get(f"resampling_fn_{what}_kwargs") or {}
    if name == "no_resampling_hack":
        return None
    defaults = {**_RESAMPLING_DEFAULTS, "is_seg": what == "seg"}
    unusual = {
        key: value
        for key, value in arguments.items()
        if value is not None and value != defaults.get(key, value)
    }
    if unusual:
        raise refused(f"The plans resample {what} with {unusual}, which is not known.")
    if name in ("resample_torch_fornnunet", "resample_torch_simple"):
        apart = False if name == "resample_torch_simple" else arguments.get("force_separate_z")
        return InterpolationConfig(order=1, separate=_separate(apart))
    if name != "resample_data_or_seg_to_shape":
        raise refused(f"The plans resample {what} with {name}, which is not known.")
    across = arguments.get("order_z", 0)
    order = arguments.get("order", order)
    highest = 3 if what == "data" else 1
    if not {order, across} <= set(range(highest + 1)) - {2}:
        raise refused(f"The plans resample {what} with orders {order} and {across}.")
    return InterpolationConfig(
        order=order,  # type: ignore[arg-type]
        separate=_separate(arguments.get("force_separate_z")),
        order_across=across,
    )


def _separate(forced: bool | None) -> Any:
    return {None: "anisotropic", True: "always", False: "never"}[forced]


def _intensities(plans: Json, configuration: Json, count: int) -> tuple[IntensityConfig, ...]:
    properties = plans.get("foreground_intensity_properties_per_channel") or plans.get(
        "foreground_intensity_properties_by_modality", {}
    )
    names, masks = configuration["normalization_schemes"], configuration["use_mask_for_norm"]
    if len(names) != count:
        raise refused(f"The plans normalise {len(names)} channels, dataset.json has {count}.")
    return tuple(
        _intensity(name, bool(mask), properties.get(str(channel), {}))
        for channel, (name, mask) in enumerate(zip(names, masks, strict=True))
    )


def _intensity(name: str, is_masked: bool, properties: Json) -> IntensityConfig:
    scheme = _SCHEMES.get(name)
    if scheme is None:
        raise refused(f"The plans normalise with {name}; known are {', '.join(_SCHEMES)}.")
    if scheme == "zscore" and is_masked:
        return IntensityConfig(scheme="zscore-inside")
    if scheme != "ct-percentile":
        return IntensityConfig(scheme=scheme)  # type: ignore[arg-type]
    return IntensityConfig(
        scheme="ct-percentile",
        clip=(float(properties["percentile_00_5"]), float(properties["percentile_99_5"])),
        mean=float(properties["mean"]),
        std=max(float(properties["std"]), 1e-8),
    )


def _modality(names: list[str], configuration: Json) -> Any:
    if "CTNormalization" in configuration["normalization_schemes"]:
        return "CT"
    words = " ".join(names).lower()
    if any(word in words for word in ("ct", "hounsfield")) and "rgb" not in words:
        return "CT" if words.split()[0] == "ct" else "other"
    is_mr = any(word in words for word in ("mr", "t1", "t2", "flair", "adc", "dwi"))
    return "MR" if is_mr else "other"
