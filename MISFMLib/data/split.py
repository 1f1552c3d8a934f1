"""Which cases a network learns from and which are held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from MISFMLib.data.cases import LabelledSet, Split, listed, read_json
from MISFMLib.errors import DataError


def choose_split(
    found: LabelledSet, path: Path | None, *, validation_fraction: float, seed: int
) -> Split:
    """Choose the split: from a file, else the data set's own, else drawn at random.

    Args:
        found: The data set.
        path: JSON file with the lists train and validation, or None.
        validation_fraction: Part of the cases to hold out when the split is drawn.
        seed: Seed of the draw.

    Raises:
        DataError: The split names cases that the data set lacks, or one case on both sides, or
            leaves nothing to learn from.
    """
    if path is not None:
        content = read_json(path)
        split = Split(tuple(content.get("train", ())), tuple(content.get("validation", ())))
    else:
        split = found.split or _draw_split(found, validation_fraction, seed)
    _check_split(split, {case.name for case in found.cases})
    return split


def _draw_split(found: LabelledSet, validation_fraction: float, seed: int) -> Split:
    names = [case.name for case in found.cases]
    held_out = round(validation_fraction * len(names))
    if validation_fraction > 0:
        held_out = max(held_out, 1)
    shuffled = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    return Split(tuple(sorted(shuffled[held_out:])), tuple(sorted(shuffled[:held_out])))


def _check_split(split: Split, known: set[str]) -> None:
    problems = []
    unknown = sorted({*split.train, *split.validation} - known)
    if unknown:
        problems.append(f"it names cases that do not exist: {listed(unknown)}")
    both = sorted(set(split.train) & set(split.validation))
    if both:
        problems.append(f"it has cases in both parts: {listed(both)}")
    if not split.train:
        problems.append("it leaves no case to learn from")
    if problems:
        raise DataError(
            f"The split cannot be used: {'; '.join(problems)}.",
            code="bad-split",
            remedy='Write {"train": [names], "validation": [names]} with the names of the cases.',
        )
