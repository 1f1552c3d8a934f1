"""Resolution modes: how the levels of a network shrink more or less anisotropic volumes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from MISFMLib.configs import NetworkConfig, ResolutionMode, Size, Spacing

_PLANAR, _CUBIC = (1, 2, 2), (2, 2, 2)
_STRIDES: dict[ResolutionMode, tuple[Size, ...]] = {
    0: (_CUBIC, _CUBIC, _CUBIC, _CUBIC),
    1: (_PLANAR, _CUBIC, _CUBIC, _CUBIC),
    2: (_PLANAR, _PLANAR, _CUBIC, _CUBIC),
}


def choose_resolution_mode(spacing_dhw: Spacing) -> ResolutionMode:
    """Choose the mode whose halvings bring the voxels closest to a cube.

    The slice distance is divided by the finer in-plane spacing: below 1.5 is mode 0 (isotropic),
    below 3 is mode 1 (slices about twice as far apart), from 3 on is mode 2. The published code
    leaves the choice to its user; the limits here round the ratio to the nearest power of two.

    Args:
        spacing_dhw: Voxel size in mm of the volumes that the network will see.
    """
    ratio = spacing_dhw[0] / min(spacing_dhw[1:])
    if ratio < 1.5:
        return 0
    return 1 if ratio < 3 else 2


def level_strides(mode: ResolutionMode) -> tuple[Size, ...]:
    """Give the strides between the five levels: entry i leads from level i to level i + 1."""
    return _STRIDES[mode]


def level_scales(config: NetworkConfig) -> tuple[Size, ...]:
    """Give the input voxels per voxel of each level."""
    if config.architecture == "monai":
        return ((1, 1, 1),)
    strides = ((1, 1, 1), *level_strides(config.resolution_mode))
    if config.stages is not None:
        strides = config.stages.strides
    return tuple(_product(strides[: level + 1]) for level in range(len(strides)))


def _product(strides: Sequence[Size]) -> Size:
    depth, height, width = (prod(stride[axis] for stride in strides) for axis in range(3))
    return depth, height, width


def level_kernels(mode: ResolutionMode) -> tuple[Size, ...]:
    """Give the convolution kernel of each level: flat while the slices lie farther apart."""
    flat_or_cubic: list[Size] = [
        (3, 3, 3) if stride == _CUBIC else (1, 3, 3) for stride in level_strides(mode)
    ]
    return (*flat_or_cubic, (3, 3, 3))


def stride_dhw(config: NetworkConfig) -> Size:
    """Give the input voxels per voxel of the coarsest level; inputs are padded to its multiples."""
    return level_scales(config)[-1]
