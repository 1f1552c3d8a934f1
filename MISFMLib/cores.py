"""How many cores there are to use; needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def usable_cores() -> int:
    """Return how many physical cores this process may use at once.

    The scheduler's affinity and a container's CPU quota count: torch does not look at the quota and
    would start one thread per core of the host.
    """
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed, _quota_cores(Path("/sys/fs/cgroup/cpu.max"))))


def _quota_cores(cpu_max: Path) -> int:
    """Read a control group's quota: microseconds of CPU time per period, or max (no quota)."""
    try:
        quota, period = cpu_max.read_text("ascii").split()[:2]
    except (OSError, ValueError):
        return 1 << 16
    return 1 << 16 if quota == "max" else max(1, int(quota) // int(period))
