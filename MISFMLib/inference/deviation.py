"""How far the logits of one way to compute a network lie from those of the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

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


def measure_deviation(logits_BKDHW: torch.Tensor, reference_BKDHW: torch.Tensor) -> Deviation:
    """Compare logits with those of the reference.

    Args:
        logits_BKDHW: Logits to judge, any number format.
        reference_BKDHW: Logits to compare with, same shape, not all zero.
    """
    largest = largest_reference = squares = reference_squares = 0.0
    equal = 0
    # Some slices at a time: a hundred classes of a whole window are a gigabyte.
    depth = reference_BKDHW.shape[2]
    for start in range(0, depth, _SLICES):
        part = slice(start, start + _SLICES)
        logits, reference = logits_BKDHW[:, :, part], reference_BKDHW[:, :, part].float()
        difference = logits.float() - reference
        largest = _larger(largest, difference)
        largest_reference = _larger(largest_reference, reference)
        squares += float(difference.square().sum(dtype=torch.float64))
        reference_squares += float(reference.square().sum(dtype=torch.float64))
        equal += int((logits.argmax(1) == reference.argmax(1)).sum())
    return Deviation(
        max_error=largest / (largest_reference or math.nan),
        rms_error=math.sqrt(squares / (reference_squares or math.nan)),
        agreement=equal * reference_BKDHW.shape[1] / reference_BKDHW.numel(),
    )


def _larger(largest: float, values: torch.Tensor) -> float:
    """Return the largest magnitude; what is no number stays none."""
    found = float(values.abs().max())
    return math.nan if math.isnan(found + largest) else max(largest, found)
