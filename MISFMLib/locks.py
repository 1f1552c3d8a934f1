"""One run at a time in a folder; the system gives the lock back however the run ends."""

from __future__ import annotations

import errno
import sys
from typing import IO, Any

from MISFMLib.errors import OutputError
from MISFMLib.events import EventSink, Notice

_BUSY = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
"""What systems say when another process has the lock; anything else says that there are none."""


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
    try:
        _take(file)
    except OSError as error:
        if error.errno in _BUSY:
            raise busy from error
        events(
            Notice(
                f"The file system of {file.name} has no locks ({error.strerror or error}): see to "
                "it that no second run writes to the same output."
            )
        )


def _take(file: IO[Any]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
