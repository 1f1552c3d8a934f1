"""What the tables of the training benchmarks share."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np


def difference(rows: list[dict[str, Any]], scratch: list[dict[str, Any]]) -> str:
    """Mean difference of the same cases and seeds, with its 95 % interval.

    Seeds and cases are both drawn anew 5000 times, since both are samples of what could have been.
    """
    base = {row["seed"]: case_means(row) for row in scratch}
    pairs = [(case_means(row), base[row["seed"]]) for row in rows if row["seed"] in base]
    if not pairs:
        return ""
    gain_SC = np.array(
        [[ours[case] - theirs[case] for case in sorted(theirs)] for ours, theirs in pairs]
    )
    rng = np.random.default_rng(0)
    seeds, cases = gain_SC.shape
    drawn = [
        gain_SC[np.ix_(rng.integers(0, seeds, seeds), rng.integers(0, cases, cases))].mean()
        for _ in range(5000)
    ]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{100 * gain_SC.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def case_means(row: dict[str, Any]) -> dict[str, float]:
    """Mean Dice over the labels, by case; a label that a case lacks does not count."""
    values: dict[str, list[float]] = defaultdict(list)
    for dice in row["dice"].values():
        for case, value in dice.items():
            if not np.isnan(value):
                values[case].append(value)
    return {case: mean(items) for case, items in values.items()}


def mean(values: Any) -> float:
    """Mean of the numbers among the values."""
    return float(np.nanmean(list(values)))


def mean_sd(values: Sequence[float]) -> str:
    """Write mean and standard deviation in hundredths."""
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{deviation}"


def table_row(cells: Sequence[str]) -> str:
    """Write a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"
