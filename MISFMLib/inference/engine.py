"""A network that is ready to compute windows, and the work that it is chosen for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from MISFMLib.configs import SegmentPrecision


class UnavailableError(Exception):
    """A way to compute is not used; the message says why, as a sentence."""


@dataclass(frozen=True)
class Engine:
    """A network that is ready to compute windows."""

    network: nn.Module
    """Maps (B, C, d, h, w) to logits (B, K, d, h, w), on the device that was asked for."""
    precision: SegmentPrecision
    """Number format; PyTorch has to be put into it with `autocast`."""
    name: str
    """Program and version."""
    reason: str = ""
    """Why it is not what was asked for, as a sentence."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What has to be computed."""

    device: torch.device
    """Where."""
    windows: int
    """Number of the windows."""
    window_shape: tuple[int, int, int, int]
    """Channels, depth, height, width of a window."""
    sample: Callable[[], torch.Tensor]
    """Cuts one of the windows, (1, C, d, h, w), on the CPU."""
