"""Slicer: widgets that show a MRML scene."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtCore, QtWidgets
from slicer import vtkMRMLScene

from .properties import stored, with_setters


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that passes its scene on."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class Observed:
    """The observations of VTK objects that a widget holds; dropped with the widget."""

    def __init__(self, owner: QtCore.QObject):
        self._held: list[tuple[Any, int]] = []
        owner.destroyed.connect(lambda: self.clear())

    def add(self, subject: Any, event: Any, callback: Any) -> None:
        """Observe an event."""
        self._held.append((subject, subject.AddObserver(event, callback)))

    def clear(self) -> None:
        """Stop observing."""
        for subject, tag in self._held:
            subject.RemoveObserver(tag)
        self._held.clear()


def node_callback(function: Any) -> Any:
    """Return a VTK callback that gets the node of a scene event."""

    def callback(_caller: Any, _event: str, node: Any) -> None:
        function(node)

    callback.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
    return callback


class qMRMLSortFilterProxyModel(QtCore.QObject):
    """Which nodes a selector leaves out."""

    def __init__(self, selector: qMRMLNodeComboBox):
        super().__init__(selector)
        self._selector = selector

    def _changed(self) -> None:
        self._selector._refresh()

    hiddenNodeIDs = stored("QStringList", [], "_changed")


@with_setters
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Choose a node of the scene."""

    currentNodeChanged = QtCore.Signal((object,), (bool,))
    currentNodeIDChanged = QtCore.Signal(str)
    nodeActivated = QtCore.Signal(object)
    nodeAdded = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    nodeAboutToBeRemoved = QtCore.Signal(object)
    nodeAboutToBeEdited = QtCore.Signal(object)
    currentNodeRenamed = QtCore.Signal(str)

    nodeTypes = stored("QStringList", [], "_refresh")
    hideChildNodeTypes = stored("QStringList", [], "_refresh")
    showHidden = stored(bool, False, "_refresh")
    showChildNodeTypes = stored(bool, True, "_refresh")
    noneEnabled = stored(bool, False, "_refresh")
    noneDisplay = stored(str, "None", "_refresh")
    addEnabled = stored(bool, True)
    removeEnabled = stored(bool, True)
    editEnabled = stored(bool, False)
    renameEnabled = stored(bool, False)
    selectNodeUponCreation = stored(bool, True)
    baseName = stored(str, "")
    interactionNodeSingletonTag = stored(str, "")
    sizeAdjustPolicy = stored(int, 0)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._scene: Any = None
        self._current: Any = None
        self._listed: list[Any] = []
        self._attributes: dict[tuple[str, str], Any] = {}
        self._labels: dict[str, str] = {}
        self._observed = Observed(self)
        self._renames = Observed(self)
        self._combo = QtWidgets.QComboBox()
        self._combo.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed
        )
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._activated)
        self._filter = qMRMLSortFilterProxyModel(self)

    def sortFilterProxyModel(self) -> QtCore.QObject:
        return self._filter

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._scene = scene
        self._observed.clear()
        if scene is not None:
            self._observed.add(scene, vtkMRMLScene.NodeAddedEvent, node_callback(self._added))
            self._observed.add(scene, vtkMRMLScene.NodeRemovedEvent, node_callback(self._removed))
            for event in (vtkMRMLScene.EndCloseEvent, vtkMRMLScene.EndBatchProcessEvent):
                self._observed.add(scene, event, lambda *_: self._refresh())
        self._refresh()

    def addAttribute(self, nodeType: str, name: str, value: Any = None) -> None:
        self._attributes[nodeType, name] = value
        self._refresh()

    def removeAttribute(self, nodeType: str, name: str) -> None:
        """Undo `addAttribute`."""
        self._attributes.pop((nodeType, name), None)
        self._refresh()

    def setNodeTypeLabel(self, label: str, nodeType: str) -> None:
        """Name a class in the menu."""
        self._labels[nodeType] = label

    def nodeTypeLabel(self, nodeType: str) -> str:
        return self._labels.get(nodeType, nodeType)

    def currentNode(self) -> Any:
        return self._current

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def setCurrentNode(self, node: Any) -> None:
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node) if self._scene else None
        if node is not None and node not in self._nodes():
            node = None
        self._select(node)

    def setCurrentNodeID(self, node_id: str) -> None:
        self.setCurrentNode(node_id)

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    def _current_id(self) -> str:
        return self._current.GetID() if self._current is not None else ""

    currentNodeID = QtCore.Property(str, _current_id, setCurrentNodeID)
    currentNodeId = QtCore.Property(str, _current_id, setCurrentNodeID)

    def addNode(self, nodeType: str = "") -> Any:
        """Add a node, as the menu does."""
        kind = nodeType or self.nodeTypes[0]
        name = self.baseName or self._scene.GetTagByClassName(kind)
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(name))
        self.nodeAddedByUser.emit(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        return node

    def removeCurrentNode(self) -> None:
        """Remove the chosen node from the scene."""
        self._scene.RemoveNode(self._current)

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        nodes = (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes()))
        return [node for node in nodes if self._is_listed(node)]

    def _is_listed(self, node: Any) -> bool:
        kinds = [kind for kind in self.nodeTypes if self._has_kind(node, kind)]
        if not kinds or any(node.IsA(kind) for kind in self.hideChildNodeTypes):
            return False
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if node.GetID() in self._filter.hiddenNodeIDs:
            return False
        wanted = {name: value for (kind, name), value in self._attributes.items() if kind in kinds}
        return all(
            node.GetAttribute(name) is not None
            and (value is None or node.GetAttribute(name) == str(value))
            for name, value in wanted.items()
        )

    def _has_kind(self, node: Any, kind: str) -> bool:
        return node.IsA(kind) if self.showChildNodeTypes else node.GetClassName() == kind

    def _added(self, node: Any) -> None:
        if node is None or not self._is_listed(node):
            return
        self._refresh()
        self.nodeAdded.emit(node)

    def _removed(self, node: Any) -> None:
        if node is not None and node is self._current:
            self.nodeAboutToBeRemoved.emit(node)
        if node in self._listed:
            self._refresh()

    def _refresh(self) -> None:
        """List the nodes; without a "none" entry some node is always chosen."""
        nodes = self._nodes()
        self._renames.clear()
        for node in nodes:
            self._renames.add(node, vtk.vtkCommand.ModifiedEvent, self._renamed)
        current = self._current if self._current in nodes else None
        if current is None and nodes and not self.noneEnabled:
            current = nodes[0]
        self._fill(nodes, current)
        self._select(current)

    def _renamed(self, node: Any, _event: str) -> None:
        nodes = self._nodes()
        if node in nodes:
            self._combo.setItemText(nodes.index(node) + self.noneEnabled, node.GetName())

    def _fill(self, nodes: list[Any], current: Any) -> None:
        self._listed = nodes
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay)
        self._combo.addItems([node.GetName() or "" for node in nodes])
        index = nodes.index(current) + self.noneEnabled if current is not None else 0
        self._combo.setCurrentIndex(index if self._combo.count() else -1)

    def _activated(self, index: int) -> None:
        self._select(self.nodeFromIndex(index - self.noneEnabled))
        self.nodeActivated.emit(self._current)

    def _select(self, node: Any) -> None:
        if node is self._current:
            return
        self._current = node
        self._fill(self._nodes(), node)
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)
        self.currentNodeIDChanged.emit(self._current_id())
