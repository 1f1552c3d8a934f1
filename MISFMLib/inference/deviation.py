"""How far the logits of one way to compute a network lie from those of the reference."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from MISFMLib.configs import SegmentPrecision
from MISFMLib.device import autocast
from MISFMLib.networks.staged_unet import StagedUNet

_log = logging.getLogger(__name__)

_SLICES = 8
_ENOUGH = 100
"""Voxels from which the Dice of a class says something: a single one changes it by 0.005."""
SAME_LABELS = 0.997
"""Mean Dice over the classes from which a number format changes labels by so little that nobody has
to ask for it. Trained models show 0.999 in bfloat16; those that were hardly trained decide many
voxels by so little that it turns them, though its error is no larger."""


@dataclass(frozen=True)
class Deviation:
    """Difference between two tensors of logits, or the largest that is accepted."""

    max_error: float
    """Largest difference as a part of the reference's largest magnitude."""
    rms_error: float
    """Root mean square of the difference as a part of that of the reference."""
    agreement: float
    """Part of the voxels that get the same class."""
    mean_dice: float = 1.0
    """Mean over the foreground classes with enough voxels; not bounded."""

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
            f"{self.agreement:.4%} of the voxels in the same class, "
            f"mean Dice of the classes {self.mean_dice:.4f}"
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
    logits_BKDHW: torch.Tensor,
    reference: torch.Tensor | SlicesOfLogits,
    *,
    is_regional: bool = False,
) -> Deviation:
    """Compare logits with those of the reference, some slices at a time.

    Args:
        logits_BKDHW: Logits to judge, any number format.
        reference: Logits to compare with, same shape, not all zero; or what gives their slices.
        is_regional: Every channel is a region of its own, which may overlap others.
    """
    largest = largest_reference = squares = reference_squares = 0.0
    overlap = _Overlap(logits_BKDHW.shape[1], is_regional=is_regional)
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
        overlap.add(logits, exact)
    return Deviation(
        max_error=largest / (largest_reference or math.nan),
        rms_error=math.sqrt(squares / (reference_squares or math.nan)),
        agreement=overlap.equal * logits_BKDHW.shape[1] / logits_BKDHW.numel(),
        mean_dice=overlap.mean_dice(),
    )


def deviation_of_autocast(
    network: nn.Module,
    image_BCDHW: torch.Tensor,
    precision: SegmentPrecision,
    is_regional: bool,
) -> Deviation:
    """Measure what PyTorch loses by a number format on one window, on the device of both."""
    with torch.inference_mode():
        reference = reference_logits(network, image_BCDHW)
        with autocast(image_BCDHW.device, precision):
            logits_BKDHW = network(image_BCDHW)
        deviation = measure_deviation(logits_BKDHW, reference, is_regional=is_regional)
    _log.info("PyTorch in %s: %s", precision, deviation)
    return deviation


def raise_for_other_labels(mean_dice: float, precision: str, *, wanted: str) -> None:
    """Refuse a number format that changes labels, unless it is the one that a user wants.

    Raises:
        RefusedError: It does.
    """
    if precision != wanted and mean_dice < SAME_LABELS:
        raise RefusedError(f"{precision} would change labels: mean Dice {mean_dice:.4f}.")


class _Overlap:
    """Counts the voxels of each class, or region, in two sets of logits."""

    def __init__(self, classes: int, *, is_regional: bool) -> None:
        self._is_regional = is_regional
        self._both, self._sizes = torch.zeros(classes), torch.zeros(classes)
        self.equal = 0

    def add(self, first_BKDHW: torch.Tensor, second_BKDHW: torch.Tensor) -> None:
        """Count some slices."""
        classes = len(self._both)
        if self._is_regional:
            first, second = (t.movedim(1, 0).flatten(1) > 0 for t in (first_BKDHW, second_BKDHW))
            self.equal += int((first == second).all(0).sum())
            both, sizes = (first & second).sum(1), first.sum(1) + second.sum(1)
        else:
            first, second = (t.argmax(1).flatten() for t in (first_BKDHW, second_BKDHW))
            equal = first[first == second]
            self.equal += len(equal)
            both = equal.bincount(minlength=classes)
            sizes = torch.cat((first, second)).bincount(minlength=classes)
        self._both += both.cpu()
        self._sizes += sizes.cpu()

    def mean_dice(self) -> float:
        """Return the mean over the classes, without the background, that have enough voxels."""
        dice = 2 * self._both / self._sizes
        counts = self._sizes >= 2 * _ENOUGH
        counts[0] &= self._is_regional
        return float(dice[counts].mean()) if counts.any() else 1.0


def _larger(largest: float, values: torch.Tensor) -> float:
    """Return the largest magnitude; what is no number stays none."""
    found = float(values.abs().max())
    return math.nan if math.isnan(found + largest) else max(largest, found)
