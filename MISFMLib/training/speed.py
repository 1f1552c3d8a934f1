"""Where the time of a training goes: whether the network has to wait for its samples."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_counting = threading.Lock()
"""Held while a maker adds its numbers; no part of what a checkpoint keeps."""


@dataclass
class Speed:
    """Times of one process, over all sessions of a training."""

    steps: int = 0
    made: int = 0
    """Samples made, ahead of the network."""
    seen: int = 0
    """Samples that the network has seen."""
    making_s: float = 0.0
    """Time in which samples were made, in threads beside the network, added up."""
    makers: int = 1
    """Threads that make samples."""
    waiting_s: float = 0.0
    """Time in which the network waited for them."""
    computing_s: float = 0.0
    """Time in which it computed."""

    @contextmanager
    def making(self, samples: int) -> Iterator[None]:
        """Count the block as the making of so many samples."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        with _counting:
            self.making_s += seconds
            self.made += samples

    @contextmanager
    def computing(self, samples: int) -> Iterator[None]:
        """Count the block as a step with so many samples."""
        started = time.perf_counter()
        yield
        self.computing_s += time.perf_counter() - started
        self.seen += samples
        self.steps += 1

    def waiting(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items and count the time until each is there."""
        iterator = iter(items)
        while True:
            started = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self.waiting_s += time.perf_counter() - started
            yield item

    def summary(self) -> dict[str, float]:
        """Compare the making of samples with the network, for a report; empty without a step."""
        if not self.steps:
            return {}
        return {
            "loader_samples_per_s": round(self.makers * self.made / self.making_s, 3),
            "network_samples_per_s": round(self.seen / self.computing_s, 3),
            "network_steps_per_s": round(self.steps / self.computing_s, 3),
            "share_waited": round(self.waiting_s / (self.waiting_s + self.computing_s), 4),
        }
