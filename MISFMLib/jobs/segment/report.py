"""The report of one segmented case: enough to tell later what made a result, and how."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from MISFMLib import __version__
from MISFMLib.configs import SegmentConfig
from MISFMLib.export.statistics import LabelVolume
from MISFMLib.inference.segmenter import SegmentResult
from MISFMLib.jobs.segment.plan import SegmentCase
from MISFMLib.memory import peak_memory_bytes
from MISFMLib.models.bundle import BundleManifest
from MISFMLib.volumes.volume import Volume

_OPTIONS = (
    "series",
    "device",
    "precision",
    "engine",
    "overlap",
    "batch_size",
    "mirroring",
    "threads",
    "postprocessing",
)


def case_report(
    config: SegmentConfig,
    manifest: BundleManifest,
    case: SegmentCase,
    volume: Volume,
    result: SegmentResult,
    volumes: Sequence[LabelVolume],
) -> dict[str, Any]:
    """Collect what is known about one result; JSON types only.

    The keys ``where_to_look`` and ``certainty`` are there when the uncertainty was asked for.

    Files are given by name without their folders, which often name people.
    """
    geometry = volume.geometry
    places = {
        "where_to_look": [_rounded(asdict(place)) for place in result.places],
        "certainty": round(certainty(result), 6),
    }
    return {
        "case": case.name,
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "weights_sha256": manifest.weights_sha256,
        },
        "versions": versions(),
        "options": {name: getattr(config, name) for name in _OPTIONS},
        "input": {
            "files": [path.name for path in case.inputs],
            "modality": volume.modality,
            "channels": len(volume.array_CDHW),
            "shape_dhw": list(geometry.shape_dhw),
            "spacing_dhw": list(geometry.spacing_dhw),
            "origin_xyz": list(geometry.origin_xyz),
            "direction": list(geometry.direction),
        },
        "device": result.device,
        "precision": result.precision,
        "engine": result.engine,
        "patch_size": list(result.patch_size),
        "model_shape_dhw": list(result.model_shape_dhw),
        "windows": result.windows,
        "computed_windows": result.computed_windows,
        "timings_s": {stage: round(seconds, 3) for stage, seconds in result.timings_s.items()},
        "peak_memory_bytes": peak_memory_bytes(),
        "device_peak_bytes": result.device_peak_bytes,
        "labels": [_rounded(asdict(item)) for item in volumes],
        **(places if config.uncertainty is not None else {}),
        "notices": list(result.notices),
        "output": case.output.name,
    }


def certainty(result: SegmentResult) -> float:
    """Return how sure a model is of a case, to rank cases by: 0 has found nothing, 1 is sure.

    Counted are the voxels that it labelled and, as parts of a voxel, its entropy wherever it
    wavers: a structure that it only half believes in lowers the number though nothing is labelled.
    """
    labelled = int((result.label_map.array_DHW > 0).sum())
    if result.uncertainty is None or not labelled:
        return 0.0
    wavering = float(result.uncertainty.array_CDHW.sum(dtype=float)) / 100
    return labelled / (labelled + wavering)


def _rounded(value: Any) -> Any:
    """Return a value of JSON types with six decimals in every number, as in the tables."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def versions() -> dict[str, str]:
    """Return the versions of MISFM, Python and the packages that compute a result."""
    packages = ("torch", "numpy", "SimpleITK")
    return {
        "misfm": __version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
    }


@functools.cache
def _version(package: str) -> str:
    """Ask once a process: it reads files, 1.5 ms for every case."""
    return importlib.metadata.version(package)
