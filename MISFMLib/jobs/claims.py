"""Who works on which case of an output folder: one process at a time, and how many died over it.

A claim is a small file that its process keeps locked and removes when the case has ended, well or
badly. Only a process that is killed leaves it behind; the system takes its lock, and the line that
it wrote there tells the next one of a lost try. So any number of runs share a folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from MISFMLib.events import EventSink
from MISFMLib.files import output_error, unfinished
from MISFMLib.locks import open_locked

WORK = ".misfm-work"
"""Folder in an output folder that exists while somebody works there, or was killed."""


class Claim:
    """The right to work on a case."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        file.seek(0)
        self.tries = len(file.readlines())
        """Processes that have died over the case."""

    def begin(self) -> None:
        """Write down that this process tries the case now."""
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()


@contextlib.contextmanager
def claimed(folder: Path, case: str, events: EventSink) -> Iterator[Claim | None]:
    """Claim a case for the block.

    Args:
        folder: Output folder of the job.
        case: Name of the case; may be part of a file name.
        events: Hears of a file system without locks.

    Yields:
        The claim, or None when another process has it.

    Raises:
        OutputError: The folder is read-only or full.
    """
    path = folder / WORK / "claims" / case
    file = open_work_file(path, events)
    if file is None:
        yield None
        return
    with file, unfinished(path):
        claim = Claim(file)
        try:
            yield claim
        finally:
            file.truncate(0)  # Windows does not remove an open file


def open_work_file(path: Path, events: EventSink) -> IO[str] | None:
    """Open and lock a file of the work folder; None when another process has it.

    Raises:
        OutputError: The folder is read-only or full.
    """
    try:
        return open_locked(path, events)
    except OSError as error:
        raise output_error(error, path) from error


def tidy(folder: Path) -> bool:
    """Remove what is empty of the work folder below an output folder; tell whether no claim is."""
    work = folder / WORK
    with contextlib.suppress(OSError):
        (work / "claims").rmdir()
    with contextlib.suppress(OSError):
        work.rmdir()
    return not (work / "claims").exists()
