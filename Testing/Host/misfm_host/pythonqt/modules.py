"""The modules `qt` and `ctk` that scripted modules import."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import shiboken6
from PySide6 import (
    QtCore,
    QtGui,
    QtNetwork,
    QtPrintSupport,
    QtSvg,
    QtTest,
    QtUiTools,
    QtWidgets,
    QtXml,
)

from .classes import proxy_class
from .connections import Signal

_LIBRARIES = (
    QtCore,
    QtGui,
    QtWidgets,
    QtNetwork,
    QtUiTools,
    QtSvg,
    QtXml,
    QtPrintSupport,
    QtTest,
)


class Slot:
    """`qt.Slot(types)`: a decorator that changes nothing here."""

    __module__ = "PythonQt.QtCore"

    def __init__(self, *_types: Any, **_options: Any):
        pass

    def __call__(self, function: Any) -> Any:
        """Return the function."""
        return function


class ProxyModule(types.ModuleType):
    """A module whose classes are proxies, made when they are first used."""

    def __init__(self, name: str, libraries: tuple[Any, ...], replaced: Mapping[str, type]):
        super().__init__(name)
        self._libraries = libraries
        self._replaced = replaced

    def __getattr__(self, name: str) -> Any:
        pyside_class = self._replaced.get(name) or self._find(name)
        if pyside_class is None:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        proxy = proxy_class(pyside_class)
        setattr(self, name, proxy)
        return proxy

    def _find(self, name: str) -> type | None:
        for library in self._libraries:
            found = getattr(library, name, None)
            if isinstance(found, type) and issubclass(found, shiboken6.Shiboken.Object):
                return found
        return None


def make_qt(replaced: Mapping[str, type]) -> types.ModuleType:
    """Return `qt`; `replaced` names classes that the host implements itself."""
    module = ProxyModule("qt", _LIBRARIES, replaced)
    module.Signal = Signal  # type: ignore[attr-defined]
    module.Slot = Slot  # type: ignore[attr-defined]
    return module


def make_ctk(stand_ins: Mapping[str, type]) -> types.ModuleType:
    """Return `ctk` with the given widgets."""
    return ProxyModule("ctk", (), stand_ins)
