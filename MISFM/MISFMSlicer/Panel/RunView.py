"""The button Segment, which becomes Cancel, and what the line below it says."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from MISFMLib.events import Progress

from .. import Messages
from ..Job import Job


class RunView:
    """Shows whether something can be started, and how far a running job is."""

    def __init__(self, ui: Any) -> None:
        """Keep the widgets of the .ui file by their names."""
        self._ui = ui

    def showRefused(self, why: str) -> None:
        """Show that nothing can be started, and why."""
        self._showIdle(why, toolTip=why, isReady=False)

    def showReady(self, text: str) -> None:
        """Show that a run can be started, and what is known about it."""
        self._showIdle(text, toolTip=_("Start (Ctrl+Enter)"), isReady=True)

    def showRunning(self, job: Job, *, waiting: int, canQueue: bool) -> None:
        """Show how far a job is.

        Args:
            job: The running one.
            waiting: How many wait behind it.
            canQueue: Whether what is chosen now can be queued.
        """
        ui = self._ui
        ui.segmentButton.text = _("Cancel")
        ui.segmentButton.enabled = True
        ui.segmentButton.toolTip = _("Stop; the scene stays as it is (Esc)")
        ui.queueButton.visible = canQueue
        showProgress(ui.progressBar, job.progress)
        ui.progressBar.visible = True
        ui.statusLabel.text = progressText(job, waiting)

    def _showIdle(self, text: str, *, toolTip: str, isReady: bool) -> None:
        ui = self._ui
        ui.progressBar.visible = ui.queueButton.visible = False
        ui.segmentButton.text = _("Segment")
        ui.segmentButton.enabled = ui.copyCommandButton.enabled = isReady
        ui.segmentButton.toolTip = toolTip
        ui.statusLabel.text = text


def showProgress(bar: Any, progress: Progress | None) -> None:
    """Let a bar show how far something is; without a fraction it moves."""
    isCounting = progress is not None and 0 < progress.fraction < 1
    bar.maximum = 100 if isCounting else 0
    bar.value = round(100 * progress.fraction) if isCounting else 0


def progressText(job: Job, waiting: int = 0) -> str:
    """Return what a job is doing, how long it will take, and how many wait behind it."""
    parts = [Messages.stage(job.progress), Messages.timeLeft(job.progress)]
    if waiting:
        parts.append(_("{count} more waiting").format(count=waiting))
    return ", ".join(part for part in parts if part)
