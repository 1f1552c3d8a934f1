"""NRRD and MetaImage headers: lines of text before the voxels, which tell how many bytes follow.

Formats: https://teem.sourceforge.net/nrrd/format.html and https://itk.org/Wiki/MetaIO.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.problems import (
    BLOCK_BYTES,
    check_memory,
    check_size,
    check_sizes,
    file_missing,
    file_truncated,
    not_an_image,
    unpacked,
)

_PATTERN = re.compile(r"([^%]*)%(0?\d{0,2})d([^%]*?)\s+(\d{1,6})\s+(\d{1,6})(?:\s+(\d{1,6}))?")
"""Names of numbered files as in printf, then the first number, the last, and the step."""
_DATA_FILE = re.compile(r"^(?:ElementDataFile\s*=|data ?file:)(.*)$", re.MULTILINE | re.IGNORECASE)
_LONGEST_HEADER = 8_000_000
"""Bytes; the segments of a .seg.nrrd take about 500 each."""


def check_nrrd(path: Path, _num_frames: int = 1) -> None:
    """Refuse a .nrrd or .nhdr file that ITK would read wrongly.

    Raises:
        DataError: It is no NRRD image, holds no voxels, is shortened or damaged.
    """
    with path.open("rb") as file:
        if not _line(file).startswith("NRRD000"):
            raise not_an_image(path, "it does not begin like an NRRD file")
        fields = {}
        while line := _line(file):
            _check_length(file, path)
            name, _, value = line.partition(":")
            fields[name.lower().replace(" ", "")] = value.strip()
        _check_numbers(path, fields)
        sizes = _integers(fields.get("sizes", ""))
        check_sizes(path, sizes)
        if "datafile" not in fields:  # a list of other files is checked by ITK
            expected = math.prod(sizes) * _nrrd_value_bytes(fields.get("type", ""))
            encoding = fields.get("encoding", "").lower()
            _check_data(file, path, expected, {"gz": "gzip"}.get(encoding, encoding))


def data_files(path: Path) -> list[Path]:
    """Return the files beside a header that hold its voxels, as far as they are there.

    Whoever keeps what was made from a volume looks at them too: the header stays the same when only
    the voxels are written again. None for files that hold their own voxels.
    """
    if path.suffix.lower() not in (".mhd", ".nhdr"):
        return []
    with contextlib.suppress(OSError, DataError):
        with path.open("rb") as file:
            header = file.read(_LONGEST_HEADER).decode("utf-8", "replace")
        if match := _DATA_FILE.search(header):
            place = match[1].strip()
            names = header[match.end() :].splitlines() if place.startswith("LIST") else [place]
            if "%" in place:
                names = _numbered(path, place)
            files = [path.parent / name.strip() for name in names if name.strip()]
            return [file for file in files if file.is_file()]
    return []


def _check_numbers(path: Path, fields: Mapping[str, str]) -> None:
    """Refuse a grid whose voxel size or place is no number, which ITK would take as 1 mm along LPS.

    An axis without a direction, such as a list of layers, has the word none.
    """
    for name in ("spacedirections", "spaceorigin"):
        if re.search(r"\b(nan|inf)", fields.get(name, "").lower()):
            raise DataError(
                f"{path} has the {name.replace('space', 'space ', 1)} {fields[name]}: its voxel "
                "size or place is unknown.",
                code="zero-spacing",
                remedy="Correct its header in 3D Slicer, or convert the original files again.",
            )


def check_metaimage(path: Path, _num_frames: int = 1) -> None:
    """Refuse a .mha or .mhd file that ITK would read wrongly.

    Raises:
        DataError: It is no MetaImage, holds no voxels, is shortened or damaged, or its file with
            the voxels is missing.
    """
    with path.open("rb") as file:
        fields: dict[str, str] = {}
        while "ElementDataFile" not in fields:
            name, equals, value = _line(file).partition("=")
            if not equals:
                raise not_an_image(path, "it does not begin like a MetaImage file")
            _check_length(file, path)
            fields[name.strip()] = value.strip()
        sizes = _integers(fields.get("DimSize", ""))
        check_sizes(path, sizes)
        expected = math.prod(sizes) * _metaimage_value_bytes(fields)
        encoding = _metaimage_encoding(fields)
        place = fields["ElementDataFile"]
        if place in ("LOCAL", "Local", "local"):  # as MetaIO spells it
            _check_data(file, path, expected, encoding)
        elif place.startswith("LIST"):
            names = file.read(_LONGEST_HEADER).decode("utf-8", "replace").splitlines()
            _check_parts(path, place.split()[1:], [name.strip() for name in names], sizes)
        elif "%" in place:
            _check_parts(path, [], _numbered(path, place), sizes)
        else:
            data_path = _data_path(path, place)
            with data_path.open("rb") as data:
                _check_data(data, data_path, expected, encoding)


def _data_path(path: Path, name: str) -> Path:
    if "\0" in name or not name:
        raise not_an_image(path, "the name of its file of voxels is no text")
    data_path = path.parent / name
    if not data_path.is_file():
        raise file_missing(data_path)
    return data_path


def _numbered(path: Path, place: str) -> list[str]:
    """Write out a pattern such as ``slice%03d.raw 1 60 1``."""
    match = _PATTERN.fullmatch(place)
    if not match:
        raise not_an_image(path, "its pattern of file names cannot be understood")
    before, width, after, first, last, step = match.groups()
    numbers = range(int(first), int(last) + 1, max(1, int(step or 1)))
    return [f"{before}{number:{width or ''}d}{after}" for number in numbers]


def _check_parts(path: Path, words: Sequence[str], names: Sequence[str], sizes: list[int]) -> None:
    """Refuse a list with fewer files than voxels: ITK would fill up with what the memory held."""
    axes = _integers(words[0])[:1] if words else []
    expected = math.prod(sizes[axes[0] if axes else len(sizes) - 1 :])
    files = [_data_path(path, name) for name in names if name]
    if len(files) < expected:
        raise file_truncated(path, f"it lists {len(files)} files, {expected} slices were expected")


def _line(file: BinaryIO) -> str:
    return file.readline(BLOCK_BYTES).decode("utf-8", "replace").strip()


def _check_length(file: BinaryIO, path: Path) -> None:
    """Refuse a header without an end: what reads files keeps all of it in memory."""
    if file.tell() > _LONGEST_HEADER:
        raise not_an_image(path, f"its header has more than {_LONGEST_HEADER // 1000} kB")


def _integers(text: str) -> list[int]:
    return [int(number[:19]) for number in re.findall(r"-?\d+", text)]


def _check_data(file: BinaryIO, path: Path, expected: int, encoding: str) -> None:
    check_memory(path, expected)
    if encoding == "gzip":
        check_size(path, sum(map(len, unpacked(file, path))), expected)
    elif encoding == "raw":
        check_size(path, path.stat().st_size - file.tell(), expected)


def _nrrd_value_bytes(type_name: str) -> int:
    """Return the bytes of one value; the names of the types are those of C and of stdint.h."""
    patterns = {"64|long long|double": 8, "16|short": 2, "8|char": 1, "32|int|float": 4}
    return next((size for names, size in patterns.items() if re.search(names, type_name)), 0)


def _metaimage_value_bytes(fields: Mapping[str, str]) -> int:
    sizes = {"CHAR": 1, "SHORT": 2, "INT": 4, "FLOAT": 4, "LONG": 4, "DOUBLE": 8, "LONG_LONG": 8}
    kind = re.sub("^MET_U?|_ARRAY$", "", fields.get("ElementType", ""))
    channels = _integers(fields.get("ElementNumberOfChannels", "1"))
    return sizes.get(kind, 0) * math.prod(channels)


def _metaimage_encoding(fields: Mapping[str, str]) -> str:
    if fields.get("CompressedData", "False").lower() == "true":
        return "gzip"
    return "raw" if fields.get("BinaryData", "True").lower() == "true" else "text"
