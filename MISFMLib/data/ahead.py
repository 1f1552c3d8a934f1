"""Things made ahead of their use, in threads beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
        threads: Number of threads.
    """
    pending: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="misfm-ahead")
    try:
        for item in items:
            pending.append(pool.submit(make, item))
            if len(pending) > count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
