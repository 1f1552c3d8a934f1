"""The methods of pretraining: each a task for samples, a network with its output, and a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig, PretrainConfig, Size
from MISFMLib.data.corruption import ModelGenesis, PatchSwapping
from MISFMLib.data.datasets import Batch
from MISFMLib.data.pretext import (
    FusionMasking,
    MaskedModelling,
    OverlappingViews,
    Pretext,
    Restoration,
    Rotation,
    Sample,
    VolumeFusion,
)
from MISFMLib.data.volume_fusion import (
    BlockGrid,
    CropsOfOneVolume,
    CropsOfTwoVolumes,
    LabelSampler,
    RandomBoxes,
)
from MISFMLib.errors import ConfigError
from MISFMLib.export.pretext_preview import Panel
from MISFMLib.jobs.pretrain.preview import (
    show_fusion,
    show_fusion_masking,
    show_restoration,
    show_rotation,
    show_views,
)
from MISFMLib.jobs.train.start import check_levels
from MISFMLib.networks import SegmentationNetwork, build_network
from MISFMLib.networks.pretext_heads import EmbeddingHead, EncoderTask, RotationHead
from MISFMLib.training.losses import SegmentationLoss
from MISFMLib.training.pretext_losses import (
    FusionMaskingLoss,
    contrastive_loss,
    fusion_levels,
    fusion_part,
    masking_part,
    restoration_loss,
    rotation_loss,
)
from MISFMLib.training.task import Validation

_SMALLEST_BLOCK, _LARGEST_GRID_BLOCK = 8, 32

Answers = Iterable[tuple[Any, Batch]]
"""Outputs of the network and what it shall answer, batch by batch."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A pretext task with the network that learns it."""

    pretext: Pretext
    network: nn.Module
    """What is trained."""
    loss: Callable[[Any, Batch], Tensor]
    judge: Callable[[Answers], Validation]
    """Scores answers on volumes that are held out."""
    show: Callable[[Sample, Any], list[Panel]]
    """Shows a sample and the network's answer."""
    classes: Callable[[Batch], Batch] | None = None
    """Gives the classes that are to be told, where the task is to tell classes of voxels."""


def build_method(config: PretrainConfig, network_config: NetworkConfig) -> Method:
    """Put together the method that a config names, with fresh weights.

    Args:
        config: Method and its settings.
        network_config: Network to pretrain, with its patch.
    """
    patch = network_config.patch_size
    assert patch is not None, "the plan gives every network its patch"
    network = build_network(network_config)
    check_levels(config, network)
    if config.method == "volume-fusion":
        return _volume_fusion(config, network, patch)
    if config.method == "fusion-masking":
        return _fusion_masking(config, network, patch)
    if is_encoder_only(config):
        return _encoder_only(config, network, patch)
    pretexts: dict[str, Pretext] = {
        "model-genesis": Restoration(patch_size=patch, damage=ModelGenesis()),
        "patch-swapping": Restoration(patch_size=patch, damage=PatchSwapping()),
        "masked-modelling": MaskedModelling(patch_size=patch),
    }
    return Method(
        pretext=pretexts[config.method],
        network=network,
        loss=restoration_loss,
        judge=partial(_negative_loss, restoration_loss),
        show=show_restoration,
    )


def _encoder_only(config: PretrainConfig, network: SegmentationNetwork, patch: Size) -> Method:
    if not network.has_pyramid:
        raise ConfigError(
            f"{config.method} pretrains an encoder with levels, and a "
            f"{network.config.architecture} has none.",
            code="bad-option",
            remedy="Choose --method volume-fusion, or a network with levels: small, full, nnunet.",
        )
    channels = network.config.level_channels
    if config.method == "rotation":
        return Method(
            pretext=Rotation(patch_size=patch),
            network=EncoderTask(network, RotationHead(channels)),
            loss=rotation_loss,
            judge=partial(_negative_loss, rotation_loss),
            show=show_rotation,
        )
    return Method(
        pretext=OverlappingViews(patch_size=patch),
        network=EncoderTask(network, EmbeddingHead(channels)),
        loss=contrastive_loss,
        judge=partial(_negative_loss, contrastive_loss),
        show=show_views,
    )


def is_encoder_only(config: PretrainConfig) -> bool:
    """Tell whether a method leaves the decoder untrained."""
    return config.method in ("rotation", "contrastive")


