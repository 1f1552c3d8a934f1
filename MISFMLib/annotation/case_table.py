"""One line for each case of a training set, in a table that any spreadsheet opens."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import getpass
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from MISFMLib.errors import DataError

Status = Literal["unlabelled", "proposed", "corrected", "checked", "left out"]
"""No labels; labels by a model that nobody has looked at; corrected by hand, or drawn by hand;
looked at and found right; not used."""
STATUSES: tuple[Status, ...] = ("unlabelled", "proposed", "corrected", "checked", "left out")
LABELLED = ("corrected", "checked")
"""What a network may learn from."""
_SEPARATOR = "; "
_VALIDATION_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class CaseRow:
    """What is known about one case besides its files."""

    name: str
    """Unique in the set; name of its files."""
    status: Status = "unlabelled"
    split: Literal["", "train", "validation"] = ""
    """Given when the case gets its labels, and never changed by the program afterwards."""
    certainty: float | None = None
    """How sure the model is that proposed the labels, 0 to 1."""
    not_drawn: tuple[str, ...] = ()
    """Labels that nobody has drawn in this case, so that their absence says nothing."""
    who: str = ""
    """Who has corrected or checked the labels."""
    when: str = ""
    """When, as ISO 8601 in UTC."""
    model: str = ""
    """SHA-256 of the weights that made the proposal."""
    dice: float | None = None
    """Mean Dice between proposal and correction over the labels."""
    changed_voxels: int | None = None
    """Voxels whose label the correction changed."""
    minutes: float | None = None
    """Time between the opening of the proposal and Done."""

    @property
    def is_labelled(self) -> bool:
        """Whether a network may learn from it."""
        return self.status in LABELLED


def next_split(rows: Sequence[CaseRow]) -> Literal["train", "validation"]:
    """Hold every fourth labelled case out, beginning with the third: two can be learnt from."""
    sides = [row.split for row in rows if row.split]
    wanted = int(_VALIDATION_SHARE * (len(sides) + 1) + 0.5)
    return "validation" if len(sides) >= 2 and sides.count("validation") < wanted else "train"


def stamp() -> dict[str, str]:
    """Return who works on a case, and when: now."""
    when = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    try:
        return {"who": getpass.getuser(), "when": when}
    except (OSError, KeyError, ImportError):  # no name for this user number, as in containers
        return {"who": "", "when": when}


_COLUMNS = tuple(field.name for field in dataclasses.fields(CaseRow))


def to_csv(rows: Iterable[CaseRow]) -> str:
    """Write rows as CSV with a line of column names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = {name: getattr(row, name) for name in _COLUMNS}
        values["not_drawn"] = _SEPARATOR.join(row.not_drawn)
        writer.writerow({name: "" if value is None else value for name, value in values.items()})
    return text.getvalue()


def from_csv(text: str, where: str) -> list[CaseRow]:
    """Read what `to_csv` wrote; columns that somebody has added are passed over.

    Args:
        text: Content of the table.
        where: Its file, for messages.

    Raises:
        DataError: A line is no case.
    """
    rows = []
    for number, line in enumerate(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))), start=2):
        try:
            rows.append(_row(line))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}, line {number}, is no case of a training set: {error}.",
                code="training-set-damaged",
                remedy="Correct the line; the columns are " + ", ".join(_COLUMNS) + ".",
            ) from error
    return rows


def _row(line: dict[str, Any]) -> CaseRow:
    status, split = line["status"], line.get("split") or ""
    if status not in STATUSES or split not in ("", "train", "validation") or not line["name"]:
        raise ValueError(f"name {line['name']!r}, status {status!r}, split {split!r}")
    return CaseRow(
        name=line["name"],
        status=status,
        split=split,  # type: ignore[arg-type]
        certainty=_number(line, "certainty"),
        not_drawn=tuple(filter(None, (line.get("not_drawn") or "").split(_SEPARATOR))),
        who=line.get("who") or "",
        when=line.get("when") or "",
        model=line.get("model") or "",
        dice=_number(line, "dice"),
        changed_voxels=int(line["changed_voxels"]) if line.get("changed_voxels") else None,
        minutes=_number(line, "minutes"),
    )


def _number(line: dict[str, Any], name: str) -> float | None:
    return float(line[name]) if line.get(name) else None
