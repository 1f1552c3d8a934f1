"""The section Options: where the result goes and what part of the volume is segmented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from ..Guard import guarded
from ..Jobs.Logic import MISFMLogic
from ..Scene.Rois import addRoi
from ..Scene.Sequences import framesOf
from .Parameters import Parameters

_NODES = ("output", "roi", "regionSegmentation")
"""Parameters that are nodes of the scene."""


class OptionsView:
    """Shows what the parameters say, and writes into them what the user chooses."""

    def __init__(self, ui: Any, logic: MISFMLogic, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            logic: Knows what can be restored.
            report: Shows an error to the user.
        """
        self.report = report
        self._ui = ui
        self._logic = logic
        self._parameters: Parameters | None = None
        self._isRemoving = False
        self._sceneTag: int | None = None
        self._isUpdating = True
        self._fill()
        self._connect()
        self._isUpdating = False

    def setParameters(self, parameters: Parameters | None) -> None:
        """Use other parameters; None while there is no scene to speak of."""
        self._parameters = parameters
        scene = slicer.mrmlScene
        if self._sceneTag is not None:
            scene.RemoveObserver(self._sceneTag)
            self._sceneTag = None
        if parameters is not None:
            self._sceneTag = scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._onRemoval)

    def update(self) -> None:
        """Show the parameters."""
        if self._parameters is None or self._isUpdating:
            return
        self._isUpdating, self._isRemoving = True, False
        ui, parameters = self._ui, self._parameters
        ui.outputSelector.setCurrentNode(parameters.output)
        ui.restoreButton.visible = self._logic.canRestore(parameters.output)
        ui.regionSelector.setCurrentIndex(ui.regionSelector.findData(parameters.regionKind))
        ui.roiSelector.setCurrentNode(parameters.roi)
        ui.regionSegmentSelector.setCurrentNode(parameters.regionSegmentation)
        ui.regionSegmentSelector.setCurrentSegmentID(parameters.regionSegment)
        ui.marginBox.value = parameters.marginMm
        ui.allFramesBox.checked = parameters.allFrames
        ui.uncertaintyBox.checked = parameters.uncertainty
        ui.show3DBox.checked = parameters.show3D
        self._showNeeded()
        self._isUpdating = False

    def _fill(self) -> None:
        regions = {
            "": _("Whole volume"),
            "roi": _("Inside an ROI"),
            "segment": _("Inside a segment"),
        }
        for kind, title in regions.items():
            self._ui.regionSelector.addItem(title, kind)

    def _connect(self) -> None:
        ui = self._ui
        self._bind(ui.outputSelector.currentNodeChanged, "output", ui.outputSelector.currentNode)
        self._bind(
            ui.regionSelector.currentIndexChanged,
            "regionKind",
            lambda: ui.regionSelector.currentData,
        )
        self._bind(ui.roiSelector.currentNodeChanged, "roi", ui.roiSelector.currentNode)
        self._bind(ui.marginBox.valueChanged, "marginMm", lambda: ui.marginBox.value)
        self._bind(ui.allFramesBox.toggled, "allFrames", lambda: ui.allFramesBox.checked)
        self._bind(ui.uncertaintyBox.toggled, "uncertainty", lambda: ui.uncertaintyBox.checked)
        self._bind(ui.show3DBox.toggled, "show3D", lambda: ui.show3DBox.checked)
        ui.regionSegmentSelector.currentNodeChanged.connect(self._onSegmentChosen)
        ui.regionSegmentSelector.currentSegmentChanged.connect(self._onSegmentChosen)
        ui.newRoiButton.clicked.connect(self._onNewRoi)
        ui.restoreButton.clicked.connect(self._onRestore)

    def _bind(self, signal: Any, name: str, read: Callable[[], Any]) -> None:
        """Write what `read` returns into a parameter when the signal comes."""
        signal.connect(lambda *_arguments: self._write(name, read))

    @guarded
    def _write(self, name: str, read: Callable[[], Any]) -> None:
        if self._isChosenByUser():
            setattr(self._parameters, name, read())

    def _isChosenByUser(self) -> bool:
        # While a scene closes or loads, selectors change by themselves; the scene says what holds.
        isBusy = self._isUpdating or self._isRemoving or slicer.mrmlScene.IsBatchProcessing()
        return self._parameters is not None and not isBusy

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onRemoval(self, _scene: Any, _event: Any, node: Any) -> None:
        """Choose nothing in place of a node that goes; its selector would choose another one."""
        gone = [name for name in _NODES if getattr(self._parameters, name) is node]
        if gone:
            self._isRemoving = True  # until `update` lets the selectors show it
            with self._parameters.changing():
                for name in gone:
                    setattr(self._parameters, name, None)

    def _showNeeded(self) -> None:
        ui, parameters = self._ui, self._parameters
        kind = parameters.regionKind
        ui.roiLabel.visible = ui.roiBox.visible = kind == "roi"
        ui.regionSegmentLabel.visible = ui.regionSegmentSelector.visible = kind == "segment"
        ui.marginLabel.visible = ui.marginBox.visible = kind != ""
        volume = parameters.volume()
        hasFrames = volume is not None and framesOf(volume) is not None
        ui.framesLabel.visible = ui.allFramesBox.visible = hasFrames
        ui.uncertaintyBox.enabled = not (hasFrames and parameters.allFrames)

    @guarded
    def _onSegmentChosen(self, *_arguments: Any) -> None:
        if self._isChosenByUser():
            selector, parameters = self._ui.regionSegmentSelector, self._parameters
            isSame = selector.currentNode() is parameters.regionSegmentation
            isGone = isSame and parameters.regionSegment and not parameters.hasRegionSegment()
            with parameters.changing():
                parameters.regionSegmentation = selector.currentNode()
                # In place of a segment that was deleted the selector chooses another one.
                parameters.regionSegment = "" if isGone else selector.currentSegmentID()

    @guarded
    def _onNewRoi(self, *_arguments: Any) -> None:
        """Make an ROI as large as the volume, so that its handles can be pulled."""
        volume = self._parameters.volume()
        if volume is not None:
            self._parameters.roi = addRoi(volume)

    @guarded
    def _onRestore(self, *_arguments: Any) -> None:
        self._logic.restorePrevious(self._parameters.output)
