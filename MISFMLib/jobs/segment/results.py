"""Results of earlier runs: whether they are there and whole, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from MISFMLib.configs import LabelConfig
from MISFMLib.errors import DataError
from MISFMLib.volumes.dicom_seg import is_dicom_seg, read_dicom_seg

if TYPE_CHECKING:
    from MISFMLib.volumes.volume_types import LabelMap


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


def read_result(path: Path, labels: Sequence[LabelConfig]) -> LabelMap:
    """Read a label map with the numbers that a model gives its labels; DICOM SEG has others.

    Raises:
        DataError: It cannot be read, or has segments of other names.
        DependencyError: It is a DICOM SEG, and highdicom is not installed.
    """
    from MISFMLib.volumes.volume import read_label_map

    if not is_dicom_seg(path):
        return read_label_map(path)
    from MISFMLib.data.case_reading import match_names
    from MISFMLib.export.dicom_seg import to_text

    names = {label.value: to_text(label.name) for label in labels}
    return match_names(read_dicom_seg(path), names, path)
