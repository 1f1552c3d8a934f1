"""How a model is run, what comes of it, and several such results as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from MISFMLib.configs import EngineName, PreprocessingConfig, SegmentPrecision, Size
from MISFMLib.inference.where_to_look import UncertainPlace
from MISFMLib.inference.windows import WindowConfig, suitable_batch_size
from MISFMLib.volumes.volume import LabelMap, Volume

_NOTHING_FOUND = "No voxel of any label was found."


@dataclass(frozen=True, kw_only=True)
class SegmenterOptions:
    """How a model is run; what the fields mean is told in `SegmentConfig`."""

    device: str = "auto"
    precision: SegmentPrecision = "auto"
    engine: EngineName = "auto"
    overlap: float | None = None
    batch_size: int | None = None
    mirroring: bool = False
    postprocessing: bool = True
    """Clean up the labels as the model says."""
    uncertainty: bool = False
    """Also find how uncertain every voxel is."""
    only: frozenset[int] = frozenset()
    """Labels that are wanted; all when empty."""

    def windows(self, space: PreprocessingConfig) -> WindowConfig:
        """Say how volumes in a model's space are cut into windows."""
        return WindowConfig(
            patch_size=space.patch_size,
            overlap=space.overlap if self.overlap is None else self.overlap,
            batch_size=self.batch_size or suitable_batch_size(space.patch_size),
            mirroring=self.mirroring,
            mirror_axes=space.mirror_axes,
            placing=space.windows,
            padding=space.padding,
            weights=space.window_weights,
        )


@dataclass(frozen=True, kw_only=True)
class SegmentResult:
    """A label map and how it came about."""

    label_map: LabelMap
    """Labels on the grid of the volume."""
    device: str
    """Device that computed the network."""
    precision: str
    """Number format of the network, such as ``float32``."""
    engine: str
    """Program that computed the network, and its version."""
    settled: str
    """The same as `Settled`, to compute other volumes of a batch likewise."""
    patch_size: Size
    """Windows in voxels of model space."""
    model_shape_dhw: Size
    """Voxels of the volume in model space."""
    windows: int
    """Windows of the volume."""
    computed_windows: int
    """Windows that the network computed: mirror images count, those in air once for all."""
    timings_s: dict[str, float]
    """Seconds of the stages previous (the model before in a cascade), preprocess, engine (loading
    or making one), network, restore, uncertainty, postprocess."""
    notices: tuple[str, ...]
    """What the user was told."""
    device_peak_bytes: int
    """Most memory that was in use on a CUDA device; 0 on others."""
    uncertainty: Volume | None = None
    """`Uncertainty.percent_DHW` on the grid of the volume, if that was asked for."""
    places: tuple[UncertainPlace, ...] = ()
    """Where the network is least certain, if that was asked for."""


def joined(results: Sequence[SegmentResult], only: Collection[int]) -> SegmentResult:
    """Put the results of several models for one volume together.

    Args:
        results: In the order of the models; labels of later ones go over those of earlier ones.
        only: Labels that are wanted; all when empty.
    """
    first = results[0]
    if len(results) == 1 and not only:
        return first
    labels_DHW = np.array(first.label_map.array_DHW)
    for result in results[1:]:
        other_DHW = result.label_map.array_DHW
        labels_DHW = labels_DHW.astype(np.promote_types(labels_DHW.dtype, other_DHW.dtype))
        np.copyto(labels_DHW, other_DHW, where=other_DHW > 0)
    if only:
        kept = np.zeros(int(np.iinfo(labels_DHW.dtype).max) + 1, labels_DHW.dtype)
        kept[list(only)] = list(only)
        labels_DHW = kept[labels_DHW]
    notices = dict.fromkeys(notice for result in results for notice in result.notices)
    if labels_DHW.any():
        notices.pop(_NOTHING_FOUND, None)
    timings: Counter[str] = Counter()
    for result in results:
        timings.update(result.timings_s)  # adds
    return replace(
        first,
        label_map=LabelMap(labels_DHW, first.label_map.geometry),
        windows=sum(result.windows for result in results),
        computed_windows=sum(result.computed_windows for result in results),
        timings_s=dict(timings),
        notices=tuple(notices),
        device_peak_bytes=max(result.device_peak_bytes for result in results),
        uncertainty=_most_uncertain([r.uncertainty for r in results if r.uncertainty is not None]),
        places=tuple(place for result in results for place in result.places),
    )


def _most_uncertain(volumes: Sequence[Volume]) -> Volume | None:
    if not volumes:
        return None
    array_CDHW = np.maximum.reduce([volume.array_CDHW for volume in volumes])
    return replace(volumes[0], array_CDHW=array_CDHW)
