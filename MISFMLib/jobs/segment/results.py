"""Whether the result of an earlier run is there, and whole."""

from __future__ import annotations

from pathlib import Path

from MISFMLib.errors import DataError
from MISFMLib.volumes.dicom_seg import is_dicom_seg


def is_whole_result(path: Path) -> bool:
    """Tell whether a label map is there with all the voxels that its header names.

    Versions before this one could leave a cut file on a full disk.
    """
    if not path.is_file():
        return False
    try:
        return _is_whole_dicom(path) if is_dicom_seg(path) else _is_whole_file(path)
    except (DataError, OSError):
        return False


def _is_whole_file(path: Path) -> bool:
    from MISFMLib.volumes.volume_files import check_whole

    check_whole(path)
    return True


def _is_whole_dicom(path: Path) -> bool:
    import pydicom

    try:
        dataset = pydicom.dcmread(path)
        bits = int(dataset.NumberOfFrames) * dataset.Rows * dataset.Columns
        return bool(len(dataset.PixelData) * 8 >= bits * dataset.BitsAllocated)
    except (pydicom.errors.InvalidDicomError, EOFError, ValueError, AttributeError, TypeError):
        return False
