"""Convolution blocks of PCT-Net, normalised and activated before each convolution.

Source: `net/pct_net.py` of github.com/openmedlab/MIS-FM. Axis letters: B batch, C channels,
D depth, H height, W width.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISFMLib.configs import Size
from MISFMLib.networks.activation import PReLU, is_traced
from MISFMLib.networks.dropout import Dropout

_THIN = 2
"""Voxels along an axis up to which a convolution is not trained in bfloat16 on a CPU."""
_SMALL = 20480
"""Channels x depth x height up to which PyTorch 2.13 convolves a single sample without oneDNN."""
_MANY = 64
"""Channels of the output beyond which that is hardly slower."""


class Conv3d(nn.Conv3d):
    """PyTorch's convolution, where the CPU needs it in another number format or in company.

    oneDNN 3.12 (PyTorch 2.13) computes wrong gradients of bfloat16 weights, infinite ones among
    them, where the input is two voxels deep. Strided, it can even write beyond its memory where an
    edge is one voxel long. Volumes as thin as that are quickly convolved in float32.

    A single small sample in float32 does not go to oneDNN at all, and takes up to ten times as
    long as in company (findings/torch-convolves-one-small-volume-slowly.sh).
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 PyTorch's name
        """Convolve (B, C, D, H, W)."""
        is_at_risk = torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
        if is_at_risk and input.device.type == "cpu" and min(input.shape[2:]) <= _THIN:
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float())
        if self._lacks_company(input):
            return super().forward(F.pad(input, (0, 0) * 4 + (0, 1)))[:1]
        return super().forward(input)

    def _lacks_company(self, input: Tensor) -> bool:  # noqa: A002
        """Tell whether a sample of zeros beside it saves time, the gradient's included."""
        return (
            input.device.type == "cpu"
            and self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and len(input) == 1
            and math.prod(input.shape[1:4]) <= _SMALL
            and max(self.kernel_size) > 1
            and self.out_channels <= _MANY
            and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and not is_traced()
        )


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
