"""How much there is to compute for a volume, counted as the library does it, without torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from MISFMLib.configs import PreprocessingConfig

MUCH = 2**30
"""Bytes from which scores are summed some rows at a time."""


@dataclass(frozen=True)
class Workload:
    """What a run has to do."""

    windows: int
    """Windows that the network computes, mirror images counted, those in air once for all."""
    windowVoxels: int
    """Voxels of one window."""
    voxels: int
    """Voxels of the volume, all channels and frames."""
    classes: int
    """Classes of the network."""
    bufferBytes: float
    """Memory beside program and network: image, labels, and sums of scores of a few slices."""
    deviceBufferBytes: float
    """The part of it that lies on a GPU when the network does."""


@dataclass(frozen=True)
class Grid:
    """What is known of a volume."""

    shapeDhw: Sequence[int]
    """Voxels along the model's axes."""
    spacingDhw: Sequence[float]
    """Voxel size in mm along them."""
    voxelBytes: int = 2
    """Bytes of a voxel."""
    isOccupied: np.ndarray | None = None
    """Samples (D, H, W), however coarse: whether there is anything but air or an empty border;
    None takes all for occupied."""


def workload(
    grid: Grid, preprocessing: PreprocessingConfig, options: Mapping[str, Any], *, classes: int
) -> Workload:
    """Count what a run computes as the library will lay it out.

    Args:
        grid: The volume.
        preprocessing: The model space.
        options: Fields of `SegmentConfig` that are not the default.
        classes: Classes of the network, background included.
    """
    shapeDhw, isOccupied = grid.shapeDhw, grid.isOccupied
    if isOccupied is None or not isOccupied.any():
        isOccupied = np.ones((1, 1, 1), bool)
    spans = [(0.0, 1.0)] * 3
    if preprocessing.crop != "none":
        spans = _spans(isOccupied, shapeDhw, preprocessing.crop_margin)
    target = preprocessing.spacing_dhw or tuple(grid.spacingDhw)
    modelShape = [
        max(1, round(size * (stop - start) * given / wanted))
        for size, (start, stop), given, wanted in zip(
            shapeDhw, spans, grid.spacingDhw, target, strict=True
        )
    ]
    overlap = options.get("overlap", preprocessing.overlap)
    starts = [
        windowStarts(size, patch, overlap, isEven=preprocessing.windows == "even")
        for size, patch in zip(modelShape, preprocessing.patch_size, strict=True)
    ]
    if preprocessing.skips_air:
        windows = _countOccupied(isOccupied, spans, modelShape, preprocessing.patch_size, starts)
    else:
        windows = math.prod(map(len, starts))
    if options.get("mirroring"):
        windows *= mirrorImages(preprocessing)
    channels, volume = len(preprocessing.channels), math.prod(shapeDhw)
    shape = list(map(max, modelShape, preprocessing.patch_size))
    others = 8.0 * channels * preprocessing.patch_size[0] * math.prod(shape[1:])
    sums = [
        4.0 * classes * sumsPerClass(shape, preprocessing.patch_size, starts[0], rows) + others
        for rows in (classes, 0)
    ]
    return Workload(
        windows,
        math.prod(preprocessing.patch_size),
        channels * volume,
        classes,
        sums[0] + volume * (channels * grid.voxelBytes + 1),
        sums[1],
    )


def sumsPerClass(
    shape: Sequence[int], patch: Sequence[int], planeStarts: Sequence[int], classes: int
) -> int:
    """Return how many sums of scores are kept of each class; as in MISFMLib.inference.logit_ring.

    A volume of one window is forecast with more than it needs: some models need no sum there.

    Args:
        shape: Voxels of the model space, at least those of a window.
        patch: Voxels of a window.
        planeStarts: Slices that windows start at.
        classes: Classes, of which many are summed some rows at a time; 0 on a GPU.
    """
    (depth, rows, _), (_, height, width) = patch, shape
    steps = [after - before for before, after in itertools.pairwise(planeStarts)]
    overlap = depth - min(steps, default=depth)
    some = depth * rows + overlap * height
    isMuch = 4 * classes * depth * height * width > MUCH
    return width * (min(some, depth * height) if isMuch else depth * height)


def mirrorImages(preprocessing: PreprocessingConfig) -> int:
    """Return how many mirror images are averaged when mirroring is on, the volume included."""
    return 2 ** len(preprocessing.mirror_axes)


def windowStarts(size: int, patch: int, overlap: float, *, isEven: bool = False) -> list[int]:
    """Return where windows start along an axis; as in MISFMLib.inference.windows without torch."""
    if isEven:
        steps = max(0, math.ceil((size - patch) / (patch * (1 - overlap)) - 1e-9))
        return sorted(
            {round(number * (size - patch) / max(1, steps)) for number in range(steps + 1)}
        )
    stride = max(1, int(patch * (1 - overlap) + 1e-6))
    last = max(size, patch) - patch
    return sorted({min(start, last) for start in range(0, max(size, patch), stride)})


def _spans(
    isOccupied: np.ndarray, shapeDhw: Sequence[int], cropMargin: int
) -> list[tuple[float, float]]:
    """Return the part of every axis, 0 to 1, that is not cropped away."""
    spans = []
    for axis, size in enumerate(shapeDhw):
        others = tuple(other for other in range(3) if other != axis)
        (planes,) = isOccupied.any(axis=others).nonzero()
        count, margin = isOccupied.shape[axis], cropMargin / size
        start = max(0.0, planes[0] / count - margin)
        spans.append((start, min(1.0, (planes[-1] + 1) / count + margin)))
    return spans


def _countOccupied(
    isOccupied: np.ndarray,
    spans: Sequence[tuple[float, float]],
    modelShape: Sequence[int],
    patchSize: Sequence[int],
    windowStarts: Sequence[Sequence[int]],
) -> int:
    """Count the windows that see anything, and one more when there are others."""
    sums = np.pad(isOccupied.astype(np.int64), ((1, 0), (1, 0), (1, 0)))
    for axis in range(3):
        sums = sums.cumsum(axis)
    for axis, (span, size, patch) in enumerate(zip(spans, modelShape, patchSize, strict=True)):
        starts = np.array(windowStarts[axis])
        count = isOccupied.shape[axis]
        scale = (span[1] - span[0]) * count / size
        first = np.floor(span[0] * count + starts * scale + 1e-6).astype(int)
        last = np.ceil(span[0] * count + (starts + patch) * scale - 1e-6).astype(int)
        last = np.clip(last, 1, count)
        first = np.minimum(first, last - 1)
        sums = sums.take(last, axis) - sums.take(first, axis)
    seen = int((sums > 0).sum())
    return seen + (seen < sums.size)
