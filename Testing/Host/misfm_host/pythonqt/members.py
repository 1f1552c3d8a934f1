"""What the attributes of a proxy are: slots, properties and signals."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from .connections import bound_signal
from .conversion import Mismatch, call, coerce, to_python, to_qt
from .enums import QtEnum
from .overrides import Override
from .tool_tips import trapped


class builtin_qt_slot:
    """A method of a Qt object or class."""

    def __init__(self, member: Method, owner: Any):
        self.__name__ = member.name
        self.__self__ = owner
        self._member = member

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call it; PythonQt takes no keyword arguments."""
        member = self._member
        if keywords:
            raise ValueError(
                f"Called {member.name} with keyword arguments, "
                "but called slot does not support kwargs."
            )
        if isinstance(self.__self__, type):
            return member.call_unbound(arguments)
        return member.call(self.__self__._raw, arguments)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, builtin_qt_slot):
            return NotImplemented
        return self.__self__ == other.__self__ and self.__name__ == other.__name__

    def __hash__(self) -> int:
        return hash(self.__name__)

    def __repr__(self) -> str:
        member, owner = self._member, self.__self__
        if isinstance(owner, type):
            name = f"static_{owner.__name__}_{member.name}" if member.is_static else member.name
            return f"<unbound qt slot {name} of {owner.__name__} type>"
        return f"<qt slot {member.name} of {type(owner).__name__} instance at {hex(id(owner))}>"


class Member:
    """Base of the descriptors in a proxy class."""

    kind = ""

    def __init__(self, name: str):
        self.name = name

    def write(self, owner: Any, value: Any) -> None:
        """Refuse an assignment; properties allow it."""
        raise AttributeError(
            f"{self.kind} '{self.name}' can not be overwritten on {type(owner).__name__} object"
        )


class Method(Member):
    """A method; `function` is PySide6's, `override` replaces it where PythonQt differs."""

    kind = "Slot"

    def __init__(
        self, name: str, function: Any, *, is_static: bool, override: Callable[..., Any] | None
    ):
        super().__init__(name)
        self.function = function
        self.is_static = is_static
        self.override = override

    def __get__(self, owner: Any, cls: type) -> builtin_qt_slot:
        return builtin_qt_slot(self, cls if owner is None else owner)

    def call(self, raw: Any, arguments: tuple[Any, ...]) -> Any:
        """Call the method of an object."""
        _check_alive(raw, self.name)
        if self.override is not None:
            return self.override(*arguments) if self.is_static else self.override(raw, *arguments)
        if hasattr(raw, "_proxy"):  # the subclass's own method would call itself
            function = functools.partial(self.function, raw)
        else:
            function = getattr(raw, self.name)
        return call(function, self.name, arguments, declared=self.function)

    def call_unbound(self, arguments: tuple[Any, ...]) -> Any:
        """Call a static method, or the method of the first argument."""
        raw = to_qt(arguments[0]) if arguments else None
        if not self.is_static and isinstance(raw, shiboken6.Shiboken.Object):
            return self.call(raw, arguments[1:])
        if self.override is not None:
            return self.override(*arguments)
        return call(self.function, self.name, arguments)


class SignalMember(Member):
    """A signal."""

    kind = "Signal"

    def __get__(self, owner: Any, cls: type) -> Any:
        return self if owner is None else bound_signal(owner, self.name)


class PropertyMember(Member):
    """A Qt property: an attribute, never callable; it hides a method of the same name."""

    kind = "Property"

    def __init__(self, name: str, qt_name: str, method: Method | None = None):
        super().__init__(name)
        self._qt_name = qt_name
        self._method = method

    def __get__(self, owner: Any, cls: type) -> Any:
        if owner is None:
            return self._method.__get__(None, cls) if self._method else self
        raw = owner._raw
        if not shiboken6.isValid(raw):
            raise ValueError(
                f"Trying to read property '{self.name}' from a destroyed {cls.__name__} object"
            )
        value = raw.property(self._qt_name)
        return int(value.value) if _is_enum(value) else to_python(value)

    def write(self, owner: Any, value: Any) -> None:
        """Assign, converting as laxly as PythonQt.

        Raises:
            AttributeError: The property is read-only, or refuses the value.
        """
        raw, cls = owner._raw, type(owner).__name__
        _check_alive(raw, self.name)
        meta = _meta_property(raw, self._qt_name)
        if not meta.isWritable():
            raise AttributeError(f"Property '{self.name}' of {cls} object is not writable")
        try:
            converted = coerce(to_qt(value), _PLAIN_TYPES.get(meta.typeName(), Any))
        except Mismatch:
            written = False
        else:
            if isinstance(value, QtEnum) or _is_enum(converted):
                converted = int(value)
            if self._qt_name == "toolTip" and isinstance(converted, str):
                converted = trapped(converted)
            written = raw.setProperty(self._qt_name, converted)
        if not written:
            raise AttributeError(
                f"Property '{self.name}' of type '{meta.typeName()}' does not accept an object "
                f"of type {type(value).__name__} ({value!r})"
            )


_PLAIN_TYPES = {"bool": bool, "int": int, "double": float, "QString": str}


def _is_enum(value: Any) -> bool:
    return hasattr(type(value), "__members__")


def _meta_property(raw: QtCore.QObject, name: str) -> QtCore.QMetaProperty:
    meta = raw.metaObject()
    return meta.property(meta.indexOfProperty(name))


def _check_alive(raw: Any, name: str) -> None:
    if isinstance(raw, QtCore.QObject) and not shiboken6.isValid(raw):
        raise ValueError(f"Trying to call '{name}' on a destroyed {type(raw).__name__} object")


@functools.cache
def property_names(pyside_class: type) -> frozenset[str]:
    """Return the names of a class's Qt properties."""
    meta = getattr(pyside_class, "staticMetaObject", None)
    if meta is None:
        return frozenset()
    return frozenset(meta.property(index).name() for index in range(meta.propertyCount()))


def is_signal(attribute: Any) -> bool:
    """Whether a class attribute is a PySide6 signal.

    `isinstance(attribute, QtCore.Signal)` of PySide6 6.12 loses a reference to False each time.
    """
    return type(attribute) is QtCore.Signal


def make_member(pyside_class: type, name: str, override: Override | None) -> Member:
    """Return the descriptor for one attribute of a PySide6 class."""
    attribute = getattr(pyside_class, name, None)
    if is_signal(attribute):
        return SignalMember(name)
    method = None
    if override is not None:
        method = Method(name, attribute, is_static=override.is_static, override=override.function)
    elif callable(attribute):
        is_static = _is_static(pyside_class, name)
        method = Method(name, attribute, is_static=is_static, override=None)
    if name in property_names(pyside_class):
        return PropertyMember(name, name, method)
    if method is None:
        raise TypeError(f"{pyside_class.__name__}.{name} is neither a method nor a property")
    return method


def _is_static(pyside_class: type, name: str) -> bool:
    for cls in pyside_class.__mro__:
        if name in vars(cls):
            return isinstance(vars(cls)[name], staticmethod)
    return False
