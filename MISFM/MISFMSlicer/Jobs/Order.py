"""Which case comes next."""

from __future__ import annotations

import platform
import random
from collections.abc import Callable, Sequence

from MISFMLib.annotation.case_table import CaseRow, stamp
from MISFMLib.annotation.training_set import TrainingSet

ORDERS = ("least sure", "in order", "random")


def nextOf(
    rows: Sequence[CaseRow], order: str, isCurrent: Callable[[CaseRow], bool], seed: str
) -> CaseRow | None:
    """Return the case that comes next; None when there is none.

    Args:
        rows: The cases that wait for their labels.
        order: One of `ORDERS`.
        isCurrent: Tells whether the certainty of a case is that of the model in use.
        seed: Of the random order, which is the same again after a restart.
    """
    if not rows:
        return None
    if order == "random":
        return random.Random(seed).choice(rows)
    if order == "least sure":
        known = [row for row in rows if isCurrent(row)]
        if known:
            return min(known, key=lambda row: row.certainty or 0.0)
    return rows[0]


def seedOf(trainingSet: TrainingSet) -> str:
    """Return a seed that is another one for each of those who share a set.

    Else all of them would be led to the same case, and do it twice.
    """
    return " ".join((trainingSet.name, stamp()["who"], platform.node()))
