"""Sums of weighted logits of the part of a volume that windows still reach.

Slice z of the volume lies at z modulo the patch depth: slices that were taken make room for those
to come, so memory does not grow with the depth. Where a hundred classes would still take gigabytes,
only as many rows as a window has are summed at a time. What lies deeper than the slices that are
done waits elsewhere until windows come by again: the overlap of the windows, not all of them. The
logits of a volume of one window are handed on as they are.
Axes: K classes; D, H, W depth, height, width of the volume; d, h, w of the patch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from MISFMLib.configs import Size
from MISFMLib.inference.windows import AxisWindow

_LARGE = 2**30
"""Bytes of float32 from which logits are summed some rows at a time, and those that were computed
in 16 bits in half precision: of 118 classes and windows of 128^3 voxels in an abdomen at 1.5 mm
there are 4 GB."""

Window = tuple[AxisWindow, AxisWindow, AxisWindow]
"""A window by depth, height, width."""


@dataclass(frozen=True)
class LogitSlab:
    """Final logits of some rows of some slices of the volume."""

    start: int
    """First slice."""
    logits_KDHW: torch.Tensor
    """Logits, float32, or float16 where there are many and the network computes in 16 bits, or of a
    single window in the network's number format; a view that is valid until the next slab is asked
    for."""
    row: int = 0
    """First row."""


class LogitRing:
    """Adds up windows in order of depth, then of height.

    Those that start at a slice come when all slices before it were taken.
    """

    def __init__(
        self,
        shape: Sequence[int],
        patch_size: Size,
        weights_dhw: torch.Tensor | None,
        *,
        plane_starts: Sequence[int],
        may_be_half: bool,
    ) -> None:
        """Prepare for one volume.

        Args:
            shape: Voxels of the volume, at least those of the patch.
            patch_size: Voxels of a window.
            weights_dhw: Weights of a window that do not sum to one; those of the axes when None.
            plane_starts: Slices that windows start at, in order.
            may_be_half: Whether half precision will do where there are many logits.
        """
        self._shape = shape
        self._patch_size = patch_size
        self._weights_dhw = weights_dhw
        self._may_be_half = may_be_half
        steps = itertools.pairwise(plane_starts)
        self._most_left = max((patch_size[0] - (b - a) for a, b in steps), default=0)
        self._sums_KdHW: torch.Tensor | None = None  # made when the number of classes is known
        self._left_KdHW: torch.Tensor | None = None
        """Sums of the slices that windows will reach again, where rows are taken one by one."""
        self._slices_left = 0
        self._rows_in = 0
        self._origin = 0
        self._is_single = tuple(shape) == tuple(patch_size) and weights_dhw is None
        self._single_KDHW: torch.Tensor | None = None
        """Logits of the only window, whose weights are one: a sum of a hundred classes would be
        most of a gigabyte."""

    @property
    def _is_by_rows(self) -> bool:
        return self._left_KdHW is not None

    def add(self, logits_Kdhw: torch.Tensor, window: Window) -> None:
        """Add the logits of a window, of any number format."""
        if self._is_single:
            self._single_KDHW = logits_Kdhw
            return
        if self._sums_KdHW is None:
            self._sums_KdHW = self._zeros(len(logits_Kdhw), logits_Kdhw.device)
        sums_KdHW = self._sums_KdHW
        start, row, column = (axis.start for axis in window)
        _, depth, height, width = logits_Kdhw.shape
        if self._is_by_rows:
            self._take_in(start, row + height)
        columns = slice(column, column + width)
        for planes, places in self._depth_runs(start, start + depth):
            for rows, row_places in self._row_runs(row, row + height):
                part = slice(planes.start - start, planes.stop - start)
                part_rows = slice(rows.start - row, rows.stop - row)
                self._add_part(
                    sums_KdHW[:, places, row_places, columns],
                    logits_Kdhw[:, part, part_rows],
                    self._weights(window, part, part_rows),
                )

    def take(self, planes: slice, rows: slice) -> Iterator[LogitSlab]:
        """Yield the sums of slices that no later window reaches and free their places.

        Args:
            planes: The slices.
            rows: Rows that no later window of these slices reaches; after the rows before them.
        """
        if self._single_KDHW is not None:
            yield LogitSlab(planes.start, self._single_KDHW[:, planes, rows], rows.start)
            return
        height = self._shape[1]
        if not self._is_by_rows:
            if rows.stop < height:
                return
            rows = slice(0, height)
        assert self._sums_KdHW is not None, "slices were taken before windows were added"
        for these_rows, row_places in self._row_runs(rows.start, rows.stop):
            for these, places in self._depth_runs(planes.start, planes.stop):
                slab_KDHW = self._sums_KdHW[:, places, row_places]
                yield LogitSlab(these.start, self._means(slab_KDHW), these_rows.start)
                slab_KDHW.zero_()
            if self._left_KdHW is not None:
                rest_KdHW = self._sums_KdHW[:, planes.stop - planes.start :, row_places]
                self._left_KdHW[:, : rest_KdHW.shape[1], these_rows] = rest_KdHW
                rest_KdHW.zero_()
        if self._is_by_rows and rows.stop == height:
            self._slices_left = self._patch_size[0] - (planes.stop - planes.start)
            self._rows_in = 0

    def _take_in(self, start: int, stop_row: int) -> None:
        """Put what is there of rows that windows reach for the first time from a slice on."""
        assert self._sums_KdHW is not None
        assert self._left_KdHW is not None
        self._origin, left = start, slice(0, self._slices_left)
        for rows, places in self._row_runs(self._rows_in, stop_row):
            self._sums_KdHW[:, left, places] = self._left_KdHW[:, left, rows]
        self._rows_in = max(self._rows_in, stop_row)

    def _weights(self, window: Window, part: slice, rows: slice) -> torch.Tensor:
        if self._weights_dhw is not None:
            return self._weights_dhw[part, rows]
        weight_d, weight_h, weight_w = (axis.weight for axis in window)
        return weight_d[part, None, None] * torch.outer(weight_h[rows], weight_w)

    def _add_part(
        self, sums_Kdhw: torch.Tensor, logits_Kdhw: torch.Tensor, weight_dhw: torch.Tensor
    ) -> None:
        if self._weights_dhw is not None:  # the last channel holds the sums of the weights
            sums_Kdhw[-1] += weight_dhw
            sums_Kdhw = sums_Kdhw[:-1]
        is_exact = sums_Kdhw.dtype == logits_Kdhw.dtype == torch.float32
        if logits_Kdhw.device.type == "cpu" and logits_Kdhw.stride(0) == 1:
            # Classes lie side by side, as PyTorch's convolutions leave them: slice by slice they
            # are sorted in the cache, which takes a quarter of the time.
            for depth, weight_hw in enumerate(weight_dhw):
                _add_weighted(sums_Kdhw[:, depth], logits_Kdhw[:, depth].contiguous(), weight_hw)
        elif is_exact or logits_Kdhw.device.type != "cpu":
            _add_weighted(sums_Kdhw, logits_Kdhw, weight_dhw)
        else:  # class by class, without a copy of all in float32
            for sums_dhw, logits_dhw in zip(sums_Kdhw, logits_Kdhw, strict=True):
                _add_weighted(sums_dhw, logits_dhw, weight_dhw)

    def _means(self, slab_KDHW: torch.Tensor) -> torch.Tensor:
        if self._weights_dhw is None:
            return slab_KDHW
        return slab_KDHW[:-1].div_(slab_KDHW[-1].clone())

    def _zeros(self, classes: int, device: torch.device) -> torch.Tensor:
        depth, rows, _ = self._patch_size
        _, height, width = self._shape
        channels = classes
        if self._weights_dhw is not None:
            self._weights_dhw = self._weights_dhw.to(device)
            channels += 1
        is_large = 4 * channels * depth * height * width > _LARGE and device.type == "cpu"
        # Weights that do not sum to one may be too small for half precision.
        is_half = self._may_be_half and is_large and self._weights_dhw is None
        dtype = torch.float16 if is_half else torch.float32
        if is_large and self._saves_by_rows():
            left = (channels, self._most_left, height, width)
            self._left_KdHW = torch.empty(left, dtype=dtype)
            height = rows
        return torch.zeros((channels, depth, height, width), device=device, dtype=dtype)

    def _saves_by_rows(self) -> bool:
        (depth, rows, _), height = self._patch_size, self._shape[1]
        return depth * rows + self._most_left * height < depth * height

    def _depth_runs(self, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        return _runs(start, stop, self._patch_size[0], self._origin)

    def _row_runs(self, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        assert self._sums_KdHW is not None
        return _runs(start, stop, self._sums_KdHW.shape[2])


def _add_weighted(sums: torch.Tensor, logits: torch.Tensor, weight: torch.Tensor) -> None:
    if sums.dtype == torch.float32:
        sums.addcmul_(logits.float(), weight)
    else:
        sums.copy_(torch.addcmul(sums.float(), logits.float(), weight))


def _runs(start: int, stop: int, size: int, origin: int = 0) -> Iterator[tuple[slice, slice]]:
    """Split a range into runs that lie together in a ring of a size: what, and its places."""
    while start < stop:
        place = (start - origin) % size
        length = min(stop - start, size - place)
        yield slice(start, start + length), slice(place, place + length)
        start += length
