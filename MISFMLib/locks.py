"""One run at a time in a folder; the system gives the lock back however the run ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from MISFMLib.errors import OutputError

if TYPE_CHECKING:
    from MISFMLib.events import EventSink

_LOCK = ".misfm-lock"
_BUSY = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
"""What systems say when another process has the lock; anything else says that there are none."""


@contextlib.contextmanager
def alone_in(folder: Path, busy: OutputError, events: EventSink) -> Iterator[None]:
    """Be the only one that writes to a folder, which is made; nothing of it stays behind.

    Args:
        folder: The folder.
        busy: Raised when another process is at work there.
        events: Hears of a file system without locks.

    Raises:
        OutputError: `busy`, or the folder cannot be written to.
    """
    path = folder / _LOCK
    while True:
        with _opened(path) as file:
            lock(file, busy, events)
            if not _is_at(path, file):  # its last owner has just removed it
                continue
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # Windows removes no open file
                    path.unlink()
            return


def _opened(path: Path) -> IO[Any]:
    from MISFMLib.files import output_error  # not above: files lock while they replace folders

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")
    except OSError as error:
        raise output_error(error, path.parent) from error


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

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
