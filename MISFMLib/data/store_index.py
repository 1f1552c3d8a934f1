"""The table of a training store: what became of every volume, as index.csv.

A store is a folder, or any place that fsspec can read, with ``index.csv``, ``store.json`` (how it
was made) and one compressed array per volume below ``arrays/``.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from MISFMLib import files
from MISFMLib.configs import Size, Spacing
from MISFMLib.data.plan import Modality
from MISFMLib.errors import DataError
from MISFMLib.files import write_bytes

INDEX, SETTINGS, ARRAYS = "index.csv", "store.json", "arrays"
HELD_OUT = "held-out"
"""Reason of volumes that a data set keeps for validation, and of their copies anywhere."""

_MOST_BYTES = 2**31
"""No table is longer: a volume takes about 500 bytes."""

Status = Literal["ok", "duplicate", "quarantined"]


@dataclass(frozen=True, kw_only=True)
class StoreEntry:
    """One row of the table."""

    path: str
    """Where the volume came from: name of the folder that was given, then the path below it."""
    series: str = ""
    """DICOM series instance UID, or which channel of a file it is; empty for other volumes."""
    status: Status = "quarantined"
    """ok: to be learnt from; duplicate: an ok one has the same voxels; quarantined: of no use."""
    reason: str = ""
    """Short stable name of why it is not ok."""
    message: str = ""
    """The reason for people."""
    modality: Modality = "other"
    """What it shows."""
    orientation: str = ""
    """Axes of the array, as three letters for x, y, z; slices are stacked along depth."""
    shape_dhw: Size = (0, 0, 0)
    """Voxels of the array."""
    spacing_dhw: Spacing = (0.0, 0.0, 0.0)
    """Voxel size of the array in mm."""
    sha256: str = ""
    """Hash of the voxels as they were read, whatever the file format."""
    array: str = ""
    """The array's path in the store."""
    bytes: int = 0
    """Size of the array's file; 0 in stores of versions that did not write it down."""
    signature: str = ""
    """Number, size and time of the source's files, to notice when it has changed."""

    def is_whole(self, folder: Path) -> bool:
        """Tell whether the array is there with the size it was written with."""
        try:
            size = (folder / self.array).stat().st_size
        except OSError:
            return False
        return size == self.bytes or not self.bytes

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the volume."""
        return self.path, self.series


_COLUMNS = tuple(field.name for field in dataclasses.fields(StoreEntry))


def to_row(entry: StoreEntry) -> dict[str, str]:
    """Write an entry as text: numbers joined by spaces."""
    return {name: _to_text(getattr(entry, name)) for name in _COLUMNS}


def _to_text(value: Any) -> str:
    return " ".join(map(repr, value)) if isinstance(value, tuple) else str(value)


def from_row(row: Mapping[str, str]) -> StoreEntry:
    """Read an entry that `to_row` wrote.

    Raises:
        ValueError: A column is missing, or holds something else.
    """
    row = {"bytes": "0", **row}
    if None in row.values() or set(row) != set(_COLUMNS):
        raise ValueError(f"the columns are {', '.join(map(str, row))}")
    values: dict[str, Any] = {**row, "bytes": int(row["bytes"])}
    if not 0 <= values["bytes"] < 2**63:
        raise ValueError(f"bytes is {row['bytes']:.80}")
    for name, number in (("shape_dhw", int), ("spacing_dhw", float)):
        depth, height, width = map(number, row[name].split())
        if not all(0 <= value < 2**31 for value in (depth, height, width)):
            raise ValueError(f"{name} is {row[name]:.80}")
        values[name] = (depth, height, width)
    for name, allowed in (("status", get_args(Status)), ("modality", get_args(Modality))):
        if row[name] not in allowed:
            raise ValueError(f"the {name} is {row[name]!r}")
    return StoreEntry(**values)


def write_index(entries: Iterable[StoreEntry], folder: Path) -> None:
    """Write the table of a store; one that says the same already is not touched.

    Raises:
        OutputError: It cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(to_row, entries))
    content = text.getvalue().encode()
    path = folder / INDEX
    if not path.exists() or path.read_bytes() != content:
        write_bytes(path, content, overwrite=True)


def read_index(location: str) -> list[StoreEntry]:
    """Read the table of a store.

    Args:
        location: Folder, or URL that fsspec understands.

    Raises:
        DataError: There is no finished store, or its table is damaged.
        ModuleNotFoundError: The URL needs a package that is not installed.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(join(location, INDEX)), newline="")))
        return [from_row(row) for row in rows]
    except FileNotFoundError as error:
        raise DataError(
            f"{location} holds no finished training store: {INDEX} is missing.",
            code="store-not-found",
            remedy="Make it, or finish it, with `misfm prepare`.",
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"The table {INDEX} of {location} cannot be read: {error}.",
            code="store-unreadable",
            remedy="Restore it from a copy, or make the store again with `misfm prepare`.",
        ) from error


def read_text(location: str) -> str:
    """Read a text file of a store.

    Raises:
        OSError: It is not there, or cannot be read.
        ModuleNotFoundError: The URL needs a package that is not installed.
    """
    if not is_url(location):
        return files.read_text(Path(location), _MOST_BYTES)
    import fsspec

    with fsspec.open(location, "rt", encoding="utf-8") as file:
        return str(file.read())


# --------------------------------------------------------------------------------------- locations


def is_url(location: str) -> bool:
    """Tell a URL from a path."""
    return "://" in location


def join(location: str, name: str) -> str:
    """Return the location of something in a store."""
    return f"{location.rstrip('/')}/{name}"


def to_location(path: Path) -> str:
    """Return the text of a path, and of a URL that was taken for a path, which cost it a slash."""
    return re.sub(r"(?<![\w+.-])([A-Za-z][\w+.-]+):/(?!/)", r"\1://", path.as_posix())


def is_store(path: Path) -> bool:
    """Tell whether a path is a store, finished or not, or a URL, which can be nothing else."""
    return is_url(to_location(path)) or (path / SETTINGS).is_file()
