"""Where the slices of a DICOM series lie, and whether together they form a regular grid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.problems import check_axes, check_spacing, two_dimensional
from MISFMLib.volumes.volume_types import Array, Geometry, by, numbers

_SAME_ORIENTATION = 1e-3
"""Largest difference of two direction cosines that is rounding (0.06 degrees)."""
_SAME_SPACING_MM = 1e-3
_SAME_PLACE_MM = 1e-3
_GAP_TOLERANCE, _GAP_TOLERANCE_MM = 0.02, 0.02
"""How far a slice may lie off its even place: 2 % of the distance of slices, or 0.02 mm (places are
often written with two decimals)."""
_SHIFT_TOLERANCE = 0.25
"""How far a slice may be shifted in its plane against the first one, in pixels."""


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
    _check_gaps(depths, path)
    _check_shifts(positions, axes[:, 2], min(first.spacing_hw), path)
    gap = (depths[-1] - depths[0]) / (len(planes) - 1)
    x, y, z = map(float, positions[0])
    row_mm, column_mm = first.spacing_hw
    geometry = Geometry(
        shape_dhw=(len(planes), *first.shape_hw),
        spacing_dhw=(float(gap), row_mm, column_mm),
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


def _check_gaps(depths: Array, path: Path) -> None:
    even = np.linspace(depths[0], depths[-1], len(depths))
    gaps = np.diff(depths)
    typical = float(np.median(gaps))
    if np.abs(depths - even).max() <= max(_GAP_TOLERANCE * typical, _GAP_TOLERANCE_MM):
        return
    widest = int(np.argmax(gaps))
    raise DataError(
        f"The slices of the series in {path} are {gaps.min():.4g} to {gaps.max():.4g} mm apart "
        f"(mostly {typical:.4g} mm, widest behind slice {widest + 1} of {len(depths)}): slices "
        "are missing, or were taken at varying distances.",
        code="dicom-gaps",
        remedy="Copy the missing slices, or resample the series to even distances first.",
    )


def _check_shifts(positions: Array, normal: Array, pixel_mm: float, path: Path) -> None:
    offsets = positions - positions[0]
    along = offsets @ normal
    shifts = np.linalg.norm(offsets - np.outer(along, normal), axis=1)
    if shifts.max() <= _SHIFT_TOLERANCE * pixel_mm:
        return
    angle = math.degrees(math.atan2(shifts[-1], along[-1]))
    raise DataError(
        f"The slices of the series in {path} are shifted against each other by up to "
        f"{shifts.max():.4g} mm (a tilt of {angle:.3g} degrees), as in a scan with tilted gantry.",
        code="dicom-tilt",
        remedy="Resample it onto a regular grid first; 3D Slicer does so with the acquisition "
        "transform of its DICOM import.",
    )
