"""Slicer: widgets for segmentations."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from slicer import vtkSegmentationConverter

from ..pythonqt import runtime
from .mrml import Observed, qMRMLNodeComboBox, qMRMLWidget
from .properties import stored, with_setters

_SEGMENTATION_EVENTS = (
    "SegmentAdded",
    "SegmentRemoved",
    "SegmentModified",
    "SegmentsOrderModified",
)


def _observe_segments(observed: Observed, node: Any, callback: Any) -> None:
    observed.clear()
    if node is None:
        return
    segmentation = node.GetSegmentation()
    for event in _SEGMENTATION_EVENTS:
        observed.add(segmentation, getattr(segmentation, event), callback)


def _segment_ids(node: Any) -> list[str]:
    return list(node.GetSegmentation().GetSegmentIDs()) if node is not None else []


@with_setters
class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """Choose a segmentation and one of its segments."""

    currentNodeChanged = QtCore.Signal((object,), (bool,))
    currentSegmentChanged = QtCore.Signal(str)
    segmentSelectionChanged = QtCore.Signal("QStringList")
    noneEnabled = stored(bool, False, "_refresh")
    editEnabled = stored(bool, False)
    segmentationNodeSelectorVisible = stored(bool, True, "_refresh")
    multiSelection = stored(bool, False)
    horizontalLayout = stored(bool, False)
    selectNodeUponCreation = stored(bool, True)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._observed = Observed(self)
        self._nodes = qMRMLNodeComboBox()
        self._nodes.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._nodes.noneEnabled = True
        self._segments = QtWidgets.QComboBox()
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._nodes)
        layout.addWidget(self._segments)
        self.mrmlSceneChanged.connect(self._nodes.setMRMLScene)
        self._nodes.currentNodeChanged[object].connect(self._node_changed)
        self._segments.currentIndexChanged.connect(
            lambda _: self.currentSegmentChanged.emit(self.currentSegmentID())
        )

    def currentNode(self) -> Any:
        return self._nodes.currentNode()

    def currentNodeID(self) -> str:
        return self._nodes.currentNodeID

    def setCurrentNode(self, node: Any) -> None:
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, node_id: str) -> None:
        self._nodes.setCurrentNodeID(node_id)

    def segmentIDs(self) -> list[str]:
        return _segment_ids(self.currentNode())

    def currentSegmentID(self) -> str:
        return self._segments.currentData() or ""

    def setCurrentSegmentID(self, segment_id: str) -> None:
        self._segments.setCurrentIndex(max(0, self._segments.findData(segment_id)))

    def selectedSegmentIDs(self) -> list[str]:
        return [self.currentSegmentID()] if self.currentSegmentID() else []

    def _node_changed(self, node: Any) -> None:
        _observe_segments(self._observed, node, lambda *_: self._refresh())
        self._refresh()
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)

    def _refresh(self) -> None:
        chosen = self.currentSegmentID()
        self._nodes.setVisible(self.segmentationNodeSelectorVisible)
        with QtCore.QSignalBlocker(self._segments):
            self._segments.clear()
            if self.noneEnabled:
                self._segments.addItem("None", "")
            for segment_id in self.segmentIDs():
                segment = self.currentNode().GetSegmentation().GetSegment(segment_id)
                self._segments.addItem(segment.GetName(), segment_id)
            self._segments.setCurrentIndex(max(0, self._segments.findData(chosen)))
        if self.currentSegmentID() != chosen:
            self.currentSegmentChanged.emit(self.currentSegmentID())


@with_setters
class qMRMLSegmentsTableView(qMRMLWidget):
    """The segments of a segmentation: visibility, colour, name."""

    selectionChanged = QtCore.Signal(QtCore.QItemSelection, QtCore.QItemSelection)
    segmentAboutToBeModified = QtCore.Signal(str)
    selectionMode = stored(int, 3)
    headerVisible = stored(bool, True, "_refresh")
    visibilityColumnVisible = stored(bool, True, "_refresh")
    colorColumnVisible = stored(bool, True, "_refresh")
    opacityColumnVisible = stored(bool, True)
    statusColumnVisible = stored(bool, False)
    layerColumnVisible = stored(bool, False)
    readOnly = stored(bool, False)
    filterBarVisible = stored(bool, False)
    textFilter = stored(str, "", "_refresh")
    jumpToSelectedSegmentEnabled = stored(bool, False)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._node: Any = None
        self._observed = Observed(self)
        self._table = QtWidgets.QTableWidget(0, 3)
        self._table.setHorizontalHeaderLabels(["", "", "Name"])
        self._table.verticalHeader().hide()
        self._table.setSelectionBehavior(QtWidgets.QTableWidget.SelectionBehavior.SelectRows)
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setColumnWidth(0, 28)
        self._table.setColumnWidth(1, 28)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.itemChanged.connect(self._item_changed)
        self._table.selectionModel().selectionChanged.connect(self.selectionChanged)

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        self._node = node
        _observe_segments(self._observed, node, lambda *_: self._refresh())
        self._refresh()

    def tableWidget(self) -> QtWidgets.QTableView:
        return self._table

    def _count(self) -> int:
        return len(_segment_ids(self._node))

    segmentCount = QtCore.Property(int, _count)

    def displayedSegmentIDs(self) -> list[str]:
        role = QtCore.Qt.ItemDataRole.UserRole
        return [self._table.item(row, 2).data(role) for row in range(self._table.rowCount())]

    def selectedSegmentIDs(self) -> list[str]:
        rows = {index.row() for index in self._table.selectionModel().selectedRows()}
        return [id_ for row, id_ in enumerate(self.displayedSegmentIDs()) if row in rows]

    def setSelectedSegmentIDs(self, segment_ids: list[str]) -> None:
        self._table.clearSelection()
        for row, id_ in enumerate(self.displayedSegmentIDs()):
            if id_ in segment_ids:
                self._table.selectRow(row)

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def _refresh(self) -> None:
        chosen = self.selectedSegmentIDs()
        with QtCore.QSignalBlocker(self._table):
            self._table.horizontalHeader().setVisible(self.headerVisible)
            self._table.setColumnHidden(0, not self.visibilityColumnVisible)
            self._table.setColumnHidden(1, not self.colorColumnVisible)
            self._table.setRowCount(0)
            for segment_id in _segment_ids(self._node):
                self._add_row(segment_id)
        self.setSelectedSegmentIDs(chosen)

    def _add_row(self, segment_id: str) -> None:
        segment = self._node.GetSegmentation().GetSegment(segment_id)
        if self.textFilter.lower() not in segment.GetName().lower():
            return
        row = self._table.rowCount()
        self._table.insertRow(row)
        display = self._node.GetDisplayNode()
        shown = display is None or display.GetSegmentVisibility(segment_id)
        eye = QtWidgets.QTableWidgetItem()
        state = QtCore.Qt.CheckState
        eye.setCheckState(state.Checked if shown else state.Unchecked)
        colour = QtWidgets.QTableWidgetItem()
        colour.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
        name = QtWidgets.QTableWidgetItem(segment.GetName())
        name.setData(QtCore.Qt.ItemDataRole.UserRole, segment_id)
        for column, item in enumerate((eye, colour, name)):
            self._table.setItem(row, column, item)

    def _item_changed(self, item: QtWidgets.QTableWidgetItem) -> None:
        segment_id = self.displayedSegmentIDs()[item.row()]
        if item.column() == 0 and self._node.GetDisplayNode() is not None:
            checked = item.checkState() == QtCore.Qt.CheckState.Checked
            self._node.GetDisplayNode().SetSegmentVisibility(segment_id, checked)
        elif item.column() == 2 and not self.readOnly:
            self.segmentAboutToBeModified.emit(segment_id)
            self._node.GetSegmentation().GetSegment(segment_id).SetName(item.text())


@with_setters
class qMRMLSegmentationShow3DButton(QtWidgets.QPushButton):
    """Make and show the surfaces of a segmentation."""

    locked = stored(bool, False)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._node: Any = None
        self._menu = QtWidgets.QMenu(self)
        self.setText("Show 3D")
        self.setCheckable(True)
        self.setEnabled(False)
        self.toggled.connect(self._toggled)

    def menu(self) -> QtWidgets.QMenu:
        return self._menu

    def click(self) -> None:
        """Open the menu, as in Slicer; only the mouse, in the wide part, shows the surfaces."""
        runtime.dialogs.run_static("QMenu", (), lambda: None)

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        self._node = node
        self.setEnabled(node is not None)
        surface = vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        with QtCore.QSignalBlocker(self):
            self.setChecked(bool(node and node.GetSegmentation().ContainsRepresentation(surface)))

    def _toggled(self, checked: bool) -> None:
        if checked:
            self._node.CreateClosedSurfaceRepresentation()
        else:
            self._node.RemoveClosedSurfaceRepresentation()


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """The place of the Segment Editor; the host has no effects."""

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._node: Any = None
        self._segmentation: Any = None
        self._volume: Any = None
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(QtWidgets.QLabel("Segment Editor"))

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self._node = node

    def mrmlSegmentEditorNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        self._segmentation = node

    def segmentationNode(self) -> Any:
        return self._segmentation

    def setSourceVolumeNode(self, node: Any) -> None:
        self._volume = node

    def sourceVolumeNode(self) -> Any:
        return self._volume

    def setActiveEffect(self, effect: Any) -> None:
        assert effect is None, "the host has no effects"

    def removeViewObservations(self) -> None:
        """Nothing is observed."""

    def installKeyboardShortcuts(self, parent: QtWidgets.QWidget | None = None) -> None:
        """There is nothing to choose."""
