"""A training from its start to its end: running, paused, interrupted, failed; with its curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from MISFMLib.events import Failed, Finished, Progress

from .. import Messages
from ..Guard import guarded
from ..Jobs.TrainingProcess import TrainingProcess, TrainingState
from ..Jobs.Trainings import findTrainings, newTraining
from ..LibraryMessages import forPanel
from ..Scene.PlotViews import Curves, curvesOf
from ..Signal import Signal
from .RunView import showProgress

_FOUND_DICE = 0.05
"""As in the library: a label below has not been found yet."""
_DICE, _SCORE, _LOSS = "dice/", "score", "loss"


class TrainView:
    """Shows the one training that is under way or undecided, and steers it.

    Signals: ``finished(training)`` and ``failed(training)``, each once for a training that is
    followed; ``changed()`` when the buttons may have to change.
    """

    def __init__(self, ui: Any, report: Callable[[Exception], None], job: str = "finetune") -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            report: Shows an error to the user.
            job: finetune or pretrain.
        """
        self.finished = Signal()
        self.failed = Signal()
        self.changed = Signal()
        self.report = report
        self._ui = ui
        self._job = job
        self._training: TrainingProcess | None = None
        self._state: TrainingState | None = None
        self._asked = ""
        isFinetuning = job == "finetune"
        title = _("Dice on held-out cases") if isFinetuning else _("Dice of the fusion levels")
        self._dice = Curves(title, _("Step"), _("Dice"))
        self._judged = _DICE if isFinetuning else _SCORE
        self._loss = Curves(_("Training loss"), _("Step"), _("Loss"))
        menu = qt.QMenu(ui.stopButton)
        menu.addAction(_("Stop and keep the best")).triggered.connect(self._onFinish)
        menu.addAction(_("Stop and discard")).triggered.connect(self._onDiscard)
        ui.stopButton.setMenu(menu)
        ui.pauseButton.clicked.connect(self._onPause)
        ui.curvesButton.clicked.connect(self._onCurves)
        ui.lossButton.clicked.connect(self._onLoss)

    @property
    def training(self) -> TrainingProcess | None:
        """What is followed; None when there is none."""
        return self._training

    @property
    def state(self) -> TrainingState | None:
        """Where it stands; None when there is none."""
        return self._state

    @property
    def isRunning(self) -> bool:
        """Whether it runs now."""
        return self._training is not None and self._training.isRunning

    @property
    def canGoOn(self) -> bool:
        """Whether it stopped and has a checkpoint."""
        return self._state in (TrainingState.PAUSED, TrainingState.KILLED) or (
            self._state is TrainingState.FAILED and self._training.hasCheckpoint
        )

    def findAgain(self) -> None:
        """Take up the newest training of an earlier session, whatever became of it."""
        if self._training is None:
            found = findTrainings(self._job)
            self._follow(found[-1] if found else None)

    def start(self, config: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Start a training; one that was not finished before is removed.

        Raises:
            MISFMError: Its folder cannot be written.
            OSError: It cannot be started.
        """
        if self._training is not None:
            self._training.discard()
        training = newTraining(self._job, config, about)
        self._follow(training)
        training.start()
        self.poll()

    def goOn(self) -> None:
        """Let a training that stopped go on from its checkpoint."""
        self._asked = ""
        self._training.start()
        self.poll()

    def forget(self) -> None:
        """Remove the training with all its files, once its model is kept or is not wanted."""
        if self._training is not None:
            self._training.discard()
        self._follow(None)

    def poll(self) -> None:
        """Look what has happened since the last time."""
        if self._training is None:
            return
        events = self._training.poll()
        state = self._training.state
        hasChanged, self._state = state is not self._state, state
        self._askAgain()
        if events:
            self._updateCurves()
        if events or hasChanged:
            self._show()
        if hasChanged:
            self.changed.emit()
            if state is TrainingState.FINISHED:
                self.finished.emit(self._training)
            elif state is TrainingState.FAILED:
                self.failed.emit(self._training)

    def _askAgain(self) -> None:
        """Repeat what it was asked for: a process that starts forgets earlier wishes."""
        if self._asked and self._state is TrainingState.RUNNING:
            self._training.ask(self._asked)
        elif self._state is not TrainingState.RUNNING:
            self._asked = ""  # it has been done, or nobody is there any more to do it

    def close(self) -> None:
        """Look no more; a training that runs goes on."""
        self._training = None

    def _follow(self, training: TrainingProcess | None) -> None:
        self._training, self._state, self._asked = training, None, ""
        self._dice.remove()
        self._loss.remove()
        if training is not None:
            self.poll()
        else:
            self._show()
            self.changed.emit()
        if training is not None and training.metrics:
            self._updateCurves()
            self._show()

    # -------------------------------------------------------------------------------------- show

    def _show(self) -> None:
        ui, isRunning = self._ui, self._state is TrainingState.RUNNING
        ui.pauseButton.visible = isRunning
        ui.stopButton.visible = isRunning or self.canGoOn
        ui.stopButton.enabled = not self._asked
        ui.pauseButton.enabled = not self._asked
        ui.trainProgress.visible = isRunning
        progress = self._training.progress if self._training is not None else None
        showProgress(ui.trainProgress, progress)
        ui.curvesButton.visible = self._dice.chart is not None
        ui.lossButton.visible = self._loss.chart is not None
        if self._training is not None:
            ui.trainLabel.text = self.text()

    def text(self) -> str:
        """Say in plain words what is happening."""
        training = self._training
        if training is None:
            return ""
        parts = [self._stateText(training), foundText(training.metrics)]
        if self._state is TrainingState.RUNNING and not self._asked:
            parts.append(Messages.timeLeft(training.progress))
        sentences = (f"{part[0].upper()}{part[1:].rstrip('.')}." for part in parts if part)
        return " ".join(sentences)

    def _stateText(self, training: TrainingProcess) -> str:
        step = max(training.metrics, default=0)
        if self._state is TrainingState.RUNNING:
            asked = {
                "pause": _("Pausing after this step"),
                "finish": _("Ending after this step; the best model is then evaluated"),
            }
            return asked.get(self._asked) or stageText(training.progress)
        if self._state is TrainingState.PAUSED:
            return _("Paused after step {step}").format(step=step)
        if self._state is TrainingState.KILLED:
            return _("The training was interrupted; it can go on from its last checkpoint")
        if self._state is TrainingState.FAILED and isinstance(training.end, Failed):
            return forPanel(training.end.message)
        return _("The training is done")

    def _updateCurves(self) -> None:
        steps, columns = curvesOf(self._training.metrics, self._judged)
        self._dice.update(columns, steps)
        steps, columns = curvesOf(self._training.metrics, _LOSS)
        self._loss.update(columns, steps)

    # ------------------------------------------------------------------------------------- slots

    @guarded
    def _onPause(self, *_arguments: Any) -> None:
        self._asked = "pause"
        self._training.ask(self._asked)
        self._show()

    @guarded
    def _onFinish(self, *_arguments: Any) -> None:
        if self._state is not TrainingState.RUNNING:
            self.goOn()
        self._asked = "finish"
        self._training.ask(self._asked)
        self._show()

    @guarded
    def _onDiscard(self, *_arguments: Any) -> None:
        self.forget()

    @guarded
    def _onCurves(self, *_arguments: Any) -> None:
        self._dice.show()

    @guarded
    def _onLoss(self, *_arguments: Any) -> None:
        self._loss.show()


def stageText(progress: Progress | None) -> str:
    """Return what a training is doing."""
    if progress is None:
        return _("Starting")
    stages = {
        "check": _("Checking the cases"),
        "prepare": _("Preparing the cases"),
        "evaluate": _("Evaluating the new model on the held-out cases"),
        "compare": _("Evaluating the model it started from on the same cases"),
    }
    if progress.stage == "train":
        return _("Training: {what}").format(what=forPanel(progress.message))
    return stages.get(progress.stage, progress.stage)


def foundText(metrics: Mapping[int, Mapping[str, float]]) -> str:
    """Say how many labels the newest validation found; empty before there was one."""
    for step in sorted(metrics, reverse=True):
        scores = {
            name.removeprefix(_DICE): value
            for name, value in metrics[step].items()
            if name.startswith(_DICE)
        }
        if scores:
            found = sum(value >= _FOUND_DICE for value in scores.values())
            mean = sum(scores.values()) / len(scores)
            return _("Labels found: {found} of {count}, mean Dice {dice}").format(
                found=found, count=len(scores), dice=f"{mean:.2f}"
            )
    return ""


def reportOf(training: TrainingProcess) -> dict[str, Any]:
    """Return the report of a finished training."""
    return training.end.report if isinstance(training.end, Finished) else {}
