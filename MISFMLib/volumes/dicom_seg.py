"""Label maps from DICOM SEG files, read by highdicom.

A SEG file may leave out frames without a voxel, so its grid is the part of the series that it has
something to say about. Of the kind LABELMAP segment 0 is background (highdicom 0.28.2 counts it in
`number_of_segments`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from MISFMLib.errors import DataError, DependencyError
from MISFMLib.volumes.volume_types import Geometry, LabelMap


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
