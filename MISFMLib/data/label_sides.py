"""Which labels differ by their side of the body alone, told by the label maps and by their names.

A network that sees mirrored patches cannot keep the left from the right kidney apart. Label maps
show it whatever the labels are called. Axes: D, H, W depth, height, width.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.data.spatial import canonical_axes, canonical_view
from MISFMLib.volumes.volume import LabelMap

_GRID = 10
"""Edge of the grid on which shapes are compared."""
_BESIDE = 0.5
"""A label lies on one side of another when their centres are further apart than this part of the
distance at which the two would touch."""
_MORE_ALIKE = 0.1
"""By how much the Dice of two shapes must rise when one is mirrored to call them mirror images."""
_SIZE_RATIO = 2.0
"""Largest ratio of the volumes of mirror images."""
LPS_AXIS = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}
"""Array axis of each direction when the axes are LPS."""
_OPPOSITES = {
    "LR": ({"left", "l"}, {"right", "r"}),
    "AP": ({"anterior", "ventral", "front"}, {"posterior", "dorsal", "back"}),
    "SI": ({"superior", "cranial", "upper"}, {"inferior", "caudal", "lower"}),
}
"""Words for the two ends of each axis of the body, by the letters of the ends."""


@dataclass(frozen=True)
class LabelSide:
    """Place and shape of a label in one case, along the axes LPS."""

    centre_mm: tuple[float, float, float]
    """Middle of its box from the first voxel of the image, along D, H, W."""
    extent_mm: tuple[float, float, float]
    """Edges of its box."""
    voxels: int
    shape_DHW: np.ndarray
    """Its voxels in its box, on a grid of 10 x 10 x 10, boolean."""


def label_sides(label_map: LabelMap, values: Sequence[int]) -> dict[int, LabelSide]:
    """Measure where labels lie.

    Args:
        label_map: Label map of a case.
        values: Labels that occur in it.
    """
    if not values:
        return {}
    axes, flips = canonical_axes(label_map.geometry.direction, "LPS")
    labels_DHW = canonical_view(label_map.array_DHW, axes, flips)
    spacing = np.take(label_map.geometry.spacing_dhw, axes)
    boxes = sitk.LabelShapeStatisticsImageFilter()
    boxes.ComputePerimeterOff()
    boxes.Execute(sitk.GetImageFromArray(np.ascontiguousarray(labels_DHW)))
    return {value: _side(labels_DHW, value, boxes, spacing) for value in values}


def _side(
    labels_DHW: np.ndarray,
    value: int,
    boxes: sitk.LabelShapeStatisticsImageFilter,
    spacing: np.ndarray,
) -> LabelSide:
    box = boxes.GetBoundingBox(value)  # x, y, z, then their sizes
    start, size = np.array(box[2::-1]), np.array(box[:2:-1])
    picked = [
        first + ((np.arange(_GRID) + 0.5) * edge / _GRID).astype(int)
        for first, edge in zip(start, size, strict=True)
    ]
    depth, height, width = ((start + (size - 1) / 2) * spacing).tolist()
    edges: tuple[float, ...] = tuple((size * spacing).tolist())
    return LabelSide(
        centre_mm=(depth, height, width),
        extent_mm=(edges[0], edges[1], edges[2]),
        voxels=int(boxes.GetNumberOfPixels(value)),
        shape_DHW=labels_DHW[np.ix_(*picked)] == value,
    )


# ----------------------------------------------------------------------------------- mirrored axes


def mirror_axes(
    names: Sequence[str], cases: Sequence[Mapping[int, LabelSide]], directions: str
) -> tuple[int, ...]:
    """Choose the axes along which a mirrored volume still has the right labels.

    Args:
        names: Names of the labels; left and right kidney, or anterior and posterior hippocampus,
            are told apart by a direction.
        cases: Where the labels lie in each training case.
        directions: Letters of depth, height and width of model space, such as SPL.

    Returns:
        Axes of model space (0 depth, 1 height, 2 width) along which no two labels differ.
    """
    by_place = _told_apart_by_place(cases)
    by_name = {ends for ends in _OPPOSITES if _has_both_ends(names, *_OPPOSITES[ends])}
    return tuple(
        axis
        for axis, letter in enumerate(directions)
        if LPS_AXIS[letter] not in by_place and not any(letter in ends for ends in by_name)
    )


def _told_apart_by_place(cases: Sequence[Mapping[int, LabelSide]]) -> set[int]:
    """Return the axes LPS along which two labels lie side by side in all cases, or are mirrored."""
    values = sorted({value for case in cases for value in case})
    told_apart: set[int] = set()
    for one, other in itertools.combinations(values, 2):
        pairs = [(case[one], case[other]) for case in cases if one in case and other in case]
        for axis in {0, 1, 2} - told_apart:
            sides = {_side_of(a, b, axis) for a, b in pairs}
            if sides in ({-1}, {1}) or _are_mirror_images(cases, one, other, axis):
                told_apart.add(axis)
    return told_apart


def _side_of(one: LabelSide, other: LabelSide, axis: int) -> int:
    """Return on which side of the other label one lies along an axis, 0 where on neither."""
    apart = one.centre_mm[axis] - other.centre_mm[axis]
    touching = (one.extent_mm[axis] + other.extent_mm[axis]) / 2
    return 0 if abs(apart) < _BESIDE * touching else int(np.sign(apart))


def _are_mirror_images(
    cases: Sequence[Mapping[int, LabelSide]], one: int, other: int, axis: int
) -> bool:
    """Tell whether two labels have one shape, once it is mirrored, on average over the cases."""
    of_one = [case[one] for case in cases if one in case]
    of_other = [case[other] for case in cases if other in case]
    sizes = [float(np.median([side.voxels for side in sides])) for sides in (of_one, of_other)]
    if max(sizes) > _SIZE_RATIO * min(sizes):
        return False
    first, second = (
        np.mean([side.shape_DHW for side in sides], axis=0) for sides in (of_one, of_other)
    )
    return _dice(np.flip(first, axis), second) > _dice(first, second) + _MORE_ALIKE


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * np.minimum(first, second).sum() / max(first.sum() + second.sum(), 1e-9))


def _has_both_ends(names: Sequence[str], first: set[str], second: set[str]) -> bool:
    """Tell whether two names differ only in a word for one end and a word for the other."""
    words = [re.findall(r"[a-z]+", name.lower()) for name in names]
    at_first, at_second = (
        {tuple("" if word in ends else word for word in name) for name in words if ends & {*name}}
        for ends in (first, second)
    )
    return bool(at_first & at_second)
