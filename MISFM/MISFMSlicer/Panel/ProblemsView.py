"""What is wrong in the tab Fine-tune: one message, and a line for each problem to mend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import DataError
from MISFMLib.events import Failed

from ..Guard import guarded
from ..LibraryMessages import forPanel
from ..Scene.SliceViews import jumpTo
from .Fixes import fixesOf, textOf
from .Lists import fillRows
from .NoticeView import failureOf

_MAX_ROWS = 6
_TRIES = ("newSet", "openSet", "addSegmentation", "mappingAdd", "nextCase", "done", "leaveOut")
"""Buttons that say what they have to say themselves, so that an earlier message ends."""


class ProblemsView:
    """The message and the list; a line leads to its place and offers what can be done about it."""

    def __init__(
        self,
        ui: Any,
        currentSet: Callable[[], TrainingSet | None],
        openCase: Callable[[str], None],
    ) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            currentSet: Returns the set that is shown.
            openCase: Opens the case of a line, if there is such a case.
        """
        self._mended: Callable[[], None] = lambda: None
        self._unsaved: Callable[[], str] = lambda: ""
        self._ui = ui
        self._currentSet = currentSet
        self._openCase = openCase
        self._problems: list[Mapping[str, Any]] = []
        self._shownSet: TrainingSet | None = None
        ui.mendButton.setMenu(qt.QMenu(ui.mendButton))
        ui.problemsList.currentRowChanged.connect(self._onChosen)
        for name in _TRIES:  # connected before all that may report something
            getattr(ui, f"{name}Button").clicked.connect(self._onTry)

    def connect(self, mended: Callable[[], None], unsaved: Callable[[], str]) -> None:
        """Say what to call when something was mended, and who knows the case with unkept edits."""
        self._mended, self._unsaved = mended, unsaved

    def report(self, error: Exception | Failed) -> None:
        """Show an error."""
        failure = failureOf(error)
        ui = self._ui
        ui.finetuneNoticeLabel.text = forPanel(failure.message)
        ui.finetuneRemedyLabel.text = forPanel(failure.remedy)
        ui.finetuneRemedyLabel.visible = bool(failure.remedy)
        ui.finetuneNoticeFrame.visible = True

    def use(self, trainingSet: TrainingSet | None) -> bool:
        """Tell whether a set is another than before, of which then nothing is shown any more.

        Its cases may have the same names, and would be mended for what is wrong in others.
        """
        before, self._shownSet = self._shownSet, trainingSet
        if trainingSet != before:
            self.hide()
        return trainingSet != before

    def show(self, failure: Failed, folder: str = "") -> None:
        """Show how a training or a check failed, with a line for each problem.

        Args:
            failure: How it failed.
            folder: Of the set that was trained on, if another one may be shown by now: that can
                have cases of the same names.
        """
        head, *lines = failure.message.splitlines() or [""]
        shown = self._currentSet()
        if folder and (shown is None or folder != str(shown.folder)):
            self.report(Failed(f"{Path(folder).name}: {head}", failure.code, failure.remedy))
            return
        self.report(Failed(head, failure.code, failure.remedy))
        self.showList(failure.details or [_problemOf(line) for line in lines if line.strip()])

    def showList(self, problems: Sequence[Mapping[str, Any]]) -> None:
        """Show problems, the first of them chosen; those of no problem take the list away."""
        self._problems = list(problems)
        problemsList, trainingSet = self._ui.problemsList, self._currentSet()
        shown = self._problems if trainingSet is not None else ()
        fillRows(problemsList, [textOf(each, trainingSet) for each in shown], _MAX_ROWS)
        problemsList.visible = bool(problemsList.count)
        self._ui.mendButton.visible = False

    def showDoubts(self, report: Mapping[str, Any], rows: Sequence[CaseRow]) -> str:
        """Show what a check that was passed has found all the same; return how it went.

        That a case has no label is not told again once somebody has said that this is right.
        """
        isSeen = {row.name for row in rows if row.status == "checked"}
        doubts = [
            each
            for each in report.get("doubts", ())
            if each["code"] != "label-map-empty" or each["case"] not in isSeen
        ]
        self.showList(doubts)
        if doubts:
            return _("These cases can be trained on. Look at what is listed: it is often a slip.")
        return _("No problem was found in the cases with labels.")

    def hide(self) -> None:
        """Show nothing."""
        self._problems = []
        self._ui.problemsList.visible = self._ui.finetuneNoticeFrame.visible = False
        self._ui.mendButton.visible = False

    @guarded
    def _onTry(self, *_arguments: Any) -> None:
        self._ui.finetuneNoticeFrame.visible = False

    @guarded
    def _onChosen(self, row: int, *_arguments: Any) -> None:
        if not 0 <= row < len(self._problems):
            return
        problem = self._problems[row]
        self._offer(problem)
        cases = [problem.get("case"), *problem.get("cases", ())]
        case = next((each for each in cases if each), "")
        if case:
            self._openCase(case)
        if problem.get("positions_xyz"):
            x, y, z = problem["positions_xyz"][0]
            jumpTo((-x, -y, z))

    def _offer(self, problem: Mapping[str, Any]) -> None:
        menu = self._ui.mendButton.menu()
        menu.clear()
        fixes = fixesOf(problem, self._currentSet())
        for text, fix in fixes:
            menu.addAction(text).triggered.connect(lambda *_arguments, fix=fix: self._mend(fix))
        self._ui.mendButton.visible = bool(fixes)

    @guarded
    def _mend(self, fix: Callable[[], Any]) -> None:
        """Do it, and take the line away; Check tells whether something is left."""
        if self._unsaved():
            raise DataError(
                _("{case} has changes that are not in the set yet.").format(case=self._unsaved()),
                code="case-unsaved",
                remedy=_("Press Done first."),
            )
        fix()
        row = self._ui.problemsList.currentRow
        rest = [each for index, each in enumerate(self._problems) if index != row]
        self.hide()
        self.showList(rest)
        self._mended()
        if not rest:
            self._ui.trainLabel.text = _("All of them are mended; Check looks once more.")


def _problemOf(line: str) -> Mapping[str, Any]:
    """Return a line of a message as a problem of the case that it begins with."""
    case, colon, message = line.removeprefix("- ").strip().partition(": ")
    return (
        {"code": "", "case": case, "message": message} if colon else {"code": "", "message": case}
    )
