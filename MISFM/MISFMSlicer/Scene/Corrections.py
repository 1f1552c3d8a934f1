"""What a correction of labels has changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BACKGROUND = 0


@dataclass(frozen=True)
class Correction:
    """What a correction changed."""

    dice: float | None
    """Mean Dice before and after over the labels that either has; None when neither has any."""
    changedVoxels: int


def compare(before: np.ndarray, after: np.ndarray) -> Correction:
    """Compare labels (k, j, i) before and after a correction."""
    labelled = (before != _BACKGROUND) | (after != _BACKGROUND)  # few, and all that can differ
    before, after = before[labelled], after[labelled]
    scores = []
    for value in np.union1d(np.unique(before), np.unique(after)):
        if value != _BACKGROUND:
            old, new = before == value, after == value
            scores.append(2.0 * float((old & new).sum()) / float(old.sum() + new.sum()))
    changed = int((before != after).sum())
    return Correction(sum(scores) / len(scores) if scores else None, changed)
