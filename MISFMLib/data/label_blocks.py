"""Blocks of an output grid, and which classes can have a label in one.

An interpolated score lies between the lowest and the highest of its block. So a class whose highest
score is below another's lowest has no label there: of a hundred classes one or a few are left in
most blocks, and where it is one, nothing is interpolated at all.
Axes: K classes; B blocks; d, h, w depth, height, width of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from MISFMLib.data.interpolation import nearest_positions
from MISFMLib.data.resampling import linear_positions

EDGE = 24
"""Voxels of the output along each axis of a block."""
_FEW_SCORES = 2**16
"""Scores up to which a block is made longer than `EDGE`: fewer are not worth their overhead."""
_MOST_SCORES = 2**24
"""Scores of a block on a GPU: 64 MiB, of which there are a few copies."""
_ROUNDING = 1e-6
"""How far interpolation in float32 may leave the range of its scores, as a share of the largest."""

Positions = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""The voxels around every place of one axis, int64, and the weight of the second, float32."""


@dataclass(frozen=True)
class Part:
    """A block along one axis."""

    outputs: slice
    """Its voxels."""
    inputs: slice
    """The voxels that they lie between."""
    between: Positions | None
    """Where its voxels lie among the inputs; none where the grids are the same."""

    def interpolate(self, scores: torch.Tensor, axis: int) -> torch.Tensor:
        """Interpolate scores (K, d, h, w), cut to the inputs, along an axis: 1, 2 or 3.

        Every product and sum is rounded for itself. Instructions that do both at once are used for
        some voxels and not for others: then a label could depend on what its block looks like.
        """
        if self.between is None:
            return scores
        lower, upper, weight = self.between
        weight = weight.view(-1, *[1] * (3 - axis))
        below = scores.index_select(axis, lower).mul_(1 - weight)
        return below.add_(scores.index_select(axis, upper).mul_(weight))


@dataclass(frozen=True)
class Decision:
    """How the label of a voxel follows from what is given of its classes."""

    is_by_regions: bool = False
    """The last region with a score above zero, and then the labels begin with that of none; else
    the class with the highest score, the first one of several."""
    to_scores: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.float
    """Makes scores (K, ...) of what is given, in float32; they are what is interpolated."""

    def is_possible(self, lowest_KB: torch.Tensor, highest_KB: torch.Tensor) -> torch.Tensor:
        """Tell which labels a block can have, by the lowest and highest scores around it.

        Returns:
            Labels and blocks (K, B), bool; of regions the first of 1 + K labels is that of none.
        """
        if not self.is_by_regions:
            largest_B = torch.maximum(lowest_KB.abs(), highest_KB.abs()).amax(0)
            return highest_KB >= lowest_KB.amax(0) - _ROUNDING * largest_B
        numbers_K1 = torch.arange(1, len(lowest_KB) + 1)[:, None]
        surely_B = ((lowest_KB > 0) * numbers_K1).amax(0)
        is_region_KB = (highest_KB > 0) & (numbers_K1 >= surely_B)
        return torch.cat([surely_B[None] == 0, is_region_KB])

    def decide(self, scores_Kdhw: torch.Tensor) -> torch.Tensor:
        """Return the labels of scores (d, h, w), int64."""
        if not self.is_by_regions:
            return scores_Kdhw.max(0).indices
        numbers_K = torch.arange(1, len(scores_Kdhw) + 1, device=scores_Kdhw.device)
        labels_dhw: torch.Tensor = ((scores_Kdhw > 0) * numbers_K[:, None, None, None]).amax(0)
        return labels_dhw


def positions(input_size: int, output_size: int, order: int) -> Positions:
    """Return where the voxels of an axis lie on another grid with the same outer borders."""
    if order == 1:
        return linear_positions(input_size, output_size)
    nearest = nearest_positions(input_size, output_size)
    return nearest, nearest, torch.zeros(output_size)


def positions_of(places: Sequence[float], input_size: int) -> Positions:
    """Return where places lie on a grid."""
    inside = torch.tensor(places, dtype=torch.float64).clamp(0, input_size - 1)
    lower = inside.floor().long()
    return lower, (lower + 1).clamp_(max=input_size - 1), (inside - lower).float()


def split(axis: Positions, outputs: range, step: int, device: torch.device) -> list[Part]:
    """Split some voxels of an axis into parts."""
    starts = outputs[:: max(1, step)]
    return [_part(axis, start, min(start + max(1, step), outputs.stop), device) for start in starts]


def block_steps(
    classes: int, sizes: tuple[int, int, int], device: torch.device
) -> tuple[int, int, int]:
    """Return how large blocks are, in voxels of the output along each axis.

    Args:
        classes: Scores of a voxel.
        sizes: What is to be split.
        device: Where the scores are; all but CPUs want few large kernels.
    """
    slices, rows, columns = sizes
    if device.type != "cpu":
        return max(1, _MOST_SCORES // max(1, classes * rows * columns)), rows, columns
    depth, height, width = min(EDGE, slices), min(EDGE, rows), min(EDGE, columns)
    while width < columns and 2 * classes * depth * height * width <= _FEW_SCORES:
        width *= 2
    while height < rows and 2 * classes * depth * height * width <= _FEW_SCORES:
        height *= 2
    return depth, height, width


def _part(axis: Positions, start: int, stop: int, device: torch.device) -> Part:
    lower, upper, weight = (part[start:stop] for part in axis)
    is_between = bool(weight.any())
    if not is_between:
        upper = lower
    first, last = int(lower.min()), int(upper.max())
    outputs, inputs = slice(start, stop), slice(first, last + 1)
    lower, upper = lower - first, upper - first
    if not is_between and torch.equal(lower, torch.arange(stop - start)):
        return Part(outputs, inputs, None)
    return Part(outputs, inputs, (lower.to(device), upper.to(device), weight.to(device)))
