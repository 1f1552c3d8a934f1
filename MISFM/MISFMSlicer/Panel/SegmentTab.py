"""The tab Segment: what is chosen, one button, and what became of it."""

from __future__ import annotations

import time
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISFMLib.events import Failed, Measured

from ..Guard import guarded
from ..Job import Job, JobState
from ..Jobs import RunLog
from ..Jobs.CommandLine import copiedText, segmentCommand
from ..Jobs.Logic import MISFMLogic
from ..Jobs.Report import failureReport, jobReport
from ..Scene import KeptResults
from ..Scene.SceneCases import segmentationToAdd
from ..Setup.Models import Model
from ..Setup.Settings import Settings
from .Choices import Choices
from .DeviceView import DeviceView
from .Forecast import History
from .InputsView import InputsView
from .ModelActions import ModelActions
from .ModelsView import ModelsView
from .NoticeView import NoticeView, failureOf
from .OptionsView import OptionsView
from .Outlook import Outlook
from .Parameters import Parameters
from .ReadyView import ReadyView
from .ResultView import ResultView
from .RunView import RunView, progressText
from .SetupView import SetupView
from .StructuresView import StructuresView

_DOUBLE_CLICK_S = 0.4
_STATUS_BAR_MS = 5000


class SegmentTab:
    """Connects the parts of the tab with the logic; `refresh` shows where everything stands."""

    def __init__(self, ui: Any, logic: MISFMLogic) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            logic: Runs the jobs.
        """
        self._ui = ui
        self._logic = logic
        self._settings = Settings()
        store = slicer.app.userSettings()
        self._outlook = Outlook(History(store))
        self._startedAt, self._note = 0.0, ""
        self._notices = NoticeView(ui)
        self._run = RunView(ui)
        self._inputs = InputsView(ui, self.report)
        self._options = OptionsView(ui, logic, self.report)
        self._structures = StructuresView(ui, self.report)
        self._devices = DeviceView(ui, self._settings, self.report)
        self._models = ModelsView(ui, lambda name: self._choices.chooseModel(name), self.report)
        self._choices = Choices(self._inputs, self._models, self._outlook, self._settings, store)
        self._ready = ReadyView(ui, logic, self._outlook, self._choices)
        self._setup = SetupView(ui, logic, self.report)
        self._modelActions = ModelActions(ui, self._models, self._setup.installMissing)
        self._result = ResultView(ui, self.report)
        self._result.canRestore = logic.canRestore
        self.shownCase = self._result.shown
        self._connect()

    def _connect(self) -> None:
        ui, logic = self._ui, self._logic
        ui.segmentButton.clicked.connect(self._onSegmentOrCancel)
        ui.queueButton.clicked.connect(self._onQueue)
        ui.copyCommandButton.clicked.connect(self._onCopyCommand)
        ui.failureSetupButton.clicked.connect(self._onOpenSetup)
        self._devices.changed = self.refresh
        self._modelActions.changed = self._onModelsChanged
        self._setup.changed = self.refresh
        self._signals = {
            logic.started: self._onProgress,
            logic.progressed: self._onProgress,
            logic.finished: self._onFinished,
            logic.failed: self._onFailed,
            logic.cancelled: self._onCancelled,
            logic.edits.changed: self._result.onEdited,
            logic.measured: self._onMeasured,
            logic.restored: self._onRestored,
        }
        for signal, slot in self._signals.items():
            signal.connect(slot)

    # ------------------------------------------------------------------------------- for the widget

    def setParameters(self, parameters: Parameters | None) -> None:
        """Use other parameters; None while there is no scene to speak of."""
        self._choices.parameters = parameters
        self.sceneChanged()
        self._inputs.setParameters(parameters)
        self._options.setParameters(parameters)
        self._structures.setParameters(parameters)
        if parameters is not None:
            self._showLastResult()

    @guarded
    def lookAround(self) -> None:
        """Look which models are installed and what is missing."""
        self._setup.look()
        self._models.read()
        self._inputs.setModels(self._models.models)

    def sceneChanged(self) -> None:
        """Choose at the next refresh what is not chosen and can be guessed."""
        self._choices.guessAgain()

    def choicesChanged(self) -> None:
        """Forget messages about earlier choices."""
        self._note = ""
        self._notices.hideFailure()
        self.refresh()

    @guarded
    def refresh(self) -> None:
        """Show where everything stands."""
        if self._choices.parameters is None:
            return
        self._choices.fillIn()
        model = self._choices.model
        self._inputs.update(model)
        self._models.update(model)
        self._options.update()
        self._structures.update(model.labels if model is not None else ())
        self._result.update()
        job = self._runningJob()
        if job is None:
            self._showIdle(model)
        else:
            self._showRunning(job, model)

    @guarded
    def run(self) -> None:
        """Start a job, or queue it behind the running one."""
        self._note = ""
        self._notices.hideFailure()
        model = self._choices.model
        if self._choices.problem(model) or not self._setup.installMissing():
            self.refresh()
            return
        request = self._choices.request(model)
        wasCold, wasFirst = not self._logic.isWorkerLoaded, not self._logic.isWorkerWarm
        self._startedAt = time.monotonic()
        self._choices.remember(model)
        job = self._logic.start(request)
        if not job.hasEnded:
            self._outlook.watch(job, model, wasCold=wasCold, wasFirst=wasFirst)
        self.refresh()

    @guarded
    def cancel(self) -> None:
        """End the running job and all that wait."""
        self._logic.cancelAll()

    def volume(self) -> Any:
        """Return the chosen volume node; None when there is none."""
        return self._choices.volume

    def chosenCase(self) -> tuple[Any, Any]:
        """Return the chosen volume and its segmentation; None for what is not there."""
        volume, (shown, result) = self.volume(), self.shownCase()
        return volume, result if volume is shown else segmentationToAdd(volume)

    def installMissing(self) -> bool:
        """Install what a child process needs; tell whether all is there."""
        return self._setup.installMissing()

    @guarded
    def chooseNextVolume(self) -> None:
        """Go to the next volume of the scene."""
        self._inputs.chooseNextVolume()

    @guarded
    def chooseNextPlace(self) -> None:
        """Go to the next place where the model is unsure."""
        self._result.chooseNextPlace()

    def report(self, error: Exception | Failed) -> None:
        """Show an error, or how a child process failed, in the panel."""
        failure = failureOf(error)
        self._notices.showFailure(failure, failureReport(failure))

    def close(self) -> None:
        """Let go of the logic's signals and of a running self-check."""
        for signal, slot in self._signals.items():
            signal.disconnect(slot)
        self._setup.close()
        self._devices.close()
        self._modelActions.close()
        self.setParameters(None)

    # -------------------------------------------------------------------------------------- states

    def _showIdle(self, model: Model | None) -> None:
        setup = self._setup.announcement
        self._ready.show(model, self._inputs, self._notices, note=self._note, setup=setup)

    def _showRunning(self, job: Job, model: Model | None) -> None:
        canQueue = not self._choices.problem(model) and not self._isQueued(model)
        self._run.showRunning(job, waiting=len(self._logic.jobs) - 1, canQueue=canQueue)
        self._notices.showWarnings([])

    def _isQueued(self, model: Model) -> bool:
        request = self._choices.request(model)
        return any(request == job.request for job in self._logic.jobs)

    def _runningJob(self) -> Job | None:
        return next((job for job in self._logic.jobs if job.state is JobState.RUNNING), None)

    # ---------------------------------------------------------------------------------------- slots

    @guarded
    def _onSegmentOrCancel(self, *_arguments: Any) -> None:
        if self._runningJob() is None:
            self.run()
        elif time.monotonic() - self._startedAt > _DOUBLE_CLICK_S:
            self.cancel()

    @guarded
    def _onQueue(self, *_arguments: Any) -> None:
        self.run()

    @guarded
    def _onCopyCommand(self, *_arguments: Any) -> None:
        request = self._choices.request(self._choices.model)
        slicer.app.clipboard().setText(segmentCommand(request))
        self._note = copiedText(request)
        self.refresh()

    @guarded
    def _onOpenSetup(self, *_arguments: Any) -> None:
        self._setup.open()

    @guarded
    def _onModelsChanged(self, *_arguments: Any) -> None:
        self._inputs.setModels(self._models.models)
        self._choices.dropMissingModel()
        self.refresh()

    @guarded
    def _onProgress(self, job: Job) -> None:
        if self._choices.parameters is not None:
            self._showRunning(job, self._choices.model)
        if not self._ui.segmentTab.visible:
            slicer.util.showStatusMessage(f"MISFM: {progressText(job)}", _STATUS_BAR_MS)

    @guarded
    def _showLastResult(self) -> None:
        """Show what a reopened scene has kept, or was made before the module was loaded again."""
        self._result.update()
        job = KeptResults.last() if self._result.job is None else None
        if job is not None:
            self._logic.edits.watch(job.result.segmentation)
            self._result.showKept(job)

    @guarded
    def _onRestored(self, segmentation: Any) -> None:
        self._result.showKept(KeptResults.of(segmentation))
        self.refresh()

    @guarded
    def _onMeasured(self, measured: Measured) -> None:
        self._outlook.keep(measured)
        self.refresh()

    @guarded
    def _onFinished(self, job: Job) -> None:
        self._ready.forget()  # a window is measured now if the job came before that
        self._result.showNew(job, isChosen=job.request.volumes[0] is self.volume())
        self._tellEnd(job, _("{job}: segmented"))

    @guarded
    def _onFailed(self, job: Job) -> None:
        title = job.title if job.request.volumes[0] is not self.volume() else ""  # of a queue
        self._notices.showFailure(job.failure, jobReport(job), job=title)
        self._tellEnd(job, _("{job}: failed"))

    @guarded
    def _onCancelled(self, job: Job) -> None:
        self._note = _("Cancelled. The scene is as it was.")
        self._tellEnd(job, _("{job}: cancelled"))

    def _tellEnd(self, job: Job, text: str) -> None:
        self._outlook.learn(job)
        RunLog.keep(job)
        slicer.util.showStatusMessage(f"MISFM: {text.format(job=job.title)}", _STATUS_BAR_MS)
        self.refresh()
