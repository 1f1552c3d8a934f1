"""The published PCT-Net as its code computes it, restated to have something to compare with.

The layers are ours, which give the published logits; what costs time is done in the published way
(`net/transformer.py` of github.com/openmedlab/MIS-FM): tensors in the order of torch's default,
queries, keys and values of the padding too, the scores of all windows in memory at once, the bias
and the mask made anew in every forward, and torch's own PReLU.
"""

from __future__ import annotations

import copy
import itertools

import torch
import torch.nn.functional as F
from torch import nn

from MISFMLib.configs import Size
from MISFMLib.networks.activation import PReLU
from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.networks.window_attention import (
    TransformerBlock,
    WindowAttention,
)
from MISFMLib.networks.window_layout import relative_position_index


def as_published(network: SegmentationNetwork) -> SegmentationNetwork:
    """Return a copy of a PCT-Net that computes the same in the published way."""
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    for module in network.modules():
        if isinstance(module, TransformerBlock):
            module.attention = PublishedAttention(module.attention)
        for name, child in module.named_children():
            if isinstance(child, PReLU):
                activation = nn.PReLU()
                activation.weight = child.weight
                setattr(module, name, activation)
    return network.train(network.training)  # the new parts too


class PublishedAttention(nn.Module):
    """Window attention, step by step."""

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.spec, self.qkv, self.project = attention.spec, attention.qkv, attention.project
        self.bias_table = attention.bias_table
        index = relative_position_index(attention.spec.window, torch.device("cpu")).clone()
        self.register_buffer("index", index, persistent=False)

    def forward(self, tokens_BLC: torch.Tensor, grid: Size) -> torch.Tensor:
        """Return the attended tokens, same shape."""
        batch, _, channels = tokens_BLC.shape
        window, shift = self.spec.window, self.spec.shift
        d, h, w = (-(-n // window) * window for n in grid)
        padding = (0, 0, 0, w - grid[2], 0, h - grid[1], 0, d - grid[0])
        x = F.pad(tokens_BLC.view(batch, *grid, channels), padding)
        mask = shift_mask((d, h, w), window, shift).to(x.device) if shift else None
        x = torch.roll(x, (-shift,) * 3, (1, 2, 3)) if shift else x
        x = self._attend(partition(x, window), mask)
        x = x.view(batch, d // window, h // window, w // window, *(window,) * 3, channels)
        x = x.permute(0, 1, 4, 2, 5, 3, 6, 7).contiguous().view(batch, d, h, w, channels)
        x = torch.roll(x, (shift,) * 3, (1, 2, 3)) if shift else x
        return x[:, : grid[0], : grid[1], : grid[2]].contiguous().view_as(tokens_BLC)

    def _attend(self, windows: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        count, tokens, channels = windows.shape
        heads = self.spec.heads
        qkv = self.qkv(windows).reshape(count, tokens, 3, heads, channels // heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).contiguous()
        scores = (q * (channels // heads) ** -0.5) @ k.transpose(-2, -1).contiguous()
        bias = self.bias_table[self.index.view(-1)].view(tokens, tokens, heads)
        scores = scores + bias.permute(2, 0, 1).contiguous()[None]
        if mask is not None:
            split = scores.view(-1, len(mask), heads, tokens, tokens)
            scores = (split + mask[None, :, None]).view(count, heads, tokens, tokens)
        attended = F.dropout(scores.softmax(-1), self.spec.dropout, self.training) @ v
        projected = self.project(attended.transpose(1, 2).reshape(count, tokens, channels))
        return F.dropout(projected, self.spec.dropout, self.training)


def partition(x: torch.Tensor, window: int) -> torch.Tensor:
    """Cut (B, D, H, W, C) into (windows, tokens, C)."""
    batch, d, h, w, channels = x.shape
    x = x.view(batch, d // window, window, h // window, window, w // window, window, channels)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).contiguous().view(-1, window**3, channels)


def shift_mask(padded: Size, window: int, shift: int) -> torch.Tensor:
    """Return (windows, tokens, tokens): 0 for tokens that were neighbours, else -100."""
    regions = torch.zeros(1, *padded, 1)
    parts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    for number, (d, h, w) in enumerate(itertools.product(parts, parts, parts)):
        regions[:, d, h, w] = number
    regions = partition(regions, window)[..., 0]
    differences = regions[:, None] - regions[:, :, None]
    return differences.masked_fill(differences != 0, -100.0)
