"""Intensity schemes: statistics of one channel of one volume become a linear map with limits.

The z-score and percentiles of MR use the non-zero voxels when zero is the background's value, that
is when more than 5 % of the voxels are exactly zero: masked or padded volumes then look like
unmasked ones. At that share the two statistics still are close, so nothing jumps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.configs import IntensityConfig
from MISFMLib.data.resampling import slab_ranges

_BACKGROUND_SHARE = 0.05
_SAMPLE_VOXELS = 2**24
USUAL_LIMITS = {"ct-clip": (-1000.0, 1000.0), "mr-percentile": (0.5, 99.5)}
"""Limits where none are given: HU, as in the published CT preparation, and percentiles."""
_LEAST_SCALE = 1e-8


@dataclass(frozen=True)
class IntensityMap:
    """Clip to [lower, upper], subtract `shift`, divide by `scale`."""

    lower: float = -math.inf
    upper: float = math.inf
    shift: float = 0.0
    scale: float = 1.0
    only_inside: bool = False
    """Leave the voxels outside the foreground as they are."""

    def apply(
        self, values: npt.NDArray[Any], inside: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return mapped values as a new float32 array in C order.

        Args:
            values: Any real type and memory order.
            inside: Which voxels are foreground, for maps of the foreground only.
        """
        mapped = np.array(values, dtype=np.float32, order="C")
        np.clip(mapped, self.lower, self.upper, out=mapped)
        mapped -= np.float32(self.shift)
        mapped /= np.float32(self.scale)
        if self.only_inside and inside is not None:
            np.copyto(mapped, values, where=~inside, casting="unsafe")
        return mapped


def intensity_map(
    channel_DHW: npt.NDArray[Any],
    config: IntensityConfig,
    inside_DHW: npt.NDArray[np.bool_] | None = None,
) -> IntensityMap:
    """Derive the map of one channel from the statistics of the whole channel.

    Args:
        channel_DHW: Raw intensities inside the crop; any real type and memory order.
        config: Scheme and its limits.
        inside_DHW: Which voxels are foreground, for the scheme zscore-inside.

    Returns:
        The map; a constant channel is mapped to zero by the MR schemes.
    """
    if config.scheme == "ct-clip":
        return _to_unit_range(*(config.clip or USUAL_LIMITS["ct-clip"]))
    if config.scheme == "ct-percentile":
        lower, upper = config.clip or (-math.inf, math.inf)
        return IntensityMap(lower, upper, config.mean, config.std or 1.0)
    if config.scheme == "mr-zscore":
        mean, deviation = _mean_and_deviation(channel_DHW)
        return IntensityMap(shift=mean, scale=deviation or 1.0)
    if config.scheme == "mr-percentile":
        return _to_unit_range(
            *_percentiles(channel_DHW, config.clip or USUAL_LIMITS["mr-percentile"])
        )
    return _nnunet_map(channel_DHW, config.scheme, inside_DHW)


def _nnunet_map(
    channel_DHW: npt.NDArray[Any], scheme: str, inside_DHW: npt.NDArray[np.bool_] | None
) -> IntensityMap:
    """Derive a map as nnU-Net does; sums are of 64 bits here and of 32 there."""
    if scheme in ("zscore", "zscore-inside"):
        only_inside = scheme == "zscore-inside" and inside_DHW is not None
        values = channel_DHW[inside_DHW] if only_inside else channel_DHW
        mean, deviation = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
        return IntensityMap(shift=mean, scale=max(deviation, _LEAST_SCALE), only_inside=only_inside)
    if scheme == "unit-range":
        lowest, highest = float(channel_DHW.min()), float(channel_DHW.max())
        return IntensityMap(shift=lowest, scale=max(highest - lowest, _LEAST_SCALE))
    return IntensityMap(scale=255.0 if scheme == "divide-255" else 1.0)


def _to_unit_range(lower: float, upper: float) -> IntensityMap:
    """Map [lower, upper] to [-1, 1]."""
    return IntensityMap(lower, upper, (lower + upper) / 2, (upper - lower) / 2 or 1.0)


def _mean_and_deviation(channel_DHW: npt.NDArray[Any]) -> tuple[float, float]:
    ranges = list(slab_ranges(len(channel_DHW), channel_DHW[0].size))
    zeros = sum(np.sum(channel_DHW[start:stop] == 0) for start, stop in ranges)
    skips_zeros = _zero_is_background(zeros, channel_DHW.size)
    count = channel_DHW.size - (zeros if skips_zeros else 0)
    mean = sum(channel_DHW[a:b].sum(dtype=np.float64) for a, b in ranges) / count
    squares = 0.0
    for start, stop in ranges:
        values = channel_DHW[start:stop].astype(np.float64)
        values = values[values != 0] if skips_zeros else values
        squares += np.square(values - mean).sum()
    deviation = math.sqrt(squares / count)
    # Rounding of the mean alone leaves about this much on a constant channel.
    return float(mean), deviation if deviation > 1e-9 * abs(mean) else 0.0


def _percentiles(channel_DHW: npt.NDArray[Any], ranks: tuple[float, float]) -> tuple[float, float]:
    """Return percentiles; those of large volumes are taken on every n-th voxel of each axis."""
    step = math.ceil((channel_DHW.size / _SAMPLE_VOXELS) ** (1 / 3))
    values = channel_DHW[::step, ::step, ::step].ravel()
    nonzero = values[values != 0]
    if _zero_is_background(values.size - nonzero.size, values.size):
        values = nonzero
    lower, upper = np.percentile(values, ranks)
    return float(lower), float(upper)


def _zero_is_background(zeros: int, voxels: int) -> bool:
    """Tell whether zeros are to be left out; all-zero channels keep them, there is nothing else."""
    return _BACKGROUND_SHARE * voxels < zeros < voxels
