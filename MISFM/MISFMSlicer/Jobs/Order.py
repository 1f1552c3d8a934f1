"""Which case comes next."""

from __future__ import annotations

import math
import platform
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from MISFMLib.annotation.case_table import CaseRow, stamp
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.foreground import Claim, claimed

ORDERS = ("least sure", "in order", "random")


def inOrder(
    trainingSet: TrainingSet,
    rows: Sequence[CaseRow],
    order: str,
    isCurrent: Callable[[CaseRow], bool],
) -> list[CaseRow]:
    """Return cases in the order in which they come; last those that somebody has open.

    Args:
        trainingSet: The set; others may work on it, too.
        rows: The cases.
        order: One of `ORDERS`. The random one is the same again after a restart, and another one
            for each of those who share the set.
        isCurrent: Tells whether the certainty of a case is that of the model in use.
    """
    keys: dict[str, Callable[[CaseRow], float]] = {
        "in order": lambda _row: 0.0,
        "least sure": lambda row: (row.certainty or 0.0) if isCurrent(row) else math.inf,
        "random": lambda row: random.Random(f"{who} {row.name}").random(),
    }
    who = f"{trainingSet.name} {stamp()['who']} {platform.node()}"
    taken = claimed(_openCases(trainingSet))
    return sorted(sorted(rows, key=keys[order]), key=lambda row: row.name in taken)


def claimOf(trainingSet: TrainingSet, case: str) -> Claim:
    """Return what tells those who share a set that a case is open here, while it is renewed."""
    return Claim(_openCases(trainingSet), case)


def isClaimed(trainingSet: TrainingSet, case: str) -> bool:
    """Tell whether somebody has a case open."""
    return case in claimed(_openCases(trainingSet))


def _openCases(trainingSet: TrainingSet) -> Path:
    return trainingSet.folder / "open"
