"""What the Slicer process itself looks like from Python: streams, interpreter, log."""

from __future__ import annotations

import logging
import shutil
import sys
from typing import Any

INTERPRETER = sys.executable
"""The Python that runs the host; `become_slicer` hides it as Slicer does."""


class PythonQtStdOutRedirect:
    """`sys.stdout` in Slicer: it writes, and has nothing else that a file has."""

    __module__ = "builtins"  # it prints as <PythonQtStdOutRedirect object>
    closed = False

    def __init__(self, stream: Any):
        self._write = stream.write
        self._flush = stream.flush

    def write(self, text: str) -> None:
        """Write; unlike a file's, it returns nothing."""
        self._write(text)

    def flush(self) -> None:
        """Write what is buffered."""
        self._flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return False


class PythonQtStdInRedirect:
    """`sys.stdin` in Slicer: nothing to read."""

    __module__ = "builtins"
    closed = False

    def readline(self) -> str:
        """Return an empty line."""
        return ""


class SlicerApplicationLogHandler(logging.StreamHandler):
    """The handler of the root logger in Slicer."""

    def __repr__(self) -> str:
        return f"<SlicerApplicationLogHandler ({logging.getLevelName(self.level)})>"


def become_slicer(arguments: list[str]) -> None:
    """Give this process the streams, the log and the interpreter's name of Slicer's."""
    root = logging.getLogger()
    root.handlers[:] = [SlicerApplicationLogHandler(sys.stderr)]
    root.handlers[0].setLevel(logging.DEBUG)
    root.setLevel(logging.INFO)
    sys.stdout = PythonQtStdOutRedirect(sys.stdout)  # type: ignore[assignment]
    sys.stderr = PythonQtStdOutRedirect(sys.stderr)  # type: ignore[assignment]
    sys.stdin = PythonQtStdInRedirect()  # type: ignore[assignment]
    sys.executable = shutil.which("PythonSlicer") or ""
    sys.argv = arguments
