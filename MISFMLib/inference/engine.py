"""A network that is ready to compute windows, and the work that it is chosen for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from MISFMLib.configs import SegmentPrecision
from MISFMLib.inference.deviation import RefusedError

_log = logging.getLogger(__name__)


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


def attempt(what: str, make: Callable[..., Any], *arguments: Any) -> Any:
    """Return what is made, None, or the error that says why nothing could be."""
    try:
        return make(*arguments)
    except RefusedError as error:
        return error
    except Exception as error:  # of a program that is not ours: plain PyTorch can do its work
        _log.warning("%s failed.", what, exc_info=True)
        return UnavailableError(f"{what} failed: {error}")
