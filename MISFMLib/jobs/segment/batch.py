"""Many cases to one folder: go on after failures, skip what is done, keep a table of all."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MISFMLib.errors import BatchError, JobCancelled, MISFMError, OutputError
from MISFMLib.events import CaseDone, Event, EventSink, Notice, Progress
from MISFMLib.export.statistics import LabelVolume, label_volumes
from MISFMLib.jobs.segment.case import CaseRunner
from MISFMLib.jobs.segment.plan import SegmentCase
from MISFMLib.jobs.segment.results import is_whole_result
from MISFMLib.jobs.segment.table import CaseRow, CaseTable
from MISFMLib.locks import alone_in
from MISFMLib.volumes.dicom_seg import is_dicom_seg
from MISFMLib.volumes.reader_process import DIED, ReaderProcess
from MISFMLib.volumes.volume import read_label_map

_log = logging.getLogger(__name__)

# What one bad volume can raise, through SimpleITK and torch too; anything else is a mistake of ours
# that all cases would share.
_CASE_ERRORS = (MISFMError, OSError, RuntimeError, ValueError, MemoryError)


def run_batch(
    runner: CaseRunner, cases: Sequence[SegmentCase], folder: Path, events: EventSink
) -> dict[str, Any]:
    """Segment cases into a folder; a case that fails does not stop the others.

    Args:
        runner: Carries out a case.
        cases: What to segment.
        folder: Where the results and the table cases.csv go.
        events: Hears of every case.

    Returns:
        A report of the batch, with the key ``text`` for people.

    Raises:
        BatchError: Cases failed; the others were finished.
        OutputError: Results that would be kept were made by another model, or another batch is at
            work in the folder.
    """
    with alone_in(folder, _busy(folder), events):
        return _run_alone(runner, cases, folder, events)


def _run_alone(
    runner: CaseRunner, cases: Sequence[SegmentCase], folder: Path, events: EventSink
) -> dict[str, Any]:
    table, overwrite = CaseTable(folder, runner.manifest), runner.config.overwrite
    kept = [case for case in cases if not overwrite and is_whole_result(case.output)]
    table.check_model([case.name for case in kept])
    runner.segmenter.settle(len(cases) - len(kept), table.engine([case.name for case in kept]))
    with ReaderProcess() as reader:
        batch = _Batch(dataclasses.replace(runner, read=reader), table, events)
        for number, case in enumerate(cases, 1):
            if case in kept:
                batch.skip(case)
            elif table.code(case.name) == DIED and not overwrite:
                batch.leave_out(case)
            else:
                batch.run(case, f"{number} of {len(cases)}")
    runner.write_statistics(batch.statistics)
    if batch.failures:
        raise _batch_error(batch.failures, len(cases), batch.table.path)
    text = f"{len(cases) - len(kept)} done, {len(kept)} skipped. Table: {batch.table.path}"
    return {"cases": batch.reports, "table": str(batch.table.path), "text": text}


def _busy(folder: Path) -> OutputError:
    return OutputError(
        f"Another run is writing its results to {folder}.",
        code="output-busy",
        remedy="Wait for it, or choose another output folder.",
    )


class _Batch:
    """The state of a batch while it runs."""

    def __init__(self, runner: CaseRunner, table: CaseTable, events: EventSink) -> None:
        self.table = table
        self.statistics: dict[str, Sequence[LabelVolume]] = {}
        self.reports: dict[str, Any] = {}
        self.failures: dict[str, str] = {}
        self._runner = runner
        self._events = events

    def run(self, case: SegmentCase, position: str) -> None:
        """Segment a case; a failure is written down.

        Until it ends it counts as cancelled, so that this is true however the process ends.
        """
        self.table.add(CaseRow(case.name, "cancelled", message="It was not finished."))
        try:
            result = self._runner.run(case, self._saying_which(case, position))
        except (JobCancelled, KeyboardInterrupt):
            with contextlib.suppress(JobCancelled):  # nobody listens any more
                self._events(CaseDone(case.name, "cancelled", "It was not finished."))
            raise
        except _CASE_ERRORS as error:
            self._fail(case, error)
            return
        self.statistics[case.name] = result.volumes
        self.reports[case.name] = {**result.report, "status": "done"}
        self.table.add(
            CaseRow(case.name, "done", result.seconds, volumes=result.volumes, engine=result.engine)
        )
        self._events(CaseDone(case.name, "done", outputs=result.outputs))

    def skip(self, case: SegmentCase) -> None:
        """Keep the result of an earlier run."""
        message = "Its result was there already."
        if case.name not in self.table:
            self.table.add(CaseRow(case.name, "skipped", message=message))
        self.reports[case.name] = {"status": "skipped", "output": case.output.name}
        if self._runner.config.statistics is not None:
            self._measure(case)
        self._events(CaseDone(case.name, "skipped", message))

    def leave_out(self, case: SegmentCase) -> None:
        """Do not try a case again that its reader has not survived."""
        message = self.table.message(case.name)
        self.failures[case.name] = message
        self._events(CaseDone(case.name, "failed", message))

    def _measure(self, case: SegmentCase) -> None:
        """Bring an earlier result into the statistics."""
        if is_dicom_seg(case.output):
            self._events(Notice(f"{case.name}: skipped, so the statistics do not show it."))
            return
        labels = self._runner.labels
        self.statistics[case.name] = label_volumes(read_label_map(case.output), labels)

    def _fail(self, case: SegmentCase, error: Exception) -> None:
        if isinstance(error, MISFMError):
            message = str(error)
        else:
            _log.exception("%s failed", case.name)
            message = f"{type(error).__name__}: {error}"
        self.failures[case.name] = message
        code = error.code if isinstance(error, MISFMError) else "unexpected-error"
        self.table.add(CaseRow(case.name, "failed", message=message, code=code))
        self._events(CaseDone(case.name, "failed", message))

    def _saying_which(self, case: SegmentCase, position: str) -> EventSink:
        """Return an event sink that adds to every message which case it is about."""

        def sink(event: Event) -> None:
            if isinstance(event, Progress):
                event = dataclasses.replace(event, message=f"case {position}: {event.message}")
            elif isinstance(event, Notice):
                event = dataclasses.replace(event, message=f"{case.name}: {event.message}")
            self._events(event)

        return sink


def _batch_error(failures: dict[str, str], num_cases: int, table: Path) -> BatchError:
    listed = "; ".join(f"{case}: {message}" for case, message in list(failures.items())[:3])
    more = f"; and {len(failures) - 3} more" if len(failures) > 3 else ""
    return BatchError(
        f"{len(failures)} of {num_cases} cases failed ({listed}{more}).",
        code="cases-failed",
        remedy=f"See {table}; the same command tries only these again.",
    )
