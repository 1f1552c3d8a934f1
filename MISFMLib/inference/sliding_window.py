"""Logits of a whole volume from overlapping windows, emitted slab by slab along depth.

Windows run in order of depth. A ring buffer as deep as the patch holds the sums of their weighted
logits; slices that no later window touches are emitted and their place is used again, so memory
does not grow with the length of the scan.

Axes: B batch; C channels; K classes; D, H, W depth, height, width of the volume; d, h, w of the
patch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from MISFMLib.configs import Precision, Size
from MISFMLib.device import autocast
from MISFMLib.errors import ConfigError
from MISFMLib.inference.windows import AxisWindow, WindowConfig, axis_windows

T = TypeVar("T")

_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where, and in which number format, the work is done."""

    network: torch.device = _CPU
    """Device that the network is on."""
    sums: torch.device = _CPU
    """Device that holds the sums of logits, float32."""
    precision: Precision = "fp32"
    """Number format of the network."""


@dataclass(frozen=True)
class LogitSlab:
    """Final logits of some slices of the volume."""

    start: int
    """First slice."""
    logits_KDHW: torch.Tensor
    """Logits, float32; a view that is valid until the next slab is asked for."""


WindowCounter = Callable[[int, int], None]
"""Called between windows with the number done and the number of all; may raise to stop."""


def ignore_windows(_done: int, _total: int) -> None:
    """Window counter that drops everything."""


def predict_logits(
    network: nn.Module,
    image_CDHW: torch.Tensor,
    config: WindowConfig,
    placement: Placement | None = None,
    on_window: WindowCounter = ignore_windows,
) -> torch.Tensor:
    """Predict the logits of a whole volume, for volumes whose logits fit into memory.

    Args:
        network: Maps (B, C, d, h, w) to logits (B, K, d, h, w); in eval mode.
        image_CDHW: Prepared volume, float32, on any device.
        config: Windows.
        placement: Devices and number format; all on the volume's device in float32 when not given.
        on_window: Hears how far it has come.

    Returns:
        Logits (K, D, H, W), float32, on the CPU.

    Raises:
        ConfigError: The network's logits have another size than its input.
    """
    slabs = iterate_slabs(network, image_CDHW, config, placement, on_window)
    return torch.cat([slab.logits_KDHW.to(_CPU, copy=True) for slab in slabs], dim=1)


def iterate_slabs(
    network: nn.Module,
    image_CDHW: torch.Tensor,
    config: WindowConfig,
    placement: Placement | None = None,
    on_window: WindowCounter = ignore_windows,
) -> Iterator[LogitSlab]:
    """Predict the logits of a volume slab by slab, in order of depth.

    A volume smaller than the patch is padded on both sides with its outermost voxels, as training
    patches are, and its logits are cropped again. Memory beside the volume: one float32 buffer of
    K x patch depth x H x W.

    Args:
        network: Maps (B, C, d, h, w) to logits (B, K, d, h, w); in eval mode.
        image_CDHW: Prepared volume, float32, on any device.
        config: Windows.
        placement: Devices and number format; all on the volume's device in float32 when not given.
        on_window: Hears how far it has come.

    Yields:
        Slabs that together hold every slice once.

    Raises:
        ConfigError: The network's logits have another size than its input.
    """
    padded_CDHW, (before, top, left) = _pad_to_patch(image_CDHW, config.patch_size)
    _, depth, height, width = image_CDHW.shape
    placement = placement or Placement(network=image_CDHW.device, sums=image_CDHW.device)
    predictor = _WindowPredictor(network, padded_CDHW, config, placement)
    for slab in _padded_slabs(predictor, on_window):
        first = max(before, slab.start)
        stop = min(before + depth, slab.start + slab.logits_KDHW.shape[1])
        if first < stop:
            cut = slice(first - slab.start, stop - slab.start)
            logits_KDHW = slab.logits_KDHW[:, cut, top : top + height, left : left + width]
            yield LogitSlab(first - before, logits_KDHW)


