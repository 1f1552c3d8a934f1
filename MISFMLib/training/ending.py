"""Whether a training should end early, because its score has stopped rising."""

from __future__ import annotations

from collections.abc import Sequence

_AVERAGED = 3
"""Validations that are averaged, so that no single lucky or unlucky one decides."""
_SMALLEST_RISE = 0.001


def has_stalled(scores: Sequence[float], patience: int) -> bool:
    """Tell whether the score has stopped rising, apart from its noise.

    Args:
        scores: Score of every validation, oldest first; higher is better.
        patience: Validations within which the mean of the last three scores has to rise by 0.001
            over its best.
    """
    best, last_rise = -float("inf"), 0
    for index in range(len(scores)):
        recent = scores[max(0, index + 1 - _AVERAGED) : index + 1]
        mean = sum(recent) / len(recent)
        if mean >= best + _SMALLEST_RISE:
            best, last_rise = mean, index
    return len(scores) - 1 - last_rise >= patience
