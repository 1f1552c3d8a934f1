"""Who does the work on many sources: this process, others on this machine, or a cluster."""

from __future__ import annotations

import concurrent.futures as cf
import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.errors import ConfigError, DeviceError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_HANDED_OUT_PER_WORKER = 3
"""Tasks in work or waiting per worker, so that none waits for its next."""
_HANDED_OUT_TO_CLUSTER = 200
"""The same for a cluster, whose workers may come and go."""
_CONNECT_TIMEOUT_S = 20


@dataclass(frozen=True)
class Workers:
    """Opens executors that run functions elsewhere."""

    open: Callable[[int], AbstractContextManager[cf.Executor]]
    """Opens one with a number of workers."""
    count: int
    handed_out: int
    """Tasks that an executor is given at once."""

    def results(
        self, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT]
    ) -> Iterator[tuple[TaskT, cf.Future[ResultT]]]:
        """Run a function on every task and yield each with its future when that is done.

        A task that brings its process down (no memory left, a crash in a library) ends with
        BrokenProcessPool as the exception of its future; the others go on in new processes.
        """
        waiting = deque(tasks)
        while waiting:
            lost = []
            with self.open(self.count) as executor:
                for task, future in self._completed(executor, function, waiting):
                    if isinstance(future.exception(), BrokenProcessPool):
                        lost.append(task)
                    else:
                        yield task, future
            # With a process of its own for each it shows which one it was.
            for task in lost:
                with self.open(1) as executor:
                    future = executor.submit(function, task)
                    cf.wait([future])
                    yield task, future

    def _completed(
        self,
        executor: cf.Executor,
        function: Callable[[TaskT], ResultT],
        waiting: deque[TaskT],
    ) -> Iterator[tuple[TaskT, cf.Future[ResultT]]]:
        """Take tasks from `waiting` until all are done or the executor is broken."""
        pending: dict[cf.Future[ResultT], TaskT] = {}
        while True:
            with contextlib.suppress(BrokenProcessPool):
                while waiting and len(pending) < self.handed_out:
                    pending[executor.submit(function, waiting[0])] = waiting[0]
                    waiting.popleft()
            if not pending:
                return
            done, _ = cf.wait(pending, return_when=cf.FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future), future


@contextlib.contextmanager
def open_workers(count: int, scheduler: str | None) -> Iterator[Workers]:
    """Give workers as the settings ask for.

    Args:
        count: Processes; 0 works in this process.
        scheduler: Address of the scheduler of a dask cluster, which then does the work.

    Raises:
        ConfigError: There is no scheduler at this address.
    """
    if scheduler is not None:
        with _cluster(scheduler) as workers:
            yield workers
    elif count == 0:
        yield Workers(lambda _: cf.ThreadPoolExecutor(1), 1, 1)
    else:
        yield Workers(_processes, count, _HANDED_OUT_PER_WORKER * count)


# --------------------------------------------------------------------------------------- processes


@contextlib.contextmanager
def _processes(count: int) -> Iterator[cf.Executor]:
    """Open a pool of new processes; an error or Ctrl-C drops what they have not begun."""
    context = multiprocessing.get_context("spawn")
    pool = cf.ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
    try:
        _check_start(pool)
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        # Python would wait at its end until they have done what they are at.
        for process in multiprocessing.active_children():
            process.kill()
        raise
    pool.shutdown()


def _check_start(pool: cf.Executor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise DeviceError(
            "The worker processes end as soon as they are started.",
            code="workers-broken",
            remedy="Work without them: --workers 0.",
        ) from error


def _start_worker() -> None:
    # Ctrl-C reaches all processes; the one that was started by the user decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Not imported yet: this module does without torch, so that processes start fast.
    os.environ["OMP_NUM_THREADS"] = "1"
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _end_with_parent() -> None:
    """End this process when its parent is gone, which a pool does not do after a kill."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# ----------------------------------------------------------------------------------------- cluster


@contextlib.contextmanager
def _cluster(scheduler: str) -> Iterator[Workers]:
    from distributed import Client

    try:
        client = Client(scheduler, timeout=_CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"There is no dask scheduler at {scheduler}: {error}.",
            code="scheduler-unreachable",
            remedy="Give the address that `dask scheduler` prints, such as tcp://host:8786.",
        ) from error
    with client:
        open_executor = partial(_cluster_executor, client.get_executor(pure=False))
        yield Workers(open_executor, 1, _HANDED_OUT_TO_CLUSTER)


@contextlib.contextmanager
def _cluster_executor(executor: cf.Executor, _count: int) -> Iterator[cf.Executor]:
    """Leave closing to the client, which drops what is not done."""
    yield executor
