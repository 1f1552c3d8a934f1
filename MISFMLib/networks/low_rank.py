"""Changes of low rank to frozen weights, as few numbers as a fine-tuning on few labels can fix.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_RANK = 8
_ORIGINAL, _DOWN, _UP = (
    f"parametrizations.weight.{part}" for part in ("original", "0.down", "0.up")
)


class LowRankChange(nn.Module):
    """Adds the product of two thin matrices to a weight; at first it is zero."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        rank = min(_RANK, rows, columns)
        self.down = nn.Parameter(torch.empty(rank, columns))
        self.up = nn.Parameter(torch.zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight."""
        return _changed(weight, self.down, self.up)


def add_low_rank_changes(network: nn.Module) -> None:
    """Make the frozen linear layers trainable through low-rank changes of their weights.

    A network without linear layers gets them for its frozen convolutions.
    """
    frozen = [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear | nn.Conv3d) and not module.weight.requires_grad
    ]
    linear = [module for module in frozen if isinstance(module, nn.Linear)]
    for module in linear or frozen:
        parametrize.register_parametrization(module, "weight", LowRankChange(module.weight))


def merged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the plain network: every change is added to its weight.

    Args:
        weights: State of a network, with low-rank changes or without.
    """
    plain = {}
    for name, tensor in weights.items():
        if name.endswith(_ORIGINAL):
            layer = name.removesuffix(_ORIGINAL)
            changed = _changed(tensor, weights[layer + _DOWN], weights[layer + _UP])
            plain[f"{layer}weight"] = changed
        elif not name.endswith((_DOWN, _UP)):
            plain[name] = tensor
    return plain


def _changed(weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
    return weight + (up @ down).view_as(weight)
