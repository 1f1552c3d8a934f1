"""Slicer: views of the subject hierarchy and of tables."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from slicer import vtkMRMLScene, vtkMRMLSubjectHierarchyNode

from .mrml import Observed, node_callback
from .properties import stored, with_setters


@with_setters
class qMRMLSubjectHierarchyTreeView(QtWidgets.QTreeView):
    """The items of the subject hierarchy."""

    currentItemChanged = QtCore.Signal("qlonglong")
    currentNodeChanged = QtCore.Signal(object)
    nodeTypes = stored("QStringList", [], "_refresh")
    nameFilter = stored(str, "", "_refresh")
    levelFilter = stored("QStringList", [])
    multiSelection = stored(bool, False)
    noneEnabled = stored(bool, False)
    noneDisplay = stored(str, "")
    showRootItem = stored(bool, False)
    contextMenuEnabled = stored(bool, True)
    editMenuActionVisible = stored(bool, True)
    visibilityColumnVisible = stored(bool, True)
    idColumnVisible = stored(bool, False)
    colorColumnVisible = stored(bool, True)
    transformColumnVisible = stored(bool, True)
    descriptionColumnVisible = stored(bool, False)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._scene: Any = None
        self._observed = Observed(self)
        self._model = QtGui.QStandardItemModel(self)
        self.setModel(self._model)
        self.setHeaderHidden(True)
        self.selectionModel().currentChanged.connect(lambda *_: self._announce())

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self._observed.clear()
        if scene is not None:
            refresh = node_callback(lambda _node: self._refresh())
            self._observed.add(scene, vtkMRMLScene.NodeAddedEvent, refresh)
            self._observed.add(scene, vtkMRMLScene.NodeRemovedEvent, refresh)
        self._refresh()

    def subjectHierarchyNode(self) -> Any:
        return vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)

    def currentItem(self) -> int:
        return self.currentIndex().data(QtCore.Qt.ItemDataRole.UserRole) or 0

    def currentNode(self) -> Any:
        return self.subjectHierarchyNode().GetItemDataNode(self.currentItem())

    def setCurrentItem(self, item_id: int) -> None:
        role = QtCore.Qt.ItemDataRole.UserRole
        flags = QtCore.Qt.MatchFlag.MatchExactly | QtCore.Qt.MatchFlag.MatchRecursive
        found = self._model.match(self._model.index(0, 0), role, item_id, 1, flags)
        self.setCurrentIndex(found[0] if found else QtCore.QModelIndex())

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentItem(self.subjectHierarchyNode().GetItemByDataNode(node))

    def _announce(self) -> None:
        self.currentItemChanged.emit(self.currentItem())
        self.currentNodeChanged.emit(self.currentNode())

    def _refresh(self) -> None:
        self._model.clear()
        if self._scene is not None:
            hierarchy = self.subjectHierarchyNode()
            self._add_children(hierarchy, hierarchy.GetSceneItemID(), self._model)
            self.expandAll()

    def _add_children(self, hierarchy: Any, parent_id: int, parent: Any) -> None:
        children = vtk.vtkIdList()
        hierarchy.GetItemChildren(parent_id, children, False)
        for index in range(children.GetNumberOfIds()):
            item_id = children.GetId(index)
            item = QtGui.QStandardItem(hierarchy.GetItemName(item_id))
            item.setData(item_id, QtCore.Qt.ItemDataRole.UserRole)
            node = hierarchy.GetItemDataNode(item_id)
            self._add_children(hierarchy, item_id, item)
            is_wanted = not self.nodeTypes or any(node and node.IsA(k) for k in self.nodeTypes)
            if item.hasChildren() or is_wanted:
                parent.appendRow(item)


@with_setters
class qMRMLTableView(QtWidgets.QTableView):
    """A table node."""

    mrmlSceneChanged = QtCore.Signal(object)
    firstRowLocked = stored(bool, False)
    firstColumnLocked = stored(bool, False)
    transposed = stored(bool, False)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._scene: Any = None
        self._node: Any = None
        self._observed = Observed(self)
        self._model = QtGui.QStandardItemModel(self)
        self.setModel(self._model)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlTableNode(self) -> Any:
        return self._node

    def setMRMLTableNode(self, node: Any) -> None:
        self._node = node
        self._observed.clear()
        if node is not None:
            self._observed.add(node, vtk.vtkCommand.ModifiedEvent, lambda *_: self._refresh())
        self._refresh()

    def _refresh(self) -> None:
        self._model.clear()
        table = self._node.GetTable() if self._node is not None else None
        if table is None:
            return
        columns = [table.GetColumn(index) for index in range(table.GetNumberOfColumns())]
        self._model.setHorizontalHeaderLabels([column.GetName() or "" for column in columns])
        for row in range(table.GetNumberOfRows()):
            values = [column.GetVariantValue(row).ToString() for column in columns]
            self._model.appendRow([QtGui.QStandardItem(value) for value in values])
