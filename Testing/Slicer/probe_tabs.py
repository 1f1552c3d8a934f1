"""Questions about what training shows: plots, tables, editor, sequences (see probe.py)."""

import numpy as np
import slicer
import vtk


def _add(kind, name=""):
    return slicer.mrmlScene.AddNewNodeByClass(kind, name)


def ask(fact):
    slicer.mrmlScene.Clear(0)
    _ask_buttons(fact)
    table = _ask_tables(fact)
    _ask_plots(fact, table)
    _ask_segment_editor(fact)
    _ask_subject_hierarchy(fact)
    _ask_sequences(fact)
    _ask_dicom(fact)
    slicer.mrmlScene.Clear(0)


def _ask_buttons(fact):
    show = slicer.qMRMLSegmentationShow3DButton()
    fact("Show3DButton.menu", lambda: show.menu() is not None)
    fact("Show3DButton.checkable", lambda: show.checkable)


def _ask_tables(fact):
    table = _add("vtkMRMLTableNode", "T")
    fact("table.AddColumn", lambda: table.AddColumn(vtk.vtkFloatArray()).GetClassName())
    fact("table.GetNumberOfColumns", lambda: table.GetNumberOfColumns())
    fact("table.RenameColumn", lambda: table.RenameColumn(0, "loss"))
    fact("table.AddEmptyRow", lambda: [table.AddEmptyRow() for _ in range(3)])
    fact("table.SetCellText", lambda: table.SetCellText(1, 0, "0.5"))
    fact("table.GetCellText", lambda: table.GetCellText(1, 0))
    fact("table.GetColumnIndex", lambda: table.GetColumnIndex("loss"))
    fact(
        "table.SetUseColumnTitleAsColumnHeader", lambda: table.SetUseColumnTitleAsColumnHeader(True)
    )
    fact("table.SetColumnTitle", lambda: table.SetColumnTitle("loss", "Loss"))
    fact(
        "updateTableFromArray",
        lambda: slicer.util.updateTableFromArray(
            _add("vtkMRMLTableNode", "U"), np.array([[1.0, 3.0], [2.0, 4.0]]), ["a", "b"]
        ).GetName(),
    )
    fact(
        "arrayFromTableColumn",
        lambda: slicer.util.arrayFromTableColumn(slicer.util.getNode("U"), "b").tolist(),
    )
    view = slicer.qMRMLTableView()
    fact("TableView.setMRMLTableNode", lambda: view.setMRMLTableNode(table))
    fact("TableView.mrmlTableNode", lambda: view.mrmlTableNode() is table)
    fact("TableView.transposed", lambda: view.transposed)
    return table


def _ask_plots(fact, table):
    series = _add("vtkMRMLPlotSeriesNode", "loss")
    fact("series.SetAndObserveTableNodeID", lambda: series.SetAndObserveTableNodeID(table.GetID()))
    fact("series.SetYColumnName", lambda: series.SetYColumnName("loss"))
    fact("series.SetPlotType", lambda: series.SetPlotType(series.PlotTypeLine))
    fact("series.SetMarkerStyle", lambda: series.SetMarkerStyle(series.MarkerStyleNone))
    fact("series.SetUniqueColor", lambda: series.SetUniqueColor())
    chart = _add("vtkMRMLPlotChartNode", "chart")
    fact(
        "chart.AddAndObservePlotSeriesNodeID",
        lambda: chart.AddAndObservePlotSeriesNodeID(series.GetID()),
    )
    fact("chart.GetNumberOfPlotSeriesNodes", lambda: chart.GetNumberOfPlotSeriesNodes())
    fact("chart.SetTitle", lambda: chart.SetTitle("Loss"))
    fact("chart.SetXAxisTitle", lambda: chart.SetXAxisTitle("step"))
    fact("chart.SetYAxisLogScale", lambda: chart.SetYAxisLogScale(True))
    logic = slicer.modules.plots.logic()
    fact("plots logic ShowChartInLayout", lambda: logic.ShowChartInLayout(chart))
    fact("layout of plots", lambda: slicer.app.layoutManager().layout)
    fact("plotViewCount", lambda: slicer.app.layoutManager().plotViewCount)
    fact("plotWidget", lambda: slicer.app.layoutManager().plotWidget(0).className())
    fact(
        "plotView.fitToContent",
        lambda: slicer.app.layoutManager().plotWidget(0).plotView().fitToContent(),
    )
    four_up = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    fact("setLayout back", lambda: slicer.app.layoutManager().setLayout(four_up))


