"""Pretext tasks: what a network is asked to do with unlabelled volumes, sample by sample.

A task turns a volume into one sample: what the network sees, and what it shall answer. All images
lie in -1 to 1, the range of `ct-clip` and `mr-percentile`. A sample depends on seed, step and index
alone, so a training that was stopped goes on with exactly the samples it would have seen.

Axes: B batch, C channel, D depth, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from MISFMLib.configs import Size
from MISFMLib.data.corruption import BlockMask
from MISFMLib.data.crops import CropSource, Shard, random_box, random_flip
from MISFMLib.data.datasets import Batch
from MISFMLib.data.volume_fusion import ContrastAugmentation, LabelSampler, PairCropper, fuse

_LEAST_SHARD = 16
"""Volumes for each position of the batch from which on every position has volumes of its own."""


@dataclass(frozen=True)
class Sample:
    """One sample of a pretext task."""

    image_BCDHW: Tensor
    """What the network sees, float32; B is 1, or 2 for two views of one place."""
    target: Tensor
    """What it shall answer, along the same B."""
    origin: Mapping[str, Tensor] = field(default_factory=dict)
    """Crops (D, H, W) that the image was made from, by name, for pictures."""


class Pretext(Protocol):
    """Makes one sample of a volume."""

    def __call__(self, source: CropSource, index: int, rng: np.random.Generator) -> Sample:
        """Make a sample of volume `index`; the same state of `rng` gives the same sample."""


@dataclass(frozen=True, kw_only=True)
class PretextSource:
    """Samples of a pretext task; the same seed, step and index give the same sample.

    Position i of the batch draws from the volumes i, i + batch_size, i + 2 batch_size, ... only. A
    process that computes every w-th position from r on thus reads no volumes but every w-th from r
    on, and still the samples of a step are the same however many processes share it. Where there
    are few volumes, all positions share all of them.
    """

    source: CropSource
    pretext: Pretext
    batch_size: int
    """Samples per step over all processes."""
    seed: int

    def batch(self, step: int, indices: Iterable[int]) -> Batch:
        """Return some samples of a step.

        Args:
            step: Optimizer step, from 0.
            indices: Which samples of the step, each 0 to batch_size - 1.
        """
        samples = [self.sample(step, index) for index in indices]
        return Batch(
            torch.cat([sample.image_BCDHW for sample in samples]),
            torch.cat([sample.target for sample in samples]),
        )

    def sample(self, step: int, index: int) -> Sample:
        """Return one sample."""
        rng = np.random.default_rng((self.seed, step, index))
        place, first = divmod(self.volume(step, index), self._shards)
        return self.pretext(Shard(self.source, first, self._shards), place, rng)

    def volume(self, step: int, index: int) -> int:
        """Return the volume of a sample: those of its shard take turns, shuffled in each round."""
        shards = self._shards
        earlier, first = divmod(index, shards)
        count = len(Shard(self.source, first, shards))
        turn, position = divmod(step * (self.batch_size // shards) + earlier, count)
        order = np.random.default_rng((self.seed, turn, first)).permutation(count)
        return first + shards * int(order[position])

    @property
    def _shards(self) -> int:
        is_large = len(self.source) >= _LEAST_SHARD * self.batch_size
        return self.batch_size if is_large else 1


# ------------------------------------------------------------------------------------- the tasks


@dataclass(frozen=True, kw_only=True)
class VolumeFusion:
    """Tell how much of the foreground crop is in each voxel; the target is the fusion label."""

    crops: PairCropper
    blocks: LabelSampler
    num_levels: int
    """K; the levels are 0 to K."""

    def __call__(self, source: CropSource, index: int, rng: np.random.Generator) -> Sample:
        """Fuse two crops."""
        foreground, background = self.crops(source, index, rng)
        depth, height, width = foreground.shape
        label = self.blocks((depth, height, width), self.num_levels, rng)
        fused = fuse(foreground, background, label, self.num_levels)
        origin = {"foreground crop": foreground, "background crop": background}
        return Sample(fused[None, None], label[None].long(), origin)


@dataclass(frozen=True, kw_only=True)
class FusionMasking:
    """Fuse two crops, then hide blocks of the result: tell the levels, and restore what is hidden.

    The target (B, 2, D, H, W) is float32: the fusion label, also where it can be told from the
    surroundings only, and the fused intensity, NaN where nothing was hidden.
    """

    fusion: VolumeFusion
    mask: BlockMask = field(default_factory=BlockMask)

    def __call__(self, source: CropSource, index: int, rng: np.random.Generator) -> Sample:
        """Fuse two crops and hide blocks."""
        fused = self.fusion(source, index, rng)
        image = fused.image_BCDHW[0, 0]
        masked, hidden = self.mask(image, rng)
        target = torch.stack([fused.target[0].float(), image.masked_fill(~hidden, torch.nan)])
        return Sample(masked[None, None], target[None], {**fused.origin, "fused": image})


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """Undo a damage; the target is the undamaged crop."""

    patch_size: Size
    damage: Callable[[Tensor, np.random.Generator], Tensor]

    def __call__(self, source: CropSource, index: int, rng: np.random.Generator) -> Sample:
        """Damage a crop."""
        crop = random_flip(random_box(source, index, self.patch_size, rng), rng)
        return Sample(self.damage(crop, rng)[None, None], crop[None], {"crop": crop})


@dataclass(frozen=True, kw_only=True)
class MaskedModelling:
    """Fill in hidden blocks; the target is NaN where nothing was hidden, which does not count."""

    patch_size: Size
    mask: BlockMask = field(default_factory=BlockMask)

    def __call__(self, source: CropSource, index: int, rng: np.random.Generator) -> Sample:
        """Hide blocks of a crop."""
        crop = random_flip(random_box(source, index, self.patch_size, rng), rng)
        masked, hidden = self.mask(crop, rng)
        target = crop.masked_fill(~hidden, torch.nan)
        return Sample(masked[None, None], target[None], {"crop": crop})


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Tell by how many quarter turns in the slice plane a crop was turned (Gidaris, ICLR 2018)."""

    patch_size: Size
    """Patch in voxels; crops are square, with its shorter edge in the plane."""

    def __call__(self, source: CropSource, index: int, rng: np.random.Generator) -> Sample:
        """Turn a crop by 0, 90, 180 or 270 degrees; the target is 0, 1, 2 or 3."""
        depth, height, width = self.patch_size
        edge = min(height, width)
        crop = random_box(source, index, (depth, edge, edge), rng)
        turns = int(rng.integers(4))
        turned = crop.rot90(turns, (1, 2))
        return Sample(turned[None, None], torch.tensor([turns]), {"crop": crop})


