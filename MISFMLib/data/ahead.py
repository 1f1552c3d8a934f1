"""Things made ahead of their use, in threads beside it."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from MISFMLib.cores import usable_cores

_MOST_MAKERS = 4
"""Threads that make samples for a GPU; on a CPU more than one would only slow the network."""
S = TypeVar("S")
T = TypeVar("T")


def ahead(
    make: Callable[[S], T], items: Iterable[S], count: int, threads: int = 1
) -> Generator[T, None, None]:
    """Yield make(item) for every item, in order, computed ahead in background threads.

    An exception of `make` is raised where its result would have been yielded.

    Args:
        make: Called by several threads at a time if there are several.
        items: What to make them from.
        count: How many are made or waiting while one is used.
        threads: Number of threads; several compute with one core each.
    """
    pending: deque[Future[T]] = deque()
    # What a thread sets is its own, and what threads get that are started later.
    initializer = functools.partial(torch.set_num_threads, 1) if threads > 1 else None
    pool = ThreadPoolExecutor(threads, "misfm-ahead", initializer)
    try:
        for item in items:
            pending.append(pool.submit(make, item))
            if len(pending) > count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def makers_for(device: torch.device) -> int:
    """Choose how many threads make samples for a device."""
    return 1 if device.type == "cpu" else max(1, min(_MOST_MAKERS, usable_cores() - 1))
