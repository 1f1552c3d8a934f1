"""How the windows of attention lie over a token grid, plain or shifted, and what they may not see.

Layouts, masks and indices are kept between calls; run a network once before tracing or exporting
it, so that they enter the graph as constants.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from MISFMLib.configs import Size

_BLOCKED = -1000.0
"""Added to the scores of tokens that the shift made neighbours by chance.

The published -100 leaves them a weight of 4e-44, which changes no result; but so small a number is
not a normal one, and a softmax full of them takes four times as long on a CPU. This leaves zero.
"""


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
        0 for tokens of the same origin, and what leaves no weight otherwise.
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
