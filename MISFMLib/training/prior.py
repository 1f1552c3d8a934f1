"""Fresh class outputs that know from the first step how rare each class is.

Without this a network spends its first hundreds of steps on learning that most voxels are
background, and gives up the small classes on the way; see Docs/evidence.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

from MISFMLib.data.datasets import Batch

PRIOR_PATCHES = 64
"""Patches that are enough to know the shares of the classes."""
_SMALLEST_SHARE = 1e-5
"""Of a class that is rarer, or in none of the patches, the logit would be too low to rise again."""
_CLASS_BIAS = re.compile(r"heads\.\d\.conv\.bias")


def class_shares(batches: Iterable[Batch], num_classes: int) -> Tensor:
    """Count how much of the voxels each class is.

    Args:
        batches: Training samples with their classes; voxels of no class (values that are not from
            0 to `num_classes` - 1) do not count.
        num_classes: Classes with the background.

    Returns:
        Share of each class (K), at least 0.00001.
    """
    counts = torch.zeros(num_classes, dtype=torch.float64)
    for batch in batches:
        label = batch.label_BDHW
        known = label[(label >= 0) & (label < num_classes)]
        counts += torch.bincount(known, minlength=num_classes).cpu()
    return (counts / counts.sum().clamp(min=1)).clamp(min=_SMALLEST_SHARE).float()


def set_class_prior(
    network: nn.Module, shares: Tensor, fresh: Collection[str] | None = None
) -> list[str]:
    """Let the class outputs of all scales begin at the shares of the classes.

    The label map of a coarse scale is the average of the fine one, so that its classes have the
    same shares.

    Args:
        network: A segmentation network; changed in place.
        shares: Share of each class (K).
        fresh: Names of the parameters that bring nothing from a training; None for all. Outputs
            that were trained keep their bias.

    Returns:
        Names of the parameters that were set.
    """
    chosen = {
        name: parameter
        for name, parameter in network.named_parameters()
        if _CLASS_BIAS.fullmatch(name) and (fresh is None or name in fresh)
    }
    with torch.no_grad():
        for parameter in chosen.values():
            parameter.copy_(shares.log())
    return list(chosen)
