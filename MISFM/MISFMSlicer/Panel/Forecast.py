"""How long a segmentation will take and how much memory: learned from this machine's past runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from MISFMLib.configs import PreprocessingConfig, SegmentConfig

_WEIGHT_OF_NEWEST = 0.5
_FIXED_BYTES = 400e6
"""About what Python and PyTorch take, whatever the volume."""
_LONGEST_EXCHANGE_S = 0.5
"""Guess for a running worker as long as none was seen at work twice."""


@dataclass(frozen=True)
class Workload:
    """How much there is to compute."""

    windows: int
    """Windows that the network computes, mirror images counted."""
    voxels: int
    """Voxels of the volume, all channels and frames."""


def workload(
    shapeDhw: Sequence[int],
    spacingDhw: Sequence[float],
    preprocessing: PreprocessingConfig,
    options: Mapping[str, Any],
) -> Workload:
    """Count the windows of a volume as the library will lay them out.

    A crop of empty borders is not foreseen: it depends on the voxels.

    Args:
        shapeDhw: Voxels along the model's axes.
        spacingDhw: Voxel size in mm along them.
        preprocessing: The model space.
        options: Fields of `SegmentConfig` that are not the default.
    """
    target = preprocessing.spacing_dhw or tuple(spacingDhw)
    overlap = options.get("overlap", SegmentConfig.overlap)
    windows = mirrorImages(preprocessing) if options.get("mirroring") else 1
    voxels = len(preprocessing.channels)
    for size, given, wanted, patch in zip(
        shapeDhw, spacingDhw, target, preprocessing.patch_size, strict=True
    ):
        windows *= countWindows(max(1, round(size * given / wanted)), patch, overlap)
        voxels *= size
    return Workload(windows, voxels)


def mirrorImages(preprocessing: PreprocessingConfig) -> int:
    """Return how many mirror images are averaged when mirroring is on, the volume included."""
    return 2 ** len(preprocessing.mirror_axes)


def countWindows(size: int, patch: int, overlap: float) -> int:
    """Return how many windows lie along an axis; as in MISFMLib.inference.windows without torch."""
    stride = max(1, int(patch * (1 - overlap) + 1e-6))
    last = max(size, patch) - patch
    return len({min(start, last) for start in range(0, max(size, patch), stride)})


@dataclass(frozen=True)
class Forecast:
    """What a run will probably take."""

    seconds: float
    """From the click to the result."""
    memoryBytes: float
    """Main memory, or the GPU's when the network runs there; 0 while unknown."""
    device: str
    """Device of the last run, such as ``cpu`` or ``cuda:0``."""


@dataclass(frozen=True)
class Run:
    """A finished run, and what is learned from it."""

    report: Mapping[str, Any]
    """The library's report of the case."""
    seconds: float
    """From the click to the result."""
    workload: Workload
    wasCold: bool
    """Whether it was the worker's first job."""


@dataclass(frozen=True)
class _Experience:
    perWindow: float
    """Seconds of the network for one window."""
    perVoxel: float
    """Seconds of all other work for one voxel."""
    cold: float = 0.0
    """Seconds that a worker's first job takes beside its work; 0 while unknown."""
    warm: float = 0.0
    """Seconds that any other job takes beside its work."""
    memoryBytes: float = 0.0
    voxels: int = 1
    """Voxels of the volume that took this memory."""
    device: str = ""


class History:
    """Past runs in the machine's settings, one entry for each model and choice of device."""

    def __init__(self, settings: Any) -> None:
        """Keep a QSettings, or anything with its `value` and `setValue`."""
        self._settings = settings

    def learn(self, model: str, device: str, run: Run) -> None:
        """Remember a run; newer ones weigh more, since drivers and machines change."""
        old, new = self._read(model, device), _experience(run)
        if old is not None:
            new = _merged(old, new)
        self._settings.setValue(_key(model, device), json.dumps(asdict(new)))

    def forecast(self, model: str, device: str, work: Workload, *, isWarm: bool) -> Forecast | None:
        """Return what a run will take; None when this machine has not run the model yet."""
        known = self._read(model, device)
        if known is None:
            return None
        warm = known.warm or min(known.cold, _LONGEST_EXCHANGE_S)
        exchange = warm if isWarm else known.cold or warm
        seconds = known.perWindow * work.windows + known.perVoxel * work.voxels
        variable = max(0.0, known.memoryBytes - _FIXED_BYTES) * work.voxels / known.voxels
        memory = min(known.memoryBytes, _FIXED_BYTES) + variable
        return Forecast(seconds + exchange, memory, known.device)

    def _read(self, model: str, device: str) -> _Experience | None:
        try:
            return _Experience(**json.loads(self._settings.value(_key(model, device))))
        except (TypeError, ValueError):  # nothing there, or written by another version
            return None


def _key(model: str, device: str) -> str:
    return f"MISFM/History/{model}@{device}".replace("\\", "_")


def _experience(run: Run) -> _Experience:
    report, work = run.report, run.workload
    network = float(report["timings_s"]["network"])
    inLibrary = float(report["seconds"])
    exchange = max(0.0, run.seconds - inLibrary)
    onGpu = float(report["device_peak_bytes"])
    # What a warm worker has held includes earlier, perhaps larger volumes.
    memory = onGpu or (float(report["peak_memory_bytes"]) if run.wasCold else 0.0)
    return _Experience(
        perWindow=network / work.windows,
        perVoxel=max(0.0, inLibrary - network) / work.voxels,
        cold=exchange if run.wasCold else 0.0,
        warm=0.0 if run.wasCold else exchange,
        memoryBytes=memory,
        voxels=work.voxels,
        device=str(report["device"]),
    )


def _merged(old: _Experience, new: _Experience) -> _Experience:
    names = ("perWindow", "perVoxel", "cold", "warm")
    times = {name: _average(getattr(old, name), getattr(new, name)) for name in names}
    if not new.memoryBytes:
        return replace(new, **times, memoryBytes=old.memoryBytes, voxels=old.voxels)
    return replace(new, **times)


def _average(old: float, new: float) -> float:
    """Return the weighted mean; 0 stands for unknown."""
    if not old or not new:
        return old or new
    return old + _WEIGHT_OF_NEWEST * (new - old)
