"""One child process that does the jobs; plain Python, without Slicer, Qt and threads.

The worker is ``misfm serve``: it takes commands as JSON lines on stdin and tells what happens as
JSON lines (`MISFMLib.events`) on stdout, which `poll` reads without ever waiting.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from MISFMLib.events import Event, Failed, Finished, Measured, event_from_json

from .WorkerEnvironment import findPython, workerEnvironment
from .WorkerProcess import WorkerProcess

_LOG_LINES = 200
_AGAIN = "Try again. If it happens again, report it with Copy report."


class JobRunner:
    """Runs one job at a time in a worker that stays warm for the next.

    Whatever happens to the worker, each job that was started ends in exactly one `Finished` or
    `Failed`, which `poll` returns; unless it is cancelled, after which nothing more is heard of it.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        silenceTimeoutS: float = 900.0,
    ) -> None:
        """Prepare; no process is started.

        Args:
            command: Program and arguments of the worker; ``misfm serve`` when not given.
            environment: All of the worker's environment; one for its Python when not given.
            silenceTimeoutS: A busy worker that tells nothing for so long is taken for hung.
        """
        python = findPython()
        self._command = command or (python, "-m", "MISFMLib", "serve", "--events", "json")
        self._environment = workerEnvironment(python) if environment is None else environment
        self._silenceTimeoutS = silenceTimeoutS
        self._worker: WorkerProcess | None = None
        self._isBusy = False
        self._hasRun = False
        self._hasLoaded = False
        self._startProblem = ""
        self._lastEventAt = 0.0
        self._otherLines: deque[str] = deque(maxlen=_LOG_LINES)
        self._log = ""

    @property
    def isBusy(self) -> bool:
        """Whether a job was started that has not ended."""
        return self._isBusy

    @property
    def isWarm(self) -> bool:
        """Whether the worker process is alive."""
        return self._worker is not None and self._worker.exitCode is None

    @property
    def hasRun(self) -> bool:
        """Whether the living worker was handed a job before, and may hold what it loaded for it."""
        return self._hasRun and self.isWarm

    @property
    def hasLoaded(self) -> bool:
        """Whether the living worker has told that it holds a model, or was handed a job."""
        return self.hasRun or (self._hasLoaded and self.isWarm)

    def prepare(self, config: Mapping[str, Any] | None = None, *, measures: bool = False) -> None:
        """Start the worker, so that it loads its libraries while the caller still writes files.

        A worker that is running stays; one that cannot start fails the job that follows.

        Args:
            config: What is known of the job to come, which the worker then loads the model of:
                fields of `MISFMLib.configs.SegmentConfig`. A busy worker is left alone.
            measures: Then let it measure a window too; `poll` returns what came out.
        """
        if not self.isWarm:
            self._startWorker()
        if config is not None and self._worker is not None and not self._isBusy:
            self._worker.send({"command": "load", "config": dict(config), "measure": measures})

    def _startWorker(self) -> None:
        self.close()
        self._startProblem = ""
        try:
            self._worker = WorkerProcess(self._command, self._environment)
        except OSError as error:
            self._startProblem = str(error)

    def start(self, jobFile: Path) -> None:
        """Hand a job file to the worker, which is started when it is not running.

        Never raises for a worker that does not start or has ended: `poll` will tell.
        """
        if self._isBusy:
            raise RuntimeError("A job is running already.")
        self.prepare()
        self._isBusy = self._hasRun = True
        self._lastEventAt = time.monotonic()
        if self._worker is not None:
            self._worker.send({"command": "run", "file": str(jobFile)})

    def poll(self) -> list[Event]:
        """Return what happened since the last call; to be called about ten times a second."""
        exitCode = self._worker.exitCode if self._worker else None
        events = self._newEvents()
        failure = self._failure(exitCode)
        if failure is not None:
            events.append(failure)
            self._isBusy = False
        if failure is not None or exitCode is not None:
            self._endWorker()
        return events

    def cancel(self) -> None:
        """End the worker with all its children, within a second; the job is forgotten."""
        self.close()

    def releaseMemory(self) -> None:
        """Let an idle worker drop its model and the GPU memory; it stays ready for the next job."""
        if self._worker is not None and not self._isBusy:
            self._worker.send({"command": "release"})

    def close(self) -> None:
        """End the worker and remove its files; the runner can be used again afterwards."""
        self._isBusy = False
        self._endWorker()

    def log(self) -> str:
        """Return how the worker was started and ended, and the last lines it wrote as text."""
        self._keepLog()
        return self._log

    def _newEvents(self) -> list[Event]:
        events = []
        for line in self._worker.newLines() if self._worker else ():
            try:
                event = event_from_json(line)
            except ValueError:
                self._otherLines.append(line)
                continue
            self._lastEventAt = time.monotonic()
            if isinstance(event, Measured):
                self._hasLoaded = True
                events.append(event)
            elif self._isBusy:
                events.append(event)
                self._isBusy = not isinstance(event, Finished | Failed)
        return events

    def _failure(self, exitCode: int | None) -> Failed | None:
        """Return why the running job cannot end by itself; None when it can."""
        if not self._isBusy:
            return None
        if self._worker is None:
            return _notStarted(self._command[0], self._startProblem)
        if exitCode is not None:
            return _ended(exitCode)
        if time.monotonic() - self._lastEventAt > self._silenceTimeoutS:
            return _hung(self._silenceTimeoutS)
        return None

    def _endWorker(self) -> None:
        if self._worker is not None:
            self._keepLog()
            self._worker.end()
            self._worker = None
            self._hasRun = self._hasLoaded = False
            self._otherLines.clear()

    def _keepLog(self) -> None:
        if self._worker is None:
            return
        exitCode = self._worker.exitCode
        state = "running" if exitCode is None else f"exit code {exitCode}"
        lines = [" ".join(self._worker.command), state, self._worker.errorText().rstrip()]
        self._log = "\n".join([*lines, *self._otherLines]).rstrip()


def _notStarted(program: str, problem: str) -> Failed:
    return Failed(
        f"The program that segments could not be started: {problem or program}.",
        code="worker-not-started",
        remedy="Restart Slicer; if that does not help, install the MISFM extension again.",
    )


def _ended(exitCode: int) -> Failed:
    if exitCode == -getattr(signal, "SIGKILL", 9):
        return Failed(
            "The program that segments was ended by the system, most often for lack of memory.",
            code="worker-killed",
            remedy="Close other programs, or segment only a region of the volume.",
        )
    if exitCode < 0 or exitCode >= 0xC0000000:  # a signal, or an exception of Windows
        return Failed(
            f"The program that segments crashed ({_signalName(exitCode)}).",
            code="worker-crashed",
            remedy=_AGAIN,
        )
    return Failed(
        f"The program that segments ended without a result (exit code {exitCode}).",
        code="worker-ended",
        remedy=_AGAIN,
    )


def _signalName(exitCode: int) -> str:
    try:
        return signal.Signals(-exitCode).name
    except ValueError:
        return f"exit code {exitCode:#x}"


def _hung(seconds: float) -> Failed:
    return Failed(
        f"The program that segments has told nothing for {seconds / 60:.0f} minutes.",
        code="worker-hung",
        remedy=_AGAIN,
    )
