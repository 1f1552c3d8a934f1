"""Watching a training learn: one held-out case in the slice views, renewed as it goes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from MISFMLib.annotation.training_set import TrainingSet

from ..Guard import guarded
from ..Jobs.TrainingProcess import TrainingProcess
from ..Scene.WatchedCase import WatchedCase


class WatchView:
    """The button Watch, and the case that is watched."""

    def __init__(self, ui: Any, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            report: Shows an error to the user.
        """
        self.report = report
        self._ui = ui
        self._followed: tuple[TrainingSet | None, TrainingProcess | None] = (None, None)
        self._set: TrainingSet | None = None
        self._training: TrainingProcess | None = None
        self._case: WatchedCase | None = None
        self._shownAt = self._leftAt = 0.0
        ui.watchButton.setMenu(qt.QMenu(ui.watchButton))
        ui.watchButton.menu().aboutToShow.connect(self._onMenu)

    @property
    def case(self) -> WatchedCase | None:
        """What is watched; None for nothing."""
        return self._case

    def follow(
        self,
        trainingSet: TrainingSet | None,
        training: TrainingProcess | None,
        *,
        isCorrecting: bool,
    ) -> None:
        """Look what can be watched, and whether there is something new; a few times a second.

        Args:
            trainingSet: The set that is open.
            training: The training that is followed; None when there is none.
            isCorrecting: Whether a case is being corrected, which needs the slice views.
        """
        if (trainingSet, training) != self._followed:
            self._take(trainingSet, training)
        elif isCorrecting:
            self.stop()
        isRunning = self._training is not None and self._training.isRunning
        self._ui.watchButton.visible = isRunning or self._case is not None
        self._ui.watchButton.enabled = not isCorrecting
        if self._case is not None:
            self._renew()

    def _take(self, trainingSet: TrainingSet | None, training: TrainingProcess | None) -> None:
        self.stop()
        self._followed = (trainingSet, training)
        about = training.about if training is not None else {}
        isOfSet = trainingSet is not None and about.get("set") == str(trainingSet.folder)
        self._set, self._training = (trainingSet, training) if isOfSet else (None, None)
        if self._training is not None:
            self._training.watch("")  # an earlier Slicer may have asked, and was killed

    @guarded
    def _renew(self) -> None:
        if not self._case.isInScene:  # the user has deleted it, or closed the scene
            self.stop()
            return
        changedAt = self._changedAt()
        if changedAt > max(self._shownAt, self._leftAt):
            self._shownAt = changedAt
            self._case.update(self._training.watched)
            self._tell()

    def _changedAt(self) -> float:
        path = self._training.watched
        return path.stat().st_mtime if path.exists() else 0.0

    def stop(self) -> None:
        """Watch nothing any more."""
        if self._case is not None:
            self._case.close()
            self._case = None
            self._training.watch("")
            self._tell()

    def _tell(self) -> None:
        label, case = self._ui.watchLabel, self._case
        label.visible = case is not None
        if case is None:
            return
        text = _("{case}: outlines come when the held-out cases are looked at next.")
        if self._shownAt:
            text = _("{case}: outlined is what the network sees, filled are the labels.")
        label.text = text.format(case=case.name)

    def _heldOut(self) -> list[str]:
        rows = self._set.cases() if self._set is not None else []
        return [row.name for row in rows if row.is_labelled and row.split == "validation"]

    # -------------------------------------------------------------------------------------- slots

    @guarded
    def _onMenu(self, *_arguments: Any) -> None:
        menu = self._ui.watchButton.menu()
        menu.clear()
        if self._case is not None:
            menu.addAction(_("Stop watching")).triggered.connect(self._onStop)
        names = self._heldOut()
        for name in names:
            menu.addAction(name).triggered.connect(partial(self._onWatch, name))
        if not names:
            menu.addAction(_("No case is held out.")).enabled = False

    @guarded
    def _onWatch(self, name: str, *_arguments: Any) -> None:
        self.stop()
        self._case, self._shownAt = WatchedCase(self._set, name), 0.0
        self._training.watch(name)
        self._leftAt = self._changedAt()  # of another case, which Windows may not let us remove
        self._tell()

    @guarded
    def _onStop(self, *_arguments: Any) -> None:
        self.stop()
