"""One process at a time at a file; the system gives the lock back however the process ends."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from MISFMLib.errors import OutputError

if TYPE_CHECKING:
    from MISFMLib.events import EventSink

_BUSY = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
"""What systems say when another process has the lock; anything else says that there are none."""


_LOCKED_BYTE = 2**30
"""Windows lets nobody else read what is locked, so it lies behind all that the files hold."""


def open_locked(path: Path, events: EventSink) -> IO[str] | None:
    """Open a text file that others may remove at any time, and lock it; missing folders are made.

    Returns:
        The file, to be read from its start and written at its end; None when another process has
        the lock.

    Raises:
        OSError: It cannot be made.
    """
    for left in reversed(range(_MOST_REMOVALS)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="ascii", newline="\n")
        except FileNotFoundError:
            if left:
                continue  # somebody has just removed the empty folder
            raise
        try:
            lock(file, _TAKEN, events)
            if _is_at(path, file):
                return file
        except OutputError:
            file.close()
            return None
        file.close()  # removed after we opened it
    raise FileNotFoundError(errno.ENOENT, "it is removed again and again", str(path))


_MOST_REMOVALS = 1000
"""How often in a row others may remove a file or its folder; some places cannot hold any."""
_TAKEN = OutputError("Another process has the lock.", code="locked", remedy="Wait for it.")


def _is_at(path: Path, file: IO[Any]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def lock(file: IO[Any], busy: OutputError, events: EventSink) -> None:
    """Lock an open file until it is closed or this process ends.

    File systems without locks (some NFS and Lustre) get a notice: there two runs can meet.

    Args:
        file: Open for writing.
        busy: Raised when another process has the lock.
        events: Hears of a file system without locks.

    Raises:
        OutputError: `busy`.
    """
    from MISFMLib.events import Notice  # not above: events read their JSON by files, which lock

    try:
        take(file)
    except BlockingIOError as error:
        raise busy from error
    except OSError as error:
        events(
            Notice(
                f"The file system of {file.name} has no locks ({error.strerror or error}): see to "
                "it that no second run writes to the same output."
            )
        )


def take(file: IO[Any]) -> None:
    """Lock an open file until it is closed or this process ends.

    Raises:
        BlockingIOError: Another process has the lock.
        OSError: The file system has no locks.
    """
    try:
        _take(file)
    except OSError as error:
        if error.errno in _BUSY:
            raise BlockingIOError(error.errno, error.strerror) from error
        raise


def _take(file: IO[Any]) -> None:
    if sys.platform == "win32":
        import msvcrt

        descriptor = file.fileno()
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, place, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
