"""Interpolation of volumes axis by axis, each axis by a small matrix, in slabs along depth.

Grids share their outer borders: voxel i of n covers [i/n, (i+1)/n] of the extent. The results are
those of ``scipy.ndimage.zoom`` with ``grid_mode`` and edges repeated, of which
``skimage.transform.resize`` and so nnU-Net are made; there every axis of every voxel is a walk
through memory, here a product of matrices.
Axes: D, H, W depth, height, width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from MISFMLib.configs import InterpolationConfig, Size, Spacing
from MISFMLib.data.resampling import resample_slices, slab_ranges

_ANISOTROPIC = 3.0
_EDGE = 16
"""Repeated edge voxels: the influence of a voxel on a spline falls to 0.27 from one to the next."""
_NEGLIGIBLE = 1e-8

Floats = npt.NDArray[Any]
ReadSlices = Callable[[int, int], torch.Tensor]
"""Gives slices [start, stop) as float32 (stop - start, H, W)."""


def separate_axis(config: InterpolationConfig, before: Spacing, after: Spacing) -> int | None:
    """Return the axis that is treated apart, by nnU-Net's rule.

    Args:
        config: The rule.
        before: Voxel size of the grid that is resampled, along depth, height, width.
        after: Voxel size of the grid to resample to.
    """
    decisive = before
    if config.separate == "never":
        return None
    if config.separate == "anisotropic":
        if max(before) / min(before) <= _ANISOTROPIC:
            decisive = after
        if max(decisive) / min(decisive) <= _ANISOTROPIC:
            return None
    longest = [axis for axis in range(3) if decisive[axis] == max(decisive)]
    return longest[0] if len(longest) == 1 else None


def axis_orders(config: InterpolationConfig, apart: int | None) -> Size:
    """Return the order along depth, height, width."""
    depth, height, width = (
        config.order_across if axis == apart else config.order for axis in range(3)
    )
    return depth, height, width


def nearest_positions(input_size: int, output_size: int) -> torch.Tensor:
    """Return the nearest input voxel of every output voxel; halfway, the later one."""
    scale = input_size / output_size
    positions = scale * (np.arange(output_size) + 0.5) - 0.5
    nearest = np.floor(positions + 0.5).clip(0, input_size - 1)
    return torch.from_numpy(nearest.astype(np.int64))


@lru_cache(maxsize=32)
def axis_matrix(input_size: int, output_size: int, order: int) -> torch.Tensor:
    """Return the matrix (output_size, input_size), float32, that interpolates one axis."""
    if input_size == output_size:
        return torch.eye(input_size)
    if order == 0:
        return torch.eye(input_size)[nearest_positions(input_size, output_size)]
    scale = input_size / output_size
    positions = scale * (np.arange(output_size) + 0.5) - 0.5
    if order == 1:
        positions = positions.clip(0, input_size - 1)
        return torch.from_numpy(_hats(positions, input_size).astype(np.float32))
    coefficients = np.linalg.solve(_spline_sums(input_size), _repeated_edges(input_size))
    matrix = _splines(positions + _EDGE, input_size + 2 * _EDGE) @ coefficients
    matrix[np.abs(matrix) < _NEGLIGIBLE] = 0
    return torch.from_numpy(matrix.astype(np.float32))


def _hats(positions: Floats, size: int) -> Floats:
    distances = np.abs(positions[:, None] - np.arange(size))
    hats: Floats = np.maximum(0.0, 1 - distances)
    return hats


def _splines(positions: Floats, size: int) -> Floats:
    """Return cubic B-splines at every voxel as seen from every position."""
    distances = np.abs(positions[:, None] - np.arange(size))
    near = 2 / 3 - distances**2 + distances**3 / 2
    far = np.maximum(0.0, 2 - distances) ** 3 / 6
    return np.where(distances < 1, near, far)


def _spline_sums(input_size: int) -> Floats:
    """Return the matrix from spline coefficients to values, mirrored at its ends."""
    size = input_size + 2 * _EDGE
    matrix = np.eye(size) * 4 + np.eye(size, k=1) + np.eye(size, k=-1)
    matrix[0, 1] = matrix[-1, -2] = 2
    sums: Floats = matrix / 6
    return sums


def _repeated_edges(input_size: int) -> Floats:
    inside = np.arange(-_EDGE, input_size + _EDGE).clip(0, input_size - 1)
    edges: Floats = np.eye(input_size)[inside]
    return edges


class SlabInterpolation:
    """Interpolates a volume that is read slab by slab, with memory for a few slices only."""

    def __init__(
        self,
        read_slices: ReadSlices,
        input_shape: Size,
        output_shape: Size,
        orders: Sequence[int],
        apart: int | None,
    ) -> None:
        """Prepare, which reads the whole volume once where splines need its range.

        Args:
            read_slices: Gives the volume's slices.
            input_shape: Voxels of the volume.
            output_shape: Voxels to interpolate.
            orders: Order along each axis.
            apart: Axis across which slices are interpolated each for itself.
        """
        self._read_slices = read_slices
        self._input_shape, self._output_shape = input_shape, output_shape
        self._apart = apart
        self._is_linear = set(orders) == {1}
        self._range = None
        if self._is_linear or input_shape == output_shape:
            return
        self._matrices = [
            axis_matrix(old, new, order)
            for old, new, order in zip(input_shape, output_shape, orders, strict=True)
        ]
        if 3 in orders:
            self._range = self._value_range()

    def fill(self, start: int, output_DHW: torch.Tensor) -> None:
        """Fill slices of the result from `start` on."""
        if self._input_shape == self._output_shape:
            for first, stop in slab_ranges(len(output_DHW), output_DHW[0].numel()):
                output_DHW[first:stop] = self._read_slices(start + first, start + stop)
        elif self._is_linear:
            depth = self._output_shape[0]
            resample_slices(self._read_slices, self._input_shape, start, depth, output_DHW)
        else:
            self._fill_by_matrices(start, output_DHW)

    def _fill_by_matrices(self, start: int, output_DHW: torch.Tensor) -> None:
        plane = max(self._input_shape[1] * self._input_shape[2], output_DHW[0].numel())
        for first, stop in slab_ranges(len(output_DHW), plane):
            rows = self._matrices[0][start + first : start + stop]
            (used,) = rows.abs().amax(0).nonzero(as_tuple=True)
            lowest, highest = int(used[0]), int(used[-1]) + 1
            slab_DHW = self._in_plane(lowest, highest)
            if self._apart == 0:
                slab_DHW = self._clipped(slab_DHW, slice(lowest, highest))
            if len(self._matrices[0]) != self._input_shape[0]:
                plane_DHW = slab_DHW.flatten(1)
                slab_DHW = (rows[:, lowest:highest] @ plane_DHW).view(-1, *slab_DHW.shape[1:])
            if self._apart != 0:
                slab_DHW = self._clipped(slab_DHW, slice(None))
            if self._apart in (1, 2):
                slab_DHW = self._along(slab_DHW, self._apart)
            output_DHW[first:stop] = slab_DHW

    def _in_plane(self, lowest: int, highest: int) -> torch.Tensor:
        """Return slices of the input, interpolated along height and width unless one is apart."""
        slab_DHW = self._read_slices(lowest, highest)
        for axis in (2, 1):
            if axis != self._apart:
                slab_DHW = self._along(slab_DHW, axis)
        return slab_DHW

    def _along(self, slab_DHW: torch.Tensor, axis: int) -> torch.Tensor:
        """Interpolate slices along height (1) or width (2)."""
        matrix = self._matrices[axis]
        if len(matrix) == slab_DHW.shape[axis]:
            return slab_DHW
        return slab_DHW @ matrix.T if axis == 2 else matrix @ slab_DHW

    def _clipped(self, slab_DHW: torch.Tensor, slices: slice) -> torch.Tensor:
        """Cut what splines overshoot: to the range of the volume, or of each slice apart."""
        if self._range is None:
            return slab_DHW
        low, high = (bound[slices] for bound in self._range)
        return torch.minimum(torch.maximum(slab_DHW, low), high)

    def _value_range(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the lowest and highest value of the volume, or of each slice that is apart."""
        depth, height, width = self._input_shape
        lows, highs = [], []
        for start, stop in slab_ranges(depth, height * width):
            slab_DHW = self._read_slices(start, stop)
            axes = [axis for axis in range(3) if axis != self._apart]
            lows.append(slab_DHW.amin(axes, keepdim=True))
            highs.append(slab_DHW.amax(axes, keepdim=True))
        low, high = torch.cat(lows), torch.cat(highs)
        if self._apart != 0:
            low, high = low.amin(0, keepdim=True), high.amax(0, keepdim=True)
        return low, high
