"""Resolution modes: how the levels of a network shrink more or less anisotropic volumes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from MISFMLib.configs import NetworkConfig, ResolutionMode, Size, Spacing
from MISFMLib.errors import ConfigError

OF_ONE_SIZE = ("unetr", "unetrpp", "transunet")
"""Networks that take patches of the size they were built for, and no others."""
_HALVINGS = {"segresnet": 3, "swinunetr": 5, "unetr": 4}
"""Networks that halve all axes, so many times."""
_EMBEDDED = ("nnformer", "unetrpp")
"""Networks that begin with tokens of several voxels."""
_TOKENS: dict[ResolutionMode, Size] = {0: (4, 4, 4), 1: (2, 4, 4), 2: (1, 4, 4)}
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
    strides = ((1, 1, 1), *_strides_of(config))
    if config.stages is not None:
        strides = config.stages.strides
    return tuple(_product(strides[: level + 1]) for level in range(len(strides)))


def _strides_of(config: NetworkConfig) -> tuple[Size, ...]:
    """Give the strides between the levels of a network without stages."""
    if config.architecture in _HALVINGS:
        return (_CUBIC,) * _HALVINGS[config.architecture]
    if config.architecture in _EMBEDDED:
        return (token_size(config), _CUBIC, _CUBIC, _CUBIC)
    return level_strides(config.resolution_mode)


def token_size(config: NetworkConfig) -> Size:
    """Give the voxels that one token of nnFormer or UNETR++ spans at its finest level.

    Published are 4 x 4 x 4 for isotropic volumes (brain tumours), 2 x 4 x 4 for the abdomen and
    1 x 4 x 4 for the heart in cine MR.
    """
    return _TOKENS[config.resolution_mode]


def fitting_patch(config: NetworkConfig, patch: Size) -> Size:
    """Return the patch nearest to a wish that the network can be built for."""
    if config.architecture not in OF_ONE_SIZE:
        return patch
    stride = stride_dhw(config)
    d, h, w = (max(1, round(n / s)) * s for n, s in zip(patch, stride, strict=True))
    if (d, h, w) == stride and config.architecture == "unetrpp":
        w *= 2  # its batch norms need more than one voxel
    return d, h, w


def check_patch(config: NetworkConfig) -> None:
    """Refuse a patch that the network is not made for.

    Raises:
        ConfigError: `patch_size` is missing or is none of the fitting sizes, which are named.
    """
    if config.architecture not in OF_ONE_SIZE:
        return
    stride = stride_dhw(config)
    patch = config.patch_size
    name = config.architecture
    if patch is None:
        raise ConfigError(
            f"The weights of a {name} belong to places of its patch, and no patch_size is given.",
            code="patch-size",
            remedy=f"Give a patch of multiples of {_by(stride)} voxels.",
        )
    fitting = fitting_patch(config, patch)
    if patch != fitting:
        raise ConfigError(
            f"A {name} with resolution_mode {config.resolution_mode} takes patches of multiples of "
            f"{_by(stride)} voxels, not {_by(patch)}.",
            code="patch-size",
            remedy=f"Choose --patch-size {' '.join(map(str, fitting))}, for example.",
        )


def _by(size: Size) -> str:
    return " x ".join(map(str, size))


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
