"""UNETR++: paired attention over places and over channels, in a U of four levels.

Shaker et al., UNETR++: Delving into Efficient and Accurate 3D Medical Image Segmentation, arXiv
2212.04497; facts from github.com/Amshaker/unetr_plus_plus at dcba1c6. Where paper and published
code differ, the code is followed, since the published numbers are its: see `PairedAttention`.

Axis letters: B batch, N places, C channels, D depth, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig, Size
from MISFMLib.networks.blocks import Conv3d
from MISFMLib.networks.dropout import Dropout
from MISFMLib.networks.fixed_size import FixedSizeNetwork, patch_of
from MISFMLib.networks.resolution import level_scales, token_size

_PROJECTED = (64, 64, 64, 32)
"""Places that keys and values of a level are reduced to."""
_DECODER_DEPTH = 3
_DROPOUT = 0.15
"""Of the attention, as published."""
_CHANNEL_DROPOUT = 0.1
_SLOPE = 0.01
_FIRST_GAMMA = 1e-6
"""What the attention counts at first, beside the features it is added to."""


class UNETRPlusPlus(FixedSizeNetwork):
    """UNETR++ for one size of patch; `level_channels` are those of the finest convolutions first.

    With deep supervision it returns logits at full size and at the sizes of the first two levels.
    """

    input_layers = (
        "encoder.downs.0.conv.",
        "encoder.fine.conv1.",
        "encoder.fine.conv3.",
    )
    placed = (".attention.project_places.weight", ".attention.project_places.bias", ".places")
    has_pyramid = False

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        patch_of(config)
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)
        scales = range(3 if config.deep_supervision else 1)
        self.heads = nn.ModuleList(
            nn.Sequential(
                OrderedDict(conv=nn.Conv3d(config.level_channels[scale], config.num_classes, 1))
            )
            for scale in scales
        )

    def _decoded_levels(self, image_BCDHW: Tensor) -> list[Tensor]:
        levels: list[Tensor] = self.encoder(self._padded(image_BCDHW))
        decoded: list[Tensor] = self.decoder(levels)
        return decoded


class _Encoder(nn.Module):
    """Convolutions at full size beside four levels of attention."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        full, *channels = config.level_channels
        self.fine = ResidualConvs(config.in_channels, full, "instance")
        before = (config.in_channels, *channels)
        self.downs = nn.ModuleList(
            _down(before[level], channels[level], token_size(config) if level == 0 else (2, 2, 2))
            for level in range(len(channels))
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(
                    AttentionBlock(channels[level], places, _PROJECTED[level], config.num_heads[0])
                    for _ in range(config.depths[level])
                )
            )
            for level, places in enumerate(_places(config))
        )

    def forward(self, image_BCDHW: Tensor) -> list[Tensor]:
        """Return the features of full size and of the four levels."""
        levels = [self.fine(image_BCDHW)]
        x = image_BCDHW
        for down, block in zip(self.downs, self.blocks, strict=True):
            x = block(down(x))
            levels.append(x)
        return levels


class _Decoder(nn.Module):
    """Transposed convolutions, each added to the encoder's features and followed by blocks."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = config.level_channels
        strides = [token_size(config), (2, 2, 2), (2, 2, 2), (2, 2, 2)]
        self.ups = nn.ModuleList(
            nn.ConvTranspose3d(channels[i + 1], channels[i], strides[i], strides[i], bias=False)
            for i in range(4)
        )
        places, heads = _places(config), config.num_heads[0]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(
                    AttentionBlock(channels[level + 1], places[level], _PROJECTED[0], heads)
                    for _ in range(_DECODER_DEPTH)
                )
            )
            for level in range(3)
        )
        self.blocks.insert(0, ResidualConvs(channels[0], channels[0], "instance"))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Return the decoded features, finest first."""
        *skips, x = levels
        decoded = [x]
        for level in reversed(range(len(skips))):
            x = self.blocks[level](self.ups[level](x) + skips[level])
            decoded.insert(0, x)
        return decoded


