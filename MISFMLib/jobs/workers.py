"""Who does the work on many tasks: this process, others on this machine, or a dask cluster.

Every job that has many cases spreads them by `open_workers`. A worker that dies costs the task it
was at one try; the others do not notice.
"""

from __future__ import annotations

import concurrent.futures as cf
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import TypeVar

from MISFMLib.cores import usable_cores
from MISFMLib.errors import ConfigError, DeviceError, MISFMError
from MISFMLib.files import remove_unfinished

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

MOST_TRIES = 3
"""How often a task is begun that its worker does not survive."""
_HANDED_OUT_TO_CLUSTER = 1000
"""Tasks that a cluster has at once: its workers may come and go, and its memory shall not grow with
the number of tasks."""
_CONNECT_TIMEOUT_S = 20
_END_S = 2.0
"""Time that a worker has to end when its parent drops it."""


class Workers:
    """Runs functions elsewhere."""

    def __init__(self, places: Sequence[_Place]) -> None:
        self._places = places

    def results(
        self, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT]
    ) -> Iterator[tuple[TaskT, cf.Future[ResultT]]]:
        """Run a function on every task and yield each with its future when that is done.

        A task that brings its worker down (no memory left, a crash in a library) is begun
        `MOST_TRIES` times and then ends with BrokenProcessPool as the exception of its future.

        Raises:
            ConfigError: The scheduler of a cluster is gone.
        """
        new, again = iter(tasks), list[tuple[TaskT, int]]()
        pending: dict[cf.Future[ResultT], tuple[TaskT, int, _Place]] = {}
        while True:
            for place in self._places:
                while place.free and (entry := _next(new, again)):
                    pending[place.submit(function, entry[0])] = (*entry, place)
            if not pending:
                return
            done, _ = cf.wait(pending, return_when=cf.FIRST_COMPLETED)
            for future in done:
                task, tries, place = pending.pop(future)
                was_lost = place.has_lost(future)
                if was_lost and tries + 1 < MOST_TRIES:
                    again.append((task, tries + 1))
                else:
                    yield task, (_lost() if was_lost else future)


def _next(new: Iterator[TaskT], again: list[tuple[TaskT, int]]) -> tuple[TaskT, int] | None:
    """Return a task and how often it was lost: a new one as long as there is one."""
    for task in new:
        return task, 0
    return again.pop(0) if again else None


def _lost() -> cf.Future[ResultT]:
    future: cf.Future[ResultT] = cf.Future()
    future.set_exception(BrokenProcessPool("Its worker died each time."))
    return future


@contextlib.contextmanager
def open_workers(
    count: int,
    scheduler: str | None,
    threads: int | None = 1,
    at_end: Callable[[], None] | None = None,
) -> Iterator[Workers]:
    """Give workers as the settings ask for.

    Args:
        count: Processes; 0 works in this process.
        scheduler: Address of the scheduler of a dask cluster, which then does the work.
        threads: CPU threads of each process; None shares the cores out.
        at_end: Called in every worker of a cluster at the end, since they live on.

    Raises:
        ConfigError: There is no scheduler at this address.
        DeviceError: Processes end as soon as they are started.
    """
    if scheduler is not None:
        with _cluster(scheduler, at_end) as place:
            yield Workers([place])
    elif count == 0:
        yield Workers([_Place(cf.ThreadPoolExecutor(1), 1)])
    else:
        with _processes(count, threads or shared_cores(count)) as places:
            yield Workers(places)


