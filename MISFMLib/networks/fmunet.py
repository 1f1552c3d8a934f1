"""FMUNet: a residual U-Net with instance normalisation.

Wang et al., Volume Fusion-based Self-Supervised Pretraining for 3D Medical Image Segmentation, IEEE
Transactions on Image Processing 34, 2025; `net/fmunet.py` of github.com/openmedlab/MIS-FM.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig, Size
from MISFMLib.networks.base import Decoder, Encoder, SegmentationNetwork
from MISFMLib.networks.blocks import Conv3d, UpBlock, same_size_conv
from MISFMLib.networks.dropout import Dropout
from MISFMLib.networks.resolution import level_kernels, level_strides

_SLOPE = 0.01


class FMUNet(SegmentationNetwork):
    """FMUNet for one resolution mode; `config.depths[0]` is the depth of every residual block."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        channels, kernels = config.level_channels, level_kernels(config.resolution_mode)
        self.project = same_size_conv(config.in_channels, channels[0], kernels[0])
        self.encoder = Encoder(
            [_ResidualBlock(config, level) for level in range(5)],
            [_down_block(config, level) for level in range(4)],
        )
        self.bottom = _ResidualBlock(config, 4)
        self.decoder = Decoder(
            [_up_block(config, level) for level in range(4)],
            [_ResidualBlock(config, level) for level in range(4)],
        )
        self.heads = nn.ModuleList(
            _normed(channels[i], conv=same_size_conv(channels[i], config.num_classes, kernels[i]))
            for i in range(4 if config.deep_supervision else 1)
        )
        self.apply(_initialise)

    def _refuses_single_voxels(self, batch_size: int) -> bool:  # noqa: ARG002
        return True  # InstanceNorm has no variance then, in evaluation neither


class _ResidualBlock(nn.ModuleList):
    """Normalised convolutions, each added to its input."""

    def __init__(self, config: NetworkConfig, level: int) -> None:
        channels = config.level_channels[level]
        kernel = level_kernels(config.resolution_mode)[level]
        super().__init__(
            _normed(
                channels,
                dropout=Dropout(config.dropout[level]),
                conv=same_size_conv(channels, channels, kernel),
            )
            for _ in range(config.depths[0])
        )

    def forward(self, x: Tensor) -> Tensor:
        for step in self:
            x = x + step(x)
        return x


def _normed(in_channels: int, **layers: nn.Module) -> nn.Sequential:
    """Put instance normalisation and activation before other layers."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.InstanceNorm3d(in_channels, affine=True),
            activation=nn.LeakyReLU(_SLOPE),
            **layers,
        )
    )


def _down_block(config: NetworkConfig, level: int) -> nn.Sequential:
    channels, out_channels = config.level_channels[level : level + 2]
    d, h, w = kernel = level_kernels(config.resolution_mode)[level]
    stride = level_strides(config.resolution_mode)[level]
    padding: Size = (d // 2, h // 2, w // 2)
    return _normed(channels, conv=Conv3d(channels, out_channels, kernel, stride, padding))


def _up_block(config: NetworkConfig, level: int) -> UpBlock:
    channels, coarse_channels = config.level_channels[level : level + 2]
    kernel = level_kernels(config.resolution_mode)[level]
    stride = level_strides(config.resolution_mode)[level]
    return UpBlock(
        up=_normed(
            coarse_channels,
            conv=nn.Conv3d(coarse_channels, channels, 1),
            enlarge=nn.Upsample(scale_factor=stride, mode="trilinear", align_corners=True),
        ),
        merge=_normed(2 * channels, conv=same_size_conv(2 * channels, channels, kernel)),
    )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, a=_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
