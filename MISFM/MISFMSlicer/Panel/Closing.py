"""Slicer is closed while a training runs: what becomes of it is asked once."""

from __future__ import annotations

from collections.abc import Sequence

import qt
import slicer
from slicer.i18n import tr as _

from ..Jobs.TrainingProcess import TrainingProcess


def settleTrainings(trainings: Sequence[TrainingProcess]) -> None:
    """Let what runs go on without Slicer, or stop it and keep what it has learnt; ask the user."""
    if trainings and not slicer.app.testingEnabled() and not _goesOn():
        for training in trainings:
            training.ask("pause")


def _goesOn() -> bool:
    box = qt.QMessageBox(
        qt.QMessageBox.Question,
        _("Close Slicer"),
        _(
            "A training is running. It can go on without Slicer, and is found again when Slicer is"
            " opened; or it stops now and keeps what it has learnt, to go on later."
        ),
        qt.QMessageBox.Yes | qt.QMessageBox.No,
        slicer.util.mainWindow(),
    )
    box.button(qt.QMessageBox.Yes).setText(_("Go on in the background"))
    box.button(qt.QMessageBox.No).setText(_("Stop and keep"))
    return bool(box.exec_() != qt.QMessageBox.No)
