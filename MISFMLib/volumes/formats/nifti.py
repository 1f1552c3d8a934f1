"""NIfTI files: what ITK would read wrongly is refused, or read here.

ITK reads A.nii when asked for A.nii.gz beside it, no NIfTI-2, no file that is packed otherwise than
its name says, and no sform that rounding has sheared by a hair unless there is a qform.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.volumes.formats.nifti_grid import is_grid_of_itk, nifti_grid
from MISFMLib.volumes.formats.nifti_header import NiftiHeader, read_nifti_header
from MISFMLib.volumes.formats.problems import (
    BLOCK_BYTES,
    check_memory,
    check_size,
    check_sizes,
    four_dimensional,
    not_an_image,
    not_finite,
    unpacked,
)
from MISFMLib.volumes.volume_types import Geometry

_INTENT_VECTOR = 1007


def check_nifti(path: Path, num_frames: int = 1) -> Geometry | None:
    """Refuse a .nii or .nii.gz file that ITK would read wrongly.

    Args:
        path: The file.
        num_frames: Length of a fourth axis that is allowed.

    Returns:
        The grid that ITK must find; None where the file does not say where it lies.

    Raises:
        DataError: It is no NIfTI-1 image, is shortened or damaged, has no or more than three
            dimensions, zero or contradictory voxel sizes, sheared axes, or NaN or infinite values.
    """
    with path.open("rb") as file:
        blocks, is_packed = _blocks(file, path)
        start = next(blocks, b"")
        header = read_nifti_header(start, path)
        _check_shape(header, path, num_frames)
        geometry = nifti_grid(header, path)
        check_memory(path, math.prod(header.sizes) * header.value_bytes)
        if is_packed or header.is_float:
            size = _check_blocks(itertools.chain([start], blocks), header, path)
        else:
            size = path.stat().st_size
    check_size(path, size, header.file_bytes)
    return geometry


def _blocks(file: BinaryIO, path: Path) -> tuple[Iterator[bytes], bool]:
    """Return the content block by block, and whether it was packed, whatever the name says."""
    is_packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if is_packed:
        return unpacked(file, path), True
    return iter(lambda: file.read(BLOCK_BYTES), b""), False


def _check_shape(header: NiftiHeader, path: Path, num_frames: int) -> None:
    check_sizes(path, header.sizes)
    extra = math.prod(header.sizes[3:])
    has_channels = (
        header.intent_code == _INTENT_VECTOR and len(header.sizes) == 5 and header.sizes[3] == 1
    )
    if extra not in (1, num_frames) and not has_channels:
        raise four_dimensional(path, header.sizes)


def _check_blocks(blocks: Iterable[bytes], header: NiftiHeader, path: Path) -> int:
    """Refuse NaN and infinite values, which ITK turns into zeros; return the size in bytes."""
    size, rest = 0, b""
    for block in blocks:
        first = max(0, header.vox_offset - size)
        last = max(0, header.file_bytes - size)
        size += len(block)
        if header.is_float:
            data = rest + block[first:last]
            whole = len(data) - len(data) % header.value_bytes
            rest = data[whole:]
            if not np.isfinite(np.frombuffer(data[:whole], header.number_type)).all():
                raise not_finite(path)
    return size


# ---------------------------------------------------------------------------------- what ITK cannot


def read_unusual_nifti(path: Path, geometry: Geometry | None) -> list[sitk.Image] | None:
    """Read a file that ITK reads wrongly or not at all; None for all others.

    Args:
        path: A file that `check_nifti` has accepted.
        geometry: The grid that it found.

    Returns:
        The frames of the file.

    Raises:
        DataError: The values are colours or complex numbers.
    """
    with path.open("rb") as file:
        blocks, is_packed = _blocks(file, path)
        start = next(blocks, b"")
        header = read_nifti_header(start, path)
        if _is_read_by_itk(header, path, geometry, is_packed):
            return None
        if not header.number_type:
            raise not_an_image(path, "its voxels are colours or complex numbers")
        data = b"".join(itertools.chain([start], blocks))
    stored = np.frombuffer(data, header.number_type, math.prod(header.sizes), header.vox_offset)
    values = stored * header.slope + header.intercept if header.is_scaled else stored
    array = values.astype(values.dtype.newbyteorder("="), copy=False)
    spatial = (1,) * (3 - len(header.sizes)) + header.sizes[2::-1]
    volumes = array.reshape(-1, *spatial)
    if header.intent_code == _INTENT_VECTOR and len(header.sizes) == 5:
        image = sitk.GetImageFromArray(np.moveaxis(volumes, 0, -1), isVector=True)
        return [_placed(image, header, geometry)]
    return [_placed(sitk.GetImageFromArray(volume), header, geometry) for volume in volumes]


def _is_read_by_itk(
    header: NiftiHeader, path: Path, geometry: Geometry | None, is_packed: bool
) -> bool:
    name = path.name.lower()
    stem = name.removesuffix(".gz").removesuffix(".nii")
    # The NIfTI library looks for .nii before .nii.gz, and takes a second ending for the first.
    has_twin = name.endswith(".gz") and path.with_name(path.name[:-3]).exists()
    is_odd_name = has_twin or stem.endswith((".nii", ".hdr", ".img"))
    if header.version != 1 or is_packed != name.endswith(".gz") or is_odd_name:
        return False
    return is_grid_of_itk(header, geometry)


def nifti_sizes(path: Path) -> tuple[int, ...]:
    """Return the lengths of the axes of a file, x first.

    Raises:
        DataError: It is no NIfTI file, or damaged.
    """
    with path.open("rb") as file:
        blocks, _ = _blocks(file, path)
        return read_nifti_header(next(blocks, b""), path).sizes


def _placed(image: sitk.Image, header: NiftiHeader, geometry: Geometry | None) -> sitk.Image:
    if geometry is None:
        image.SetSpacing(
            [float(edge) for edge in np.abs(header.spacing_xyz)][: image.GetDimension()]
        )
        return image
    image.SetSpacing(geometry.spacing_dhw[::-1])
    image.SetOrigin(geometry.origin_xyz)
    image.SetDirection(geometry.direction)
    return image
