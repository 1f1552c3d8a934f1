"""Boxes cut out of volumes, and out of many that lie wherever they are kept.

Axes: D depth, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from MISFMLib.configs import Padding, Size

Range = tuple[int, int]
"""Smallest and largest value, both included."""


_ATTEMPTS = 3
_AIR = -0.95
"""Intensity up to which a voxel is air or padding; both intensity schemes put these at -1."""
_FULL_ENOUGH = 0.25


class CropSource(Protocol):
    """Volumes of one channel in model space, with intensities from -1 to 1, numbered from 0."""

    def __len__(self) -> int:
        """Return the number of volumes."""

    def shape(self, index: int) -> Size:
        """Return the voxels of a volume along its axes."""

    def crop(self, index: int, start: Size, size: Size) -> npt.NDArray[Any]:
        """Read a box that lies inside the volume: floating-point voxels (d, h, w)."""


@dataclass(frozen=True)
class Shard:
    """Every so many-th volume of a source, numbered from 0 again; itself a crop source."""

    source: CropSource
    first: int
    """First of its volumes in the source."""
    step: int
    """From each volume to the next."""

    def __len__(self) -> int:
        """Return the number of volumes."""
        return len(range(self.first, len(self.source), self.step))

    def shape(self, index: int) -> Size:
        """Return the voxels of a volume along its axes."""
        return self.source.shape(self.first + index * self.step)

    def crop(self, index: int, start: Size, size: Size) -> npt.NDArray[Any]:
        """Read a box that lies inside the volume."""
        return self.source.crop(self.first + index * self.step, start, size)


def read_box(source: CropSource, index: int, start: Sequence[int], size: Size) -> Tensor:
    """Read a box; beyond the border of the volume its outermost voxels are repeated.

    Args:
        source: The volumes.
        index: Which of them.
        start: First voxel; may be negative.
        size: Voxels of the box.

    Returns:
        Voxels (d, h, w), float32.
    """
    shape = np.array(source.shape(index))
    first = np.clip(start, 0, shape - 1)
    stop = np.clip(np.add(start, size), first + 1, shape)
    inside = source.crop(index, _to_size(first), _to_size(stop - first))
    if inside.shape != size:
        inside = crop(inside, start - first, np.array(size))
    # PyTorch converts float16 several times faster than NumPy does.
    return torch.from_numpy(np.array(inside)).float()


def random_box(source: CropSource, index: int, size: Size, rng: np.random.Generator) -> Tensor:
    """Read a box at a random place; it reaches beyond the volume only where that is smaller.

    From air and padding there is nothing to learn, and some volumes are half of it. Unlike in the
    published code a box with little else is drawn again, up to twice, and the fullest is taken.
    """
    surplus = np.subtract(source.shape(index), size)
    lowest, highest = np.minimum(surplus, 0), np.maximum(surplus, 0) + 1
    best, fullness = None, -1.0
    for _ in range(_ATTEMPTS):
        box = read_box(source, index, rng.integers(lowest, highest).tolist(), size)
        full = float((box[::4, ::4, ::4] > _AIR).float().mean())
        if full > fullness:
            best, fullness = box, full
        if fullness >= _FULL_ENOUGH:
            break
    assert best is not None, "the first box is better than none"
    return best


def random_flip(box: Tensor, rng: np.random.Generator, probability: float = 0.5) -> Tensor:
    """Mirror a box along each of its axes with this probability."""
    return box.flip([axis for axis in range(3) if rng.random() < probability])


def draw(bounds: Range, rng: np.random.Generator) -> int:
    """Draw an integer between two bounds."""
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _to_size(values: npt.NDArray[Any]) -> Size:
    depth, height, width = values.tolist()
    return depth, height, width


def crop(
    array: np.ndarray, start: np.ndarray, size: np.ndarray, padding: Padding = "edge"
) -> np.ndarray:
    """Cut a box out of the last three axes.

    Args:
        array: Any number of axes before D, H, W.
        start: First voxel of the box, which may lie outside; the box must touch the array.
        size: Voxels of the box.
        padding: What lies beyond the border: the outermost voxels again, or zeros.
    """
    stop = start + size
    low, high = np.maximum(start, 0), np.minimum(stop, array.shape[-3:])
    leading = array.ndim - 3
    box = (slice(None),) * leading + tuple(map(slice, low, high))
    missing = np.stack([low - start, stop - high], axis=1)
    widths = [(0, 0)] * leading + missing.tolist()
    padded: np.ndarray = np.pad(array[box], widths, "edge" if padding == "edge" else "constant")
    return padded
