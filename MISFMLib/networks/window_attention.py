"""Self-attention inside the cubic windows of a token grid, plain or shifted.

The computation is that of the published PCT-Net (`net/transformer.py` of
github.com/openmedlab/MIS-FM, in the line of nnFormer and Swin Transformer), including what a
rewrite would rather drop: the relative position index collides (see `relative_position_index`),
and padding tokens take part as keys and values. How the windows lie: `window_layout`.

Axis letters: B batch, L tokens (depth slowest, width fastest), C channels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISFMLib.configs import Size
from MISFMLib.networks.dropout import Dropout, drop
from MISFMLib.networks.window_layout import (
    WindowGroup,
    relative_position_index,
    shift_mask,
    window_layout,
)


@dataclass(frozen=True)
class AttentionSpec:
    """Shape of one attention block."""

    channels: int
    """Features per token."""
    heads: int
    """Attention heads; they share the channels evenly."""
    window: int
    """Edge of the windows in tokens."""
    shift: int
    """Tokens by which the windows are displaced along each axis; 0 for none."""
    dropout: float
    """Dropout probability of attention matrix, projection and MLP."""
    drop_path: float = 0.2
    """Probability that training skips a branch for a sample; the published PCT-Net has one."""


class TransformerBlock(nn.Module):
    """Window attention and an MLP, each normalised before and added to its input.

    In training either branch is skipped for a part of the samples (drop path).
    """

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__()
        self.drop_path = spec.drop_path
        self.norm1 = nn.LayerNorm(spec.channels)
        self.attention = WindowAttention(spec)
        self.norm2 = nn.LayerNorm(spec.channels)
        self.mlp = nn.Sequential(
            OrderedDict(
                expand=nn.Linear(spec.channels, 4 * spec.channels),
                activation=nn.GELU(),
                dropout1=Dropout(spec.dropout),
                shrink=nn.Linear(4 * spec.channels, spec.channels),
                dropout2=Dropout(spec.dropout),
            )
        )

    def forward(self, tokens_BLC: Tensor, grid: Size) -> Tensor:
        """Return new tokens of the same shape; `grid` says how the L tokens lie in space."""
        tokens_BLC = tokens_BLC + self._drop_path(self.attention(self.norm1(tokens_BLC), grid))
        return self.with_mlp(tokens_BLC)

    def with_mlp(self, tokens_BLC: Tensor) -> Tensor:
        """Return the second half of the block's answer."""
        return tokens_BLC + self._drop_path(self.mlp(self.norm2(tokens_BLC)))

    def _drop_path(self, branch_BLC: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return branch_BLC
        kept_B = torch.rand(len(branch_BLC), 1, 1, device=branch_BLC.device) >= self.drop_path
        return branch_BLC * (kept_B / (1 - self.drop_path)).to(branch_BLC.dtype)


class WindowAttention(nn.Module):
    """Multi-head attention inside each window, with a learned bias by relative position.

    Attributes:
        bias_table: Has the published shape ((2 window - 1)^3, heads), although the colliding index
            never reaches most rows: so it holds every published table unchanged.
    """

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__()
        self.spec = spec
        self.qkv = nn.Linear(spec.channels, 3 * spec.channels)
        self.project = nn.Linear(spec.channels, spec.channels)
        self.project_dropout = Dropout(spec.dropout)
        self.bias_table = nn.Parameter(torch.empty((2 * spec.window - 1) ** 3, spec.heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self._bias_cache: tuple[object, list[Tensor]] | None = None

    def forward(self, tokens_BLC: Tensor, grid: Size) -> Tensor:
        """Return the attended tokens, same shape; `grid` says how the L tokens lie in space."""
        # One zero token behind the last stands for all padding, which comes after the norm.
        return self.attend(self.qkv(F.pad(tokens_BLC, (0, 0, 0, 1))), tokens_BLC, grid)

    def attend(self, qkv_BLC: Tensor, tokens_BLC: Tensor, grid: Size) -> Tensor:
        """Attend within the windows.

        Args:
            qkv_BLC: Query, key and value side by side of every token, and of one more that stands
                for padding: (B, L + 1, 3 C).
            tokens_BLC: The tokens themselves.
            grid: How they lie in space.
        """
        spec, device = self.spec, tokens_BLC.device
        # Dropout needs the padding keys one by one; a GPU prefers few groups to little to compute.
        merges_padding = device.type == "cpu" and not self.training
        layout = window_layout(
            len(tokens_BLC), grid, spec.window, spec.shift, merges_padding, device
        )
        rows = qkv_BLC.reshape(-1, spec.channels)
        q, k, v = (
            torch.split(F.embedding(places, rows), sizes)
            for places, sizes in zip(layout.gather, layout.group_sizes, strict=True)
        )
        groups = zip(q, k, v, self._biases(layout.groups), strict=True)
        attended = torch.cat([self._attend(*group) for group in groups])
        out = F.embedding(layout.scatter, attended).view_as(tokens_BLC)
        projected: Tensor = self.project_dropout(self.project(out))
        return projected

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Attend within the windows of a group.

        Args:
            q: (windows x queries, C).
            k: (windows x keys, C).
            v: (windows x keys, C).
            bias: (1, heads, queries, keys).

        Returns:
            (windows x queries, C).
        """
        spec = self.spec
        width = spec.channels // spec.heads
        queries, keys = bias.shape[2:]
        q, k, v = (
            part.view(-1, tokens, spec.heads, width).transpose(1, 2)
            for part, tokens in ((q, queries), (k, keys), (v, keys))
        )
        dropout = spec.dropout if self.training else 0.0
        bias = bias.to(q.dtype)
        if q.device.type == "cpu" and (torch.is_grad_enabled() or dropout):
            # With a bias to learn the fused one takes twice as long on a CPU, or longer.
            weights = (q * width**-0.5 @ k.transpose(-2, -1) + bias).softmax(-1)
            out: Tensor = drop(weights, dropout) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, bias, dropout)
        return out.transpose(1, 2).reshape(-1, spec.channels)

    def _biases(self, groups: tuple[WindowGroup, ...]) -> list[Tensor]:
        """Give the bias of each group, made once for all calls that cannot change it.

        They are kept until gradients are computed again, the table is loaded or moved, or there are
        other groups.
        """
        table = self.bias_table
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or table.is_inference():
            self._bias_cache = None  # some optimizers change the table without counting a version
            return self._make_biases(groups)
        state = (groups, table._version, table.data_ptr(), table.dtype, table.device)
        cached = self._bias_cache
        if cached is None or cached[0] != state:
            self._bias_cache = cached = (state, self._make_biases(groups))
        return cached[1]

    def _make_biases(self, groups: tuple[WindowGroup, ...]) -> list[Tensor]:
        window, shift = self.spec.window, self.spec.shift
        biases, spread = [], self._gather_bias()
        for group in groups:
            bias = spread
            if any(group.borders):
                bias = bias + shift_mask(window, shift, group.borders, bias.device)
            if len(group.tokens) < window**3:
                bias = merge_padding(bias, group.tokens)
            biases.append(bias)
        return biases

    def _gather_bias(self) -> Tensor:
        """Spread the table to (1, heads, n, n)."""
        index = relative_position_index(self.spec.window, self.bias_table.device)
        # Gathered along rows of heads: both passes take a hundredth of the time of table[index].
        rows = index.flatten().expand(self.spec.heads, -1)
        return self.bias_table.t().contiguous().gather(1, rows).view(1, -1, *index.shape)


def merge_padding(bias: Tensor, tokens: Sequence[int]) -> Tensor:
    """Reduce a bias (1, heads, n, n) to some tokens, with one more key in place of all others.

    These others are padding and differ by their bias only. With a score s in common,
    exp(s + b1) + exp(s + b2) is exp(s + b) for b = log(exp(b1) + exp(b2)).
    """
    padding = sorted(set(range(bias.shape[-1])).difference(tokens))
    bias = bias[:, :, list(tokens)]
    merged = bias[..., padding].logsumexp(-1, keepdim=True)
    return torch.cat([bias[..., list(tokens)], merged], -1)
