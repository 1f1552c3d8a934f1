"""Which weights a training changes, and how fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

_KINDS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def build_optimizer(
    network: nn.Module,
    kind: Literal["adam", "adamw"],
    weight_decay: float,
    rate: Callable[[str], float],
    *,
    fused: bool,
) -> tuple[torch.optim.Optimizer, list[float]]:
    """Build the optimizer of the weights that need a gradient.

    Args:
        network: The weights.
        kind: Adam, or Adam with weight decay apart from the gradient.
        weight_decay: Weight decay.
        rate: Part of the learning rate that the parameter of a name gets.
        fused: Update each tensor in one go, which halves the time on a CPU; on a GPU it could not
            be combined with scaled gradients.

    Returns:
        The optimizer, and the part of the learning rate for each of its parameter groups.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(rate(name), []).append(parameter)
    optimizer: torch.optim.Optimizer = _KINDS[kind](
        [{"params": parameters} for parameters in groups.values()],
        weight_decay=weight_decay,
        fused=fused or None,
    )
    return optimizer, list(groups)


def frozen_parts(network: nn.Module) -> list[nn.Module]:
    """Return the modules that have weights, but none that needs a gradient."""
    return [
        module
        for module in network.modules()
        if any(True for _ in module.parameters())
        and not any(parameter.requires_grad for parameter in module.parameters())
    ]
