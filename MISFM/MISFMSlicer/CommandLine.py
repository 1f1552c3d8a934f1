"""The command that does in a terminal what is chosen in the panel."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from .Jobs import SegmentRequest


def segmentCommand(request: SegmentRequest) -> str:
    """Return the `misfm segment` command of a request, quoted for the system's shell.

    A volume that was loaded from a file is named by its path, any other by a file to write it to.
    A region has no place on the command line; the command segments the whole volume.
    """
    images = ",".join(_fileOf(volume) for volume in request.volumes)
    output = request.output.GetName() if request.output is not None else "segmentation"
    words = ["misfm", "segment", images, "--model", request.model]
    words += ["--output", f"{output}.seg.nrrd"]
    for name, value in request.options.items():
        words += _option(name, value)
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _fileOf(volume: Any) -> str:
    storage = volume.GetStorageNode()
    path = storage.GetFullNameFromFileName() if storage is not None else ""
    return path if path and Path(path).exists() else f"{volume.GetName()}.nii.gz"


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    return [flag, str(value)]
