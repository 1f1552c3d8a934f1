"""The main window: module panel on the left, views on the right."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from .modules import qSlicerAbstractModuleWidget, qSlicerModuleManager


class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    """Chooses the shown module."""

    moduleSelected = QtCore.Signal(str)

    def __init__(self, manager: qSlicerModuleManager):
        super().__init__("Module Selection")
        self.setObjectName("ModuleSelectorToolBar")
        self._manager = manager
        self._selected = ""
        self._combo = QtWidgets.QComboBox()
        self._combo.setMinimumWidth(200)
        self.addWidget(QtWidgets.QLabel(" Modules: "))
        self.addWidget(self._combo)
        self._combo.addItems(manager.modulesNames())
        self._combo.setCurrentIndex(-1)
        manager.moduleLoaded.connect(self._combo.addItem)
        self._combo.activated.connect(lambda i: self.selectModule(self._combo.itemText(i)))

    def selectModule(self, name: str) -> None:
        if name == self._selected or self._manager.module(name) is None:
            return
        self._selected = name
        self._combo.setCurrentText(name)
        self.moduleSelected.emit(name)

    selectedModule = QtCore.Property(str, lambda self: self._selected, selectModule)


class qSlicerModulePanel(QtWidgets.QWidget):
    """Holds the panel of the shown module."""

    def __init__(self, manager: qSlicerModuleManager):
        super().__init__()
        self.setObjectName("ModulePanel")
        self._manager = manager
        self._current: QtWidgets.QWidget | None = None
        self._area = QtWidgets.QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._area)

    helpAndAcknowledgmentVisible = QtCore.Property(bool, lambda _: False, lambda *_: None)

    def setModule(self, name: str) -> None:
        if isinstance(self._current, qSlicerAbstractModuleWidget):
            self._current.exit()
        if self._current is not None:
            self._area.takeWidget()
        module = self._manager.module(name)
        self._current = module.widgetRepresentation() if module else None
        if isinstance(self._current, qSlicerAbstractModuleWidget):
            self._area.setWidget(self._current)
            # As in Slicer, the panel is as wide as its content needs: no sideways scrolling.
            self._area.setMinimumWidth(self._current.minimumSizeHint().width() + 20)
            self._current.show()
            self._current.enter()


class qSlicerMainWindow(QtWidgets.QMainWindow):
    """The main window."""

    initialWindowShown = QtCore.Signal()

    def __init__(self, manager: qSlicerModuleManager):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("Test host of MISFM (not 3D Slicer)")
        self._selector = qSlicerModuleSelectorToolBar(manager)
        self.addToolBar(self._selector)
        self._panel = qSlicerModulePanel(manager)
        self._dock = QtWidgets.QDockWidget("Modules", self)
        self._dock.setObjectName("PanelDockWidget")
        self._dock.setWidget(self._panel)
        self.addDockWidget(QtCore.Qt.DockWidgetArea.LeftDockWidgetArea, self._dock)
        self._viewport = QtWidgets.QWidget()
        self._viewport.setObjectName("CentralWidget")
        self.setCentralWidget(self._viewport)
        self.statusBar()
        self._selector.moduleSelected.connect(self._panel.setModule)
        self.resize(1280, 860)
        self.resizeDocks([self._dock], [440], QtCore.Qt.Orientation.Horizontal)

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        return self._selector

    def viewport(self) -> QtWidgets.QWidget:
        return self._viewport
