"""Progress with the time left, for stages that count what they have done."""

from __future__ import annotations

import time
from collections.abc import Callable

from MISFMLib.events import EventSink, Progress


def counter(events: EventSink, stage: str, total: int) -> Callable[[int], None]:
    """Return a function that takes the number done so far and sends it as progress."""
    started = time.monotonic()

    def count(done: int) -> None:
        left_s = (time.monotonic() - started) * (total - done) / done
        events(Progress(stage, done / total, f"{done} of {total}", left_s))

    return count
