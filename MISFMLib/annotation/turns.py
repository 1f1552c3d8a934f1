"""Those who change a training set take turns: each reads its table and writes it whole."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from MISFMLib.locks import take

_FILE = ".lock"
_LONGEST_S = 5.0
"""Others need milliseconds; whoever holds the lock for so long does not let it go."""
_LOOK_AGAIN_S = 0.01


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Let nobody else change a set for the block, which must not take another turn.

    File systems without locks go without. A folder that cannot be written to fails later, with its
    reason.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            _wait(stack.enter_context((folder / _FILE).open("a")))
        yield


def _wait(file: IO[Any]) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline:
        try:
            take(file)
        except BlockingIOError:
            time.sleep(_LOOK_AGAIN_S)
        else:
            return
