"""Volume Fusion: two crops mixed block by block, with the mixing level as the label to segment.

A voxel of the fused volume is ``a * foreground + (1 - a) * background`` with a in {0, 1/K, ..., 1};
its label is K * a, so a network with K + 1 output channels learns to tell how much of which crop it
sees. Two published procedures place the blocks, and they differ:

- `RandomBoxes` and `CropsOfTwoVolumes`, arXiv 2306.16925 (2023): overlapping boxes, crops of two
  different volumes.
- `BlockGrid` and `CropsOfOneVolume`, IEEE TIP 34, 6041-6052 (2025), `HiLab-git/PyMIC
  pymic/transform/crop4vf.py`: blocks of a regular grid with a random offset, two crops of one
  volume with contrast augmentation.

All randomness comes from the generator that is passed in: the same seed gives the same sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from MISFMLib.configs import Size
from MISFMLib.data.crops import CropSource, Range, draw, random_box, random_flip

_CURVE_STEPS = 4096
"""Resolution of intensity curves; as fine as float16 volumes with values around 1."""
_NO_CONTRAST = 1e-6
"""Range of intensities below which a crop counts as constant: it would be stretched to noise."""


def fuse(foreground: Tensor, background: Tensor, fusion_label: Tensor, num_levels: int) -> Tensor:
    """Mix two crops voxel by voxel.

    Args:
        foreground: Crop (..., D, H, W).
        background: Crop of the same shape.
        fusion_label: Level of every voxel, integers 0 (only background) to `num_levels` (only
            foreground), broadcastable to the crops.
        num_levels: K, the number of levels above background.

    Returns:
        Fused crop, same shape and type as `foreground`.
    """
    return torch.lerp(background, foreground, fusion_label.to(foreground.dtype) / num_levels)


# ------------------------------------------------------------------------------------------ blocks


class LabelSampler(Protocol):
    """Draws a fusion label."""

    def __call__(self, shape_dhw: Size, num_levels: int, rng: np.random.Generator) -> Tensor:
        """Return levels 0 to `num_levels`, uint8 (D, H, W)."""


@dataclass(frozen=True)
class RandomBoxes:
    """Boxes at random places, later ones over earlier ones, cut at the borders (2023)."""

    num_boxes: Range = (10, 40)
    """Boxes per sample."""
    smallest: Size = (8, 8, 8)
    """Smallest box, in voxels."""
    largest: Size = (40, 80, 80)
    """Largest box, in voxels."""

    def __call__(self, shape_dhw: Size, num_levels: int, rng: np.random.Generator) -> Tensor:
        """Draw a fusion label, uint8 (D, H, W)."""
        label = np.zeros(shape_dhw, np.uint8)
        for _ in range(draw(self.num_boxes, rng)):
            edges = _draw_size(self.smallest, self.largest, rng)
            starts = rng.integers(shape_dhw) - edges // 2
            box = tuple(
                slice(max(start, 0), start + edge)
                for start, edge in zip(starts.tolist(), edges.tolist(), strict=True)
            )
            label[box] = rng.integers(1, num_levels + 1)
        return torch.from_numpy(label)


@dataclass(frozen=True)
class BlockGrid:
    """A share of the blocks of a regular grid with a random offset, without overlap (2025)."""

    foreground_share: float = 0.7
    """Share of the blocks that get a level above 0; the rim left by the grid stays 0 as well."""
    smallest: Size = (8, 8, 8)
    """Smallest block, in voxels."""
    largest: Size = (32, 32, 32)
    """Largest block, in voxels."""

    def __call__(self, shape_dhw: Size, num_levels: int, rng: np.random.Generator) -> Tensor:
        """Draw a fusion label, uint8 (D, H, W)."""
        # An edge beyond the crop would leave no block at all, as it does in the published code.
        edges = np.minimum(_draw_size(self.smallest, self.largest, rng), shape_dhw)
        counts = shape_dhw // edges
        levels = np.zeros(counts.prod(), np.uint8)
        chosen = rng.permutation(len(levels))[: int(len(levels) * self.foreground_share)]
        levels[chosen] = rng.integers(1, num_levels + 1, len(chosen))
        grid = levels.reshape(counts)
        for axis, edge in enumerate(edges):
            grid = grid.repeat(edge, axis)
        offsets = rng.integers(np.subtract(shape_dhw, grid.shape) + 1)
        label = np.zeros(shape_dhw, np.uint8)
        z, y, x = (
            slice(offset, offset + used)
            for offset, used in zip(offsets.tolist(), grid.shape, strict=True)
        )
        label[z, y, x] = grid
        return torch.from_numpy(label)


def _draw_size(smallest: Size, largest: Size, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return rng.integers(smallest, np.add(largest, 1))


# ----------------------------------------------------------------------------------------- crops


class PairCropper(Protocol):
    """Cuts the foreground and the background crop of a sample."""

    def __call__(
        self, source: CropSource, index: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return two crops (d, h, w), float32, from -1 to 1; the first is of volume `index`."""


