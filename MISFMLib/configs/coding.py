"""Settings to JSON and back, and the one error that names all that is wrong with them."""

from __future__ import annotations

import dataclasses
import functools
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from MISFMLib.errors import ConfigError


def raise_problems(problems: list[str], remedy: str) -> None:
    """Raise one ConfigError that names all problems, or return when there are none."""
    if problems:
        raise ConfigError("; ".join(problems) + ".", code="bad-option", remedy=remedy)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def encode(config: Any) -> dict[str, Any]:
    """Turn a config into JSON types: tuples become lists, paths become strings."""
    return {
        field.name: _encode_value(getattr(config, field.name))
        for field in dataclasses.fields(config)
    }


def _encode_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return encode(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_encode_value(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _encode_value(item) for key, item in value.items()}
    return value


ConfigT = TypeVar("ConfigT")


def decode(config_class: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Build a config from JSON types.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type.
    """
    given: Any = values
    if not isinstance(given, Mapping):
        problem = f"{config_class.__name__} is {_shown(values)}, a JSON object was expected"
        raise_problems([problem], "Compare with a file that this version wrote.")
    hints = _hints(config_class)  # type: ignore[arg-type]
    fields = {field.name: field for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    problems = [
        f"{config_class.__name__} has no setting {_shown(name)} (it has {', '.join(fields)})"
        for name in values
        if name not in fields
    ]
    problems += [
        f"{config_class.__name__} needs {name}"
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    raise_problems(problems, "Compare with a file that this version wrote.")
    return config_class(
        **{name: _decode_value(hints[name], value, name) for name, value in values.items()}
    )


@functools.cache
def _hints(config_class: type) -> dict[str, Any]:
    """Return the types of the fields: to evaluate them takes most of the time of a small config."""
    return typing.get_type_hints(config_class)


def _decode_value(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _decode_value(inner, value, name)
    if origin is Literal:
        if value not in arguments:
            allowed = ", ".join(map(str, arguments))
            problem = f"{name} is {_shown(value)}, allowed are {allowed}"
            raise_problems([problem], "Choose one of them.")
        return value
    if origin is tuple:
        return _decode_tuple(arguments, value, name)
    if origin is dict or dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            problem = f"{name} is {_shown(value)}, a JSON object was expected"
            raise_problems([problem], "Correct it.")
        return dict(value) if origin is dict else decode(typing.cast(type, hint), value)
    return _decode_scalar(hint, value, name)


def _decode_tuple(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise_problems([f"{name} is {_shown(value)}, a list was expected"], "Correct it.")
    if arguments[-1] is Ellipsis:
        return tuple(_decode_value(arguments[0], item, name) for item in value)
    if len(value) != len(arguments):
        problem = f"{name} is {_shown(value)}, it needs {len(arguments)} values"
        raise_problems([problem], "Correct it.")
    return tuple(
        _decode_value(hint, item, name) for hint, item in zip(arguments, value, strict=True)
    )


def _decode_scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is Any:
        return value
    if hint in (Path, str) and isinstance(value, str) and not _is_text(value, hint):
        raise_problems([f"{name} is {_shown(value)}, which is no text"], "Correct it.")
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint in (int, float) and isinstance(value, int | float) and not _is_sane(value):
        raise_problems([f"{name} is {_shown(value)}, which is no usable number"], "Correct it.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise_problems([f"{name} is {_shown(value)}, expected {hint.__name__}"], "Correct it.")
    return value


def _is_text(value: str, hint: type) -> bool:
    """Tell text from characters that no file and no screen takes.

    Names of files need not be text: the system's come with surrogates, which it takes back.
    """
    try:
        value.encode("utf-8", "surrogateescape" if hint is Path else "strict")
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _is_sane(value: float) -> bool:
    """Tell whether a number is finite and fits into the 64 bits of any machine."""
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def _shown(value: Any) -> str:
    """Write a value for a message, shortened: it may be of any size and depth."""
    return _SHORT.repr(value)
