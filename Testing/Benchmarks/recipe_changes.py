"""Changes to a training that the product does not offer, for `recipes.py`; each is a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import nn

from MISFMLib.jobs.train import finetune
from MISFMLib.training import loop, losses, parameters


def without_prior() -> AbstractContextManager[Any]:
    """Let fresh outputs begin with all classes alike."""
    return mock.patch.object(finetune, "set_class_prior", return_value=[])


class _WeightedLoss(losses.SegmentationLoss):
    """Cross-entropy weighted by the square root of the inverse share of a class."""

    shares: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        weight = self.shares.clamp(min=1e-5).rsqrt()
        weight /= (weight * self.shares).sum()
        self.dice_and_cross_entropy.cross_entropy = nn.CrossEntropyLoss(weight=weight)


@contextmanager
def weighted_cross_entropy() -> Iterator[None]:
    """Weight the cross-entropy by the classes' shares."""
    count = finetune.class_shares

    def counted(*arguments: Any) -> torch.Tensor:
        _WeightedLoss.shares = count(*arguments)
        return _WeightedLoss.shares

    with (
        mock.patch.object(finetune, "class_shares", counted),
        mock.patch.object(finetune, "SegmentationLoss", _WeightedLoss),
    ):
        yield


class _PerSampleLoss(losses.SegmentationLoss):
    """Dice of every sample for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.dice_and_cross_entropy.dice.batch = False


def dice_per_sample() -> AbstractContextManager[Any]:
    """Compute Dice for each sample of a batch for itself."""
    return mock.patch.object(finetune, "SegmentationLoss", _PerSampleLoss)


def with_background() -> AbstractContextManager[Any]:
    """Count the background in Dice, as published."""
    loss = partial(losses.SegmentationLoss, include_background=True)
    return mock.patch.object(finetune, "SegmentationLoss", loss)


def sgd() -> AbstractContextManager[Any]:
    """Train with SGD and Nesterov momentum, as nnU-Net does."""
    kind = partial(torch.optim.SGD, momentum=0.99, nesterov=True)
    return mock.patch.dict(parameters._KINDS, adamw=kind)


class _Muon(torch.optim.AdamW):
    """Muon for weights of two and more dimensions, AdamW for biases and norms."""

    def __init__(self, groups: Any, **settings: Any) -> None:
        super().__init__(groups, **settings)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        self._matrices = {w: nn.Parameter(_as_matrix(w.detach())) for w in weights if w.ndim > 1}
        self._muon = torch.optim.Muon(
            self._matrices.values(),
            weight_decay=self.param_groups[0]["weight_decay"],
            adjust_lr_fn="match_rms_adamw",  # the same rate then suits both
        )

    def step(self, closure: Any = None) -> Any:
        for weight, matrix in self._matrices.items():
            matrix.grad, weight.grad = _as_matrix(weight.grad), None
        self._muon.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        self._muon.step()
        return super().step(closure)


def _as_matrix(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight of any dimensions as (outputs, all others); it shares the memory."""
    return weight.movedim(1, -1).reshape(len(weight), -1)


def muon() -> AbstractContextManager[Any]:
    """Train with Muon."""
    return mock.patch.dict(parameters._KINDS, adamw=_Muon)


class _InstanceNorm(nn.InstanceNorm3d):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)


def instance_norm() -> AbstractContextManager[Any]:
    """Normalise every sample for itself."""
    return mock.patch.object(nn, "BatchNorm3d", _InstanceNorm)


@contextmanager
def averaged_weights(decay: float = 0.98) -> Iterator[None]:
    """Judge the moving average of the weights instead of the weights."""
    averages: dict[nn.Parameter, torch.Tensor] = {}
    build, validate = loop.build_optimizer, finetune._validate

    def built(*arguments: Any, **options: Any) -> Any:
        optimizer, rates = build(*arguments, **options)

        def follow(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    average = averages.setdefault(weight, weight.detach().clone())
                    average.lerp_(weight.detach(), 1 - decay)

        optimizer.register_step_post_hook(follow)
        return optimizer, rates

    def judged(*arguments: Any) -> Any:
        for weight, average in averages.items():
            weight.data.copy_(average)
        return validate(*arguments)

    with (
        mock.patch.object(loop, "build_optimizer", built),
        mock.patch.object(finetune, "_validate", judged),
    ):
        yield
