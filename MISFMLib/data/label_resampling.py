"""Labels on another grid: class scores are resampled, and the highest one is the label.

Resampling labels themselves leaves steps as large as the coarser grid's voxels. All scores on the
finer grid would need the memory of one volume per class. Here they exist for small blocks only, in
which those that can matter are interpolated, compared and forgotten.
Axes: K classes; D, H, W depth, height, width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from MISFMLib.configs import Size
from MISFMLib.data.label_blocks import (
    Decision,
    Part,
    block_steps,
    positions,
    positions_of,
    split,
)
from MISFMLib.device import one_thread
from MISFMLib.errors import DeviceError

Indices = npt.NDArray[np.intp]
Place = tuple[slice, slice, slice]
"""Slices, rows and columns of a block of the output."""
BlockListener = Callable[[Place, torch.Tensor, torch.Tensor], None]
"""Called with a place of the output, its scores (K, d, h, w), which it may change, and its classes
(d, h, w) int64."""


@dataclass(frozen=True)
class Places:
    """Where the voxels of the output lie on the grid of the scores."""

    orders: Sequence[int] = (1, 1, 1)
    """1 or 0 for each axis: linear interpolation, or the nearest slice."""
    coordinates: Sequence[Sequence[float]] = ()
    """Place of each voxel of the output, for every axis; without, the grids share their outer
    borders."""


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
    all scores. Equal scores give the lowest class. Of every block only the classes that can win in
    it are interpolated, and none where that is a single one.
    """

    def __init__(
        self,
        input_shape: Size,
        output_DHW: npt.NDArray[Any],
        values: npt.NDArray[Any],
        on_block: BlockListener | None = None,
        decision: Decision | None = None,
        places: Places | None = None,
    ) -> None:
        """Prepare for one volume.

        Args:
            input_shape: Voxels of the scores' grid.
            output_DHW: Array or view that the labels are written into.
            values: Label of each class, in the type of `output_DHW`.
            on_block: Hears the scores that labels come from, block by block, from several threads.
            decision: How labels follow from scores; the class with the highest when not given.
            places: Where the scores are interpolated; linearly on grids that share their outer
                borders when not given.
        """
        self._output_DHW = output_DHW
        self._values = values
        self._on_block = on_block
        self._decision = decision or Decision()
        self._plane = input_shape[1:]
        places = places or Places()
        self._depth, self._rows, self._columns = (
            positions_of(given, old) if given else positions(old, new, order)
            for old, new, order, given in zip(
                input_shape,
                output_DHW.shape,
                places.orders,
                places.coordinates or [()] * 3,
                strict=True,
            )
        )
        self._is_same_grid = tuple(input_shape) == output_DHW.shape and not places.coordinates
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
        self._write(scores_KDHW, slices, rows)
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

    def _write(self, scores_KDHW: torch.Tensor, slices: range, rows: range) -> None:
        device, all_columns = scores_KDHW.device, range(self._output_DHW.shape[2])
        threads = torch.get_num_threads() if device.type == "cpu" else 1
        sizes = len(slices), len(rows), len(all_columns)
        depth, height, width = block_steps(len(scores_KDHW), sizes, device)
        layers = split(self._depth, slices, depth, device)
        lines = split(self._rows, rows, min(height, -(-len(rows) // threads)), device)
        columns = split(self._columns, all_columns, width, device)

        def write(place: tuple[Part, Part]) -> None:
            self._write_line(scores_KDHW, *place, columns)

        with one_thread(), ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(write, itertools.product(layers, lines)):
                pass  # raises what was raised in the thread

    def _write_line(
        self, scores_KDHW: torch.Tensor, layer: Part, line: Part, columns: Sequence[Part]
    ) -> None:
        """Write the blocks of some slices and rows."""
        given_KdhW = self._given(scores_KDHW, layer.inputs, line.inputs)
        if self._decision.to_scores is not torch.Tensor.float:
            given_KdhW = self._decision.to_scores(given_KdhW.float())
        for column, labels in zip(columns, self._possible(given_KdhW, columns), strict=True):
            if len(labels) == 1:
                place = layer.outputs, line.outputs, column.outputs
                self._output_DHW[place] = self._values[labels[0]]
            else:
                self._write_block(given_KdhW[..., column.inputs], (layer, line, column), labels)

    def _asks(self, given: torch.Tensor) -> bool:
        """Tell whether it is worth asking which labels a block can have.

        Not where somebody hears all scores, nor on devices that want few large kernels, nor where
        nothing is interpolated: the highest class is found in less time than the bounds.
        """
        return self._on_block is None and given.device.type == "cpu" and not self._is_same_grid

    def _possible(self, given_KdhW: torch.Tensor, columns: Sequence[Part]) -> list[Indices]:
        """Return which labels each block of some slices and rows can have; all, if not asked."""
        if not self._asks(given_KdhW):
            return [np.arange(len(self._values))] * len(columns)
        lowest_KW, highest_KW = given_KdhW.amin(1).amin(1), given_KdhW.amax(1).amax(1)
        _check_finite(torch.stack([lowest_KW, highest_KW]))
        lowest_KB = torch.stack([lowest_KW[:, part.inputs].amin(1) for part in columns], 1)
        highest_KB = torch.stack([highest_KW[:, part.inputs].amax(1) for part in columns], 1)
        is_possible_KB = self._decision.is_possible(lowest_KB.float(), highest_KB.float())
        return [np.flatnonzero(is_possible_K) for is_possible_K in is_possible_KB.T.numpy()]

    def _write_block(
        self, given_Kdhw: torch.Tensor, parts: tuple[Part, Part, Part], labels: Indices
    ) -> None:
        """Interpolate the scores of some labels, and write the labels that follow from them."""
        classes = labels
        if self._decision.is_by_regions:
            labels = np.union1d(0, labels)
            classes = labels[1:] - 1
        if len(classes) < len(given_Kdhw):
            given_Kdhw = given_Kdhw[torch.from_numpy(classes)]
        # Who hears scores may change them, but not what was given. Where they lie side by side they
        # are gathered in two thirds of the time.
        scores_Kdhw = given_Kdhw.to(torch.float32, copy=self._on_block is not None).contiguous()
        for axis in (3, 2, 1):
            scores_Kdhw = parts[axis - 1].interpolate(scores_Kdhw, axis)
        labels_dhw = self._decision.decide(scores_Kdhw)
        depth, height, width = (part.outputs for part in parts)
        place = depth, height, width
        self._output_DHW[place] = self._values[labels].take(labels_dhw.cpu().numpy())
        if self._asks(given_Kdhw):
            return  # what is given was found to be finite
        _check_finite(scores_Kdhw)
        if self._on_block is not None:
            if self._decision.is_by_regions:  # the score of no region
                scores_Kdhw = torch.cat([torch.zeros_like(scores_Kdhw[:1]), scores_Kdhw])
            self._on_block(place, scores_Kdhw, labels_dhw)

    def _given(self, scores_KDHW: torch.Tensor, depths: slice, rows: slice) -> torch.Tensor:
        """Return rows of input slices, of these scores or at most one slice and row before."""
        assert self._last_KHW is not None
        first, row = self._slices.received, self._row_progress.received
        ours = slice(max(0, depths.start - first), depths.stop - first)
        our_rows = slice(max(0, rows.start - row), rows.stop - row)
        given_KDHW = scores_KDHW[:, ours, our_rows]
        if depths.start < first:
            last_K1HW = self._last_KHW[:, None, max(rows.start, row) : rows.stop]
            given_KDHW = torch.cat([last_K1HW, given_KDHW], 1)
        if rows.start < row:
            above_KDW = self._above_KDW[:, depths.start - first + 1 : depths.stop - first + 1]
            given_KDHW = torch.cat([above_KDW[:, :, None], given_KDHW], 2)
        return given_KDHW


def _check_finite(scores: torch.Tensor) -> None:
    if not torch.stack(scores.aminmax()).isfinite().all():
        raise DeviceError(
            "The network's answer holds values that are not finite.",
            code="logits-not-finite",
            remedy="Use --precision fp32; if that does not help, check `misfm models verify`.",
        )
