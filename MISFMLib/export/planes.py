"""The three planes of a volume that show its labels best, turned the way radiologists look at them.

Axes: D, H, W of a canonical view run to the head, to the back and to the left of the patient, or as
near to that as the voxel grid allows; an oblique volume is shown in its own planes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.configs import Size
from MISFMLib.data.spatial import canonical_axes, canonical_view
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume

Array = npt.NDArray[Any]

_CT_WINDOWS_HU = ((-400.0, (-1350.0, 150.0)), (250.0, (-160.0, 240.0)), (np.inf, (-500.0, 1300.0)))
"""Lung, soft tissue and bone window, each with the highest typical intensity it is meant for."""
_LEAST_COSINE = 0.26
"""A plane tilted by more than 15 degrees towards another body axis gets that axis' letter too."""


@dataclass(frozen=True)
class Plane:
    """One slice, rows from top to bottom."""

    name: str
    """``axial``, ``coronal`` or ``sagittal``."""
    index: int
    """Slice that is shown, from 0, counted to the head, to the back or to the left."""
    count: int
    """Slices there are."""
    image: Array
    """Intensities (rows, columns)."""
    labels: Array
    """Labels (rows, columns)."""
    spacing: tuple[float, float]
    """Distance of rows and of columns in mm."""
    letters: tuple[str, str, str, str]
    """Where left, right, top and bottom of the picture lie in the patient, such as ``R``; of an
    oblique volume with a second letter, such as ``RA``."""


def cut_planes(
    volume: Volume, label_map: LabelMap, focus_DHW: Array | None = None
) -> tuple[Plane, Plane, Plane]:
    """Cut the axial, coronal and sagittal plane through the middle of the labels.

    Patient right is on the left of the picture, the front on top of the axial plane and on the left
    of the sagittal plane.

    Args:
        volume: Intensities; of several channels the first is shown.
        label_map: Labels on the same grid; with none the planes pass the middle of the volume.
        focus_DHW: Mask through whose middle the planes pass instead of the labels'.
    """
    axes, flips = canonical_axes(volume.geometry.direction, "LPS")
    image_DHW = canonical_view(volume.array_CDHW[0], axes, flips)
    labels_DHW = canonical_view(label_map.array_DHW, axes, flips)
    spacing_dhw = np.take(volume.geometry.spacing_dhw, axes)
    steps_xyz = _steps(volume.geometry, axes, flips)
    focus_DHW = label_map.array_DHW if focus_DHW is None else focus_DHW
    position = choose_position(canonical_view(focus_DHW, axes, flips))

    def cut(name: str, axis: int) -> Plane:
        rows, columns = (other for other in range(3) if other != axis)
        # The depth axis runs to the head, which belongs on top, where row 0 is.
        turn = slice(None, None, -1) if rows == 0 else slice(None)
        down_xyz = -steps_xyz[rows] if rows == 0 else steps_xyz[rows]
        right_xyz = steps_xyz[columns]
        return Plane(
            name=name,
            index=position[axis],
            count=image_DHW.shape[axis],
            image=image_DHW.take(position[axis], axis)[turn],
            labels=labels_DHW.take(position[axis], axis)[turn],
            spacing=(float(spacing_dhw[rows]), float(spacing_dhw[columns])),
            letters=(
                _letters(-right_xyz),
                _letters(right_xyz),
                _letters(-down_xyz),
                _letters(down_xyz),
            ),
        )

    return cut("axial", 0), cut("coronal", 1), cut("sagittal", 2)


def choose_position(labels_DHW: Array) -> Size:
    """Find the slices through the labels' centre of mass, axis by axis.

    Where that slice shows little, as between two kidneys, the nearest one is taken that shows at
    least half as much as the fullest.
    """
    position = []
    for axis, count in enumerate(labels_DHW.shape):
        others = tuple(other for other in range(3) if other != axis)
        areas = np.count_nonzero(labels_DHW, axis=others)
        if not areas.any():
            position.append(count // 2)
            continue
        slices = np.arange(count)
        distances = np.abs(slices - np.average(slices, weights=areas))
        position.append(int(np.where(2 * areas >= areas.max(), distances, np.inf).argmin()))
    return position[0], position[1], position[2]


def display_window(planes: tuple[Plane, ...], modality: str) -> tuple[float, float]:
    """Choose the intensities shown as black and as white.

    Args:
        planes: What is shown.
        modality: ``CT``, ``MR`` or empty; then intensities far below zero are taken for CT.

    Returns:
        For CT the lung, soft tissue or bone window, whichever suits the labelled voxels; for
        others the 1st and 99.5th percentile of the voxels that are not empty.
    """
    values = np.concatenate([plane.image.ravel() for plane in planes])
    is_labelled = np.concatenate([plane.labels.ravel() for plane in planes]) > 0
    if modality == "CT" or (not modality and values.min() <= -500):
        typical = np.median(values[is_labelled]) if is_labelled.any() else 0.0
        return next(window for highest, window in _CT_WINDOWS_HU if typical <= highest)
    shown = values[values > values.min()]
    if not shown.size:
        return float(values.min()), float(values.min()) + 1
    low, high = np.percentile(shown, (1, 99.5)).tolist()
    return low, max(high, low + 1e-6 * max(abs(low), 1))


def _steps(geometry: Geometry, axes: Size, flips: tuple[bool, bool, bool]) -> list[Array]:
    """Return the directions x, y, z (LPS) in which the canonical axes D, H, W run."""
    direction = np.reshape(geometry.direction, (3, 3))
    return [
        direction[:, 2 - axis] * (-1 if flip else 1) for axis, flip in zip(axes, flips, strict=True)
    ]


def _letters(direction_xyz: Array) -> str:
    """Name a direction as DICOM PS3.3 C.7.6.1.1.1 does, the nearest body axis first."""
    order = np.argsort(-np.abs(direction_xyz), kind="stable")
    return "".join(
        ("LPS" if direction_xyz[axis] > 0 else "RAI")[axis]
        for axis in order
        if abs(direction_xyz[axis]) >= _LEAST_COSINE
    )
