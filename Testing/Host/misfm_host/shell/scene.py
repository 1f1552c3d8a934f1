"""The MRML scene and the module logics, wired as the application wires them."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any

import slicer
import vtk

from ..widgets.mrml import node_callback
from .terminologies import write_terminologies

# Module name -> class of its logic.
_LOGICS = {
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Annotations": "vtkSlicerAnnotationModuleLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Reformat": "vtkSlicerReformatLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "SceneViews": "vtkSlicerSceneViewsModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
}
# Nodes that Qt plug-ins of the subject hierarchy give an item, and the plug-in's name.
_HIERARCHY_PLUGINS = {
    "vtkMRMLLabelMapVolumeNode": "LabelMaps",
    "vtkMRMLVolumeNode": "Volumes",
    "vtkMRMLSegmentationNode": "Segmentations",
    "vtkMRMLMarkupsNode": "Markups",
    "vtkMRMLModelNode": "Models",
    "vtkMRMLTransformNode": "Transforms",
    "vtkMRMLTableNode": "Tables",
    "vtkMRMLTextNode": "Texts",
    "vtkMRMLPlotChartNode": "Charts",
    "vtkMRMLPlotSeriesNode": "PlotSeries",
    "vtkMRMLSequenceBrowserNode": "Sequences",
}


class Scene:
    """The application's scene, its application logic and the logics of the C++ modules."""

    def __init__(self, home: Path, share_folder: Path, temporary_folder: Path):
        self.node = slicer.vtkMRMLScene()
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.logics: dict[str, Any] = {}
        self.layout_logic = slicer.vtkMRMLLayoutLogic()
        self._home = home
        self._share_folder = share_folder
        _write_label_colours(share_folder / "ColorFiles")
        write_terminologies(share_folder / "Terminologies")
        self._wire_application(temporary_folder)
        self._make_logics()
        self._wire_files(temporary_folder)
        self._add_default_nodes()
        self._watch()
        self.layout_logic.SetMRMLApplicationLogic(self.application_logic)
        self.layout_logic.SetMRMLScene(self.node)

    def _wire_application(self, temporary_folder: Path) -> None:
        logic = self.application_logic
        logic.SetMRMLScene(self.node)
        logic.SetMRMLSceneDataIO(self.node, None, None)
        logic.SetTemporaryPath(str(temporary_folder))
        logic.SetHomeDirectory(str(self._home))
        logic.SetShareDirectory(str(self._share_folder.relative_to(self._home)))
        logic.SetSliceLogics(vtk.vtkCollection())
        logic.SetViewLogics(vtk.vtkCollection())
        for factory in (
            slicer.vtkMRMLSliceViewDisplayableManagerFactory,
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(logic)

    def _make_logics(self) -> None:
        for name, class_name in _LOGICS.items():
            logic = getattr(slicer, class_name)()
            folder = self._share_folder / name
            folder.mkdir(parents=True, exist_ok=True)
            if hasattr(logic, "SetModuleShareDirectory"):
                logic.SetModuleShareDirectory(str(folder))
            logic.SetMRMLApplicationLogic(self.application_logic)
            logic.SetMRMLScene(self.node)
            self.application_logic.SetModuleLogic(name, logic)
            self.logics[name] = logic
        self.application_logic.SetColorLogic(self.logics["Colors"])

    def _wire_files(self, temporary_folder: Path) -> None:
        cache = temporary_folder / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        (cache / ".slicer-cache").touch()
        self._remote_io = slicer.vtkMRMLRemoteIOLogic()
        self._remote_io.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        self._remote_io.SetMRMLApplicationLogic(self.application_logic)
        self._remote_io.SetMRMLScene(self.node)
        self._remote_io.AddDataIOToScene()
        self._data_io = slicer.vtkDataIOManagerLogic()
        self._data_io.SetMRMLApplicationLogic(self.application_logic)
        self._data_io.SetAndObserveDataIOManager(self._remote_io.GetDataIOManager())
        self.application_logic.SetMRMLSceneDataIO(self.node, self._remote_io, self._data_io)

    def _add_default_nodes(self) -> None:
        if self.node.GetFirstNodeByClass("vtkMRMLCrosshairNode") is None:
            crosshair = slicer.vtkMRMLCrosshairNode()
            crosshair.SetCrosshairName("default")
            self.node.AddNode(crosshair)
        self.logics["Colors"].AddDefaultColorNodes()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.node, True)
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.node)

    def _watch(self) -> None:
        scene = self.node
        scene.AddObserver(scene.NodeAddedEvent, node_callback(self._node_added))
        scene.AddObserver(scene.NodeRemovedEvent, node_callback(self._node_removed))
        scene.AddObserver(scene.EndCloseEvent, lambda *_: self._add_default_nodes())
        scene.AddObserver(scene.EndImportEvent, lambda *_: self._add_missing_items())

    def _hierarchy(self) -> Any:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.node)

    def _node_added(self, node: Any) -> None:
        plugin = next((p for kind, p in _HIERARCHY_PLUGINS.items() if node.IsA(kind)), None)
        if plugin is None or node.GetHideFromEditors() or self.node.IsImporting():
            return
        hierarchy = self._hierarchy()
        if hierarchy.GetItemByDataNode(node):
            return
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        hierarchy.SetItemOwnerPluginName(item, plugin)

    def _node_removed(self, node: Any) -> None:
        if self.node.IsClosing():
            return
        hierarchy = self._hierarchy()
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _add_missing_items(self) -> None:
        for index in range(self.node.GetNumberOfNodes()):
            self._node_added(self.node.GetNthNode(index))


def _write_label_colours(folder: Path) -> None:
    """Write the colours of label maps; Slicer's own file is not in its wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["0 background 0 0 0 0"]
    for label in range(1, 313):
        red, green, blue = colorsys.hsv_to_rgb(label * 0.618 % 1, 0.6, 0.95)
        lines.append(f"{label} {label} {255 * red:.0f} {255 * green:.0f} {255 * blue:.0f} 255")
    (folder / "GenericColors.txt").write_text("\n".join(lines) + "\n")
