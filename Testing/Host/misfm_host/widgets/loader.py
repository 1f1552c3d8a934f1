"""Load .ui files; refuse what real Slicer does not have."""

from __future__ import annotations

import functools
import logging
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any, ClassVar

from PySide6 import QtCore, QtUiTools, QtWidgets

from ..pythonqt.tool_tips import trapped

_log = logging.getLogger(__name__)


class UiFileError(RuntimeError):
    """A .ui file uses a widget, a signal or a slot that does not exist."""


class UiLoader(QtUiTools.QUiLoader):
    """`qt.QUiLoader` with the stand-ins registered."""

    stand_ins: Mapping[str, Any] = {}

    _registered: ClassVar[set[Any]] = set()
    """What PySide6 knows, for all loaders; each registration makes the next one slower."""

    def __init__(self, parent: QtCore.QObject | None = None):
        super().__init__(parent)
        for stand_in in {*self.stand_ins.values()} - self._registered:
            if issubclass(stand_in, QtWidgets.QWidget):
                self.registerCustomWidget(stand_in)
            self._registered.add(stand_in)

    def load(self, device: QtCore.QIODevice, parentWidget: Any = None) -> QtWidgets.QWidget:
        """Create the widgets of a .ui file.

        Raises:
            UiFileError: A widget class, signal or slot is unknown.
        """
        language = getattr(QtCore.QCoreApplication.instance(), "applicationLocaleName", "")
        content, connections = self._prepared(bytes(device.readAll().data()), language)
        buffer = QtCore.QBuffer()
        buffer.setData(content)
        widget = super().load(buffer, parentWidget)
        for connection in connections:
            _connect(widget, connection)
        return widget

    @classmethod
    @functools.cache  # a panel is loaded again for every test
    def _prepared(cls, content: bytes, _language: str) -> tuple[bytes, list[ET.Element]]:
        """Return what Qt can load, and the connections it cannot make."""
        root = ET.fromstring(content)
        _trap_tool_tips(root)
        for element in root.iter("widget"):
            cls._check_class(element.get("class", ""))
            cls._check_properties(element)
        connections = _take_connections(root)
        return ET.tostring(root), connections

    @classmethod
    def _class(cls, name: str) -> Any:
        return cls.stand_ins.get(name) or getattr(QtWidgets, name, None)

    @classmethod
    def _check_class(cls, name: str) -> None:
        if name not in ("Line",) and cls._class(name) is None:
            raise UiFileError(f"The host has no widget {name}.")

    @classmethod
    def _check_properties(cls, element: ET.Element) -> None:
        """Report names that would silently become dynamic properties; turn flags into numbers."""
        widget_class = cls._class(element.get("class", "")) or QtWidgets.QFrame
        for prop in element.findall("property"):
            name = prop.get("name", "")
            known = name in _properties(widget_class)
            if not known and prop.get("stdset") != "0":
                _log.warning("%s has no property %s", element.get("class"), name)
            cls._resolve_flags(prop, element.get("class", "") in cls.stand_ins)

    @classmethod
    def _resolve_flags(cls, prop: ET.Element, is_stand_in: bool) -> None:
        """Turn the flags of stand-ins, and those of Qt that a stand-in keeps, into numbers."""
        for child in list(prop):
            words = (child.text or "").split("|")
            owner = words[0].split("::")[0].strip()
            is_of_qt = is_stand_in and owner in ("QComboBox", "QFrame")
            if child.tag in ("set", "enum") and (owner in cls.stand_ins or is_of_qt):
                owner_class = cls._class(owner)
                value = sum(_flag(owner_class, word.rpartition("::")[2]) for word in words)
                prop.remove(child)
                ET.SubElement(prop, "number").text = str(value)


@functools.cache  # PySide 6.12 may have let go of a class's meta object at the second question
def _properties(widget_class: Any) -> frozenset[str]:
    meta = widget_class.staticMetaObject
    return frozenset(meta.property(index).name() for index in range(meta.propertyCount()))


def _flag(owner: Any, name: str) -> int:
    for attribute in vars(owner).values():
        if name in getattr(attribute, "__members__", {}):
            return int(attribute[name].value)
    raise UiFileError(f"{owner.__name__} has no flag {name}.")


def _trap_tool_tips(root: ET.Element) -> None:
    """Translate the tool tips, since Qt no longer finds them when they are rich text."""
    context = root.findtext("class", "")
    for text in root.findall(".//property[@name='toolTip']/string"):
        source = text.text or ""
        is_fixed = text.get("notr") == "true"
        translated = source if is_fixed else QtCore.QCoreApplication.translate(context, source)
        text.text = trapped(translated)
        text.set("notr", "true")


def _take_connections(root: ET.Element) -> list[ET.Element]:
    element = root.find("connections")
    if element is None:
        return []
    root.remove(element)
    return element.findall("connection")


def _connect(widget: QtWidgets.QWidget, connection: ET.Element) -> None:
    texts = {child.tag: child.text or "" for child in connection}
    sender = _named(widget, texts["sender"])
    receiver = _named(widget, texts["receiver"])
    signal = getattr(sender, texts["signal"].split("(")[0], None)
    slot = getattr(receiver, texts["slot"].split("(")[0], None)
    if signal is None or slot is None:
        raise UiFileError(f"The .ui file's connection cannot be made: {texts}")
    signal.connect(slot)


def _named(widget: QtWidgets.QWidget, name: str) -> QtCore.QObject | None:
    if widget.objectName() == name:
        return widget
    return widget.findChild(QtCore.QObject, name)
