"""The one training loop. A task brings network, batches, loss and validation; nothing else differs.

Stopped at any moment, a training goes on from its checkpoint with the same numbers, bit for bit on
the CPU: batches, dropout and learning rate are functions of the seed and the step.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from MISFMLib.data.datasets import Batch, ahead
from MISFMLib.errors import TrainingError
from MISFMLib.events import EventSink, Metric, Progress
from MISFMLib.training.checkpoint import BestWeights, TrainState, network_weights
from MISFMLib.training.stop import stop_requests

_REPORT_EVERY = 10
"""Steps between two events with loss and progress."""


@dataclass(frozen=True)
class Validation:
    """Outcome of one validation."""

    score: float
    """Higher is better; the weights with the highest are kept."""
    values: dict[str, float] = field(default_factory=dict)
    """Numbers to report, such as the Dice of each label."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained, on what, and towards what."""

    network: nn.Module
    """Maps image (B, C, D, H, W) to the outputs that `loss` takes."""
    batches: Callable[[int, Sequence[int]], Batch]
    """Gives the samples of a step that have these indices; a pure function of both."""
    loss: Callable[[Any, Batch], torch.Tensor]
    """Scalar loss of the network's outputs for a batch."""
    schedule: Callable[[int], float]
    """Part of the starting learning rate at a step."""
    validate: Callable[[], Validation] | None = None
    """Judges the network as it is, on its device and in eval mode; None trains without."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Numbers of a training that no task changes."""

    steps: int
    """Optimizer steps."""
    batch_size: int
    """Samples per step over all processes."""
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


def fit(
    fabric: Fabric, task: Task, settings: FitSettings, checkpoint: Path, events: EventSink
) -> TrainState:
    """Train until the last step; go on from the checkpoint when there is one.

    Ctrl-C and SIGTERM let the step end, save the checkpoint, and raise. With several processes each
    computes its share of the batch, and the loss sees the outputs of all, so that their number
    changes nothing but the speed (except in batch normalisation on the CPU, which counts the
    samples of one process).

    Args:
        fabric: Launched; gives device, number format and processes.
        task: What is trained.
        settings: Numbers of the training.
        checkpoint: File that is read at the start and kept up to date.
        events: Receives loss, validation and progress, from the first process only.

    Returns:
        The state after the last step, which the checkpoint holds too.

    Raises:
        TrainingError: The loss or its gradient is no finite number.
        BundleError: The checkpoint cannot be used.
        KeyboardInterrupt: A stop was asked for; the checkpoint is saved.
    """
    return _Training(fabric, task, settings, checkpoint, events).run()


