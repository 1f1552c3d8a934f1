"""The errors a user can cause: what was given, what was expected, and what to do next."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import Any

_NO_MEMORY = re.compile(
    r"out of memory|(can't|cannot|failed to|unable to) allocate|not enough memory|bad_alloc"
    r"|DefaultCPUAllocator|insufficient memory",
    re.IGNORECASE,
)
"""How PyTorch, its allocators, NumPy, ITK, Blosc2 and OpenVINO say that the memory is full."""


class MISFMError(Exception):
    """Base of every error that MISFM raises on purpose.

    Attributes:
        code: Short stable name of the cause, such as ``file-truncated``; programs match on it.
        remedy: What the user can do next, one sentence.
        details: The same for programs, one entry for each problem; JSON types only.
        exit_code: Exit status of the ``misfm`` command when this error ends it.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, code: str, remedy: str, details: Sequence[dict[str, Any]] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy
        self.details = tuple(details)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error pass from process to process."""
        return _rebuilt, (type(self), self.message, self.code, self.remedy, self.details)

    @property
    def message(self) -> str:
        """What was given and what was expected, without the remedy."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


def _rebuilt(
    kind: type[MISFMError],
    message: str,
    code: str,
    remedy: str,
    details: Sequence[dict[str, Any]] = (),
) -> MISFMError:
    error = kind.__new__(kind)
    MISFMError.__init__(error, message, code=code, remedy=remedy, details=details)
    return error


class ConfigError(MISFMError):
    """An option has a value that is not allowed, alone or together with another option."""

    exit_code = 2


class DataError(MISFMError):
    """A volume, label map or data set cannot be used as it is."""

    exit_code = 3


class BundleError(MISFMError):
    """A model bundle or checkpoint is missing, damaged, or does not fit what is asked of it."""

    exit_code = 4


class OutputError(MISFMError):
    """A result cannot be written: it exists already, or the place is read-only or full."""

    exit_code = 5


class DeviceError(MISFMError):
    """The chosen device is absent, does not work, or has too little memory."""

    exit_code = 6


class DependencyError(MISFMError):
    """An optional package that this step needs is not installed."""

    exit_code = 7


class BatchError(MISFMError):
    """Some cases of a batch failed; the others were finished."""

    exit_code = 8


class TrainingError(MISFMError):
    """A training cannot go on, for example because the loss is no longer finite."""

    exit_code = 9


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception, of Python or of any library, means that memory was too small."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, without the stop at its end."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


class JobCancelled(MISFMError):
    """The user asked to stop; nothing half-written is left behind."""

    exit_code = 130

    def __init__(self, message: str = "Cancelled.") -> None:
        super().__init__(message, code="cancelled", remedy="")
