"""The next case's volume, unpacked while the user still corrects this one.

Plain Python, without Slicer and Qt. To unpack a large volume takes seconds, in which the interface
would stand still; a child process does it meanwhile, and what it has made is read in a fraction of
the time.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

from ..TemporaryFolder import makeFolder
from .WorkerEnvironment import findPython, workerEnvironment

_PACKED = ".nii.gz"
_SMALL = 4 << 20
"""Bytes of a packed file up to which nothing is to be gained."""
_PROGRAM = """
import gzip, os, shutil, sys
with gzip.open(sys.argv[1]) as source, open(sys.argv[2] + ".part", "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)
os.replace(sys.argv[2] + ".part", sys.argv[2])
"""


class Unpacking:
    """Keeps one file unpacked, the one that was wanted last; never fails the work it is for."""

    def __init__(self) -> None:
        """Unpack nothing yet."""
        self._source: Path | None = None
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def want(self, source: Path) -> None:
        """Unpack a file in the background, if that is worth it."""
        if source == self._source:
            return
        self.close()
        with contextlib.suppress(OSError):  # no place for it: the packed file will do
            if source.name.endswith(_PACKED) and Path.stat(source).st_size > _SMALL:
                self._start(source)

    def ready(self, source: Path) -> Path | None:
        """Return the unpacked file; None when it is not there, or not whole yet."""
        target = self._target(source)
        return target if source == self._source and target.exists() else None

    def close(self) -> None:
        """End what is under way and remove the file."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._source = self._folder = self._process = None

    def _start(self, source: Path) -> None:
        self._source, self._folder = source, makeFolder("ahead")
        python = findPython()
        self._process = subprocess.Popen(
            [python, "-c", _PROGRAM, str(source), str(self._target(source))],
            env=workerEnvironment(python),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _target(self, source: Path) -> Path:
        return (self._folder or source.parent) / source.name.removesuffix(".gz")
