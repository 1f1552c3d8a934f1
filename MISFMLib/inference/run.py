"""What is collected and told while one volume is segmented."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from MISFMLib.events import EventSink, Notice, Progress
from MISFMLib.inference.sliding_window import WindowCounter


@dataclass
class Run:
    """What is collected while one volume is segmented."""

    events: EventSink
    notices: list[str] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)
    computed_windows: int = 0

    def notify(self, message: str) -> None:
        """Tell the user and keep it for the report."""
        self.notices.append(message)
        self.events(Notice(message))

    def tell_conversion(self) -> None:
        """Tell that the network is converted, which takes some seconds."""
        self.events(Progress("convert", 0.0, "for this computer, once"))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's seconds to a stage."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.timings_s[stage] = self.timings_s.get(stage, 0.0) + seconds


def window_progress(events: EventSink) -> WindowCounter:
    """Return a window counter that reports the share done and the time left."""
    start = time.perf_counter()

    def report(done: int, total: int) -> None:
        left_s = (time.perf_counter() - start) * (total - done) / done
        events(Progress("segment", done / total, f"window {done} of {total}", left_s))

    return report
