"""Ways to damage a crop so that restoring it teaches a network about the body.

Each class is called with a crop (D, H, W) with values from -1 to 1 and a random generator, and
returns the damaged copy; `BlockMask` also tells where. Defaults are those of the published
comparison, `HiLab-git/PyMIC_examples seg_self_sup/lung` (2024-09), unless a line says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from MISFMLib.configs import Size
from MISFMLib.data.crops import Range, draw

Box = tuple[slice, slice, slice]

_BLOCKS_PER_EDGE = 8
"""Blocks are an eighth of the crop along each axis: 8 x 16 x 16 in the published 64 x 128 x 128."""


@dataclass(frozen=True)
class PatchSwapping:
    """Context restoration: pairs of equal blocks change places, again and again."""

    num_swaps: Range = (20, 40)

    def __call__(self, crop: Tensor, rng: np.random.Generator) -> Tensor:
        """Swap blocks.

        The published code copies both blocks from the undamaged crop, so that content gets lost or
        doubled; here every voxel stays somewhere in the crop.
        """
        swapped = crop.clone()
        block = block_size(crop)
        for _ in range(draw(self.num_swaps, rng)):
            first, second = _random_box(crop, block, rng), _random_box(crop, block, rng)
            if not _overlap(first, second):
                kept = swapped[first].clone()
                swapped[first] = swapped[second]
                swapped[second] = kept
        return swapped


@dataclass(frozen=True)
class ModelGenesis:
    """Local shuffling, a random intensity curve, in- or out-painting (Zhou et al., MICCAI 2019)."""

    shuffle_probability: float = 1.0
    curve_probability: float = 0.8
    paint_probability: float = 0.9
    inpaint_probability: float = 0.8
    """Chance of in-painting rather than out-painting, where painting happens."""
    num_blocks: Range = (32, 64)
    """Blocks that are shuffled inside, and as many that are painted over."""
    num_windows: Range = (2, 8)
    """Windows that out-painting keeps, of three quarters of the crop's edges."""

    def __call__(self, crop: Tensor, rng: np.random.Generator) -> Tensor:
        """Damage a crop."""
        damaged = crop.clone()
        if rng.random() < self.shuffle_probability:
            self._shuffle(damaged, rng)
        if rng.random() < self.curve_probability:
            damaged = _random_curve(damaged, rng)
        if rng.random() < self.paint_probability:
            if rng.random() < self.inpaint_probability:
                self._paint_inside(damaged, rng)
            else:
                damaged = self._paint_outside(damaged, rng)
        return damaged

    def _shuffle(self, crop: Tensor, rng: np.random.Generator) -> None:
        block = block_size(crop)
        for _ in range(draw(self.num_blocks, rng)):
            box = _random_box(crop, block, rng)
            values = crop[box].flatten()
            order = torch.from_numpy(rng.permutation(len(values)))
            crop[box] = values[order].reshape(block)

    def _paint_inside(self, crop: Tensor, rng: np.random.Generator) -> None:
        block = block_size(crop)
        for _ in range(draw(self.num_blocks, rng)):
            crop[_random_box(crop, block, rng)] = _noise(block, rng)

    def _paint_outside(self, crop: Tensor, rng: np.random.Generator) -> Tensor:
        depth, height, width = crop.shape
        window = (-(-3 * depth // 4), -(-3 * height // 4), -(-3 * width // 4))
        painted = _noise((depth, height, width), rng)
        for _ in range(draw(self.num_windows, rng)):
            box = _random_box(crop, window, rng)
            painted[box] = crop[box]
        return painted


@dataclass(frozen=True)
class BlockMask:
    """Masked modelling: blocks of a regular grid are set to the middle of the range."""

    masked_share: float = 0.45
    """Share of the blocks; PyMIC's `MaskedImageModeling`."""

    def __call__(self, crop: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the masked copy and the mask, true where voxels are hidden."""
        block = block_size(crop)
        counts = [-(-size // edge) for size, edge in zip(crop.shape, block, strict=True)]
        hidden = np.zeros(int(np.prod(counts)), bool)
        hidden[rng.permutation(len(hidden))[: round(len(hidden) * self.masked_share)]] = True
        grid = hidden.reshape(counts)
        for axis, edge in enumerate(block):
            grid = grid.repeat(edge, axis)
        depth, height, width = crop.shape
        mask = torch.from_numpy(grid[:depth, :height, :width].copy())
        return crop.masked_fill(mask, 0.0), mask


def block_size(crop: Tensor) -> Size:
    """Return the edges of the blocks that are swapped, shuffled, painted or hidden in a crop."""
    depth, height, width = (max(size // _BLOCKS_PER_EDGE, 1) for size in crop.shape)
    return depth, height, width


def _random_curve(crop: Tensor, rng: np.random.Generator) -> Tensor:
    """Map intensities along a random cubic Bezier curve, half of the time a falling one."""
    ends = np.array([[-1.0, -1.0], [1.0, 1.0]])
    inner = rng.uniform(-1, 1, (2, 2))
    t = np.linspace(0, 1, 256)[:, None]
    curve = (
        (1 - t) ** 3 * ends[0]
        + 3 * (1 - t) ** 2 * t * inner[0]
        + 3 * (1 - t) * t**2 * inner[1]
        + t**3 * ends[1]
    )
    # Sorting makes the curve a function of the intensity, as in the published code.
    x, y = np.sort(curve[:, 0]), np.sort(curve[:, 1])
    if rng.random() < 0.5:
        y = y[::-1]
    return torch.from_numpy(np.interp(crop.numpy(), x, y)).to(crop.dtype)


def _noise(shape: Size, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.uniform(-1, 1, shape).astype(np.float32))


def _random_box(crop: Tensor, block: Size, rng: np.random.Generator) -> Box:
    starts = rng.integers(np.subtract(crop.shape, block) + 1).tolist()
    z, y, x = (slice(start, start + edge) for start, edge in zip(starts, block, strict=True))
    return z, y, x


def _overlap(first: Box, second: Box) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(first, second, strict=True))
