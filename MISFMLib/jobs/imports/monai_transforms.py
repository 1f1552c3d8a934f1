"""Transforms and inferers of bundles in MONAI's form, as settings of ours.

A name that is not known is refused, since leaving a step out would change the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from MISFMLib.jobs.imports.monai_config import Unknown
from MISFMLib.jobs.imports.sources import refused

Component = Mapping[str, Any]

_WITHOUT_EFFECT = {
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
_CALLING = ("_target_", "keys", "key", "allow_missing_keys", "_mode_", "lazy", "dtype", "meta_keys")
_ONE_VERSION_AGO = (1, 5)
_AFTERWARDS = ("Activationsd", "AsDiscreted", "KeepLargestConnectedComponentd", "Invertd")
_INTERPOLATED_NUMBERS = (
    "The bundle interpolates label numbers linearly on the way back, which gives fractions and "
    "labels of a third structure between two others; the nearest label is taken here."
)


@dataclass
class Preparation:
    """What the transforms before the network do."""

    orientation: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    spacing: tuple[float, float, float] | None = None


def short_name(component: Component) -> str:
    """Return the name of a component's class; dictionary transforms as in ``Spacingd``."""
    name = str(component.get("_target_", "")).rsplit(".", 1)[-1]
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
        if name in _WITHOUT_EFFECT:
            continue
        settings = _settings(transform)
        if name == "Orientationd":
            if result.spacing is not None:
                raise refused("Orientationd comes after Spacingd.")
            result.orientation = str(settings["axcodes"])
        elif name == "Spacingd":
            step = _spacing(settings)
            result.steps.append(step)
            first, second, third = step["pixdim"]
            result.spacing = (first, second, third)
        elif name == "CropForegroundd":
            result.steps.append(_crop(settings, version))
        elif name in _INTENSITIES:
            result.steps.append(_intensity(name, settings))
        else:
            raise refused(f"The bundle prepares volumes with {name}, which is not known.")
    return result


def _settings(transform: Component) -> dict[str, Any]:
    settings = {key: value for key, value in transform.items() if key not in _CALLING}
    for key, value in settings.items():
        if isinstance(value, Unknown):
            raise refused(f"{key} of {short_name(transform)} cannot be read: {value.why}.")
    return settings


def _spacing(settings: Mapping[str, Any]) -> dict[str, Any]:
    given = settings["pixdim"]
    pixdim = [float(edge) for edge in (given if isinstance(given, list) else [given] * 3)]
    mode = _single(settings.get("mode", "bilinear"))
    padding = _single(settings.get("padding_mode", "border"))
    others = ("diagonal", "scale_extent", "align_corners", "recompute_affine")
    unusual = [key for key in others if settings.get(key)]
    unusual += [key for key in ("min_pixdim", "max_pixdim") if settings.get(key) is not None]
    if mode not in ("bilinear", "nearest", 0, 1) or padding != "border" or unusual:
        what = ", ".join([f"mode {mode}", f"padding {padding}", *unusual])
        raise refused(f"Spacingd of the bundle uses {what}, which is not known.")
    return {"step": "spacing", "pixdim": pixdim, "order": int(mode in ("bilinear", 1))}


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _crop(settings: Mapping[str, Any], version: tuple[int, ...]) -> dict[str, Any]:
    unusual = [k for k in ("select_fn", "channel_indices") if settings.get(k) is not None]
    if settings.get("k_divisible", 1) not in (1, [1, 1, 1]) or unusual:
        raise refused(f"CropForegroundd of the bundle sets {unusual or 'k_divisible'}.")
    if settings.get("mode", "constant") != "constant":
        raise refused("CropForegroundd of the bundle pads otherwise than with zeros.")
    margin = settings.get("margin", 0)
    return {
        "step": "crop-foreground",
        "margin": list(margin) if isinstance(margin, list) else [int(margin)] * 3,
        "allow_smaller": bool(settings.get("allow_smaller", version < _ONE_VERSION_AGO)),
    }


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
    "ScaleIntensityd": ("scale", {"minv": 0.0, "maxv": 1.0, "channel_wise": False}),
    "NormalizeIntensityd": (
        "normalize",
        {"nonzero": False, "channel_wise": False, "subtrahend": None, "divisor": None},
    ),
}
_MUST_BE_OFF = ("relative", "factor")


