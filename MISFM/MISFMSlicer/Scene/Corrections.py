"""What a correction of labels has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.configs import LabelConfig

_BACKGROUND = 0
_VALUES = 256
"""Label maps of training sets hold 8 bits."""


@dataclass(frozen=True)
class Correction:
    """What a correction changed."""

    dice: float | None
    """Mean Dice before and after over the labels that either has; None when neither has any."""
    changedVoxels: int


def keptLabels(trainingSet: TrainingSet, row: CaseRow) -> Path | None:
    """Return the labels of a case that somebody has kept, also if it was left out since."""
    path = trainingSet.label_map(row.name)
    isKept = row.is_labelled or (row.status == "left out" and path.exists())
    return path if isKept else None


def compare(before: np.ndarray, after: np.ndarray) -> Correction:
    """Compare labels (k, j, i) before and after a correction."""
    labelled = (before != _BACKGROUND) | (after != _BACKGROUND)  # few, and all that can differ
    pairs = before[labelled].astype(np.uint16) * _VALUES + after[labelled]
    counts = np.bincount(pairs, minlength=_VALUES**2).reshape(_VALUES, _VALUES)
    sizes = (counts.sum(axis=0) + counts.sum(axis=1))[1:]
    scores = 2.0 * counts.diagonal()[1:][sizes > 0] / sizes[sizes > 0]
    changed = int(counts.sum() - counts.trace())
    return Correction(float(scores.mean()) if scores.size else None, changed)


def columns(row: CaseRow, change: Correction, minutes: float) -> dict[str, Any]:
    """Return what the table of a set says of a correction.

    Args:
        row: The case as it was before.
        change: What the correction changed.
        minutes: How long it took.
    """
    # Done may be pressed before anything was drawn: whether there is nothing is left to Check.
    isSeen = not change.changedVoxels and (change.dice is not None or row.status == "checked")
    told: dict[str, Any] = {"status": "checked" if isSeen else "corrected"}
    if not row.is_labelled:
        told["minutes"] = round(minutes, 2)
    if row.status == "proposed":
        dice = None if change.dice is None else round(change.dice, 4)
        told |= {"dice": dice, "changed_voxels": change.changedVoxels}
    return told


def drawnIn(before: np.ndarray, after: np.ndarray, labels: Sequence[LabelConfig]) -> set[str]:
    """Return the names of the labels to which a correction has given voxels."""
    given = np.unique(after[after != before])
    return {label.name for label in labels if label.value in given}


def absentIn(array: np.ndarray, labels: Sequence[LabelConfig]) -> list[LabelConfig]:
    """Return the labels without a voxel."""
    counts = sum(np.bincount(plane.ravel(), minlength=_VALUES) for plane in array)
    return [label for label in labels if not counts[label.value]]
