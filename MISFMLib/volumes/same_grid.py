"""Two files on one grid: axes in another order or sense are reordered, rounding is no difference.

Programs write the same voxels in different orders: 3D Slicer reverses the slices of left-handed
volumes. Nothing is resampled here; each voxel keeps its value and its place in the patient.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from MISFMLib.errors import DataError
from MISFMLib.volumes.volume_types import (
    Array,
    Geometry,
    LabelMap,
    Volume,
    describe_difference,
)

logger = logging.getLogger(__name__)

_SAME_AXES = 0.01
"""Largest deviation of the cosines between the axes of two grids from 0 and 1, 0.6 degrees; how far
the voxels are off is looked at afterwards."""
TOLERANCE = 0.1
"""Part of a voxel by which rounded headers may move one."""
_SAID_FROM = 0.01


def on_grid(
    label_map: LabelMap, volume: Volume, *, name: str = "", whose: str = "image"
) -> LabelMap:
    """Bring a label map that was read from a file onto the grid of its volume, without resampling.

    Args:
        label_map: Labels whose axes may have another order or sense than those of the volume.
        volume: The volume that was labelled.
        name: What to call the label map in messages.
        whose: What to call the volume there.

    Returns:
        The same labels at the same places of the patient, on exactly the volume's grid.

    Raises:
        DataError: A voxel lies more than a tenth of a voxel off the volume's grid.
    """
    title = name or f"The label map of {volume.name}"
    array = fitted(label_map.array_DHW, label_map.geometry, volume.geometry, title)
    if (
        array is None
        and label_map.names
        and label_map.geometry.shape_dhw != (volume.geometry.shape_dhw)
    ):
        # 3D Slicer may save no more of a segmentation than the box around its segments.
        return placed_on(label_map, volume.geometry, title)
    if array is None:
        _, geometry = reordered(label_map.array_DHW, label_map.geometry, volume.geometry)
        raise DataError(
            f"{title} does not lie on the grid of its {whose}: "
            f"{describe_difference(volume.geometry, geometry, TOLERANCE)}.",
            code="grid-mismatch",
            remedy=f"Resample the label map to the {whose} (nearest neighbour), or take the "
            "matching file.",
        )
    return replace(label_map, array_DHW=array, geometry=volume.geometry)


def placed_on(label_map: LabelMap, target: Geometry, title: str) -> LabelMap:
    """Put the labels of a part of a grid onto the whole of it, without resampling.

    Args:
        label_map: Labels; the axes may have another order or sense.
        target: The whole grid.
        title: What errors call the labels.

    Returns:
        The labels on `target`, 0 where `label_map` says nothing.

    Raises:
        DataError: A voxel lies more than a tenth of a voxel off the grid, or outside it.
    """
    if label_map.geometry.shape_dhw == (1, 1, 1) and not label_map.array_DHW.any():
        # What 3D Slicer saves of segments without voxels, at a place that means nothing.
        nothing_DHW = np.zeros(target.shape_dhw, label_map.array_DHW.dtype)
        return replace(label_map, array_DHW=nothing_DHW, geometry=target)
    array_DHW, geometry = reordered(label_map.array_DHW, label_map.geometry, target)
    steps = np.reshape(target.direction, (3, 3)).T @ np.subtract(
        geometry.origin_xyz, target.origin_xyz
    )
    start = np.rint(steps[::-1] / target.spacing_dhw).astype(int)
    stop = start + geometry.shape_dhw
    x, y, z = target.position_xyz((start[0], start[1], start[2])).tolist()
    part = replace(target, shape_dhw=geometry.shape_dhw, origin_xyz=(x, y, z))
    difference = describe_difference(part, geometry, TOLERANCE)
    if difference or start.min() < 0 or (stop > target.shape_dhw).any():
        raise DataError(
            f"{title} does not lie on the grid of its reference: "
            f"{difference or 'it reaches beyond it'}.",
            code="grid-mismatch",
            remedy="Resample it to the reference (nearest neighbour), or take the matching file.",
        )
    whole_DHW = np.zeros(target.shape_dhw, array_DHW.dtype)
    whole_DHW[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = array_DHW
    return replace(label_map, array_DHW=whole_DHW, geometry=target)


def fitted(array: Array, geometry: Geometry, target: Geometry, title: str) -> Array | None:
    """Return the last three axes of an array in the order and sense of another grid.

    Args:
        array: Voxels, any number of axes before D, H, W.
        geometry: Their grid.
        target: The other grid.
        title: What the array is, at the beginning of a notice of how far rounding moved voxels.

    Returns:
        The voxels on `target`; None where they lie elsewhere.
    """
    array, geometry = reordered(array, geometry, target)
    if describe_difference(target, geometry, TOLERANCE):
        return None
    off = target.distance_mm(geometry)
    if off > max(1e-3, _SAID_FROM * min(target.spacing_dhw)):
        logger.warning(
            "%s: its header was rounded, so its voxels are up to %.2g mm (%.2g %% of a voxel) off "
            "those of the image; they are taken as the same.",
            title,
            off,
            100 * off / min(target.spacing_dhw),
        )
    return array


def reordered(array: Array, geometry: Geometry, target: Geometry) -> tuple[Array, Geometry]:
    """Return voxels and grid with the axes of another grid, where they differ by order or sense."""
    # cosines[t, i]: how far array axis i of the voxels points along array axis t of the target.
    axes, wanted = (np.reshape(g.direction, (3, 3))[:, ::-1] for g in (geometry, target))
    cosines = wanted.T @ axes
    steps = np.rint(cosines).astype(int)
    is_permutation = (np.abs(steps).sum(axis=0) == 1).all() and (np.abs(steps).sum(1) == 1).all()
    if not is_permutation or np.abs(cosines - steps).max() > _SAME_AXES:
        return array, geometry
    order = [int(axis) for axis in np.abs(steps).argmax(axis=1)]
    is_flipped = [bool(steps[target_axis, axis] < 0) for target_axis, axis in enumerate(order)]
    if order == [0, 1, 2] and not any(is_flipped):
        return array, geometry
    leading = array.ndim - 3
    view = array.transpose(*range(leading), *(leading + axis for axis in order))
    view = np.flip(view, tuple(leading + axis for axis, flip in enumerate(is_flipped) if flip))
    return np.ascontiguousarray(view), _moved(geometry, order, is_flipped)


def _moved(geometry: Geometry, order: list[int], is_flipped: list[bool]) -> Geometry:
    """Return a grid with its array axes in another order and sense."""
    first = [0, 0, 0]
    for axis, flip in zip(order, is_flipped, strict=True):
        first[axis] = geometry.shape_dhw[axis] - 1 if flip else 0
    x, y, z = map(float, geometry.position_xyz((first[0], first[1], first[2])))
    signs = np.where(is_flipped, -1.0, 1.0)
    axes = np.reshape(geometry.direction, (3, 3))[:, ::-1][:, order] * signs
    shape = [geometry.shape_dhw[axis] for axis in order]
    spacing = [geometry.spacing_dhw[axis] for axis in order]
    return Geometry(
        shape_dhw=(shape[0], shape[1], shape[2]),
        spacing_dhw=(spacing[0], spacing[1], spacing[2]),
        origin_xyz=(x, y, z),
        direction=tuple(map(float, axes[:, ::-1].ravel())),
    )
