"""Sums of weighted logits of a few slices of a volume, in a ring that does not grow with its depth.

Slice z of the volume lies at z modulo the patch depth: slices that were taken make room for those
to come.
Axes: K classes; D, H, W depth, height, width of the volume; d, h, w of the patch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from MISFMLib.configs import Size
from MISFMLib.inference.windows import AxisWindow

_LARGE = 2**30
"""Bytes of float32 from which logits that were computed in 16 bits are summed in half precision: of
118 classes and windows of 128^3 voxels in an abdomen at 1.5 mm there are 4 GB."""

Window = tuple[AxisWindow, AxisWindow, AxisWindow]
"""A window by depth, height, width."""


@dataclass(frozen=True)
class LogitSlab:
    """Final logits of some slices of the volume."""

    start: int
    """First slice."""
    logits_KDHW: torch.Tensor
    """Logits, float32, or float16 where there are many and the network computes in 16 bits; a view
    that is valid until the next slab is asked for."""


class LogitRing:
    """Adds up windows; those that start at a slice come when all before it were taken."""

    def __init__(
        self,
        shape: Sequence[int],
        patch_size: Size,
        weights_dhw: torch.Tensor | None,
        *,
        may_be_half: bool,
    ) -> None:
        """Prepare for one volume.

        Args:
            shape: Voxels of the volume, at least those of the patch.
            patch_size: Voxels of a window.
            weights_dhw: Weights of a window that do not sum to one; those of the axes when None.
            may_be_half: Whether half precision will do where there are many logits.
        """
        self._shape = shape
        self._patch_size = patch_size
        self._weights_dhw = weights_dhw
        self._may_be_half = may_be_half
        self._sums_KdHW: torch.Tensor | None = None  # made when the number of classes is known

    def add(self, logits_Kdhw: torch.Tensor, window: Window) -> None:
        """Add the logits of a window, float32."""
        if self._weights_dhw is not None:
            self._weights_dhw = self._weights_dhw.to(logits_Kdhw.device)
            ones_1dhw = torch.ones_like(logits_Kdhw[:1])
            logits_Kdhw = torch.cat([logits_Kdhw, ones_1dhw])
        if self._sums_KdHW is None:
            self._sums_KdHW = self._zeros(len(logits_Kdhw), logits_Kdhw.device)
        weight_d, weight_h, weight_w = (axis.weight for axis in window)
        weight_hw = torch.outer(weight_h, weight_w)
        start, row, column = (axis.start for axis in window)
        _, patch_depth, patch_height, patch_width = logits_Kdhw.shape
        rows, columns = slice(row, row + patch_height), slice(column, column + patch_width)
        for first, places in self._places(start, start + patch_depth):
            part = slice(first - start, first - start + places.stop - places.start)
            sums_Kdhw = self._sums_KdHW[:, places, rows, columns]
            weight_dhw = weight_d[part, None, None] * weight_hw
            if self._weights_dhw is not None:
                weight_dhw = self._weights_dhw[part]
            if sums_Kdhw.dtype == torch.float32:
                sums_Kdhw.addcmul_(logits_Kdhw[:, part], weight_dhw)
                continue
            for sums_dhw, logits_dhw in zip(sums_Kdhw, logits_Kdhw[:, part], strict=True):
                sums_dhw.copy_(torch.addcmul(sums_dhw.float(), logits_dhw, weight_dhw))

    def take(self, start: int, stop: int) -> Iterator[LogitSlab]:
        """Yield the sums of slices and free their places."""
        assert self._sums_KdHW is not None, "slices were taken before windows were added"
        for first, places in self._places(start, stop):
            slab_KDHW = self._sums_KdHW[:, places]
            if self._weights_dhw is None:
                yield LogitSlab(first, slab_KDHW)
            else:  # the last channel holds the sums of the weights
                yield LogitSlab(first, slab_KDHW[:-1] / slab_KDHW[-1])
            slab_KDHW.zero_()

    def _zeros(self, channels: int, device: torch.device) -> torch.Tensor:
        size = (channels, self._patch_size[0], *self._shape[1:])
        is_half = self._may_be_half and 4 * math.prod(size) > _LARGE and device.type == "cpu"
        # Weights that do not sum to one may be too small for half precision.
        is_half = is_half and self._weights_dhw is None
        return torch.zeros(size, device=device, dtype=torch.float16 if is_half else torch.float32)

    def _places(self, start: int, stop: int) -> Iterator[tuple[int, slice]]:
        """Split slices into runs that lie together in the ring: first slice and places."""
        size = self._patch_size[0]
        while start < stop:
            place = start % size
            length = min(stop - start, size - place)
            yield start, slice(place, place + length)
            start += length
