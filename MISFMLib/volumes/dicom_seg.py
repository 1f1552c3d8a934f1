"""Label maps from DICOM SEG files, read by highdicom.

A SEG file may leave out frames without a voxel, so its grid is the part of the series that it has
something to say about. Of the kind LABELMAP segment 0 is background (highdicom 0.28.2 counts it in
`number_of_segments`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from MISFMLib.errors import DataError, DependencyError
from MISFMLib.volumes.same_grid import TOLERANCE, reordered
from MISFMLib.volumes.volume_types import Geometry, LabelMap, describe_difference


def is_dicom_seg(path: Path) -> bool:
    """Tell whether a file has the ending of a DICOM file."""
    return path.suffix.lower() == ".dcm"


def read_dicom_seg(path: Path) -> LabelMap:
    """Read the segments of a DICOM SEG file with their numbers and names.

    Raises:
        DataError: It is no DICOM SEG of regular slices, or its segments overlap.
        DependencyError: highdicom is not installed.
    """
    try:
        import highdicom
    except ImportError as error:
        raise DependencyError(
            "Reading DICOM SEG needs highdicom, which is not installed.",
            code="missing-package",
            remedy="Install it: pip install 'misfm[dicom]'",
        ) from error
    try:
        segmentation = highdicom.seg.segread(path)
        numbers = [number for number in segmentation.segment_numbers if number > 0]
        volume = segmentation.get_volume(segment_numbers=numbers, combine_segments=True)
        names = {
            number: str(segmentation.get_segment_description(number).segment_label)
            for number in numbers
        }
    except (ValueError, RuntimeError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise DataError(
            f"{path} cannot be read as a DICOM SEG of one label per voxel: {error}.",
            code="dicom-seg-unreadable",
            remedy="Give a DICOM Segmentation whose segments do not overlap, or a label map.",
        ) from error
    array_DHW = np.ascontiguousarray(volume.array)
    dtype = np.uint8 if max(numbers, default=0) <= np.iinfo(np.uint8).max else np.uint16
    return LabelMap(array_DHW.astype(dtype), _geometry(volume), names)


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


def _geometry(volume: Any) -> Geometry:
    """Return the grid of a highdicom volume, whose axes are slices, rows, columns in LPS."""
    steps = np.asarray(volume.affine, np.float64)[:3, :3]
    spacing = np.linalg.norm(steps, axis=0)
    x, y, z = map(float, volume.affine[:3, 3])
    depth, height, width = map(float, spacing)
    direction = (steps / spacing)[:, ::-1]
    shape = tuple(map(int, volume.array.shape))
    return Geometry(
        (shape[0], shape[1], shape[2]),
        (depth, height, width),
        (x, y, z),
        tuple(map(float, direction.ravel())),
    )
