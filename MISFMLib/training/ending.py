"""Whether a training should end early, because its score has stopped rising, and how."""

from __future__ import annotations

from collections.abc import Sequence

from MISFMLib.training.checkpoint import TrainState
from MISFMLib.training.schedules import cooled_down, step_by_the_clock
from MISFMLib.training.task import FitSettings

_AVERAGED = 3
"""Validations that are averaged, so that no single lucky or unlucky one decides."""
_SMALLEST_RISE = 0.001
_COOLING = 5
"""The learning rate falls to zero within one of so many parts of the steps done, since the last bit
of the score comes with a low rate."""


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


def last_step(state: TrainState, settings: FitSettings) -> int:
    """Return the step after which a training ends, as far as is known."""
    if state.stalled_at is None:
        return settings.steps
    return min(settings.steps, state.stalled_at + _cooling_steps(state.stalled_at, settings))


def quarter(state: TrainState, settings: FitSettings) -> int:
    """Return how many quarters of its time a training has used: after each it has to be judged.

    Steps alone do not tell when, where few of them fit into the time.
    """
    return int(4 * state.seconds / settings.budget_s)


def scheduled_step(state: TrainState, settings: FitSettings) -> float:
    """Return the step that the learning rate should be at.

    Beyond the steps done it is where the time decides, or once the score has stopped rising.
    """
    steps = settings.steps
    scheduled = step_by_the_clock(state.step, steps, state.seconds, settings.budget_s)
    if state.stalled_at is None:
        return scheduled
    length = _cooling_steps(state.stalled_at, settings)
    return max(scheduled, cooled_down(state.step, steps, state.stalled_at, length))


def _cooling_steps(stalled_at: int, settings: FitSettings) -> int:
    return max(settings.validate_every, stalled_at // _COOLING)
