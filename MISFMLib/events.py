"""What a job tells its caller while it runs: one event per line of JSON.

A job sends any number of ``Progress``, ``Metric``, ``Notice`` and ``CaseDone`` events and ends with
exactly one ``Finished`` or ``Failed``. The command line shows them to people or prints them as JSON
lines for programs (``--events json``); the Slicer module reads those lines.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from MISFMLib.files import parse_json


@dataclass(frozen=True)
class Progress:
    """How far a stage has come."""

    stage: str
    """Short name of the stage, such as ``read``, ``segment``, ``train``."""
    fraction: float
    """Done part of the stage, 0 to 1."""
    message: str = ""
    """What is being done, for people."""
    eta_s: float | None = None
    """Estimated seconds until the stage is done; None while unknown."""


@dataclass(frozen=True)
class Metric:
    """Numbers of one training step or validation."""

    step: int
    """Optimizer steps done."""
    values: dict[str, float]
    """Name to value, such as ``loss`` or ``dice/left atrium``."""


@dataclass(frozen=True)
class Notice:
    """Something the user should know and the job survives, such as a fallback to the CPU."""

    message: str
    """One or two sentences for people."""
    level: str = "warning"
    """``info`` or ``warning``."""


@dataclass(frozen=True)
class Measured:
    """What a window costs on this machine; told when somebody asked for it, and of no job."""

    model: str
    """Name of the model, as it was asked for."""
    device: str
    """Device that computed it, such as ``cpu`` or ``cuda:0``."""
    engine: str
    """Program that computed it, and its version."""
    window_s: float
    """Seconds for one window."""
    memory_bytes: int
    """Most memory that the process, or the GPU it used, has held: program, network and window."""
    can_convert: bool = False
    """Whether a faster program takes over as soon as that pays."""


@dataclass(frozen=True)
class CaseDone:
    """One case of a batch has ended."""

    case: str
    """Name of the case."""
    status: str
    """``done``, ``skipped`` (its result was already there), ``failed`` or ``cancelled``."""
    message: str = ""
    """Why it failed or was skipped."""
    outputs: tuple[str, ...] = ()
    """Files written for the case."""


@dataclass(frozen=True)
class Finished:
    """The job ended well; always the last event."""

    report: dict[str, Any] = field(default_factory=dict)
    """What was made, from what, how and how fast; JSON types only."""


@dataclass(frozen=True)
class Failed:
    """The job ended without its result; always the last event."""

    message: str
    """What was given and what was expected."""
    code: str
    """Stable name of the cause (``MISFMError.code``), or ``internal``."""
    remedy: str = ""
    """What the user can do next."""
    traceback: str = ""
    """Python traceback of an unexpected error, for the report; empty for user errors."""
    details: tuple[dict[str, Any], ...] = ()
    """What is wrong, problem by problem, where a program can do something about each."""


Event = Progress | Metric | Notice | Measured | CaseDone | Finished | Failed
EventSink = Callable[[Event], None]
"""Takes the events of a job; must not block for long."""

_EVENT_TYPES = {
    cls.__name__: cls for cls in (Progress, Metric, Notice, Measured, CaseDone, Finished, Failed)
}


@contextlib.contextmanager
def warnings_as_notices(events: EventSink) -> Iterator[None]:
    """Let the warnings of the readers of volumes in the block be heard, such as what they left out.

    Each is told once: a data set is read several times.
    """
    handler = _NoticeHandler(events)
    logger = logging.getLogger(READERS)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _NoticeHandler(logging.Handler):
    """Turns warnings into notices."""

    def __init__(self, events: EventSink) -> None:
        super().__init__(logging.WARNING)
        self._events = events
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a warning, unless it was told before; what is more than that ends in an error."""
        message = record.getMessage()
        if record.levelno == logging.WARNING and message not in self._told:
            self._told.add(message)
            self._events(Notice(message))


def ignore_events(_event: Event) -> None:
    """Event sink that drops everything."""


def log_notices(event: Event) -> None:
    """Event sink for programs that give none: what the user should know goes to Python's log."""
    if isinstance(event, Notice):
        level = logging.WARNING if event.level == "warning" else logging.INFO
        logging.getLogger("MISFMLib").log(level, event.message)


READERS = "MISFMLib.volumes"
"""Name of the loggers of all readers."""


def event_to_json(event: Event) -> str:
    """Encode an event as one line of ASCII JSON, without the line break."""
    fields = _without_nan(asdict(event))
    return json.dumps({"event": type(event).__name__, **fields}, allow_nan=False)


def _without_nan(value: Any) -> Any:
    """Replace numbers that JSON does not know by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def event_from_json(line: str) -> Event:
    """Decode one line written by `event_to_json`.

    Raises:
        ValueError: The line is not JSON, or not an event.
    """
    fields = parse_json(line)
    if not isinstance(fields, dict) or str(fields.get("event")) not in _EVENT_TYPES:
        raise ValueError(f"Not an event: {line[:80]!r}")
    event_class = _EVENT_TYPES[fields.pop("event")]
    try:
        if "outputs" in fields:
            fields["outputs"] = tuple(fields["outputs"])
        if "details" in fields:
            fields["details"] = tuple(fields["details"])
        event: Event = event_class(**fields)
    except TypeError as error:
        raise ValueError(f"Not a {event_class.__name__} event: {error}") from error
    return event
