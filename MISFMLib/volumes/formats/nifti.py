"""NIfTI files: what ITK would read wrongly is refused, or read here.

ITK reads A.nii when asked for A.nii.gz beside it, no NIfTI-2, no file that is packed otherwise than
its name says, and no sform that rounding has sheared by a hair unless there is a qform.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.nifti_header import NiftiHeader, read_nifti_header
from MISFMLib.volumes.formats.problems import (
    BLOCK_BYTES,
    check_axes,
    check_memory,
    check_size,
    check_sizes,
    check_spacing,
    four_dimensional,
    not_an_image,
    not_finite,
    unpacked,
)
from MISFMLib.volumes.volume_types import Array, Geometry, numbers

logger = logging.getLogger(__name__)

_INTENT_VECTOR = 1007
_SCANNER = 1
_SHEAR_TOLERANCE = 1e-4
"""Where ITK gives up an sform as sheared (itkNiftiImageIO.cxx); 0.006 degrees."""
_SPACING_TOLERANCE = 1e-3
"""Relative difference of the two statements of the voxel size that is no contradiction."""
_ROUNDING = 0.1
"""Part of a voxel by which a rounded header may move one."""
_UNSAID = 0.005
"""Part of a voxel by which the two statements of the voxel size may differ without a word."""
_POSITION_TOLERANCE_MM = 0.01


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
        geometry = _check_grid(header, path)
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


def _check_grid(header: NiftiHeader, path: Path) -> Geometry | None:
    if len(header.sizes) < 3:
        return None  # refused for that later
    check_spacing(path, np.abs(header.spacing_xyz))
    if min(header.spacing_xyz) < 0:
        # ITK mirrors such an axis, nibabel does not.
        what = f"negative voxel sizes {numbers(header.spacing_xyz)} mm"
        raise _contradiction(path, f"{what}, so programs disagree on left and right")
    used, unused = header.qform, header.sform
    if _uses_sform(header):
        used, unused = _regular(header, path), header.qform
    if used is None:
        logger.warning("%s does not say how the patient lies; its axes are taken as LPS.", path)
        return None
    if not np.isfinite(used).all():
        raise not_an_image(path, "its place is no number")
    if unused is not None and np.isfinite(unused).all() and used is not unused:
        name = "qform" if unused is header.sform else "sform"
        _warn_about_two_positions(used, unused, header.sizes, path, name)
    lengths = np.linalg.norm(used[:, :3], axis=0)
    width, height, depth = header.sizes[:3]
    x, y, z = map(float, used[:, 3])
    return Geometry(
        shape_dhw=(depth, height, width),
        spacing_dhw=(float(lengths[2]), float(lengths[1]), float(lengths[0])),
        origin_xyz=(x, y, z),
        direction=tuple(map(float, (used[:, :3] / lengths).ravel())),
    )


def _regular(header: NiftiHeader, path: Path) -> Array:
    """Return the sform, or the regular grid that it was before it was rounded.

    Raises:
        DataError: No regular grid has all its voxels within a tenth of a voxel, or the voxel sizes
            contradict each other by more.
    """
    sform: Array = header.sform if header.sform is not None else np.zeros((3, 4))
    axes, spacing = sform[:, :3], header.spacing_xyz
    lengths = np.linalg.norm(axes, axis=0)
    check_spacing(path, lengths)
    if not np.isfinite(sform).all():
        return sform
    nearest, tolerance = _nearest_grid(sform, header.sizes), _ROUNDING * lengths.min()
    if _apart(sform, nearest, header.sizes) > tolerance:
        check_axes(path, axes / lengths, _SHEAR_TOLERANCE)
    longest = np.abs(lengths - spacing) * (np.array(header.sizes[:3]) - 1)
    is_rounded = (longest <= _ROUNDING * lengths).all()
    if not is_rounded and not np.allclose(lengths, spacing, rtol=_SPACING_TOLERANCE, atol=0):
        what = f"two voxel sizes, {numbers(spacing)} mm (pixdim) and {numbers(lengths)} mm (sform)"
        raise _contradiction(path, what)
    cosines = (axes / lengths).T @ (axes / lengths)
    if np.abs(cosines - np.eye(3)).max() <= _SHEAR_TOLERANCE:
        return sform
    qform = header.qform
    if qform is not None and _apart(sform, qform, header.sizes) <= tolerance:
        nearest = qform  # which ITK takes too
    off = _apart(sform, nearest, header.sizes)
    logger.warning(
        "%s: rounding has sheared its sform, which is up to %.2g mm (%.2g %% of a voxel) off the "
        "regular grid that is used.",
        path,
        off,
        100 * off / lengths.min(),
    )
    return nearest


def _nearest_grid(sform: Array, sizes: tuple[int, ...]) -> Array:
    """Return the grid with axes at right angles that is nearest to an affine matrix."""
    lengths = np.linalg.norm(sform[:, :3], axis=0)
    left, _, right = np.linalg.svd(sform[:, :3] / lengths)
    axes = left @ right * lengths
    middle = (np.array(sizes[:3]) - 1) / 2
    origin = sform[:, 3] + (sform[:, :3] - axes) @ middle
    return np.column_stack([axes, origin])


def _contradiction(path: Path, what: str) -> DataError:
    return DataError(
        f"{path} states {what}.",
        code="contradictory-grid",
        remedy="Correct its header, or convert the original DICOM files again.",
    )


def _warn_about_two_positions(
    used: Array, unused: Array, sizes: tuple[int, ...], path: Path, name: str
) -> None:
    apart = _apart(used, unused, sizes)
    if apart > _POSITION_TOLERANCE_MM:
        logger.warning(
            "%s holds two positions, up to %.3g mm apart; as in 3D Slicer its %s is used.",
            path,
            apart,
            name,
        )


def _apart(one: Array, other: Array, sizes: tuple[int, ...]) -> float:
    """Return the largest distance in mm of voxels that two matrices place."""
    corners = np.array(list(itertools.product(*((0, size - 1) for size in sizes[:3]), [1])))
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


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
    if geometry is None or header.sform is None or not _uses_sform(header):
        return True
    lengths = np.linalg.norm(header.sform[:, :3], axis=0)
    axes = header.sform[:, :3] / lengths
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR_TOLERANCE:
        # ITK takes the qform, and fails without one.
        return header.qform is not None and np.allclose(geometry.origin_xyz, header.qform[:, 3])
    off = np.abs(lengths - header.spacing_xyz) * (np.array(header.sizes[:3]) - 1)
    return bool((off <= _UNSAID * lengths).all())  # ITK takes the directions alone from the sform


def _uses_sform(header: NiftiHeader) -> bool:
    """With both forms present ITK, and so 3D Slicer, takes the sform only when it says scanner."""
    return header.sform is not None and (header.sform_code == _SCANNER or header.qform is None)


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
