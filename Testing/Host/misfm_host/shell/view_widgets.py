"""Slice and 3D views with the bar above them."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from ..widgets.mrml import Observed
from .views import qMRMLSliceView, qMRMLThreeDView

# Slice view -> label, colour, orientation.
_SLICES = {
    "Red": ("R", (0.953, 0.290, 0.200), "Axial"),
    "Green": ("G", (0.431, 0.690, 0.294), "Coronal"),
    "Yellow": ("Y", (0.929, 0.835, 0.298), "Sagittal"),
}


class qMRMLSliceWidget(QtWidgets.QWidget):
    """A slice view below its bar with name and offset."""

    def __init__(self, slice_node: Any, application_logic: Any):
        super().__init__()
        name = slice_node.GetLayoutName()
        self.setObjectName("qMRMLSliceWidget" + name)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        application_logic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(slice_node.GetScene())
        _label(slice_node)
        self._logic.SetSliceNode(slice_node)
        self._view = qMRMLSliceView(self._logic)
        self._offset = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._offset.valueChanged.connect(lambda v: self._logic.SetSliceOffset(v / 10))
        colour = QtGui.QColor.fromRgbF(*slice_node.GetLayoutColor()).name()
        self._bar = _bar(slice_node.GetLayoutLabel(), colour, self._offset)
        _stack(self, self._bar, self._view)
        self._observed = Observed(self)
        self._observed.add(self._logic, vtk.vtkCommand.ModifiedEvent, lambda *_: self._update_bar())

    def sliceView(self) -> qMRMLSliceView:
        return self._view

    def viewWidget(self) -> qMRMLSliceView:
        return self._view

    def sliceController(self) -> QtWidgets.QWidget:
        return self._bar

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def interactorStyle(self) -> Any:
        return self._view.interactorStyle()

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()

    def _update_bar(self) -> None:
        bounds = [0.0] * 6
        self._logic.GetLowestVolumeSliceBounds(bounds)
        with QtCore.QSignalBlocker(self._offset):
            self._offset.setRange(int(bounds[4] * 10), int(bounds[5] * 10))
            self._offset.setValue(int(self._logic.GetSliceOffset() * 10))


class qMRMLThreeDWidget(QtWidgets.QWidget):
    """A 3D view below its bar."""

    def __init__(self, view_node: Any):
        super().__init__()
        self.setObjectName("ThreeDWidget" + view_node.GetLayoutName())
        self._view = qMRMLThreeDView(view_node)
        self._bar = _bar(view_node.GetLayoutLabel(), "#74b0d6", QtWidgets.QWidget())
        _stack(self, self._bar, self._view)

    def threeDView(self) -> qMRMLThreeDView:
        return self._view

    def viewWidget(self) -> qMRMLThreeDView:
        return self._view

    def threeDController(self) -> QtWidgets.QWidget:
        return self._bar

    def mrmlViewNode(self) -> Any:
        return self._view.mrmlViewNode()


def _bar(text: str, colour: str, control: QtWidgets.QWidget) -> QtWidgets.QWidget:
    bar = QtWidgets.QWidget()
    bar.setFixedHeight(22)
    bar.setAutoFillBackground(True)
    bar.setStyleSheet(f".QWidget {{ background: {colour}; }}")
    label = QtWidgets.QLabel(text)
    label.setStyleSheet("color: black; font-weight: bold;")
    layout = QtWidgets.QHBoxLayout(bar)
    layout.setContentsMargins(6, 0, 6, 0)
    layout.addWidget(label)
    layout.addWidget(control, 1)
    return bar


def _stack(widget: QtWidgets.QWidget, bar: QtWidgets.QWidget, view: QtWidgets.QWidget) -> None:
    layout = QtWidgets.QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    layout.addWidget(bar)
    layout.addWidget(view, 1)


def _label(node: Any) -> None:
    label, colour, orientation = _SLICES.get(node.GetLayoutName(), ("", (0.5, 0.5, 0.5), "Axial"))
    node.SetLayoutLabel(label)
    node.SetLayoutColor(*colour)
    node.SetOrientation(orientation)
