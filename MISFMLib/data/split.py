"""Which cases a network learns from and which are held out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from MISFMLib.data.cases import LabelledSet, Split, listed
from MISFMLib.data.descriptions import read_split
from MISFMLib.data.known_cases import NONE_KNOWN, KnownCases
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
    return given_split(found, path) or draw_split(found, validation_fraction, seed)


def given_split(found: LabelledSet, path: Path | None) -> Split | None:
    """Return the split of a file, else the data set's own; None when there is neither.

    Raises:
        DataError: It cannot be used.
    """
    split = read_split(path) if path is not None else found.split
    if split is not None:
        _check_split(split, {case.name for case in found.cases})
    return split


def draw_split(
    found: LabelledSet,
    validation_fraction: float,
    seed: int,
    labels_of: Mapping[str, Collection[int]] | None = None,
    known: KnownCases = NONE_KNOWN,
) -> Split:
    """Draw a split at random that keeps every label in the training part, and holds some out.

    Args:
        found: The data set.
        validation_fraction: Part of the cases to hold out.
        seed: Seed of the draw.
        labels_of: Labels in each case, as far as they are known.
        known: To the model that a training starts from: where possible the cases that have judged
            it are held out again, then new ones, and none that it has learnt from.

    Raises:
        DataError: Nothing would be left to learn from.
    """
    names = [case.name for case in found.cases]
    held_out = round(validation_fraction * len(names))
    if validation_fraction > 0:
        held_out = max(held_out, 1)
    if held_out >= len(names):
        raise DataError(
            f"The data set has {len(names)} case{'s' if len(names) > 1 else ''}, and "
            f"{validation_fraction:.0%} held out leaves no case to learn from.",
            code="bad-split",
            remedy="Learn from all cases with --validation-fraction 0 or --preset one-shot; the "
            "model is then not evaluated.",
        )
    shuffled = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    shuffled.sort(key=lambda name: (name in known.train, name not in known.validation))
    train, validation = shuffled[held_out:], shuffled[:held_out]
    _hold_a_label_out(train, validation, labels_of or {})
    keep_rare_labels(train, validation, labels_of or {})
    return Split(tuple(sorted(train)), tuple(sorted(validation)))


def _hold_a_label_out(
    train: list[str], validation: list[str], labels_of: Mapping[str, Collection[int]]
) -> None:
    """Exchange a held-out case if all of them are empty: they would judge nothing."""
    labelled = [name for name in train if labels_of.get(name)]
    is_blind = not any(labels_of.get(name) for name in validation)
    if validation and is_blind and len(labelled) > 1:
        train.remove(labelled[-1])
        train.append(validation.pop())
        validation.append(labelled[-1])


def keep_rare_labels(
    train: list[str], validation: list[str], labels_of: Mapping[str, Collection[int]]
) -> None:
    """Exchange held-out cases for training cases until every label can be learnt.

    Args:
        train: Cases to learn from, which is changed.
        validation: Cases held out, which is changed.
        labels_of: Labels in each case.
    """

    def labels(names: Sequence[str]) -> set[int]:
        return {value for name in names for value in labels_of.get(name, ())}

    everywhere = labels([*train, *validation])
    while missing := everywhere - labels(train):
        incoming = max(validation, key=lambda name: len(missing & labels([name])))
        validation.remove(incoming)
        outgoing = next((name for name in train if _is_covered(name, train, labels)), None)
        train.append(incoming)
        if outgoing is not None:
            train.remove(outgoing)
            validation.append(outgoing)


def _is_covered(
    name: str, train: Sequence[str], labels: Callable[[Sequence[str]], set[int]]
) -> bool:
    """Tell whether the other training cases have all labels of a case."""
    return labels([name]) <= labels([other for other in train if other != name])


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