def with_outputs(config: PretrainConfig, network: NetworkConfig) -> NetworkConfig:
    """Give a network the outputs that a method needs; Volume Fusion trains those of all levels."""
    if config.method == "volume-fusion":
        return replace(network, num_classes=config.num_levels + 1, deep_supervision=True)
    if config.method == "fusion-masking":  # one more, for the restored intensity
        return replace(network, num_classes=config.num_levels + 2, deep_supervision=True)
    return replace(network, num_classes=1, deep_supervision=False)


def _negative_loss(loss: Callable[[Any, Batch], Tensor], answers: Answers) -> Validation:
    losses = [float(loss(outputs, batch)) for outputs, batch in answers]
    mean = sum(losses) / len(losses)
    return Validation(-mean, {"validation loss": mean})


# ----------------------------------------------------------------------------------- volume fusion


def _volume_fusion(config: PretrainConfig, network: SegmentationNetwork, patch: Size) -> Method:
    return Method(
        pretext=_fusion_task(config, patch),
        network=network,
        loss=SegmentationLoss(),
        judge=partial(fusion_score, num_levels=config.num_levels),
        show=partial(show_fusion, num_levels=config.num_levels),
        classes=lambda batch: batch,
    )


def _fusion_masking(config: PretrainConfig, network: SegmentationNetwork, patch: Size) -> Method:
    return Method(
        pretext=FusionMasking(fusion=_fusion_task(config, patch)),
        network=network,
        loss=FusionMaskingLoss(),
        judge=partial(_fusion_masking_score, num_levels=config.num_levels),
        show=partial(show_fusion_masking, num_levels=config.num_levels),
        classes=fusion_levels,
    )


def _fusion_task(config: PretrainConfig, patch: Size) -> VolumeFusion:
    is_grid = config.sampler == "grid"
    return VolumeFusion(
        crops=CropsOfOneVolume(patch) if is_grid else CropsOfTwoVolumes(patch),
        blocks=_blocks(config, patch),
        num_levels=config.num_levels,
    )


def _fusion_masking_score(answers: Answers, num_levels: int) -> Validation:
    """Score the levels as in Volume Fusion, and report the restoration beside."""
    losses: list[float] = []

    def levels() -> Iterator[tuple[Any, Batch]]:
        for answer in answers:
            losses.append(float(restoration_loss(*masking_part(*answer))))
            yield fusion_part(*answer)

    fusion = fusion_score(levels(), num_levels)
    values = {**fusion.values, "restoration loss": sum(losses) / len(losses)}
    return Validation(fusion.score, values)


def _blocks(config: PretrainConfig, patch: Size) -> LabelSampler:
    """Take the published blocks, or smaller ones where the patch is smaller than 64 x 128 x 128."""
    is_grid = config.sampler == "grid"
    smallest = config.smallest_block or _edges(min(_SMALLEST_BLOCK, edge // 2) for edge in patch)
    largest = config.largest_block or _edges(
        min(_LARGEST_GRID_BLOCK, edge // 2) if is_grid else 5 * edge // 8 for edge in patch
    )
    # Where only one of both was given, it wins.
    if config.smallest_block:
        largest = _edges(map(max, smallest, largest))
    smallest = _edges(map(min, smallest, largest))
    if is_grid:
        return BlockGrid(config.foreground_share, smallest, largest)
    return RandomBoxes(smallest=smallest, largest=largest)


def _edges(values: Iterable[int]) -> Size:
    depth, height, width = values
    return depth, height, width


def fusion_score(answers: Answers, num_levels: int) -> Validation:
    """Return as score the mean Dice of the levels above the background, over all voxels."""
    agreed, counted = torch.zeros(2, num_levels + 1, dtype=torch.float64)
    for outputs, batch in answers:
        logits = outputs if isinstance(outputs, Tensor) else outputs[0]
        predicted, expected = logits.argmax(1).flatten(), batch.label_BDHW.flatten()
        for values, counts in (
            (expected[predicted == expected], agreed),
            (predicted, counted),
            (expected, counted),
        ):
            counts += torch.bincount(values, minlength=num_levels + 1).cpu()
    dice = 2 * agreed / counted.clamp(min=1)
    values = {f"dice/level {level}": float(dice[level]) for level in range(1, num_levels + 1)}
    return Validation(float(dice[1:].mean()), values)
