"""A plain 3D U-Net with the layers of PyMIC's UNet3D, which the MIS-FM authors compare with.

Source: `pymic/net/net3d/unet3d.py` of github.com/HiLab-git/PyMIC, version 0.4. The original knows
resolution mode 0 only; modes 1 and 2 flatten the fine levels as in the other networks.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from MISFMLib.configs import NetworkConfig, Size
from MISFMLib.networks.base import Decoder, Encoder, SegmentationNetwork
from MISFMLib.networks.blocks import UpBlock, same_size_conv
from MISFMLib.networks.dropout import Dropout
from MISFMLib.networks.resolution import level_kernels, level_strides

_SLOPE = 0.01


class UNet3D(SegmentationNetwork):
    """Pairs of convolutions with BatchNorm, max pooling down, trilinear interpolation up."""

    input_layers = ("encoder.blocks.0.conv1.",)

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        channels, kernels = config.level_channels, level_kernels(config.resolution_mode)
        strides = level_strides(config.resolution_mode)
        dropout = config.dropout
        inputs = (config.in_channels, *channels)
        self.project = nn.Identity()
        self.encoder = Encoder(
            [_conv_block(inputs[i], channels[i], kernels[i], dropout[i]) for i in range(5)],
            [nn.MaxPool3d(stride) for stride in strides],
        )
        self.bottom = nn.Identity()
        self.decoder = Decoder(
            [_up_block(channels[i + 1], channels[i], strides[i]) for i in range(4)],
            # The up blocks only join; these blocks merge.
            [_conv_block(2 * channels[i], channels[i], kernels[i], dropout[i]) for i in range(4)],
        )
        self.heads = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=nn.Conv3d(channels[i], config.num_classes, 1)))
            for i in range(4 if config.deep_supervision else 1)
        )


def _conv_block(in_channels: int, out_channels: int, kernel: Size, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv1=same_size_conv(in_channels, out_channels, kernel),
            norm1=nn.BatchNorm3d(out_channels),
            activation1=nn.LeakyReLU(_SLOPE),
            dropout=Dropout(dropout),
            conv2=same_size_conv(out_channels, out_channels, kernel),
            norm2=nn.BatchNorm3d(out_channels),
            activation2=nn.LeakyReLU(_SLOPE),
        )
    )


def _up_block(coarse_channels: int, channels: int, stride: Size) -> UpBlock:
    up = nn.Sequential(
        OrderedDict(
            conv=nn.Conv3d(coarse_channels, channels, 1),
            enlarge=nn.Upsample(scale_factor=stride, mode="trilinear", align_corners=True),
        )
    )
    return UpBlock(up, merge=nn.Identity())