class _Training:
    """One call of `fit`: the task set up on its device, and the state it has reached."""

    def __init__(
        self,
        fabric: Fabric,
        task: Task,
        settings: FitSettings,
        checkpoint: Path,
        events: EventSink,
    ) -> None:
        self._fabric, self._task, self._settings = fabric, task, settings
        self._checkpoint, self._events = checkpoint, events
        module = task.network
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        # Measured on the CPU: a fifth less time for a step.
        module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._state = TrainState(module, _optimizer(module, settings))
        self._network, self._optimizer = fabric.setup(module, self._state.optimizer)
        if checkpoint.exists():  # after the set-up, so that the optimizer's state is on the device
            self._state.load(checkpoint)
        self._scales_gradients = fabric.strategy.precision.precision == "16-mixed"
        self._first_step, self._first_seconds = self._state.step, self._state.seconds
        self._losses: list[float] = []

    def run(self) -> TrainState:
        """Train until the last step or a stop request."""
        fabric, settings, state = self._fabric, self._settings, self._state
        share = range(fabric.global_rank, settings.batch_size, fabric.world_size)
        batches = ahead(
            lambda step: self._task.batches(step, share), range(state.step, settings.steps)
        )
        with contextlib.closing(batches), stop_requests() as stop:
            started = time.monotonic()
            for batch in batches:
                self._losses.append(self._step(batch.to(fabric.device)))
                state.step += 1
                state.seconds = self._first_seconds + time.monotonic() - started
                self._report()
                if self._is_due(settings.validate_every):
                    self._validate()
                is_stopped = self._is_stopped(stop.requested)
                if is_stopped or self._is_due(settings.checkpoint_every):
                    self._save()
                if is_stopped:
                    raise KeyboardInterrupt
        return state

    def _step(self, batch: Batch) -> float:
        """Update the weights once; return the loss."""
        step, settings = self._state.step, self._settings
        for group in self._state.optimizer.param_groups:
            group["lr"] = settings.learning_rate * self._task.schedule(step)
        torch.manual_seed(_step_seed(settings.seed, step, self._fabric.global_rank))
        self._network.train()
        outputs, batch = self._from_all_processes(self._network(batch.image_BCDHW), batch)
        loss = self._task.loss(outputs, batch)
        self._optimizer.zero_grad()
        self._fabric.backward(loss)
        norm = self._fabric.clip_gradients(
            self._network,
            self._optimizer,
            max_norm=settings.gradient_clip,
            error_if_nonfinite=False,
        )
        value, gradient = torch.stack([loss.detach(), norm]).tolist()
        # In float16 an infinite gradient is normal: the scaler leaves out the step and scales less.
        if not math.isfinite(value) or not (self._scales_gradients or math.isfinite(gradient)):
            raise TrainingError(
                f"Step {step + 1} gave the loss {value} and a gradient of length {gradient}.",
                code="loss-not-finite",
                remedy="Lower --learning-rate, or compute with --precision fp32.",
            )
        self._optimizer.step()
        return float(value)

    def _from_all_processes(self, outputs: Any, batch: Batch) -> tuple[Any, Batch]:
        """Join the outputs and labels of all processes; gradients flow back to their origin.

        Losses such as Dice over the batch are no mean over samples. Every process computes the
        loss of the whole batch, and averaging the gradients of all undoes that each counts all.
        """
        if self._fabric.world_size == 1:
            return outputs, batch
        scales = [outputs] if isinstance(outputs, torch.Tensor) else outputs
        joined = [self._fabric.all_gather(scale, sync_grads=True).flatten(0, 1) for scale in scales]
        image_BCDHW = self._fabric.all_gather(batch.image_BCDHW).flatten(0, 1)
        label_BDHW = self._fabric.all_gather(batch.label_BDHW).flatten(0, 1)
        is_single = isinstance(outputs, torch.Tensor)
        return joined[0] if is_single else joined, Batch(image_BCDHW, label_BDHW)

    def _is_due(self, interval: int) -> bool:
        return self._state.step % interval == 0 or self._state.step == self._settings.steps

    def _is_stopped(self, is_requested: bool) -> bool:
        """Tell whether to stop; the first process decides, so that all stop at the same step."""
        if self._fabric.world_size > 1:
            is_requested = self._fabric.broadcast(is_requested)
        return is_requested and self._state.step < self._settings.steps

    def _validate(self) -> None:
        """Judge the weights in the first process and keep the best."""
        if self._task.validate is None:
            return
        if self._fabric.is_global_zero:
            self._state.network.eval()
            validation = self._task.validate()
            self._events(Metric(self._state.step, {"score": validation.score, **validation.values}))
            best = self._state.best
            if best is None or validation.score > best.score:
                weights = network_weights(self._state.network)
                self._state.best = BestWeights(validation.score, self._state.step, weights)
        self._fabric.barrier()

    def _save(self) -> None:
        if self._fabric.is_global_zero:
            self._state.save(self._checkpoint)
        self._fabric.barrier()

    def _report(self) -> None:
        step, steps = self._state.step, self._settings.steps
        if not self._fabric.is_global_zero or not self._is_due(_REPORT_EVERY):
            return
        loss = sum(self._losses) / len(self._losses)
        self._losses.clear()
        rate = self._state.optimizer.param_groups[0]["lr"]
        self._events(Metric(step, {"loss": loss, "learning_rate": rate}))
        seconds = self._state.seconds - self._first_seconds
        left_s = (steps - step) * seconds / (step - self._first_step)
        message = f"step {step} of {steps}, loss {loss:.4f}"
        self._events(Progress("train", step / steps, message, left_s))


def _optimizer(network: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer: torch.optim.Optimizer = kind(
        trainable, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return optimizer


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])
