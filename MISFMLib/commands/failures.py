"""How errors end a command: their last event, and the causes that come as foreign exceptions."""

from __future__ import annotations

import errno
import itertools
import os
import traceback
from collections.abc import Sequence
from pathlib import Path

from MISFMLib.errors import (
    DataError,
    DependencyError,
    DeviceError,
    JobCancelled,
    MISFMError,
    first_line,
    is_out_of_memory,
)
from MISFMLib.events import Failed
from MISFMLib.files import output_error

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

_WHEN_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_CAUSED_BY_USERS = _WHEN_WRITING | {
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
    *(errno.ENAMETOOLONG, errno.EIO, errno.ENXIO, errno.ESTALE, errno.EMFILE, errno.ENFILE),
    *(errno.EINVAL, errno.EBUSY, errno.ETXTBSY),
}
"""Refusals of the system that a file, a folder or a disk of the user is the reason of."""


def asks_for_json(words: Sequence[str]) -> bool:
    """Tell whether a command line asks for events as lines of JSON."""
    return "--events=json" in words or ("--events", "json") in itertools.pairwise(words)


def failure(error: BaseException) -> Failed:
    """Describe an error as the last event of a job."""
    if isinstance(error, MISFMError):
        return Failed(error.message, error.code, error.remedy, details=error.details)
    return Failed(
        message=f"Unexpected {type(error).__name__}: {error}",
        code="internal",
        remedy="Please report this with the lines above and the output of `misfm doctor`.",
        traceback="".join(traceback.format_exception(error)),
    )


def _refused_by_the_system(error: OSError) -> MISFMError:
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    if error.errno in _WHEN_WRITING:
        return output_error(error, path or Path("The result"))
    return DataError(
        f"{path or 'A file'} cannot be used: {error.strerror}.",
        code="file-unreadable",
        remedy="Check that it is there and that you may use it.",
    )


def known_error(error: BaseException) -> MISFMError | None:
    """Name the causes that arrive as exceptions of Python or of a library."""
    if isinstance(error, MISFMError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return JobCancelled()
    if is_out_of_memory(error):
        return DeviceError(
            f"There is too little free memory for this ({first_line(error)}).",
            code="out-of-memory",
            remedy="Close other programs, crop the volume, or take smaller patches.",
        )
    if isinstance(error, OSError) and error.errno in _CAUSED_BY_USERS:
        return _refused_by_the_system(error)
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in EXTRAS:
        return DependencyError(
            f"This step needs the package {package}, which is not installed.",
            code="missing-package",
            remedy=f"Install it: pip install 'misfm[{EXTRAS[package]}]'",
        )
    return None
