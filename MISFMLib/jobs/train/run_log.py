"""What a training says, kept in its folder: a line for each notice and number, and TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from MISFMLib.events import Event, EventSink, Metric, Notice, event_to_json
from MISFMLib.files import output_error


@contextlib.contextmanager
def logged(path: Path, events: EventSink) -> Iterator[EventSink]:
    """Give an event sink that passes events on and keeps notices and numbers in a file.

    The numbers also go to TensorBoard, into a folder beside it, when that is installed.

    Args:
        path: The file; what is there stays.
        events: Receives all events.

    Raises:
        OutputError: The place is read-only or full.
    """
    with _scalars(path.with_name("tensorboard")) as add:

        def keep(event: Event) -> None:
            if isinstance(event, Metric | Notice):
                _append(path, event_to_json(event) + "\n")
            if isinstance(event, Metric):
                add(event)
            events(event)

        yield keep


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise output_error(error, path) from error


@contextlib.contextmanager
def _scalars(folder: Path) -> Iterator[Any]:
    """Give a function that writes the numbers of an event for TensorBoard, if that is installed.

    They stand in the log as well: that they cannot be written ends no training.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield lambda _event: None
        return

    try:
        writer = SummaryWriter(folder)
    except OSError as error:
        raise output_error(error, folder) from error

    def add(event: Metric) -> None:
        with contextlib.suppress(OSError):
            for name, value in event.values.items():
                writer.add_scalar(name, value, event.step)

    try:
        yield add
    finally:
        with contextlib.suppress(OSError):
            writer.close()
