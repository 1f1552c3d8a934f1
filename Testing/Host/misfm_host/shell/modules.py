"""Modules: built-in ones offer their logic, scripted ones are loaded from their file."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from ..pythonqt import runtime
from ..pythonqt.classes import wrap
from ..widgets.mrml import qMRMLWidget
from ..widgets.properties import stored
from .scene import Scene


class qSlicerAbstractCoreModule(QtCore.QObject):
    """What all modules have."""

    title = stored(str, "")
    categories = stored("QStringList", [])
    contributors = stored("QStringList", [])
    associatedNodeTypes = stored("QStringList", [])
    dependencies = stored("QStringList", [])
    helpText = stored(str, "")
    acknowledgementText = stored(str, "")
    hidden = stored(bool, False)
    index = stored(int, -1)
    icon = stored(QtGui.QIcon, QtGui.QIcon())
    extensions = stored("QVariantMap", {})
    widgetRepresentationCreationEnabled = stored(bool, True)
    isBuiltIn = stored(bool, True)
    isInstalled = stored(bool, True)

    def __init__(self, name: str, path: str, scene: Scene, logic: Any):
        super().__init__()
        self._name = name
        self._path = path
        self._scene = scene
        self._logic = logic
        self._widget: QtWidgets.QWidget | None = None
        self.title = name

    name = QtCore.Property(str, lambda self: self._name)
    path = QtCore.Property(str, lambda self: self._path)

    def logic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return self._scene.node

    def widgetRepresentation(self) -> QtWidgets.QWidget | None:
        if self._widget is None and self.widgetRepresentationCreationEnabled:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self) -> QtWidgets.QWidget:
        """Make a panel."""
        class_name = f"qSlicer{self._name}ModuleWidget"
        widget = type(class_name, (qSlicerAbstractModuleWidget,), {})(self._name)
        widget.setMRMLScene(self._scene.node)
        return widget


class qSlicerLoadableModule(qSlicerAbstractCoreModule):
    """A C++ module."""


class qSlicerAbstractModuleWidget(qMRMLWidget):
    """The panel of a module."""

    def __init__(self, name: str):
        super().__init__()
        self._is_entered = False
        self.setObjectName(name + "ModuleWidget")
        QtWidgets.QVBoxLayout(self)

    isEntered = QtCore.Property(bool, lambda self: self._is_entered)

    def enter(self) -> None:
        """Become the shown module."""
        self._is_entered = True

    def exit(self) -> None:
        """Stop being the shown module."""
        self._is_entered = False


class qSlicerScriptedLoadableModule(qSlicerLoadableModule):
    """A module in a Python file: `self` is what its class gets as `parent`."""

    def __init__(self, path: Path, scene: Scene):
        logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        super().__init__(path.stem, str(path), scene, logic)
        self._source = _import(path)
        self._python = getattr(self._source, path.stem)(wrap(self))
        setattr(slicer.modules, path.stem + "Instance", self._python)
        self.widgetRepresentationCreationEnabled = hasattr(self._source, path.stem + "Widget")

    def setup(self) -> None:
        """Call the class's `setup`."""
        _call(self._python, "setup")

    def createNewWidgetRepresentation(self) -> QtWidgets.QWidget:
        """Make a panel."""
        widget = qSlicerScriptedLoadableModuleWidget(self._name)
        widget._load()
        widget.setMRMLScene(self._scene.node)
        return widget


class qSlicerScriptedLoadableModuleWidget(qSlicerAbstractModuleWidget):
    """The panel of a scripted module: `self` is what its widget class gets as `parent`."""

    def __init__(self, name: str):
        super().__init__(name)
        self._name = name
        self._python: Any = None

    moduleName = QtCore.Property(str, lambda self: self._name)

    def self(self) -> Any:
        return self._python

    def _load(self) -> None:
        """Make the Python widget from the module as it is imported now, and set it up."""
        widget_class = getattr(sys.modules[self._name], self._name + "Widget")
        self._python = widget_class(wrap(self))
        setattr(slicer.modules, self._name + "Widget", self._python)
        self._python.setup()

    def reload(self) -> None:
        """Make the Python widget anew."""
        self._load()

    def enter(self) -> None:
        super().enter()
        _call(self._python, "enter")

    def exit(self) -> None:
        super().exit()
        _call(self._python, "exit")


def _import(path: Path) -> types.ModuleType:
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _call(python: Any, name: str) -> None:
    """Call an optional method; real Slicer prints its errors and goes on."""
    if hasattr(python, name):
        runtime.call_slot(getattr(python, name))


class qSlicerModuleFactoryManager(QtCore.QObject):
    """Knows which modules are loaded."""

    moduleLoaded = QtCore.Signal(str)

    def __init__(self, scene: Scene):
        super().__init__()
        self._scene = scene
        self._modules: dict[str, qSlicerAbstractCoreModule] = {}

    def loadedModuleNames(self) -> list[str]:
        return list(self._modules)

    def isLoaded(self, name: str) -> bool:
        return name in self._modules

    def loadedModule(self, name: str) -> qSlicerAbstractCoreModule | None:
        return self._modules.get(name)

    def searchPaths(self) -> list[str]:
        """Return the folders of the scripted modules."""
        return [str(Path(m.path).parent) for m in self._modules.values() if m.path]

    def _register(self, module: qSlicerAbstractCoreModule) -> None:
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), wrap(module))
        setattr(slicer.moduleNames, module.name, module.name)
        self.moduleLoaded.emit(module.name)


class qSlicerModuleManager(QtCore.QObject):
    """Gives access to the modules."""

    moduleLoaded = QtCore.Signal(str)
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def __init__(self, scene: Scene):
        super().__init__()
        self._scene = scene
        self._factory = qSlicerModuleFactoryManager(scene)
        for name, logic in scene.logics.items():
            module_class = type(f"qSlicer{name}Module", (qSlicerLoadableModule,), {})
            self._factory._register(module_class(name, "", scene, logic))

    def factoryManager(self) -> qSlicerModuleFactoryManager:
        return self._factory

    def modulesNames(self) -> list[str]:
        return self._factory.loadedModuleNames()

    def module(self, name: str) -> qSlicerAbstractCoreModule | None:
        return self._factory.loadedModule(name)

    def _load(self, path: Path) -> qSlicerScriptedLoadableModule:
        module = qSlicerScriptedLoadableModule(path, self._scene)
        self._factory._register(module)
        module.setup()
        self.moduleLoaded.emit(module.name)
        return module

    def _unload(self) -> None:
        for name in self.modulesNames():
            self.moduleAboutToBeUnloaded.emit(name)
