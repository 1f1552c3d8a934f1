"""Patch, voxel size and stages of a U-Net from the data, by the rules of nnU-Net.

Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation, Nature Methods 2021; facts from the planners of nnunetv2 2.8.1. Its batch size is not
followed, nor its second, coarser network for large volumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

import numpy as np

from MISFMLib.configs import NetworkConfig, Size, Spacing, StagesConfig
from MISFMLib.data.plan import Extent

_SMALLEST_EDGE = 4
"""Voxels along an axis of the coarsest stage that no halving goes below."""
_FIRST_EDGE = 256
"""Edge of a cube with as many voxels as the patch that the search begins with."""
_ANISOTROPIC = 3
_COMPARABLE = 2
"""Axes whose voxels are less than so many times longer than the shortest are halved together."""
_LOW_PERCENTILE = 10
_FEWEST_STAGES = 2


@dataclass(frozen=True, kw_only=True)
class StageRules:
    """What a preset says about a network whose stages follow the data."""

    base_channels: int
    """Channels of the finest stage; each coarser one has twice as many."""
    most_channels: int
    """Channels that no stage exceeds."""
    feature_values: int
    """Numbers that all features of one patch may hold; 560 million stand for 8 GB of a GPU."""


def nnunet_spacing(facts: Sequence[Extent]) -> Spacing:
    """Return the voxel size in mm: the median, finer along an axis with few, long voxels."""
    spacings = np.array([fact.spacing_dhw for fact in facts])
    target = np.percentile(spacings, 50, axis=0)
    sizes = np.percentile([fact.shape_dhw for fact in facts], 50, axis=0)
    worst = int(target.argmax())
    others, other_sizes = np.delete(target, worst), np.delete(sizes, worst)
    is_long = target[worst] > _ANISOTROPIC * others.max()
    if is_long and sizes[worst] * _ANISOTROPIC < other_sizes.min():
        low = float(np.percentile(spacings[:, worst], _LOW_PERCENTILE))
        target[worst] = low if low >= others.max() else others.max() + 1e-5
    depth, height, width = (round(float(value), 5) for value in target)
    return depth, height, width


def plan_stages(
    network: NetworkConfig,
    rules: StageRules,
    facts: Sequence[Extent],
    spacing_dhw: Spacing,
    patch_size: Size | None = None,
) -> tuple[NetworkConfig, Size]:
    """Plan the stages of a network and the patch it is trained with.

    Args:
        network: Kind of the network; its numbers of blocks count, whose last is repeated.
        rules: Channels and budget.
        facts: Training cases.
        spacing_dhw: Voxel size in mm to train at.
        patch_size: Patch that the user wants; it stays as it is.

    Returns:
        The network with its stages, and the patch.
    """
    shapes = [
        np.rint(np.multiply(fact.shape_dhw, fact.spacing_dhw) / spacing_dhw) for fact in facts
    ]
    median_shape = np.median(shapes, axis=0)
    if patch_size is not None:
        strides, kernels, _ = _topology(spacing_dhw, patch_size)
        return _staged(network, rules, strides, kernels), patch_size
    aspect = 1 / np.array(spacing_dhw)
    first = np.rint(aspect * (_FIRST_EDGE**3 / prod(aspect)) ** (1 / 3))
    patch = [max(1, int(edge)) for edge in np.minimum(first, median_shape)]
    while True:
        strides, kernels, patch = _topology(spacing_dhw, patch)
        planned = _staged(network, rules, strides, kernels)
        if count_features(planned, patch) <= rules.feature_values:
            break
        shorter = _shortened(patch, spacing_dhw, median_shape, strides)
        if min(shorter) < 1 or len(_topology(spacing_dhw, shorter)[0]) < _FEWEST_STAGES:
            break  # a budget that no patch meets
        patch = shorter
    depth, height, width = patch
    return planned, (depth, height, width)


def _shortened(
    patch: Sequence[int], spacing_dhw: Spacing, median_shape: np.ndarray, strides: Sequence[Size]
) -> list[int]:
    """Shorten the axis that is longest beside the volumes, by the stride of the shorter patch."""
    axis = int(np.argsort([n / median for n, median in zip(patch, median_shape, strict=True)])[-1])
    tried = list(patch)
    tried[axis] -= prod(stride[axis] for stride in strides)
    of_tried, _, _ = _topology(spacing_dhw, tried)
    shorter = list(patch)
    shorter[axis] -= prod(stride[axis] for stride in of_tried)
    return shorter


def _topology(
    spacing_dhw: Spacing, patch: Sequence[int]
) -> tuple[tuple[Size, ...], tuple[Size, ...], list[int]]:
    """Return strides and kernels of the stages, and the patch in whole strides."""
    spacing, size = list(spacing_dhw), list(patch)
    kernel = [1, 1, 1]
    strides, kernels = [(1, 1, 1)], []
    while True:
        halved = _halved_axes(spacing, size)
        if not halved:
            break
        kernel = [
            3 if edge == 3 or length / min(spacing) < _COMPARABLE else 1
            for edge, length in zip(kernel, spacing, strict=True)
        ]
        stride = tuple(2 if axis in halved else 1 for axis in range(3))
        spacing = [length * step for length, step in zip(spacing, stride, strict=True)]
        size = [ceil(n / step) for n, step in zip(size, stride, strict=True)]
        strides.append((stride[0], stride[1], stride[2]))
        kernels.append((kernel[0], kernel[1], kernel[2]))
    kernels.append((3, 3, 3))
    totals = [prod(stride[axis] for stride in strides) for axis in range(3)]
    whole = [ceil(n / total) * total for n, total in zip(patch, totals, strict=True)]
    return tuple(strides), tuple(kernels), whole


def _halved_axes(spacing: Sequence[float], size: Sequence[int]) -> list[int]:
    """Return the axes that the next stage halves."""
    long = [axis for axis in range(3) if size[axis] >= 2 * _SMALLEST_EDGE]
    if not long:
        return []
    shortest = min(spacing[axis] for axis in long)
    axes = [axis for axis in long if spacing[axis] / shortest < _COMPARABLE]
    if len(axes) == 1 and size[axes[0]] < 3 * _SMALLEST_EDGE:
        return []
    return axes


def _staged(
    network: NetworkConfig,
    rules: StageRules,
    strides: tuple[Size, ...],
    kernels: tuple[Size, ...],
) -> NetworkConfig:
    given, count = network.stages, len(strides)
    assert given is not None, "presets with rules have stages"
    stages: StagesConfig = replace(
        given,
        strides=strides,
        kernels=kernels,
        blocks=_repeated(given.blocks, count),
        decoder_blocks=_repeated(given.decoder_blocks, count - 1),
    )
    channels = tuple(
        min(rules.most_channels, rules.base_channels * 2**stage) for stage in range(count)
    )
    return replace(network, stages=stages, level_channels=channels)


def _repeated(counts: tuple[int, ...], length: int) -> tuple[int, ...]:
    return (*counts, *(counts[-1:] * length))[:length]


def count_features(network: NetworkConfig, patch: Sequence[int]) -> int:
    """Count the numbers that the features of a patch hold, as nnU-Net estimates memory."""
    stages, channels = network.stages, network.level_channels
    assert stages is not None, "only networks of stages are counted"
    is_residual = network.architecture == "resencunet"
    total = channels[0] * prod(patch) if is_residual else 0  # its stem
    size, sizes, before = list(patch), [], channels[0]
    for width, stride, blocks in zip(channels, stages.strides, stages.blocks, strict=True):
        size = [n // step for n, step in zip(size, stride, strict=True)]
        sizes.append(size)
        layers = 2 * blocks + (before != width or prod(stride) > 1) if is_residual else blocks
        total += layers * width * prod(size)
        before = width
    for level, blocks in enumerate(reversed(stages.decoder_blocks)):
        total += (blocks + 1) * channels[level] * prod(sizes[level])
    return total + network.num_classes * prod(sizes[0])
