"""NIfTI-1 and NIfTI-2 headers: shape, type, voxel size, and the statements of where voxels lie.

Read here since ITK reads no NIfTI-2, hides the two statements of the place, and fills shortened
files with zeros; nibabel refuses headers that are merely rounded and is none of Slicer's packages.
Fields are named as in nifti1.h and nifti2.h (https://nifti.nimh.nih.gov/pub/dist/src/niftilib/).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from MISFMLib.volumes.formats.problems import file_truncated, not_an_image
from MISFMLib.volumes.volume_types import Array

_MILLIMETRES = {1: 1000.0, 3: 0.001}
"""Length of the units metre and micron; anything else is taken as mm."""
_VALUE_BYTES = {
    **{2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4},
    **{1024: 8, 1280: 8, 1792: 16, 2304: 4},
}
"""Bytes of one value by datatype."""
_FLOAT_TYPES = {16: "f4", 64: "f8"}
_NUMBER_TYPES = {
    **{2: "u1", 4: "i2", 8: "i4", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"},
    **_FLOAT_TYPES,
}
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])
_LARGEST_OFFSET = 2**40


@dataclass(frozen=True)
class _Layout:
    """Where the fields of a version stand: form of struct and place in the header."""

    size: int
    magic: tuple[int, bytes]
    dim: tuple[str, int]
    datatype: tuple[str, int]
    vox_offset: tuple[str, int]
    pixdim: tuple[str, int]
    slope: tuple[str, int]
    codes: tuple[str, int]
    quatern: tuple[str, int]
    qoffset: tuple[str, int]
    srow: tuple[str, int]
    intent: tuple[str, int]
    units: tuple[str, int]


_LAYOUTS = (
    _Layout(
        size=348,
        magic=(344, b"n+1"),
        dim=("8h", 40),
        datatype=("h", 70),
        vox_offset=("f", 108),
        pixdim=("8f", 76),
        slope=("2f", 112),
        codes=("2h", 252),
        quatern=("3f", 256),
        qoffset=("3f", 268),
        srow=("12f", 280),
        intent=("h", 68),
        units=("B", 123),
    ),
    _Layout(
        size=540,
        magic=(4, b"n+2"),
        dim=("8q", 16),
        datatype=("h", 12),
        vox_offset=("q", 168),
        pixdim=("8d", 104),
        slope=("2d", 176),
        codes=("2i", 344),
        quatern=("3d", 352),
        qoffset=("3d", 376),
        srow=("12d", 400),
        intent=("i", 504),
        units=("i", 500),
    ),
)


@dataclass(frozen=True)
class NiftiHeader:
    """What is needed of a header."""

    version: int
    sizes: tuple[int, ...]
    intent_code: int
    value_bytes: int
    number_type: str
    """numpy's name of the type with byte order; empty for colours and complex numbers."""
    vox_offset: int
    slope: float
    intercept: float
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

    @property
    def is_float(self) -> bool:
        """Whether values can be no numbers."""
        return self.number_type[1:] in _FLOAT_TYPES.values()

    @property
    def is_scaled(self) -> bool:
        """Whether the intensities are other numbers than those stored."""
        is_given = math.isfinite(self.slope) and self.slope != 0 and math.isfinite(self.intercept)
        return is_given and (self.slope, self.intercept) != (1, 0)


def read_nifti_header(data: bytes, path: Path) -> NiftiHeader:
    """Read the header at the beginning of the data.

    Raises:
        DataError: There is none, or it is damaged.
    """
    layout, order = _layout(data, path)

    def field(place: tuple[str, int]) -> Any:
        return np.array(struct.unpack_from(order + place[0], data, place[1]))

    dim, datatype = field(layout.dim), int(field(layout.datatype)[0])
    vox_offset = float(field(layout.vox_offset)[0])
    is_sound = 1 <= dim[0] <= 7 and datatype in _VALUE_BYTES and math.isfinite(vox_offset)
    if not is_sound or abs(vox_offset) > _LARGEST_OFFSET:
        raise not_an_image(path, "its header is damaged")
    qform_code, sform_code = map(int, field(layout.codes))
    pixdim = field(layout.pixdim).astype(float)
    unit = _MILLIMETRES.get(int(field(layout.units)[0]) & 7, 1.0)
    sform = field(layout.srow).reshape(3, 4)
    with np.errstate(invalid="ignore"):  # what is no number is refused later
        qform = _matrix_of_quaternion(field(layout.quatern), field(layout.qoffset), pixdim)
        qform, sform = _LPS_FROM_RAS @ qform * unit, _LPS_FROM_RAS @ sform * unit
    slope, intercept = map(float, field(layout.slope))
    return NiftiHeader(
        version=_LAYOUTS.index(layout) + 1,
        sizes=tuple(map(int, dim[1 : int(dim[0]) + 1])),
        intent_code=int(field(layout.intent)[0]),
        value_bytes=_VALUE_BYTES[datatype],
        number_type=order + _NUMBER_TYPES[datatype] if datatype in _NUMBER_TYPES else "",
        vox_offset=max(int(vox_offset), layout.size),
        slope=slope,
        intercept=intercept,
        spacing_xyz=pixdim[1:4] * unit,
        qform=qform if qform_code > 0 else None,
        sform=sform if sform_code > 0 else None,
        sform_code=sform_code,
    )


def _layout(data: bytes, path: Path) -> tuple[_Layout, str]:
    """Return the layout and the byte order."""
    for layout in _LAYOUTS:
        for order in "<>":
            if data[:4] == struct.pack(order + "i", layout.size):
                if len(data) < layout.size:
                    raise file_truncated(path, "it ends within its header")
                start, magic = layout.magic
                if data[start : start + 3] != magic:
                    raise not_an_image(
                        path, "it is not a NIfTI-1 or NIfTI-2 file that holds its voxels itself"
                    )
                return layout, order
    raise not_an_image(path, "it does not begin like a NIfTI file")


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
