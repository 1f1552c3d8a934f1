"""Qt enums as PythonQt shows them: integers whose type has the enum's name."""

from __future__ import annotations

import enum
import functools
from typing import Any, ClassVar

# Enums that only their flag type names in Qt's meta objects.
_SHOWN_AS = {
    "QMessageBox.StandardButton": "StandardButtons",
    "QDialogButtonBox.StandardButton": "StandardButtons",
}
_FLAG_TYPES = {"AlignmentFlag": "Alignment"}


class QtEnum(int):
    """A value of a Qt enum; combined with `|` it becomes a plain integer."""

    pyside_type: ClassVar[Any]

    def to_pyside(self) -> Any:
        """Return the value as PySide6 wants it."""
        return type(self).pyside_type(int(self))


@functools.cache
def enum_class(pyside_type: Any) -> type[QtEnum]:
    """Return the class that stands for a PySide6 enum, with its members as attributes."""
    name = _SHOWN_AS.get(pyside_type.__qualname__, pyside_type.__name__)
    cls = type(name, (QtEnum,), {"pyside_type": pyside_type})
    for member_name, member in pyside_type.__members__.items():
        setattr(cls, member_name, cls(member.value))
    return cls


@functools.cache
def _flag_class(pyside_type: Any) -> type[QtEnum]:
    name = _FLAG_TYPES.get(pyside_type.__name__, pyside_type.__name__ + "s")
    return type(name, (QtEnum,), {"pyside_type": pyside_type})


def returned_enum(value: enum.Enum) -> QtEnum:
    """Convert what a Qt method returned; sets of flags have a type of their own."""
    is_flag = isinstance(value, enum.Flag)
    return (_flag_class if is_flag else enum_class)(type(value))(value.value)
