"""What Copy report and the logs say: enough to find a cause, nothing that names a person."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import slicer

from MISFMLib.events import Failed, Notice

from ..Job import Job, JobResult
from ..Library import findLibrary

_PATH = re.compile(
    r"""(?P<url>https?://\S+)
    | (?<![\w.])(?:[A-Za-z]:|~|file://)?[\\/](?:[^\\/\n"':;,<>|]+[\\/])+  # folders may have spaces
    | (?:[^\\/\s"':;,<>|]+[\\/]){2,}  # relative""",
    re.VERBOSE,
)
"""All but the last name of a path, or an address, which stays."""


def jobReport(job: Job) -> str:
    """Return versions, what was asked for, what came of it and the log.

    Names of volumes and folders are left out: they often name patients and users.
    """
    parts = [versions(), _request(job), *map(_notice, job.notices)]
    if job.failure is not None:
        parts.append(_failure(job.failure))
    if job.result is not None:
        parts.append(_result(job.result))
    parts += [f"{job.state.value} after {job.seconds:.1f} s", job.log]
    return _withoutNames(_joined(parts), job)


def failureReport(failure: Failed) -> str:
    """Return the same for an error outside of a job."""
    return _joined([versions(), _failure(failure)])


def _joined(parts: Iterable[str]) -> str:
    text = "\n\n".join(part.strip() for part in parts if part.strip())
    return shortenPaths(text) + "\n"


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
    text = text.replace(str(Path.home()), "~")
    return _PATH.sub(lambda match: match["url"] or "…/", text)


def _failure(failure: Failed) -> str:
    lines = [f"{failure.code}: {failure.message}", failure.remedy, failure.traceback]
    return "\n".join(filter(None, lines))


def _notice(notice: Notice) -> str:
    return f"Note: {notice.message}"


def _result(result: JobResult) -> str:
    names = ("device", "precision", "timings_s", "peak_memory_bytes", "device_peak_bytes")
    facts = {name: result.report[name] for name in names if name in result.report}
    found = len(result.volumes) - len(result.missing)
    counts = f"{found} of {len(result.volumes)} labels found, frames: {result.frames}"
    return f"{counts}\n{json.dumps(facts)}"


def _request(job: Job) -> str:
    request = job.request
    lines = [f"Model: {request.model}", f"Options: {json.dumps(request.options)}"]
    lines += [_volume(volume) for volume in request.volumes]
    lines.append(
        f"Region: {'yes' if request.region else 'no'}, all frames: {request.allFrames}, "
        f"uncertainty: {request.uncertainty}"
    )
    return "\n".join(lines)


def _volume(volume: Any) -> str:
    image = volume.GetImageData()
    if image is None:
        return "Volume: no voxels"
    size = " x ".join(map(str, image.GetDimensions()))
    spacing = " x ".join(f"{edge:.4g}" for edge in volume.GetSpacing())
    return f"Volume: {size} voxels of {spacing} mm, {image.GetScalarTypeAsString()}"


def _withoutNames(text: str, job: Job) -> str:
    for volume in job.request.volumes:
        name = volume.GetName() or ""
        if len(name) > 2:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "(volume)", text)
    return text
