"""Which weights of a network a fine-tuning changes, and how fast."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from torch import nn

from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.networks.low_rank import add_low_rank_changes

Trainable = Literal["all", "decoder", "head", "lora"]

_HEADS = "heads."
_NORMS = (nn.BatchNorm3d, nn.InstanceNorm3d, nn.LayerNorm)
_ENCODER = re.compile(r"(project|bottom|encoder\.(?:blocks|downs)\.(\d))\.")


def choose_trainable(
    network: SegmentationNetwork, part: Trainable, fresh: Collection[str] = ()
) -> None:
    """Freeze a network apart from one part of it.

    Args:
        network: Changed in place; with lora it gets further parameters.
        part: all; decoder, with the heads; head, the layers that compute the logits; lora, low-rank
            changes of the linear layers (of the convolutions where there are none), with the norms
            and the heads.
        fresh: Parameters without trained weights; they are trained in any case.
    """
    trained = {*fresh, *(_norm_parameters(network) if part == "lora" else ())}
    prefixes = {"all": ("",), "decoder": (*network.decoder_parts, _HEADS)}.get(part, (_HEADS,))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(prefixes) or name in trained)
    if part == "lora":
        add_low_rank_changes(network)


def _norm_parameters(network: nn.Module) -> set[str]:
    return {
        f"{layer}.{name}"
        for layer, module in network.named_modules()
        if isinstance(module, _NORMS)
        for name, _ in module.named_parameters()
    }


def count_weights(network: nn.Module) -> tuple[int, int]:
    """Return how many numbers are trained, and how many there are."""
    parameters = list(network.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return trained, sum(parameter.numel() for parameter in parameters)


def level_rate(name: str, decay: float, levels: int = 5) -> float:
    """Return the part of the learning rate that a parameter gets: less, the earlier its level.

    Howard and Ruder, Universal Language Model Fine-tuning for Text Classification, ACL 2018, with
    one step for each level of the encoder.

    Args:
        name: Name of the parameter in a segmentation network.
        decay: Rate of a level as a part of that of the next coarser one. The coarsest level
            compares with the decoder, all of which has the full rate.
        levels: How many levels the network has.
    """
    match = _ENCODER.match(name)
    if not match:
        return 1.0
    place, number = match.groups()
    level = {"project": 0, "bottom": levels - 1}.get(place)
    if level is None:  # entry i of `downs` makes level i + 1
        level = int(number) + place.startswith("encoder.downs")
    return decay ** (levels - level)
