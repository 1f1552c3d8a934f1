"""Values on their way between scripted modules and PySide6."""

from __future__ import annotations

import collections.abc
import enum
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import shiboken6
from PySide6 import QtCore
from shibokensupport.signature import get_signature

from . import runtime
from .enums import QtEnum, returned_enum
from .proxies import Proxy, ProxyClass, proxy_of


class Mismatch(Exception):
    """A value does not fit a parameter."""


def to_python(value: Any) -> Any:
    """Convert what Qt returned: objects become proxies, lists tuples, enums integers."""
    if isinstance(value, enum.Enum):
        return returned_enum(value)
    if isinstance(value, (list, tuple)):
        return tuple(to_python(item) for item in value)
    if isinstance(value, dict):
        return {key: to_python(item) for key, item in value.items()}
    if isinstance(value, shiboken6.Shiboken.Object):
        return proxy_of(value)
    return value


def to_qt(value: Any) -> Any:
    """Convert what a scripted module gives to Qt."""
    if isinstance(value, Proxy):
        return value._raw
    if isinstance(value, ProxyClass):
        return value._pyside
    if isinstance(value, QtEnum):
        return value.to_pyside()
    if isinstance(value, (list, tuple)):
        return [to_qt(item) for item in value]
    if isinstance(value, dict):
        return {key: to_qt(item) for key, item in value.items()}
    if isinstance(value, (types.FunctionType, types.MethodType)) or _is_slot(value):
        return lambda *arguments: runtime.call_slot(value, *map(to_python, arguments))
    return value


def _is_slot(value: Any) -> bool:
    return type(value).__name__ == "builtin_qt_slot"


def call(
    function: Callable[..., Any], name: str, arguments: Sequence[Any], *, declared: Any = None
) -> Any:
    """Call Qt for a scripted module and convert what it returns; see `call_raw`."""
    return to_python(call_raw(function, name, arguments, declared=declared))


def call_raw(
    function: Callable[..., Any], name: str, arguments: Sequence[Any], *, declared: Any = None
) -> Any:
    """Call Qt as PythonQt does: with the exact types if they fit, else converted laxly.

    Args:
        function: A PySide6 class, static or bound method, or a bound method of a stand-in.
        name: What to call it in messages.
        arguments: As the scripted module gave them.
        declared: The class's method if `function` is bound: only that one knows its signature.

    Raises:
        ValueError: No overload takes these arguments.
    """
    given = [to_qt(argument) for argument in arguments]
    if isinstance(function, (types.FunctionType, types.MethodType)):
        return _call_stand_in(function, name, given)
    if not any(isinstance(value, list) for value in given):  # PySide takes [1, 2] for strings
        try:
            return function(*given)
        except TypeError as error:
            if "wrong argument" not in str(error):
                raise
    for signature in _signatures(declared or function):
        try:
            converted = _convert_all(signature, given)
        except Mismatch:
            continue
        return function(*converted)
    raise ValueError(f"Called {name} with wrong arguments: {tuple(arguments)}")


def _call_stand_in(function: Callable[..., Any], name: str, given: list[Any]) -> Any:
    try:
        bound = _signature(function).bind(*given)
        for parameter, value in bound.arguments.items():
            declared = function.__annotations__.get(parameter)
            if declared in _STAND_IN_TYPES:
                bound.arguments[parameter] = coerce(value, _STAND_IN_TYPES[declared])
    except (TypeError, Mismatch):
        raise ValueError(f"Called {name} with wrong arguments: {tuple(given)}") from None
    return function(*bound.args)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """As `inspect.signature`, which takes longer than most of what is called."""
    if isinstance(function, types.MethodType):
        return _of_method(function.__func__)
    return _of_function(function)


_of_function = functools.cache(inspect.signature)


@functools.cache
def _of_method(function: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(function)
    return signature.replace(parameters=[*signature.parameters.values()][1:])


def _signatures(function: Callable[..., Any]) -> list[inspect.Signature]:
    signatures = get_signature(function)
    return signatures if isinstance(signatures, list) else [signatures] if signatures else []


def _convert_all(signature: inspect.Signature, given: list[Any]) -> list[Any]:
    positional = (p for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY)
    parameters = [p for p in positional if p.name != "self"]
    required = [p for p in parameters if p.default is p.empty]
    if not len(required) <= len(given) <= len(parameters):
        raise Mismatch
    return [coerce(value, p.annotation) for value, p in zip(given, parameters, strict=False)]


_SEQUENCES = (collections.abc.Sequence, collections.abc.Iterable, list, tuple)


def coerce(value: Any, wanted: Any) -> Any:
    """Convert one value to a parameter's type, as laxly as PythonQt.

    Raises:
        Mismatch: It cannot be converted.
    """
    if wanted in (Any, object):
        return value
    origin = typing.get_origin(wanted)
    if origin in (typing.Union, types.UnionType):
        return _coerce_to_any(value, typing.get_args(wanted))
    if origin in _SEQUENCES and isinstance(value, list):
        inner = (*typing.get_args(wanted), Any)[0]
        return [coerce(item, inner) for item in value]
    if wanted in _CONVERTERS:
        return _CONVERTERS[wanted](value)
    if isinstance(wanted, type):
        return _coerce_to_class(value, wanted)
    return value


def _coerce_to_any(value: Any, choices: Sequence[Any]) -> Any:
    for exact in choices:
        if isinstance(exact, type) and isinstance(value, exact):
            return value
    for choice in choices:
        try:
            return coerce(value, choice)
        except Mismatch:
            continue
    raise Mismatch


def _coerce_to_class(value: Any, wanted: type) -> Any:
    if isinstance(value, wanted):
        return value
    if issubclass(wanted, enum.Enum) and isinstance(value, int):
        try:
            return wanted(int(value))
        except ValueError:
            raise Mismatch from None
    raise Mismatch


def _to_int(value: Any) -> int:
    if isinstance(value, enum.Enum):
        value = value.value
    if not isinstance(value, (int, float)):
        raise Mismatch
    return math.floor(value)


def _to_float(value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise Mismatch
    return float(value)


def _to_text(value: Any) -> str:
    if value is None:
        raise Mismatch
    return str(value)


def _to_bytes(value: Any) -> QtCore.QByteArray:
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, (bytes, bytearray, QtCore.QByteArray)):
        raise Mismatch
    return QtCore.QByteArray(value)


_CONVERTERS: dict[Any, Callable[[Any], Any]] = {
    bool: bool,
    int: _to_int,
    float: _to_float,
    str: _to_text,
    bytes: _to_bytes,
    QtCore.QByteArray: _to_bytes,
}
# The types that PythonQt converts laxly, as the sources of the stand-ins spell them.
_STAND_IN_TYPES = {"bool": bool, "int": int, "float": float, "str": str, "list[str]": list[str]}
