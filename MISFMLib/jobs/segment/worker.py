"""One process that works on the cases of a batch: claims each, and writes down what became of it.

All ways to work on a batch meet here: this process, others beside it, dask workers, shards of a job
array. They know of each other by the output folder alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator

from MISFMLib.configs import SegmentConfig
from MISFMLib.device import set_threads
from MISFMLib.errors import DeviceError, JobCancelled, MISFMError, OutputError, is_out_of_memory
from MISFMLib.events import EventSink, ignore_events
from MISFMLib.gpus import own_gpu
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.jobs.claims import WORK, Claim, claimed
from MISFMLib.jobs.journal import ENGINE, Journal
from MISFMLib.jobs.segment.batch_job import BatchJob, Outcome
from MISFMLib.jobs.segment.case import CaseResult, CaseRunner
from MISFMLib.jobs.segment.only import wanted_labels
from MISFMLib.jobs.segment.origins import Origins
from MISFMLib.jobs.segment.plan import SegmentCase
from MISFMLib.jobs.segment.region import RegionFirst
from MISFMLib.jobs.segment.results import is_whole_result
from MISFMLib.jobs.segment.table import CaseRow, given_up
from MISFMLib.jobs.workers import MOST_TRIES
from MISFMLib.models.bundle import Bundle
from MISFMLib.models.store import find_model
from MISFMLib.volumes.reader_process import ReaderProcess

_log = logging.getLogger(__name__)

# What one bad volume can raise, through SimpleITK and torch too; anything else is a mistake of ours
# that all cases would share.
_CASE_ERRORS = (MISFMError, OSError, RuntimeError, ValueError, MemoryError)

SegmenterLoader = Callable[[Bundle, SegmenterOptions], Segmenter]


def options_of(config: SegmentConfig, bundle: Bundle) -> SegmenterOptions:
    """Return how a job runs its model."""
    labels = wanted_labels(config, bundle.manifest) if config.only else ()
    return SegmenterOptions(
        only=frozenset(label.value for label in labels),
        device=config.device,
        precision=config.precision,
        engine=config.engine,
        overlap=config.overlap,
        batch_size=config.batch_size,
        mirroring=config.mirroring,
        postprocessing=config.postprocessing == "model",
        uncertainty=config.uncertainty is not None,
    )


@contextlib.contextmanager
def open_worker(
    job: BatchJob,
    threads: int | None,
    load_segmenter: SegmenterLoader = Segmenter.from_bundle,
    events: EventSink = ignore_events,
) -> Iterator[CaseWorker]:
    """Load the model of a batch in this process.

    Args:
        job: The batch.
        threads: CPU threads; all when None.
        load_segmenter: Loads the model; for callers that keep it loaded.
        events: Hears of a file system without locks.

    Raises:
        MISFMError: The model cannot be used, or the other cases were computed in another way.
    """
    bundle = find_model(job.config.model)
    set_threads(threads)
    choose = own_gpu if job.is_spread else contextlib.nullcontext
    with (
        choose(job.config.device) as device,
        ReaderProcess() as read,
        contextlib.closing(Journal(job.folder, events)) as journal,
    ):
        options = dataclasses.replace(options_of(job.config, bundle), device=device)
        segmenter = load_segmenter(bundle, options)
        region_first = RegionFirst(options)
        runner = CaseRunner(
            job.config, bundle.manifest, segmenter, region_first, overwrite=True, read=read
        )
        yield CaseWorker(job, runner, journal)


class CaseWorker:
    """Works on one case after the other with a model that stays loaded."""

    def __init__(self, job: BatchJob, runner: CaseRunner, journal: Journal) -> None:
        """Settle how to compute.

        Raises:
            OutputError: The other cases were computed in another way than is asked for.
        """
        self._job = job
        self._runner = runner
        self._journal = journal
        self._origins = Origins(job.folder, job.config)
        self._settled = job.folder / WORK / ENGINE
        self._is_settled = False
        self._settle()

    def run(self, case: SegmentCase, events: EventSink) -> Outcome:
        """Segment a case, unless another process does, or did since the batch began.

        A failure is written down; until the case ends it counts as cancelled, so that this is true
        however the process ends.

        Raises:
            MISFMError: It is no fault of the case.
        """
        with claimed(self._job.folder, case.name, events) as claim:
            if claim is None:
                return Outcome(case.name, "busy")
            if self._is_done(case):
                return Outcome(case.name, "skipped", report={"output": case.output.name})
            if claim.tries >= MOST_TRIES:
                return self._failed(given_up(case.name, claim.tries))
            self._settle()
            return self._try(case, claim, events)

    def _is_done(self, case: SegmentCase) -> bool:
        with contextlib.suppress(OSError):
            is_new = case.output.stat().st_mtime_ns >= self._job.started_ns
            return (is_new or not self._job.config.overwrite) and is_whole_result(case.output)
        return False

    def _try(self, case: SegmentCase, claim: Claim, events: EventSink) -> Outcome:
        claim.begin()
        tries = claim.tries + 1
        row = CaseRow(
            case.name,
            "cancelled",
            message="It was not finished.",
            tries=tries,
            input=self._origins.of(case),
            series=self._origins.series,
            options=self._origins.options,
        )
        self._write(row)
        self._runner.segmenter.step_down(claim.tries)
        try:
            result = self._compute(case, events)
        except JobCancelled:
            raise
        except _CASE_ERRORS as error:
            if isinstance(error, OutputError) and error.code == "disk-full":
                raise  # as it would be for all others, after they were computed
            return self._fail(row, error)
        self._tell_engine(result.engine)
        report, volumes = result.report, result.volumes
        done = dataclasses.replace(
            row,
            status="done",
            message="",
            seconds=result.seconds,
            volumes=volumes,
            engine=result.engine,
            bytes=case.output.stat().st_size,
        )
        self._write(done)
        return Outcome(case.name, "done", outputs=result.outputs, report=report, volumes=volumes)

    def _compute(self, case: SegmentCase, events: EventSink) -> CaseResult:
        try:
            return self._runner.run(case, events)
        except DeviceError as error:
            if error.code != "other-engine" or not self._may_differ:
                raise
            self._runner.segmenter.settle(self._job.volumes)  # as this machine can
            return self._runner.run(case, events)

    def _fail(self, row: CaseRow, error: Exception) -> Outcome:
        if isinstance(error, MISFMError):
            message, code = str(error), error.code
        else:
            _log.exception("%s failed", row.case)
            message = f"{type(error).__name__}: {error}"
            code = "out-of-memory" if is_out_of_memory(error) else "unexpected-error"
        return self._failed(dataclasses.replace(row, status="failed", message=message, code=code))

    def _failed(self, row: CaseRow) -> Outcome:
        self._write(row)
        return Outcome(row.case, "failed", row.message, row.code)

    def _write(self, row: CaseRow) -> None:
        self._journal.add(row.journal(self._job.model), flush=row.status != "cancelled")

    # One engine for the whole batch: the first process to finish a case tells the others.

    @property
    def _may_differ(self) -> bool:
        """Whether machines may compute as they can; the table tells which case had what."""
        config = self._job.config
        is_open = config.device == "auto" and config.engine == "auto" and config.precision == "auto"
        return self._job.is_spread and is_open

    def _settle(self) -> None:
        if self._is_settled:
            return
        engine = self._job.engine
        with contextlib.suppress(OSError):
            engine = self._settled.read_text("ascii") or engine
        self._is_settled = bool(engine)
        segmenter = self._runner.segmenter
        try:
            segmenter.settle(self._job.volumes, engine)
        except OutputError:
            if not self._may_differ:
                raise
            segmenter.settle(self._job.volumes)

    def _tell_engine(self, engine: str) -> None:
        if not self._is_settled:
            with contextlib.suppress(OSError), self._settled.open("x", encoding="ascii") as file:
                file.write(engine)
            self._is_settled = True
