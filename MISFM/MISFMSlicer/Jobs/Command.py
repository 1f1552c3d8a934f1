"""One ``misfm`` command in a child process, followed from event to event."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qt

from MISFMLib.events import Failed, Finished, Progress

from ..Signal import Signal
from .JobRunner import JobRunner
from .WorkerEnvironment import findPython

_POLL_MS = 100


class Command:
    """Runs a command beside the jobs: a download, a check of the computer.

    Signals: ``progressed(Progress)`` and, once and last, ``ended(Finished | Failed)``; of a command
    that was closed nothing more is heard.
    """

    def __init__(self, words: Sequence[str]) -> None:
        """Prepare; no process is started.

        Args:
            words: What would stand after ``misfm`` in a terminal.
        """
        self.progressed = Signal()
        self.ended = Signal()
        self._runner = JobRunner((findPython(), "-m", "MISFMLib", *words, "--events", "json"))
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)

    def start(self) -> None:
        """Start the process; one that cannot start ends in `Failed` too."""
        self._timer.timeout.connect(self._poll)
        self._timer.start()
        self._runner.start(Path())

    def close(self) -> None:
        """End the process with all that it started."""
        if self._timer.active:
            self._timer.stop()
            self._timer.timeout.disconnect(self._poll)  # it would keep this object alive
        self._runner.close()

    def _poll(self, *_arguments: Any) -> None:
        for event in self._runner.poll():
            if isinstance(event, Progress):
                self.progressed.emit(event)
            elif isinstance(event, Finished | Failed):
                self.close()
                self.ended.emit(event)