@dataclass(frozen=True)
class CropsOfTwoVolumes:
    """A crop of a volume and a crop of another one, both flipped at random (2023).

    The published code takes the other volume from the same batch, which fails for a batch of one.
    Where there is a single volume, both crops come from it.
    """

    patch_size: Size

    def __call__(
        self, source: CropSource, index: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Cut the crops; intensities stay as they are."""
        step = int(rng.integers(1, len(source))) if len(source) > 1 else 0
        foreground, background = (
            random_flip(random_box(source, number % len(source), self.patch_size, rng), rng)
            for number in (index, index + step)
        )
        return foreground, background


@dataclass(frozen=True)
class ContrastAugmentation:
    """Random contrast and gamma of each crop, and inversion of both together (2025).

    The published code gives values from 0 to 1. Here they are stretched to -1 to 1, the range that
    volumes have in model space (`ct-clip`, `mr-percentile`): what a network learns and the running
    statistics of its normalisation then belong to the range that fine-tuning uses.
    """

    low_percentile: tuple[float, float] = (0.1, 2.0)
    """Range of the percentile that comes to lie at a tenth of the range."""
    high_percentile: tuple[float, float] = (98.0, 99.9)
    """Range of the percentile that comes to lie at nine tenths."""
    gamma: tuple[float, float] = (0.7, 1.5)
    """Range of the exponent."""
    invert_probability: float = 0.25
    """Chance that both crops become their negative."""

    def __call__(
        self, foreground: Tensor, background: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the two crops with values from -1 to 1; a constant crop becomes -1 or 1."""
        pair = [self._contrast(crop, rng) for crop in (foreground, background)]
        if rng.random() < self.invert_probability:
            pair = [-crop for crop in pair]
        return pair[0], pair[1]

    def _contrast(self, crop: Tensor, rng: np.random.Generator) -> Tensor:
        percentiles = [rng.uniform(*self.low_percentile), rng.uniform(*self.high_percentile)]
        exponent = rng.uniform(*self.gamma)
        lowest, highest = (float(value) for value in torch.aminmax(crop))
        if highest - lowest < _NO_CONTRAST:
            return torch.full_like(crop, -1.0)
        # Every second voxel per axis tells the percentiles well enough, eight times faster.
        inner = np.percentile(crop[::2, ::2, ::2].numpy(), percentiles)
        values = np.linspace(lowest, highest, _CURVE_STEPS)
        curve = 2 * _three_ramps(values, [lowest, *inner, highest]) ** exponent - 1
        # Looking the curve up is twice as fast as computing it for every voxel.
        position = (crop - lowest).mul_((_CURVE_STEPS - 1) / (highest - lowest)).round_().long()
        return torch.take(torch.from_numpy(curve.astype(np.float32)), position)


def _three_ramps(values: npt.NDArray[Any], knots: Sequence[float]) -> npt.NDArray[Any]:
    """Map the outer knots to 0 and 1 and the inner ones to 0.1 and 0.9, linearly in between.

    In air or padding several knots coincide, where the published code divides by zero: such a ramp
    is left out, and the others share the range.
    """
    curve, total = np.zeros_like(values), 0.0
    for start, stop, rise in zip(knots[:-1], knots[1:], (0.1, 0.8, 0.1), strict=True):
        if stop > start:
            curve += np.clip((values - start) / (stop - start), 0, 1) * rise
            total += rise
    return np.clip(curve / total, 0, 1)


@dataclass(frozen=True)
class CropsOfOneVolume:
    """Two crops of one volume, zoomed, flipped and changed in contrast independently (2025)."""

    patch_size: Size
    """Crop in voxels after zooming."""
    zoom: tuple[float, float] = (0.7, 1.5)
    """Range of the edge that is cut out, relative to the patch, per axis."""
    flip_probability: float = 0.5
    """Chance of a flip, per axis."""
    contrast: ContrastAugmentation = field(default_factory=ContrastAugmentation)
    """Change of the intensities."""

    def __call__(
        self, source: CropSource, index: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Cut the crops."""
        foreground, background = (self._crop(source, index, rng) for _ in range(2))
        return self.contrast(foreground, background, rng)

    def _crop(self, source: CropSource, index: int, rng: np.random.Generator) -> Tensor:
        cut = np.multiply(self.patch_size, rng.uniform(*self.zoom, 3)).astype(int)
        depth, height, width = np.clip(cut, 1, source.shape(index)).tolist()
        crop = random_box(source, index, (depth, height, width), rng)
        if tuple(crop.shape) != self.patch_size:
            crop = F.interpolate(
                crop[None, None], self.patch_size, mode="trilinear", align_corners=True
            )[0, 0]
        return random_flip(crop, rng, self.flip_probability)
