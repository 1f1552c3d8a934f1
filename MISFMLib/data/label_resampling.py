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
from typing import Any, Literal

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
Decision = Literal["highest", "regions"]
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
        decision: Decision = "highest",
        places: Places | None = None,
    ) -> None:
        """Prepare for one volume.

        Args:
            input_shape: Voxels of the scores' grid.
            output_DHW: Array or view that the labels are written into.
            values: Label of each class, in the type of `output_DHW`.
            on_tile: Hears the scores that the labels come from, tile by tile, from several threads.
            decision: The class with the highest score; or regions, of which the last with a score
                above zero is taken, and then `values` begins with that of none.
            places: Where the scores are interpolated; linearly on grids that share their outer
                borders when not given.
        """
        self._output_DHW = output_DHW
        self._values = values
        self._on_tile = on_tile
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
        self._decide = _highest_between if decision == "highest" else _regions_between
        self._takes_columns = places.orders[2] == 0
        self._received = 0
        self._written = 0
        self._last_KHW = torch.empty(0)

    def add(self, scores_KDHW: torch.Tensor) -> None:
        """Take the next slices of scores and write all labels that they complete.

        Args:
            scores_KDHW: Scores of the slices that follow those given before; on any device, float32
                or float16.

        Raises:
            DeviceError: A score is not a finite number.
        """
        stop = self._received + scores_KDHW.shape[1]
        ready = int((self._depth[1] < stop).sum())
        slices = range(self._written, ready)

        def write(tile: slice) -> None:
            self._write_tile(scores_KDHW, slices, tile)

        threads = torch.get_num_threads() if scores_KDHW.device.type == "cpu" else 1
        with one_thread(), ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(write, self._row_tiles(scores_KDHW, threads)):
                pass  # raises what was raised in the thread
        self._last_KHW = scores_KDHW[:, -1].clone()
        self._received, self._written = stop, ready

    def _row_tiles(self, scores_KDHW: torch.Tensor, threads: int) -> Iterator[slice]:
        height, width = self._output_DHW.shape[1:]
        step = max(1, min(_TILE_SCORES // (len(scores_KDHW) * width), -(-height // threads)))
        if scores_KDHW.device.type != "cpu":  # few large kernels
            step = height
        for start in range(0, height, step):
            yield slice(start, min(start + step, height))

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
        offset = depth - self._received
        plane_KHW = scores_KDHW[:, offset] if offset >= 0 else self._last_KHW
        if self._output_DHW.shape[1:] == self._plane and not self._has_coordinates:
            return plane_KHW[:, tile].float()
        lower, upper, weight = (part[tile].to(plane_KHW.device) for part in self._rows)
        first, stop = int(lower[0]), int(upper[-1]) + 1
        rows_KHW = plane_KHW[:, first:stop].float()
        if self._has_coordinates:
            left, right, share = (part.to(plane_KHW.device) for part in self._columns)
            rows_KHW = torch.lerp(rows_KHW[..., left], rows_KHW[..., right], share)
        elif self._takes_columns:
            rows_KHW = rows_KHW[..., self._columns[0].to(plane_KHW.device)]
        else:
            rows_KHW = F.interpolate(rows_KHW, size=len(self._columns[0]), mode="linear")
        return torch.lerp(rows_KHW[:, lower - first], rows_KHW[:, upper - first], weight[:, None])


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
