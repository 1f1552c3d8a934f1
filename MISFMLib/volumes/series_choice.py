"""Which volume of a DICOM folder is meant, as ``--series`` says it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from MISFMLib.errors import ConfigError
from MISFMLib.volumes.formats.dicom_stacks import Stack

_KEYS = ("uid", "description", "echo", "echo-time", "b-value", "time", "type", "acquisition")


@dataclass(frozen=True)
class SeriesChoice:
    """What a volume must be called."""

    wanted: tuple[tuple[str, str], ...] = ()
    """Key and value; empty leaves the choice open."""

    @classmethod
    def parse(cls, text: str | None) -> SeriesChoice:
        """Read the words of ``--series``: a series instance UID, or ``echo=2,description=T2``.

        Raises:
            ConfigError: They have another form.
        """
        if not text:
            return cls()
        if re.fullmatch(r"[\w.]+", text) and "=" not in text:
            return cls((("uid", text),))
        pairs = [part.partition("=") for part in text.split(",")]
        wanted = tuple((key.strip().casefold(), value.strip()) for key, _, value in pairs)
        if not all(key in _KEYS and value for key, value in wanted):
            raise ConfigError(
                f"The series is given as {text!r}.",
                code="bad-series",
                remedy="Give a series instance UID, or one or several of "
                f"{', '.join(f'{key}=...' for key in _KEYS)}, joined by commas.",
            )
        return cls(wanted)

    def among(self, stacks: Sequence[Stack]) -> list[Stack]:
        """Return the stacks that fit; all when nothing is wanted."""
        found = list(stacks)
        for key, value in self.wanted:
            found = [stack for stack in found if _FITS[key](value, stack, found)]
        return found

    def __str__(self) -> str:
        """Return the words as they were given."""
        if len(self.wanted) == 1 and self.wanted[0][0] == "uid":
            return self.wanted[0][1]
        return ",".join(f"{key}={value}" for key, value in self.wanted)


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _has_number(attribute: str) -> Callable[[str, Stack, Sequence[Stack]], bool]:
    def fits(value: str, stack: Stack, _all: Sequence[Stack]) -> bool:
        wanted, found = _number(value), _number(getattr(stack.slices[0], attribute))
        if wanted is None or found is None:
            return value == str(getattr(stack.slices[0], attribute))
        return abs(wanted - found) <= 0.01 * max(1.0, abs(wanted))

    return fits


def _is_echo(value: str, stack: Stack, stacks: Sequence[Stack]) -> bool:
    """Count the echoes of the stack's series from the shortest echo time on."""
    own = [other for other in stacks if other.series == stack.series]
    times = {_number(other.slices[0].echo_time) for other in own} - {None}
    ordered = sorted(time for time in times if time is not None)
    time = _number(stack.slices[0].echo_time)
    return time is not None and str(ordered.index(time) + 1) == value


_FITS: dict[str, Callable[[str, Stack, Sequence[Stack]], bool]] = {
    "uid": lambda value, stack, _all: stack.series == value,
    "description": lambda value, stack, _all: (
        value.casefold() in stack.slices[0].image.description.casefold()
    ),
    "echo": _is_echo,
    "echo-time": _has_number("echo_time"),
    "b-value": _has_number("b_value"),
    "time": _has_number("phase"),
    "type": lambda value, stack, _all: (
        value.casefold() in stack.slices[0].image_type.casefold().split("\\")
    ),
    "acquisition": _has_number("acquisition"),
}
