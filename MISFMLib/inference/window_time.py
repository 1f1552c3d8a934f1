"""How long this machine takes for a window: measured once, before anybody waits for a volume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from MISFMLib.inference.sliding_window import Placement, predict_logits
from MISFMLib.inference.windows import WindowConfig

_LONG_S = 4.0
"""A window that takes longer is not computed again."""


@dataclass(frozen=True)
class WindowFigures:
    """What a window costs on this machine."""

    device: str
    engine: str
    """Program that computed it, and its version."""
    seconds: float
    """For one window of a batch."""
    device_peak_bytes: int
    """Most memory that was in use on a CUDA device; 0 on others."""
    can_convert: bool
    """Whether a faster program takes over as soon as that pays."""


class InterruptedMeasurementError(Exception):
    """Somebody needs the network for a volume."""


def window_seconds(
    network: nn.Module,
    channels: int,
    config: WindowConfig,
    placement: Placement,
    is_wanted: Callable[[], bool],
) -> float:
    """Compute a batch of windows of noise as volumes are computed; return the seconds of one.

    Args:
        network: Maps (B, C, d, h, w) to logits; it is on the device.
        channels: C.
        config: Windows; mirror images are not measured, which take as long again each.
        placement: Devices and number format.
        is_wanted: Asked between the parts of the network whether a volume waits for it.

    Raises:
        InterruptedMeasurementError: One does.
    """
    config = replace(config, overlap=0.5, mirroring=False)
    *edges, width = config.patch_size
    width += (config.batch_size - 1) * max(1, width // 2)
    generator = torch.Generator().manual_seed(0)
    image_CDHW = torch.randn((channels, *edges, width), generator=generator)
    quickest = math.inf
    with _interruptible(network, is_wanted):
        for _ in range(2):  # the first time PyTorch also chooses its kernels
            start = time.perf_counter()
            predict_logits(network, image_CDHW, config, placement)
            seconds = (time.perf_counter() - start) / config.batch_size
            quickest = min(quickest, seconds)
            if seconds > _LONG_S:
                break
    return quickest


@contextmanager
def counted_windows(network: nn.Module) -> Iterator[list[int]]:
    """Collect the size of every batch that a network computes in the block."""
    batches: list[int] = []
    hook = network.register_forward_pre_hook(lambda _module, inputs: batches.append(len(inputs[0])))
    try:
        yield batches
    finally:
        hook.remove()


@contextmanager
def _interruptible(network: nn.Module, is_wanted: Callable[[], bool]) -> Iterator[None]:
    def stop(*_arguments: Any) -> None:
        if is_wanted():
            raise InterruptedMeasurementError

    hooks = [module.register_forward_pre_hook(stop) for module in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
