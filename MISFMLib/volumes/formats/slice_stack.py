"""Where the slices of a DICOM series lie, and whether together they form a regular grid."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.problems import (
    REGRID,
    check_axes,
    check_extent,
    check_spacing,
    two_dimensional,
)
from MISFMLib.volumes.volume_types import Array, Geometry, by, numbers

logger = logging.getLogger(__name__)

_SAME_ORIENTATION = 1e-3
"""Largest difference of two direction cosines that is rounding (0.06 degrees)."""
_SAME_PLACE_MM = 1e-3
_EXACT_MM = 1e-3
"""Deviations that 32-bit numbers and six decimals make."""
TOLERANCE = 0.1
"""Part of a voxel by which rounded places may move a slice: along the normal of the distance of
slices, in the plane of a pixel."""
_SAID_FROM = 0.01


@dataclass(frozen=True)
class Plane:
    """The place of one slice, as DICOM states it (PS3.3 C.7.6.2)."""

    position_xyz: tuple[float, ...]
    """Centre of the first pixel in mm, LPS."""
    orientation: tuple[float, ...]
    """Direction cosines of a row, then of a column."""
    spacing_hw: tuple[float, ...]
    """Distance of rows, then of columns, in mm."""
    shape_hw: tuple[int, int]
    """Rows and columns."""
    name: str = ""
    """File or frame, for messages."""


def stack_planes(planes: Sequence[Plane], path: Path) -> tuple[list[int], Geometry]:
    """Return the order of slices along their normal and the grid they form.

    Args:
        planes: Place of each slice, in any order.
        path: Folder or file they are from, for messages.

    Raises:
        DataError: The slices differ in size, spacing or orientation, share places, are unevenly
            spaced, or are shifted against each other as after a scan with tilted gantry.
    """
    _check_alike(planes, path)
    first = planes[0]
    check_spacing(path, first.spacing_hw)
    axes = _axes(first, path)
    positions = np.array([plane.position_xyz for plane in planes])
    depths = positions @ axes[:, 2]
    order = [int(index) for index in np.argsort(depths, kind="stable")]
    positions, depths = positions[order], depths[order]
    if len(planes) < 2:
        raise two_dimensional(path, (*reversed(first.shape_hw), 1))
    _check_places(depths, path)
    start, gap, off = _even_places(depths)
    _check_gaps(depths, off, gap, path)
    names = [planes[index].name for index in order]
    in_plane = _in_plane(positions, axes, min(first.spacing_hw), names, path)
    _say_rounding(off, gap, path)
    shift = axes[:, :2] @ in_plane + axes[:, 2] * (start - depths[0])
    check_extent(path, (len(planes), *first.shape_hw), (gap, *first.spacing_hw))
    x, y, z = map(float, positions[0] + shift)
    row_mm, column_mm = first.spacing_hw
    geometry = Geometry(
        shape_dhw=(len(planes), *first.shape_hw),
        spacing_dhw=(gap, row_mm, column_mm),
        origin_xyz=(x, y, z),
        direction=tuple(map(float, axes.ravel())),
    )
    return order, geometry


def _check_alike(planes: Sequence[Plane], path: Path) -> None:
    kinds = Counter(
        f"{by(plane.shape_hw)} pixels of {numbers(plane.spacing_hw)} mm" for plane in planes
    )
    first = planes[0]
    turned = sum(
        not np.allclose(plane.orientation, first.orientation, rtol=0, atol=_SAME_ORIENTATION)
        for plane in planes
    )
    if len(kinds) > 1:
        what = " and ".join(f"{count} slices of {kind}" for kind, count in kinds.most_common())
    elif turned:
        what = f"{turned} of {len(planes)} slices in another orientation than the first"
    else:
        return
    raise DataError(
        f"The series in {path} mixes slices that form no volume: {what}.",
        code="dicom-mixed-series",
        remedy="Move scout views and other additional images to a folder of their own.",
    )


def _axes(plane: Plane, path: Path) -> Array:
    """Return the directions of row, column and normal as columns, at exactly right angles."""
    row, column = np.reshape(plane.orientation, (2, 3))
    check_axes(path, np.column_stack([row, column]), _SAME_ORIENTATION)
    row = row / np.linalg.norm(row)
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    return np.column_stack([row, np.cross(normal, row), normal])


def _check_places(depths: Array, path: Path) -> None:
    is_new = np.diff(depths, prepend=-np.inf) > _SAME_PLACE_MM
    places = int(is_new.sum())
    if places < len(depths):
        raise DataError(
            f"The series in {path} has {len(depths)} slices at {places} places: it holds several "
            "images of one place, such as echoes, phases or copies.",
            code="dicom-duplicate-slices",
            remedy="Export the wanted echo, phase or b-value as a series of its own.",
        )


def _even_places(depths: Array) -> tuple[float, float, float]:
    """Fit even places to the depths of slices.

    Returns:
        First place, distance, and how far the worst slice lies off its even place, in mm. Places
        that are even but for 32-bit rounding keep the first and last one exactly.
    """
    steps = np.arange(len(depths))
    gap = (depths[-1] - depths[0]) / (len(depths) - 1)
    off = np.abs(depths - (depths[0] + gap * steps)).max()
    if off <= _EXACT_MM:
        return float(depths[0]), float(gap), float(off)
    # The worst deviation is a convex function of the distance: narrow it down from both sides.
    low, high = gap - 2 * off / (len(depths) - 1), gap + 2 * off / (len(depths) - 1)
    for _ in range(80):
        third = (high - low) / 3
        if np.ptp(depths - (low + third) * steps) < np.ptp(depths - (high - third) * steps):
            high -= third
        else:
            low += third
    rest = depths - low * steps
    return float((rest.max() + rest.min()) / 2), float(low), float(np.ptp(rest) / 2)


def _check_gaps(depths: Array, off: float, gap: float, path: Path) -> None:
    if off <= TOLERANCE * gap:
        return
    gaps = np.diff(depths)
    widest = int(np.argmax(gaps))
    raise DataError(
        f"The slices of the series in {path} are {gaps.min():.4g} to {gaps.max():.4g} mm apart "
        f"(mostly {float(np.median(gaps)):.4g} mm, widest behind slice {widest + 1} of "
        f"{len(depths)}): slices are missing, or were taken at varying distances.",
        code="dicom-gaps",
        remedy="Copy the missing slices, or resample the series to even distances first.",
    )


def _in_plane(
    positions: Array, axes: Array, pixel_mm: float, names: Sequence[str], path: Path
) -> Array:
    """Return where the first pixels lie in the plane of the first slice, in mm from the first one.

    Raises:
        DataError: They are shifted against each other by more than rounding does.
    """
    offsets = (positions - positions[0]) @ axes[:, :2]
    centre: Array = (offsets.max(axis=0) + offsets.min(axis=0)) / 2
    off = np.linalg.norm(offsets - centre, axis=1)
    if np.linalg.norm(offsets, axis=1).max() <= _EXACT_MM:
        return np.zeros(2)
    if off.max() <= TOLERANCE * pixel_mm:
        _say_rounding(float(off.max()), pixel_mm, path)
        return centre
    raise _shifted(positions, offsets, axes[:, 2], names, path)


def _shifted(
    positions: Array, offsets: Array, normal: Array, names: Sequence[str], path: Path
) -> DataError:
    """Tell a tilted gantry, where the shift grows evenly, from single slices out of place."""
    depths = (positions - positions[0]) @ normal
    line = np.outer(depths, offsets[-1] / depths[-1])
    from_middle = np.linalg.norm(offsets - np.median(offsets, axis=0), axis=1)
    if np.linalg.norm(offsets - line, axis=1).max() < from_middle.max() / 4:
        shift = float(np.linalg.norm(offsets, axis=1).max())
        angle = math.degrees(math.atan2(float(np.linalg.norm(offsets[-1])), float(depths[-1])))
        return DataError(
            f"The slices of the series in {path} are shifted against each other by up to "
            f"{shift:.4g} mm (a tilt of {angle:.3g} degrees), as in a scan with tilted gantry.",
            code="dicom-tilt",
            remedy=REGRID,
        )
    worst = int(from_middle.argmax())
    name = f" ({names[worst]})" if names[worst] else ""
    return DataError(
        f"The series in {path} forms no grid: slice {worst + 1} of {len(offsets)}{name} is shifted "
        f"in its plane by {from_middle[worst]:.4g} mm against most others.",
        code="dicom-shifted-slice",
        remedy="Correct the place of this slice, or leave it out if it is the first or last.",
    )


def _say_rounding(off: float, edge_mm: float, path: Path) -> None:
    if off > _SAID_FROM * edge_mm:
        logger.warning(
            "The slices of the series in %s lie up to %.2g mm (%.2g %% of a voxel) off even "
            "places; rounding does that, so they are taken as even.",
            path,
            off,
            100 * off / edge_mm,
        )
