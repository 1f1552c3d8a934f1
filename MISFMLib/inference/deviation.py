"""How far the logits of one way to compute a network lie from those of the reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from MISFMLib.networks.staged_unet import StagedUNet

_SLICES = 8


@dataclass(frozen=True)
class Deviation:
    """Difference between two tensors of logits, or the largest that is accepted."""

    max_error: float
    """Largest difference as a part of the reference's largest magnitude."""
    rms_error: float
    """Root mean square of the difference as a part of that of the reference."""
    agreement: float
    """Part of the voxels that get the same class."""

    def exceeds(self, bound: Deviation) -> bool:
        """Tell whether any of the numbers is worse than in `bound`, or is no number."""
        is_within = (
            self.max_error <= bound.max_error
            and self.rms_error <= bound.rms_error
            and self.agreement >= bound.agreement
        )
        return not is_within

    def __str__(self) -> str:
        return (
            f"largest error {self.max_error:.1e}, rms error {self.rms_error:.1e}, "
            f"{self.agreement:.4%} of the voxels in the same class"
        )


BOUNDS = {
    "fp32": Deviation(1e-4, 1e-4, 0.9999),
    "bf16": Deviation(0.05, 0.01, 0.995),
    "fp16": Deviation(0.05, 0.01, 0.995),
}
"""What is accepted of each number format. Trained PCT-Nets show 1e-6 in float32, and in bfloat16
1e-2, rms 3e-3, with 0.9998 of the voxels in the same class. Instance norms over few voxels show up
to 1e-5 in float32."""


class RefusedError(Exception):
    """A way to compute a network lies too far from the reference; the message is a sentence."""


SlicesOfLogits = Callable[[slice], torch.Tensor]
"""Gives some slices of logits, (B, K, d, H, W)."""


def reference_logits(network: nn.Module, image_BCDHW: torch.Tensor) -> SlicesOfLogits:
    """Compute a network as PyTorch does.

    A hundred classes of a whole window are a gigabyte. Where the logits of a voxel come from the
    features of that voxel alone, those are kept instead, a quarter of that.
    """
    if isinstance(network, StagedUNet) and not network.config.deep_supervision:
        features_BCDHW, head = network.features(image_BCDHW)[0], network.heads[0]
        return lambda part: head(features_BCDHW[:, :, part])
    logits_BKDHW: torch.Tensor = network(image_BCDHW)
    return lambda part: logits_BKDHW[:, :, part]


def measure_deviation(
    logits_BKDHW: torch.Tensor, reference: torch.Tensor | SlicesOfLogits
) -> Deviation:
    """Compare logits with those of the reference, some slices at a time.

    Args:
        logits_BKDHW: Logits to judge, any number format.
        reference: Logits to compare with, same shape, not all zero; or what gives their slices.
    """
    largest = largest_reference = squares = reference_squares = 0.0
    equal = 0
    for start in range(0, logits_BKDHW.shape[2], _SLICES):
        part = slice(start, start + _SLICES)
        logits = logits_BKDHW[:, :, part]
        given = reference[:, :, part] if isinstance(reference, torch.Tensor) else reference(part)
        exact = given.float()
        difference = logits.float() - exact
        largest = _larger(largest, difference)
        largest_reference = _larger(largest_reference, exact)
        squares += float(difference.square().sum(dtype=torch.float64))
        reference_squares += float(exact.square().sum(dtype=torch.float64))
        equal += int((logits.argmax(1) == exact.argmax(1)).sum())
    return Deviation(
        max_error=largest / (largest_reference or math.nan),
        rms_error=math.sqrt(squares / (reference_squares or math.nan)),
        agreement=equal * logits_BKDHW.shape[1] / logits_BKDHW.numel(),
    )


def _larger(largest: float, values: torch.Tensor) -> float:
    """Return the largest magnitude; what is no number stays none."""
    found = float(values.abs().max())
    return math.nan if math.isnan(found + largest) else max(largest, found)
