"""Labels on another grid: class scores are resampled, and the highest one is the label.

Resampling labels themselves leaves steps as large as the coarser grid's voxels. All scores on the
finer grid would need the memory of one volume per class. Here they exist for a few slices only, in
which they are interpolated, compared and forgotten.
Axes: K classes; D, H, W depth, height, width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from MISFMLib.configs import Size
from MISFMLib.data.interpolation import nearest_positions
from MISFMLib.data.resampling import linear_positions
from MISFMLib.device import one_thread
from MISFMLib.errors import DeviceError

_TILE_SCORES = 2**20
"""Scores of one tile of one slice: 4 MiB of float32, which stay in a processor's cache."""

Place = tuple[int, slice]
"""Slice and rows of a tile in the output."""
TileListener = Callable[[Place, torch.Tensor, torch.Tensor], None]
"""Called with a place of the output, its scores (K, H, W), which it may change, and its classes
(H, W) int64."""


@dataclass(frozen=True)
class Places:
    """Where the voxels of the output lie on the grid of the scores."""

    orders: Sequence[int] = (1, 1, 1)
    """1 or 0 for each axis: linear interpolation, or the nearest slice."""
    coordinates: Sequence[Sequence[float]] = ()
    """Place of each voxel of the output, for every axis; without, the grids share their outer
    borders."""


@dataclass(frozen=True)
class Decision:
    """How the label of a voxel follows from what is given of its classes."""

    is_by_regions: bool = False
    """The last region with a score above zero, and then the labels begin with that of none; else
    the class with the highest score."""
    to_scores: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.float
    """Makes scores (K, H, W) of what is given, in float32; they are what is interpolated."""


@dataclass(frozen=True)
class _Progress:
    """How far one axis has come."""

    received: int = 0
    """Voxels of scores that were given."""
    written: int = 0
    """Voxels of the output that are done."""


