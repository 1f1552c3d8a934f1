"""What would be ended, lost or changed for all cases is asked first."""

from __future__ import annotations

from collections.abc import Sequence

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.configs import LabelConfig

from ..Jobs.TrainingProcess import TrainingProcess
from ..Scene.TrainingCases import OpenCase


def settleTrainings(trainings: Sequence[TrainingProcess]) -> None:
    """Let what runs go on without Slicer, or stop it and keep what it has learnt; ask the user."""
    if trainings and not slicer.app.testingEnabled() and not _goesOn():
        for training in trainings:
            training.ask("pause")


def _goesOn() -> bool:
    return _ask(
        _("Close Slicer"),
        _(
            "A training is running. It can go on without Slicer, and is found again when Slicer is"
            " opened; or it stops now and keeps what it has learnt, to go on later."
        ),
        _("Go on in the background"),
        _("Stop and keep"),
        isYesSafe=True,
    )


def isGivenUp(case: str) -> bool:
    """Ask whether what was changed in the open case shall be lost."""
    return _ask(
        _("Leave {case}").format(case=case),
        _("{case} has changes that are not in the set yet.").format(case=case),
        _("Discard the changes"),
        _("Go on correcting"),
    )


def isReplacedByAdded(case: str, volume: str) -> bool:
    """Ask whether labels of a volume that was added before shall be lost."""
    return _ask(
        _("Add labels"),
        _(
            "{volume} is in the training set already, as {case}. Its labels there can be replaced"
            " by these; a second case of it would count double."
        ).format(volume=volume, case=case),
        _("Replace its labels"),
        _("Leave it as it is"),
    )


def isReplaced(row: CaseRow) -> bool:
    """Ask whether labels that somebody else has saved while the case was open shall be lost."""
    return _ask(
        _("Keep the labels of {case}").format(case=row.name),
        _("{case} was open here when {who} saved labels of it, at {when}.").format(
            case=row.name, who=row.who, when=f"{row.when[:16].replace('T', ' ')} UTC"
        ),
        _("Replace them by mine"),
        _("Go on correcting"),
    )


def withNewLabels(trainingSet: TrainingSet, case: OpenCase) -> tuple[LabelConfig, ...] | None:
    """Return the labels of a set, with those that were drawn in the open case and are new.

    The user is asked whether the set shall have them from now on; None when it shall not.
    """
    known = trainingSet.labels
    labels = case.withNew(known)
    if labels != known:
        names = ", ".join(label.name for label in labels[len(known) :])
        question = _(
            "The training set has no label {names}. If it gets one, it counts as not drawn in the"
            " cases that have labels already."
        )
        title, yes = _("New label"), _("Add it to the set")
        if not _ask(title, question.format(names=names), yes, _("Go on correcting")):
            return None
    return labels


def _ask(title: str, question: str, yes: str, no: str, *, isYesSafe: bool = False) -> bool:
    """Ask with two named buttons; Esc is the second, Enter the one that loses nothing."""
    box = qt.QMessageBox(
        qt.QMessageBox.Question,
        title,
        question,
        qt.QMessageBox.Yes | qt.QMessageBox.No,
        slicer.util.mainWindow(),
    )
    box.button(qt.QMessageBox.Yes).setText(yes)
    box.button(qt.QMessageBox.No).setText(no)
    box.setDefaultButton(qt.QMessageBox.Yes if isYesSafe else qt.QMessageBox.No)
    return bool(box.exec_() != qt.QMessageBox.No)
