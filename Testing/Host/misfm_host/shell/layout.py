"""The layout manager: which views are shown."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from ..widgets.item_views import qMRMLTableView
from ..widgets.mrml import Observed
from .scene import Scene
from .view_widgets import qMRMLSliceWidget, qMRMLThreeDWidget
from .views import register_displayable_managers


class qMRMLTableWidget(QtWidgets.QWidget):
    """A table in the view area."""

    def __init__(self, view_node: Any):
        super().__init__()
        self._view = qMRMLTableView()
        QtWidgets.QVBoxLayout(self).addWidget(self._view)
        self._view_node = view_node
        self._observed = Observed(self)
        self._observed.add(view_node, vtk.vtkCommand.ModifiedEvent, lambda *_: self._refresh())

    def tableView(self) -> qMRMLTableView:
        return self._view

    def _refresh(self) -> None:
        self._view.setMRMLTableNode(self._view_node.GetTableNode())


class qMRMLPlotWidget(QtWidgets.QLabel):
    """The place of a plot; the host does not draw plots."""

    def __init__(self, _view_node: Any):
        super().__init__("plot view")


class qSlicerLayoutManager(QtCore.QObject):
    """Arranges the views that the scene's layout node asks for."""

    layoutChanged = QtCore.Signal(int)

    def __init__(self, scene: Scene, viewport: QtWidgets.QWidget):
        super().__init__()
        self._scene = scene
        self._viewport = viewport
        self._grid = QtWidgets.QGridLayout(viewport)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(2)
        self._widgets: dict[str, QtWidgets.QWidget] = {}
        self._arranged: list[str] = []
        self._observed = Observed(self)
        register_displayable_managers()
        scene.node.AddObserver(scene.node.EndCloseEvent, lambda *_: self._watch_layout())
        self._watch_layout()
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def _layout_node(self) -> Any:
        return self._scene.layout_logic.GetLayoutNode()

    def _watch_layout(self) -> None:
        self._observed.clear()
        self._observed.add(
            self._layout_node(), vtk.vtkCommand.ModifiedEvent, lambda *_: self._arrange()
        )
        self._arrange()

    def _get_layout(self) -> int:
        return int(self._layout_node().GetViewArrangement())

    def setLayout(self, layout: int) -> None:
        self._layout_node().SetViewArrangement(layout)

    layout = QtCore.Property(int, _get_layout, setLayout)

    def _arrange(self) -> None:
        collection = self._scene.layout_logic.GetViewNodes()
        nodes = [collection.GetItemAsObject(i) for i in range(collection.GetNumberOfItems())]
        wanted = [node.GetID() for node in nodes]
        if wanted == self._arranged:
            return
        self._arranged = wanted
        for widget in self._widgets.values():
            self._grid.removeWidget(widget)
            widget.hide()
        for place, node in enumerate(nodes):
            widget = self._widget(node)
            self._grid.addWidget(widget, place // 2, place % 2)
            widget.show()
        self.layoutChanged.emit(self._get_layout())

    def _widget(self, node: Any) -> QtWidgets.QWidget:
        if node.GetID() not in self._widgets:
            logic = self._scene.application_logic
            if node.IsA("vtkMRMLSliceNode"):
                widget: QtWidgets.QWidget = qMRMLSliceWidget(node, logic)
            elif node.IsA("vtkMRMLViewNode"):
                widget = qMRMLThreeDWidget(node)
            elif node.IsA("vtkMRMLTableViewNode"):
                widget = qMRMLTableWidget(node)
            else:
                widget = qMRMLPlotWidget(node)
            self._widgets[node.GetID()] = widget
        return self._widgets[node.GetID()]

    def _shown(self, kind: type) -> list[Any]:
        return [w for id_ in self._arranged if isinstance(w := self._widgets[id_], kind)]

    def _count(self, kind: type) -> int:
        return len(self._shown(kind))

    threeDViewCount = QtCore.Property(int, lambda self: self._count(qMRMLThreeDWidget))
    tableViewCount = QtCore.Property(int, lambda self: self._count(qMRMLTableWidget))
    plotViewCount = QtCore.Property(int, lambda self: self._count(qMRMLPlotWidget))

    def viewport(self) -> QtWidgets.QWidget:
        return self._viewport

    def mrmlScene(self) -> Any:
        return self._scene.node

    def sliceViewNames(self) -> list[str]:
        slices = [w for w in self._widgets.values() if isinstance(w, qMRMLSliceWidget)]
        return [w.mrmlSliceNode().GetLayoutName() for w in slices]

    def sliceWidget(self, name: str) -> qMRMLSliceWidget | None:
        node_id = f"vtkMRMLSliceNode{name}"
        widget = self._widgets.get(node_id)
        return widget if isinstance(widget, qMRMLSliceWidget) else None

    def threeDWidget(self, index: int) -> qMRMLThreeDWidget | None:
        return _item(self._shown(qMRMLThreeDWidget), index)

    def tableWidget(self, index: int) -> qMRMLTableWidget | None:
        return _item(self._shown(qMRMLTableWidget), index)

    def plotWidget(self, index: int) -> qMRMLPlotWidget | None:
        return _item(self._shown(qMRMLPlotWidget), index)

    def mrmlSliceLogics(self) -> Any:
        return self._scene.application_logic.GetSliceLogics()

    def layoutLogic(self) -> Any:
        return self._scene.layout_logic

    def resetThreeDViews(self) -> None:
        for widget in self._shown(qMRMLThreeDWidget):
            widget.threeDView().resetCamera()

    def resetSliceViews(self) -> None:
        for widget in self._shown(qMRMLSliceWidget):
            widget.fitSliceToBackground()


def _item(items: list[Any], index: int) -> Any:
    return items[index] if 0 <= index < len(items) else None
