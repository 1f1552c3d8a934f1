"""Slice and 3D views: VTK renders offscreen, a Qt widget paints the picture.

So a screenshot of the window holds the views, with or without a display.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from ..widgets.mrml import Observed

_BUTTONS = {
    QtCore.Qt.MouseButton.LeftButton: "LeftButton",
    QtCore.Qt.MouseButton.RightButton: "RightButton",
    QtCore.Qt.MouseButton.MiddleButton: "MiddleButton",
}


_IN_ALL_VIEWS = (
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
_IN_SLICE_VIEWS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLTransformsDisplayableManager2D",
)
_IN_3D_VIEWS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLTransformsDisplayableManager3D",
)


def register_displayable_managers() -> None:
    """Say which objects draw nodes in which views; before the first view is made."""
    slices = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    for name in (*_IN_ALL_VIEWS, *_IN_SLICE_VIEWS):
        slices.RegisterDisplayableManager(name)
    three_d = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
    for name in (*_IN_ALL_VIEWS, *_IN_3D_VIEWS):
        three_d.RegisterDisplayableManager(name)


class RenderView(QtWidgets.QWidget):
    """A VTK render window in a Qt widget."""

    def __init__(self, factory: Any, style: Any, view_node: Any):
        super().__init__()
        self.setMinimumSize(120, 120)
        self._renderer = vtk.vtkRenderer()
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        self._window.SetMultiSamples(0)  # smooth edges take ten times as long without a GPU
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.EnableRenderOff()
        self._style = style
        self._observed = Observed(self)
        self._picture = QtGui.QImage()
        self._is_stale = True
        self._pauses = 0
        application = QtCore.QCoreApplication.instance()
        application.renderPaused.connect(self.setRenderPaused)  # type: ignore[union-attr]
        self._managers = factory.InstantiateDisplayableManagers(self._renderer)
        self._managers.SetMRMLDisplayableNode(view_node)
        self._style.SetDisplayableManagers(self._managers)
        self._style.SetInteractor(self._interactor)
        self._interactor.Initialize()
        self._observed.add(self._managers, "UpdateEvent", lambda *_: self.scheduleRender())

    def renderWindow(self) -> Any:
        return self._window

    def interactor(self) -> Any:
        return self._interactor

    def interactorStyle(self) -> Any:
        return self._style

    def scheduleRender(self) -> None:
        """Render when Qt paints next."""
        self._is_stale = True
        self.update()

    def forceRender(self) -> None:
        """Render now."""
        self._render()
        self.update()

    def setRenderPaused(self, pause: bool) -> None:
        """Keep the picture that there is, until as many calls have ended it."""
        self._pauses += 1 if pause else -1
        self.update()

    def getDisplayableManagers(self, collection: Any) -> None:
        """Collect the objects that draw the nodes."""
        for index in range(self._managers.GetDisplayableManagerCount()):
            collection.AddItem(self._managers.GetNthDisplayableManager(index))

    def _render(self) -> None:
        size = self.size()
        self._window.SetSize(size.width(), size.height())
        self._interactor.SetSize(size.width(), size.height())
        self._window.Render()
        pixels = vtk.vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, size.width() - 1, size.height() - 1, 0, pixels, 0)
        array = vtk_to_numpy(pixels).reshape(size.height(), size.width(), 3)[::-1].copy()
        rgb = QtGui.QImage.Format.Format_RGB888
        picture = QtGui.QImage(array.data, size.width(), size.height(), 3 * size.width(), rgb)
        self._picture = picture.copy()
        self._is_stale = False

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        if self._is_stale and self._pauses <= 0:
            self._render()
        QtGui.QPainter(self).drawImage(0, 0, self._picture)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        super().resizeEvent(event)
        self._is_stale = True

    def _forward(self, event: Any, name: str) -> None:
        position = event.position()
        keys = event.modifiers()
        self._interactor.SetEventInformationFlipY(
            int(position.x()),
            int(position.y()),
            int(bool(keys & QtCore.Qt.KeyboardModifier.ControlModifier)),
            int(bool(keys & QtCore.Qt.KeyboardModifier.ShiftModifier)),
        )
        self._interactor.InvokeEvent(name)
        self.scheduleRender()

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        self._forward(event, _BUTTONS.get(event.button(), "LeftButton") + "PressEvent")

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        self._forward(event, _BUTTONS.get(event.button(), "LeftButton") + "ReleaseEvent")

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        self._forward(event, "MouseMoveEvent")

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        up = event.angleDelta().y() > 0
        self._forward(event, "MouseWheelForwardEvent" if up else "MouseWheelBackwardEvent")


class qMRMLSliceView(RenderView):
    """The picture of a slice view."""

    def __init__(self, logic: Any):
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        style = slicer.vtkMRMLSliceViewInteractorStyle()
        super().__init__(factory, style, logic.GetSliceNode())
        style.SetSliceLogic(logic)
        self._logic = logic
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(actor)
        self._observed.add(logic, vtk.vtkCommand.ModifiedEvent, lambda *_: self.scheduleRender())

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        super().resizeEvent(event)
        self._logic.ResizeSliceNode(self.width(), self.height())

    def _render(self) -> None:
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        super()._render()


class qMRMLThreeDView(RenderView):
    """The picture of a 3D view."""

    def __init__(self, view_node: Any):
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        super().__init__(factory, slicer.vtkMRMLThreeDViewInteractorStyle(), view_node)
        self._view_node = view_node
        self._renderer.GradientBackgroundOn()
        self._renderer.SetBackground(view_node.GetBackgroundColor())
        self._renderer.SetBackground2(view_node.GetBackgroundColor2())

    def mrmlViewNode(self) -> Any:
        return self._view_node

    def renderer(self) -> Any:
        return self._renderer

    def cameraNode(self) -> Any:
        return slicer.modules.cameras.logic().GetViewActiveCameraNode(self._view_node)

    def resetFocalPoint(self) -> None:
        """Look at the centre of what is shown, and move the box there."""
        self.resetCamera()

    def resetCamera(self, *_which: bool) -> None:
        node, camera = self._view_node, self.cameraNode()
        decorations = node.GetBoxVisible(), node.GetAxisLabelsVisible()
        node.SetBoxVisible(False)
        node.SetAxisLabelsVisible(False)
        bounds = self._renderer.ComputeVisiblePropBounds()
        node.SetBoxVisible(decorations[0])
        node.SetAxisLabelsVisible(decorations[1])
        if camera is not None and bounds[0] <= bounds[1]:
            self._renderer.ResetCamera(bounds)
            self._renderer.ResetCameraClippingRange()
            node.InvokeEvent(node.ResetFocalPointRequestedEvent)
        self.scheduleRender()

    def rotateToViewAxis(self, axis: int) -> None:
        """Look from the right, left, back, front, above or below (0 to 5)."""
        self.cameraNode().RotateTo(axis)
        self.scheduleRender()
