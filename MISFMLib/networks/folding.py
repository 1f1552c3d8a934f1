"""Batch norms made part of the convolutions before them: fewer passes over the features.

Only for inference: the logits stay the same, the features in between do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from MISFMLib.networks.base import SegmentationNetwork

_CONVS = (nn.Conv3d, nn.ConvTranspose3d)
_Place = tuple[nn.Module, nn.Module, str]
"""A layer, the module that holds it, and its name there."""


def fold_norms(network: nn.Module) -> int:
    """Fold every batch norm that alone sees the output of a convolution into it.

    Args:
        network: In evaluation mode; changed in place.

    Returns:
        How many were folded.
    """
    count = 0
    for (conv, _, _), (norm, parent, name) in list(_neighbours(network)):
        if isinstance(conv, _CONVS) and isinstance(norm, nn.BatchNorm3d):
            _fold(conv, norm)
            setattr(parent, name, nn.Identity())
            count += 1
    return count


def _fold(conv: nn.Conv3d | nn.ConvTranspose3d, norm: nn.BatchNorm3d) -> None:
    """Let a convolution give what the norm behind it gives."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
        transpose=isinstance(conv, nn.ConvTranspose3d),
    )


def _neighbours(network: nn.Module) -> Iterator[tuple[_Place, _Place]]:
    """Yield layers of which the second alone sees the output of the first."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            yield from pairwise(_layers(module))
    for line in network.lines() if isinstance(network, SegmentationNetwork) else ():
        for before, after in pairwise(line):
            yield _layers(before)[-1], _layers(after)[0]


def _layers(module: nn.Module) -> list[_Place]:
    if not isinstance(module, nn.Sequential):
        return [(module, module, "")]
    return [(layer, module, name) for name, layer in module.named_children()]
