"""Lists of cases as CSV, also as Excel saves them: its encodings, separators and empty rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from MISFMLib.data.case_files import complete, entry_cases
from MISFMLib.data.descriptions import describe, part_of, read_json, read_text
from MISFMLib.data.labelled_set import Case, LabelledSet, Split
from MISFMLib.errors import DataError

_SEPARATORS = ",;\t"


def from_table(path: Path) -> LabelledSet:
    """Read a list of cases.

    Args:
        path: CSV with the columns image (or image_0, image_1, ...; or several files joined by
            commas), label and optionally name and split.

    Raises:
        DataError: Columns or cells are missing, or split holds other words than expected.
    """
    rows = _rows(path)
    columns = list(rows[0][1]) if rows else []
    image_columns = sorted(
        (column for column in columns if re.fullmatch(r"image(_\d+)?", column)),
        key=lambda column: int(column.partition("_")[2] or 0),
    )
    if not image_columns or "label" not in columns:
        given = f"has the columns {', '.join(columns)}" if rows else "lists no case"
        raise DataError(
            f"{path} {given}; the columns image and label were expected, and a line for each case.",
            code="dataset-unreadable",
            remedy="Name the columns image (or image_0, image_1, ...) and label in the first line.",
        )
    _check_cells(rows, image_columns, path)
    entries = [([row[column] for column in image_columns], row["label"]) for _, row in rows]
    names = [row.get("name", "") for _, row in rows]
    cases = entry_cases(entries, path.parent, names)
    description = describe(path.parent, read_json(path.parent / "dataset.json"))
    split = _split(rows, cases, path)
    return complete(cases, description, split=split)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows that are not empty with their line numbers; headings in small letters."""
    lines = read_text(path).splitlines()
    separator = ","
    if lines and lines[0].casefold().startswith("sep="):  # Excel's own hint
        separator, lines[0] = lines[0][4:5] or ",", ""
    header = next((line for line in lines if line.strip()), "")
    separator = max(separator + _SEPARATORS, key=header.count)
    table = list(csv.reader(lines, delimiter=separator))
    filled = [(number, row) for number, row in enumerate(table, 1) if any(map(str.strip, row))]
    if not filled:
        return []
    headings = [heading.strip().casefold() for heading in filled[0][1]]
    return [
        (number, dict(zip(headings, [*map(str.strip, row), *[""] * len(headings)], strict=False)))
        for number, row in filled[1:]
    ]


def _check_cells(
    rows: list[tuple[int, dict[str, str]]], image_columns: list[str], path: Path
) -> None:
    for number, row in rows:
        empty = [column for column in (*image_columns, "label") if not row[column]]
        if empty:
            raise DataError(
                f"{path}: row {number} has no {' and no '.join(empty)}.",
                code="dataset-unreadable",
                remedy="Fill the cell, or remove the row.",
            )


def _split(rows: list[tuple[int, dict[str, str]]], cases: list[Case], path: Path) -> Split | None:
    parts: dict[str, str] = {}
    for (number, row), case in zip(rows, cases, strict=True):
        word = row.get("split", "")
        parts[case.name] = part_of(word)
        if word and not parts[case.name]:
            raise DataError(
                f"{path}: row {number} has the split {word!r}; train or validation (val) were "
                "expected, or nothing for a case that takes no part.",
                code="bad-split",
                remedy="Correct the column split.",
            )
    return split_of(parts)


def split_of(parts: Mapping[str, str]) -> Split | None:
    """Return the split of cases by the part each is in; None when none is in any."""
    train = tuple(name for name, part in parts.items() if part == "train")
    validation = tuple(name for name, part in parts.items() if part == "validation")
    return Split(train, validation) if train or validation else None