def _pad_to_patch(image_CDHW: torch.Tensor, patch_size: Size) -> tuple[torch.Tensor, Size]:
    """Return the volume, at least as large as a patch, and where its first voxel came to lie."""
    missing = [max(0, p - n) for p, n in zip(patch_size, image_CDHW.shape[1:], strict=True)]
    before = (missing[0] // 2, missing[1] // 2, missing[2] // 2)
    if not any(missing):
        return image_CDHW, before
    widths = [(low, both - low) for low, both in zip(before, missing, strict=True)]
    flat_widths = [width for axis in reversed(widths) for width in axis]
    return F.pad(image_CDHW[None], flat_widths, mode="replicate")[0], before


def _padded_slabs(predictor: _WindowPredictor, on_window: WindowCounter) -> Iterator[LogitSlab]:
    """Yield slabs of a volume that is at least as large as a patch."""
    planes, rows, columns = predictor.axes
    places = list(itertools.product(rows, columns))
    total, done = len(planes) * len(places), 0
    stops = [*(plane.start for plane in planes[1:]), predictor.shape[0]]
    for plane, stop in zip(planes, stops, strict=True):
        for batch in _even_batches(places, predictor.config.batch_size):
            predictor.add([(plane, row, column) for row, column in batch])
            done += len(batch)
            on_window(done, total)
        yield from predictor.take(plane.start, stop)


def _even_batches(items: Sequence[T], largest: int) -> Iterator[Sequence[T]]:
    """Split into as few batches as possible, of nearly the same length: none is left alone."""
    count = -(-len(items) // largest)
    edges = [len(items) * number // count for number in range(count + 1)]
    for start, stop in itertools.pairwise(edges):
        yield items[start:stop]


_Window = tuple[AxisWindow, AxisWindow, AxisWindow]
"""A window by depth, height, width."""


class _WindowPredictor:
    """Adds up the weighted logits of windows in a ring buffer.

    Slice z of the volume lies at z modulo the patch depth. Windows may be added once all slices
    before them were taken.
    """

    def __init__(
        self,
        network: nn.Module,
        image_CDHW: torch.Tensor,
        config: WindowConfig,
        placement: Placement,
    ) -> None:
        self.config = config
        self.shape = image_CDHW.shape[1:]
        self.axes = [
            axis_windows(size, patch, config.overlap)
            for size, patch in zip(self.shape, config.patch_size, strict=True)
        ]
        self._network = network
        self._image_CDHW = image_CDHW
        self._placement = placement
        self._ring_KdHW: torch.Tensor | None = None  # made when the number of classes is known

    def add(self, windows: Sequence[_Window]) -> None:
        """Compute windows that start at the same slice, and add their logits."""
        logits_BKdhw = self._predict(windows)
        for logits_Kdhw, window in zip(logits_BKdhw, windows, strict=True):
            self._accumulate(logits_Kdhw, window)

    def take(self, start: int, stop: int) -> Iterator[LogitSlab]:
        """Yield the sums of slices and free their places."""
        assert self._ring_KdHW is not None, "slices were taken before windows were added"
        for first, places in self._places(start, stop):
            slab_KDHW = self._ring_KdHW[:, places]
            yield LogitSlab(first, slab_KDHW)
            slab_KDHW.zero_()

    def _places(self, start: int, stop: int) -> Iterator[tuple[int, slice]]:
        """Split slices into runs that lie together in the ring: first slice and places."""
        size = self.config.patch_size[0]
        while start < stop:
            place = start % size
            length = min(stop - start, size - place)
            yield start, slice(place, place + length)
            start += length

    @torch.inference_mode()
    def _predict(self, windows: Sequence[_Window]) -> torch.Tensor:
        device = self._placement.network
        batch_BCdhw = torch.stack([self._cut(window) for window in windows]).to(device)
        with autocast(device, self._placement.precision):
            logits_BKdhw: torch.Tensor = self._network(batch_BCdhw).float()
            if self.config.mirroring:
                flips = _flips(self.config.mirror_axes)
                for axes in flips:
                    mirrored_BKdhw = self._network(batch_BCdhw.flip(axes)).float()
                    logits_BKdhw = logits_BKdhw + mirrored_BKdhw.flip(axes)
                logits_BKdhw = logits_BKdhw / (1 + len(flips))
        if logits_BKdhw.shape[2:] != batch_BCdhw.shape[2:]:
            raise ConfigError(
                f"The network turns a patch of {tuple(batch_BCdhw.shape[2:])} voxels into logits "
                f"of {tuple(logits_BKdhw.shape[2:])}, the same size was expected.",
                code="logit-size",
                remedy="Choose a patch size that the network's strides divide.",
            )
        return logits_BKdhw.to(self._placement.sums)

    def _cut(self, window: _Window) -> torch.Tensor:
        depths, rows, columns = (
            slice(axis.start, axis.start + len(axis.weight)) for axis in window
        )
        return self._image_CDHW[:, depths, rows, columns]

    def _accumulate(self, logits_Kdhw: torch.Tensor, window: _Window) -> None:
        if self._ring_KdHW is None:
            size = (len(logits_Kdhw), self.config.patch_size[0], *self.shape[1:])
            self._ring_KdHW = torch.zeros(size, device=logits_Kdhw.device)
        weight_d, weight_h, weight_w = (axis.weight.to(logits_Kdhw.device) for axis in window)
        weight_hw = torch.outer(weight_h, weight_w)
        start, row, column = (axis.start for axis in window)
        _, patch_depth, patch_height, patch_width = logits_Kdhw.shape
        rows, columns = slice(row, row + patch_height), slice(column, column + patch_width)
        for first, places in self._places(start, start + patch_depth):
            part = slice(first - start, first - start + places.stop - places.start)
            sums_Kdhw = self._ring_KdHW[:, places, rows, columns]
            sums_Kdhw.addcmul_(logits_Kdhw[:, part], weight_d[part, None, None] * weight_hw)


def _flips(mirror_axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the axes of (B, C, d, h, w) to flip for each mirror image."""
    counts = range(1, len(mirror_axes) + 1)
    subsets = (axes for count in counts for axes in itertools.combinations(mirror_axes, count))
    return [tuple(axis + 2 for axis in axes) for axes in subsets]
