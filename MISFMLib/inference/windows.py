"""Where the windows of a volume lie and how their logits are weighted.

Windows and weights are those of the published driver (PyMIC's sliding-window inferer), without its
repeated work: windows start at 0, s, 2s, ... with s = (1 - overlap) * patch, each start clamped to
the volume. The published list repeats clamped starts. Here every distinct window is computed once
and its weight multiplied by how often it stands in that list, which gives the same logits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from MISFMLib.configs import Padding, Size, raise_problems

_BATCH_VOXELS = 2**20
_LARGEST_BATCH = 8
_LEAST_WEIGHT = 1e-3
"""Of gaussian-cut, as a part of the largest."""


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """How a volume is cut into windows."""

    patch_size: Size
    """Window in voxels of model space."""
    overlap: float = 0.5
    """Overlap of neighbouring windows as a fraction of the patch, 0 to below 1."""
    batch_size: int = 1
    """Windows computed together."""
    mirroring: bool = False
    """Average the logits of the mirror images of every window."""
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    """Axes (0 depth, 1 height, 2 width) that the mirror images are mirrored along."""
    placing: Literal["stepped", "even", "distinct"] = "stepped"
    """Where the windows lie; see `PreprocessingConfig.windows`."""
    padding: Padding = "edge"
    """What lies around a volume that is smaller than the patch."""
    weights: Literal["gaussian", "constant", "gaussian-cut"] = "gaussian"
    """How the voxels of a window count; see `PreprocessingConfig.window_weights`."""

    @property
    def is_separable(self) -> bool:
        """Whether the weights of a window are the product of those along its axes."""
        return self.weights != "gaussian-cut"

    def weights_dhw(self) -> torch.Tensor:
        """Return the weights of a window (d, h, w), float32, that sum to anything."""
        depth, height, width = (_cut_gaussian(patch) for patch in self.patch_size)
        product = depth[:, None, None] * height[:, None] * width
        return product.clamp(min=max(float(product.min()), _LEAST_WEIGHT))

    def axis_windows(self, size: int, axis: int) -> list[AxisWindow]:
        """Return the distinct windows along an axis with `size` voxels; the weights sum to one."""
        patch = self.patch_size[axis]
        weights = gaussian_weights(patch)
        if self.weights == "constant":
            weights = torch.ones_like(weights)
        return axis_windows(weights, self.starts(size, patch), size)

    def starts(self, size: int, patch: int) -> list[int]:
        """Return the starts of the windows along an axis; some may stand there twice."""
        if self.placing == "even":
            return even_starts(size, patch, self.overlap)
        if self.placing == "distinct":  # those of MONAI, which cuts 15.999 to 15
            stride = max(1, int(patch * (1 - self.overlap)))
            return sorted({min(start, size - patch) for start in range(0, size, stride)})
        return window_starts(size, patch, self.overlap)

    def __post_init__(self) -> None:
        problems = []
        if min(self.patch_size) < 1:
            problems.append(f"patch_size is {self.patch_size}, all edges must be at least 1")
        if not 0 <= self.overlap < 1:
            problems.append(f"overlap is {self.overlap}, it must be at least 0 and below 1")
        if self.batch_size < 1:
            problems.append(f"batch_size is {self.batch_size}, it must be at least 1")
        raise_problems(problems, "Correct the window settings.")


def suitable_batch_size(patch_size: Size) -> int:
    """Return how many windows to compute together where nobody says: about a million voxels.

    On a CPU small windows take less time in company. One of 32 x 48 x 32 voxels takes 0.20 s of one
    core alone and 0.10 s as one of two, one of 48 x 96 x 96 voxels 1.1 s and 1.0 s (small PCT-Net,
    float32, AVX2); at 64 x 128 x 128 voxels nothing is gained.
    """
    return max(1, min(_LARGEST_BATCH, _BATCH_VOXELS // math.prod(patch_size)))


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """Return the starts of the windows along one axis as published, repeated ones included.

    Args:
        size: Voxels of the volume, at least `patch`.
        patch: Voxels of the window.
        overlap: Overlap of neighbouring windows as a fraction of the patch.
    """
    # The small number keeps 100 * (1 - 0.9) from being cut to 9.
    stride = max(1, int(patch * (1 - overlap) + 1e-6))
    return [min(start, size - patch) for start in range(0, size, stride)]


def even_starts(size: int, patch: int, overlap: float) -> list[int]:
    """Return the starts of as few windows as overlap enough, spread evenly, as nnU-Net does.

    Args:
        size: Voxels of the volume, at least `patch`.
        patch: Voxels of the window.
        overlap: Least overlap of neighbouring windows as a fraction of the patch.
    """
    # The small number keeps a quotient like 3.0000000000000004 from one window more.
    steps = math.ceil((size - patch) / (patch * (1 - overlap)) - 1e-9)
    if steps < 1:
        return [0]
    distance = (size - patch) / steps
    return [round(number * distance) for number in range(steps + 1)]


def gaussian_weights(patch: int) -> torch.Tensor:
    """Return the published weights along one edge of the window; the window's are their product.

    A unit impulse at patch // 2, filtered with a Gaussian of deviation patch / 8 that is cut off at
    four deviations, as ``scipy.ndimage.gaussian_filter`` with zeros beyond the border does.

    Args:
        patch: Voxels of the edge.

    Returns:
        Positive weights (patch,), float64.
    """
    sigma = patch / 8
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    first = radius - patch // 2
    return (kernel / kernel.sum())[first : first + patch]


def _cut_gaussian(patch: int) -> torch.Tensor:
    """Return MONAI's weights along one edge: one in the middle, with a deviation of patch / 8."""
    offsets = torch.arange(patch, dtype=torch.float32) - (patch - 1) / 2
    return torch.exp(-(offsets**2) / (2 * (patch / 8) ** 2))


@dataclass(frozen=True)
class AxisWindow:
    """One window as seen along one axis."""

    start: int
    """First voxel."""
    weight: torch.Tensor
    """Weight of every voxel in the window, (patch,), float32."""


def axis_windows(weights: torch.Tensor, starts: Sequence[int], size: int) -> list[AxisWindow]:
    """Return the distinct windows along one axis; at every voxel their weights sum to one.

    Since the weights of a window are the product over its three axes, sums of weighted logits need
    no division afterwards.

    Args:
        weights: Weight of every voxel of a window, (patch,), float64.
        starts: First voxels of the windows; those that stand there twice count twice.
        size: Voxels of the volume, at least `patch`.
    """
    counts = Counter(starts)
    repeats = torch.tensor(list(counts.values()), dtype=torch.float64)
    patch = len(weights)
    repeated = repeats[:, None] * weights
    sums = torch.zeros(size, dtype=torch.float64)
    for start, weight in zip(counts, repeated, strict=True):
        sums[start : start + patch] += weight
    return [
        AxisWindow(start, (weight / sums[start : start + patch]).float())
        for start, weight in zip(counts, repeated, strict=True)
    ]


def count_windows(shape: Size, config: WindowConfig) -> int:
    """Return how many distinct windows a volume of `shape` has."""
    return math.prod(
        len(set(config.starts(max(size, patch), patch)))
        for size, patch in zip(shape, config.patch_size, strict=True)
    )
