"""Cases of a batch in other processes: workers on this machine, or those of a dask cluster.

The processes do the work and write down what became of it (`CaseWorker`); what comes back here is
for whoever watches. So the end of this process, or of a scheduler, costs nothing that was done.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from MISFMLib.events import Event, Notice, ignore_events, warnings_as_notices
from MISFMLib.jobs.claims import claimed
from MISFMLib.jobs.journal import Journal
from MISFMLib.jobs.segment.batch_job import BatchJob, Outcome
from MISFMLib.jobs.segment.plan import SegmentCase
from MISFMLib.jobs.segment.results import is_whole_result
from MISFMLib.jobs.segment.table import given_up
from MISFMLib.jobs.workers import open_workers, shared_cores

_kept: list[tuple[BatchJob, Any, Callable[[], None]]] = []
"""In a worker process: the batch it worked on last, with its model, and how to end that."""
_one_at_a_time = threading.Lock()
"""A dask worker may have threads, which share the model and the cores."""


def outcomes_elsewhere(job: BatchJob, cases: Sequence[SegmentCase]) -> Iterator[Outcome]:
    """Have workers segment cases, as the settings of the job say; yield each as it is done.

    Raises:
        ConfigError: The scheduler is not there, or was lost.
        MISFMError: What is no fault of a case, such as a model that cannot be read.
    """
    config = job.config
    count = min(config.workers or 0, len(cases))
    if config.scheduler is None:
        job = dataclasses.replace(job, threads=config.threads or shared_cores(count))
    work = partial(work_on, job=dataclasses.replace(job, is_spread=True))
    with open_workers(count, config.scheduler, job.threads, _end_kept) as workers:
        for case, future in workers.results(work, cases):
            error = future.exception()
            if error is None:
                yield future.result()
            elif isinstance(error, BrokenProcessPool):
                yield _give_up(case, job)
            else:
                raise error


def _give_up(case: SegmentCase, job: BatchJob) -> Outcome:
    """Write down that no process survived a case, unless another run has it."""
    with claimed(job.folder, case.name, ignore_events) as claim:
        if claim is None or is_whole_result(case.output):
            return Outcome(case.name, "busy")
        row = given_up(case.name, max(1, claim.tries))
        with contextlib.closing(Journal(job.folder)) as journal:
            journal.add(row.journal(job.model))
    return Outcome(case.name, "failed", row.message, row.code)


# ----------------------------------------------------------------------------- in worker processes


def work_on(case: SegmentCase, job: BatchJob) -> Outcome:
    """Work on a case in a process that keeps the model for the next one.

    Raises:
        MISFMError: It is no fault of the case.
    """
    notices: list[str] = []

    def keep(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.message)

    with _one_at_a_time, warnings_as_notices(keep):
        outcome: Outcome = _worker_of(job).run(case, keep)
    return dataclasses.replace(outcome, notices=tuple(dict.fromkeys(notices)))


def _worker_of(job: BatchJob) -> Any:
    from MISFMLib.jobs.segment.worker import open_worker  # torch, which the client does without

    if not _kept or _kept[0][0] != job:
        _end_kept()
        threads = job.threads or job.config.threads or _threads_of_dask()
        stack = contextlib.ExitStack()
        worker = stack.enter_context(open_worker(job, threads))
        _kept.append((job, worker, stack.close))
    return _kept[0][1]


def _end_kept() -> None:
    """Free the model, and let others read what this process has written down."""
    while _kept:
        _kept.pop()[2]()


atexit.register(_end_kept)


def _threads_of_dask() -> int | None:
    """Return the threads that the dask worker of this process was given."""
    from distributed import get_worker

    with contextlib.suppress(ValueError):
        return int(get_worker().state.nthreads)
    return None
