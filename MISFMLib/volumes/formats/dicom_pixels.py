"""The voxels of DICOM slices, through GDCM where its values are right, else through pydicom.

GDCM, as SimpleITK 2.5.7 uses it, inverts images that are displayed white on black (MONOCHROME1),
intensities included, and scales all frames of a file like the first. Display is no business of the
intensities (DICOM PS3.3 C.7.6.3.1.2), and each frame has a scale of its own (C.7.6.16.2.9).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.volumes.formats.dicom_header import patient_data_as_it_is
from MISFMLib.volumes.formats.dicom_image import DicomSlice, unreadable
from MISFMLib.volumes.formats.itk import quiet_itk
from MISFMLib.volumes.volume_types import Array

_UNPACKED_BY_PYDICOM = (
    "1.2.840.10008.1.2",
    *(f"1.2.840.10008.1.2.{number}" for number in ("1", "1.99", "2", "5")),
)
"""Uncompressed, deflated and run-length encoded pixels, which pydicom reads without more packages.
Others are unpacked by GDCM, on a copy whose header says nothing of display and scale."""
_SCALES = (
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
)


def read_voxels(slices: Sequence[DicomSlice]) -> Array:
    """Read slices of one size.

    Args:
        slices: In the order of the result.

    Returns:
        Voxels (D, H, W) in HU or in the scanner's units; integers where the scales allow it, in no
        more than 32 bits.

    Raises:
        DataError: A file is damaged, or compressed in an unknown way.
    """
    files = list(dict.fromkeys(each.image.path for each in slices))
    if all(each.image.frame_count == 1 and _is_right_in_gdcm([each]) for each in slices):
        with contextlib.suppress(RuntimeError):  # what GDCM cannot read pydicom may, file by file
            return _narrowed(_by_gdcm(files, slices))
    of_file: dict[Path, list[DicomSlice]] = {path: [] for path in files}
    for each in slices:
        of_file[each.image.path].append(each)
    read = {path: _frames(own) for path, own in of_file.items()}
    return _narrowed(np.stack([read[each.image.path][each.frame] for each in slices]))


def _is_right_in_gdcm(frames: Sequence[DicomSlice]) -> bool:
    is_one_scale = len({frame.scale for frame in frames}) == 1
    return frames[0].image.photometric != "MONOCHROME1" and is_one_scale


def _by_gdcm(files: Sequence[Path], slices: Sequence[DicomSlice]) -> Array:
    """Read files (D, H, W) in their order."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in files])
    if len({each.scale for each in slices}) > 1:
        # Each slice has its own rescale slope: the type of the first would cut off the others.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    with quiet_itk():
        array: Array = sitk.GetArrayFromImage(reader.Execute())
    return array.reshape(-1, *slices[0].image.shape_hw)


def _frames(frames: Sequence[DicomSlice]) -> dict[int, Array]:
    """Return the wanted frames of one file by their numbers."""
    image = frames[0].image
    if _is_right_in_gdcm(frames) and image.frame_count == len(frames):  # all of one scale
        with contextlib.suppress(RuntimeError):
            array = _by_gdcm([image.path], frames)
            return {frame.frame: array[frame.frame] for frame in frames}
    try:
        stored = stored_values(image.path, image.syntax).reshape(-1, *image.shape_hw)
    except OSError:
        raise
    except Exception as error:  # a damaged file can raise anything in a decoder
        raise unreadable(image.path, image.syntax) from error
    return {frame.frame: _scaled(stored[frame.frame], *frame.scale) for frame in frames}


def stored_values(path: Path, syntax: str) -> Array:
    """Return the numbers in a file, neither inverted nor scaled: (frames, H, W) or (H, W)."""
    from pydicom import dcmread

    with patient_data_as_it_is():
        dataset = dcmread(path, force=True)
        if syntax in _UNPACKED_BY_PYDICOM:
            dataset.file_meta.TransferSyntaxUID = dataset.file_meta.get("TransferSyntaxUID", syntax)
            array: Array = dataset.pixel_array
            return array
        for keyword in _SCALES:
            if keyword in dataset:
                delattr(dataset, keyword)
        dataset.PhotometricInterpretation = "MONOCHROME2"
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "image.dcm")
            dataset.save_as(copy)
            with quiet_itk():
                return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(copy))))


def _scaled(stored_HW: Array, slope: float, intercept: float) -> Array:
    if slope == 1 and float(intercept).is_integer():
        return stored_HW.astype(np.int64) + int(intercept)
    return (stored_HW * slope + intercept).astype(np.float32)


def _narrowed(array: Array) -> Array:
    """Return HU in 16 bits where they fit, for which GDCM takes 32, and no number in 64."""
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if array.dtype.itemsize <= 2:
        return array
    for dtype in (np.int16, np.int32):
        bounds = np.iinfo(dtype)
        if array.min() >= bounds.min and array.max() <= bounds.max:
            return array.astype(dtype)
    return array.astype(np.float32)
