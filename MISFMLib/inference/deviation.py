"""How far the logits of one way to compute a network lie from those of the reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch


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


def measure_deviation(logits_BKDHW: torch.Tensor, reference_BKDHW: torch.Tensor) -> Deviation:
    """Compare logits with those of the reference.

    Args:
        logits_BKDHW: Logits to judge, any number format.
        reference_BKDHW: Logits to compare with, same shape, not all zero.
    """
    reference = reference_BKDHW.float()
    difference = logits_BKDHW.float() - reference
    same_class = logits_BKDHW.argmax(1) == reference_BKDHW.argmax(1)
    return Deviation(
        max_error=float(difference.abs().max() / reference.abs().max()),
        rms_error=float(difference.square().mean().sqrt() / reference.square().mean().sqrt()),
        agreement=float(same_class.float().mean()),
    )