@dataclass(frozen=True, kw_only=True)
class OverlappingViews:
    """Recognise the same voxels in two views (vox2vec, Goncharov et al., MICCAI 2023).

    The views are crops that share at least three quarters along each axis, each with its own
    contrast and noise. The target lists the same voxels in the coordinates of either view.
    """

    patch_size: Size
    num_voxels: int = 128
    """Common voxels per pair of views."""
    contrast: ContrastAugmentation = field(default_factory=ContrastAugmentation)
    noise_probability: float = 0.8
    noise: tuple[float, float] = (0.1, 0.2)
    """Range of its standard deviation; 5 to 10 % of the range of intensities."""

    def __call__(self, source: CropSource, index: int, rng: np.random.Generator) -> Sample:
        """Cut two views: image (2, 1, D, H, W), voxels (2, N, 3) as rows (d, h, w)."""
        quarter = np.floor_divide(self.patch_size, 4)
        shift = rng.integers(-quarter, quarter + 1)
        starts = np.stack([np.maximum(-shift, 0), np.maximum(shift, 0)])
        depth, height, width = (self.patch_size + np.abs(shift)).tolist()
        box = random_box(source, index, (depth, height, width), rng)
        views = self.contrast(self._cut(box, starts[0]), self._cut(box, starts[1]), rng)
        image_BCDHW = torch.stack([self._with_noise(view, rng) for view in views])[:, None]
        common = rng.integers(
            starts.max(axis=0), starts.min(axis=0) + self.patch_size, (self.num_voxels, 3)
        )
        return Sample(image_BCDHW, torch.from_numpy(common - starts[:, None]))

    def _cut(self, box: Tensor, start: np.ndarray) -> Tensor:
        z, y, x = (slice(a, a + b) for a, b in zip(start, self.patch_size, strict=True))
        return box[z, y, x]

    def _with_noise(self, view: Tensor, rng: np.random.Generator) -> Tensor:
        if rng.random() >= self.noise_probability:
            return view
        noise = rng.standard_normal(self.patch_size, np.float32) * rng.uniform(*self.noise)
        return view + torch.from_numpy(noise)