def _ask_segment_editor(fact):
    make = getattr(slicer, "qMRMLSegmentEditorWidget", lambda: None)  # the stand-in has none
    editor = make()
    fact("editor.setMRMLScene", lambda: editor.setMRMLScene(slicer.mrmlScene))
    node = _add("vtkMRMLSegmentEditorNode")
    fact("editor.setMRMLSegmentEditorNode", lambda: editor.setMRMLSegmentEditorNode(node))
    fact(
        "editor.availableEffectNames has Paint",
        lambda: {"Paint", "Threshold", "Islands", "Smoothing"} <= {*editor.availableEffectNames()},
    )
    fact("editor.activeEffect", lambda: editor.activeEffect())
    fact("editor.setActiveEffectByName", lambda: editor.setActiveEffectByName("Threshold"))
    segmentation = _add("vtkMRMLSegmentationNode", "S")
    fact("editor.setSegmentationNode", lambda: editor.setSegmentationNode(segmentation))
    fact("editor.setSourceVolumeNode", lambda: editor.setSourceVolumeNode(None))
    fact("editor.segmentationNode", lambda: editor.segmentationNode() is segmentation)
    fact("editor.currentSegmentID", lambda: editor.currentSegmentID())
    fact("editor.undoEnabled", lambda: editor.undoEnabled)
    fact(
        "node.SetMaskMode",
        lambda: node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere),
    )
    fact("node.SetOverwriteMode", lambda: node.SetOverwriteMode(node.OverwriteNone))
    fact(
        "segment status",
        lambda: slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(slicer.vtkSegment()),
    )
    fact(
        "segment status set",
        lambda: slicer.vtkSlicerSegmentationsModuleLogic.SetSegmentStatus(
            slicer.vtkSegment(), slicer.vtkSlicerSegmentationsModuleLogic.Completed
        ),
    )
    fact("editor.setMRMLScene(None)", lambda: editor.setMRMLScene(None))


def _ask_subject_hierarchy(fact):
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    fact("sh.GetSceneItemID", lambda: tree.GetSceneItemID() != 0)
    folder = tree.CreateFolderItem(tree.GetSceneItemID(), "cases")
    fact("sh.GetItemName", lambda: tree.GetItemName(folder))
    fact("sh.GetItemLevel", lambda: tree.GetItemLevel(folder))
    volume = _add("vtkMRMLScalarVolumeNode", "V")
    item = tree.GetItemByDataNode(volume)
    fact("sh.GetItemByDataNode", lambda: item != 0)
    fact("sh.SetItemParent", lambda: tree.SetItemParent(item, folder))
    fact("sh.GetItemParent", lambda: tree.GetItemParent(item) == folder)
    fact("sh.GetItemOwnerPluginName", lambda: tree.GetItemOwnerPluginName(item))
    fact("sh.SetItemAttribute", lambda: tree.SetItemAttribute(item, "MISFM.case", "1"))
    fact("sh.GetItemAttribute", lambda: tree.GetItemAttribute(item, "MISFM.case"))


def _ask_sequences(fact):
    sequence = _add("vtkMRMLSequenceNode", "Q")
    volume = _add("vtkMRMLScalarVolumeNode", "W")
    fact(
        "sequence.SetDataNodeAtValue",
        lambda: sequence.SetDataNodeAtValue(volume, "0").GetClassName(),
    )
    fact("sequence.GetNumberOfDataNodes", lambda: sequence.GetNumberOfDataNodes())
    browser = _add("vtkMRMLSequenceBrowserNode", "B")
    fact(
        "browser.SetAndObserveMasterSequenceNodeID",
        lambda: browser.SetAndObserveMasterSequenceNodeID(sequence.GetID()),
    )
    fact("browser.GetNumberOfItems", lambda: browser.GetNumberOfItems())
    fact("browser.SetSelectedItemNumber", lambda: browser.SetSelectedItemNumber(0))
    fact("browser.GetProxyNode", lambda: browser.GetProxyNode(sequence).GetClassName())
    fact("sequences.logic", lambda: slicer.modules.sequences.logic().GetClassName())


def _ask_dicom(fact):
    fact("DICOMLib", lambda: __import__("DICOMLib").DICOMUtils.__name__)
    fact("dicomDatabase.isOpen", lambda: slicer.dicomDatabase.isOpen)
    fact("dicomDatabase.patients", lambda: len(slicer.dicomDatabase.patients()))
    fact("dicomDatabase.fileForInstance", lambda: slicer.dicomDatabase.fileForInstance("1.2"))
    fact("modules.dicomPlugins", lambda: "DICOMScalarVolumePlugin" in slicer.modules.dicomPlugins)
