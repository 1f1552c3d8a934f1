"""What to try next when memory runs out: the same result first, then a similar one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from MISFMLib.configs import Size
from MISFMLib.inference.sliding_window import Placement
from MISFMLib.inference.windows import WindowConfig

_CPU = torch.device("cpu")
_STRIDE = 16
"""Multiple of the strides of all networks."""
_SMALLEST_EDGE = 32


@dataclass(frozen=True)
class Rung:
    """One way to compute a volume."""

    windows: WindowConfig
    placement: Placement
    change: str = ""
    """What is done differently from the rung before, as the end of a sentence; empty at the top."""


def memory_ladder(windows: WindowConfig, placement: Placement) -> Iterator[Rung]:
    """Yield ways to compute a volume that need less and less of the device's memory.

    As asked for; one window at a time; sums of logits in main memory; the longest edge of the patch
    halved, twice at most (labels may differ a little from here on); from a GPU then all on the CPU
    with the full patch.

    Args:
        windows: Windows as asked for.
        placement: Devices as asked for.
    """
    yield Rung(windows, placement)
    if windows.batch_size > 1:
        windows = replace(windows, batch_size=1)
        yield Rung(windows, placement, "one window at a time")
    if placement.sums != _CPU:
        placement = replace(placement, sums=_CPU)
        yield Rung(windows, placement, "with the sums of the windows in main memory")
    patch_size = windows.patch_size
    for _ in range(2):
        smaller = _halve_longest(patch_size)
        if smaller != patch_size:
            patch_size = smaller
            edges = " x ".join(map(str, patch_size))
            change = f"with smaller windows ({edges} voxels), so labels may differ a little"
            yield Rung(replace(windows, patch_size=patch_size), placement, change)
    if placement.network == _CPU:
        return
    # The number format that was asked for may be one that the CPU lacks.
    yield Rung(windows, Placement(precision="auto"), "on the CPU")


def _halve_longest(patch_size: Size) -> Size:
    axis = patch_size.index(max(patch_size))
    half = patch_size[axis] // 2 // _STRIDE * _STRIDE
    if half < _SMALLEST_EDGE:
        return patch_size
    depth, height, width = (
        half if index == axis else edge for index, edge in enumerate(patch_size)
    )
    return depth, height, width
