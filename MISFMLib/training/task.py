"""What a training is told: its task, and the numbers that no task changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from MISFMLib.data.datasets import Batch


@dataclass(frozen=True)
class Validation:
    """Outcome of one validation."""

    score: float | None
    """Higher is better. None where there is nothing to judge by."""
    values: dict[str, float] = field(default_factory=dict)
    """Numbers to report, such as the Dice of each label."""
    missing: tuple[str, ...] = ()
    """Names of what is to be learnt and has not begun to be. As long as there are any, a score that
    stands still does not mean that it has risen as far as it can."""

    def numbers(self) -> dict[str, float]:
        """Return the score, if there is one, and the other numbers."""
        return self.values if self.score is None else {"score": self.score, **self.values}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained, on what, and towards what."""

    network: nn.Module
    """Maps image (B, C, D, H, W) to the outputs that `loss` takes."""
    batches: Callable[[int, Sequence[int]], Batch]
    """Gives the samples of a step that have these indices; a pure function of both."""
    loss: Callable[[Any, Batch], torch.Tensor]
    """Scalar loss of the network's outputs for a batch."""
    schedule: Callable[[float], float]
    """Part of the starting learning rate at a step."""
    rise: Callable[[int], float] = lambda _step: 1.0
    """Part of that which holds in the first steps; counts steps, whatever the clock says."""
    rate: Callable[[str], float] = lambda _name: 1.0
    """Part of the learning rate that the parameter of this name gets."""
    attend: Callable[[Sequence[str]], None] = lambda _missing: None
    """Told after every validation, and when a training goes on, what is missing; may let it count
    more."""
    validate: Callable[[], Validation] | None = None
    """Judges the network as it is, on its device and in eval mode; None trains without."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Numbers of a training that no task changes."""

    steps: int
    """Optimizer steps."""
    minutes: float | None
    """Time after which the training ends if the steps are not done; None for no limit."""
    patience: int | None
    """Validations without a better score after which it ends; None for no limit."""
    batch_size: int
    """Samples per step over all processes."""
    accumulate: int
    """Parts of a process's samples that go through the network one after another."""
    recompute_levels: int
    """Finest levels of the network that keep no inner features for the gradient."""
    learning_rate: float
    """At the start."""
    weight_decay: float
    optimizer: Literal["adam", "adamw"]
    gradient_clip: float
    """Largest norm of the gradient."""
    validate_every: int
    """Steps between validations; there is one after the last step too."""
    checkpoint_every: int
    """Steps between checkpoints; there is one after the last step too."""
    seed: int

    @property
    def budget_s(self) -> float:
        """Seconds that there are for the training; infinite without a limit."""
        return 60 * self.minutes if self.minutes else math.inf
