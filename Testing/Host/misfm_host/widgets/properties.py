"""Qt properties that only keep a value."""

from __future__ import annotations

import itertools
from typing import Any

from PySide6 import QtCore

_keys = itertools.count()


def stored(kind: Any, initial: Any, changed: str = "") -> Any:
    """Return a Qt property that keeps its value and then calls the method named `changed`."""
    key = f"_stored{next(_keys)}"

    def read(self: Any) -> Any:
        return getattr(self, key, initial)

    def write_stored(self: Any, value: Any) -> None:
        if value != read(self):
            setattr(self, key, value)
            if changed:
                getattr(self, changed)()

    return QtCore.Property(kind, read, write_stored)


def with_setters(cls: Any) -> Any:
    """Give a class `setX` for each of its stored properties `x`."""
    for name, attribute in list(vars(cls).items()):
        writer = attribute.fset if isinstance(attribute, QtCore.Property) else None
        if getattr(writer, "__name__", "") == "write_stored":
            setattr(cls, "set" + name[0].upper() + name[1:], _setter(name))
    return cls


def _setter(name: str) -> Any:
    def set_value(self: Any, value: Any) -> None:
        setattr(self, name, value)

    return set_value
