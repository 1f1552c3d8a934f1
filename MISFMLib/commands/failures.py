"""How errors end a command: their last event, and the causes that come as foreign exceptions."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Sequence

from MISFMLib.errors import DependencyError, DeviceError, JobCancelled, MISFMError
from MISFMLib.events import Failed

# Package to the extra of `pip install misfm[...]` that brings it.
EXTRAS = {
    "blosc2": "prepare",
    "distributed": "cluster",
    "fsspec": "prepare",
    "highdicom": "dicom",
    "lightning_fabric": "train",
    "matplotlib": "report",
    "monai": "train",
    "nncf": "int8",
    "pydicom": "dicom",
    "scipy": "train",
    "tensorboard": "train",
}


def asks_for_json(words: Sequence[str]) -> bool:
    """Tell whether a command line asks for events as lines of JSON."""
    return "--events=json" in words or ("--events", "json") in itertools.pairwise(words)


def failure(error: BaseException) -> Failed:
    """Describe an error as the last event of a job."""
    if isinstance(error, MISFMError):
        return Failed(message=error.message, code=error.code, remedy=error.remedy)
    return Failed(
        message=f"Unexpected {type(error).__name__}: {error}",
        code="internal",
        remedy="Please report this with the lines above and the output of `misfm doctor`.",
        traceback="".join(traceback.format_exception(error)),
    )


def known_error(error: BaseException) -> MISFMError | None:
    """Name the causes that arrive as exceptions of Python or of a library."""
    if isinstance(error, MISFMError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return JobCancelled()
    if isinstance(error, MemoryError):
        return DeviceError(
            "The computer has too little free memory for this volume.",
            code="out-of-memory",
            remedy="Close other programs, or crop the volume.",
        )
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in EXTRAS:
        return DependencyError(
            f"This step needs the package {package}, which is not installed.",
            code="missing-package",
            remedy=f"Install it: pip install 'misfm[{EXTRAS[package]}]'",
        )
    return None
