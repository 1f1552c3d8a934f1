"""Self-attention inside the cubic windows of a token grid, plain or shifted.

The computation is that of the published PCT-Net (`net/transformer.py` of
github.com/openmedlab/MIS-FM, in the line of nnFormer and Swin Transformer), including what a
rewrite would rather drop: the relative position index collides (see `relative_position_index`),
and padding tokens take part as keys and values. Layouts, masks and indices are kept between calls;
run a network once before tracing or exporting it, so that they enter the graph as constants.

Axis letters: B batch, L tokens (depth slowest, width fastest), C channels.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISFMLib.configs import Size
from MISFMLib.networks.dropout import Dropout, drop

_BLOCKED = -100.0
"""Added to the scores of tokens that the shift made neighbours by chance; the published value."""
_DROP_PATH = 0.2
"""Probability that training skips a branch for a sample; fixed in the published network."""


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


class TransformerBlock(nn.Module):
    """Window attention and an MLP, each normalised before and added to its input.

    In training either branch is skipped for a fifth of the samples (drop path).
    """

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__()
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
        return tokens_BLC + self._drop_path(self.mlp(self.norm2(tokens_BLC)))

    def _drop_path(self, branch_BLC: Tensor) -> Tensor:
        if not self.training:
            return branch_BLC
        kept_B = torch.rand(len(branch_BLC), 1, 1, device=branch_BLC.device) >= _DROP_PATH
        return branch_BLC * (kept_B / (1 - _DROP_PATH)).to(branch_BLC.dtype)


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
        self._bias_cache: tuple[object, Tensor] | None = None

    def forward(self, tokens_BLC: Tensor, grid: Size) -> Tensor:
        """Return the attended tokens, same shape; `grid` says how the L tokens lie in space."""
        spec = self.spec
        layout = window_layout(len(tokens_BLC), grid, spec.window, spec.shift, tokens_BLC.device)
        # One zero token behind the last stands for all padding, which comes after the norm.
        tokens = F.pad(tokens_BLC, (0, 0, 0, 1))
        qkv = F.embedding(layout.gather, self.qkv(tokens).flatten(0, 1))
        attended = [self._attend(windows, bias) for windows, bias in self._groups(qkv, layout)]
        out = F.embedding(layout.scatter, torch.cat(attended)).view_as(tokens_BLC)
        projected: Tensor = self.project_dropout(self.project(out))
        return projected

    def _groups(self, qkv: Tensor, layout: WindowLayout) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the windows that have the same mask together with bias plus mask."""
        bias = self._bias()
        sizes = [count * self.spec.window**3 for count in layout.group_sizes]
        for windows, borders in zip(torch.split(qkv, sizes), layout.group_borders, strict=True):
            if any(borders):
                mask = shift_mask(self.spec.window, self.spec.shift, borders, bias.device)
                yield windows, bias + mask
            else:
                yield windows, bias

    def _attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Attend within windows: (windows x tokens, 3C) to (windows x tokens, C)."""
        spec = self.spec
        width = spec.channels // spec.heads
        parts = qkv.view(-1, spec.window**3, 3, spec.heads, width)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        dropout = spec.dropout if self.training else 0.0
        bias = bias.to(q.dtype)
        if q.device.type == "cpu" and (torch.is_grad_enabled() or dropout):
            # With a bias to learn the fused one takes twice as long on a CPU, or longer.
            weights = (q * width**-0.5 @ k.transpose(-2, -1) + bias).softmax(-1)
            out: Tensor = drop(weights, dropout) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, bias, dropout)
        return out.transpose(1, 2).reshape(-1, spec.channels)

    def _bias(self) -> Tensor:
        """Spread the table to (1, heads, n, n), once for all calls that cannot change it.

        The spread bias is kept until gradients are computed again, or the table is loaded or moved.
        """
        table = self.bias_table
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or table.is_inference():
            self._bias_cache = None  # some optimizers change the table without counting a version
            return self._gather_bias()
        state = (table._version, table.data_ptr(), table.dtype, table.device)
        cached = self._bias_cache
        if cached is None or cached[0] != state:
            self._bias_cache = cached = (state, self._gather_bias())
        return cached[1]

    def _gather_bias(self) -> Tensor:
        index = relative_position_index(self.spec.window, self.bias_table.device)
        # Gathered along rows of heads: both passes take a hundredth of the time of table[index].
        rows = index.flatten().expand(self.spec.heads, -1)
        return self.bias_table.t().contiguous().gather(1, rows).view(1, -1, *index.shape)


@dataclass(frozen=True)
class WindowLayout:
    """How a token grid is cut into windows; windows that need the same mask are neighbours."""

    gather: Tensor
    """For each token of each window its place in the flattened (B, L + 1) tokens, the last of each
    sample being the padding token."""
    scatter: Tensor
    """For each of the B x L tokens its place in the windows."""
    group_sizes: tuple[int, ...]
    """Windows in each group."""
    group_borders: tuple[tuple[bool, bool, bool], ...]
    """Axes along which the windows of the group hold the border that the shift wrapped around."""


@functools.lru_cache(maxsize=64)
def window_layout(
    batch_size: int, grid: Size, window: int, shift: int, device: torch.device
) -> WindowLayout:
    """Lay windows over a token grid: pad to multiples, shift cyclically, cut, group by mask."""
    # Cached tensors must also serve training, which cannot save tensors of the inference mode.
    with torch.inference_mode(False):
        length = grid[0] * grid[1] * grid[2]
        padded = [-(-n // window) * window for n in grid]
        tokens = torch.full(padded, length)
        tokens[: grid[0], : grid[1], : grid[2]] = torch.arange(length).view(grid)
        tokens = tokens.roll((-shift, -shift, -shift), (0, 1, 2))
        d, h, w = (n // window for n in padded)
        windows = tokens.view(d, window, h, window, w, window).permute(0, 2, 4, 1, 3, 5)
        groups = list(_grouped(windows.reshape(d, h, w, window**3), shift))
        offsets = torch.arange(batch_size).view(-1, 1, 1) * (length + 1)
        gather = torch.cat([(group + offsets).flatten() for group, _ in groups])
        places = torch.empty(batch_size * (length + 1), dtype=torch.int64)
        places[gather] = torch.arange(len(gather))
        scatter = places.view(batch_size, length + 1)[:, :-1].flatten()
        return WindowLayout(
            gather=gather.to(device),
            scatter=scatter.to(device),
            group_sizes=tuple(batch_size * len(group) for group, _ in groups),
            group_borders=tuple(borders for _, borders in groups),
        )


def _grouped(windows: Tensor, shift: int) -> Iterator[tuple[Tensor, tuple[bool, bool, bool]]]:
    """Yield windows (count, tokens) and the axes along which they are the last."""
    if shift == 0:
        yield windows.flatten(0, 2), (False, False, False)
        return
    last = (False, True)
    for borders in product(last, last, last):
        group = windows[tuple(slice(-1, None) if is_last else slice(0, -1) for is_last in borders)]
        if group.numel():
            yield group.flatten(0, 2), borders


@functools.lru_cache(maxsize=64)
def shift_mask(
    window: int, shift: int, borders: tuple[bool, bool, bool], device: torch.device
) -> Tensor:
    """Build the mask (n, n), n = window^3, of windows whose tokens the shift brought together.

    Args:
        window: Edge of the window.
        shift: Tokens by which the windows were displaced.
        borders: Axes along which the window is the last, so that its final `shift` tokens come from
            the other end of the grid.
        device: Where the mask is wanted.

    Returns:
        0 for tokens of the same origin, -100 otherwise.
    """
    with torch.inference_mode(False):
        wrapped = torch.arange(window) >= window - shift
        inside = torch.zeros(window, dtype=torch.bool)
        z, y, x = (wrapped if last else inside for last in borders)
        region = (4 * z[:, None, None] + 2 * y[:, None] + 1 * x).flatten()
        mask = torch.where(region[:, None] == region, 0.0, _BLOCKED)
        return mask.to(device)


@functools.lru_cache(maxsize=16)
def relative_position_index(window: int, device: torch.device) -> Tensor:
    """Give the row of the bias table for each pair of tokens of a window.

    The published network multiplies the depth offset by 3w - 1 where (2w - 1)^2 would keep the rows
    of different offsets apart. So different offsets share rows; trained tables depend on it.

    Returns:
        (n, n) int64, n = window^3; [i, j] belongs to query i and key j.
    """
    with torch.inference_mode(False):
        axis = torch.arange(window)
        offset = axis[:, None] - axis + window - 1
        z = (3 * window - 1) * offset[:, None, None, :, None, None]
        y = (2 * window - 1) * offset[None, :, None, None, :, None]
        x = offset[None, None, :, None, None, :]
        return (z + y + x).reshape(window**3, window**3).to(device)
