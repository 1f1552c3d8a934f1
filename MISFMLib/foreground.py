"""Who waits for a result now gets the cores: a training yields between two steps while one does.

A claim is a file that its owner touches every few seconds. One that is not touched any more, since
its owner has crashed, holds nothing up: neither process needs to know the other.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from pathlib import Path

_LEASE_S = 10.0
"""A claim that was not renewed for so long is void."""
_RENEW_S = 2.0


class Claim:
    """Says that somebody waits, from `renew` to `release`; never fails the work it is for."""

    def __init__(self, folder: Path, what: str = "") -> None:
        """Claim nothing yet.

        Args:
            folder: Where all claims of this user lie; see `claims_folder`. One of what is claimed
                is made where its parent is: of a set that was moved no empty one shall be left.
            what: What is claimed; nothing for the cores.
        """
        self._makes_parents = not what
        self._file = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.{what}"
        self._renewed_at = -_RENEW_S

    def renew(self) -> None:
        """Begin or prolong the claim; cheap enough to call ten times a second."""
        if time.monotonic() - self._renewed_at < _RENEW_S:
            return
        self._renewed_at = time.monotonic()
        with contextlib.suppress(OSError):  # a full disk must not stop a segmentation
            self._file.parent.mkdir(parents=self._makes_parents, exist_ok=True)
            self._file.touch()

    def release(self) -> None:
        """Give the cores back."""
        self._renewed_at = -_RENEW_S
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)


def claims_folder(home: Path) -> Path:
    """Return the folder of the claims below MISFM's folder of this user."""
    return home / "foreground"


def is_claimed(folder: Path) -> bool:
    """Tell whether somebody waits; claims that are void are removed."""
    return bool(claimed(folder))


def claimed(folder: Path) -> list[str]:
    """Return what is claimed, once for each claim; those that are void are removed."""
    found: list[str] = []
    try:
        files = list(folder.iterdir())
    except OSError:
        return found
    for file in files:
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime < _LEASE_S:
                found.append(file.name.partition(".")[2])
            else:
                file.unlink(missing_ok=True)
    return found
