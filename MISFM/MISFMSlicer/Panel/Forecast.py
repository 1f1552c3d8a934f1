"""How long a segmentation will take and how much memory.

Windows times the seconds of a window, which this machine has measured with the model, and known
buffers beside the memory that was measured with it. What other work takes, from the click to the
result, starts from what it took elsewhere and is corrected by the runs on this machine: all of them
together, so that a tiny volume tells about what every run takes, and nothing about large ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from MISFMLib.configs import WORTH_CONVERTING
from MISFMLib.events import Measured

from .Workload import Workload

_REST_S = (0.3, 2.0, 0.015, 0.0015)
"""Seconds of the work beside the network, as found on two cores of a server: of every run, of a
worker's first run, for a million voxels, for a million voxels and each class of them."""
_KEPT_RUNS = 24
_EXACTNESS = 0.05
"""How exactly a run tells what the next one takes, as a part of its time."""
_UNSURE = 5.0
"""How far a machine may be from the numbers found elsewhere, in parts of them."""
_CONVERTED = 0.5
"""Time of a window in OpenVINO beside PyTorch: 0.35 to 0.6 for PCT-Net of all sizes."""
_CONVERSION_S = (1.5, 6.0)
"""Seconds of a conversion: of every one, and for each second of a window in PyTorch."""
_CONVERTED_BYTES = 450e6
"""What OpenVINO takes beside PyTorch while it converts a network."""
_COMPANY = 8
"""PyTorch may take longer for each of fewer windows than for as many as it was measured with."""
_ALONE = "PyTorch, few windows"


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
    """Whether the worker had to load the model."""
    wasFirst: bool
    """Whether it was the worker's first job, so that its memory is of this job alone."""


@dataclass(frozen=True)
class _Figures:
    """What is known of a model with some settings on this machine."""

    device: str = ""
    program: str = ""
    """Last one that computed it, without its version: PyTorch or OpenVINO."""
    windowS: dict[str, float] = field(default_factory=dict)
    """Seconds of a window by program; of PyTorch also for few windows."""
    canConvert: bool = False
    """Whether OpenVINO takes over as soon as that pays."""
    memoryBytes: float = 0.0
    """Program, network and a window; 0 while unknown."""
    bufferScale: float = 1.0
    """What the buffers took beside what was expected."""


class History:
    """What the machine's settings keep: figures of each model, and the last runs of all."""

    def __init__(self, settings: Any) -> None:
        """Keep a QSettings, or anything with its `value` and `setValue`."""
        self._settings = settings

    def knows(self, model: str) -> bool:
        """Tell whether a window of a model was measured; `model` says with which settings."""
        return bool(self._figures(model).windowS.keys() - {_ALONE})

    def keep(self, model: str, measured: Measured) -> None:
        """Remember what a window costs; a run that has told more stays."""
        program = _program(measured.engine)
        old = self._figures(model)
        new = _Figures(
            measured.device,
            program,
            {program: measured.window_s, **old.windowS},
            measured.can_convert and "OpenVINO" not in old.windowS,
            old.memoryBytes or float(measured.memory_bytes),
            old.bufferScale,
        )
        self._write(_key(model), asdict(new))

    def learn(self, model: str, run: Run) -> None:
        """Remember a run; newer ones weigh more, since drivers and machines change."""
        figures = _learned(self._figures(model), run)
        self._write(_key(model), asdict(figures))
        key = _restKey(figures.device)
        self._write(key, [*self._runs(key), [_rest(run), *_features(run)]][-_KEPT_RUNS:])

    def forecast(self, model: str, work: Workload, *, isWarm: bool) -> Forecast | None:
        """Return what a run will take; None while no window of the model was measured."""
        known = self._figures(model)
        if not known.windowS:
            return None
        seconds, isConverted, isNew = _networkSeconds(known, work)
        rest = _fitted(self._runs(_restKey(known.device)))
        seconds += float(rest @ _restFeatures(work, isCold=not isWarm))
        buffers = work.bufferBytes if _isMain(known.device) else work.deviceBufferBytes
        memory = known.memoryBytes + buffers * known.bufferScale
        memory += _CONVERTED_BYTES if isConverted and isNew else 0.0
        return Forecast(seconds, memory if known.memoryBytes else 0.0, known.device)

    def _figures(self, model: str) -> _Figures:
        try:
            return _Figures(**json.loads(self._settings.value(_key(model))))
        except (TypeError, ValueError):  # nothing there, or written by another version
            return _Figures()

    def _runs(self, key: str) -> list[list[float]]:
        try:
            runs = np.array(json.loads(self._settings.value(key)), float)
        except (TypeError, ValueError):
            return []
        return runs.tolist() if runs.shape[1:] == (1 + len(_REST_S),) else []

    def _write(self, key: str, content: Any) -> None:
        self._settings.setValue(key, json.dumps(content))


