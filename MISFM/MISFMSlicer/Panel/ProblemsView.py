"""What is wrong in the tab Fine-tune: one message, and a line for each case to mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from MISFMLib.events import Failed

from ..Guard import guarded
from ..LibraryMessages import forPanel
from .Lists import fitRows
from .NoticeView import failureOf

_MAX_ROWS = 6


class ProblemsView:
    """The message and the list; a line of the list leads to its case."""

    def __init__(self, ui: Any, openCase: Callable[[str], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            openCase: Opens the case that a line names, if there is such a case.
        """
        self._ui = ui
        self._openCase = openCase
        ui.problemsList.currentRowChanged.connect(self._onChosen)

    def report(self, error: Exception | Failed) -> None:
        """Show an error."""
        failure = failureOf(error)
        ui = self._ui
        ui.finetuneNoticeLabel.text = forPanel(failure.message)
        ui.finetuneRemedyLabel.text = forPanel(failure.remedy)
        ui.finetuneRemedyLabel.visible = bool(failure.remedy)
        ui.finetuneNoticeFrame.visible = True

    def show(self, failure: Failed) -> None:
        """Show how a training failed, with a line for each problem that its message lists."""
        head, *lines = failure.message.splitlines() or [""]
        problems = [line.removeprefix("- ") for line in lines if line.strip()]
        self.report(Failed(head, failure.code, failure.remedy))
        self._ui.problemsList.clear()
        for problem in problems:
            self._ui.problemsList.addItem(problem)
        fitRows(self._ui.problemsList, _MAX_ROWS)
        self._ui.problemsList.visible = bool(problems)

    def hide(self) -> None:
        """Show nothing."""
        self._ui.problemsList.visible = self._ui.finetuneNoticeFrame.visible = False

    @guarded
    def _onChosen(self, row: int, *_arguments: Any) -> None:
        if row >= 0:
            line = str(self._ui.problemsList.item(row).text())
            self._openCase(line.partition(":")[0].partition(" (")[0])
