"""Many cases to one folder: go on after failures, skip what is done, keep a table of all.

Needs torch and SimpleITK only where it computes: whoever hands 100 000 cases out stays small.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from MISFMLib.configs import SegmentConfig
from MISFMLib.errors import BatchError, DataError
from MISFMLib.events import CaseDone, Event, EventSink, Notice, Progress
from MISFMLib.export.statistics import LabelVolume, label_volumes, write_statistics
from MISFMLib.jobs.journal import nothing_to_merge
from MISFMLib.jobs.progress import Pace
from MISFMLib.jobs.segment.batch_job import BatchJob, Outcome
from MISFMLib.jobs.segment.elsewhere import outcomes_elsewhere
from MISFMLib.jobs.segment.only import wanted_labels
from MISFMLib.jobs.segment.origins import Origins
from MISFMLib.jobs.segment.plan import SegmentCase, SegmentPlan
from MISFMLib.jobs.segment.results import is_whole_result, read_result
from MISFMLib.jobs.segment.review import write_review
from MISFMLib.jobs.segment.table import ENDED, KEPT, ORIGIN, WORKER_DIED, CaseTable
from MISFMLib.models.bundle import Bundle
from MISFMLib.volumes.reader_process import DIED

_MOST_REPORTS = 5000
"""Cases of a batch whose reports are part of its own; of more the table tells."""
_NOT_AGAIN = (DIED, WORKER_DIED)
_BUSY = "Another run works on it."

Listen = Callable[[str], EventSink]
"""Gives an event sink that adds to every message which case it is about."""
Here = Callable[[BatchJob, Sequence[SegmentCase], Listen], Iterator[Outcome]]
"""Works on cases in this process."""


def run_batch(
    config: SegmentConfig, bundle: Bundle, plan: SegmentPlan, here: Here, events: EventSink
) -> dict[str, Any]:
    """Segment cases into a folder; a case that fails does not stop the others.

    Args:
        config: The job.
        bundle: The model.
        plan: What to segment, and the folder where the results and the table cases.csv go.
        here: Works on cases where no other process shall.
        events: Hears of every case.

    Returns:
        A report of the batch, with the key ``text`` for people.

    Raises:
        BatchError: Cases failed; the others were finished.
        ConfigError: Shards shall be merged, and none has worked here.
        OutputError: Results that would be kept were made from another volume, by another model or
            with other options, or lack a label; or another run writes those of another model to the
            folder.
    """
    batch = _Batch(config, bundle, plan, events)
    batch.check_merge()
    try:
        batch.run(here)
    finally:
        batch.table.write(plan.cases.names)
    batch.write_statistics()
    batch.write_review(events)
    return batch.report()


class _Batch:
    """The state of a batch while it runs."""

    def __init__(
        self, config: SegmentConfig, bundle: Bundle, plan: SegmentPlan, events: EventSink
    ) -> None:
        self._folder = plan.folder or Path()
        places = {path.parent for path in plan.cases[0].results}  # the same of all cases
        self.table = CaseTable(self._folder, bundle.manifest, places)
        self._config = config
        self._of_model = bundle.manifest.labels
        self._labels = wanted_labels(config, bundle.manifest)
        self._all = plan.cases
        self._cases = plan.cases[:0] if config.merge else plan.cases[config.part]
        self._events = events
        self._reports: dict[str, Any] = {}
        self._failures: dict[str, str] = {}
        self._volumes: dict[str, Sequence[LabelVolume]] = {}
        self._origins = Origins(self._folder, config)
        self._counts = dict.fromkeys(("done", "skipped", "failed", "busy"), 0)

    def check_merge(self) -> None:
        """Refuse to make a table of nothing.

        Raises:
            ConfigError: The job only merges, and no case has a row.
        """
        if self._config.merge and not any(name in self.table for name in self._all.names):
            raise nothing_to_merge(self._folder)

    def run(self, here: Here) -> None:
        """Work on what is not done yet."""
        kept = {case.name for case in self._cases if self._is_kept(case)}
        self._origins.tell(self._events)
        self.table.check_model(kept)
        self.table.check_labels(kept, self._labels)
        self.table.check_others()
        left = []
        for number, case in enumerate(self._cases):
            if case.name in kept:
                self._skip(case)
            elif self._is_left_out(case):
                message = self.table.value(case.name, "message")
                self._take(Outcome(case.name, "failed", message))
            else:
                left.append(number)
        todo = self._cases.keep(left)
        if todo:
            pace = Pace(len(self._cases), len(self._cases) - len(todo))
            engine = self.table.engine(kept)
            started_ns = _now_ns(self._folder)
            job = BatchJob(
                self._config, self.table.model, self._folder, len(todo), engine, started_ns
            )
            with contextlib.closing(self._outcomes(job, todo, pace, here)) as outcomes:
                self._work(outcomes, pace)

    def _outcomes(
        self, job: BatchJob, todo: Sequence[SegmentCase], pace: Pace, here: Here
    ) -> Generator[Outcome]:
        if self._config.is_elsewhere:
            yield from outcomes_elsewhere(job, todo)
        else:
            job = dataclasses.replace(job, is_spread=self._config.is_part)
            yield from here(job, todo, lambda case: self._saying_which(case, pace.position()))

    def _work(self, outcomes: Iterator[Outcome], pace: Pace) -> None:
        self.table.write_now_and_then()
        for outcome in outcomes:
            if outcome.status == "skipped":
                self.table.read()  # by whom it was done
                self.table.add_kept(outcome.case, self._folder / outcome.report["output"])
            self._take(outcome)
            pace.add(outcome.code or "error" if outcome.status == "failed" else "")
            if self._config.is_elsewhere:
                self._events(pace.progress("segment"))
            self.table.write_now_and_then()

    def _is_kept(self, case: SegmentCase) -> bool:
        """Tell whether a result is there and whole: as long as it was, or else by its content."""
        if self._config.overwrite:
            return False
        with contextlib.suppress(OSError):
            stat = os.stat(case.output)  # noqa: PTH116 a third of the time of Path.stat
            size = self.table.value(case.name, "bytes")
            if str(stat.st_size) == size or is_whole_result(case.output):
                told = [self.table.value(case.name, column) for column in ORIGIN]
                self._origins.compare(case, told, stat.st_mtime_ns)
                return True
        return False

    def _is_left_out(self, case: SegmentCase) -> bool:
        return not self._config.overwrite and self.table.value(case.name, "code") in _NOT_AGAIN

    def _skip(self, case: SegmentCase) -> None:
        """Keep the result of an earlier run."""
        self.table.add_kept(case.name, case.output)
        report = {"output": case.output.name}
        self._take(Outcome(case.name, "skipped", report=report))

    def _take(self, outcome: Outcome) -> None:
        """Count and tell what became of a case."""
        name, status, message = outcome.case, outcome.status, outcome.message
        self._counts[status] += 1
        for notice in outcome.notices:
            self._events(Notice(f"{name}: {notice}"))
        if status == "failed":
            self._failures[name] = message
        elif status == "done" and self._config.statistics is not None:
            self._volumes[name] = outcome.volumes
        if status in ("skipped", "busy"):
            message, status = KEPT if status == "skipped" else _BUSY, "skipped"
        if status != "failed" and len(self._cases) <= _MOST_REPORTS:
            self._reports[name] = {**outcome.report, "status": status}
        self._events(CaseDone(name, status, message, outcome.outputs))

    def _saying_which(self, case: str, position: str) -> EventSink:
        def sink(event: Event) -> None:
            if isinstance(event, Progress):
                event = dataclasses.replace(event, message=f"case {position}: {event.message}")
            elif isinstance(event, Notice):
                event = dataclasses.replace(event, message=f"{case}: {event.message}")
            self._events(event)

        return sink

    # ------------------------------------------------------------------------------------- the end

    def _open(self) -> int:
        """Return how many cases of all shards have not ended yet."""
        return sum(self.table.value(name, "status") not in ENDED for name in self._all.names)

    def write_statistics(self) -> None:
        """Write the table of label volumes of all cases, if it was asked for and all have ended."""
        path = self._config.statistics
        if path is None:
            return
        if self._open():
            self._events(Notice("The statistics are written when all cases are done.", "info"))
            return
        volumes = {}
        for case in self._all:
            if self.table.value(case.name, "status") != "failed":
                found = self._volumes.get(case.name) or self._measured(case)
                if found:
                    volumes[case.name] = found
        write_statistics(path, volumes, overwrite=True)

    def _measured(self, case: SegmentCase) -> Sequence[LabelVolume]:
        try:
            return label_volumes(read_result(case.output, self._of_model), self._labels)
        except DataError as error:
            self._events(Notice(f"{case.name}: the statistics do not show it. {error}"))
            return ()

    def write_review(self, events: EventSink) -> None:
        """Make the page to check the results by, if it was asked for and all cases have ended."""
        if self._config.review is not None and not self._open():
            write_review(self._config, self._all, self._labels, events)

    def report(self) -> dict[str, Any]:
        """Return the report of the batch.

        Raises:
            BatchError: Cases failed.
        """
        if self._config.merge:
            self._failures = {
                name: self.table.value(name, "message")
                for name in self._all.names
                if self.table.value(name, "status") == "failed"
            }
        if self._failures:
            num_cases = len(self._all if self._config.merge else self._cases)
            raise _batch_error(self._failures, num_cases, self.table.path)
        counts, still_open = self._counts, self._open()
        text = f"{counts['done']} done, {counts['skipped']} skipped"
        if counts["busy"]:
            text += f", {counts['busy']} left to another run"
        text += f". Table: {self.table.path}"
        if still_open:
            text += f"\n{still_open} of all {len(self._all)} cases are not done yet."
        table = str(self.table.path)
        return {"cases": self._reports, "table": table, "open": still_open, "text": text}


def _now_ns(folder: Path) -> int:
    """Return the time as the disk of a folder tells it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:  # which no kill leaves behind
        return os.fstat(file.fileno()).st_mtime_ns


def _batch_error(failures: dict[str, str], num_cases: int, table: Path) -> BatchError:
    listed = "; ".join(f"{case}: {message}" for case, message in list(failures.items())[:3])
    more = f"; and {len(failures) - 3} more" if len(failures) > 3 else ""
    return BatchError(
        f"{len(failures)} of {num_cases} cases failed ({listed}{more}).",
        code="cases-failed",
        remedy=f"See {table}; the same command tries only these again.",
    )
