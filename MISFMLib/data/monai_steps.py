"""The preparation of bundles in MONAI's form, step by step in their own order.

Rules are those of MONAI 1.6.1 (`Spacingd`, `CropForegroundd`, `NormalizeIntensityd` and so on).
Whole volumes are computed, since statistics are taken of resampled intensities.
Axes: C channels; D, H, W here are the first, second, third voxel axis, as MONAI has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from MISFMLib.data.spatial import canonical_axes

Floats = npt.NDArray[np.float64]
Step = Mapping[str, Any]

_TOLERANCE = 1e-3
"""Relative tolerance of MONAI's search for the first voxel; absolute it is that of NumPy."""


class MonaiPreparation:
    """A volume on its way through the steps.

    Attributes:
        image_CDHW: The volume, float32.
        coordinates: For every axis and voxel of the volume that was given, where it lies on the
            grid that was reached, cut to its ends.
        is_inside: For every axis, which of these voxels a step has not cropped away.
        order: Axis of the volume that was given that became each axis.
        flips: Whether it runs the other way; both lists above follow the axis as it is now.
    """

    def __init__(self, image_CDHW: torch.Tensor, axes_mm: Floats) -> None:
        """Take a volume over.

        Args:
            image_CDHW: Canonical axes, float32.
            axes_mm: Steps of its three axes in mm in RAS space, as columns.
        """
        self.image_CDHW = image_CDHW
        self._axes_mm = axes_mm
        self.coordinates = [np.arange(size, dtype=float) for size in image_CDHW.shape[1:]]
        self.is_inside = [np.ones(size, bool) for size in image_CDHW.shape[1:]]
        self.order, self.flips = [0, 1, 2], [False, False, False]

    def run(self, steps: Sequence[Step]) -> None:
        """Carry the steps out."""
        for step in steps:
            settings = {name: value for name, value in step.items() if name != "step"}
            if step["step"] == "spacing":
                self._resample(**settings)
            elif step["step"] == "crop-foreground":
                self._crop(**settings)
            elif step["step"] == "pad":
                self._pad(**settings)
            elif step["step"] == "orientation":
                self._orient(**settings)
            else:
                self.image_CDHW = INTENSITIES[step["step"]](self.image_CDHW, **settings)

    def _resample(self, pixdim: Sequence[float], order: int = 1) -> None:
        """Go to other voxel sizes as `Spacingd` does."""
        shape = np.array(self.image_CDHW.shape[1:], float)
        spacing = np.sqrt(np.square(self._axes_mm).sum(0))
        wanted = np.where(np.array(pixdim, float) > 0, pixdim, spacing)
        shear = np.linalg.cholesky(self._axes_mm.T @ self._axes_mm).T
        new_axes = self._axes_mm @ np.linalg.inv(shear) @ np.diag(wanted)
        size, keeps_first = _new_grid(self._axes_mm, new_axes, shape)
        scale = wanted / spacing
        # Else the indices n/2 of both grids lie in the same place.
        offset = np.zeros(3) if keeps_first else shape / 2 - scale * size / 2
        image_CDHW = self.image_CDHW.double()
        for axis in range(3):
            positions = scale[axis] * np.arange(int(size[axis])) + offset[axis]
            image_CDHW = sampled(image_CDHW, axis + 1, positions, order)
            self.coordinates[axis] = ((self.coordinates[axis] - offset[axis]) / scale[axis]).clip(
                0, size[axis] - 1
            )
        self.image_CDHW = image_CDHW.float()
        self._axes_mm = new_axes

    def _crop(
        self, margin: Sequence[int], allow_smaller: bool, divisor: Sequence[int] = (1, 1, 1)
    ) -> None:
        """Keep the box around what is above zero in any channel, as `CropForegroundd` does."""
        is_foreground_DHW = (self.image_CDHW > 0).any(0)
        if not is_foreground_DHW.any():
            return
        pads: list[int] = []
        for axis in range(3):
            others = [other for other in range(3) if other != axis]
            (found,) = is_foreground_DHW.amax(others).nonzero(as_tuple=True)
            size = self.image_CDHW.shape[axis + 1]
            start, stop = int(found[0]) - margin[axis], int(found[-1]) + 1 + margin[axis]
            if allow_smaller:
                start, stop = max(start, 0), min(stop, size)
            more = -(stop - start) % divisor[axis] if divisor[axis] > 0 else 0
            start, stop = start - more // 2, stop + more - more // 2
            pads = [-start, stop - size, *pads]  # the last axis comes first
            moved = self.coordinates[axis] - start
            self.is_inside[axis] &= (moved > -1) & (moved < stop - start)
            self.coordinates[axis] = moved.clip(0, stop - start - 1)
        self.image_CDHW = torch.nn.functional.pad(self.image_CDHW, pads)

    def _pad(
        self,
        size: Sequence[int] | None = None,
        divisor: Sequence[int] | None = None,
        at_end: bool = False,
    ) -> None:
        """Put zeros around up to a size or a multiple, as `SpatialPadd` and `DivisiblePadd` do."""
        pads: list[int] = []
        for axis, given in enumerate(self.image_CDHW.shape[1:]):
            wanted = size[axis] if size is not None else given
            if divisor is not None and divisor[axis] > 0:
                wanted = -(-given // divisor[axis]) * divisor[axis]
            more = max(0, wanted - given)
            before = 0 if at_end else more // 2
            pads = [before, more - before, *pads]  # the last axis comes first
            self.coordinates[axis] = self.coordinates[axis] + before
        self.image_CDHW = torch.nn.functional.pad(self.image_CDHW, pads)

    def _orient(self, axcodes: str) -> None:
        """Permute and flip the axes as `Orientationd` does."""
        direction = np.diag([-1.0, -1.0, 1.0]) @ (
            self._axes_mm / np.sqrt(np.square(self._axes_mm).sum(0))
        )
        axes, flips = canonical_axes(tuple(direction.ravel()), axcodes)
        order = [2 - axis for axis in reversed(axes)]
        flipped = [axis for axis in range(3) if flips[2 - axis]]
        self.image_CDHW = self.image_CDHW.permute(0, *(1 + axis for axis in order)).flip(
            [1 + axis for axis in flipped]
        )
        signs = np.where([axis in flipped for axis in range(3)], -1.0, 1.0)
        self._axes_mm = self._axes_mm[:, order] * signs
        self.order = [self.order[axis] for axis in order]
        self.flips = [self.flips[axis] ^ (t in flipped) for t, axis in enumerate(order)]
        self.coordinates = [self.coordinates[axis] for axis in order]
        self.is_inside = [self.is_inside[axis] for axis in order]
        for axis in flipped:
            last = self.image_CDHW.shape[axis + 1] - 1
            self.coordinates[axis] = (last - self.coordinates[axis])[::-1]
            self.is_inside[axis] = self.is_inside[axis][::-1]


def _new_grid(axes_mm: Floats, new_axes_mm: Floats, shape: Floats) -> tuple[Floats, bool]:
    """Return the size of the new grid and whether its first voxel is that of the old one.

    The rounding errors of a rotation decide the latter in MONAI: one corner must be the first along
    all new axes to eight digits.
    """
    corners = np.array(np.meshgrid(*((0.0, n - 1) for n in shape), indexing="ij")).reshape(3, -1)
    seen = np.linalg.solve(new_axes_mm, axes_mm) @ corners
    size = np.round(np.ptp(seen, axis=1) + 1.0)
    firsts = (seen - seen[:, i : i + 1] for i in range(seen.shape[1]))
    keeps = any(np.allclose(first.min(1), 0.0, rtol=_TOLERANCE) for first in firsts)
    return size, keeps


def sampled(image_CDHW: torch.Tensor, axis: int, positions: Floats, order: int) -> torch.Tensor:
    """Interpolate along one axis; beyond its ends the last voxels are repeated."""
    last = image_CDHW.shape[axis] - 1
    inside = positions.clip(0, last)
    if order == 0:
        return image_CDHW.index_select(axis, torch.from_numpy(np.rint(inside).astype(np.int64)))
    lower = np.floor(inside).astype(np.int64)
    upper = np.minimum(lower + 1, last)
    shape = [1] * image_CDHW.ndim
    shape[axis] = -1
    weight = torch.from_numpy(inside - lower).view(shape)
    low, high = (image_CDHW.index_select(axis, torch.from_numpy(index)) for index in (lower, upper))
    return low + (high - low) * weight


# ------------------------------------------------------------------------------------- intensities


def _scale_range(
    image: torch.Tensor,
    a_min: float,
    a_max: float,
    b_min: float | None = None,
    b_max: float | None = None,
    clip: bool = False,
) -> torch.Tensor:
    if a_max == a_min:
        return image - a_min if b_min is None else image - a_min + b_min
    image = (image - a_min) / (a_max - a_min)
    if b_min is not None and b_max is not None:
        image = image * (b_max - b_min) + b_min
    return image.clamp(b_min, b_max) if clip else image


def _percentile_range(
    image: torch.Tensor,
    lower: float,
    upper: float,
    channel_wise: bool = False,
    **scaling: Any,
) -> torch.Tensor:
    def scaled(part: torch.Tensor) -> torch.Tensor:
        low, high = np.percentile(part.numpy(), [lower, upper])
        return _scale_range(part, float(low), float(high), **scaling)

    return _by_channel(image, scaled, channel_wise)


def _clip_percentiles(
    image: torch.Tensor,
    lower: float | None = None,
    upper: float | None = None,
    channel_wise: bool = False,
) -> torch.Tensor:
    def clipped(part: torch.Tensor) -> torch.Tensor:
        bounds = [0.0 if lower is None else lower, 100.0 if upper is None else upper]
        low, high = np.percentile(part.numpy(), bounds)
        return part.clamp(float(low), float(high))

    return _by_channel(image, clipped, channel_wise)


def _threshold(
    image: torch.Tensor, threshold: float, above: bool = True, cval: float = 0.0
) -> torch.Tensor:
    is_kept = image > threshold if above else image < threshold
    return torch.where(is_kept, image, torch.tensor(cval))


def _scale(
    image: torch.Tensor, minv: float = 0.0, maxv: float = 1.0, channel_wise: bool = False
) -> torch.Tensor:
    def scaled(part: torch.Tensor) -> torch.Tensor:
        low, high = part.min(), part.max()
        if low == high:
            return part * minv
        return (part - low) / (high - low) * (maxv - minv) + minv

    return _by_channel(image, scaled, channel_wise)


def _normalize(
    image: torch.Tensor,
    nonzero: bool = False,
    channel_wise: bool = False,
    subtrahend: Sequence[float] | float | None = None,
    divisor: Sequence[float] | float | None = None,
) -> torch.Tensor:
    def normalized(part: torch.Tensor, shift: Any, scale: Any) -> torch.Tensor:
        part = part.clone()
        counts = part != 0 if nonzero else torch.ones_like(part, dtype=torch.bool)
        values = part[counts]
        if not len(values):
            return part
        shift = values.mean() if shift is None else shift
        scale = values.std(unbiased=False) if scale is None else scale
        part[counts] = (values - shift) / (scale if scale != 0 else 1.0)
        return part

    if not channel_wise:
        return normalized(image, subtrahend, divisor)
    shifts, scales = (
        [None] * len(image)
        if v is None
        else list(v)
        if isinstance(v, Sequence)
        else [v] * len(image)
        for v in (subtrahend, divisor)
    )
    return torch.stack([normalized(*parts) for parts in zip(image, shifts, scales, strict=True)])


def _by_channel(
    image: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor], channel_wise: bool
) -> torch.Tensor:
    return torch.stack([change(part) for part in image]) if channel_wise else change(image)


INTENSITIES: Mapping[str, Callable[..., torch.Tensor]] = {
    "scale-range": _scale_range,
    "percentile-range": _percentile_range,
    "clip-percentiles": _clip_percentiles,
    "threshold": _threshold,
    "scale": _scale,
    "normalize": _normalize,
}
"""Steps that change intensities, by name."""
