"""Questions about MRML, slicer.util and modules (see probe.py)."""

import numpy as np
import qt
import slicer
import vtk


def _add(kind, name=""):
    return slicer.mrmlScene.AddNewNodeByClass(kind, name)


def ask(fact, panel):
    folder = slicer.util.tempDirectory()
    volume = _ask_volumes(fact, folder)
    _ask_segmentations(fact, volume, panel.ui, folder)
    _ask_modules(fact, panel)
    fact("closeScene", lambda: slicer.mrmlScene.Clear(0))
    fact("sel.currentNode after clear", lambda: panel.ui.inputSelector.currentNode())


def _ask_volumes(fact, folder):
    slicer.mrmlScene.Clear(0)
    n = _add("vtkMRMLScalarVolumeNode", "Volume")
    array = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    fact("updateVolumeFromArray", lambda: slicer.util.updateVolumeFromArray(n, array))
    fact("arrayFromVolume", lambda: slicer.util.arrayFromVolume(n).shape)
    fact("addVolumeFromArray", lambda: slicer.util.addVolumeFromArray(array).GetName())
    fact("n.SetSpacing", lambda: n.SetSpacing(1, 2, 3))
    path = f"{folder}/p.nii.gz"
    fact("saveNode", lambda: slicer.util.saveNode(n, path, {}))
    fact("loadVolume", lambda: slicer.util.loadVolume(path, {}).GetName())
    fact("loadVolume props", lambda: slicer.util.loadVolume(path, {"name": "zz"}).GetName())
    fact("loadVolume missing", lambda: slicer.util.loadVolume("/tmp/none.nii.gz", {}))
    return n


def _ask_segmentations(fact, n, ui, folder):
    path = f"{folder}/p.nrrd"
    fact("saveNode nrrd", lambda: slicer.util.saveNode(n, path, {}))
    fact("loadSegmentation", lambda: slicer.util.loadSegmentation(path, {}).GetName())
    seg = _add("vtkMRMLSegmentationNode", "S")
    fact("CreateDefaultDisplayNodes", lambda: seg.CreateDefaultDisplayNodes())
    fact("SetRefGeom", lambda: seg.SetReferenceImageGeometryParameterFromVolumeNode(n))
    segmentation = seg.GetSegmentation()
    fact("AddEmptySegment", lambda: segmentation.AddEmptySegment("S1", "S1"))
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1:3, 1:3, 1:3] = 1
    update = slicer.util.updateSegmentBinaryLabelmapFromArray
    read = slicer.util.arrayFromSegmentBinaryLabelmap
    fact("updateSegmentBinaryLabelmapFromArray", lambda: update(mask, seg, "S1", n))
    fact("arrayFromSegmentBinaryLabelmap", lambda: np.int64(read(seg, "S1", n).sum()))
    logic = slicer.modules.segmentations.logic()
    lm = _add("vtkMRMLLabelMapVolumeNode", "lm")
    export = logic.ExportVisibleSegmentsToLabelmapNode
    fact("ExportVisibleSegmentsToLabelmapNode", lambda: export(seg, lm, n))
    fact("lm", lambda: np.int64(slicer.util.arrayFromVolume(lm).sum()))
    seg2 = _add("vtkMRMLSegmentationNode", "S2")
    load = logic.ImportLabelmapToSegmentationNode
    fact("ImportLabelmapToSegmentationNode", lambda: load(lm, seg2))
    fact("GetSegmentIDs", lambda: seg2.GetSegmentation().GetSegmentIDs())
    fact("CreateClosedSurfaceRepresentation", lambda: seg.CreateClosedSurfaceRepresentation())
    fact("segTable.setSegmentationNode", lambda: ui.segTable.setSegmentationNode(seg))
    fact("segTable.selectedSegmentIDs()", lambda: ui.segTable.selectedSegmentIDs())
    fact("segSel.setCurrentNode", lambda: ui.segSel.setCurrentNode(None))
    fact("segSel.currentSegmentID()", lambda: ui.segSel.currentSegmentID())
    fact("shTree.setMRMLScene", lambda: ui.shTree.setMRMLScene(slicer.mrmlScene))
    sh = slicer.mrmlScene.GetSubjectHierarchyNode()
    fact("sh.GetItemByDataNode", lambda: sh.GetItemByDataNode(seg))


def _ask_modules(fact, panel):
    layers = slicer.util.setSliceViewerLayers
    fact("setSliceViewerLayers", lambda: layers(background=None))
    manager = slicer.app.layoutManager()
    fact("layoutManager", lambda: manager)
    fact("sliceWidget Red", lambda: manager.sliceWidget("Red"))
    fact("terminologies", lambda: slicer.modules.terminologies.logic())
    fact("resliceDriver/none", lambda: slicer.modules.nosuch)
    fact("hasattr", lambda: hasattr(slicer.modules, "nosuch"))
    fact("moduleNames", lambda: slicer.util.moduleNames())
    name = "slicer.app.moduleManager().module('Volumes')"
    fact(name, lambda: slicer.app.moduleManager().module("Volumes"))
    name = "slicer.modules.volumes.widgetRepresentation()"
    fact(name, lambda: slicer.modules.volumes.widgetRepresentation())
    fact("slicer.modules.probemod.path", lambda: slicer.modules.probemod.path)
    fact("slicer.util.modulePath", lambda: slicer.util.modulePath("ProbeMod"))
    fact("W.resourcePath", lambda: panel.resourcePath("Icons/x.png"))
    fact("W.developerMode", lambda: panel.developerMode)


