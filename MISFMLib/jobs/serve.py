"""``misfm serve``: job after job in one process, so that torch and the model stay in memory."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MISFMLib.errors import ConfigError
from MISFMLib.events import (
    EventSink,
    Failed,
    Finished,
    Measured,
    Progress,
    warnings_as_notices,
)
from MISFMLib.files import parse_json
from MISFMLib.jobs import load_job

_log = logging.getLogger(__name__)

RunJobFile = Callable[[Path, EventSink], dict[str, Any]]
IsWanted = Callable[[], bool]
LoadModel = Callable[[dict[str, Any], IsWanted | None], Iterator[Measured | None]]


class WarmJobs:
    """Runs jobs by their name and keeps the network of the last segmentation for the next."""

    def __init__(self) -> None:
        # Any: its class needs torch, which shall be loaded when somebody listens to the events.
        self._segmenters: Any = None

    def load_libraries(self, events: EventSink) -> None:
        """Import what jobs need before the first one comes; what cannot be imported fails there."""
        events(Progress("start", 0.0, "Loading PyTorch"))
        with contextlib.suppress(ImportError, OSError):
            load_job("segment")

    def run(self, name: str, config: Any, events: EventSink) -> dict[str, Any]:
        """Run a job and return its report."""
        arguments = (config, events, self._loader()) if name == "segment" else (config, events)
        with warnings_as_notices(events):
            report: dict[str, Any] = load_job(name)(*arguments)
        return report

    def load(self, config: Any, is_wanted: IsWanted | None) -> Iterator[Measured | None]:
        """Load the model of a segmentation that may follow; see `load_model` there."""
        segment = importlib.import_module("MISFMLib.jobs.segment.segment")
        yield from segment.load_model(config, self._loader(), is_wanted)

    def _loader(self) -> Any:
        if self._segmenters is None:
            cache = importlib.import_module("MISFMLib.inference.segmenter_cache")
            self._segmenters = cache.SegmenterCache()
        return self._segmenters.get

    def release(self) -> None:
        """Free the network and the memory of the GPU."""
        if self._segmenters is not None:
            self._segmenters.clear()


@dataclass(frozen=True)
class Server:
    """Does what a program asks for with lines of JSON.

    ``{"command": "run", "file": "job.json"}`` runs a job file; paths in it are relative to its
    folder. ``{"command": "load", "config": {"model": "name", ...}}`` loads a model before the job
    that will need it, with the settings of that job as far as they are known; no event tells of it,
    and what goes wrong is found again by the job. With ``"measure": true`` a window is measured
    then, which a `Measured` tells of unless a command comes first. ``{"command": "release"}``
    frees the model and the memory of the GPU. The end of the input ends the server, also in the
    middle of a job: whoever asked is gone then.
    """

    run_job_file: RunJobFile
    """Runs a job file and returns the job's report."""
    load: LoadModel
    """Loads the model of a segmentation, by settings of its job; yields before each step. With a
    second argument, which tells whether a command waits, also measures a window."""
    describe: Callable[[BaseException], Failed]
    """Turns what a job raised into its last event."""
    release: Callable[[], None]
    """Frees what is kept from job to job."""
    events: EventSink
    """Hears the events of every job; each ends in exactly one `Finished` or `Failed`."""

    def serve(
        self, descriptor: int, idle_s: float, warm_up: Callable[[], None] = lambda: None
    ) -> None:
        """Carry out commands until the input ends or none has come for `idle_s` seconds.

        Args:
            descriptor: File descriptor that the commands are read from.
            idle_s: Seconds without a command after which the server ends.
            warm_up: What is done before the first command; the end of the input ends that too.
        """
        commands = _Commands(descriptor)
        if commands.begin():
            try:
                warm_up()
            except KeyboardInterrupt:
                if not commands.have_ended():
                    raise
                return
            commands.done()
        while (line := commands.next(idle_s)) is not None:
            last = self._carry_out(line, commands)
            commands.done()  # first: whoever hears that the job has ended may end the input
            if last is not None:
                self.events(last)

    def _carry_out(self, line: str, commands: _Commands) -> Finished | Failed | None:
        """Carry out a command; return the last event of a job."""
        try:
            command = parse_json(line)
            name, file, config = command["command"], command.get("file"), command.get("config")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return self._failed_command(line, str(error))
        if name == "run" and isinstance(file, str) and "\0" not in file:
            return self._run(Path(file))
        if name == "load" and isinstance(config, dict):
            self._load(config, commands, measures=command.get("measure") is True)
        elif name == "release":
            self.release()
        else:
            return self._failed_command(line, "run needs a file, load a config, release nothing")
        return None

    def _failed_command(self, line: str, reason: str) -> Failed:
        error = ConfigError(
            f"{line[:80]!r} is not a command: {reason}.",
            code="bad-command",
            remedy='Send {"command": "run", "file": "job.json"} on one line.',
        )
        return self.describe(error)

    def _load(self, config: dict[str, Any], commands: _Commands, *, measures: bool) -> None:
        try:
            for measured in self.load(config, commands.are_waiting if measures else None):
                if measured is not None:
                    self.events(measured)
                elif commands.are_waiting():  # a job, which loads what it needs, or another model
                    break
        except Exception:  # the job will find it again, and tell
            _log.debug("The model was not loaded.", exc_info=True)

    def _run(self, file: Path) -> Finished | Failed:
        try:
            with _working_in(file.parent):
                report = self.run_job_file(file, self.events)
        except Exception as error:  # of one job, which the next ones shall survive
            return self.describe(error)
        report.pop("text", None)
        return Finished(report)


class _Commands:
    """Lines from a descriptor, read by a thread so that waiting for them can end.

    When the input ends between `next` and `done`, the main thread gets a KeyboardInterrupt.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_at_end = False
        self._is_busy = False
        threading.Thread(target=self._read, name="misfm-commands", daemon=True).start()

    def begin(self) -> bool:
        """Say that something is done which the end of the input shall end; tell if it may be."""
        with self._lock:
            self._is_busy = not self._is_at_end
            return self._is_busy

    def have_ended(self) -> bool:
        """Tell whether the input has ended."""
        with self._lock:
            return self._is_at_end

    def next(self, timeout_s: float) -> str | None:
        """Return the next line, or None when the input has ended or none comes in time."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            _log.info("No command for %.0f s.", timeout_s)
            return None
        with self._lock:
            self._is_busy = not self._is_at_end
            return line if self._is_busy else None

    def are_waiting(self) -> bool:
        """Tell whether there is a next line already, or the input has ended."""
        return not self._lines.empty()

    def done(self) -> None:
        """Say that the last line was carried out."""
        with self._lock:
            self._is_busy = False

    def _read(self) -> None:
        rest = b""
        # Not through sys.stdin: a thread that waits in it would hold its lock when Python ends.
        while chunk := os.read(self._descriptor, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._lines.put(line.decode("utf-8", errors="replace"))
        with self._lock:
            self._is_at_end = True
            if self._is_busy:
                _interrupt_main_thread()
        self._lines.put(None)


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):  # also ends a system call that the thread waits in
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Make a folder the current one; leave it again, so that it can be deleted on Windows."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def reset_priority() -> None:
    """Compute at normal priority where the system allows it; from Slicer we inherit the lowest."""
    if hasattr(os, "setpriority") and os.getpriority(os.PRIO_PROCESS, 0) > 0:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
