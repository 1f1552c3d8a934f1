"""Paired differences between rows of a table: bootstrap intervals, Wilcoxon and Holm."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 10_000
_FEWEST = 6
"""With fewer pairs Wilcoxon's signed-rank test cannot fall below 0.05."""


@dataclass(frozen=True)
class Difference:
    """A row minus the row it is compared with, over the cases that both have."""

    cases: int
    mean: float
    low: float
    """Lower end of the 95 % interval of the mean: the percentile bootstrap over the cases."""
    high: float
    p: float
    """Of Wilcoxon's signed-rank test, corrected by Holm for the number of rows; nan with fewer than
    six pairs, or where all are equal."""


def compare_rows(rows: Mapping[str, Mapping[str, float]], reference: str) -> dict[str, Difference]:
    """Compare every row with one of them, case by case.

    Args:
        rows: By name of the row: score of each case.
        reference: Name of the row that the others are compared with.
    """
    pairs = {
        name: np.array(
            [
                scores[case] - rows[reference][case]
                for case in sorted(scores)
                if case in rows[reference]
            ]
        )
        for name, scores in rows.items()
        if name != reference
    }
    raw = {name: _wilcoxon(differences) for name, differences in pairs.items()}
    corrected = holm(list(raw.values()))
    return {
        name: Difference(
            len(values), float(values.mean()) if len(values) else np.nan, *interval(values), p
        )
        for (name, values), p in zip(pairs.items(), corrected, strict=True)
    }


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a mean by the percentile bootstrap; the same at every call."""
    sample = np.asarray(values, np.float64)
    if len(sample) < 2:
        return np.nan, np.nan
    rng = np.random.default_rng(0)
    means = sample[rng.integers(0, len(sample), (_RESAMPLES, len(sample)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number by Holm's step-down method; nan stay out of it."""
    corrected = [np.nan] * len(p_values)
    order = sorted((p, index) for index, p in enumerate(p_values) if not np.isnan(p))
    highest = 0.0
    for rank, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        corrected[index] = highest
    return corrected


def _wilcoxon(differences: np.ndarray) -> float:
    if len(differences) < _FEWEST or not differences.any():
        return np.nan
    stats = importlib.import_module("scipy.stats")
    return float(stats.wilcoxon(differences).pvalue)
