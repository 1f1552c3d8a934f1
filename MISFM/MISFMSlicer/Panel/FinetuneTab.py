"""The tab Fine-tune: training set, corrections, training, and what it has brought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.events import Failed
from MISFMLib.models.versions import keep_model

from ..Guard import guarded
from ..Jobs.Proposals import Proposals
from ..Jobs.TrainingProcess import TrainingProcess, TrainingState
from ..Setup.ProposingModels import ProposingModels
from ..Setup.Settings import Settings
from ..Signal import Signal
from .CaseCheck import CaseCheck
from .LoopView import LoopView
from .OutcomeView import OutcomeView, gainText, isBetter, verdict
from .ProblemsView import ProblemsView
from .TrainingForm import TrainingForm
from .TrainingSetView import TrainingSetView
from .TrainView import TrainView, reportOf
from .WatchView import WatchView

_POLL_MS = 300


class FinetuneTab:
    """Connects the parts of the tab; ``modelsChanged()`` tells that a model was kept."""

    def __init__(self, ui: Any, chosenCase: Any, installMissing: Any) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the tab's .ui file by their names.
            chosenCase: Returns the chosen volume and its segmentation.
            installMissing: Installs what a child process needs; tells whether all is there.
        """
        self.modelsChanged = Signal()
        self._ui = ui
        self._installMissing = installMissing
        self._settings = Settings()
        self._note = ""
        self._problems = ProblemsView(ui, lambda: self.setView.current, self._onOpenCase)
        self._check = CaseCheck(ui, self._checkSettings, self._problems.show, self.report)
        self._check.passed = self._onPassed
        self._models = ProposingModels()
        self._proposals = Proposals()
        self.loop = LoopView(ui, self._proposals, self.report)
        self.setView = TrainingSetView(ui, chosenCase, self.loop, self.report)
        self.form = TrainingForm(ui, self._settings, self.report)
        self.train = TrainView(ui, self.report)
        self.watch = WatchView(ui, self.report)
        self.outcome = OutcomeView(ui, self.report)
        self._connect()
        self._problems.connect(self._onMended, self.loop.unsaved)
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._onTick)

    def _connect(self) -> None:
        self.setView.changed.connect(self._onSetChanged)
        self.setView.opened.connect(self._onOpenCase)
        self.loop.changed.connect(self._onSetChanged)
        self.loop.corrected.connect(self._onCorrected)
        self.form.changed = self.refresh
        self.train.changed.connect(self.refresh)
        self.train.finished.connect(self._onFinished)
        self.train.failed.connect(self._onFailed)
        self.outcome.kept.connect(self._onKept)
        self.outcome.discarded.connect(self._onDiscarded)
        self.outcome.opened.connect(self._onOpenCase)
        self._ui.trainButton.clicked.connect(self._onTrain)

    # ------------------------------------------------------------------------------- for the widget

    @guarded
    def lookAround(self) -> None:
        """Look which models, sets and trainings there are; called when the module is entered."""
        self._timer.start()
        self.form.readModels()
        self.setView.openLast()
        self.outcome.showVersions()
        self.setView.update()
        self.train.findAgain()
        self._useSet()

    def sceneClosed(self) -> None:
        """Forget what went with the scene."""
        self.setView.askNothing()
        self.loop.sceneClosed()

    @property
    def isTraining(self) -> bool:
        """Whether a training runs now."""
        return self.train.state is TrainingState.RUNNING

    @guarded
    def segmented(self, *_arguments: Any) -> None:
        """Let a result that came meanwhile not be seen over the case that is open or watched."""
        for case in filter(None, (self.loop.case, self.watch.case)):
            case.hideOthers()

    @guarded
    def addScene(self, volume: Any, segmentation: Any) -> None:
        """Add a volume with its segmentation as a labelled case."""
        self._problems.hide()
        self.setView.addScene(volume, segmentation)

    def done(self) -> None:
        """Press Done, if a case is open."""
        if self.loop.case is not None:
            self._ui.doneButton.click()

    def close(self) -> None:
        """Let go of everything; a training goes on."""
        self._timer.stop()
        self._timer.timeout.disconnect(self._onTick)
        self._check.close()
        self.setView.close()
        self.loop.close()
        self._proposals.close()
        self.watch.stop()
        self.train.close()

    def report(self, error: Exception | Failed) -> None:
        """Show an error."""
        self._problems.report(error)

    @guarded
    def refresh(self, *_arguments: Any) -> None:
        """Show where everything stands."""
        ui, trainingSet = self._ui, self.setView.current
        why, isRunning = self.form.problem(trainingSet, self.setView.rows), self.isTraining
        ui.trainButton.visible = not isRunning
        if self.train.canGoOn:
            ui.trainButton.text, ui.trainButton.enabled = _("Go on"), True
            ui.trainButton.toolTip = _("Go on from the last checkpoint.")
            return
        ui.trainButton.text = _("Fine-tune")
        if self.outcome.isOpen:
            why = _("Keep or discard the new model first.")
        ui.trainButton.enabled = not why
        ui.trainButton.toolTip = why or _("Start; it runs on when Slicer is closed.")
        if not isRunning:
            ui.trainLabel.text = self._note or why or self.form.forecast(self.setView.folder)

    # ------------------------------------------------------------------------------------- the set

    def _useSet(self) -> None:
        trainingSet = self.setView.current
        if self._problems.use(trainingSet):
            self._check.close()
            self._note = ""
        model = self._proposingModel() if trainingSet is not None else ""
        self._proposals.use(trainingSet, model, self._settings.options())
        self.loop.use(trainingSet, self.setView.rows, hasModel=bool(model))
        self.refresh()

    def _proposingModel(self) -> str:
        return self._models.of(self.setView.current, self.form.start)

    # -------------------------------------------------------------------------------- the training

    def _start(self, *, init: str = "", isByItself: bool = False) -> None:
        trainingSet, rows = self.setView.current, self.setView.rows
        config, about = self.form.job(trainingSet, rows, init=init)
        self._problems.hide()
        self.outcome.hide()
        self._note = ""
        self.train.start(config, {**about, "byItself": isByItself})
        self.refresh()

    def _checkSettings(self) -> Mapping[str, Any] | None:
        """Return what to check; None, with the reason shown, when nothing can be."""
        self._problems.hide()
        trainingSet, rows = self.setView.current, self.setView.rows
        self._note = self.form.problem(trainingSet, rows)
        if self._note or not self._installMissing():
            self.refresh()
            return None
        return self.form.config(trainingSet, rows)

    @guarded
    def _onPassed(self, report: Mapping[str, Any]) -> None:
        self._note = self._problems.showDoubts(report, self.setView.rows)
        self.refresh()

    @guarded
    def _onMended(self) -> None:
        self.loop.reopen()
        self._onSetChanged()

    @guarded
    def _onTrain(self, *_arguments: Any) -> None:
        if not self._installMissing():
            return
        if self.train.canGoOn:
            self.train.goOn()
        else:
            self._start()

    @guarded
    def _onCorrected(self, _row: Any) -> None:
        """Train on by itself after some corrections, unless a model waits for its decision."""
        needed = self._ui.afterBox.value
        if not needed or self.isTraining or self.train.canGoOn or self.outcome.isOpen:
            return
        if self.train.state is TrainingState.FINISHED:  # it could not be kept before
            self._settle(self.train.training)
        labelled = sum(row.is_labelled for row in self.setView.rows)
        if labelled - self._models.labelledAt(self.setView.current) >= needed:
            self._start(init=self._proposingModel(), isByItself=True)

    @guarded
    def _onFinished(self, training: TrainingProcess) -> None:
        about, report = training.about, reportOf(training)
        self.form.learn(about, report)
        self._models.trained(str(about.get("set")), int(about.get("labelled", 0)))
        if about.get("byItself"):
            self._settle(training)
        else:
            self.outcome.show(training)
        slicer.util.showStatusMessage(f"MISFM: {verdict(report)}", 10000)
        self.refresh()

    def _settle(self, training: TrainingProcess) -> None:
        """Keep the model of a training when it is better, else discard it; and say so."""
        report, about = reportOf(training), training.about
        text, isGood = gainText(report), isBetter(report)
        if isGood:
            keep_model(training.output, about["name"])
        self.outcome.hide()
        self.train.forget()
        if isGood:
            self._takeUp(about["name"], about["set"])
            self._note = _("The proposals come from the new model now. {why}").format(why=text)
        else:
            self._note = _("The proposals stay as they are. {why}").format(why=text)
        self.refresh()

    @guarded
    def _onFailed(self, training: TrainingProcess) -> None:
        if isinstance(training.end, Failed):
            self._problems.show(training.end, str(training.about.get("set", "")))

    @guarded
    def _onKept(self, name: str) -> None:
        """Use a model that was kept, or brought back while another one waits for that."""
        training, folder = self.train.training, self.setView.folder
        isDecided = training is not None and not self.outcome.isOpen
        if isDecided and training.state is TrainingState.FINISHED:
            folder = str(training.about.get("set", folder))
            self.train.forget()
        self._takeUp(name, folder)

    def _takeUp(self, name: str, folder: str) -> None:
        """Let a model propose for the set in a folder, which need not be the one that is open."""
        self._note = _("{name} is in the list of the tab Segment now.").format(name=name)
        self.form.readModels()
        if folder == self.setView.folder:
            self.form.chooseStart(name)
        self.modelsChanged.emit()
        if folder:
            self._models.choose(folder, name)
        self._useSet()

    @guarded
    def _onDiscarded(self) -> None:
        self.train.forget()
        self._note = _("Discarded. All other models are as they were.")
        self.refresh()

    # --------------------------------------------------------------------------------------- slots

    @guarded
    def _onTick(self, *_arguments: Any) -> None:
        self.loop.lookAround()
        isCorrecting = self.loop.case is not None
        self.train.poll()
        self.watch.follow(self.setView.current, self.train.training, isCorrecting=isCorrecting)
        self._proposals.poll()
        self.setView.leavePlace(isCorrecting=isCorrecting)

    @guarded
    def _onSetChanged(self, *_arguments: Any) -> None:
        self.setView.update()
        self._useSet()

    @guarded
    def _onOpenCase(self, name: str) -> None:
        if any(row.name == name for row in self.setView.rows):
            self._ui.loopSection.collapsed = False
            self.loop.open(name)
