"""NIfTI-1 headers: shape, voxel size, and the two statements of where the voxels lie.

Fields are named as in nifti1.h (https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h).
"""

from __future__ import annotations

import itertools
import logging
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.problems import (
    BLOCK_BYTES,
    check_axes,
    check_memory,
    check_size,
    check_sizes,
    check_spacing,
    file_truncated,
    four_dimensional,
    not_an_image,
    not_finite,
    unpacked,
)
from MISFMLib.volumes.volume_types import Array, Geometry, numbers

logger = logging.getLogger(__name__)

_HEADER_BYTES = 348
_INTENT_VECTOR = 1007
_SCANNER = 1
_MILLIMETRES = {1: 1000.0, 3: 0.001}
"""Length of the units metre and micron; anything else is taken as mm."""
_VALUE_BYTES = {
    **{2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4},
    **{1024: 8, 1280: 8, 1792: 16, 2304: 4},
}
"""Bytes of one value by datatype."""
_FLOAT_TYPES = {16: "f4", 64: "f8"}
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])
_SHEAR_TOLERANCE = 1e-4
"""Where ITK gives up an sform as sheared (itkNiftiImageIO.cxx); 0.006 degrees."""
_SPACING_TOLERANCE = 1e-3
"""Largest relative difference of the two statements of the voxel size."""
_POSITION_TOLERANCE_MM = 0.01


@dataclass(frozen=True)
class _Header:
    sizes: tuple[int, ...]
    intent_code: int
    value_bytes: int
    float_type: str
    """numpy's name of the type with byte order; empty for integers."""
    vox_offset: int
    spacing_xyz: Array
    """In mm."""
    qform: Array | None
    """3 x 4 matrix from voxel index to mm in LPS; None where the file has none."""
    sform: Array | None
    """The same as an affine matrix, which may be sheared."""
    sform_code: int

    @property
    def file_bytes(self) -> int:
        """Bytes that the unpacked file must have at least."""
        return self.vox_offset + math.prod(self.sizes) * self.value_bytes


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
    is_packed = path.name.lower().endswith(".gz")
    with path.open("rb") as file:
        blocks = unpacked(file, path) if is_packed else iter(lambda: file.read(BLOCK_BYTES), b"")
        start = next(blocks, b"")
        header = _read_header(start, path)
        _check_shape(header, path, num_frames)
        geometry = _check_grid(header, path)
        check_memory(path, math.prod(header.sizes) * header.value_bytes)
        if is_packed or header.float_type:
            size = _check_blocks(itertools.chain([start], blocks), header, path)
        else:
            size = path.stat().st_size
    check_size(path, size, header.file_bytes)
    return geometry


def _read_header(data: bytes, path: Path) -> _Header:
    order = "<" if data[:4] == struct.pack("<i", _HEADER_BYTES) else ">"
    if data[:4] != struct.pack(order + "i", _HEADER_BYTES):
        raise not_an_image(path, "it does not begin like a NIfTI-1 file")
    if len(data) < _HEADER_BYTES:
        raise file_truncated(path, "it ends within its header")
    if data[344:347] != b"n+1":
        raise not_an_image(path, "it is not a NIfTI-1 file that holds its voxels itself")

    def field(form: str, offset: int) -> Array:
        return np.array(struct.unpack_from(order + form, data, offset))

    dim, datatype, vox_offset = field("8h", 40), int(field("h", 70)[0]), field("f", 108)[0]
    if not 1 <= dim[0] <= 7 or datatype not in _VALUE_BYTES or not math.isfinite(vox_offset):
        raise not_an_image(path, "its header is damaged")
    qform_code, sform_code = map(int, field("2h", 252))
    pixdim, unit = field("8f", 76), _MILLIMETRES.get(data[123] & 7, 1.0)
    sform = field("12f", 280).reshape(3, 4)
    with np.errstate(invalid="ignore"):  # what is no number is refused later
        qform = _matrix_of_quaternion(field("3f", 256), field("3f", 268), pixdim)
        qform, sform = _LPS_FROM_RAS @ qform * unit, _LPS_FROM_RAS @ sform * unit
    return _Header(
        sizes=tuple(map(int, dim[1 : dim[0] + 1])),
        intent_code=int(field("h", 68)[0]),
        value_bytes=_VALUE_BYTES[datatype],
        float_type=order + _FLOAT_TYPES[datatype] if datatype in _FLOAT_TYPES else "",
        vox_offset=max(int(vox_offset), _HEADER_BYTES),
        spacing_xyz=pixdim[1:4] * unit,
        qform=qform if qform_code > 0 else None,
        sform=sform if sform_code > 0 else None,
        sform_code=sform_code,
    )