def _intensity(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    step, defaults = _INTENSITIES[name]
    unknown = [key for key in settings if key not in defaults and key not in _MUST_BE_OFF]
    unknown += [key for key in _MUST_BE_OFF if settings.get(key)]
    missing = [key for key, value in defaults.items() if value is ... and key not in settings]
    if unknown or missing:
        raise refused(f"{name} of the bundle sets {', '.join(unknown)} and lacks {missing}.")
    return {"step": step, **{key: settings.get(key, value) for key, value in defaults.items()}}


# ------------------------------------------------------------------------------- after the network


@dataclass(frozen=True)
class Decision:
    """What the transforms after the network do."""

    is_regional: bool
    scores: str
    decides_first: bool
    components: tuple[int, ...] | None
    """Labels of which only the largest component stays; empty for all, None for none."""
    notes: str


def decision_of(transforms: Sequence[Component]) -> Decision:
    """Return how labels follow from logits.

    Raises:
        BundleError: A transform is not known, or stands where it has another meaning.
    """
    kept = [item for item in transforms if short_name(item) not in _WITHOUT_EFFECT]
    order = [short_name(item) for item in kept]
    _check_order(order)
    by_name = dict(zip(order, kept, strict=True))
    is_regional = _thresholds(_settings(by_name["AsDiscreted"]))
    activation = _activation(_settings(by_name.get("Activationsd", {"softmax": True})))
    if is_regional and activation != "sigmoid":
        raise refused("The bundle compares something else than a sigmoid with a threshold.")
    inverse = order.index("Invertd") if "Invertd" in order else len(order)
    decides_first = order.index("AsDiscreted") < inverse
    largest = by_name.get("KeepLargestConnectedComponentd")
    components = None if largest is None else _components(_settings(largest))
    if components is not None and not decides_first:
        raise refused("KeepLargestConnectedComponentd works on the restored labels of the bundle.")
    interpolates_numbers = decides_first and not _inverts_nearest(by_name.get("Invertd", {}))
    scores = activation if "Activationsd" in order[:inverse] else "logits"
    notes = _INTERPOLATED_NUMBERS if interpolates_numbers else ""
    return Decision(is_regional, scores, decides_first, components, notes)


def _check_order(order: Sequence[str]) -> None:
    for name in order:
        if name not in _AFTERWARDS:
            raise refused(f"The bundle treats the network's answer with {name}, not known here.")
    if "AsDiscreted" not in order or len(set(order)) != len(order):
        raise refused(f"The bundle's steps after the network, {', '.join(order)}, are not known.")


def _activation(settings: Mapping[str, Any]) -> str:
    chosen = [name for name in ("softmax", "sigmoid") if _single(settings.get(name))]
    if len(chosen) != 1 or settings.get("other") is not None:
        raise refused("Activationsd of the bundle is neither softmax nor sigmoid.")
    return chosen[0]


def _thresholds(settings: Mapping[str, Any]) -> bool:
    if _single(settings.get("argmax")):
        return False
    threshold = _single(settings.get("threshold"))
    if threshold is True or settings.get("threshold_values"):  # as before MONAI 0.9
        threshold = _single(settings.get("logit_thresh", 0.5))
    if threshold != 0.5:
        raise refused(f"AsDiscreted of the bundle has the threshold {threshold}, not 0.5.")
    return True


def _components(settings: Mapping[str, Any]) -> tuple[int, ...]:
    unusual = [k for k in ("is_onehot", "connectivity") if settings.get(k) not in (None, False, 3)]
    if (
        unusual
        or settings.get("independent", True) is not True
        or settings.get("num_components", 1) != 1
    ):
        raise refused(f"KeepLargestConnectedComponentd of the bundle sets {unusual or 'more'}.")
    labels = settings.get("applied_labels")
    if labels is None:
        return ()
    return tuple(map(int, labels if isinstance(labels, list) else [labels]))


def _inverts_nearest(invert: Component) -> bool:
    return bool(_single(invert.get("nearest_interp", True)))


# ------------------------------------------------------------------------------------ windows


def windows_of(inferer: Component) -> dict[str, Any]:
    """Return the settings of a sliding window.

    Raises:
        BundleError: It is another inferer, or one with unusual settings.
    """
    name = short_name(inferer)
    if name != "SlidingWindowInferer":
        raise refused(f"The bundle runs its network with {name}, known is SlidingWindowInferer.")
    values = {
        key: value
        for key, value in inferer.items()
        if key not in ("_target_", "device", "sw_device", "sw_batch_size", "progress")
    }
    for key, value in values.items():
        if isinstance(value, Unknown):
            raise refused(f"{key} of SlidingWindowInferer cannot be read: {value.why}.")
    given = values["roi_size"]
    size = [int(edge) for edge in (given if isinstance(given, list) else [given] * 3)]
    overlaps = values.get("overlap", 0.25)
    overlaps = overlaps if isinstance(overlaps, list) else [overlaps]
    padding, mode = values.get("padding_mode", "constant"), values.get("mode", "constant")
    sigma = values.get("sigma_scale", 0.125)
    is_usual = len(set(overlaps)) == 1 and values.get("cval", 0) == 0 and sigma == 0.125
    if len(size) != 3 or min(size) < 1 or not is_usual:
        raise refused(f"SlidingWindowInferer of the bundle has unusual settings: {values}.")
    if padding not in ("constant", "replicate") or mode not in ("constant", "gaussian"):
        raise refused(f"SlidingWindowInferer pads with {padding} or weighs by {mode}.")
    return {
        "patch_size": tuple(size),
        "overlap": float(overlaps[0]),
        "padding": "zero" if padding == "constant" else "edge",
        "windows": "distinct",
        "window_weights": "constant" if mode == "constant" else "gaussian-cut",
    }