def _raising(*_arguments):
    raise RuntimeError("expected: an exception in an observer")


def ask_again(fact):
    """Ask about nodes, what they refuse, and arrays of each type."""
    n = _add("vtkMRMLScalarVolumeNode", "v")
    n.AddObserver(vtk.vtkCommand.ModifiedEvent, _raising)
    fact("Modified with raising observer", lambda: n.Modified())
    n.RemoveAllObservers()
    reload_module = slicer.util.reloadScriptedModule
    fact("slicer.util.reloadScriptedModule", lambda: reload_module("ProbeMod"))
    scene = slicer.mrmlScene
    fact("getNode missing", lambda: slicer.util.getNode("nosuch"))
    fact("getFirstNodeByName", lambda: slicer.util.getFirstNodeByName("v").GetID())
    volumes = lambda: slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")  # noqa: E731
    fact("getNodesByClass", lambda: len(volumes()))
    fact("mrmlScene.GetNodeByID('zz')", lambda: scene.GetNodeByID("zz"))
    fact("GetNodeByID(None)", lambda: scene.GetNodeByID(None))
    fact("GetNodeByID('')", lambda: scene.GetNodeByID(""))
    fact("RemoveNode(None)", lambda: scene.RemoveNode(None))
    fact("vtkMRMLNode ==", lambda: scene.GetNodeByID(n.GetID()) == n)
    fact("arrayFromVolume empty", lambda: slicer.util.arrayFromVolume(n))
    fact("n.GetImageData()", lambda: n.GetImageData())
    fact("SetName(None)", lambda: n.SetName(None))
    fact("SetName(3)", lambda: n.SetName(3))
    fact("SetAttribute('a',3)", lambda: n.SetAttribute("a", 3))
    n.SetName("v")
    fact("SetSpacing np", lambda: n.SetSpacing(np.array([1.0, 2.0, 3.0])))
    fact("SetOrigin tuple", lambda: n.SetOrigin((1, 2, 3)))
    matrix = vtk.vtkMatrix4x4()
    fact("SetIJKToRASMatrix", lambda: n.SetIJKToRASMatrix(matrix))
    fact("arrayFromVTKMatrix", lambda: slicer.util.arrayFromVTKMatrix(matrix).shape)
    fact("GetIJKToRASDirections none", lambda: n.GetIJKToRASDirections(vtk.vtkMatrix4x4()))
    _ask_arrays(fact)
    _ask_views(fact)


def _ask_arrays(fact):
    add = slicer.util.addVolumeFromArray
    kind = lambda volume: volume.GetImageData().GetScalarTypeAsString()  # noqa: E731
    fact("volume float32", lambda: kind(add(np.zeros((2, 3, 4), np.float32))))
    for name in ("int64", "bool", "float16"):
        fact(f"volume {name}", lambda name=name: add(np.zeros((2, 3, 4), name)))
    turned = np.zeros((2, 3, 4), np.int16).T
    fact("volume int16 non-contig", lambda: slicer.util.arrayFromVolume(add(turned)).shape)


def _ask_views(fact):
    chart = slicer.util.plot(np.zeros((3, 2)), 0, show=False)
    fact("plots", lambda: chart)
    name = "slicer.modules.plots.logic().ShowChartInLayout"
    fact(name, lambda: slicer.modules.plots.logic().ShowChartInLayout(chart))
    manager = slicer.app.layoutManager()
    four_up = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    fact("setLayout", lambda: manager.setLayout(four_up))
    fact("threeDWidget(0)", lambda: manager.threeDWidget(0).threeDView().renderWindow())
    update = slicer.util.updateTableFromArray
    table = _add("vtkMRMLTableNode")
    fact("updateTableFromArray", lambda: update(table, np.zeros((2, 2))))
    text = _add("vtkMRMLTextNode")
    fact("dict to text", lambda: text.SetText('{"a": 1}'))
    fact("settings dialog", lambda: slicer.app.settingsDialog())
    fact("slicer.app.errorLogModel()", lambda: slicer.app.errorLogModel())
    import logging

    fact("logging", lambda: logging.getLogger().handlers)
    fact("slicer.app.locale", lambda: getattr(slicer.app, "locale", ""))
    fact("tr", lambda: slicer.app.tr("x"))
    fact("finished", lambda: hasattr(qt.QProcess(), "finished"))
    fact("aboutToQuit connect", lambda: slicer.app.connect("aboutToQuit()", lambda: None))
    fact("startupCompleted", lambda: slicer.app.startupCompleted)
    fact("mrmlScene StartClose", lambda: slicer.mrmlScene.StartCloseEvent)
