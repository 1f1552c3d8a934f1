"""Which case of a training set has the image of a volume, wherever that was loaded from."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.nifti_header import NiftiHeader, read_nifti_header

from .SceneIO import voxelsOf
from .Transforms import SAME_VOXELS, corners, ijkToRas

_HEADER_BYTES = 544
_PIECE_BYTES = 1 << 20
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def caseWithImage(trainingSet: TrainingSet, volume: Any) -> str:
    """Return the case whose image has the voxels of a volume at their places; empty for none.

    Names say nothing: volumes are renamed, and two of one name may be of two patients. Other
    images mostly differ in the first megabyte, beyond which they are not unpacked.
    """
    if volume.GetImageData() is None or volume.GetImageData().GetNumberOfScalarComponents() != 1:
        return ""
    names = [row.name for row in trainingSet.cases()]
    images = ((name, path) for name in names for path in trainingSet.images(name))
    return next((name for name, path in images if _isImageOf(volume, path)), "")


def _isImageOf(volume: Any, path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            header = read_nifti_header(file.read(_HEADER_BYTES), path)
            return _hasGridOf(volume, header) and _hasVoxelsOf(volume, header, file)
    except (OSError, EOFError, zlib.error, DataError):  # damaged or gone, which Check tells
        return False


def _hasGridOf(volume: Any, header: NiftiHeader) -> bool:
    if header.sizes != volume.GetImageData().GetDimensions() or header.sform is None:
        return False
    matrix = ijkToRas(volume)
    moved = corners(volume) @ (header.sform - _RAS_TO_LPS @ matrix[:3]).T
    return bool(np.abs(moved).max() <= SAME_VOXELS * np.linalg.norm(matrix[:3, :3], axis=0).min())


def _hasVoxelsOf(volume: Any, header: NiftiHeader, file: IO[bytes]) -> bool:
    voxels = np.ascontiguousarray(voxelsOf(volume.GetImageData()))
    isNumber = bool(header.number_type) and not header.is_scaled
    if not isNumber or np.dtype(header.number_type) != voxels.dtype:
        return False
    ours = memoryview(voxels).cast("B")
    file.seek(header.vox_offset)
    pieces = (ours[start : start + _PIECE_BYTES] for start in range(0, len(ours), _PIECE_BYTES))
    return all(file.read(len(piece)) == piece.tobytes() for piece in pieces)
