"""The loop: open the next case with its proposal, correct it, Done, and on to the next."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import MISFMError
from MISFMLib.events import Failed, Progress

from .. import Messages
from ..Guard import guarded
from ..Jobs.Order import ORDERS, claimOf, inOrder, isClaimed
from ..Jobs.Proposals import Proposals, toDo
from ..Jobs.Unpacking import Unpacking
from ..LibraryMessages import forPanel
from ..Scene.Corrections import columns, compare, keptLabels
from ..Scene.TrainingCases import OpenCase, openCase
from ..Signal import Signal
from .CasePlaces import CasePlaces
from .CaseTexts import goneText, loopText, noLabels, orderTexts
from .Closing import isGivenUp, isReplaced, withNewLabels
from .CorrectionEditor import CorrectionEditor
from .NotDrawnView import NotDrawnView
from .RunView import showProgress
from .WorthView import WorthView

_AHEAD = 2
"""Proposals kept ready where the order does not depend on them."""


class LoopView:
    """The section Correct.

    Signals: ``corrected(row)`` after Done; ``changed()`` when a case has a new status.
    """

    def __init__(self, ui: Any, proposals: Proposals, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            proposals: Computes what a model proposes.
            report: Shows an error to the user.
        """
        self.corrected = Signal()
        self.changed = Signal()
        self.report = report
        self._ui = ui
        self._proposals = proposals
        self._set: TrainingSet | None = None
        self._rows: list[CaseRow] = []
        self._hasModel = False
        self._case: OpenCase | None = None
        self._row: CaseRow | None = None
        self._openedAt, self._waitingFor, self._isShared = 0.0, "", False
        self._unpacking = Unpacking()
        self.editor = CorrectionEditor(ui)
        self._places = CasePlaces(ui, report)
        self._notDrawn = NotDrawnView(ui)
        self._worth = WorthView(ui, report)
        for value, text in zip(ORDERS, orderTexts(), strict=True):
            ui.orderSelector.addItem(text, value)
        ui.orderSelector.activated.connect(self._onOrder)
        ui.nextCaseButton.clicked.connect(self._onNext)
        ui.cancelProposalButton.clicked.connect(self._onCancel)
        ui.doneButton.clicked.connect(self._onDone)
        ui.leaveOutButton.clicked.connect(self._onLeaveOut)
        self._signals = {
            proposals.ready: self._onReady,
            proposals.failed: self._onFailed,
            proposals.progressed: self._onProgress,
        }
        for signal, slot in self._signals.items():
            signal.connect(slot)

    @property
    def case(self) -> OpenCase | None:
        """The case that is open; None when there is none."""
        return self._case

    def use(self, trainingSet: TrainingSet | None, rows: list[CaseRow], *, hasModel: bool) -> None:
        """Show another set, or the same with other cases.

        Args:
            trainingSet: The set; None for none.
            rows: Its cases.
            hasModel: Whether there is a model that proposes.
        """
        if trainingSet != self._set:
            self._close()
        self._set, self._rows, self._hasModel = trainingSet, rows, hasModel
        self._plan()
        self._show()

    def open(self, name: str) -> None:
        """Open a case with its labels, or else with what is proposed for it."""
        row, self._waitingFor = self._set.case(name), ""
        isOpen = self._case is not None and self._case.name == name
        if not isOpen and self.leave():
            labels, proposal = keptLabels(self._set, row), self._set.proposal(name)
            isComing = self._hasModel and row.status != "left out"
            if labels is not None or self._proposals.isCurrent(row) or not isComing:
                self._openNow(row, labels or (proposal if proposal.exists() else None))
            else:
                self._waitingFor = name
        self._plan()
        self._show()

    def unsaved(self) -> str:
        """Return the name of the open case if it, or a tick, was changed since it was opened."""
        if self._case is None or not self._case.isInScene:
            return ""
        with contextlib.suppress(MISFMError):  # labels that overlap have been edited
            isEdited = (self._case.array(self._set.labels) != self._case.before).any()
            return self._case.name if isEdited or self._notDrawn.isChanged else ""
        return self._case.name

    def leave(self) -> bool:
        """Close the open case; the user may say that its changes shall not be lost."""
        name = self.unsaved()
        if name and not isGivenUp(name):
            return False
        self._close()
        self._show()
        return True

    def reopen(self) -> None:
        """Show the open case as it is now in the set; one that is left out goes away."""
        if self._case is not None:
            name = self._case.name
            self._close()
            if self._set.case(name).status != "left out":
                self.open(name)
        self._show()

    def lookAround(self) -> None:
        """Close the case when the user has deleted its volume or segmentation; keep its claim."""
        if self._case is None:
            return
        self._claim.renew()
        if not self._case.isInScene:
            drawn = self._case.segmentation.GetName() if self._case.isLeftAlone else ""
            text = goneText(self._case.name, drawn)
            self._close()
            self._show()
            self._ui.caseLabel.text = text

    def sceneClosed(self) -> None:
        """Forget the case that went with the scene; it is still in the set as it was."""
        self._waitingFor = ""
        self._close(areNodesOurs=False)
        self._show()

    def close(self) -> None:
        """Let go of the signals and the editor."""
        for signal, slot in self._signals.items():
            signal.disconnect(slot)
        self.editor.close()
        self._unpacking.close()

    # ----------------------------------------------------------------------------------- the order

    def _following(self) -> list[CaseRow]:
        """Return the cases that wait, without the open one, in the chosen order."""
        opened = self._case.name if self._case is not None else ""
        rows = [row for row in toDo(self._rows) if row.name != opened]
        order = self._ui.orderSelector.currentData
        return inOrder(self._set, rows, order, self._proposals.isCurrent) if rows else []

    def _openNext(self) -> None:
        following = self._following()
        if following:
            self.open(following[0].name)

    def _plan(self) -> None:
        """Let proposals be computed ahead: of all cases, or of those that come next."""
        names = [row.name for row in self._following()]
        if self._case is not None and names:
            self._unpacking.want(self._set.images(names[0]))
        if self._ui.orderSelector.currentData != "least sure":
            names = names[:_AHEAD]
        self._proposals.want(names if self._hasModel else (), self._waitingFor)

    # ------------------------------------------------------------------------------------ the case

    def _openNow(self, row: CaseRow, labelFile: Any) -> None:
        labels = self._set.labels
        if not labels:
            raise noLabels()
        files = (self._set.images(row.name), labelFile, labels)
        self._case = openCase(
            row.name, *files, channels=self._set.channels, readFrom=self._unpacking.ready
        )
        self._row, self._openedAt = row, time.monotonic()
        self._isShared = isClaimed(self._set, row.name)
        self._claim = claimOf(self._set, row.name)
        self.editor.open(self._case.segmentation, self._case.volume)
        self._notDrawn.show(labels, row.not_drawn)
        self._places.show(self._proposals.report(row.name) if not row.is_labelled else {})

    def _close(self, *, areNodesOurs: bool = True) -> None:
        self.editor.close()
        if self._case is not None:
            if areNodesOurs:
                self._case.close()
            self._claim.release()
            self._case = None
        self._places.hide()
        self._notDrawn.hide()

    @guarded
    def _onNext(self, *_arguments: Any) -> None:
        self.changed.emit()  # others may have done some cases of the set meanwhile
        self._openNext()

    @guarded
    def _onCancel(self, *_arguments: Any) -> None:
        """Wait no more; the proposal is computed with the others, ahead."""
        self._waitingFor = ""
        self._plan()
        self._show()

    @guarded
    def _onDone(self, *_arguments: Any) -> None:
        """Keep the labels as they are now, and go on."""
        case, row = self._case, self._set.case(self._case.name)
        if row.when != self._row.when and not isReplaced(row):
            return
        labels = withNewLabels(self._set, case)
        if labels is None:
            return
        array = case.array(labels)
        notDrawn = self._notDrawn.chosen(labels, case.before, array)
        minutes = (time.monotonic() - self._openedAt) / 60
        saved = self._set.save_labels(
            case.name,
            lambda path: case.write(array, path),
            labels=labels,
            not_drawn=tuple(dict.fromkeys((*notDrawn, *case.renamed(self._set.labels)))),
            **columns(row, compare(case.before, array), minutes),
        )
        self._close()
        self.changed.emit()
        if not row.is_labelled:
            self._openNext()
        self._show()
        if not row.is_labelled:
            self.corrected.emit(saved)

    @guarded
    def _onLeaveOut(self, *_arguments: Any) -> None:
        name = self._case.name
        if self.leave():
            self._set.set_status(name, "left out")
            self.changed.emit()

    def _show(self) -> None:
        ui, isOpen = self._ui, self._case is not None
        ui.doneButton.visible = ui.leaveOutButton.visible = isOpen
        ui.nextCaseButton.enabled = bool(toDo(self._rows)) and not self._waitingFor
        ui.proposalProgress.visible = ui.cancelProposalButton.visible = bool(self._waitingFor)
        name = self._case.name if isOpen else ""
        ui.caseLabel.text = loopText(
            self._waitingFor, name, self._rows, hasModel=self._hasModel, isShared=self._isShared
        )
        self._worth.show(self._rows)

    @guarded
    def _onOrder(self, *_arguments: Any) -> None:
        self._plan()

    @guarded
    def _onReady(self, name: str) -> None:
        self.changed.emit()
        if name == self._waitingFor:
            self.open(name)

    @guarded
    def _onFailed(self, name: str, failure: Failed) -> None:
        if name == self._waitingFor:
            self._waitingFor = ""
            self._openNow(self._set.case(name), None)
            self._plan()
            self._show()
        self._ui.caseLabel.text = _("No proposal for {case}: {why}").format(
            case=name, why=forPanel(failure.message)
        )

    @guarded
    def _onProgress(self, name: str, progress: Progress) -> None:
        if name == self._waitingFor:
            showProgress(self._ui.proposalProgress, progress)
            slicer.util.showStatusMessage(f"MISFM: {Messages.stage(progress)}", 3000)
