"""How proxies print."""

from __future__ import annotations

from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets


def describe(class_name: str, raw: Any) -> str:
    """Return the text that PythonQt prints for an object."""
    if raw is None or not shiboken6.isValid(raw):
        return f"{class_name} (C++ object at: 0x0)"
    address = hex(shiboken6.getCppPointer(raw)[0])
    text = _debug_text(raw, address) or _value_text(raw)
    if text.startswith(class_name):
        return text
    if text:
        return f"{class_name} ({text}, at: {address})"
    what = raw.metaObject().className() if isinstance(raw, QtCore.QObject) else "C++ object"
    return f"{class_name} ({what} at: {address})"


def _debug_text(raw: Any, address: str) -> str:
    if isinstance(raw, QtWidgets.QSizePolicy):
        policies = [
            f"{side} = QSizePolicy::{policy.name}"
            for side, policy in (
                ("horizontalPolicy", raw.horizontalPolicy()),
                ("verticalPolicy", raw.verticalPolicy()),
            )
        ]
        return f"QSizePolicy({', '.join(policies)}) "
    if isinstance(raw, QtWidgets.QWidget):
        name = f', name="{raw.objectName()}"' if raw.objectName() else ""
        return f"{raw.metaObject().className()}({address}{name}) "
    return ""


def _value_text(raw: Any) -> str:
    if isinstance(raw, QtCore.QByteArray):
        return bytes(raw.data()).decode(errors="replace")
    if isinstance(raw, (QtCore.QSize, QtCore.QSizeF)):
        return f"{raw.width()}, {raw.height()}"
    if isinstance(raw, (QtCore.QPoint, QtCore.QPointF)):
        return f"{raw.x()}, {raw.y()}"
    if isinstance(raw, (QtCore.QRect, QtCore.QRectF)):
        return f"{raw.x()}, {raw.y()}, {raw.width()}, {raw.height()}"
    if isinstance(raw, QtGui.QColor):
        return raw.name()
    if isinstance(raw, (QtCore.QUrl, QtGui.QFont)):
        return raw.toString()
    return ""
