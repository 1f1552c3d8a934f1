"""The table of a batch (cases.csv): what became of every case, kept from run to run."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from MISFMLib.errors import DataError, OutputError
from MISFMLib.export.statistics import LabelVolume
from MISFMLib.files import open_file, write_text
from MISFMLib.models.bundle import BundleManifest

_COLUMNS = ("case", "status", "seconds", "message", "model", "engine", "code")


@dataclass(frozen=True)
class CaseRow:
    """One line of the table."""

    case: str
    """Name of the case."""
    status: str
    """done, skipped (its result was there, from an unknown run), failed, or cancelled."""
    seconds: float | None = None
    """Time it took."""
    message: str = ""
    """Why it failed."""
    volumes: Sequence[LabelVolume] = ()
    """Volume of every label."""
    engine: str = ""
    """What computed the network."""
    code: str = ""
    """Code of the error."""


class CaseTable:
    """Rows by case in cases.csv, written anew after every case, so that a kill loses nothing.

    Columns: case, status, seconds, message, model, engine, code (of the error), and the millilitres
    of every label by its name.
    """

    def __init__(self, folder: Path, manifest: BundleManifest) -> None:
        """Read the table of an earlier run, if there is one."""
        self.path = folder / "cases.csv"
        self._model = f"{manifest.name} {manifest.version} {manifest.weights_sha256[:8]}"
        self._labels = [f"{label.name} (ml)" for label in manifest.labels]
        self._rows: dict[str, dict[str, str]] = {}
        if self.path.exists():
            self._rows = {row.get("case") or "": row for row in _read_rows(self.path)}

    def __contains__(self, case: str) -> bool:
        """Tell whether the case has a row."""
        return case in self._rows

    def code(self, case: str) -> str:
        """Return the code of the error that a case ended with, empty if it did not."""
        return self._rows.get(case, {}).get("code") or ""

    def message(self, case: str) -> str:
        """Return why a case failed."""
        return self._rows.get(case, {}).get("message") or ""

    def engine(self, cases: Sequence[str]) -> str:
        """Return what has computed most of these cases; empty where nobody wrote it down."""
        engines = Counter(self._rows.get(case, {}).get("engine") or "" for case in cases)
        engines.pop("", None)
        return engines.most_common(1)[0][0] if engines else ""

    def check_model(self, cases: Sequence[str]) -> None:
        """Refuse to go on with results that another model made.

        Raises:
            OutputError: The row of one of the cases names another model.
        """
        for case in cases:
            model = self._rows.get(case, {}).get("model", self._model)
            if model != self._model:
                raise OutputError(
                    f"The result of {case} in {self.path.parent} was made by {model}, "
                    f"not by {self._model}.",
                    code="other-model",
                    remedy="Choose another output folder, or replace the results with --overwrite.",
                )

    def add(self, row: CaseRow) -> None:
        """Set the row of a case and write the table.

        Raises:
            OutputError: The table cannot be written.
        """
        values = (
            row.case,
            row.status,
            "" if row.seconds is None else f"{row.seconds:.1f}",
            row.message,
            self._model,
            row.engine,
            row.code,
        )
        volumes = {f"{item.name} (ml)": f"{item.volume_ml:.6f}" for item in row.volumes}
        self._rows[row.case] = {**dict(zip(_COLUMNS, values, strict=True)), **volumes}
        text = io.StringIO(newline="")
        columns = (*_COLUMNS, *self._labels)
        writer = csv.DictWriter(
            text, columns, restval="", extrasaction="ignore", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(self._rows.values())
        write_text(self.path, text.getvalue(), overwrite=True)


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with open_file(path) as file:
            text = file.read().decode("utf-8-sig", "surrogateescape")
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, csv.Error) as error:
        raise DataError(
            f"The table {path} of an earlier run cannot be read: {error}.",
            code="table-unreadable",
            remedy="Move it away: the results beside it count as done, and are listed anew.",
        ) from error
