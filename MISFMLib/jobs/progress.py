"""Progress with the time left, for stages that count what they have done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from MISFMLib.events import EventSink, Progress

_MANY = 20
"""Cases from which the rate and the failures are worth a word."""


def counter(events: EventSink, stage: str, total: int) -> Callable[[int], None]:
    """Return a function that takes the number done so far and sends it as progress."""
    started = time.monotonic()

    def count(done: int) -> None:
        left_s = (time.monotonic() - started) * (total - done) / done
        events(Progress(stage, done / total, f"{done} of {total}", left_s))

    return count


class Pace:
    """How far a batch has come, how fast, and what went wrong so far."""

    def __init__(self, total: int, done: int = 0) -> None:
        """Begin to count.

        Args:
            total: All cases.
            done: Those that were done before.
        """
        self._total = total
        self._done = self._before = done
        self._failures: Counter[str] = Counter()
        self._started = time.monotonic()

    def add(self, failure: str = "") -> None:
        """Count a case that has ended, by the code of its error if it failed."""
        self._done += 1
        if failure:
            self._failures[failure] += 1

    def progress(self, stage: str) -> Progress:
        """Return an event that tells how far the batch is."""
        message = f"{self._done} of {self._total}{self._details()}"
        return Progress(stage, self._done / self._total, message, self._left_s())

    def position(self) -> str:
        """Return which case is under way, such as ``2 of 3``; of many also rate and failures."""
        text = f"{self._done + 1} of {self._total}"
        return f"{text}{self._details()}" if self._total >= _MANY else text

    def _rate(self) -> float:
        """Return the cases per second of this run."""
        seconds = time.monotonic() - self._started
        return (self._done - self._before) / seconds if seconds > 0 else 0.0

    def _left_s(self) -> float | None:
        rate = self._rate()
        return (self._total - self._done) / rate if rate else None

    def _details(self) -> str:
        rate, left_s = self._rate(), self._left_s()
        parts = []
        if left_s is not None:
            parts.append(f"{rate:.2g}/s" if rate >= 1 else f"{60 * rate:.2g}/min")
            parts.append(f"{_duration(left_s)} left")
        if self._failures:
            kinds = ", ".join(f"{count} {code}" for code, count in self._failures.most_common())
            parts.append(f"failed: {kinds}")
        return f" ({', '.join(parts)})" if parts else ""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
