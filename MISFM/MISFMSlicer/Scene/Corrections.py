"""What a correction of labels has changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from MISFMLib.annotation.case_table import CaseRow

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


def columns(row: CaseRow, change: Correction, minutes: float) -> dict[str, Any]:
    """Return what the table of a set says of a correction.

    Args:
        row: The case as it was before.
        change: What the correction changed.
        minutes: How long it took.
    """
    told: dict[str, Any] = {"status": "corrected" if change.changedVoxels else "checked"}
    if not row.is_labelled:
        told["minutes"] = round(minutes, 2)
    if row.status == "proposed":
        dice = None if change.dice is None else round(change.dice, 4)
        told |= {"dice": dice, "changed_voxels": change.changedVoxels}
    return told
