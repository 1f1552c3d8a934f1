"""A child process that reads lines and writes lines, and never outlives its owner."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from ..TemporaryFolder import makeFolder

_CHUNK = 1 << 20
"""Bytes of output that are read at once: a flood of it must not stop the interface."""
_LOG_BYTES = 16000
"""So much of the end of stderr is shown."""
_END_TIMEOUT_S = 0.8


class WorkerProcess:
    """A running program with everything it starts.

    stdin is a pipe, whose end tells the program that nobody is there any more; stdout and stderr
    are files in a temporary folder, which reading never blocks on.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the program.

        Raises:
            OSError: It is missing or cannot be started.
        """
        self.command = tuple(command)
        self._folder = makeFolder("worker")
        self._rest = b""
        try:
            self._process = self._start(environment)
            self._output = (self._folder / "stdout").open("rb")
        except OSError:
            self._removeFiles()
            raise

    def _start(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (
            (self._folder / "stdout").open("wb") as stdout,
            (self._folder / "stderr").open("wb") as stderr,
        ):
            return subprocess.Popen(
                self.command,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                **groupOptions(),
            )

    @property
    def exitCode(self) -> int | None:
        """The exit code; negative for a signal, None while it runs."""
        return self._process.poll()

    def send(self, command: dict[str, Any]) -> None:
        """Write one line of JSON; a program that has ended gets nothing."""
        line = json.dumps(command) + "\n"
        with contextlib.suppress(OSError):  # the exit code tells why
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()

    def newLines(self) -> list[str]:
        """Return the lines of stdout that were completed since the last call."""
        isAlive = self.exitCode is None  # asked first, so that nothing is written after reading
        chunk = self._output.read(_CHUNK if isAlive else -1)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if not isAlive and self._rest:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", errors="replace") for line in lines]

    def errorText(self) -> str:
        """Return the end of stderr."""
        with (self._folder / "stderr").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LOG_BYTES))
            return file.read().decode("utf-8", errors="replace")

    def end(self) -> None:
        """End the program and everything it started, at once, and remove its files."""
        killTree(self._process)
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._output.close()
        self._removeFiles()

    def _removeFiles(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def groupOptions() -> dict[str, Any]:
    """Return options that give a program a group of its own: PythonSlicer has a child process."""
    if os.name == "nt":
        # Without a console window.
        return {"creationflags": subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def killTree(process: subprocess.Popen[bytes]) -> None:
    """End a program that was started with `groupOptions` and everything it started, at once."""
    if os.name != "nt" or process.poll() is None:
        # Also when the program itself has ended: what it left behind is still in its group.
        endGroup(process.pid)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_TIMEOUT_S)


def endGroup(pid: int) -> None:
    """End the processes of a group at once, by the number of the first; 0 for none."""
    if pid <= 0:
        return
    if os.name == "nt":
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(pid)],
            check=False,
            capture_output=True,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
