"""Proxy classes and objects: what `qt.QPushButton` and its instances are."""

from __future__ import annotations

import enum
import functools
import weakref
from typing import Any

import shiboken6
from PySide6 import QtCore

from . import runtime
from .connections import Signal
from .conversion import call_raw, to_python, to_qt
from .enums import QtEnum, enum_class
from .members import Member, PropertyMember, is_signal, make_member, property_names
from .overrides import overrides_of
from .proxies import Proxy, ProxyClass, make_with
from .text import describe

_HIDDEN = {"staticMetaObject", "emit", "connectNotify", "disconnectNotify", "receivers"}
_OPERATORS = ("__add__", "__sub__", "__mul__", "__truediv__", "__lt__", "__le__", "__gt__")

_live: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


class PythonQtClassWrapper(ProxyClass):
    """The type of proxy classes."""

    def __getattr__(cls, name: str) -> Any:
        flags = getattr(vars(cls).get("_pyside"), name, None)
        if isinstance(flags, enum.EnumMeta):  # such as QIODevice.OpenMode for OpenModeFlag
            return enum_class(flags)
        raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}'")


class PythonQtInstanceWrapper(Proxy, metaclass=PythonQtClassWrapper):
    """A proxy of one Qt object."""

    __slots__ = ("__weakref__", "_raw")
    _pyside: Any = None

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> Any:
        """Create the proxy; `__init__` or `wrap` gives it its Qt object."""
        proxy = object.__new__(cls)
        object.__setattr__(proxy, "_raw", None)
        return proxy

    def __init__(self, *arguments: Any, **keywords: Any):
        """Construct the Qt object; PythonQt takes no keyword arguments."""
        cls = type(self)
        if keywords:
            raise ValueError(f"Called {cls.__name__} with keyword arguments")
        is_subclass = "_pyside" not in vars(cls)
        pyside_class = _shell_class(cls) if is_subclass else cls._pyside
        raw = call_raw(pyside_class, cls.__name__, arguments)
        object.__setattr__(self, "_raw", raw)
        _live[id(raw)] = self
        if is_subclass:
            raw._proxy = self

    def __getattr__(self, name: str) -> Any:
        raw = self._raw
        if isinstance(raw, QtCore.QObject) and shiboken6.isValid(raw):
            if name in _dynamic_properties(raw):
                return to_python(raw.property(name))
            for child in raw.children():
                if child.objectName() == name:
                    return wrap(child)
        raise AttributeError(f"{type(self).__name__} has no attribute named '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        cls, raw = type(self), self._raw
        member = _member(cls, name)
        if member is not None:
            member.write(self, value)
        elif isinstance(raw, QtCore.QObject) and name in _dynamic_properties(raw):
            raw.setProperty(name, to_qt(value))
        elif "_pyside" not in vars(cls):
            object.__setattr__(self, name, value)
        else:
            raise AttributeError(
                f"'{name}' does not exist on {cls.__name__} and creating new attributes "
                "on C++ objects is not allowed"
            )

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PythonQtInstanceWrapper):
            if isinstance(self._raw, QtCore.QObject):
                return _pointer(self._raw) == _pointer(other._raw)
            return bool(self._raw == other._raw)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(_pointer(self._raw))

    def __bool__(self) -> bool:
        return self._raw is not None and shiboken6.isValid(self._raw)

    def __repr__(self) -> str:
        return describe(type(self).__name__, self._raw)

    def __str__(self) -> str:
        if isinstance(self._raw, QtCore.QByteArray):
            return repr(self._raw.data())
        return repr(self)


def _pointer(raw: Any) -> int:
    return int(shiboken6.getCppPointer(raw)[0]) if raw is not None else 0


def _dynamic_properties(raw: QtCore.QObject) -> set[str]:
    return {bytes(name.data()).decode() for name in raw.dynamicPropertyNames()}


def _member(cls: type, name: str) -> Member | None:
    for base in cls.__mro__:
        found = vars(base).get(name)
        if found is not None:
            return found if isinstance(found, Member) else None
    return None


@functools.cache
def proxy_class(pyside_class: type) -> PythonQtClassWrapper:
    """Return the proxy class of a PySide6 class or of a stand-in.

    It inherits nothing from the proxies of the base classes: in PythonQt
    `isinstance(button, qt.QWidget)` is False too.
    """
    namespace: dict[str, Any] = {
        "__slots__": (),
        "__module__": "PythonQt." + pyside_class.__module__.rpartition(".")[2],
        "_pyside": pyside_class,
    }
    overrides = overrides_of(pyside_class)
    properties = property_names(pyside_class)
    known = {*overrides, *properties}
    for name in {*dir(pyside_class), *known}:
        if name.startswith("_") or name in _HIDDEN:
            continue
        attribute = getattr(pyside_class, name, None)
        if isinstance(attribute, enum.EnumMeta):
            namespace[name] = enum_class(attribute)
        elif isinstance(attribute, type) and issubclass(attribute, shiboken6.Shiboken.Object):
            namespace[name] = proxy_class(attribute)
        elif callable(attribute) or is_signal(attribute) or name in known:
            namespace[name] = make_member(pyside_class, name, overrides.get(name))
    if "objectName" in properties:
        namespace.setdefault("name", PropertyMember("name", "objectName"))
    for shown in [value for value in namespace.values() if _is_enum_class(value)]:
        for member in shown.pyside_type.__members__:
            namespace.setdefault(member, getattr(shown, member))
    namespace.update(_operators(pyside_class))
    return PythonQtClassWrapper(pyside_class.__name__, (PythonQtInstanceWrapper,), namespace)


def _is_enum_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, QtEnum)


def _operators(pyside_class: type) -> dict[str, Any]:
    def operator(name: str) -> Any:
        def apply(left: Any, right: Any) -> Any:
            return to_python(getattr(left._raw, name)(to_qt(right)))

        return apply

    return {
        name: operator(name)
        for name in _OPERATORS
        if getattr(pyside_class, name, None) not in (None, getattr(object, name, None))
    }


def wrap(raw: Any) -> Any:
    """Return the proxy of a PySide6 object: the same one as long as it is in use."""
    proxy = getattr(raw, "_proxy", None) or _live.get(id(raw))
    if proxy is None or proxy._raw is not raw:
        cls = proxy_class(type(raw))
        proxy = cls.__new__(cls)
        object.__setattr__(proxy, "_raw", raw)
        _live[id(raw)] = proxy
    return proxy


make_with(wrap)


@functools.cache
def _shell_class(cls: type) -> type:
    """Return a PySide6 class whose virtual methods call a scripted module's subclass."""
    pyside_class = cls._pyside  # type: ignore[attr-defined]
    namespace: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "_pyside" in vars(base) or not hasattr(base, "_pyside"):
            continue
        for name, value in vars(base).items():
            if isinstance(value, Signal):
                namespace[name] = value.to_pyside()
            elif callable(value) and not name.startswith("_") and hasattr(pyside_class, name):
                namespace[name] = _forward(pyside_class, name)
    return type(pyside_class)(pyside_class.__name__, (pyside_class,), namespace)


def _forward(pyside_class: type, name: str) -> Any:
    def virtual(raw: Any, *arguments: Any) -> Any:
        proxy = getattr(raw, "_proxy", None)
        if proxy is None:  # still in the constructor
            return getattr(pyside_class, name)(raw, *arguments)
        method = getattr(proxy, name)
        return to_qt(runtime.call_slot(method, *map(to_python, arguments)))

    return virtual