class AttentionBlock(nn.Module):
    """Paired attention, then residual convolutions; each is added to what went in."""

    def __init__(self, channels: int, places: int, projected: int, heads: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(1, places, channels))
        self.norm = nn.LayerNorm(channels)
        self.gamma = nn.Parameter(torch.full((channels,), _FIRST_GAMMA))
        self.attention = PairedAttention(channels, places, projected, heads)
        self.convs = ResidualConvs(channels, channels, "batch")
        self.mix = nn.Sequential(nn.Dropout3d(_CHANNEL_DROPOUT), nn.Conv3d(channels, channels, 1))

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Return features of the same shape."""
        x_BNC = x_BCDHW.flatten(2).transpose(1, 2) + self.places
        x_BNC = x_BNC + self.gamma * self.attention(self.norm(x_BNC))
        attended = x_BNC.transpose(1, 2).reshape(x_BCDHW.shape)
        mixed: Tensor = attended + self.mix(self.convs(attended))
        return mixed


class PairedAttention(nn.Module):
    """Attention among channels and from places to a few projected ones, with shared queries.

    The published code lays the outcome of the attention over places out as (channels of a head,
    heads, places) and reads these numbers as (places, channels). The paper's figure has no such
    shuffle; the results that were published come from it, and so it is kept.
    """

    def __init__(self, channels: int, places: int, projected: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.channel_temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.place_temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkvv = nn.Linear(channels, 4 * channels, bias=False)
        self.project_places = nn.Linear(places, projected)
        self.dropout = Dropout(_DROPOUT)
        self.join_places = nn.Linear(channels, channels // 2)
        self.join_channels = nn.Linear(channels, channels // 2)
        for layer in (self.qkvv, self.project_places, self.join_places, self.join_channels):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Return features of the same shape: half of the channels from either attention."""
        batch, places, channels = x_BNC.shape
        parts = self.qkvv(x_BNC).view(batch, places, 4, self.heads, channels // self.heads)
        # (B, heads, channels of a head, N)
        query, key, channel_value, place_value = parts.permute(2, 0, 3, 4, 1)
        few_keys, few_values = self.project_places(key), self.project_places(place_value)
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        among = self.dropout((query @ key.transpose(-2, -1) * self.channel_temperature).softmax(-1))
        of_channels = (among @ channel_value).permute(0, 3, 1, 2).reshape(batch, places, channels)
        to = query.transpose(-2, -1) @ few_keys * self.place_temperature
        found = self.dropout(to.softmax(-1)) @ few_values.transpose(-2, -1)
        of_places = found.permute(0, 3, 1, 2).reshape(batch, places, channels)
        return torch.cat([self.join_places(of_places), self.join_channels(of_channels)], -1)


class ResidualConvs(nn.Module):
    """Two normalised convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        kind = nn.BatchNorm3d if norm == "batch" else nn.InstanceNorm3d
        self.conv1 = Conv3d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = kind(outputs)
        self.conv2 = Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = kind(outputs)
        self.conv3 = nn.Conv3d(inputs, outputs, 1, bias=False) if inputs != outputs else None
        self.norm3 = kind(outputs) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Map features to features."""
        out = F.leaky_relu(self.norm1(self.conv1(x)), _SLOPE)
        out = self.norm2(self.conv2(out))
        if self.conv3 is not None and self.norm3 is not None:
            x = self.norm3(self.conv3(x))
        return F.leaky_relu(out + x, _SLOPE)


def _down(inputs: int, outputs: int, stride: Size) -> nn.Sequential:
    conv = Conv3d(inputs, outputs, stride, stride, bias=False)
    groups = inputs if outputs % inputs == 0 else 1
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.GroupNorm(groups, outputs)))


def _places(config: NetworkConfig) -> list[int]:
    """Count the places of a patch at the four levels."""
    patch = patch_of(config)
    return [
        prod(edge // step for edge, step in zip(patch, scale, strict=True))
        for scale in level_scales(config)[1:]
    ]
