"""Resolution modes: how the levels of a network shrink more or less anisotropic volumes."""

from __future__ import annotations

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


def level_scales(mode: ResolutionMode) -> tuple[Size, ...]:
    """Give the input voxels per voxel of each of the five levels."""
    strides = level_strides(mode)
    return tuple(
        (prod(s[0] for s in strides[:i]), 2**i, 2**i)  # all strides halve the slice plane
        for i in range(len(strides) + 1)
    )


def level_kernels(mode: ResolutionMode) -> tuple[Size, ...]:
    """Give the convolution kernel of each level: flat while the slices lie farther apart."""
    flat_or_cubic: list[Size] = [
        (3, 3, 3) if stride == _CUBIC else (1, 3, 3) for stride in level_strides(mode)
    ]
    return (*flat_or_cubic, (3, 3, 3))


def stride_dhw(config: NetworkConfig) -> Size:
    """Give the input voxels per voxel of the coarsest level; inputs are padded to its multiples."""
    return level_scales(config.resolution_mode)[-1]
