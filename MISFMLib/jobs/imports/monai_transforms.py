"""Transforms before the network of bundles in MONAI's form, as settings of ours.

A name that is not known is refused, since leaving a step out would change the labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from MISFMLib.jobs.imports.monai_config import Unknown
from MISFMLib.jobs.imports.sources import refused

Component = Mapping[str, Any]

WITHOUT_EFFECT = {
    "LoadImaged",
    "EnsureChannelFirstd",
    "AddChanneld",
    "AsChannelFirstd",
    "EnsureTyped",
    "ToTensord",
    "CastToTyped",
    "SelectItemsd",
    "DeleteItemsd",
    "ToDeviced",
    "Identityd",
    "SaveImaged",
    "CopyItemsd",
}
"""Transforms that change no voxel."""
_CALLING = ("_target_", "keys", "key", "allow_missing_keys", "_mode_", "lazy", "dtype", "meta_keys")
_ONE_VERSION_AGO = (1, 5)


@dataclass
class Preparation:
    """What the transforms before the network do."""

    orientation: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    spacing: tuple[float, float, float] | None = None
    """None where an axis keeps its own."""

    def orient(self, axcodes: str) -> None:
        """Turn the axes: before all, unless a step so far depends on how they lie."""
        if self.orientation or any(step["step"] in _OF_AXES for step in self.steps):
            self.steps.append({"step": "orientation", "axcodes": axcodes})
        else:
            self.orientation = axcodes


def short_name(component: Component) -> str:
    """Return the name of a component's class; dictionary transforms as in ``Spacingd``.

    Of a class that is not MONAI's the whole path: by its last part it could pass for one.
    """
    path = str(component.get("_target_", ""))
    if "." in path and not path.startswith("monai."):
        return path
    name = path.rsplit(".", 1)[-1]
    for suffix in ("Dict", "D"):
        if name.endswith(suffix) and len(name) > len(suffix) and name[-len(suffix) - 1].islower():
            return name.removesuffix(suffix) + "d"
    return name


def listed(compose: Any) -> list[Component]:
    """Return the transforms of a ``Compose``, of nested ones too."""
    items = compose.get("transforms", []) if isinstance(compose, Mapping) else compose
    if isinstance(items, Unknown):
        raise refused(f"The transforms of the bundle cannot be read: {items.why}.")
    found: list[Component] = []
    for item in items or []:
        if not isinstance(item, Mapping):
            raise refused(f"The bundle has a transform {item!r} that cannot be read.")
        found += listed(item) if short_name(item) == "Compose" else [item]
    return found


def preparation_of(transforms: Sequence[Component], version: tuple[int, ...]) -> Preparation:
    """Return the steps before the network.

    Args:
        transforms: In their order.
        version: Of MONAI, that the bundle was made for; some defaults changed.

    Raises:
        BundleError: One of them is not known.
    """
    result = Preparation()
    for transform in transforms:
        name = short_name(transform)
        if name in WITHOUT_EFFECT:
            if name == "LoadImaged" and transform.get("as_closest_canonical"):
                result.orient("RAS")
            _check_type(name, transform)
            continue
        settings = settings_of(transform)
        if name == "Orientationd":
            result.orient(_axes(settings))
        elif name == "CropForegroundd":
            result.steps.append(_crop(settings, version))
        else:
            result.steps.append(_step(name, settings))
        if name == "Spacingd":
            first, second, third = pixdim = result.steps[-1]["pixdim"]
            result.spacing = (first, second, third) if min(pixdim) > 0 else None
    return result


def _check_type(name: str, transform: Component) -> None:
    """Refuse to cut intensities off to whole numbers."""
    given = single(transform.get("dtype"))
    text = given.why if isinstance(given, Unknown) else str(given)
    if name != "LoadImaged" and re.search("int|long|short|bool", text):
        raise refused(f"{name} of the bundle makes whole numbers of intensities ({text}).")


def _step(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    if name == "Spacingd":
        return _spacing(settings)
    if name in _PADS:
        return _pad(name, settings)
    if name in _INTENSITIES:
        return _intensity(name, settings)
    raise refused(f"The bundle prepares volumes with {name}, which is not known.")


def settings_of(transform: Component) -> dict[str, Any]:
    """Return the settings of a transform that are not about where its image lies.

    Raises:
        BundleError: One of them cannot be read.
    """
    settings = {key: value for key, value in transform.items() if key not in _CALLING}
    for key, value in settings.items():
        if isinstance(value, Unknown):
            raise refused(f"{key} of {short_name(transform)} cannot be read: {value.why}.")
    return settings


def _spacing(settings: Mapping[str, Any]) -> dict[str, Any]:
    given = settings["pixdim"]
    pixdim = [float(edge) for edge in _three(given)]
    mode = single(settings.get("mode", "bilinear"))
    padding = single(settings.get("padding_mode", "border"))
    others = ("diagonal", "scale_extent", "align_corners", "recompute_affine")
    unusual = [key for key in others if settings.get(key)]
    unusual += [key for key in ("min_pixdim", "max_pixdim") if settings.get(key) is not None]
    if mode not in ("bilinear", "nearest", 0, 1) or padding != "border" or unusual:
        what = ", ".join([f"mode {mode}", f"padding {padding}", *unusual])
        raise refused(f"Spacingd of the bundle uses {what}, which is not known.")
    return {"step": "spacing", "pixdim": pixdim, "order": int(mode in ("bilinear", 1))}


def single(value: Any) -> Any:
    """Return the value, or the first of several."""
    return value[0] if isinstance(value, list) and value else value


def _crop(settings: Mapping[str, Any], version: tuple[int, ...]) -> dict[str, Any]:
    unusual = [k for k in ("select_fn", "channel_indices") if settings.get(k) is not None]
    if unusual:
        raise refused(f"CropForegroundd of the bundle sets {unusual}.")
    margin = [int(edge) for edge in _three(settings.get("margin", 0))]
    divisor = [int(edge) for edge in _three(settings.get("k_divisible", 1))]
    allow_smaller = bool(settings.get("allow_smaller", version < _ONE_VERSION_AGO))
    may_pad = max(divisor) > 1 or (max(margin) > 0 and not allow_smaller)
    if may_pad and single(settings.get("mode", "constant")) != "constant":
        raise refused("CropForegroundd of the bundle pads otherwise than with zeros.")
    return {
        "step": "crop-foreground",
        "margin": margin,
        "divisor": divisor,
        "allow_smaller": allow_smaller,
    }


_PADS = {"SpatialPadd": "spatial_size", "DivisiblePadd": "k"}
_OF_AXES = ("spacing", "crop-foreground", "pad")


def _pad(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    unusual = [key for key in settings if key not in ("method", "mode", _PADS[name])]
    unusual = [key for key in unusual if settings[key] not in (0, 0.0, None)]
    if single(settings.get("mode", "constant")) != "constant" or unusual:
        raise refused(f"{name} of the bundle pads otherwise than with zeros.")
    kind = "divisor" if name == "DivisiblePadd" else "size"
    edges = [int(edge) for edge in _three(settings[_PADS[name]])]
    return {"step": "pad", kind: edges, "at_end": settings.get("method", "symmetric") == "end"}


def _axes(settings: Mapping[str, Any]) -> str:
    if settings.get("as_closest_canonical"):
        return "RAS"
    return str(settings["axcodes"])


def _three(value: Any) -> list[Any]:
    """Return a value for each axis; the last one is repeated, as in MONAI."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return (values + values[-1:] * 3)[:3]