def _key(model: str) -> str:
    return f"MISFM/Forecast/{model}".replace("\\", "_")


def _restKey(device: str) -> str:
    return f"MISFM/Forecast/rest@{device.partition(':')[0]}"


def _program(engine: str) -> str:
    return engine.partition(" ")[0]


def _isMain(device: str) -> bool:
    return not device.startswith("cuda")


# --------------------------------------------------------------------------------- the network


def _networkSeconds(known: _Figures, work: Workload) -> tuple[float, bool, bool]:
    """Return the seconds, whether OpenVINO computes them, and whether for the first time."""
    if "OpenVINO" in known.windowS:
        return work.windows * known.windowS["OpenVINO"], True, False
    window = known.windowS.get("PyTorch") or known.windowS[_ALONE]
    if not known.canConvert or work.windows * work.windowVoxels < WORTH_CONVERTING:
        return work.windows * known.windowS.get(_counted("PyTorch", work), window), False, False
    once, perWindow = _CONVERSION_S
    conversion = once + perWindow * window
    return work.windows * window * _CONVERTED + conversion, True, True


def _counted(program: str, work: Workload) -> str:
    """Return what a window's seconds are kept under."""
    return _ALONE if program == "PyTorch" and work.windows < _COMPANY else program


def _learned(old: _Figures, run: Run) -> _Figures:
    report, work = run.report, run.workload
    windows = max(1, int(report["computed_windows"]))
    program, window = _program(str(report["engine"])), report["timings_s"]["network"] / windows
    counted = _counted(program, work)
    known = old.windowS.get(counted)
    if known is not None:  # of few windows other things take more of the time
        window = known + 0.9 * windows / (windows + 1) * (window - known)
    isLarge = work.windows * work.windowVoxels >= WORTH_CONVERTING
    figures = replace(
        old,
        device=str(report["device"]),
        program=program,
        windowS={**old.windowS, counted: window},
        canConvert=old.canConvert and program == "PyTorch" and not isLarge,
    )
    if program == "PyTorch" and isLarge:
        figures.windowS.pop("OpenVINO", None)  # it was uninstalled, or found not to be exact enough
    return _withMemory(figures, run)


def _withMemory(figures: _Figures, run: Run) -> _Figures:
    """Learn the memory of a worker that held nothing before, or of a GPU."""
    onGpu = float(run.report["device_peak_bytes"])
    if not onGpu and not run.wasFirst:
        return figures  # what it has held includes earlier, perhaps larger volumes
    peak = onGpu or float(run.report["peak_memory_bytes"])
    buffers = run.workload.deviceBufferBytes if onGpu else run.workload.bufferBytes
    beside = peak - figures.memoryBytes
    if figures.memoryBytes and buffers > 0.5 * figures.memoryBytes and beside > 0:
        return replace(figures, bufferScale=min(max(beside / buffers, 0.5), 3.0))
    return replace(figures, memoryBytes=max(0.0, peak - buffers * figures.bufferScale))


# ---------------------------------------------------------------------------- all other work


def _rest(run: Run) -> float:
    """Return the seconds of all but the network and its engine."""
    timings = run.report["timings_s"]
    return max(0.0, run.seconds - timings["network"] - timings.get("engine", 0.0))


def _features(run: Run) -> list[float]:
    return _restFeatures(run.workload, isCold=run.wasCold).tolist()


def _restFeatures(work: Workload, *, isCold: bool) -> np.ndarray:
    """Return what the numbers of `_REST_S` are multiplied with."""
    million = work.voxels / 1e6
    return np.array([1.0, float(isCold), million, million * work.classes])


def _fitted(runs: list[list[float]]) -> np.ndarray:
    """Return the numbers of `_REST_S` for this machine: as known elsewhere, corrected by its runs.

    Least squares: each run counts by its exactness, newer ones more, and each number that is known
    from elsewhere as a vague observation of it.
    """
    prior = np.array(_REST_S)
    if not runs:
        return prior
    table = np.array(runs)
    took, features = table[:, 0], table[:, 1:]
    age = np.arange(len(runs))[::-1]
    weights = 0.8**age / (_EXACTNESS * (took + 0.5))
    left = np.vstack([features * weights[:, None], np.diag(1 / (_UNSURE * prior))])
    right = np.concatenate([took * weights, np.full(len(prior), 1 / _UNSURE)])
    fitted, *_ = np.linalg.lstsq(left, right, rcond=None)
    return np.maximum(fitted, 0.05 * prior)
