"""Temporary folders: what a killed Slicer has left of them is removed at the next start.

The name of a folder tells the process that made it. Plain Python, for processes without Slicer too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

_NAME = re.compile(r"misfm-[a-z]+-(?P<process>\d+)-")
_made: set[Path] = set()


def makeFolder(kind: str, parent: str | None = None) -> Path:
    """Make an empty folder that only this user can read; whoever makes it removes it.

    Args:
        kind: What it is for, in letters a to z.
        parent: Where; the system's folder for temporary files when not given.

    Raises:
        OSError: It cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"misfm-{kind}-{os.getpid()}-", dir=parent))
    _made.add(folder)
    return folder


def removeLeftovers(parents: Iterable[str]) -> None:
    """Remove the folders of processes that have ended; what cannot be removed stays.

    Args:
        parents: Folders for temporary files.
    """
    for folder in (path for parent in set(parents) for path in Path(parent).glob("misfm-*")):
        match = _NAME.match(folder.name)
        if match is None or folder in _made:
            continue
        process = int(match["process"])
        # A folder of our number that we have not made is that of an earlier process.
        if process == os.getpid() or not _isRunning(process):
            shutil.rmtree(folder, ignore_errors=True)


def _isRunning(process: int) -> bool:
    if os.name == "nt":  # os.kill would end it
        command = ("tasklist", "/NH", "/FI", f"PID eq {process}")
        flags = subprocess.CREATE_NO_WINDOW
        listed = subprocess.run(command, capture_output=True, check=False, creationflags=flags)
        return str(process).encode() in listed.stdout.split()
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True
