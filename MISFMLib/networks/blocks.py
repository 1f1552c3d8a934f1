"""Convolution blocks of PCT-Net, normalised and activated before each convolution.

Source: `net/pct_net.py` of github.com/openmedlab/MIS-FM. Axis letters: B batch, C channels,
D depth, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from MISFMLib.configs import Size
from MISFMLib.networks.activation import PReLU
from MISFMLib.networks.dropout import Dropout

_THIN = 2
"""Voxels along an axis up to which a convolution is not trained in bfloat16 on a CPU."""


class Conv3d(nn.Conv3d):
    """PyTorch's convolution, trained in float32 where bfloat16 would go wrong on a CPU.

    oneDNN 3.12 (PyTorch 2.13) computes wrong gradients of bfloat16 weights, infinite ones among
    them, where the input is two voxels deep. Strided, it can even write beyond its memory where an
    edge is one voxel long. Volumes as thin as that are quickly convolved in float32.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 PyTorch's name
        """Convolve (B, C, D, H, W)."""
        is_at_risk = torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
        if is_at_risk and input.device.type == "cpu" and min(input.shape[2:]) <= _THIN:
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float())
        return super().forward(input)


def same_size_conv(in_channels: int, out_channels: int, kernel: Size) -> Conv3d:
    """Build a convolution with odd kernel that keeps the size of its input."""
    d, h, w = (edge // 2 for edge in kernel)
    return Conv3d(in_channels, out_channels, kernel, padding=(d, h, w))


def normed_conv(in_channels: int, conv: nn.Module) -> nn.Sequential:
    """Put BatchNorm and PReLU with one slope before a convolution.

    Args:
        in_channels: Channels that `conv` takes.
        conv: Convolution, transposed or not.
    """
    return nn.Sequential(
        OrderedDict(norm=nn.BatchNorm3d(in_channels), activation=PReLU(), conv=conv)
    )


def conv_block(in_channels: int, out_channels: int, kernel: Size, dropout: float) -> nn.Sequential:
    """Build two normalised convolutions with (element-wise) dropout before the second."""
    return nn.Sequential(
        OrderedDict(
            norm1=nn.BatchNorm3d(in_channels),
            activation1=PReLU(),
            conv1=same_size_conv(in_channels, out_channels, kernel),
            norm2=nn.BatchNorm3d(out_channels),
            activation2=PReLU(),
            dropout=Dropout(dropout),
            conv2=same_size_conv(out_channels, out_channels, kernel),
        )
    )


def down_block(in_channels: int, out_channels: int, stride: Size, kernel: Size) -> nn.Sequential:
    """Build max pooling followed by a normalised convolution."""
    return nn.Sequential(
        OrderedDict(
            pool=nn.MaxPool3d(stride),
            norm=nn.BatchNorm3d(in_channels),
            activation=PReLU(),
            conv=same_size_conv(in_channels, out_channels, kernel),
        )
    )


class UpBlock(nn.Module):
    """Enlarges coarse features, joins them to the skipped ones, and merges both.

    Args:
        up: Maps the coarse features to the size and channels of the skipped ones.
        merge: Maps the joined features (skipped first) to the channels of the level.
    """

    def __init__(self, up: nn.Module, merge: nn.Module) -> None:
        super().__init__()
        self.up = up
        self.merge = merge

    def forward(self, skipped_BCDHW: Tensor, coarse_BCDHW: Tensor) -> Tensor:
        """Return features with the size and channels of `skipped_BCDHW`."""
        merged: Tensor = self.merge(torch.cat([skipped_BCDHW, self.up(coarse_BCDHW)], dim=1))
        return merged


def transposed_up_block(channels: int, coarse_channels: int, stride: Size, kernel: Size) -> UpBlock:
    """Build an `UpBlock` that enlarges by a transposed convolution."""
    enlarge = nn.ConvTranspose3d(coarse_channels, channels, stride, stride)
    return UpBlock(
        up=normed_conv(coarse_channels, enlarge),
        merge=normed_conv(2 * channels, same_size_conv(2 * channels, channels, kernel)),
    )
