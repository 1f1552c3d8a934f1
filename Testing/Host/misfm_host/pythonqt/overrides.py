"""Methods whose behaviour in PythonQt differs from PySide6's, by class and name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from . import connections, runtime
from .conversion import call, to_python
from .tool_tips import trapped


def _connect(raw: QtCore.QObject, *arguments: Any) -> bool:
    if len(arguments) < 2:
        raise ValueError("static connect(QObject sender, QByteArray signal, PyObject callable)")
    return connections.connect_text(raw, *arguments)


def _disconnect(raw: QtCore.QObject, *arguments: Any) -> bool:
    if len(arguments) < 2:
        raise ValueError(
            "static disconnect(QObject sender, QByteArray signal, "
            "QObject receiver, QByteArray slot) -> bool"
        )
    return connections.disconnect_text(raw, *arguments)


def _find_children(raw: QtCore.QObject, kind: Any = None, name: str = "") -> tuple[Any, ...]:
    wanted = kind or "QObject"
    class_name = wanted if isinstance(wanted, str) else wanted.__name__
    found = [c for c in raw.findChildren(QtCore.QObject) if c.inherits(class_name)]
    return tuple(to_python(c) for c in found if not name or c.objectName() == name)


def _find_child(raw: QtCore.QObject, kind: Any = None, name: str = "") -> Any:
    return next(iter(_find_children(raw, kind, name)), None)


def _set_tool_tip(raw: QtWidgets.QWidget, text: Any) -> None:
    raw.setToolTip(trapped(str(text)))


def _execute(raw: QtWidgets.QDialog) -> int:
    return runtime.dialogs.run(raw, to_python(raw))


def _execute_menu(raw: QtWidgets.QMenu, *arguments: Any) -> Any:
    def really_open() -> Any:
        return call(raw.exec, "exec", arguments)

    return runtime.dialogs.run_static("QMenu", (), really_open)


def _class_name(raw: Any) -> str:
    proxy = to_python(raw)
    return type(proxy).__name__


def _inherits(raw: Any, name: str) -> bool:
    return any(cls.__name__ == name for cls in type(raw).__mro__)


def _static_dialog(cls: Any, name: str) -> Callable[..., Any]:
    """Wrap a static call that opens a modal dialog; PythonQt returns the value only."""

    def open_dialog(*arguments: Any) -> Any:
        def really_open() -> Any:
            result = call(getattr(cls, name), name, arguments)
            return result[0] if isinstance(result, tuple) else result

        return runtime.dialogs.run_static(f"{cls.__name__}.{name}", arguments, really_open)

    return open_dialog


@dataclass(frozen=True)
class Override:
    """What replaces a method; it gets the PySide6 object first unless the method is static."""

    function: Callable[..., Any]
    is_static: bool = False


def _start_detached(*arguments: Any) -> bool:
    """PySide6 returns the process ID too."""
    result = call(QtCore.QProcess.startDetached, "startDetached", arguments)
    return result[0] if isinstance(result, tuple) else result


def _set_override_cursor(cursor: Any) -> None:
    """PySide6 returns an object that would restore the cursor."""
    call(QtGui.QGuiApplication.setOverrideCursor, "setOverrideCursor", (cursor,))


_STATIC_METHODS: dict[str, dict[str, Callable[..., Any]]] = {
    "QProcess": {"startDetached": _start_detached},
    "QGuiApplication": {"setOverrideCursor": _set_override_cursor},
}
_STATIC_DIALOGS: dict[Any, tuple[str, ...]] = {
    QtWidgets.QFileDialog: (
        "getOpenFileName",
        "getOpenFileNames",
        "getSaveFileName",
        "getExistingDirectory",
    ),
    QtWidgets.QInputDialog: ("getText", "getInt", "getDouble", "getItem", "getMultiLineText"),
    QtWidgets.QMessageBox: ("question", "information", "warning", "critical", "about"),
    QtWidgets.QColorDialog: ("getColor",),
    QtWidgets.QFontDialog: ("getFont",),
}
_METHODS: dict[str, dict[str, Callable[..., Any]]] = {
    "Object": {"className": _class_name, "inherits": _inherits, "delete": shiboken6.delete},
    "QObject": {
        "connect": _connect,
        "disconnect": _disconnect,
        "findChild": _find_child,
        "findChildren": _find_children,
    },
    "QWidget": {"setToolTip": _set_tool_tip},
    "QDialog": {"exec": _execute, "exec_": _execute},
    "QMenu": {"exec": _execute_menu, "exec_": _execute_menu},
    "QEventLoop": {"exec_": lambda raw: raw.exec()},
}


def overrides_of(pyside_class: type) -> dict[str, Override]:
    """Return the replaced methods of a class, its base classes included."""
    merged: dict[str, Override] = {}
    for cls in reversed(pyside_class.__mro__):
        methods = _METHODS.get(cls.__name__, {})
        merged |= {name: Override(function) for name, function in methods.items()}
        statics = _STATIC_METHODS.get(cls.__name__, {})
        merged |= {name: Override(f, is_static=True) for name, f in statics.items()}
        for name in _STATIC_DIALOGS.get(cls, ()):
            merged[name] = Override(_static_dialog(cls, name), is_static=True)
    return merged
