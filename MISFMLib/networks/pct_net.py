"""PCT-Net: a U-shaped network whose coarse levels pair convolutions with window attention.

Wang et al., MIS-FM: 3D Medical Image Segmentation using Foundation Models Pretrained on a
Large-Scale Unannotated Dataset, arXiv 2306.16925; `net/pct_net.py` of
github.com/openmedlab/MIS-FM. The published network carries the stems and heads of all resolution
modes and five unused norms; here only what the configured mode needs exists.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig, Size
from MISFMLib.networks.base import Decoder, Encoder, SegmentationNetwork
from MISFMLib.networks.blocks import (
    conv_block,
    down_block,
    normed_conv,
    same_size_conv,
    transposed_up_block,
)
from MISFMLib.networks.dropout import Dropout
from MISFMLib.networks.resolution import level_kernels, level_scales, level_strides
from MISFMLib.networks.window_attention import AttentionSpec, TransformerBlock

_FIRST_ATTENTION_LEVEL = 2


class ConvTransformerBlock(nn.Module):
    """A convolution block and a stack of attention blocks side by side; their outputs are added."""

    def __init__(self, config: NetworkConfig, level: int) -> None:
        super().__init__()
        channels, dropout = config.level_channels[level], config.dropout[level]
        self.conv = conv_block(channels, channels, (3, 3, 3), dropout)
        self.dropout = Dropout(dropout)
        self.transformer = nn.ModuleList(
            TransformerBlock(spec) for spec in attention_specs(config, level)
        )

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Return features of the same shape."""
        batch, channels, *grid = map(int, x_BCDHW.shape)
        tokens_BLC = self.dropout(x_BCDHW.permute(0, 2, 3, 4, 1).reshape(batch, -1, channels))
        for block in self.transformer:
            tokens_BLC = block(tokens_BLC, tuple(grid))
        attended = tokens_BLC.view(batch, *grid, channels).permute(0, 4, 1, 2, 3)
        summed: Tensor = self.conv(x_BCDHW) + attended
        return summed


class PCTNet(SegmentationNetwork):
    """PCT-Net for one resolution mode.

    Attributes:
        config: As given, except that `window_sizes` are the windows that `patch_size` leaves.
    """

    encoder: Encoder
    decoder: Decoder

    def __init__(self, config: NetworkConfig) -> None:
        config = dataclasses.replace(config, window_sizes=effective_windows(config))
        super().__init__(config)
        channels, kernels = config.level_channels, level_kernels(config.resolution_mode)
        self.project = same_size_conv(config.in_channels, channels[0], kernels[0])
        self.encoder = Encoder(_level_blocks(config, range(5)), _downs(config))
        self.bottom = nn.Identity()
        self.decoder = Decoder(_ups(config), _level_blocks(config, range(4)))
        self.heads = nn.ModuleList(
            normed_conv(channels[level], nn.Conv3d(channels[level], config.num_classes, 1))
            for level in range(4 if config.deep_supervision else 1)
        )

    def lines(self) -> Sequence[Sequence[Any]]:
        """List the convolutions of levels 0 and 1 whose features go nowhere but to a norm."""
        encoder, decoder = self.encoder, self.decoder
        # The head of level 1 sees the features of its block too.
        after_level_1 = [] if self.config.deep_supervision else [decoder.ups[0].up]
        return [
            [self.project, encoder.blocks[0]],
            [encoder.downs[0], encoder.blocks[1]],
            [decoder.ups[1].merge, decoder.blocks[1], *after_level_1],
            [decoder.ups[0].merge, decoder.blocks[0], self.heads[0]],
        ]


def _level_blocks(config: NetworkConfig, levels: range) -> list[nn.Module]:
    kernels = level_kernels(config.resolution_mode)
    return [
        ConvTransformerBlock(config, level)
        if level >= _FIRST_ATTENTION_LEVEL
        else conv_block(
            config.level_channels[level],
            config.level_channels[level],
            kernels[level],
            config.dropout[level],
        )
        for level in levels
    ]


def _downs(config: NetworkConfig) -> list[nn.Module]:
    channels, kernels = config.level_channels, level_kernels(config.resolution_mode)
    return [
        down_block(channels[level], channels[level + 1], stride, kernels[level + 1])
        for level, stride in enumerate(level_strides(config.resolution_mode))
    ]


def _ups(config: NetworkConfig) -> list[nn.Module]:
    channels, kernels = config.level_channels, level_kernels(config.resolution_mode)
    return [
        transposed_up_block(channels[level], channels[level + 1], stride, kernels[level])
        for level, stride in enumerate(level_strides(config.resolution_mode))
    ]


def attention_specs(config: NetworkConfig, level: int) -> list[AttentionSpec]:
    """Describe the attention blocks of level 2, 3 or 4; every other one has shifted windows."""
    position = level - _FIRST_ATTENTION_LEVEL
    window = effective_windows(config)[position]
    grid = patch_grid(config, level)
    # A window that spans the patch has no neighbours to exchange with.
    shift = window // 2 if grid is None or min(grid) > window else 0
    return [
        AttentionSpec(
            channels=config.level_channels[level],
            heads=config.num_heads[position],
            window=window,
            shift=shift if block % 2 else 0,
            dropout=config.dropout[level],
        )
        for block in range(config.depths[position])
    ]


def effective_windows(config: NetworkConfig) -> tuple[int, ...]:
    """Give the windows of levels 2, 3, 4: at most the shortest edge of the patch at that level.

    The published network cuts its windows to the patch that it is built for. Without `patch_size`
    they keep their full size.
    """
    grids = [patch_grid(config, level) for level in range(_FIRST_ATTENTION_LEVEL, 5)]
    return tuple(
        window if grid is None else min(window, *grid)
        for window, grid in zip(config.window_sizes, grids, strict=True)
    )


def patch_grid(config: NetworkConfig, level: int) -> Size | None:
    """Give the tokens of a patch at a level, or None when the network is built for no patch."""
    if config.patch_size is None:
        return None
    scale = level_scales(config)[level]
    d, h, w = (-(-n // s) for n, s in zip(config.patch_size, scale, strict=True))
    return d, h, w
