"""The panel of the module: its life cycle, and what happens to the scene around it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from ..Guard import guarded
from ..Jobs.Logic import MISFMLogic
from .Closing import settleTrainings
from .FinetuneTab import FinetuneTab
from .Heights import FullHeight
from .Parameters import Parameters
from .PretrainTab import PretrainTab
from .SegmentTab import SegmentTab

_FINETUNE = 1
"""Index of the tab Fine-tune."""
_OUR_PACKAGES = ("MISFMSlicer", "MISFMLib")


class MISFMWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Slicer makes it when the user opens the module for the first time."""

    def __init__(self, parent: Any = None) -> None:
        self._closing = ExitStack()  # what is there to let go of, also after half of `setup`
        VTKObservationMixin.__init__(self)  # first: without a parent the other calls setup
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self) -> None:
        """Make the widgets."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/MISFM.ui"))
        # Slicer only hides it at reload; its connections would keep all of our old objects alive.
        self._closing.callback(panel.deleteLater)
        self.layout.addWidget(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(panel)
        self.logic = MISFMLogic()
        self._closing.callback(self.logic.close)
        self.segmentTab = SegmentTab(self.ui, self.logic)
        self._closing.callback(self.segmentTab.close)
        self._finetuneTab: FinetuneTab | None = None
        self._pretrainTab: PretrainTab | None = None
        self._closing.callback(self._closeTabs)
        self._heights = [FullHeight(self.ui.segmentTab)]
        self._parameterNode: Any = None
        self._volume: Any = None
        self._haveChoicesChanged = False
        self._hasLooked = False
        self._refreshTimer = self._makeTimer(self._refresh)
        self._tabsTimer = self._makeTimer(self._addNextTab)
        self._tabsTimer.start()
        self._addShortcuts(panel)
        self._observeScene()
        self.enter()

    def _makeTimer(self, slot: Callable[..., None]) -> Any:
        """Make a timer that calls a slot once, when all that is going on is done."""
        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.setInterval(0)
        timer.timeout.connect(slot)
        self._closing.callback(timer.timeout.disconnect, slot)
        self._closing.callback(timer.stop)
        return timer

    @property
    def finetuneTab(self) -> FinetuneTab:
        """The tab Fine-tune, made when it is first asked for."""
        if self._finetuneTab is None:
            self._finetuneTab = self._addFinetuneTab()
            self._finetuneTab.lookAround()
        return self._finetuneTab

    @property
    def pretrainTab(self) -> PretrainTab:
        """The tab Pretrain, made when it is first asked for."""
        if self._pretrainTab is None:
            self._pretrainTab = self._addPretrainTab()
            self._pretrainTab.lookAround()
        return self._pretrainTab

    @guarded
    def _addNextTab(self, *_arguments: Any) -> None:
        """Make one tab at a time: all at once would hold Slicer up when the panel is opened."""
        if self._finetuneTab is not None:
            self.pretrainTab.refresh()
        else:
            self.finetuneTab.refresh()
            self._tabsTimer.start()

    def report(self, error: Exception) -> None:
        """Show an error."""
        self.segmentTab.report(error)

    @property
    def _moreTabs(self) -> list[FinetuneTab | PretrainTab]:
        return [tab for tab in (self._finetuneTab, self._pretrainTab) if tab is not None]

    def _addFinetuneTab(self) -> FinetuneTab:
        panel = slicer.util.loadUI(self.resourcePath("UI/Finetune.ui"))
        panel.setMRMLScene(slicer.mrmlScene)
        self.ui.tabs.addTab(panel, _("Fine-tune"))
        self._heights.append(FullHeight(panel))
        ui = slicer.util.childWidgetVariables(panel)
        self.ui.addToSetButton.clicked.connect(self._onAddToSet)
        tab = FinetuneTab(ui, self.segmentTab.chosenCase, self.segmentTab.installMissing)
        tab.modelsChanged.connect(self.segmentTab.lookAround)
        self.logic.finished.connect(tab.segmented)
        return tab

    def _addPretrainTab(self) -> PretrainTab:
        form = self.finetuneTab.form  # made first, so that the tabs have their order
        panel = slicer.util.loadUI(self.resourcePath("UI/Pretrain.ui"))
        self.ui.tabs.addTab(panel, _("Pretrain"))
        self._heights.append(FullHeight(panel))
        ui = slicer.util.childWidgetVariables(panel)
        tab = PretrainTab(ui, self.segmentTab.installMissing)
        tab.startsChanged.connect(form.readModels)
        return tab

    def cleanup(self) -> None:
        """Let go of everything, once; called at reload and when Slicer quits."""
        self._closing.close()
        self._parameterNode = self._volume = None

    def _closeTabs(self) -> None:
        if _isQuitting():
            views = [tab.train for tab in self._moreTabs]
            settleTrainings([view.training for view in views if view.isRunning])
        for tab in self._moreTabs:
            tab.close()

    def enter(self) -> None:
        """Show what has changed while another module was open."""
        if not self._hasLooked:  # Slicer enters the module just after `setup`
            self._hasLooked = True
            self.segmentTab.lookAround()
            for tab in self._moreTabs:
                tab.lookAround()
        self._useParameterNode()

    def exit(self) -> None:
        """Leave the views to the module that is opened."""
        if self._finetuneTab is not None:
            self._finetuneTab.loop.editor.putAway()

    def onReload(self) -> None:
        """Load all of our source again, not MISFM.py alone."""
        for name in list(sys.modules):
            if name.partition(".")[0] in _OUR_PACKAGES:
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def _addShortcuts(self, panel: Any) -> None:
        self._shortcuts = []
        for keys, slot, where in (
            ("Ctrl+Return", self._onRunKey, panel),
            ("Ctrl+Enter", self._onRunKey, panel),
            ("Esc", self._onCancelKey, self.ui.segmentTab),  # elsewhere it puts away a tool
            ("Ctrl+PgDown", self._onNextKey, panel),
            ("Ctrl+Down", self._onNextPlaceKey, panel),
            ("Ctrl+D", self._onDoneKey, panel),
        ):
            shortcut = qt.QShortcut(qt.QKeySequence(keys), where)
            shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
            shortcut.setAutoRepeat(False)  # a held key would call case after case done, unseen
            shortcut.activated.connect(slot)
            self._shortcuts.append(shortcut)

    def _onRunKey(self, *_arguments: Any) -> None:
        if not self.logic.jobs:
            self.segmentTab.run()

    def _onCancelKey(self, *_arguments: Any) -> None:
        self.segmentTab.cancel()

    def _onNextKey(self, *_arguments: Any) -> None:
        self.segmentTab.chooseNextVolume()

    def _onNextPlaceKey(self, *_arguments: Any) -> None:
        self.segmentTab.chooseNextPlace()

    def _onAddToSet(self, *_arguments: Any) -> None:
        tab = self.finetuneTab
        self.ui.tabs.setCurrentIndex(_FINETUNE)
        tab.addScene(*self.segmentTab.shownCase())

    def _onDoneKey(self, *_arguments: Any) -> None:
        self.finetuneTab.done()

    # -------------------------------------------------------------------------------------- scene

    def _observeScene(self) -> None:
        scene = slicer.mrmlScene
        self._closing.callback(self.removeObservers)
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._onSceneReplaced)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self.addObserver(scene, event, self._onSceneChanged)

    def _onSceneStartClose(self, *_arguments: Any) -> None:
        self._setParameterNode(None)
        self._watchVolume(None)
        if self._finetuneTab is not None:
            self._finetuneTab.sceneClosed()

    def _onSceneReplaced(self, *_arguments: Any) -> None:
        if self.parent.isEntered:  # else `enter` will do it
            self._useParameterNode()

    def _onSceneChanged(self, *_arguments: Any) -> None:
        # Later: a node that is being added has no voxels yet.
        if self.parent.isEntered and not slicer.mrmlScene.IsBatchProcessing():
            self.segmentTab.sceneChanged()
            self._refreshTimer.start()

    def _useParameterNode(self) -> None:
        self._setParameterNode(self.logic.getParameterNode())
        self._refreshTimer.start()

    def _setParameterNode(self, node: Any) -> None:
        event = vtk.vtkCommand.ModifiedEvent
        if self._parameterNode is not None:
            self.removeObserver(self._parameterNode, event, self._onParametersChanged)
        self._parameterNode = node
        if node is not None:
            self.addObserver(node, event, self._onParametersChanged)
        self.segmentTab.setParameters(Parameters(node) if node is not None else None)

    def _onParametersChanged(self, *_arguments: Any) -> None:
        self._haveChoicesChanged = True
        self._refreshTimer.start()

    def _refresh(self) -> None:
        self._hasLooked = False
        if self._haveChoicesChanged:
            self._haveChoicesChanged = False
            self.segmentTab.choicesChanged()
        else:
            self.segmentTab.refresh()
        self._watchVolume(self.segmentTab.volume())

    def _watchVolume(self, volume: Any) -> None:
        """Hear when the chosen volume gets its voxels, or others, or another transform."""
        events = (
            slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent,
            slicer.vtkMRMLTransformableNode.TransformModifiedEvent,
        )
        if volume is not self._volume:
            for event in events if self._volume is not None else ():
                self.removeObserver(self._volume, event, self._onVoxelsChanged)
            self._volume = volume
            for event in events if volume is not None else ():
                self.addObserver(volume, event, self._onVoxelsChanged)

    def _onVoxelsChanged(self, *_arguments: Any) -> None:
        self._refreshTimer.start()


def _isQuitting() -> bool:
    """Tell whether Slicer ends: then it has left the open module, which a reload does not do."""
    return slicer.util.mainWindow() is not None and not slicer.util.selectedModule()
