"""What a person said about each case: saved by the page as CSV, read again here."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from MISFMLib.errors import DataError

VERDICTS = ("good", "wrong", "unsure")
COLUMNS = ("case", "verdict", "note")


@dataclass(frozen=True)
class Verdict:
    """One case."""

    verdict: str
    """good, wrong, unsure, or empty."""
    note: str = ""


def read_verdicts(path: Path) -> dict[str, Verdict]:
    """Read the file that the page saves.

    Raises:
        DataError: It cannot be read, or is no such file.
    """
    try:
        text = path.read_text("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        found = {
            row["case"]: Verdict((row["verdict"] or "").strip(), (row.get("note") or "").strip())
            for row in rows
        }
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise DataError(
            f"{path} cannot be read as verdicts: {error!r}.",
            code="verdicts-unreadable",
            remedy="Give the file that the page's Save button wrote: columns case, verdict, note.",
        ) from error
    unknown = sorted({v.verdict for v in found.values()} - {*VERDICTS, ""})
    if unknown:
        raise DataError(
            f"{path} holds the verdicts {', '.join(unknown)}; known are {', '.join(VERDICTS)}.",
            code="verdicts-unreadable",
            remedy="Correct them.",
        )
    return found
