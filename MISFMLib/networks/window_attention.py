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
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISFMLib.configs import Size
from MISFMLib.networks.dropout import Dropout, drop

_BLOCKED = -100.0
"""Added to the scores of tokens that the shift made neighbours by chance; the published value."""


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


@dataclass(frozen=True)
class WindowGroup:
    """Windows with the same bias."""

    borders: tuple[bool, bool, bool]
    """Axes along which they hold the border that the shift wrapped around."""
    tokens: tuple[int, ...]
    """Places of the window that count as tokens; one key stands for the others, if there are."""


@dataclass(frozen=True)
class WindowLayout:
    """How a token grid is cut into windows; the windows of a group are neighbours."""

    groups: tuple[WindowGroup, ...]
    gather: tuple[Tensor, Tensor, Tensor]
    """For each query, key and value its row in the flattened (B, L + 1, 3) rows, the last token of
    each sample being the padding token."""
    group_sizes: tuple[list[int], list[int], list[int]]
    """Queries, keys and values in each group."""
    scatter: Tensor
    """For each of the B x L tokens its place among the queries."""


@functools.lru_cache(maxsize=64)
def window_layout(
    batch_size: int,
    grid: Size,
    window: int,
    shift: int,
    merges_padding: bool,
    device: torch.device,
) -> WindowLayout:
    """Lay windows over a token grid: pad to multiples, shift cyclically, cut, group by bias.

    Args:
        batch_size: Samples.
        grid: Tokens along each axis.
        window: Edge of the windows.
        shift: Tokens by which they are displaced.
        merges_padding: Padding makes no queries, and one key for all of it; else it is like tokens.
        device: Where the tensors are wanted.
    """
    # Cached tensors must also serve training, which cannot save tensors of the inference mode.
    with torch.inference_mode(False):
        length = grid[0] * grid[1] * grid[2]
        groups = _grouped(_windows(grid, window, shift), shift, length if merges_padding else None)
        offsets = torch.arange(batch_size).view(-1, 1, 1) * (length + 1)
        queries, keys = [], []
        for group, windows in groups.items():
            tokens = torch.stack(windows)[:, list(group.tokens)]
            one_more = int(len(group.tokens) < window**3)
            queries.append((tokens + offsets).flatten())
            keys.append((F.pad(tokens, (0, one_more), value=length) + offsets).flatten())
        q, k = torch.cat(queries), torch.cat(keys)
        places = torch.empty(batch_size * (length + 1), dtype=torch.int64)
        places[q] = torch.arange(len(q))
        scatter = places.view(batch_size, length + 1)[:, :-1].flatten()
        query_counts, key_counts = [len(part) for part in queries], [len(part) for part in keys]
        return WindowLayout(
            groups=tuple(groups),
            gather=((3 * q).to(device), (3 * k + 1).to(device), (3 * k + 2).to(device)),
            group_sizes=(query_counts, key_counts, key_counts),
            scatter=scatter.to(device),
        )


def _windows(grid: Size, window: int, shift: int) -> Tensor:
    """Return the number of the token at each place, (D, H, W windows, n); that of padding is L."""
    length = grid[0] * grid[1] * grid[2]
    padded = [-(-n // window) * window for n in grid]
    tokens = torch.full(padded, length)
    tokens[: grid[0], : grid[1], : grid[2]] = torch.arange(length).view(grid)
    tokens = tokens.roll((-shift, -shift, -shift), (0, 1, 2))
    d, h, w = (n // window for n in padded)
    windows = tokens.view(d, window, h, window, w, window).permute(0, 2, 4, 1, 3, 5)
    return windows.reshape(d, h, w, window**3)


def _grouped(
    windows_DHWn: Tensor, shift: int, padding: int | None
) -> dict[WindowGroup, list[Tensor]]:
    """Put windows into groups; tokens with the number `padding` do not count as such."""
    groups: dict[WindowGroup, list[Tensor]] = {}
    shape = windows_DHWn.shape[:3]
    for place in product(*map(range, shape)):
        window = windows_DHWn[place]
        z, y, x = (shift > 0 and i == n - 1 for i, n in zip(place, shape, strict=True))
        tokens = range(len(window)) if padding is None else (window != padding).nonzero()[:, 0]
        group = WindowGroup(borders=(z, y, x), tokens=tuple(map(int, tokens)))
        groups.setdefault(group, []).append(window)
    return groups


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