_INTENSITIES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "ScaleIntensityRanged": (
        "scale-range",
        {"a_min": ..., "a_max": ..., "b_min": None, "b_max": None, "clip": False},
    ),
    "ScaleIntensityRangePercentilesd": (
        "percentile-range",
        {
            "lower": ...,
            "upper": ...,
            "b_min": None,
            "b_max": None,
            "clip": False,
            "channel_wise": False,
        },
    ),
    "ClipIntensityPercentilesd": (
        "clip-percentiles",
        {"lower": None, "upper": None, "channel_wise": False},
    ),
    "ThresholdIntensityd": ("threshold", {"threshold": ..., "above": True, "cval": 0.0}),
    "ScaleIntensityd": ("scale", {"minv": 0.0, "maxv": 1.0, "channel_wise": False}),
    "NormalizeIntensityd": (
        "normalize",
        {"nonzero": False, "channel_wise": False, "subtrahend": None, "divisor": None},
    ),
}
_MUST_BE_OFF = ("relative", "factor", "sharpness_factor", "return_clipping_values")


def _intensity(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    step, defaults = _INTENSITIES[name]
    unknown = [key for key in settings if key not in defaults and key not in _MUST_BE_OFF]
    unknown += [key for key in _MUST_BE_OFF if settings.get(key)]
    missing = [key for key, value in defaults.items() if value is ... and key not in settings]
    if unknown or missing:
        raise refused(f"{name} of the bundle sets {', '.join(unknown)} and lacks {missing}.")
    return {"step": step, **{key: settings.get(key, value) for key, value in defaults.items()}}
