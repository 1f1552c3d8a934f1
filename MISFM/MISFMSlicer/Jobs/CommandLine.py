"""The command that does in a terminal what is chosen in the panel."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ..Job import SegmentRequest


def segmentCommand(request: SegmentRequest) -> str:
    """Return the `misfm segment` command of a request, quoted for the system's shell.

    A volume that was loaded from a file is named by its path, any other by a file to write it to.
    What a command cannot say is told by `copiedText`.
    """
    images = ",".join(_fileOf(volume) for volume in request.volumes)
    output = request.output.GetName() if request.output is not None else "segmentation"
    words = ["misfm", "segment", images, "--model", request.model]
    words += ["--output", f"{output}.seg.nrrd"]
    if request.uncertainty:
        words += ["--uncertainty", f"{output}-uncertainty.nrrd"]
    for name, value in request.options.items():
        words += _option(name, value)
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def copiedText(request: SegmentRequest) -> str:
    """Say that the command is in the clipboard, and what it does otherwise than the panel."""
    but = leftOut(request)
    if but:
        return _("The command is in the clipboard, but {but}.").format(but=but)
    return _("The command is in the clipboard.")


def leftOut(request: SegmentRequest) -> str:
    """Return what the command does otherwise than the panel; empty when nothing."""
    parts = []
    if request.region is not None:
        parts.append(_("it segments the whole volume, not the region"))
    if request.allFrames:
        parts.append(_("it segments one frame, not the sequence"))
    file = _missingFile(request)
    if file:
        parts.append(_("save the volume as {file} first").format(file=file))
    return "; ".join(parts)


def _missingFile(request: SegmentRequest) -> str:
    """Return the first file of the command that is not there yet; empty when all are."""
    files = (_fileOf(volume) for volume in request.volumes)
    return next((file for file in files if not Path(file).exists()), "")


def _fileOf(volume: Any) -> str:
    """Return the file or DICOM folder of a volume; where there is none, a name to save it under."""
    storage = volume.GetStorageNode()
    path = Path(storage.GetFullNameFromFileName() or "") if storage is not None else Path()
    if not path.is_file() or volume.GetModifiedSinceRead():
        return f"{volume.GetName()}.nii.gz"
    return str(path.parent if storage.GetNumberOfFileNames() > 1 else path)


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    return [flag, str(value)]
