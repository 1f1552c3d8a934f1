"""Learning rate over the training, as a pure function of the step."""

from __future__ import annotations


def polynomial_decay(step: int, steps: int, power: float = 0.9) -> float:
    """Return the part of the starting learning rate that holds at a step.

    Falls from 1 at step 0 towards 0 at the end: (1 - step / steps) ** power.

    Args:
        step: Optimizer steps done so far.
        steps: Optimizer steps of the whole training.
        power: Form of the curve; 1 is a straight line.
    """
    return float(max(0.0, 1.0 - step / steps) ** power)


def repeated_halving(step: int, every: int) -> float:
    """Return the part of the starting learning rate that holds at a step, halved again and again.

    Args:
        step: Optimizer steps done so far.
        every: Steps between two halvings.
    """
    return float(0.5 ** (step // every))
