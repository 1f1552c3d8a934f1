"""TransUNet in 3D: nnU-Net's plain U-Net with a vision transformer at its bottom.

Chen et al., 3D TransUNet: Advancing Medical Image Segmentation through Vision Transformers, arXiv
2310.07781 (Medical Image Analysis 2024); facts from github.com/Beckschen/3D-TransUNet at 9f18182.
This is the encoder-only variant, which the paper finds best for many organs. The published code
begins with a transformer trained on photographs; here its weights are fresh.

Axis letters: B batch, L tokens, C channels, D depth, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from math import prod

import torch
from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig
from MISFMLib.networks.fixed_size import FixedSizeNetwork, patch_of
from MISFMLib.networks.resolution import stride_dhw
from MISFMLib.networks.staged_unet import StagedUNet

_HEAD_WIDTH = 64
_EPS = 1e-6


class TransUNet(FixedSizeNetwork, StagedUNet):
    """nnU-Net's stages with `depths[0]` layers of `num_heads[0]` heads between encoder and decoder.

    The features of the coarsest stage become tokens, one for each voxel, with a learned vector for
    each place; what the transformer makes of them takes their place.
    """

    placed = ("bottom.places",)

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        grid = (n // s for n, s in zip(patch_of(config), stride_dhw(config), strict=True))
        self.bottom = VisionTransformer(
            config.level_channels[-1], prod(grid), config.depths[0], config.num_heads[0]
        )


class VisionTransformer(nn.Module):
    """Layers of attention over all voxels of a small volume of features."""

    def __init__(self, channels: int, places: int, depth: int, heads: int) -> None:
        super().__init__()
        width = _HEAD_WIDTH * heads
        self.embed = nn.Conv3d(channels, width, 1)
        self.places = nn.Parameter(torch.zeros(1, places, width))
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.project = nn.Conv3d(width, channels, 1)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Return features of the same shape."""
        embedded = self.embed(x_BCDHW)
        tokens_BLC = embedded.flatten(2).transpose(1, 2) + self.places
        for layer in self.layers:
            tokens_BLC = layer(tokens_BLC)
        features = self.norm(tokens_BLC).transpose(1, 2).unflatten(2, embedded.shape[2:])
        projected: Tensor = self.project(features)
        return projected


class _Layer(nn.Module):
    """Attention and an MLP, each normalised before and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = nn.Sequential(
            OrderedDict(
                expand=nn.Linear(width, 4 * width),
                activation=nn.GELU(),
                shrink=nn.Linear(4 * width, width),
            )
        )

    def forward(self, tokens_BLC: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        batch, length, width = tokens_BLC.shape
        parts = self.qkv(self.norm1(tokens_BLC)).view(batch, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = nn.functional.scaled_dot_product_attention(query, key, value)
        tokens_BLC = tokens_BLC + self.project(found.transpose(1, 2).reshape(batch, length, width))
        mixed: Tensor = tokens_BLC + self.mlp(self.norm2(tokens_BLC))
        return mixed
