"""Work that would hold up Slicer, done piece by piece between its events."""

from __future__ import annotations

import inspect
from collections.abc import Generator

Work = Generator[None, None, None]


class Pieces:
    """Does one work at a time; who has a timer calls `doNext` until all is done."""

    def __init__(self) -> None:
        """Have nothing to do."""
        self._work: Work | None = None

    @property
    def isBusy(self) -> bool:
        """Whether there is something to do."""
        return self._work is not None

    def begin(self, work: Work) -> None:
        """Take on a work; nothing is done yet."""
        self._work = work

    def drop(self) -> None:
        """Leave undone what is not done."""
        self._work = None

    def doNext(self) -> bool:
        """Do a piece, and tell whether it was the last.

        What the piece raises comes out. A call from within a piece, by the event loop of a dialog,
        does nothing.
        """
        work = self._work
        if work is None or inspect.getgeneratorstate(work) == inspect.GEN_RUNNING:
            return False
        try:
            next(work)
        except StopIteration:
            isDone = self._work is work
            self._work = None
            return isDone
        return False
