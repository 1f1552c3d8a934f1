"""A training as a process of its own, which outlives the panel, the scene and Slicer.

Plain Python, without Slicer and Qt. Everything about a training is in its folder, so that whoever
looks later, in another Slicer, finds all of it:

    job.json       the job as `misfm run` takes it     about.json    what it is for
    events.jsonl   what has happened, line by line     stderr.txt    what else was written
    lock           locked as long as the process runs  process.json  its number
    model, model.run                                   its result, and its checkpoint
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from MISFMLib.events import Event, Failed, Finished, Metric, Progress, event_from_json
from MISFMLib.files import write_json

from .FileLock import holdFor, isHeld
from .WorkerEnvironment import findPython, workerEnvironment
from .WorkerProcess import endGroup

_LOG_BYTES = 16000
_LOWEST = 19
"""Of nice values."""


class TrainingState(Enum):
    """Where a training stands."""

    RUNNING = "running"
    PAUSED = "paused"
    """Stopped on request; goes on from its checkpoint."""
    KILLED = "killed"
    """Ended without a word: crash, power cut, kill; goes on from its checkpoint."""
    FAILED = "failed"
    FINISHED = "finished"
    """There is a model, about which nobody has decided."""


class TrainingProcess:
    """One training on this computer, running or not."""

    def __init__(self, folder: Path) -> None:
        """Look at a folder that `create` made; nothing is started."""
        self.folder = folder
        self.progress: Progress | None = None
        """The last one heard."""
        self.metrics: dict[int, dict[str, float]] = {}
        """Numbers by step; a step that was repeated after a crash has its newest ones."""
        self.end: Finished | Failed | None = None
        """How the last process ended; None while it runs, or when it said nothing."""
        self._offset = 0
        self._rest = b""
        self._child: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(
        cls, folder: Path, job: Mapping[str, Any], about: Mapping[str, Any]
    ) -> TrainingProcess:
        """Write down a training in a new folder; nothing is started.

        Args:
            folder: Must not exist.
            job: ``{"job": "finetune", "config": {...}}`` with absolute paths.
            about: What the panel wants to find again; JSON types.

        Raises:
            OutputError: It cannot be written.
        """
        write_json(folder / "about.json", dict(about))
        write_json(folder / "job.json", dict(job))
        return cls(folder)

    # ----------------------------------------------------------------------------------- looking

    @property
    def about(self) -> dict[str, Any]:
        """What was written down about it; empty when the file is damaged."""
        return _readJson(self.folder / "about.json")

    @property
    def job(self) -> dict[str, Any]:
        """Its job; empty when the file is damaged."""
        return _readJson(self.folder / "job.json")

    @property
    def output(self) -> Path:
        """Where its result goes."""
        return Path(self.job.get("config", {}).get("output", self.folder / "model"))

    @property
    def hasCheckpoint(self) -> bool:
        """Whether it can go on from where it stopped."""
        return (self._run / "checkpoint.pt").exists()

    @property
    def _run(self) -> Path:
        return self.output.with_name(f"{self.output.name}.run")

    @property
    def isRunning(self) -> bool:
        """Whether its process is alive, whoever started it."""
        if self._child is not None:
            self._child.poll()  # so that the system may forget it once it has ended
        return isHeld(self.folder / "lock")

    @property
    def state(self) -> TrainingState:
        """Where it stands; `poll` first."""
        if self.isRunning:
            return TrainingState.RUNNING
        if isinstance(self.end, Finished):
            return TrainingState.FINISHED
        if isinstance(self.end, Failed):
            return TrainingState.PAUSED if self.end.code == "cancelled" else TrainingState.FAILED
        return TrainingState.KILLED

    def poll(self) -> list[Event]:
        """Return what has happened since the last call; at the first, all there is."""
        isAlive = self.isRunning  # asked first, so that nothing is written after reading
        events = []
        for line in self._newLines(isAlive):
            with contextlib.suppress(ValueError):
                events.append(event_from_json(line))
                self._take(events[-1])
        return events

    def log(self) -> str:
        """Return the end of what the process wrote beside its events."""
        try:
            content = (self.folder / "stderr.txt").read_bytes()
        except OSError:
            return ""
        return content[-_LOG_BYTES:].decode("utf-8", errors="replace")

    def _newLines(self, isAlive: bool) -> list[str]:
        try:
            with (self.folder / "events.jsonl").open("rb") as file:
                file.seek(self._offset)
                chunk = file.read()
        except OSError:
            return []
        self._offset += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if not isAlive and self._rest:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", errors="replace") for line in lines]

    def _take(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.progress, self.end = event, None
        elif isinstance(event, Metric):
            self.end = None
            self.metrics.setdefault(event.step, {}).update(event.values)
        elif isinstance(event, Finished | Failed):
            self.end = event

    # ---------------------------------------------------------------------------------- steering

    def start(self, command: Sequence[str] | None = None) -> None:
        """Start the process, or let it go on from its checkpoint.

        Args:
            command: Program and arguments; ``misfm run`` with the job when not given.

        Raises:
            OSError: It cannot be started.
            RuntimeError: It is running.
        """
        if self.isRunning:
            raise RuntimeError("The training is running already.")
        self._setResume()
        self.end = None
        (self.folder / "process.json").unlink(missing_ok=True)  # never the number of an earlier one
        python = findPython()
        words = command or (python, "-m", "MISFMLib", "run", str(self.folder / "job.json"))
        with (
            (self.folder / "events.jsonl").open("ab") as events,
            (self.folder / "stderr.txt").open("ab") as errors,
            holdFor(self.folder / "lock") as lock,
        ):
            if events.tell():
                events.write(b"\n")  # a process that was killed may have left half a line
                events.flush()
            self._child = _Detached(
                [*words, *(() if command else ("--events", "json"))],
                env=workerEnvironment(python),
                stdin=subprocess.DEVNULL,
                stdout=events,
                stderr=errors,
                cwd=self.folder,
                **_detached(lock),
            )
        _lowerPriority(self._child.pid)
        write_json(self.folder / "process.json", {"pid": self._child.pid}, overwrite=True)

    def ask(self, word: str) -> None:
        """Ask it to stop after the running step.

        Args:
            word: ``pause``, after which `start` goes on with the same numbers; or ``finish``, to
                make a model of the best weights so far.
        """
        if self.isRunning and self._run.is_dir():
            (self._run / "control").write_text(word, "utf-8")

    def watch(self, case: str) -> None:
        """Ask it for the labels that the network sees in a held-out case at each validation.

        Args:
            case: Its name; empty for none any more.
        """
        wish = self._run / "watch"
        for path in (self.watched, wish):  # labels of another case
            with contextlib.suppress(PermissionError):  # Windows, while it is written or read
                path.unlink(missing_ok=True)
        if case and self.isRunning and self._run.is_dir():
            wish.write_text(case, "utf-8")

    @property
    def watched(self) -> Path:
        """Where these labels are, once they are there: a .seg.nrrd on the grid of the case."""
        return self._run / "watched.seg.nrrd"

    def discard(self) -> None:
        """End it at once and remove all of it."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self, timeoutS: float = 5.0) -> None:
        """End the process at once; its checkpoint stays."""
        if not self.isRunning:
            return
        endGroup(int(_readJson(self.folder / "process.json").get("pid", 0)))
        deadline = time.monotonic() + timeoutS
        while self.isRunning and time.monotonic() < deadline:
            time.sleep(0.02)

    def _setResume(self) -> None:
        job = self.job
        job["config"] = {**job["config"], "resume": (self._run / "settings.json").exists()}
        write_json(self.folder / "job.json", job, overwrite=True)


class _Detached(subprocess.Popen):  # type: ignore[type-arg]
    """A child that may outlive us: that is no mistake to warn of."""

    def __del__(self) -> None:
        pass


def _detached(lock: int) -> dict[str, Any]:
    """Return options for a process that its parent's end does not touch."""
    if os.name == "nt":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return {"creationflags": flags | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    return {"start_new_session": True, "pass_fds": (lock,)}


def _lowerPriority(pid: int) -> None:
    """Let everything else on the computer go first."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, _LOWEST)
    if sys.platform == "linux":  # a session of its own is a group, beyond which nice does not count
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(_LOWEST), "ascii")


def _readJson(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
