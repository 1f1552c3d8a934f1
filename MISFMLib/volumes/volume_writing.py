"""One image file out: compressed, beside the old one, read back, renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.errors import DataError, OutputError
from MISFMLib.files import output_error, written_atomically
from MISFMLib.volumes.formats.itk import quiet_itk
from MISFMLib.volumes.formats.problems import check_name
from MISFMLib.volumes.volume_files import check_whole, geometry_of
from MISFMLib.volumes.volume_types import Array, Geometry, describe_difference

_WRITTEN_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")
_FULL_BYTES = 2**20
"""With less room than this a disk counts as full."""


def write_image(
    array: Array,
    geometry: Geometry,
    path: Path,
    *,
    fields: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write an array on its grid, compressed where the format can, and check that the grid held.

    Args:
        array: Voxels (D, H, W), or (D, H, W, C) for several channels.
        geometry: Grid of the voxels.
        path: Result; its suffix chooses the format.
        fields: Key-value pairs for the header of an NRRD file.
        overwrite: Replace a file that is already there.

    Raises:
        OutputError: The suffix is none that can be written, the file is there already or cannot be
            written, or the format cannot store the grid.
    """
    # ITK's NIfTI writer takes the suffix only in lower case.
    if not path.name.endswith(_WRITTEN_SUFFIXES):
        raise OutputError(
            f"{path.name} names no format that can be written, expected one of "
            f"{', '.join(_WRITTEN_SUFFIXES)}.",
            code="unsupported-format",
            remedy="Choose another ending.",
        )

    try:
        check_name(path.absolute())
    except DataError as error:
        raise OutputError(error.message, code=error.code, remedy=error.remedy) from error

    def check(temporary: Path) -> None:
        _check_written(array, geometry, temporary, path)

    with quiet_itk(), written_atomically(path, overwrite=overwrite, check=check) as temporary:
        try:
            sitk.WriteImage(_to_image(array, geometry, fields or {}), str(temporary), True)
        except RuntimeError as error:
            raise _not_whole(path, str(error).strip().splitlines()[-1]) from error


def _to_image(array: Array, geometry: Geometry, fields: Mapping[str, str]) -> sitk.Image:
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing(geometry.spacing_dhw[::-1])
    image.SetOrigin(geometry.origin_xyz)
    image.SetDirection(geometry.direction)
    for key, value in fields.items():
        image.SetMetaData(key, value)
    return image


def _check_written(array: Array, geometry: Geometry, temporary: Path, path: Path) -> None:
    """Read a file back whole: on a full disk ITK's writers go on, and some say nothing."""
    try:
        check_whole(temporary)  # ITK fills up what is missing in a .nii with what the memory held
        image = sitk.ReadImage(str(temporary))
    except DataError as error:
        reason = error.message.replace(str(temporary), "the file").rstrip(".")
        raise _not_whole(path, reason) from error
    except RuntimeError as error:
        raise _not_whole(path, str(error).strip().splitlines()[-1]) from error
    difference = describe_difference(geometry, geometry_of(image))
    if difference:
        raise OutputError(
            f"{path.name} cannot store the grid of the image: {difference}.",
            code="grid-not-stored",
            remedy="Choose .nrrd or .mha.",
        )
    nan_is_nan = array.dtype.kind == "f"
    planes = zip(sitk.GetArrayViewFromImage(image), array, strict=True)
    if not all(np.array_equal(read, plane, equal_nan=nan_is_nan) for read, plane in planes):
        raise _not_whole(path, "the file holds other voxels than were written")


def _not_whole(path: Path, reason: str) -> OutputError:
    """Return why a file is not whole; ITK does not tell when it is for want of space."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(path.parent).free < _FULL_BYTES:
            return output_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path)
    return OutputError(
        f"{path} cannot be written: {reason}.",
        code="output-not-writable",
        remedy="Check that the folder is writable, the disk has room, and files may be so large.",
    )
