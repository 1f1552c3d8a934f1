"""Learning rate over the training, as a pure function of the step."""

from __future__ import annotations


def linear_rise(step: int, warm_up: int) -> float:
    """Return the part of the learning rate that holds in the first steps, a straight line up to 1.

    Args:
        step: Optimizer steps done so far; those that were done, whatever the clock says.
        warm_up: Steps until the full rate is reached.
    """
    return min(1.0, (step + 1) / warm_up) if warm_up else 1.0


def polynomial_decay(step: float, steps: int, power: float = 0.9) -> float:
    """Return the part of the full learning rate that holds at a step.

    Falls from 1 at step 0 towards 0 at the end, (1 - step / steps) ** power.

    Args:
        step: Optimizer steps done so far.
        steps: Optimizer steps of the whole training.
        power: Form of the curve; 1 is a straight line.
    """
    return float(max(0.0, 1.0 - step / steps) ** power)


def repeated_halving(step: float, every: int) -> float:
    """Return the part of the starting learning rate that holds at a step, halved again and again.

    Args:
        step: Optimizer steps done so far.
        every: Steps between two halvings.
    """
    return float(0.5 ** (step // every))


def cooled_down(step: int, steps: int, begin: int, length: int) -> float:
    """Return the step that a schedule should be at on a short way to its end.

    Args:
        step: Optimizer steps done so far.
        steps: Optimizer steps of the schedule.
        begin: Step at which the short way began.
        length: Steps that it takes.
    """
    return min(float(steps), begin + (steps - begin) * (step - begin) / length)


def step_by_the_clock(step: int, steps: int, seconds: float, budget_s: float) -> float:
    """Return the step that a schedule should be at when there is a limit to the time as well.

    Args:
        step: Optimizer steps done so far.
        steps: Optimizer steps of the whole training.
        seconds: Time spent so far.
        budget_s: Time that there is; infinite for no limit. Where a larger part of it is used up
            than of the steps, it decides.
    """
    return max(step, min(steps, steps * seconds / budget_s))
