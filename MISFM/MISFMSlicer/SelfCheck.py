"""The self-check: the bundled model on a drawn sample, in a worker of its own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from MISFMLib.events import Failed, Finished

from .JobRunner import JobRunner
from .WorkerEnvironment import findPython

_LOWEST_DICE = 0.7


class SelfCheck:
    """Runs ``misfm demo`` as a user would in a terminal; nothing in the scene changes."""

    def __init__(self, folder: str) -> None:
        """Start it.

        Args:
            folder: Where temporary files may be written.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="misfm-check-", dir=folder))
        demo = ("-m", "MISFMLib", "demo", "--output", str(self._folder / "demo"))
        self._runner = JobRunner((findPython(), *demo, "--events", "json"))
        self._runner.start(self._folder)

    def poll(self) -> Finished | Failed | None:
        """Return how it ended; None while it runs. To be called about ten times a second."""
        for event in self._runner.poll():
            if isinstance(event, (Finished, Failed)):
                self.close()
                return _judged(event)
        return None

    def close(self) -> None:
        """End it and remove its files."""
        self._runner.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _judged(event: Finished | Failed) -> Finished | Failed:
    """Turn a run that ended well with a wrong result into a failure."""
    if isinstance(event, Failed) or meanDice(event.report) >= _LOWEST_DICE:
        return event
    return Failed(
        f"The sample was segmented wrongly (mean Dice {meanDice(event.report):.2f}).",
        code="self-check",
        remedy="Choose another device in Options, or update PyTorch.",
    )


def meanDice(report: dict[str, Any]) -> float:
    """Return the mean agreement with the known labels of the sample."""
    values = list(report["dice"].values())
    return sum(values) / len(values)