def _matrix_of_quaternion(bcd: Array, offset: Array, pixdim: Array) -> Array:
    """Return the 3 x 4 matrix of the quaternion representation, method 2 of nifti1.h."""
    square = float(bcd @ bcd)
    # Rounding can make half a turn a little too long.
    b, c, d = bcd / math.sqrt(square) if square > 1 - 1e-7 else bcd
    a = math.sqrt(max(0.0, 1 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    steps = pixdim[1:4] * (1, 1, -1 if pixdim[0] < 0 else 1)
    return np.column_stack([rotation * steps, offset])


def _check_shape(header: _Header, path: Path, num_frames: int) -> None:
    check_sizes(path, header.sizes)
    extra = math.prod(header.sizes[3:])
    has_channels = (
        header.intent_code == _INTENT_VECTOR and len(header.sizes) == 5 and header.sizes[3] == 1
    )
    if extra not in (1, num_frames) and not has_channels:
        raise four_dimensional(path, header.sizes)


def _check_grid(header: _Header, path: Path) -> Geometry | None:
    if len(header.sizes) < 3:
        return None  # refused for that later
    check_spacing(path, np.abs(header.spacing_xyz))
    if min(header.spacing_xyz) < 0:
        # ITK mirrors such an axis, nibabel does not.
        what = f"negative voxel sizes {numbers(header.spacing_xyz)} mm"
        raise _contradiction(path, f"{what}, so programs disagree on left and right")
    used, unused = header.qform, header.sform
    # With both forms present ITK, and so 3D Slicer, takes the sform only when it says "scanner".
    if header.sform is not None and (header.sform_code == _SCANNER or header.qform is None):
        used, unused = header.sform, header.qform
        _check_sform(header.sform[:, :3], header.spacing_xyz, path)
    if used is None:
        logger.warning("%s does not say how the patient lies; its axes are taken as LPS.", path)
        return None
    if not np.isfinite(used).all():
        raise not_an_image(path, "its place is no number")
    if unused is not None and np.isfinite(unused).all():
        name = "sform" if used is header.sform else "qform"
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


def _check_sform(axes: Array, spacing: Array, path: Path) -> None:
    lengths = np.linalg.norm(axes, axis=0)
    check_spacing(path, lengths)
    check_axes(path, axes / lengths, _SHEAR_TOLERANCE)
    if not np.allclose(lengths, spacing, rtol=_SPACING_TOLERANCE, atol=0):
        what = f"two voxel sizes, {numbers(spacing)} mm (pixdim) and {numbers(lengths)} mm (sform)"
        raise _contradiction(path, what)


def _contradiction(path: Path, what: str) -> DataError:
    return DataError(
        f"{path} states {what}.",
        code="contradictory-grid",
        remedy="Correct its header, or convert the original DICOM files again.",
    )


def _warn_about_two_positions(
    used: Array, unused: Array, sizes: tuple[int, ...], path: Path, name: str
) -> None:
    corners = np.array(list(itertools.product(*((0, size - 1) for size in sizes[:3]), [1])))
    apart = np.linalg.norm(corners @ (used - unused).T, axis=1).max()
    if apart > _POSITION_TOLERANCE_MM:
        logger.warning(
            "%s holds two positions, up to %.3g mm apart; as in 3D Slicer its %s is used.",
            path,
            apart,
            name,
        )


def _check_blocks(blocks: Iterable[bytes], header: _Header, path: Path) -> int:
    """Refuse NaN and infinite values, which ITK turns into zeros; return the size in bytes."""
    size, rest = 0, b""
    for block in blocks:
        first = max(0, header.vox_offset - size)
        last = max(0, header.file_bytes - size)
        size += len(block)
        if header.float_type:
            data = rest + block[first:last]
            whole = len(data) - len(data) % header.value_bytes
            rest = data[whole:]
            if not np.isfinite(np.frombuffer(data[:whole], header.float_type)).all():
                raise not_finite(path)
    return size
