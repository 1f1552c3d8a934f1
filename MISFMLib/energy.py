"""What work costs in energy, where the machine tells: CPU packages (RAPL) and NVIDIA's GPUs.

The counters are those of the whole machine: whatever else runs meanwhile is counted too.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_POWERCAP = Path("/sys/class/powercap")
_POLL_S = 60.0
"""A counter of 262 kJ is full after 44 minutes at 100 W; it must not go around unseen."""


@dataclass
class Energy:
    """Joules that were counted; None where no counter can be read."""

    joules: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, joules: float) -> None:
        """Count more."""
        with self._lock:
            self.joules = (self.joules or 0.0) + joules


@contextlib.contextmanager
def measured(powercap: Path = _POWERCAP, poll_s: float = _POLL_S) -> Iterator[Energy]:
    """Count the energy of the block; the result is complete after it."""
    energy, counters = Energy(), [*_packages(powercap), *_gpus()]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(poll_s):
            _count(counters, energy)

    if counters:
        energy.joules = 0.0
        thread = threading.Thread(target=watch, name="energy", daemon=True)
        thread.start()
    try:
        yield energy
    finally:
        ended.set()
        if counters:
            thread.join()
            _count(counters, energy)


def _count(counters: list[_Package | _Gpu], energy: Energy) -> None:
    for counter in counters:
        energy.add(counter.joules_since())


class _Package:
    """A CPU package with what is on it; its parts, which the system lists too, are left out."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text("ascii"))
        self._last = self._read()

    def _read(self) -> int:
        return int(self._file.read_text("ascii"))

    def joules_since(self) -> float:
        """Return what was used since the last call; the counter begins again when it is full."""
        now = self._read()
        used = now - self._last if now >= self._last else now - self._last + self._range
        self._last = now
        return used / 1e6


class _Gpu:
    """A GPU of NVIDIA."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self._last = self._read()

    def _read(self) -> int:
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def joules_since(self) -> float:
        """Return what was used since the last call."""
        now = self._read()
        used, self._last = now - self._last, now
        return used / 1e3


def _packages(powercap: Path) -> list[_Package | _Gpu]:
    found: list[_Package | _Gpu] = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        if folder.name.count(":") == 1:  # intel-rapl:0:0 is a part of intel-rapl:0
            with contextlib.suppress(OSError, ValueError):  # many systems let root alone read it
                found.append(_Package(folder))
    return found


def _gpus() -> list[_Package | _Gpu]:
    try:
        pynvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        return [_Gpu(pynvml, handle) for handle in handles]
    except pynvml.NVMLError:  # no driver, or a GPU that does not count
        return []
