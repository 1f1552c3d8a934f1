"""The tab Pretrain: folders of volumes without labels, prepared and learnt from."""

from __future__ import annotations

import typing
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.configs import NetworkPreset
from MISFMLib.events import Failed
from MISFMLib.models.bundle_manifest import model_name
from MISFMLib.models.versions import keep_model
from MISFMLib.resources import read_preset

from .. import Messages
from ..Guard import guarded
from ..Jobs.PretrainCommand import pretrainCommands
from ..Jobs.TrainingProcess import TrainingProcess, TrainingState
from ..LibraryMessages import forPanel
from ..Setup.Settings import Settings
from ..Signal import Signal
from .FoldersView import FoldersView
from .NoticeView import failureOf
from .TrainView import TrainView, reportOf

_MANY_STEPS = 1_000_000
"""More than fit in the minutes: the clock ends the training."""
_INTERVAL = 50
"""Steps between two looks at the held-out volumes, and two pictures."""
_PREVIEW = "preview.png"
_OF_ANY_PATCH = ("small", "full", "fmunet", "unet3d", "unet3d-small")
"""Networks for the patch of the preset; that of the others follows the volumes."""
_POLL_MS = 500


class PretrainTab:
    """Connects the parts of the tab; ``startsChanged()`` tells that a start was kept."""

    def __init__(self, ui: Any, installMissing: Callable[[], bool]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the tab's .ui file by their names.
            installMissing: Installs what a child process needs; tells whether all is there.
        """
        self.startsChanged = Signal()
        self._ui = ui
        self._installMissing = installMissing
        self._settings = Settings()
        self._shown = (b"", 0)
        """The picture that is shown, and its width."""
        self.folders = FoldersView(ui, installMissing, self.report)
        self.train = TrainView(_trainWidgets(ui), self.report, "pretrain")
        titles = {"small": _("small"), "full": _("full")}
        for preset in typing.get_args(NetworkPreset):
            ui.pretrainNetworkSelector.addItem(titles.get(preset, preset), preset)
        self._connect()
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._onTick)

    def _connect(self) -> None:
        ui = self._ui
        ui.pretrainButton.clicked.connect(self._onPretrain)
        ui.pretrainCopyButton.clicked.connect(self._onCopy)
        ui.pretrainKeepButton.clicked.connect(self._onKeep)
        ui.pretrainDiscardButton.clicked.connect(self._onDiscard)
        self.folders.changed.connect(self.refresh)
        self.train.changed.connect(self.refresh)
        self.train.finished.connect(self._onFinished)
        self.train.failed.connect(self._onFailed)

    @guarded
    def lookAround(self) -> None:
        """Look which folders and trainings there are; called when the module is entered."""
        self.folders.readSettings()
        self.train.findAgain()
        self.refresh()
        self._timer.start()

    def close(self) -> None:
        """Let go of everything; a training goes on, a preparation goes on the next time."""
        self._timer.stop()
        self._timer.timeout.disconnect(self._onTick)
        self.folders.close()
        self.train.close()

    def report(self, error: Exception | Failed) -> None:
        """Show an error of the tab."""
        failure = failureOf(error)
        parts = (forPanel(failure.message), forPanel(failure.remedy))
        self._ui.pretrainNoticeLabel.text = "\n".join(part for part in parts if part)
        self._ui.pretrainNoticeFrame.visible = True

    @guarded
    def refresh(self, *_arguments: Any) -> None:
        """Show where everything stands."""
        ui, isRunning = self._ui, self.train.state is TrainingState.RUNNING
        ui.pretrainCopyButton.enabled = bool(self.folders.paths)
        ui.pretrainButton.visible = not isRunning
        ui.pretrainButton.text = _("Go on") if self.train.canGoOn else _("Pretrain")
        why = self._problem()
        ui.pretrainButton.enabled = self.train.canGoOn or not why
        if not isRunning and not self.train.canGoOn:
            ui.pretrainLabel.text = why or _("Ready. It runs on when Slicer is closed.")

    def _problem(self) -> str:
        """Return why no pretraining can start; empty when one can."""
        if self.train.state is TrainingState.FINISHED:
            return _("Keep or discard the new start first.")
        return "" if self.folders.paths else _("Add a folder with volumes first.")

    # ------------------------------------------------------------------------------ the training

    @guarded
    def _onPretrain(self, *_arguments: Any) -> None:
        self._ui.pretrainNoticeFrame.visible = False
        if not self._installMissing():
            return
        if self.train.canGoOn:
            self.train.goOn()
            return
        self._ui.pretrainOutcomeFrame.visible = False
        preset, network = (
            read_preset("pretrain-laptop"),
            self._ui.pretrainNetworkSelector.currentData,
        )
        kept = ["method", "batch_size"]
        if network in _OF_ANY_PATCH:
            kept.append("patch_size")
        config = {
            **{name: preset[name] for name in kept},
            **self._settings.options(),
            "data": self.folders.data,
            "network": network,
            "minutes": float(self._ui.pretrainMinutesSlider.value),
            "steps": _MANY_STEPS,
            "validate_every": _INTERVAL,
            "checkpoint_every": _INTERVAL,
            "preview": _PREVIEW,
        }
        self.train.start(config, {"name": "my-start", "folders": self.folders.paths})
        self.refresh()

    @guarded
    def _onTick(self, *_arguments: Any) -> None:
        self.train.poll()
        self._showPreview()

    def _showPreview(self) -> None:
        """Show the newest picture of what the network sees and answers."""
        training = self.train.training
        path = training.folder / _PREVIEW if training is not None else None
        isThere = path is not None and path.exists()
        self._ui.previewLabel.visible = isThere
        shown = (
            (path.read_bytes(), max(200, self._ui.foldersList.width)) if isThere else self._shown
        )
        if shown != self._shown:  # another picture, or the panel has another width
            self._shown = shown
            picture, width = qt.QPixmap(str(path)), shown[1]
            self._ui.previewLabel.setPixmap(
                picture.scaledToWidth(width, qt.Qt.SmoothTransformation)
            )

    @guarded
    def _onFinished(self, training: TrainingProcess) -> None:
        report = reportOf(training)
        self._ui.pretrainOutcomeLabel.text = _("Pretrained in {steps} steps and {time}.").format(
            steps=report.get("steps", 0), time=Messages.duration(report.get("training_seconds", 0))
        )
        self._ui.pretrainNameEdit.text = str(training.about.get("name", "my-start"))
        self._ui.pretrainOutcomeFrame.visible = True
        self.refresh()

    @guarded
    def _onFailed(self, training: TrainingProcess) -> None:
        if isinstance(training.end, Failed):
            self.report(training.end)

    @guarded
    def _onKeep(self, *_arguments: Any) -> None:
        name = model_name(self._ui.pretrainNameEdit.text, "my-start")
        keep_model(self.train.training.output, name)
        self._end()
        text = _("{name} is in the list Start from of the tab Fine-tune.")
        self._ui.pretrainLabel.text = text.format(name=name)
        self.startsChanged.emit()

    @guarded
    def _onDiscard(self, *_arguments: Any) -> None:
        self._end()

    def _end(self) -> None:
        self._ui.pretrainOutcomeFrame.visible = False
        self.train.forget()
        self.refresh()

    @guarded
    def _onCopy(self, *_arguments: Any) -> None:
        network = str(self._ui.pretrainNetworkSelector.currentData)
        slicer.app.clipboard().setText(pretrainCommands(self.folders.paths, network))
        self._ui.pretrainLabel.text = _("The commands and a SLURM script are in the clipboard.")


def _trainWidgets(ui: Any) -> SimpleNamespace:
    """Return the widgets under the names that `TrainView` knows them by."""
    return SimpleNamespace(
        pauseButton=ui.pretrainPauseButton,
        stopButton=ui.pretrainStopButton,
        trainProgress=ui.pretrainProgress,
        trainLabel=ui.pretrainLabel,
        curvesButton=ui.pretrainCurvesButton,
        lossButton=ui.pretrainLossButton,
    )
