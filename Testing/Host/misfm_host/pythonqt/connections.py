"""Signals: found by their C++ signature or their name, connected to Python callables."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import shiboken6
from PySide6 import QtCore

from . import runtime
from .conversion import call, to_python

# Overloads that Qt 5 declares first; Qt 6 declares them second.
_FIRST_IN_QT5 = {("QProcess", "finished"): "finished(int)"}


@dataclass(frozen=True)
class _Connection:
    signature: str
    target: Any
    handle: QtCore.QMetaObject.Connection


_connections: dict[int, list[_Connection]] = {}


def normalized(text: str) -> str:
    """Return a signature as Qt's meta objects spell it; MRML objects travel as Python objects."""
    text = re.sub(r"\bvtk\w+\s*\*", "PyObject", text.lstrip("012"))
    return bytes(QtCore.QMetaObject.normalizedSignature(text).data()).decode()


def signatures(raw: QtCore.QObject) -> list[str]:
    """Return the signatures of all signals of an object."""
    return _signatures(type(raw))


@functools.cache
def _signatures(cls: type[QtCore.QObject]) -> list[str]:
    meta = cls.staticMetaObject
    methods = (meta.method(index) for index in range(meta.methodCount()))
    return [
        bytes(method.methodSignature().data()).decode()
        for method in methods
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal
    ]


def default_signature(raw: QtCore.QObject, name: str) -> str:
    """Return the overload that `object.signal.connect` means."""
    for cls in type(raw).__mro__:
        if (cls.__name__, name) in _FIRST_IN_QT5:
            return _FIRST_IN_QT5[cls.__name__, name]
    return next(text for text in signatures(raw) if text.split("(")[0] == name)


def connect_text(raw: QtCore.QObject, text: str, *target: Any) -> bool:
    """Connect `"clicked(bool)"` to a callable, or to the slot of another object."""
    signature = normalized(text)
    if signature not in signatures(raw):
        class_name = raw.metaObject().className()
        sys.stderr.write(
            f"PythonQt: QObject::connect() signal '{text}' does not exist on {class_name}\n"
        )
        return False
    return connect(raw, signature, _target(target))


def disconnect_text(raw: QtCore.QObject, text: str, *target: Any) -> bool:
    """Undo `connect_text`."""
    return disconnect(raw, normalized(text), _target(target))


def _target(target: tuple[Any, ...]) -> Any:
    if len(target) == 1:
        return target[0]
    receiver, slot = target
    return getattr(receiver, slot.split("(")[0])


def connect(raw: QtCore.QObject, signature: str, target: Any) -> bool:
    """Call `target` whenever the signal is emitted; keeps the target alive as PythonQt does."""

    def receive(*arguments: Any) -> None:
        runtime.call_slot(target, *map(to_python, arguments[: _accepted(target)]))

    handle = QtCore.QObject.connect(raw, QtCore.SIGNAL(signature), receive)
    key = shiboken6.getCppPointer(raw)[0]
    if key not in _connections:
        _connections[key] = []
        raw.destroyed.connect(lambda: _connections.pop(key, None))
    _connections[key].append(_Connection(signature, target, handle))
    return True


def disconnect(raw: QtCore.QObject, signature: str, target: Any | None = None) -> bool:
    """Undo `connect` for one target, or for all; whether there was a connection."""
    known = _connections.get(shiboken6.getCppPointer(raw)[0], [])
    matching = [c for c in known if c.signature == signature and target in (None, c.target)]
    for connection in matching:
        QtCore.QObject.disconnect(connection.handle)
        known.remove(connection)
    return bool(matching)


def targets(raw: QtCore.QObject, signature: str) -> list[Any]:
    """Return what is connected to a signal."""
    known = _connections.get(shiboken6.getCppPointer(raw)[0], [])
    return [connection.target for connection in known if connection.signature == signature]


def _accepted(target: Any) -> int | None:
    """Return how many arguments a function or method takes; None where PythonQt passes all."""
    function = target.__func__ if isinstance(target, types.MethodType) else target
    if not isinstance(function, types.FunctionType):
        return None
    if function.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return function.__code__.co_argcount - isinstance(target, types.MethodType)


class Signal:
    """A signal: declared in a subclass with `qt.Signal(types)`, or read from an object."""

    __module__ = "QtCore"

    def __init__(self, *types_: Any):
        self._types = types_
        self._owner: Any = None
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, _cls: type) -> Signal:
        return self if owner is None else bound_signal(owner, self._name)

    def __repr__(self) -> str:
        if self._owner is None:
            return "Signal"
        cls = type(self._owner).__name__
        return f"<qt signal {self._name} of {cls} instance at {hex(id(self._owner))}>"

    def to_pyside(self) -> QtCore.Signal:
        """Return the PySide6 signal to declare in a class."""
        return QtCore.Signal(*self._types)

    def connect(self, target: Callable[..., Any]) -> bool:
        """Call `target` whenever the signal is emitted."""
        raw = self._owner._raw
        return connect(raw, default_signature(raw, self._name), target)

    def disconnect(self, target: Callable[..., Any] | None = None) -> bool:
        """Undo `connect`."""
        raw = self._owner._raw
        return disconnect(raw, default_signature(raw, self._name), target)

    def emit(self, *arguments: Any) -> None:
        """Emit the signal."""
        signal = getattr(self._owner._raw, self._name)
        call(signal.emit, self._name, arguments)

    __call__ = emit


def bound_signal(owner: Any, name: str) -> Signal:
    """Return an object's signal."""
    signal = Signal()
    signal._owner, signal._name = owner, name
    return signal