def shared_cores(count: int) -> int:
    """Return the cores for each of so many processes."""
    return max(1, usable_cores() // max(1, count))


class _Place:
    """An executor that is given so many tasks at once."""

    def __init__(self, executor: cf.Executor, capacity: int) -> None:
        self._executor = executor
        self._capacity = capacity
        self._given = 0

    @property
    def free(self) -> bool:
        """Whether it takes another task."""
        return self._given < self._capacity

    def submit(self, function: Callable[[TaskT], ResultT], task: TaskT) -> cf.Future[ResultT]:
        """Begin a task."""
        self._given += 1
        return self._executor.submit(function, task)

    def has_lost(self, _future: cf.Future[ResultT]) -> bool:
        """Take note that a task is done; tell whether its worker died instead."""
        self._given -= 1
        return False


# --------------------------------------------------------------------------------------- processes


class _Process(_Place):
    """One new process, and another one when it has died."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        super().__init__(self._open(), 1)

    def _open(self) -> cf.Executor:
        # A process of its own for each place: of a pool, Python ends all when one dies.
        receiver, self._lifeline = multiprocessing.Pipe(duplex=False)
        return cf.ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(self._threads, receiver),
        )

    def submit(self, function: Callable[[TaskT], ResultT], task: TaskT) -> cf.Future[ResultT]:
        """Begin a task, in another process if this one has died since its last one."""
        try:
            return super().submit(function, task)
        except BrokenProcessPool:
            self._given -= 1
            self._renew()
            return super().submit(function, task)

    def has_lost(self, future: cf.Future[ResultT]) -> bool:
        super().has_lost(future)
        if not isinstance(future.exception(), BrokenProcessPool):
            return False
        self._renew()
        return True

    def _renew(self) -> None:
        self.drop()
        self._executor = self._open()

    def close(self) -> None:
        """Let the process end."""
        self._executor.shutdown()
        self._lifeline.close()

    def drop(self) -> None:
        """End the process whatever it is at."""
        self._lifeline.close()
        self._executor.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _processes(count: int, threads: int) -> Iterator[list[_Process]]:
    """Open new processes; an error or Ctrl-C drops what they have not begun."""
    before = set(multiprocessing.active_children())
    processes: list[_Process] = []
    try:
        processes += [_Process(threads) for _ in range(count)]
        _check_start(processes)
        yield processes
    except BaseException:
        for process in processes:
            process.drop()
        # Python would wait at its end until they have done what they are at.
        for child in set(multiprocessing.active_children()) - before:
            child.join(_END_S)
            child.kill()
        raise
    for process in processes:
        process.close()


def _check_start(processes: Sequence[_Process]) -> None:
    futures = [process.submit(len, "") for process in processes]
    for process, future in zip(processes, futures, strict=True):
        error = future.exception()
        process.has_lost(future)
        if error is not None:
            raise DeviceError(
                "The worker processes end as soon as they are started.",
                code="workers-broken",
                remedy="Work without them: --workers 0.",
            ) from error


def _start_worker(threads: int, lifeline: Connection) -> None:
    # The signals reach all processes; the one that was started by the user decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    # Not imported yet: this module does without torch and SimpleITK, so that processes start fast.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import SimpleITK as sitk  # noqa: N813 the name everyone uses

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _end_with_parent(lifeline: Connection) -> None:
    """End this process when its parent drops it or is gone, which a pool does not do by itself."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()
    remove_unfinished()
    os._exit(1)


# ----------------------------------------------------------------------------------------- cluster


class _Cluster(_Place):
    """The workers of a dask cluster, which may come and go."""

    def has_lost(self, future: cf.Future[ResultT]) -> bool:
        from distributed.scheduler import KilledWorker

        super().has_lost(future)
        if future.cancelled():
            raise _no_scheduler("The dask scheduler is gone", "scheduler-lost")
        # Dask has begun it again by itself, or it only waited where another one was at work.
        return isinstance(future.exception(), KilledWorker)


@contextlib.contextmanager
def _cluster(scheduler: str, at_end: Callable[[], None] | None) -> Iterator[_Cluster]:
    from distributed import Client
    from distributed.comm import get_address_host_port

    try:
        if "://" not in scheduler or scheduler.startswith(("tcp:", "tls:", "ws:", "wss:")):
            get_address_host_port(scheduler)  # a client of no address would hang at its end
        client = Client(scheduler, timeout=_CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise _no_scheduler(
            f"There is no dask scheduler at {scheduler}: {error}", "scheduler-unreachable"
        ) from error
    with client:
        yield _Cluster(client.get_executor(pure=False), _HANDED_OUT_TO_CLUSTER)
        if at_end is not None:
            client.run(at_end, on_error="ignore")


def _no_scheduler(message: str, code: str) -> MISFMError:
    return ConfigError(
        f"{message}.",
        code=code,
        remedy="Give the address that `dask scheduler` prints, such as tcp://host:8786; the same "
        "command goes on with what is not done yet.",
    )
