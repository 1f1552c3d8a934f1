"""nnFormer: window attention on tokens, up and down, with attention in place of the skips' sum.

Zhou et al., nnFormer: Volumetric Medical Image Segmentation via a 3D Transformer, IEEE TIP 2023,
arXiv 2109.03201; facts from github.com/282857341/nnFormer at d48aaeb. The windows are those of
PCT-Net, which stems from it, with their colliding index.

Axis letters: B batch, L tokens (depth slowest), C channels, D depth, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig, Size
from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.networks.blocks import Conv3d
from MISFMLib.networks.resolution import level_scales, token_size
from MISFMLib.networks.window_attention import AttentionSpec, TransformerBlock, WindowAttention

_DROP_PATH = 0.2
"""Of the last block; it rises to this from zero at the first."""
_LEVELS = 4
_HALF = (2, 2, 2)


class NNFormer(SegmentationNetwork):
    """nnFormer for one size of patch, which its windows are cut to; any volume is padded to fit.

    The class outputs enlarge the tokens by transposed convolutions; with deep supervision there are
    three, at full, half and quarter size.
    """

    input_layers = ("encoder.embed.first.conv1.",)
    has_pyramid = False

    def __init__(self, config: NetworkConfig) -> None:
        config = replace(config, window_sizes=_windows(config))
        super().__init__(config)
        channels, step = _channels(config), token_size(config)
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)
        self.heads = nn.ModuleList(
            nn.Sequential(
                OrderedDict(
                    conv=nn.ConvTranspose3d(channels[level], config.num_classes, step, step)
                )
            )
            for level in range(3 if config.deep_supervision else 1)
        )

    def _decoded_levels(self, image_BCDHW: Tensor) -> list[Tensor]:
        levels: list[Tensor] = self.encoder(self._padded(image_BCDHW))
        decoded: list[Tensor] = self.decoder(levels)
        return decoded

    def _cropped(self, levels: list[Tensor], size: Sequence[int]) -> list[Tensor]:
        return [
            level[..., : -(-size[0] // s), : -(-size[1] // s), : -(-size[2] // s)]
            for level, s in zip(levels, (1, 2, 4), strict=False)
        ]


class _Encoder(nn.Module):
    """Tokens, and four levels of window attention."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = _channels(config)
        self.embed = _Embedding(config.in_channels, channels[0], token_size(config))
        self.blocks = nn.ModuleList(
            _Blocks(TransformerBlock(spec) for spec in specs)
            for specs in _specs(config, config.depths)
        )
        self.downs = nn.ModuleList(_Merging(width) for width in channels[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in channels)

    def forward(self, image_BCDHW: Tensor) -> list[Tensor]:
        """Return the features of the levels, finest first."""
        x, levels = self.embed(image_BCDHW), []
        for level, blocks in enumerate(self.blocks):
            if level:
                x = self.downs[level - 1](x)
            tokens, grid = _tokens(x)
            tokens = blocks(tokens, grid)
            x = _volume(tokens, grid)
            levels.append(_volume(self.norms[level](tokens), grid))
        return levels


class _Decoder(nn.Module):
    """Three levels, each of which asks the encoder's features with the enlarged coarser ones."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = _channels(config)
        # The rate of skipped branches rises from the coarsest level to the finest.
        coarse_first = _specs(config, config.depths[-2::-1], range(_LEVELS - 2, -1, -1))
        specs = list(reversed(coarse_first))
        self.ups = nn.ModuleList(_Expanding(width) for width in channels[1:])
        self.joins = nn.ModuleList(_Join(of_level[0]) for of_level in specs)
        self.blocks = nn.ModuleList(
            _Blocks(TransformerBlock(replace(spec, shift=_shift(config, level))) for spec in more)
            for level, (_, *more) in enumerate(specs)
        )

    def forward(self, levels_BCDHW: list[Tensor]) -> list[Tensor]:
        """Return the decoded features, finest first."""
        *skips, x = levels_BCDHW
        decoded: list[Tensor] = []
        for level in reversed(range(len(skips))):
            enlarged, grid = _tokens(self.ups[level](x))
            tokens = self.joins[level](enlarged, _tokens(skips[level])[0], grid)
            tokens = self.blocks[level](tokens, grid)
            x = _volume(tokens, grid)
            decoded.insert(0, x)
        return decoded


class _Blocks(nn.ModuleList):
    """Blocks that follow each other on one grid of tokens."""

    def forward(self, tokens_BLC: Tensor, grid: Size) -> Tensor:
        """Return tokens of the same shape."""
        for block in self:
            tokens_BLC = block(tokens_BLC, grid)
        return tokens_BLC


class _Join(TransformerBlock):
    """Attention whose queries come from below and whose keys and values come from the skip."""

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__(spec)
        self.attention = CrossWindowAttention(spec)

    def forward(self, enlarged_BLC: Tensor, skipped_BLC: Tensor, grid: Size) -> Tensor:  # type: ignore[override]
        """Return tokens of the same shape."""
        asked = self.attention(self.norm1(enlarged_BLC), self.norm1(skipped_BLC), grid)
        return self.with_mlp(enlarged_BLC + skipped_BLC + self._drop_path(asked))


class CrossWindowAttention(WindowAttention):
    """Window attention whose queries are given as they are, keys and values by other tokens."""

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__(spec)
        del self.qkv
        self.kv = nn.Linear(spec.channels, 2 * spec.channels)

    def forward(self, query_BLC: Tensor, tokens_BLC: Tensor, grid: Size) -> Tensor:  # type: ignore[override]
        """Return what the queries find, same shape."""
        one_more = (0, 0, 0, 1)  # stands for all padding
        query, kv = F.pad(query_BLC, one_more), self.kv(F.pad(tokens_BLC, one_more))
        return self.attend(torch.cat([query.to(kv.dtype), kv], -1), query_BLC, grid)


class _Embedding(nn.Module):
    """Two pairs of convolutions that make tokens of voxels."""

    def __init__(self, inputs: int, channels: int, size: Size) -> None:
        super().__init__()
        d, h, w = (2 if edge > 1 else 1 for edge in size)
        rest = size[0] // d, size[1] // h, size[2] // w
        self.first = _Pair(inputs, channels // 2, (d, h, w), is_last=False)
        self.second = _Pair(channels // 2, channels, rest, is_last=True)
        self.norm = _ChannelNorm(channels)

    def forward(self, image_BCDHW: Tensor) -> Tensor:
        """Return tokens as a volume of features."""
        tokens: Tensor = self.norm(self.second(self.first(image_BCDHW)))
        return tokens


class _Pair(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: Size, *, is_last: bool) -> None:
        super().__init__()
        self.conv1 = Conv3d(inputs, outputs, 3, stride, padding=1)
        self.norm1 = _ChannelNorm(outputs)
        self.conv2 = Conv3d(outputs, outputs, 3, padding=1)
        self.norm2 = None if is_last else _ChannelNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map features to features; activations come before the norms."""
        x = self.conv2(self.norm1(F.gelu(self.conv1(x))))
        return x if self.norm2 is None else self.norm2(F.gelu(x))


class _ChannelNorm(nn.LayerNorm):
    """Normalises the channels of every voxel."""

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Return features of the same shape."""
        return super().forward(x_BCDHW.movedim(1, -1)).movedim(-1, 1)


class _Merging(nn.Module):
    """Halves every axis and doubles the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _ChannelNorm(channels)
        self.conv = Conv3d(channels, 2 * channels, 3, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map features to features."""
        merged: Tensor = self.conv(self.norm(F.gelu(x)))
        return merged


class _Expanding(nn.Module):
    """Doubles every axis and halves the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _ChannelNorm(channels)
        self.conv = nn.ConvTranspose3d(channels, channels // 2, _HALF, _HALF)

    def forward(self, x: Tensor) -> Tensor:
        """Map features to features."""
        enlarged: Tensor = self.conv(self.norm(x))
        return enlarged


def _channels(config: NetworkConfig) -> list[int]:
    return [config.level_channels[0] * 2**level for level in range(_LEVELS)]


def _tokens(x_BCDHW: Tensor) -> tuple[Tensor, Size]:
    depth, height, width = map(int, x_BCDHW.shape[2:])
    return x_BCDHW.flatten(2).transpose(1, 2), (depth, height, width)


def _volume(tokens_BLC: Tensor, grid: Size) -> Tensor:
    batch, _, channels = tokens_BLC.shape
    return tokens_BLC.transpose(1, 2).reshape(batch, channels, *grid)


def _grid(config: NetworkConfig, level: int) -> Size | None:
    """Return the tokens of the patch at a level."""
    if config.patch_size is None:
        return None
    scale = level_scales(config)[level + 1]
    d, h, w = (-(-n // s) for n, s in zip(config.patch_size, scale, strict=True))
    return d, h, w


def _windows(config: NetworkConfig) -> tuple[int, ...]:
    """Return the edges of the windows, at most the shortest edge of the patch at each level."""
    grids = [_grid(config, level) for level in range(_LEVELS)]
    return tuple(
        window if grid is None else min(window, *grid)
        for window, grid in zip(config.window_sizes, grids, strict=True)
    )


def _shift(config: NetworkConfig, level: int) -> int:
    """Return the shift of a level; a window that spans the patch has no neighbours."""
    grid, window = _grid(config, level), _windows(config)[level]
    return window // 2 if grid is None or min(grid) > window else 0


def _specs(
    config: NetworkConfig, depths: tuple[int, ...], levels: range = range(_LEVELS)
) -> list[list[AttentionSpec]]:
    """Describe the blocks of levels; every other one has shifted windows."""
    last = max(1, sum(depths) - 1)
    rates = iter([_DROP_PATH * block / last for block in range(sum(depths))])
    return [
        [
            AttentionSpec(
                channels=_channels(config)[level],
                heads=config.num_heads[level],
                window=_windows(config)[level],
                shift=_shift(config, level) if block % 2 else 0,
                dropout=0.0,
                drop_path=next(rates),
            )
            for block in range(depth)
        ]
        for level, depth in zip(levels, depths, strict=True)
    ]
