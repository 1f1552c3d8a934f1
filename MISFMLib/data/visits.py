"""How often a training visits its cases: labels that few of them have are not left to luck."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from MISFMLib.data.datasets import PreparedCase

_SMALLEST_SHARE = 0.1
"""Share of the visits that bring a label, where there are few labels."""
_SHARED = 0.5
"""Of the visits at most so much is shared out to all labels alike."""


def visited(cases: Sequence[PreparedCase]) -> list[PreparedCase]:
    """Return the cases of a round, those with rare labels several times.

    Each label is in a tenth of the visits, or with n labels in 1 / 2n of them if that is less. Most
    data sets have each label in more of their cases: then every case is visited once.
    """
    classes = {case.name: case.classes() for case in cases}
    labels = sorted(set[int]().union(*classes.values()))
    share = min(_SMALLEST_SHARE, _SHARED / max(1, len(labels)))
    visits = list(cases)
    for label in labels:
        having = [case for case in cases if label in classes[case.name]]
        count = sum(label in classes[case.name] for case in visits)
        more = math.ceil((share * len(visits) - count) / (1 - share))
        visits += itertools.islice(itertools.cycle(having), max(0, more))
    return visits
