"""The straight path's choices: volume, model, speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..Guard import guarded
from ..Scene.Channels import VOLUME, allVolumes, sceneVolumes, volumeNamed
from ..Scene.SliceViews import showWithResult
from ..Scene.Uncertainty import isUncertainty
from ..Setup.Models import Model
from .Parameters import Parameters


class InputsView:
    """Shows what the parameters say, and writes into them what the user chooses."""

    def __init__(self, ui: Any, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            report: Shows an error to the user.
        """
        self.report = report
        self._ui = ui
        self._parameters: Parameters | None = None
        self._isUpdating = False
        self._selectors = [ui.volumeSelector]
        self._labels = [ui.volumeLabel]
        self._speeds = {"fast": ui.fastButton, "normal": ui.normalButton, "best": ui.bestButton}
        self._connectSelector(0)
        ui.modelSelector.currentIndexChanged.connect(self._onModelChosen)
        for button in self._speeds.values():
            button.toggled.connect(self._onSpeedChosen)

    def setParameters(self, parameters: Parameters | None) -> None:
        """Use other parameters; None while there is no scene to speak of."""
        self._parameters = parameters

    def setModels(self, models: Sequence[Model]) -> None:
        """Offer these models."""
        self._isUpdating = True
        self._ui.modelSelector.clear()
        for model in models:
            title = _("{model} (mine)").format(model=model.title) if model.isMine else model.title
            self._ui.modelSelector.addItem(title, model.name)
        self._isUpdating = False

    def update(self, model: Model | None) -> None:
        """Show the parameters; `model` is the chosen one."""
        if self._parameters is None or self._isUpdating:
            return
        self._isUpdating = True
        channels = model.channels if model is not None else ("",)
        self._showSelectors(channels)
        hidden = [volume.GetID() for volume in allVolumes() if isUncertainty(volume)]
        for channel in range(len(channels)):
            shown = self._selectors[channel].sortFilterProxyModel()
            if list(shown.hiddenNodeIDs) != hidden:
                shown.hiddenNodeIDs = hidden
            self._selectors[channel].setCurrentNode(self._parameters.volume(channel))
        name = model.name if model is not None else ""
        self._ui.modelSelector.setCurrentIndex(self._ui.modelSelector.findData(name))
        self._ui.modelSelector.enabled = self._ui.modelSelector.count > 0
        self._speeds[self._parameters.speed].checked = True
        self._isUpdating = False

    def showSpeeds(self, mirrorImages: int, times: dict[str, str]) -> None:
        """Say in the tooltips what the speeds are and how long they take, if that is known.

        Args:
            mirrorImages: How many the chosen model can average; 1 when it knows none.
            times: A sentence for each speed.
        """
        best = _("Averages {count} mirror images: a little better, {count} times slower.")
        noMirrors = _("The same as Normal: this model was trained without mirrored volumes.")
        meanings = {
            "fast": _("Windows overlap less: quicker, a little less exact."),
            "normal": _("As the model was evaluated."),
            "best": best.format(count=mirrorImages) if mirrorImages > 1 else noMirrors,
        }
        for speed, button in self._speeds.items():
            button.toolTip = "\n".join(filter(None, (meanings[speed], times.get(speed))))

    def fillIn(self, channels: Sequence[str]) -> None:
        """Choose volumes where none is chosen: for one channel the shown one, else by name."""
        if self._parameters is None:
            return
        taken = [self._parameters.volume(channel) for channel in range(len(channels))]
        for channel, name in enumerate(channels):
            if taken[channel] is None:
                isOnly = len(channels) == 1
                found = _shownVolume() if isOnly else volumeNamed(name, sceneVolumes(), taken)
                taken[channel] = found
                if found is not None:
                    self._parameters.setVolume(found, channel)

    def chooseNextVolume(self) -> None:
        """Go to the volume after the chosen one, from the last to the first."""
        volumes = sceneVolumes()
        if self._parameters is not None and volumes:
            current = self._parameters.volume()
            position = volumes.index(current) + 1 if current in volumes else 0
            self._choose(volumes[position % len(volumes)], 0)

    def _showSelectors(self, channels: Sequence[str]) -> None:
        while len(self._selectors) < len(channels):
            self._addSelector()
        titles = [_("Volume:")] if len(channels) == 1 else [f"{name}:" for name in channels]
        for channel, selector in enumerate(self._selectors):
            label = self._labels[channel]
            label.visible = selector.visible = channel < len(channels)
            label.text = titles[channel] if channel < len(channels) else ""

    def _addSelector(self) -> None:
        first, selector = self._ui.volumeSelector, slicer.qMRMLNodeComboBox()
        selector.nodeTypes = [VOLUME]
        for name in ("showChildNodeTypes", "addEnabled", "removeEnabled"):
            setattr(selector, name, False)
        selector.noneEnabled = True
        selector.noneDisplay = first.noneDisplay
        selector.toolTip = first.toolTip
        selector.sizeAdjustPolicy = first.sizeAdjustPolicy
        selector.setMRMLScene(slicer.mrmlScene)
        label = qt.QLabel()
        self._ui.inputs.layout().insertRow(len(self._selectors), label, selector)
        self._selectors.append(selector)
        self._labels.append(label)
        self._connectSelector(len(self._selectors) - 1)

    def _connectSelector(self, channel: int) -> None:
        signal = self._selectors[channel].currentNodeChanged
        signal.connect(lambda *_arguments: self._onVolumeChosen(channel))

    @guarded
    def _onVolumeChosen(self, channel: int) -> None:
        # While a scene closes or loads, selectors change by themselves; the scene says what holds.
        if self._isUpdating or self._parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        self._choose(self._selectors[channel].currentNode(), channel)

    def _choose(self, volume: Any, channel: int) -> None:
        self._parameters.setVolume(volume, channel)
        if channel == 0 and volume is not None:
            showWithResult(volume)  # a result would be judged over another patient's image

    @guarded
    def _onModelChosen(self, *_arguments: Any) -> None:
        if not self._isUpdating and self._parameters is not None:
            self._parameters.model = self._ui.modelSelector.currentData or ""

    @guarded
    def _onSpeedChosen(self, *_arguments: Any) -> None:
        if not self._isUpdating and self._parameters is not None:
            chosen = [name for name, button in self._speeds.items() if button.checked]
            self._parameters.speed = (chosen or ["normal"])[0]


def _shownVolume() -> Any:
    """Return the volume in the slice views, else the first one, else None."""
    volumes = sceneVolumes()
    activeId = slicer.app.applicationLogic().GetSelectionNode().GetActiveVolumeID()
    shown = [volume for volume in volumes if volume.GetID() == activeId]
    return next(iter(shown + volumes), None)
