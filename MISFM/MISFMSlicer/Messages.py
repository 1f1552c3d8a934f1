"""Times, sizes and progress in words."""

from __future__ import annotations

from collections.abc import Sequence

from slicer.i18n import tr as _

from MISFMLib.events import Progress


def duration(seconds: float) -> str:
    """Return a duration in whole units, at least a second."""
    if seconds < 90:
        return _("{number} s").format(number=f"{max(seconds, 1):.0f}")
    if seconds < 5400:
        return _("{number} min").format(number=f"{seconds / 60:.0f}")
    return _("{number} h").format(number=f"{seconds / 3600:.1f}")


def memory(numBytes: float) -> str:
    """Return an amount of memory or the size of a file with two digits."""
    if numBytes < 0.95e9:
        return _("{number} MB").format(number=f"{float(f'{numBytes / 1e6:.2g}'):.0f}")
    return _("{number} GB").format(number=f"{numBytes / 1e9:.1f}")


def chipMemory(numBytes: float) -> str:
    """Return the memory of a device as it stands on the box: whole binary gigabytes."""
    return _("{number} GB").format(number=f"{numBytes / 2**30:.0f}")


def deviceName(device: str) -> str:
    """Return a device of the library as people call it."""
    kind, _colon, index = device.partition(":")
    names = {
        "auto": _("Automatic"),
        "cpu": _("CPU"),
        "cuda": _("NVIDIA GPU"),
        "mps": _("Apple GPU"),
    }
    name = names.get(kind, device)
    return f"{name} {index}" if index not in ("", "0") else name


def stage(progress: Progress | None) -> str:
    """Return what a job is doing."""
    stages = {
        "start": _("Starting"),
        "read": _("Reading the volume"),
        "convert": _("Converting the model for this computer, once"),
        "segment": _("Segmenting"),
        "write": _("Writing the result"),
        "download": _("Downloading"),
    }
    return stages.get(progress.stage, progress.stage) if progress else stages["start"]


def timeLeft(progress: Progress | None) -> str:
    """Return when a stage will be done; empty while nobody knows."""
    if progress is None or progress.eta_s is None or progress.fraction >= 1:
        return ""
    return _("about {time} left").format(time=duration(progress.eta_s))


def lengths(values: Sequence[float]) -> str:
    """Return lengths in millimetres, in the given order."""
    return _("{lengths} mm").format(lengths=" x ".join(f"{value:.3g}" for value in values))
