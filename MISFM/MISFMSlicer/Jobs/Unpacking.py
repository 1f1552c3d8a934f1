"""The next case's volumes, unpacked while the user still corrects this one.

Plain Python, without Slicer and Qt. To unpack a large volume takes seconds, in which the interface
would stand still; a child process does it meanwhile, and what it has made is read in a fraction of
the time.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..TemporaryFolder import makeFolder
from .WorkerEnvironment import findPython, workerEnvironment

_PACKED = ".nii.gz"
_SMALL = 4 << 20
"""Bytes of a packed file up to which nothing is to be gained."""
_PROGRAM = """
import gzip, os, shutil, sys
for packed, unpacked in zip(sys.argv[1::2], sys.argv[2::2]):
    with gzip.open(packed) as source, open(unpacked + ".part", "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    os.replace(unpacked + ".part", unpacked)
"""


class Unpacking:
    """Keeps the files of the case that was wanted last unpacked; never fails the work it is for."""

    def __init__(self) -> None:
        """Unpack nothing yet."""
        self._sources: tuple[Path, ...] = ()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def want(self, sources: Sequence[Path]) -> None:
        """Unpack files in the background, those for which that is worth it."""
        if tuple(sources) == self._sources:
            return
        self.close()
        with contextlib.suppress(OSError):  # no place for it: the packed files will do
            packed = [
                source
                for source in sources
                if source.name.endswith(_PACKED) and source.stat().st_size > _SMALL
            ]
            if packed:
                self._start(tuple(sources), packed)

    def ready(self, source: Path) -> Path | None:
        """Return the unpacked file; None when it is not there, or not whole yet."""
        target = self._target(source)
        return target if source in self._sources and target.exists() else None

    def close(self) -> None:
        """End what is under way and remove the files."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._sources, self._folder, self._process = (), None, None

    def _start(self, sources: tuple[Path, ...], packed: Sequence[Path]) -> None:
        self._sources, self._folder = sources, makeFolder("ahead")
        python = findPython()
        files = [str(path) for source in packed for path in (source, self._target(source))]
        self._process = subprocess.Popen(
            [python, "-c", _PROGRAM, *files],
            env=workerEnvironment(python),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _target(self, source: Path) -> Path:
        return (self._folder or source.parent) / source.name.removesuffix(".gz")
