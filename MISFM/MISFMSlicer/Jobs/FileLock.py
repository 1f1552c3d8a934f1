"""Whether a process is alive, told by the system itself: a file that is locked while it runs.

A number of a process can be given to another one after a restart; a lock cannot outlive its owner.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def holdFor(path: Path) -> Iterator[int]:
    """Lock a file; a child process that is given its descriptor holds it until it ends.

    On Windows, where a child cannot be given it, `isHeld` asks whether the file that the child
    writes to is open.

    Raises:
        OSError: It is locked already, or cannot be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if os.name != "nt":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def isHeld(path: Path) -> bool:
    """Tell whether the process that was given the lock is alive."""
    if os.name == "nt":
        return _isOpen(path.with_name("events.jsonl"))
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _isOpen(path: Path) -> bool:
    """Tell whether another process has a file open: Windows then refuses to rename it."""
    if not path.exists():
        return False
    try:
        path.rename(path)
    except OSError:
        return True
    return False
