"""One image file in, through SimpleITK, with errors that say what is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.errors import DataError, is_out_of_memory
from MISFMLib.volumes.formats.itk import quiet_itk
from MISFMLib.volumes.formats.nifti import check_nifti, nifti_sizes, read_unusual_nifti
from MISFMLib.volumes.formats.problems import (
    check_axes,
    check_extent,
    check_name,
    check_sizes,
    check_spacing,
    file_missing,
    file_truncated,
    four_dimensional,
    not_an_image,
    two_dimensional,
)
from MISFMLib.volumes.formats.text_headers import check_metaimage, check_nrrd
from MISFMLib.volumes.suffixes import VOLUME_SUFFIXES, volume_suffix
from MISFMLib.volumes.volume_types import Geometry, describe_difference

_HEADER_CHECKS: dict[str, Callable[[Path, int], Geometry | None]] = {
    ".nii": check_nifti,
    ".nii.gz": check_nifti,
    ".nrrd": check_nrrd,
    ".nhdr": check_nrrd,
    ".seg.nrrd": check_nrrd,
    ".mha": check_metaimage,
    ".mhd": check_metaimage,
}
_AXES_TOLERANCE = 1e-3
"""Rounded directions in text headers deviate by up to this; they are kept as they are."""


def read_image(path: Path) -> sitk.Image:
    """Read a volume file with three axes and one or several scalar components.

    Raises:
        DataError: The file is missing, no image, damaged, not 3D, or has an irregular grid.
    """
    return read_frames(path, 1)[0]


def read_frames(path: Path, num_frames: int) -> list[sitk.Image]:
    """Read a volume file with three axes, or with so many frames on one grid as a fourth.

    Args:
        path: The file.
        num_frames: Frames that are expected; a file may also have one.

    Raises:
        DataError: The file is missing, no image, damaged, not 3D, has another number of frames or
            an irregular grid.
    """
    try:
        expected = _check_header(path, num_frames)
        is_nifti = volume_suffix(path).startswith(".nii")
        frames = read_unusual_nifti(path, expected) if is_nifti else None
        if frames is None:
            with quiet_itk():
                frames = _read_checked(path, num_frames)
        for frame in frames:
            _check_shape(frame.GetSize(), path, num_frames)
    except OSError as error:
        raise _unreadable(path, error) from error
    _check_grid(frames[0], expected, path)
    return frames


def check_whole(path: Path) -> None:
    """Refuse a volume file that does not hold all voxels that its header names.

    Raises:
        DataError: It is missing, damaged, or no volume file.
    """
    try:
        _check_header(path, 1)
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_header(path: Path, num_frames: int) -> Geometry | None:
    """Check name, kind and header of a file before ITK, which trusts all of them."""
    if not path.exists():
        raise file_missing(path)
    check_name(path)
    if path.is_file() and not path.stat().st_size:
        raise file_truncated(path, "the file is empty")
    suffix = volume_suffix(path)
    if not suffix or not path.is_file():  # a pipe or device might never answer
        raise DataError(
            f"{path} is no volume file, expected one of {', '.join(VOLUME_SUFFIXES)}.",
            code="unsupported-format",
            remedy="Convert it, for example in 3D Slicer, or give a DICOM folder.",
        )
    return _HEADER_CHECKS[suffix](path, num_frames)


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path} cannot be read: {error.strerror or error}.",
        code="file-unreadable",
        remedy="Check that you may read it.",
    )


def _read_checked(path: Path, num_frames: int) -> list[sitk.Image]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_shape(reader.GetSize(), path, num_frames)
        _check_pixels(reader, path)
        image = reader.Execute()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(f"{path} does not fit into the memory") from error
        raise _translated(error, path) from error
    # ITK may count a last axis of one time point.
    if image.GetDimension() == 4:
        return [image[:, :, :, index] for index in range(image.GetSize()[3])]
    return [image]


def _check_shape(size_xyz: tuple[int, ...], path: Path, num_frames: int) -> None:
    check_sizes(path, size_xyz)
    if len(size_xyz) > 4 or (len(size_xyz) == 4 and size_xyz[3] not in (1, num_frames)):
        raise four_dimensional(path, size_xyz)
    # 3D Slicer saves of a segmentation the box around its segments only, 1 x 1 x 1 for none.
    fewest = 1 if volume_suffix(path) == ".seg.nrrd" else 2
    if len(size_xyz) < 3 or min(size_xyz[:3]) < fewest:
        raise two_dimensional(path, size_xyz)


def _check_pixels(reader: sitk.ImageFileReader, path: Path) -> None:
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in kind:
        raise DataError(
            f"{path} holds complex numbers, real intensities were expected.",
            code="complex-image",
            remedy="Save its magnitude.",
        )


def _translated(error: RuntimeError, path: Path) -> DataError:
    """Put the cause in a message of ITK, which has many lines, into one sentence."""
    text = str(error)
    if "spacing" in text.lower() and ("Zero" in text or "invalid" in text):
        return DataError(
            f"{path} has a voxel size of zero.",
            code="zero-spacing",
            remedy="Correct its spacing in 3D Slicer, or convert the original files again.",
        )
    if "determinant" in text or "orthonormal" in text:
        return DataError(
            f"{path} has axes that no regular grid has.",
            code="sheared-grid",
            remedy="Resample it onto a regular grid first.",
        )
    last_line = text.strip().splitlines()[-1].rpartition("ERROR: ")[2]
    return not_an_image(path, last_line.rstrip("."))


def _check_grid(image: sitk.Image, expected: Geometry | None, path: Path) -> None:
    check_spacing(path, image.GetSpacing())
    check_extent(path, image.GetSize(), image.GetSpacing())
    check_axes(path, np.reshape(image.GetDirection(), (3, 3)), _AXES_TOLERANCE)
    difference = expected and describe_difference(expected, geometry_of(image))
    if difference:
        raise DataError(
            f"{path} states a grid that ITK {sitk.Version_ITKVersionString()} reads differently: "
            f"{difference}.",
            code="contradictory-grid",
            remedy="Convert the original DICOM files again with a current converter.",
        )


def count_frames(path: Path) -> int:
    """Return the length of the fourth axis of a volume file; 1 where there is none.

    What is wrong with a file that cannot be read is told when its voxels are read.
    """
    if volume_suffix(path).startswith(".nii"):
        with contextlib.suppress(DataError, OSError):
            sizes = nifti_sizes(path)
            return sizes[3] if len(sizes) == 4 else 1
        return 1
    size_xyz = _header(path).GetSize()
    return int(size_xyz[3]) if len(size_xyz) == 4 else 1


def header_fields(path: Path) -> dict[str, str]:
    """Return the key-value pairs in the header of a volume file; empty where it has none."""
    reader = _header(path)
    try:
        return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    except RuntimeError:  # the header could not be read
        return {}


def _header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with quiet_itk(), contextlib.suppress(RuntimeError):
        reader.ReadImageInformation()
    return reader


def geometry_of(image: sitk.Image | sitk.ImageFileReader) -> Geometry:
    """Return the grid of an image or of the file whose header was read."""
    depth_height_width = image.GetSize()[::-1]
    return Geometry(
        shape_dhw=depth_height_width,
        spacing_dhw=image.GetSpacing()[::-1],
        origin_xyz=image.GetOrigin(),
        direction=image.GetDirection(),
    )
