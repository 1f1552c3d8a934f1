"""Fresh class outputs that know from the first step how rare each class is.

Without this a network spends its first hundreds of steps on learning that most voxels are
background, and gives up the small classes on the way; see Docs/evidence.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

_PRIOR_PATCHES = 64
"""Patches that are enough to know the shares of the classes."""
_SMALLEST_SHARE = 1e-5
"""Of a class that is rarer, or in none of the patches, the logit would be too low to rise again."""
_CLASS_BIAS = re.compile(r"heads\.\d\.conv\.bias")


def first_labels(
    labels: Callable[[int, Sequence[int]], Tensor], batch_size: int
) -> Iterator[Tensor]:
    """Make the labels of the first training samples, as many as tell the shares of the classes."""
    steps = range(-(-_PRIOR_PATCHES // batch_size))
    return (labels(step, range(batch_size)) for step in steps)


def class_shares(labels: Iterable[Tensor], num_classes: int) -> Tensor:
    """Count how much of the voxels each class is.

    Args:
        labels: Classes of training samples; voxels of no class (values that are not from 0 to
            `num_classes` - 1) do not count.
        num_classes: Classes with the background.

    Returns:
        Share of each class (K), at least 0.00001.
    """
    counts = torch.zeros(num_classes, dtype=torch.float64)
    for label in labels:
        known = label[(label >= 0) & (label < num_classes)]
        counts += torch.bincount(known, minlength=num_classes).cpu()
    return (counts / counts.sum().clamp(min=1)).clamp(min=_SMALLEST_SHARE).float()


def set_class_prior(
    network: nn.Module, shares: Tensor, fresh: Collection[str] | None = None
) -> list[str]:
    """Let the class outputs of all scales begin at the shares of the classes.

    The label map of a coarse scale is the average of the fine one, so that its classes have the
    same shares. The weights of a class are centred, so that features that are alike on average add
    nothing to its share, and some of them speak for it. Rectified features can hardly lower what
    they add: where all speak against a rare class, an output would never rise above its bias.

    Args:
        network: A segmentation network; changed in place. Outputs beyond the classes stay as they
            are.
        shares: Share of each class (K).
        fresh: Names of the parameters that bring nothing from a training; None for all. Outputs
            that were trained stay as they are.

    Returns:
        Names of the biases that were set.
    """
    parameters = dict(network.named_parameters())
    chosen = [
        name
        for name in parameters
        if _CLASS_BIAS.fullmatch(name) and (fresh is None or name in fresh)
    ]
    with torch.no_grad():
        for name in chosen:
            parameters[name][: len(shares)] = shares.log()
            weight_KCDHW = parameters[name.removesuffix("bias") + "weight"][: len(shares)]
            weight_KCDHW -= weight_KCDHW.mean((1, 2, 3, 4), keepdim=True)
    return chosen
