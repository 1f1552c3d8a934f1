"""The text of Copy report: enough to find a cause, nothing that names a person."""

from __future__ import annotations

import json
import platform
import re
from typing import Any

import slicer

from MISFMLib.events import Failed

from .Jobs import Job
from .Library import findLibrary

_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\\/\s\"':;,<>|]+){2,}")


def failureReport(failure: Failed, job: Job | None = None) -> str:
    """Return versions, what was asked for, what happened and the log.

    Names of volumes and folders are left out: they often name patients and users.
    """
    parts = [versions(), *([_request(job)] if job is not None else [])]
    parts.append(f"{failure.code}: {failure.message}\n{failure.remedy}".rstrip())
    if job is not None:
        parts += [f"Note: {notice.message}" for notice in job.notices]
        parts.append(f"After {job.seconds:.1f} s")
    parts += [failure.traceback, job.log if job is not None else ""]
    text = shortenPaths("\n\n".join(part.strip() for part in parts if part.strip()))
    return _withoutNames(text, job) + "\n"


def versions() -> str:
    """Return the versions that matter."""
    library = findLibrary()
    app = slicer.app
    return "\n".join(
        (
            f"MISFM {library.version if library else 'without its library'}",
            f"Slicer {app.applicationVersion} ({app.repositoryRevision}), {app.platform}",
            f"Python {platform.python_version()} on {platform.platform()}",
        )
    )


def shortenPaths(text: str) -> str:
    """Return the text with only the last name of every path."""
    return _PATH.sub(lambda match: "…/" + re.split(r"[\\/]", match[0])[-1], text)


def _request(job: Job) -> str:
    request = job.request
    lines = [f"Model: {request.model}", f"Options: {json.dumps(request.options)}"]
    lines += [_volume(volume) for volume in request.volumes]
    lines.append(f"Region: {'yes' if request.region else 'no'}, all frames: {request.allFrames}")
    return "\n".join(lines)


def _volume(volume: Any) -> str:
    image = volume.GetImageData()
    if image is None:
        return "Volume: no voxels"
    size = " x ".join(map(str, image.GetDimensions()))
    spacing = " x ".join(f"{edge:.4g}" for edge in volume.GetSpacing())
    return f"Volume: {size} voxels of {spacing} mm, {image.GetScalarTypeAsString()}"


def _withoutNames(text: str, job: Job | None) -> str:
    for volume in job.request.volumes if job is not None else ():
        name = volume.GetName() or ""
        if len(name) > 2:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "(volume)", text)
    return text