class LabelResampler:
    """Turns slabs of class scores, given in order of depth, into labels on another grid.

    On the CPU each thread has rows of its own: a volume takes thousands of small steps, and at the
    end of each the threads of PyTorch would wait for the slowest. On a core that another program
    kept busy that made minutes of one second.

    The result equals the arg max of trilinear interpolation (`torch.nn.functional.interpolate`) of
    all scores. Equal scores give the lowest class.
    """

    def __init__(
        self,
        input_shape: Size,
        output_DHW: npt.NDArray[Any],
        values: npt.NDArray[Any],
        on_tile: TileListener | None = None,
        decision: Decision | None = None,
        places: Places | None = None,
    ) -> None:
        """Prepare for one volume.

        Args:
            input_shape: Voxels of the scores' grid.
            output_DHW: Array or view that the labels are written into.
            values: Label of each class, in the type of `output_DHW`.
            on_tile: Hears the scores that the labels come from, tile by tile, from several threads.
            decision: How labels follow from scores; the class with the highest when not given.
            places: Where the scores are interpolated; linearly on grids that share their outer
                borders when not given.
        """
        self._output_DHW = output_DHW
        self._values = values
        self._on_tile = on_tile
        decision = decision or Decision()
        self._to_scores = decision.to_scores
        self._plane = input_shape[1:]
        places = places or Places()
        self._has_coordinates = bool(places.coordinates)
        self._depth, self._rows, self._columns = (
            _between(given, old) if given else _positions(old, new, order)
            for old, new, order, given in zip(
                input_shape,
                output_DHW.shape,
                places.orders,
                places.coordinates or [()] * 3,
                strict=True,
            )
        )
        self._decide = _regions_between if decision.is_by_regions else _highest_between
        self._takes_columns = places.orders[2] == 0
        self._slices = _Progress()
        self._row_progress = _Progress()
        self._last_KHW: torch.Tensor | None = None
        """Scores of the last slice that was given."""
        self._above_KDW = torch.empty(0)
        """Those of the row above the ones at hand, of the same slices and the one before."""

    def add(self, scores_KDHW: torch.Tensor) -> None:
        """Take the next scores and write all labels that they complete.

        Args:
            scores_KDHW: Scores of the slices that follow those given before; or of some rows of
                them, and then the rows that follow come next. On any device, in any number format.

        Raises:
            DeviceError: A score is not a finite number.
        """
        if self._last_KHW is None:
            self._last_KHW = scores_KDHW.new_zeros(len(scores_KDHW), *self._plane)
        stop = self._slices.received + scores_KDHW.shape[1]
        stop_row = self._row_progress.received + scores_KDHW.shape[2]
        slices = range(self._slices.written, int((self._depth[1] < stop).sum()))
        rows = range(self._row_progress.written, int((self._rows[1] < stop_row).sum()))

        def write(tile: slice) -> None:
            self._write_tile(scores_KDHW, slices, tile)

        threads = torch.get_num_threads() if scores_KDHW.device.type == "cpu" else 1
        with one_thread(), ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(write, self._row_tiles(scores_KDHW, rows, threads)):
                pass  # raises what was raised in the thread
        self._keep(scores_KDHW, slice(self._row_progress.received, stop_row))
        self._row_progress = _Progress(stop_row, rows.stop)
        if stop_row == self._plane[0]:
            self._slices, self._row_progress = _Progress(stop, slices.stop), _Progress()

    def _keep(self, scores_KDHW: torch.Tensor, rows: slice) -> None:
        """Keep what labels between these scores and the next ones come from."""
        assert self._last_KHW is not None
        if rows.stop < self._plane[0]:
            before_K1W = self._last_KHW[:, None, rows.stop - 1]
            self._above_KDW = torch.cat([before_K1W, scores_KDHW[:, :, -1]], 1)
        self._last_KHW[:, rows] = scores_KDHW[:, -1]

    def _row_tiles(self, scores_KDHW: torch.Tensor, rows: range, threads: int) -> Iterator[slice]:
        width = self._output_DHW.shape[2]
        step = min(_TILE_SCORES // (len(scores_KDHW) * width), -(-len(rows) // threads))
        if scores_KDHW.device.type != "cpu":  # few large kernels
            step = len(rows)
        for start in rows[:: max(1, step)]:
            yield slice(start, min(start + max(1, step), rows.stop))

    def _write_tile(self, scores_KDHW: torch.Tensor, slices: range, tile: slice) -> None:
        lower, upper, weight = self._depth
        planes: dict[int, torch.Tensor] = {}
        for index in slices:
            below, above = int(lower[index]), int(upper[index])
            planes = {
                depth: planes[depth]
                if depth in planes
                else self._plane_at(scores_KDHW, depth, tile)
                for depth in (below, above)
            }
            between = planes[below], planes[above], float(weight[index])
            classes_HW = self._decide(*between)
            self._output_DHW[index, tile] = self._values.take(classes_HW.cpu().numpy())
            if self._on_tile is not None:
                scores_KHW = torch.lerp(*between)
                if self._decide is _regions_between:  # the score of no region
                    scores_KHW = F.pad(scores_KHW, (0, 0, 0, 0, 1, 0))
                self._on_tile((index, tile), scores_KHW, classes_HW.long())

    def _plane_at(self, scores_KDHW: torch.Tensor, depth: int, tile: slice) -> torch.Tensor:
        """Return the tile's rows of one input slice, interpolated within the slice."""
        if self._output_DHW.shape[1:] == self._plane and not self._has_coordinates:
            return self._given_rows(scores_KDHW, depth, tile)
        lower, upper, weight = (part[tile].to(scores_KDHW.device) for part in self._rows)
        first, stop = int(lower[0]), int(upper[-1]) + 1
        rows_KHW = self._given_rows(scores_KDHW, depth, slice(first, stop))
        if self._has_coordinates:
            left, right, share = (part.to(rows_KHW.device) for part in self._columns)
            rows_KHW = torch.lerp(rows_KHW[..., left], rows_KHW[..., right], share)
        elif self._takes_columns:
            rows_KHW = rows_KHW[..., self._columns[0].to(rows_KHW.device)]
        else:
            rows_KHW = F.interpolate(rows_KHW, size=len(self._columns[0]), mode="linear")
        return torch.lerp(rows_KHW[:, lower - first], rows_KHW[:, upper - first], weight[:, None])

    def _given_rows(self, scores_KDHW: torch.Tensor, depth: int, rows: slice) -> torch.Tensor:
        """Return rows of one input slice, of these scores or at most one slice and row before."""
        assert self._last_KHW is not None
        offset, row = depth - self._slices.received, self._row_progress.received
        stop_row = row + scores_KDHW.shape[2]
        plane_KHW = scores_KDHW[:, offset] if offset >= 0 else self._last_KHW[:, row:stop_row]
        rows_KHW = plane_KHW[:, max(0, rows.start - row) : rows.stop - row]
        if rows.start < row:
            rows_KHW = torch.cat([self._above_KDW[:, offset + 1, None], rows_KHW], 1)
        return self._to_scores(rows_KHW.float())


def _positions(
    input_size: int, output_size: int, order: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the input voxels around every output voxel, and the weight of the second."""
    if order == 1:
        return linear_positions(input_size, output_size)
    nearest = nearest_positions(input_size, output_size)
    return nearest, nearest, torch.zeros(output_size)


def _between(places: Sequence[float], size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the voxels around every place, and the weight of the second."""
    inside = torch.tensor(places, dtype=torch.float64).clamp(0, size - 1)
    lower = inside.floor().long()
    return lower, (lower + 1).clamp_(max=size - 1), (inside - lower).float()


def _regions_between(
    lower_KHW: torch.Tensor, upper_KHW: torch.Tensor, weight: float
) -> torch.Tensor:
    """Return 1 + the last region with a score above zero between two slices, 0 for none, (H, W)."""
    scores_KHW = torch.lerp(lower_KHW, upper_KHW, weight)
    _check_finite(scores_KHW)
    numbers_K11 = torch.arange(1, len(scores_KHW) + 1, device=scores_KHW.device)[:, None, None]
    classes_HW: torch.Tensor = ((scores_KHW > 0) * numbers_K11).amax(0)
    return classes_HW


def _check_finite(scores: torch.Tensor) -> None:
    if not torch.stack(scores.aminmax()).isfinite().all():
        raise DeviceError(
            "The network's answer holds values that are not finite.",
            code="logits-not-finite",
            remedy="Use --precision fp32; if that does not help, check `misfm models verify`.",
        )


def _highest_between(
    lower_KHW: torch.Tensor, upper_KHW: torch.Tensor, weight: float
) -> torch.Tensor:
    """Return the class with the highest score between two slices, (H, W) uint8 or int16.

    Class after class is compared with the highest so far, with vector instructions only (there are
    none for filling by a mask): four times faster than ``torch.argmax``.
    """
    highest = torch.lerp(lower_KHW[0], upper_KHW[0], weight)
    score, is_higher = torch.empty_like(highest), torch.empty_like(highest, dtype=torch.bool)
    dtype = torch.uint8 if len(lower_KHW) <= 256 else torch.int16
    classes_HW = torch.zeros_like(highest, dtype=dtype)
    for index in range(1, len(lower_KHW)):
        torch.lerp(lower_KHW[index], upper_KHW[index], weight, out=score)
        _compare(score, highest, is_higher)
        # Classes rise, so this sets the index wherever the score is higher.
        index_HW = is_higher.view(torch.uint8).to(dtype).mul_(index)
        torch.maximum(classes_HW, index_HW, out=classes_HW)
        torch.maximum(highest, score, out=highest)
    _check_finite(highest)
    return classes_HW


def _compare(first: torch.Tensor, second: torch.Tensor, is_greater: torch.Tensor) -> None:
    """Fill `is_greater` with ``first > second``."""
    if first.device.type == "cpu":  # torch compares into bool without vector instructions
        np.greater(first.numpy(), second.numpy(), out=is_greater.numpy())
    else:
        torch.gt(first, second, out=is_greater)
