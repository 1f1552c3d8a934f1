"""The one training loop. A task brings network, batches, loss and validation; nothing else differs.

Stopped at any moment, a training goes on from its checkpoint with the same numbers, bit for bit on
the CPU: batches, dropout and learning rate are functions of the seed and the step. The exception is
a training with a time budget, whose learning rate follows the clock.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from MISFMLib.data.ahead import ahead, makers_for
from MISFMLib.data.datasets import Batch
from MISFMLib.errors import is_out_of_memory
from MISFMLib.events import EventSink, Metric, Notice, Progress
from MISFMLib.memory import keep_freed_memory
from MISFMLib.networks.base import recompute_levels
from MISFMLib.training.checkpoint import BestWeights, TrainState, has_checkpoint, network_weights
from MISFMLib.training.ending import has_stalled, last_step, quarter, scheduled_step
from MISFMLib.training.missing import told
from MISFMLib.training.parameters import build_optimizer, frozen_parts
from MISFMLib.training.step_errors import not_finite, too_little_memory
from MISFMLib.training.stop import Request, stop_requests, yielded_s, yielding
from MISFMLib.training.task import FitSettings, Task

_REPORT_EVERY = 10
"""Steps between two events with loss and progress."""
_LUCK = 0.1
"""Difference of scores that a few held-out cases may make by chance. With one of them, weights that
were 0.04 better on twenty others had scored up to 0.05 less (Docs/evidence.md)."""


def fit(
    fabric: Fabric, task: Task, settings: FitSettings, checkpoint: Path, events: EventSink
) -> TrainState:
    """Train until the last step or an early end; go on from the checkpoint when there is one.

    Parts of the network without a weight to train stay in evaluation mode: their BatchNorm keeps
    its statistics, and nothing is dropped there.

    Ctrl-C and SIGTERM let the step end, save the checkpoint, and raise; so does the word ``pause``
    in a file ``control`` beside the checkpoint, while ``finish`` ends the training there. Between
    two steps, or two windows of a validation, a training waits while somebody waits for a
    segmentation. With several processes each computes its share of the batch, and the loss sees the
    outputs of all, so that their number changes nothing but the speed (except in batch
    normalisation on the CPU, which counts the samples of one process).

    Args:
        fabric: Launched; gives device, number format and processes.
        task: What is trained.
        settings: Numbers of the training.
        checkpoint: File that is read at the start and kept up to date.
        events: Receives loss, validation and progress, from the first process only.

    Returns:
        The state after the last step, which the checkpoint holds too.

    Raises:
        TrainingError: The loss or its gradient is no finite number, or memory does not suffice.
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
        if fabric.device.type == "cpu":
            keep_freed_memory()
        module = task.network
        recompute_levels(module, settings.recompute_levels)
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        # Measured on the CPU: a fifth less time for a step of a PCT-Net.
        module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        optimizer, self._rates = build_optimizer(
            module,
            settings.optimizer,
            settings.weight_decay,
            task.rate,
            fused=fabric.device.type == "cpu",
        )
        self._state = TrainState(module, optimizer)
        self._frozen = frozen_parts(module)
        self._share = range(fabric.global_rank, settings.batch_size, fabric.world_size)
        self._network, self._optimizer = fabric.setup(module, self._state.optimizer)
        if has_checkpoint(checkpoint):  # after the set-up: the optimizer's state is on the device
            notice = self._state.load(checkpoint)
            if notice and fabric.is_global_zero:
                events(Notice(notice))
            task.attend(self._state.missing)
        self._state.speed.makers = makers_for(fabric.device)
        self._scales_gradients = fabric.strategy.precision.precision == "16-mixed"
        self._first_step, self._first_seconds = self._state.step, self._state.seconds
        self._losses: list[float] = []

    def run(self) -> TrainState:
        """Train until the end or a stop request."""
        settings, state = self._settings, self._state
        steps = range(state.step, 0 if state.ended_early else settings.steps)
        makers = state.speed.makers
        batches = ahead(self._make, steps, count=makers + 2, threads=makers)
        control = self._checkpoint.with_name("control")
        with contextlib.closing(batches), stop_requests(control) as stop:
            started = time.monotonic()
            for parts in state.speed.waiting(batches):
                with state.speed.computing(len(self._share)):
                    self._losses.append(self._step(parts))
                state.step, before = state.step + 1, quarter(state, settings)
                state.seconds = self._first_seconds + time.monotonic() - started
                request = self._agreed(stop.request())
                self._end_early(request)
                if self._is_due(settings.validate_every) or quarter(state, settings) > before:
                    started += self._validate(stop.request)
                self._report()
                is_stopped = request == "pause" and not self._is_over()
                if is_stopped or self._is_due(settings.checkpoint_every):
                    self._save()
                if is_stopped:
                    raise KeyboardInterrupt
                if state.ended_early:
                    break
                if self._fabric.is_global_zero:
                    started += yielded_s(stop.request)
        return state

    def _end_early(self, request: Request) -> None:
        """Let this step be the last one when that is asked for, or the time is over."""
        if self._is_over():
            return
        if request == "finish":
            self._state.ended_early = "request"
        elif self._state.seconds >= self._settings.budget_s:
            self._state.ended_early = "minutes"
        elif self._state.step >= last_step(self._state, self._settings):
            self._state.ended_early = "patience"

    def _make(self, step: int) -> list[Batch]:
        """Make this process's samples of a step, in the parts that are computed one by one."""
        size = len(self._share) // self._settings.accumulate
        with self._state.speed.making(len(self._share)):
            return [
                self._task.batches(step, self._share[start : start + size])
                for start in range(0, len(self._share), size)
            ]

    def _step(self, parts: Sequence[Batch]) -> float:
        """Update the weights once; return the loss."""
        step, settings, task = self._state.step, self._settings, self._task
        scheduled = task.schedule(scheduled_step(self._state, settings)) * task.rise(step)
        rate = settings.learning_rate * scheduled
        for group, relative in zip(self._state.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * relative
        torch.manual_seed(_step_seed(settings.seed, step, self._fabric.global_rank))
        self._network.train()
        for module in self._frozen:
            module.eval()
        self._optimizer.zero_grad()
        try:
            losses = [
                self._backward(part.to(self._fabric.device), len(parts), is_last=part is parts[-1])
                for part in parts
            ]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_little_memory(error) from error
        norm = self._fabric.clip_gradients(
            self._network,
            self._optimizer,
            max_norm=settings.gradient_clip,
            error_if_nonfinite=False,
        )
        value, gradient = torch.stack([torch.stack(losses).sum(), norm]).tolist()
        # In float16 an infinite gradient is normal: the scaler leaves out the step and scales less.
        if not math.isfinite(value) or not (self._scales_gradients or math.isfinite(gradient)):
            raise not_finite(step + 1, value, gradient, self._checkpoint)
        self._optimizer.step()
        return float(value)

    def _backward(self, batch: Batch, count: int, *, is_last: bool) -> torch.Tensor:
        """Add the gradient of one of several parts of a step; return its part of the loss."""
        with self._fabric.no_backward_sync(self._network, enabled=not is_last):
            outputs, batch = self._from_all_processes(self._network(batch.image_BCDHW), batch)
            loss = self._task.loss(outputs, batch) / count
            self._fabric.backward(loss)
        return loss.detach()

    def _from_all_processes(self, outputs: Any, batch: Batch) -> tuple[Any, Batch]:
        """Join the outputs and labels of all processes; gradients flow back to their origin.

        Losses such as Dice over the batch are no mean over samples. Every process computes the
        loss of the whole batch, and averaging the gradients of all undoes that each counts all.
        """
        if self._fabric.world_size == 1:
            return outputs, batch
        scales = [outputs] if isinstance(outputs, torch.Tensor) else outputs
        joined = [self._fabric.all_gather(scale, sync_grads=True).flatten(0, 1) for scale in scales]
        for scale in joined:  # torch 2.13 would send a gradient of permuted axes in a wrong order
            scale.register_hook(torch.Tensor.contiguous)
        parts = (batch.image_BCDHW, batch.label_BDHW, batch.not_drawn_BK)
        of_all: list[Any] = [
            p if p is None else self._fabric.all_gather(p).flatten(0, 1) for p in parts
        ]
        return joined[0] if isinstance(outputs, torch.Tensor) else joined, Batch(*of_all)

    def _is_due(self, interval: int) -> bool:
        return self._state.step % interval == 0 or self._is_over()

    def _is_over(self) -> bool:
        return self._state.step == self._settings.steps or bool(self._state.ended_early)

    def _agreed(self, request: Request) -> Request:
        """Take clock and stop request of the first process, so that all do the same."""
        if self._fabric.world_size > 1:
            request, self._state.seconds = self._fabric.broadcast((request, self._state.seconds))
        return request

    def _validate(self, is_stopped: Callable[[], Request]) -> float:
        """Judge the weights in the first process, keep them or not, and see whether that goes on.

        Returns:
            Seconds in which it waited for a segmentation.
        """
        if self._task.validate is None:
            return 0.0
        state, patience, waited_s = self._state, self._settings.patience, [0.0]
        if self._fabric.is_global_zero:
            state.network.eval()
            with yielding(state.network, is_stopped) as waited_s:
                validation = self._task.validate()
            self._events(Metric(state.step, validation.numbers()))
            notice = told(state, validation.missing, is_last=self._is_over())
            self._events(notice) if notice else None
            state.missing = validation.missing
            if validation.score is not None:
                self._keep(validation.score)
        state.scores, state.missing = self._fabric.broadcast((state.scores, state.missing))
        self._task.attend(state.missing)
        is_going_on = state.stalled_at is None and not self._is_over()
        if patience and is_going_on and has_stalled(state.scores, patience):
            state.stalled_at = state.step
        return sum(waited_s)

    def _keep(self, score: float) -> None:
        """Keep the weights if none has scored higher, or if they are the last.

        Where a training came to its end they have been trained at the lowest rate, so that only a
        far lower score, or a label that they lack, tells that they are worse.
        """
        state = self._state
        state.scores = [] if state.missing else [*state.scores, score]
        is_end = self._is_over() and state.ended_early != "request" and not state.missing
        if state.best is None or score >= state.best.score - (_LUCK if is_end else 0):
            weights = network_weights(state.network)
            state.best = BestWeights(score, state.step, weights, state.missing)

    def _save(self) -> None:
        if self._fabric.is_global_zero:
            self._state.save(self._checkpoint)
        self._fabric.barrier()

    def _report(self) -> None:
        step, steps = self._state.step, last_step(self._state, self._settings)
        if not self._fabric.is_global_zero or not self._is_due(_REPORT_EVERY):
            return
        loss, self._losses = sum(self._losses) / len(self._losses), []
        rate = self._state.optimizer.param_groups[0]["lr"] / self._rates[0]
        self._events(Metric(step, {"loss": loss, "learning_rate": rate}))
        seconds = self._state.seconds - self._first_seconds
        left_s = (steps - step) * seconds / (step - self._first_step)
        left_s = max(0.0, min(left_s, self._settings.budget_s - self._state.seconds))
        message = f"step {step} of {steps}, loss {loss:.4f}"
        if self._settings.budget_s != math.inf:  # the clock ends it
            message = f"step {step}, loss {loss:.4f}"
        fraction = scheduled_step(self._state, self._settings) / self._settings.steps
        self._events(Progress("train", fraction, message, left_s))


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])
