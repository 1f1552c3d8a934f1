"""Linear resampling along z in slabs, so that memory does not grow with the volume.

Grids share their outer borders: voxel i of n covers [i/n, (i+1)/n] of the extent, as in
``torch.nn.functional.interpolate(..., align_corners=False)``, whose results these functions give.
Axes: K classes; D, H, W depth, height, width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from MISFMLib.configs import Size

_SLAB_VOXELS = 2**22
"""Voxels handled at once: 16 MiB of float32."""


def slab_ranges(depth: int, voxels_per_slice: int) -> Iterator[tuple[int, int]]:
    """Split a depth into ranges of slices that hold a bounded number of voxels.

    Args:
        depth: Slices in all.
        voxels_per_slice: Voxels of one slice; a range has at least one slice.

    Yields:
        First slice and end (exclusive) of each range, in order.
    """
    step = max(1, _SLAB_VOXELS // max(1, voxels_per_slice))
    for start in range(0, depth, step):
        yield start, min(start + step, depth)


def linear_positions(
    input_size: int, output_size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the two input voxels around every output voxel, and the weight of the second.

    Returns:
        Lower index, upper index (both int64) and the upper's weight in [0, 1), float32; each has
        `output_size` elements.
    """
    centres = (torch.arange(output_size, dtype=torch.float64) + 0.5) * (input_size / output_size)
    positions = (centres - 0.5).clamp_(0, input_size - 1)
    lower = positions.floor().long()
    return lower, (lower + 1).clamp_(max=input_size - 1), (positions - lower).float()


def resample_slices(
    read_slices: Callable[[int, int], torch.Tensor],
    input_shape: Size,
    offset: int,
    depth: int,
    output_DHW: torch.Tensor,
) -> None:
    """Fill slices of a volume by linear interpolation of another one that is read slab by slab.

    Args:
        read_slices: Gives input slices [start, stop) as float32 (stop - start, H, W).
        input_shape: Voxels of the input.
        offset: First slice to fill.
        depth: All slices of the grid to resample to.
        output_DHW: Is filled; its height and width are those of the grid to resample to.
    """
    filled_depth, *plane = output_DHW.shape
    lower, upper, weight = (
        part[offset : offset + filled_depth] for part in linear_positions(input_shape[0], depth)
    )
    voxels = max(plane[0] * plane[1], input_shape[1] * input_shape[2])
    # Coarser output: each output slice draws on several input slices.
    for start, stop in slab_ranges(filled_depth, voxels * -(-input_shape[0] // depth)):
        first = int(lower[start])
        slices = read_slices(first, int(upper[stop - 1]) + 1)
        if tuple(plane) != input_shape[1:]:
            slices = F.interpolate(slices[:, None], size=plane, mode="bilinear")[:, 0]
        part = slice(start, stop)
        torch.lerp(
            slices[lower[part] - first],
            slices[upper[part] - first],
            weight[part, None, None],
            out=output_DHW[part],
        )
