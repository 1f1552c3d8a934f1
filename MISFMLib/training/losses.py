"""What a segmentation network is trained to make small: Dice and cross-entropy at every scale.

Axes: B batch, K class, D depth, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss
from torch import nn

from MISFMLib.data.datasets import UNLABELLED, Batch

_NEVER = -1e4
"""Logit of a class that cannot be; finite, so that 0 times its logarithm is 0."""


class SegmentationLoss(nn.Module):
    """Half Dice and half cross-entropy, summed over the scales of a deeply supervised network.

    Dice counts the voxels of the whole batch together. Cross-entropy covers all classes and is
    computed from logits, so that it stays finite where a probability underflows. Coarser scales
    count 1/2, 1/4, 1/8 and are compared with the label map averaged over their voxels, i.e. with
    soft labels (PyMIC, `DeepSuperviseLoss`, mode 2).

    Where a class was not drawn in a case, background there means background or that class, and the
    sum of their probabilities is compared: nothing is learnt for or against the class.
    """

    def __init__(self, *, include_background: bool = False) -> None:
        """Set up the loss.

        Args:
            include_background: Let the background count in Dice like every other class, as
                published. Where it is most of the volume, its Dice is close to 1 from the first
                steps on and only dilutes that of the others.
        """
        super().__init__()
        self.dice_and_cross_entropy = DiceCELoss(
            include_background=include_background,
            softmax=True,
            batch=True,
            lambda_dice=0.5,
            lambda_ce=0.5,
        )

    def emphasise(self, classes: Collection[int], shares_K: torch.Tensor) -> None:
        """Let the voxels of some classes count more in the cross-entropy, and no others.

        Args:
            classes: Each counts by the square root of how much rarer it is than the background.
            shares_K: Share of every class, above 0.
        """
        weight_K = torch.ones(len(shares_K))
        for index in classes:
            weight_K[index] = (shares_K[0] / shares_K[index]).sqrt().clamp(min=1)
        self.dice_and_cross_entropy.cross_entropy.weight = weight_K if classes else None

    def forward(
        self, logits_BKDHW: torch.Tensor | Sequence[torch.Tensor], batch: Batch
    ) -> torch.Tensor:
        """Return the loss as a scalar.

        Args:
            logits_BKDHW: Output of the network; with deep supervision a list, finest first.
            batch: Labels (B, D, H, W) at full resolution; voxels that nobody labelled do not
                count, nor do coarse voxels that hold one.
        """
        scales = [logits_BKDHW] if isinstance(logits_BKDHW, torch.Tensor) else list(logits_BKDHW)
        self.to(scales[0].device)  # where classes are emphasised, their weights
        is_known_BDHW = batch.label_BDHW != UNLABELLED
        label_BDHW = batch.label_BDHW * is_known_BDHW
        target_BKDHW = _one_hot(label_BDHW, scales[0].shape[1])
        weights = [0.5**level for level in range(len(scales))]
        losses = []
        if batch.not_drawn_BK is not None:
            target_BKDHW = _drawn_only(target_BKDHW, batch.not_drawn_BK)
        for weight, logits in zip(weights, scales, strict=True):
            pair = logits.float(), _at_size(target_BKDHW, logits)
            if batch.not_drawn_BK is not None:
                pair = _with_background(pair[0], batch.not_drawn_BK), pair[1]
            if not bool(is_known_BDHW.all()):
                is_known = _at_size(is_known_BDHW[:, None].float(), logits)[:, 0] == 1
                pair = _known(pair[0], is_known), _known(pair[1], is_known)
            losses.append(weight * self.dice_and_cross_entropy(*pair))
        return torch.stack(losses).sum() / sum(weights)


def _with_background(logits_BKDHW: torch.Tensor, not_drawn_BK: torch.Tensor) -> torch.Tensor:
    """Give the background the probability of the classes that were not drawn, and them none."""
    absent = not_drawn_BK[:, : logits_BKDHW.shape[1], None, None, None]
    together = absent.clone()
    together[:, 0] = True
    background = logits_BKDHW.masked_fill(~together, -math.inf).logsumexp(1, keepdim=True)
    rest = logits_BKDHW.masked_fill(absent, _NEVER)[:, 1:]
    return torch.cat([background, rest], dim=1)


def _drawn_only(target_BKDHW: torch.Tensor, not_drawn_BK: torch.Tensor) -> torch.Tensor:
    """Call background what the label map holds of classes that are said not to be drawn."""
    absent = not_drawn_BK[:, : target_BKDHW.shape[1], None, None, None]
    stray = (target_BKDHW * absent).sum(1)
    target_BKDHW = target_BKDHW.masked_fill(absent, 0)
    target_BKDHW[:, 0] += stray
    return target_BKDHW


def _known(values_BKDHW: torch.Tensor, is_known_BDHW: torch.Tensor) -> torch.Tensor:
    """Return the known voxels in a row (1, K, N, 1, 1): both losses take all voxels together."""
    row_NK = values_BKDHW.movedim(1, -1)[is_known_BDHW]
    if not len(row_NK):  # nothing to learn here: one voxel that everybody agrees on
        row_NK = torch.zeros_like(values_BKDHW.movedim(1, -1)[:1, 0, 0, 0])
    return row_NK.T[None, :, :, None, None]


def _one_hot(label_BDHW: torch.Tensor, num_classes: int) -> torch.Tensor:
    return F.one_hot(label_BDHW, num_classes).movedim(-1, 1).float()


def _at_size(target_BKDHW: torch.Tensor, logits_BKDHW: torch.Tensor) -> torch.Tensor:
    """Average the target over the voxels that each coarse voxel covers."""
    if target_BKDHW.shape[2:] == logits_BKDHW.shape[2:]:
        return target_BKDHW
    depth, height, width = logits_BKDHW.shape[2:]
    return F.adaptive_avg_pool3d(target_BKDHW, (depth, height, width))
