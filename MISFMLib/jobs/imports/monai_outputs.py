"""Windows of bundles in MONAI's form, and what their transforms make of the network's answer.

A name that is not known is refused, since leaving a step out would change the labels.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from MISFMLib.jobs.imports.monai_config import Unknown
from MISFMLib.jobs.imports.monai_labels import Painting
from MISFMLib.jobs.imports.monai_transforms import (
    WITHOUT_EFFECT,
    Component,
    settings_of,
    short_name,
    single,
)
from MISFMLib.jobs.imports.sources import refused

_LARGEST = "KeepLargestConnectedComponentd"
_AFTERWARDS = ("Activationsd", "AsDiscreted", _LARGEST, "Invertd", "Lambdad")
_WHERE = r"torch\.where\(x\[\[(\d+)\]\] > 0, (\d+), "
"""As in ``torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, 0))``."""
_INTERPOLATED_NUMBERS = (
    "The bundle interpolates label numbers linearly on the way back, which gives fractions and "
    "labels of a third structure between two others; the nearest label is taken here."
)


@dataclass(frozen=True)
class Decision:
    """What the transforms after the network do."""

    is_regional: bool
    scores: str
    decides_first: bool
    components: tuple[int, ...] | None
    """Labels of which only the largest component stays; empty for all, None for none."""
    notes: str
    painted: Painting = ()
    """How regions are painted over each other, if the bundle tells."""


def decision_of(transforms: Sequence[Component]) -> Decision:
    """Return how labels follow from logits.

    Raises:
        BundleError: A transform is not known, or stands where it has another meaning.
    """
    kept = [item for item in transforms if short_name(item) not in WITHOUT_EFFECT]
    order = [short_name(item) for item in kept]
    _check_order(order)
    by_name = dict(zip(order, kept, strict=True))
    is_regional = _thresholds(settings_of(by_name["AsDiscreted"]))
    activation = _activation(settings_of(by_name.get("Activationsd", {"softmax": True})))
    if is_regional and activation != "sigmoid":
        raise refused("The bundle compares something else than a sigmoid with a threshold.")
    inverse = order.index("Invertd") if "Invertd" in order else len(order)
    decides_first = order.index("AsDiscreted") < inverse
    largest = by_name.get(_LARGEST)
    components = None if largest is None else _components(settings_of(largest))
    if components is not None and order.index("AsDiscreted") > order.index(_LARGEST):
        raise refused(f"{_LARGEST} of the bundle works on scores, not on labels.")
    interpolates_numbers = decides_first and not _inverts_nearest(by_name.get("Invertd", {}))
    scores = activation if "Activationsd" in order[:inverse] else "logits"
    notes = _INTERPOLATED_NUMBERS if interpolates_numbers else ""
    painted = _painted(by_name["Lambdad"]) if "Lambdad" in by_name else ()
    if painted and (not is_regional or order.index("Lambdad") < order.index("AsDiscreted")):
        raise refused("Lambdad of the bundle paints something else than regions.")
    return Decision(is_regional, scores, decides_first, components, notes, painted)


def _painted(transform: Component) -> Painting:
    """Read the function that makes one label map of regions, as in the zoo's brats_mri."""
    function = transform.get("func")
    text = function.why if isinstance(function, Unknown) else str(function)
    try:
        plain = ast.unparse(ast.parse(text.removeprefix("$"), mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        plain = ""
    if not re.fullmatch(rf"lambda x: (?:{_WHERE})+0\)+", plain):
        raise refused(f"Lambdad of the bundle runs code that is not known here: {text}.")
    pairs = [(int(output), int(number)) for output, number in re.findall(_WHERE, plain)]
    return tuple(reversed(pairs))  # the first condition that holds decides


def _check_order(order: Sequence[str]) -> None:
    for name in order:
        if name not in _AFTERWARDS:
            raise refused(f"The bundle treats the network's answer with {name}, not known here.")
    if "AsDiscreted" not in order or len(set(order)) != len(order):
        raise refused(f"The bundle's steps after the network, {', '.join(order)}, are not known.")


def _activation(settings: Mapping[str, Any]) -> str:
    chosen = [name for name in ("softmax", "sigmoid") if single(settings.get(name))]
    if len(chosen) != 1 or settings.get("other") is not None:
        raise refused("Activationsd of the bundle is neither softmax nor sigmoid.")
    return chosen[0]


def _thresholds(settings: Mapping[str, Any]) -> bool:
    if single(settings.get("argmax")):
        return False
    threshold = single(settings.get("threshold"))
    if threshold is True or settings.get("threshold_values"):  # as before MONAI 0.9
        threshold = single(settings.get("logit_thresh", 0.5))
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
    return bool(single(invert.get("nearest_interp", True)))


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
