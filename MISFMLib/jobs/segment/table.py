"""The table of a batch (cases.csv): what became of every case, kept from run to run."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from MISFMLib.configs import LabelConfig
from MISFMLib.errors import DataError, OutputError
from MISFMLib.export.statistics import LabelVolume
from MISFMLib.files import open_file, write_text
from MISFMLib.jobs.journal import Journals
from MISFMLib.models.bundle import BundleManifest

_OF_TRIES = ("case", "status", "seconds", "message", "model", "engine", "code", "tries", "bytes")
ORIGIN = ("input", "series", "options")
_COLUMNS = (*_OF_TRIES, *ORIGIN)
_REPEATED = list(map(_COLUMNS.index, ("status", "message", "model", "engine", "code", *ORIGIN[1:])))
_SHARE_OF_TIME = 50
"""Of which the table takes one part while it is written again and again."""


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
    tries: int | None = None
    """How often the case was begun, by processes that died and the one that ended it."""
    bytes: int | None = None
    """Size of the label map, by which a later run sees that it is whole."""
    input: str = ""
    """Where its volume lies, as seen from the table."""
    series: str = ""
    """The choice of the series in it."""
    options: str = ""
    """Options that its labels depend on."""

    def journal(self, model: str) -> dict[str, Any]:
        """Return the row for a journal."""
        return {**asdict(self), "volumes": _cells(self.volumes), "model": model}


WORKER_DIED = "worker-died"
"""Code of the error of a case that no process survived."""
KEPT = "Its result was there already."
ENDED = ("done", "skipped", "failed")
"""Status of cases that need no more work."""


def given_up(case: str, tries: int) -> CaseRow:
    """Return the row of a case that no process survived."""
    message = (
        f"{tries} processes died over it, each of which needed less memory than the one before: "
        "most likely they were killed because the memory was full. It is not tried again without "
        "--overwrite."
    )
    return CaseRow(case, "failed", message=message, code=WORKER_DIED, tries=tries)


def model_name(manifest: BundleManifest) -> str:
    """Return how the table names a model."""
    return f"{manifest.name} {manifest.version} {manifest.weights_sha256[:8]}"


class CaseTable:
    """Rows by case: those of cases.csv, and what all runs have written into journals since.

    Columns: case, status, seconds, message, model, engine, code (of the error), tries, bytes (of
    the label map), input, series, options, and the millilitres of every label by its name.
    """

    def __init__(
        self, folder: Path, manifest: BundleManifest, results: Collection[Path] = ()
    ) -> None:
        """Read what earlier runs have left; `results` are the folders where they wrote.

        Raises:
            OutputError: The folder has a table of another kind.
        """
        self.path = folder / "cases.csv"
        self.model = model_name(manifest)
        self._columns = (*_COLUMNS, *(f"{label.name} (ml)" for label in manifest.labels))
        self._journals = Journals(folder, results)
        self._written, self._cost_s = 0.0, 0.0
        self._stamp: tuple[int, int] | None = None
        self._is_new = False
        self._kept: dict[str, dict[str, Any]] = {}
        self._begun: dict[str, float] = {}
        """When cases were begun that have not ended, as far as their journals are there."""
        self._rows: dict[str, tuple[str, ...]] = {}
        """Values in the order of the columns: of 100 000 rows dictionaries would be too large."""
        self.read()

    def __contains__(self, case: str) -> bool:
        """Tell whether the case has a row."""
        return case in self._rows

    def value(self, case: str, column: str) -> str:
        """Return what the table says about a case, empty where it says nothing."""
        row = self._rows.get(case)
        return row[_COLUMNS.index(column)] if row else ""

    def counts(self, cases: Iterable[str]) -> Counter[str]:
        """Count the cases of each status; those without a row have an empty one."""
        return Counter(self.value(case, "status") for case in cases)

    def engine(self, cases: Iterable[str]) -> str:
        """Return what has computed most of these cases; empty where nobody wrote it down."""
        engines = Counter(self.value(case, "engine") for case in cases)
        engines.pop("", None)
        return engines.most_common(1)[0][0] if engines else ""

    def check_model(self, cases: Iterable[str]) -> None:
        """Refuse to go on with results that another model made.

        Raises:
            OutputError: The row of one of the cases names another model.
        """
        for case in cases:
            model = self.value(case, "model")
            if case in self._rows and model != self.model:
                raise OutputError(
                    f"The result of {case} in {self.path.parent} was made by {model}, "
                    f"not by {self.model}.",
                    code="other-model",
                    remedy="Choose another output folder, or replace the results with --overwrite.",
                )

    def check_labels(self, cases: Iterable[str], labels: Sequence[LabelConfig]) -> None:
        """Refuse to keep results of an earlier `--only` that lack labels which are wanted now.

        Raises:
            OutputError: The row of one of the cases tells volumes, but not those of the labels.
        """
        names = {f"{label.name} (ml)": label.name for label in labels}
        places = {name: self._columns.index(column) for column, name in names.items()}
        for row in map(self._rows.get, cases):
            lacking = [name for name, place in places.items() if row and not row[place]]
            if row and lacking and any(row[len(_COLUMNS) :]):
                raise OutputError(
                    f"The result of {row[0]} in {self.path.parent} was made without "
                    f"{', '.join(lacking[:3])}.",
                    code="other-labels",
                    remedy="Choose another output folder, or replace the results with --overwrite.",
                )

    def check_others(self) -> None:
        """Refuse to work beside a run with another model.

        Raises:
            OutputError: There is one in the folder.
        """
        others = {row.get("model") for row in self._journals.rows()} - {self.model}
        if others and self._journals.are_written():
            raise OutputError(
                f"Another run is writing results of {', '.join(map(str, others))} to "
                f"{self.path.parent}, this one has {self.model}.",
                code="output-busy",
                remedy="Wait for it, or choose another output folder.",
            )

    def add_kept(self, case: str, result: Path) -> None:
        """List a case whose result is there, if it is not listed as done or skipped yet.

        A process that is killed right after it has written a result leaves a row that says that the
        case was not finished; if the result is newer, it is done.
        """
        if self.value(case, "status") in ("done", "skipped"):
            return
        self._is_new = True
        kept = CaseRow(case, "skipped", message=KEPT)
        stat = result.stat()
        if stat.st_mtime >= self._begun.get(case, math.inf):
            tries = int(self.value(case, "tries") or 1)
            size, (volume, series, options) = stat.st_size, (self.value(case, it) for it in ORIGIN)
            kept = CaseRow(
                case, "done", tries=tries, bytes=size, input=volume, series=series, options=options
            )
        row = kept.journal(self.model)
        if case in self._rows:
            self._kept[case] = row
        self._set(row)

    def read(self) -> None:
        """Read cases.csv and the journals anew; rows that were only added here stay."""
        stamp = _stamp(self.path)
        if stamp != self._stamp:
            self._read_table()
            self._stamp = stamp
        for row in self._journals.rows():
            self._set(row)
            if row.get("status") == "cancelled":
                self._begun[row.get("case", "")] = row["at"]
            else:
                self._begun.pop(row.get("case", ""), None)
        for case, row in self._kept.items():
            if self.value(case, "status") not in ENDED:
                self._set(row)

    def _read_table(self) -> None:
        try:
            with open_file(self.path) as file:
                lines = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
                reader = csv.reader(lines)
                header = next(reader, [])
                if header and header[:2] != list(_COLUMNS[:2]):
                    raise OutputError(
                        f"{self.path} is no table of a batch; a training set has one, too.",
                        code="output-exists",
                        remedy="Choose another output folder.",
                    )
                for cells in reader:
                    self._set(dict(zip(header, cells, strict=False)))
        except (OSError, csv.Error) as error:
            raise DataError(
                f"The table {self.path} of an earlier run cannot be read: {error}.",
                code="table-unreadable",
                remedy="Move it away: the results beside it count as done, and are listed anew.",
            ) from error

    def write_now_and_then(self) -> None:
        """Write the table, unless it would take more than a fiftieth of the time."""
        if time.monotonic() - self._written > _SHARE_OF_TIME * self._cost_s:
            self.write()

    def write(self, order: Sequence[str] = ()) -> None:
        """Write the table with the rows of all processes.

        Args:
            order: Names of cases, whose rows come first.

        Raises:
            OutputError: The table cannot be written.
        """
        if not self._is_new and self._stamp and not self._journals.exist():
            return
        started = time.monotonic()
        with self._journals.merging():
            self.read()
            self._write(order)
            self._stamp = _stamp(self.path)
        self._is_new = False
        self._written = time.monotonic()
        self._cost_s = self._written - started

    def _write(self, order: Sequence[str]) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._columns)
        first = set(order)
        rows = self._rows
        writer.writerows(rows[case] for case in order if case in rows)
        writer.writerows(row for case, row in rows.items() if case not in first)
        write_text(self.path, text.getvalue(), overwrite=True)

    def _set(self, row: dict[str, Any]) -> None:
        values = {**row, **volumes} if isinstance(volumes := row.get("volumes"), dict) else row
        cells = [_text(values.get(column)) for column in self._columns]
        for index in _REPEATED:  # of which there are few: they share their memory
            cells[index] = sys.intern(cells[index])
        self._rows[cells[0]] = tuple(cells)


def _cells(volumes: Sequence[LabelVolume]) -> dict[str, str]:
    return {f"{item.name} (ml)": f"{item.volume_ml:.6f}" for item in volumes}


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "" if value is None else str(value)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when another run writes the table; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
