"""How much memory there is, the refusal of what cannot fit, and how freed memory is kept."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path

from MISFMLib.errors import DeviceError

_UNKNOWN = 2**63
_CGROUP = Path("/sys/fs/cgroup")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Numbers of settings in glibc's malloc.h."""


def free_bytes() -> int:
    """Return the main memory that this process may still take.

    The limits of a container or batch job, and of the shell (ulimit -v), count.
    """
    return max(0, min(_free_of_machine(), _free_of_container(_CGROUP), _free_of_process()))


def check_fits(what: str, needed: int, remedy: str) -> None:
    """Refuse what needs more memory than there is.

    Args:
        what: What needs it, as the beginning of a sentence.
        needed: Bytes.
        remedy: What the user can do.

    Raises:
        DeviceError: It does not fit.
    """
    free = free_bytes()
    if needed > free:
        raise DeviceError(
            f"{what} needs {needed / 2**30:.3g} GB of memory, {free / 2**30:.3g} GB are free.",
            code="out-of-memory",
            remedy=remedy,
        )


def keep_freed_memory() -> None:
    """Let this process keep the memory that its tensors free, for the next ones (glibc only).

    Otherwise the kernel hands out every tensor of some megabytes anew, filled with zeros, which
    took a third of the CPU time of a training step with a patch of 64 x 128 x 128.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def _free_of_machine() -> int:
    try:
        import psutil  # a fresh Slicer has none
    except ImportError:
        return _UNKNOWN
    return int(psutil.virtual_memory().available)


def _free_of_container(group: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        most = int((group / "memory.max").read_text("ascii"))  # the word max where there is none
        used = int((group / "memory.current").read_text("ascii"))
        return most - used + _cache_bytes(group)
    return _UNKNOWN


def _cache_bytes(group: Path) -> int:
    """Return what the container's files take of its memory: the system gives it back."""
    lines = (group / "memory.stat").read_text("ascii").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)


def _free_of_process() -> int:
    if sys.platform == "win32":
        return _UNKNOWN
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most in (resource.RLIM_INFINITY, -1):
        return _UNKNOWN
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        return most - pages * resource.getpagesize()
    return most


def peak_memory_bytes() -> int:
    """Return the most main memory that this process has held since it started."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss, which on Linux starts with the memory of the program that started us.
        (line,) = (line for line in status.read_text("ascii").splitlines() if "VmHWM" in line)
        return int(line.split()[1]) * 1024
    import resource  # Unix only

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
