"""A network on an NVIDIA GPU, its kernels recorded once for a size of windows and then replayed.

A window of PCT-Net takes some hundred kernels, many of them shorter than the time it takes to
launch one: replayed as a CUDA graph they follow each other without a gap. The weights are kept in
the number format of the computation, which autocast would make anew for every window.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from MISFMLib.configs import Precision
from MISFMLib.device import resolve_precision
from MISFMLib.inference.deviation import BOUNDS, RefusedError, measure_deviation

_log = logging.getLogger(__name__)

_WARM_UPS = 3
"""Runs in which cuDNN chooses its algorithms and what is kept between calls is made."""


@dataclass(frozen=True)
class _Recording:
    """Kernels for batches of one size, and the tensors that they read and write."""

    graph: Any
    image_BCDHW: torch.Tensor
    logits_BKDHW: torch.Tensor


class CUDANetwork(nn.Module):
    """Maps (B, C, d, h, w) on a GPU to logits (B, K, d, h, w), float32."""

    def __init__(self, network: nn.Module, device: torch.device, precision: Precision) -> None:
        """Copy a network to the device.

        Args:
            network: In evaluation mode.
            device: CUDA device.
            precision: fp32, bf16 or fp16.
        """
        super().__init__()
        self._device, self._dtype = device, resolve_precision(precision, device)
        self._network = _in_format(network, self._dtype).to(device)
        self._pool = torch.cuda.graph_pool_handle()
        self._recordings: dict[tuple[int, ...], _Recording] = {}

    @torch.inference_mode()
    def forward(self, image_BCDHW: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        shape = tuple(image_BCDHW.shape)
        if shape not in self._recordings:
            self._recordings[shape] = self._record(image_BCDHW)
        recording = self._recordings[shape]
        recording.image_BCDHW.copy_(image_BCDHW)
        recording.graph.replay()
        # The next replay writes to the same memory.
        return recording.logits_BKDHW.to(torch.float32, copy=True)

    def _record(self, image_BCDHW: torch.Tensor) -> _Recording:
        image_BCDHW = image_BCDHW.to(self._device, self._dtype, copy=True)
        with (
            torch.cuda.device(self._device),
            torch.autocast("cuda", enabled=False),
            torch.backends.cudnn.flags(enabled=True, benchmark=True),
        ):
            beside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            beside.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(beside):
                for _ in range(_WARM_UPS):
                    self._network(image_BCDHW)
            torch.cuda.current_stream(self._device).wait_stream(beside)
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the GPU meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                logits_BKDHW = self._network(image_BCDHW)
        return _Recording(graph, image_BCDHW, logits_BKDHW)


def record(
    network: nn.Module, device: torch.device, precision: Precision, image_BCDHW: torch.Tensor
) -> CUDANetwork:
    """Record a network and check it against its plain computation in float32.

    Args:
        network: The network in float32, in evaluation mode; left on the CPU.
        device: CUDA device.
        precision: fp32, bf16 or fp16.
        image_BCDHW: One window of a real volume.

    Raises:
        RefusedError: The result lies too far from the reference.
    """
    image_BCDHW = image_BCDHW.to(device)
    with torch.inference_mode():
        reference = network.to(device)(image_BCDHW)
    network.cpu()
    torch.cuda.empty_cache()  # what a recording uses is kept apart
    recorded = CUDANetwork(network, device, precision)
    deviation = measure_deviation(recorded(image_BCDHW), reference)
    _log.info("CUDA graph in %s: %s", precision, deviation)
    if deviation.exceeds(BOUNDS[precision]):
        raise RefusedError(f"The CUDA graph in {precision} is not accurate enough: {deviation}.")
    return recorded


def _in_format(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a network in a number format, but for batch and instance norms.

    Their statistics would lose digits; CUDA normalises values of 16 bits with numbers of 32.
    """
    copied = copy.deepcopy(network).to(dtype)
    for module in copied.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.float()
    return copied
