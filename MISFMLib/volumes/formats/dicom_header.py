"""The DICOM attributes that SimpleITK does not hand out: file meta information and frames.

SimpleITK shows no nested attributes, and ITK 5.4 stacks the frames of a multi-frame image in the
order of the file at equal distances, whatever the file says of their places. The reader follows
DICOM PS3.5 section 7 for little endian files.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.slice_stack import Plane

SOP_CLASS, TRANSFER_SYNTAX = 0x00020002, 0x00020010
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
NOT_LITTLE_ENDIAN = ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
"""Explicit big endian, and deflated."""

_POSITION, _ORIENTATION, _PIXEL_SPACING = 0x00200032, 0x00200037, 0x00280030
_INTERCEPT, _SLOPE = 0x00281052, 0x00281053
_SHARED_GROUPS, _FRAME_GROUPS = 0x52009229, 0x52009230
_PLACE, _AXES, _MEASURES, _RESCALE = 0x00209113, 0x00209116, 0x00289110, 0x00289145
_SEQUENCES = (_SHARED_GROUPS, _FRAME_GROUPS, _PLACE, _AXES, _MEASURES, _RESCALE)
_PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END = 0xFFFEE000, 0xFFFEE00D
_UNDEFINED_LENGTH = 0xFFFFFFFF
_LONG_FORMS = (
    *(b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV"),
    *(b"UC", b"UN", b"UR", b"UT", b"UV"),
)
_LARGEST_VALUE = 1 << 12

Dataset = dict[int, Any]
"""Tag (group * 65536 + element) to bytes, or to the list of the items of a sequence."""


def is_dicom(path: Path) -> bool:
    """Tell whether a file begins like DICOM, with or without the preamble."""
    try:
        with path.open("rb") as file:
            data = file.read(132)
    except OSError:
        return False
    # Without preamble it begins with an attribute of group 2 or 8.
    return data[128:] == b"DICM" or data[:4:2] in (b"\2\0", b"\10\0", b"\10\5", b"\10\x16")


def read_meta(path: Path) -> dict[int, str]:
    """Return the file meta information (group 2); empty for a file without preamble."""
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return {}
        meta = _Reader(file, is_explicit=True).dataset(group=2)
    return {tag: _text(value) for tag, value in meta.items()}


def read_frames(path: Path, shape_hw: tuple[int, int]) -> list[Plane]:
    """Return the places of the frames of a multi-frame image in the order of the file.

    Raises:
        DataError: The file does not state them, or scales the intensities of frames differently.
    """
    try:
        frames = _frame_groups(path)
        planes = [
            Plane(
                position_xyz=_numbers(frame[_PLACE][0][_POSITION], 3),
                orientation=_numbers(frame[_AXES][0][_ORIENTATION], 6),
                spacing_hw=_numbers(frame[_MEASURES][0][_PIXEL_SPACING], 2),
                shape_hw=shape_hw,
            )
            for frame in frames
        ]
    except (LookupError, ValueError, struct.error) as error:
        raise DataError(
            f"{path} is a multi-frame DICOM image that does not say where its frames lie, or "
            "not in a way that can be read here.",
            code="dicom-no-positions",
            remedy="Export the original series, or convert it with dcm2niix.",
        ) from error
    if len({_scaling(frame) for frame in frames}) > 1:
        raise DataError(
            f"{path} is a multi-frame DICOM image whose frames have different intensity scales.",
            code="dicom-mixed-series",
            remedy="Convert it with dcm2niix.",
        )
    return planes


def _frame_groups(path: Path) -> list[Dataset]:
    syntax = read_meta(path).get(TRANSFER_SYNTAX, "")
    if syntax in NOT_LITTLE_ENDIAN:
        raise LookupError(syntax)
    with path.open("rb") as file:
        file.seek(132)
        _Reader(file, is_explicit=True).dataset(group=2)
        dataset = _Reader(file, is_explicit=syntax != IMPLICIT_LITTLE_ENDIAN).dataset()
    shared = dataset.get(_SHARED_GROUPS) or [{}]
    return [shared[0] | frame for frame in dataset[_FRAME_GROUPS]]


def _scaling(frame: Mapping[int, Any]) -> tuple[str, str]:
    scale = (frame.get(_RESCALE) or [{}])[0]
    return _text(scale.get(_SLOPE, b"1")), _text(scale.get(_INTERCEPT, b"0"))


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")


def _numbers(value: bytes, count: int) -> tuple[float, ...]:
    return parse_numbers(_text(value), count)


def parse_numbers(text: str, count: int) -> tuple[float, ...]:
    r"""Return the numbers of an attribute of several values, which are joined by ``\``.

    Raises:
        ValueError: They are not `count` numbers.
    """
    values = tuple(map(float, text.split("\\")))
    if len(values) != count:
        raise ValueError(f"{count} numbers were expected, got {text!r}")
    return values


class _Reader:
    """Reads the attributes of an open file up to its pixel data; long values are skipped."""

    def __init__(self, file: BinaryIO, *, is_explicit: bool) -> None:
        self._file = file
        self._is_explicit = is_explicit

    def dataset(self, end: float = math.inf, group: int | None = None) -> Dataset:
        """Read attributes up to a place in the file, the end of an item, or the end of a group."""
        found: Dataset = {}
        while (start := self._file.tell()) < end:
            tag, form, length = self._head()
            if tag in (_PIXEL_DATA, _ITEM_END):
                break
            if group is not None and tag >> 16 != group:
                self._file.seek(start)
                break
            if form == b"SQ" or tag in _SEQUENCES or length == _UNDEFINED_LENGTH:
                found[tag] = self._items(length)
            elif length <= _LARGEST_VALUE:
                found[tag] = self._file.read(length)
            else:
                self._file.seek(length, os.SEEK_CUR)
        return found

    def _head(self) -> tuple[int, bytes, int]:
        """Return tag, value representation and length; the end of the file ends an item."""
        data = self._file.read(8)
        if len(data) < 8:
            return _ITEM_END, b"", 0
        group, element = struct.unpack_from("<HH", data)
        tag, form = group << 16 | element, data[4:6]
        if group == _ITEM >> 16 or not self._is_explicit:
            return tag, b"", struct.unpack_from("<I", data, 4)[0]
        if form in _LONG_FORMS:
            return tag, form, struct.unpack("<I", self._file.read(4))[0]
        return tag, form, struct.unpack_from("<H", data, 6)[0]

    def _items(self, length: int) -> list[Dataset]:
        end = math.inf if length == _UNDEFINED_LENGTH else self._file.tell() + length
        items = []
        while self._file.tell() < end:
            tag, _, item_length = self._head()
            if tag != _ITEM:
                break
            is_open = item_length == _UNDEFINED_LENGTH
            items.append(self.dataset(math.inf if is_open else self._file.tell() + item_length))
        return items
