"""The U-Nets of nnU-Net: PlainConvUNet and ResidualEncoderUNet, stage by stage as its plans say.

The layers are those of dynamic-network-architectures 0.4.4 (github.com/MIC-DKFZ). Residual blocks
are those of ResNet-D: He et al., Bag of Tricks for Image Classification, arXiv 1812.01187.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig, Size, StagesConfig
from MISFMLib.networks.base import Decoder, Encoder, SegmentationNetwork
from MISFMLib.networks.blocks import Conv3d

_NO_STRIDE = (1, 1, 1)
_INITIAL_SLOPE = 0.01


class StagedUNet(SegmentationNetwork):
    """Strided convolutions down, transposed ones up; levels, kernels and blocks are free."""

    input_layers = ("encoder.blocks.0.0.conv.",)

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        stages = config.stages
        assert stages is not None, "NetworkConfig checks this"
        channels, is_residual = config.level_channels, config.architecture == "resencunet"
        self.project = nn.Identity()
        inputs = config.in_channels
        if is_residual:
            self.input_layers = ("project.conv.",)
            self.project = _conv_layer((inputs, channels[0]), stages.kernels[0], _NO_STRIDE, stages)
            inputs = channels[0]
        stage = _residual_stage if is_residual else _plain_stage
        self.encoder = Encoder(
            [
                stage((before, after), level, stages)
                for level, (before, after) in enumerate(
                    zip((inputs, *channels), channels, strict=False)
                )
            ],
            [nn.Identity() for _ in channels[1:]],  # the stages themselves are strided
        )
        self.bottom = nn.Identity()
        fine_levels = range(len(channels) - 1)
        self.decoder = Decoder(
            [
                _UpJoin(channels[i + 1], channels[i], stages.strides[i + 1], stages.conv_bias)
                for i in fine_levels
            ],
            [
                _convs(2 * channels[i], channels[i], stages.decoder_blocks[-1 - i], i, stages)
                for i in fine_levels
            ],
        )
        self.heads = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=nn.Conv3d(channels[i], config.num_classes, 1)))
            for i in (fine_levels if config.deep_supervision else (0,))
        )
        self.apply(_initialise)

    def _refuses_single_voxels(self, batch_size: int) -> bool:
        """Tell whether the normalisation fails when the coarsest level is a single voxel."""
        assert self.config.stages is not None
        if self.config.stages.norm == "instance":
            return True  # also without training
        return super()._refuses_single_voxels(batch_size)


def _initialise(module: nn.Module) -> None:
    """Begin as nnU-Net does: He's variance, and residual blocks that change nothing yet."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=_INITIAL_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, _ResidualBlock):
        scale = getattr(module.conv2.norm, "weight", None)
        if isinstance(scale, Tensor):
            nn.init.zeros_(scale)


class _UpJoin(nn.Module):
    """Enlarges coarse features and puts the skipped ones behind them."""

    def __init__(self, coarse_channels: int, channels: int, stride: Size, bias: bool) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(coarse_channels, channels, stride, stride, bias=bias)

    def forward(self, skipped_BCDHW: Tensor, coarse_BCDHW: Tensor) -> Tensor:
        """Return twice the channels of `skipped_BCDHW`, in its size."""
        return torch.cat([self.up(coarse_BCDHW), skipped_BCDHW], dim=1)


class _ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut that is averaged where they are strided."""

    def __init__(
        self, channels: tuple[int, int], kernel: Size, stride: Size, stages: StagesConfig
    ) -> None:
        super().__init__()
        self.conv1 = _conv_layer(channels, kernel, stride, stages)
        same = (channels[1], channels[1])
        self.conv2 = _conv_layer(same, kernel, _NO_STRIDE, stages, is_activated=False)
        shortcut: OrderedDict[str, nn.Module] = OrderedDict()
        if stride != _NO_STRIDE:
            shortcut["pool"] = nn.AvgPool3d(stride, stride)
        if channels[0] != channels[1]:
            shortcut["conv"] = nn.Conv3d(*channels, 1, bias=False)
            shortcut["norm"] = _norm(channels[1], stages)
        self.shortcut = nn.Sequential(shortcut)
        self.activation = _activation(stages)

    def forward(self, x: Tensor) -> Tensor:
        """Map features to features."""
        activated: Tensor = self.activation(self.conv2(self.conv1(x)) + self.shortcut(x))
        return activated


def _plain_stage(channels: tuple[int, int], level: int, stages: StagesConfig) -> nn.Sequential:
    stride, count = stages.strides[level], stages.blocks[level]
    return _convs(*channels, count, level, stages, stride)


def _convs(
    inputs: int,
    outputs: int,
    count: int,
    level: int,
    stages: StagesConfig,
    stride: Size = _NO_STRIDE,
) -> nn.Sequential:
    """Build convolutions that follow each other; the first may be strided."""
    kernel = stages.kernels[level]
    first = _conv_layer((inputs, outputs), kernel, stride, stages)
    more = [_conv_layer((outputs, outputs), kernel, _NO_STRIDE, stages) for _ in range(count - 1)]
    return nn.Sequential(first, *more)


def _residual_stage(channels: tuple[int, int], level: int, stages: StagesConfig) -> nn.Sequential:
    kernel, same = stages.kernels[level], (channels[1], channels[1])
    return nn.Sequential(
        _ResidualBlock(channels, kernel, stages.strides[level], stages),
        *(
            _ResidualBlock(same, kernel, _NO_STRIDE, stages)
            for _ in range(stages.blocks[level] - 1)
        ),
    )


def _conv_layer(
    channels: tuple[int, int],
    kernel: Size,
    stride: Size,
    stages: StagesConfig,
    *,
    is_activated: bool = True,
) -> nn.Sequential:
    """Build convolution, norm and activation."""
    d, h, w = ((edge - 1) // 2 for edge in kernel)
    conv = Conv3d(*channels, kernel, stride, padding=(d, h, w), bias=stages.conv_bias)
    layers = OrderedDict(conv=conv, norm=_norm(channels[1], stages))
    if is_activated:
        layers["activation"] = _activation(stages)
    return nn.Sequential(layers)


def _norm(channels: int, stages: StagesConfig) -> nn.Module:
    if stages.norm == "none":
        return nn.Identity()
    kind = nn.InstanceNorm3d if stages.norm == "instance" else nn.BatchNorm3d
    return kind(channels, eps=stages.norm_eps, affine=stages.norm_affine)


def _activation(stages: StagesConfig) -> nn.Module:
    return nn.LeakyReLU(stages.slope) if stages.slope else nn.ReLU()
