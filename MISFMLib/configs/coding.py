"""Settings to JSON and back, and the one error that names all that is wrong with them."""

from __future__ import annotations

import dataclasses
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
    hints = typing.get_type_hints(config_class)
    fields = {field.name: field for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    problems = [
        f"{config_class.__name__} has no setting {name!r} (it has {', '.join(fields)})"
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
            raise_problems([f"{name} is {value!r}, allowed are {allowed}"], "Choose one of them.")
        return value
    if origin is tuple:
        return _decode_tuple(arguments, value, name)
    if origin is dict or dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise_problems([f"{name} is {value!r}, a JSON object was expected"], "Correct it.")
        return dict(value) if origin is dict else decode(typing.cast(type, hint), value)
    return _decode_scalar(hint, value, name)


def _decode_tuple(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise_problems([f"{name} is {value!r}, a list was expected"], "Correct it.")
    if arguments[-1] is Ellipsis:
        return tuple(_decode_value(arguments[0], item, name) for item in value)
    if len(value) != len(arguments):
        raise_problems([f"{name} is {value!r}, it needs {len(arguments)} values"], "Correct it.")
    return tuple(
        _decode_value(hint, item, name) for hint, item in zip(arguments, value, strict=True)
    )


def _decode_scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is Any:
        return value
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise_problems([f"{name} is {value!r}, expected {hint.__name__}"], "Correct it.")
    return value
