"""The self-check: the bundled model on a drawn sample, in a process of its own."""

from __future__ import annotations

import shutil
from typing import Any

from slicer.i18n import tr as _

from MISFMLib.events import Failed, Finished

from ..Jobs.Command import Command
from ..Signal import Signal
from ..TemporaryFolder import makeFolder

_LOWEST_DICE = 0.7


class SelfCheck:
    """Runs ``misfm demo`` as a user would in a terminal; nothing in the scene changes.

    Signal: ``ended(Finished | Failed)``.
    """

    def __init__(self, folder: str) -> None:
        """Start it.

        Args:
            folder: Where temporary files may be written.
        """
        self.ended = Signal()
        self._folder = makeFolder("check", folder)
        self._command = Command(("demo", "--output", str(self._folder / "demo")))
        self._command.ended.connect(self._onEnded)
        self._command.start()

    def close(self) -> None:
        """End it and remove its files."""
        self._command.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _onEnded(self, end: Finished | Failed) -> None:
        self.close()
        self.ended.emit(_judged(end))


def _judged(event: Finished | Failed) -> Finished | Failed:
    """Turn a run that ended well with a wrong result into a failure."""
    if isinstance(event, Failed) or meanDice(event.report) >= _LOWEST_DICE:
        return event
    return Failed(
        _("The sample was segmented wrongly (mean Dice {dice}).").format(
            dice=f"{meanDice(event.report):.2f}"
        ),
        code="self-check",
        remedy=_("Choose another device in Options, or update PyTorch."),
    )


def meanDice(report: dict[str, Any]) -> float:
    """Return the mean agreement with the known labels of the sample."""
    values = list(report["dice"].values())
    return sum(values) / len(values)
