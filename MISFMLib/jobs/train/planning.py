"""Plan of a fine-tuning, from network preset or source model, data set, and the user's wishes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from MISFMLib.configs import (
    FinetuneConfig,
    LabelConfig,
    NetworkConfig,
    NetworkPreset,
    PreprocessingConfig,
    ResolutionMode,
    Size,
    Spacing,
    TrainingConfig,
    decode,
)
from MISFMLib.configs.finetune import FULL_RATE, LOW_RATE
from MISFMLib.data.case_reading import plain
from MISFMLib.data.cases import LabelledSet, Split
from MISFMLib.data.descriptions import has_other_than_ct
from MISFMLib.data.label_check import CaseFacts
from MISFMLib.data.label_sides import mirror_axes
from MISFMLib.data.nnunet_rules import StageRules, nnunet_spacing, plan_stages
from MISFMLib.data.plan import (
    Modality,
    TrainingPlan,
    along,
    plan_intensity,
    plan_modality,
    plan_orientation,
    plan_patch,
    plan_spacing,
    plan_steps,
)
from MISFMLib.device import seed_everything
from MISFMLib.errors import ConfigError
from MISFMLib.models import store
from MISFMLib.models.bundle import Bundle
from MISFMLib.models.terminology import label_config
from MISFMLib.networks import (
    LoadReport,
    SegmentationNetwork,
    build_network,
    choose_resolution_mode,
    initialise,
    load_published_checkpoint,
    stride_dhw,
)
from MISFMLib.networks.resolution import OF_ONE_SIZE, check_patch
from MISFMLib.networks.trainable import choose_trainable
from MISFMLib.resources import read_preset

_PUBLISHED_SUFFIXES = (".pt", ".pth")
_PATIENCE = 4
"""Validations without a better score before a training of planned length comes to its end."""
_PUBLISHED_PATCH = (64, 128, 128)


@dataclass(frozen=True)
class Start:
    """What a training starts from: fresh weights, a bundle, or a published checkpoint."""

    network: NetworkConfig
    """Architecture and sizes; classes and channels follow the data set."""
    max_patch_voxels: int
    """Budget of the patch."""
    rules: StageRules | None = None
    """By which the stages follow the data; None where the network is what it is."""
    bundle: Bundle | None = None
    checkpoint: Path | None = None

    @property
    def source(self) -> Bundle | Path | None:
        """Where the weights come from; None for fresh ones."""
        return self.bundle or self.checkpoint

    def segments(self, label_count: int) -> bool:
        """Tell whether this is a trained model of so many labels."""
        if self.bundle is None or self.bundle.manifest.kind == "pretrained":
            return False
        return self.network.num_classes == label_count + 1

    def sha256(self) -> str:
        """Return the SHA-256 of the source; empty for fresh weights."""
        if self.bundle:
            return self.bundle.manifest.weights_sha256
        return hashlib.sha256(self.checkpoint.read_bytes()).hexdigest() if self.checkpoint else ""


def preset_network(name: NetworkPreset) -> tuple[NetworkConfig, int, StageRules | None]:
    """Return the network of a preset, the budget of its patch, and the rules of its stages."""
    preset = read_preset(name)
    rules = decode(StageRules, preset["planned"]) if "planned" in preset else None
    return decode(NetworkConfig, preset["network"]), preset["max_patch_voxels"], rules


def find_start(config: FinetuneConfig) -> Start:
    """Find what the training starts from.

    Raises:
        BundleError: The source model is missing or damaged.
    """
    if config.init is None:
        return Start(*preset_network(config.network))
    if config.init.endswith(_PUBLISHED_SUFFIXES):
        checkpoint = Path(config.init)
        # The tensors do not tell the mode; the released weights were made in mode 1.
        mode = 1 if config.resolution_mode is None else config.resolution_mode
        network, _ = load_published_checkpoint(checkpoint, resolution_mode=mode)
        return Start(network.config, math.prod(_PUBLISHED_PATCH), checkpoint=checkpoint)
    bundle = store.find_model(config.init)
    patch_size = bundle.manifest.preprocessing.patch_size
    return Start(bundle.manifest.network, math.prod(patch_size), bundle=bundle)


def start_network(
    config: FinetuneConfig, plan: TrainingPlan, start: Start
) -> tuple[SegmentationNetwork, LoadReport | None]:
    """Build the network to train, with the weights it starts from.

    Returns:
        The network, frozen apart from what is trained, and what was taken over from the source
        when there is one.

    Raises:
        BundleError: The source does not fit.
    """
    seed_everything(config.seed)
    network = build_network(replace(plan.network, deep_supervision=config.deep_supervision))
    check_levels(config, network)
    if start.source is None:
        return network, None
    encoder_only = config.init_parts == "encoder"
    report = initialise(network, start.source, encoder_only=encoder_only)
    choose_trainable(network, config.trainable, report.newly_initialised)
    return network, report


def check_levels(config: TrainingConfig, network: SegmentationNetwork) -> None:
    """Refuse settings that speak of levels where the network has none of ours.

    Raises:
        ConfigError: It has none.
    """
    asked = {"recompute_levels": config.recompute_levels > 0}
    if isinstance(config, FinetuneConfig):
        asked["layer_decay"] = config.layer_decay != 1
    names = [name for name, is_asked in asked.items() if is_asked and not network.has_pyramid]
    if names:
        raise ConfigError(
            f"{' and '.join(names)} cannot be had with a {network.config.architecture}.",
            code="bad-option",
            remedy="Leave it out, or choose a network with levels: small, full, nnunet, resenc.",
        )


# ---------------------------------------------------------------------------------------- the plan


def make_plan(
    config: FinetuneConfig, found: LabelledSet, facts: Sequence[CaseFacts], start: Start
) -> TrainingPlan:
    """Derive the plan of a training.

    What the user set comes first, then the model space of a source bundle of the same modality,
    then what the training cases suggest.

    Args:
        config: The user's settings.
        found: The data set.
        facts: Facts of the training cases.
        start: What the training starts from.
    """
    described: Modality | Literal[""] = config.modality if config.modality != "auto" else ""
    if not described:
        described = "other" if has_other_than_ct(found.channels) else found.modality
    modality = plan_modality(facts, described)
    space = _model_space(config, found, facts, modality, start)
    labels = _labels(config, found, facts, start)
    space = replace(space, mirror_axes=_mirror_axes(config, labels, facts, space.orientation))
    facts = [along(fact, space.orientation) for fact in facts]
    plan_voxels = plan_spacing if start.rules is None else nnunet_spacing
    spacing = config.spacing_dhw or space.spacing_dhw or plan_voxels(facts)
    network = replace(
        start.network,
        in_channels=len(found.channels),
        num_classes=len(labels) + 1,
        resolution_mode=_resolution_mode(config, start, spacing),
        deep_supervision=False,
    )
    if start.rules is not None:
        network, patch = plan_stages(network, start.rules, facts, spacing, config.patch_size)
    else:
        patch = config.patch_size or _patch(facts, spacing, network, start)
    network = replace(network, patch_size=patch)
    check_patch(network)
    return TrainingPlan(
        network=network,
        preprocessing=replace(space, spacing_dhw=spacing, patch_size=patch),
        labels=labels,
        batch_size=config.batch_size,
    )


def with_schedule(
    config: FinetuneConfig, split: Split, label_count: int, start: Start
) -> FinetuneConfig:
    """Plan rate and length of a training, and its end when the score stands still.

    What the user has said stays.

    Args:
        config: The user's settings.
        split: Cases to learn from, and those held out, without which there is no score.
        label_count: Labels to find.
        start: What the training starts from.
    """
    if config.learning_rate is None:
        knows_labels = start.segments(label_count) and config.init_parts == "all"
        config = replace(config, learning_rate=LOW_RATE if knows_labels else FULL_RATE)
    if config.steps is not None:
        return config
    patience = config.patience or (_PATIENCE if split.validation else None)
    return replace(config, steps=plan_steps(len(split.train), label_count), patience=patience)


def _model_space(
    config: FinetuneConfig,
    found: LabelledSet,
    facts: Sequence[CaseFacts],
    modality: Modality,
    start: Start,
) -> PreprocessingConfig:
    """Take over axes, crop, intensities and spacing of a source of the same modality, or plan them.

    Patch and mirrored axes are left open, and the spacing too unless the source has one.
    """
    planned = PreprocessingConfig(
        modality=modality,
        channels=found.channels,
        intensity=plan_intensity(facts, modality, config.intensity, found.channels),
        orientation=plan_orientation(facts),
        crop="body" if modality == "CT" else "none",
    )
    source = start.bundle.manifest.preprocessing if start.bundle else None
    if source is None or source.modality != modality:
        return planned
    has_same_channels = len(source.channels) == len(found.channels)
    intensity = (
        source.intensity if config.intensity == "auto" and has_same_channels else planned.intensity
    )
    return replace(source, channels=found.channels, intensity=intensity)


def _mirror_axes(
    config: FinetuneConfig,
    labels: Sequence[LabelConfig],
    facts: Sequence[CaseFacts],
    orientation: str,
) -> tuple[int, ...]:
    if config.augmentation == "none":
        return ()
    if config.mirror_axes is not None:
        return config.mirror_axes
    return sound_mirror_axes(labels, facts, orientation)


def sound_mirror_axes(
    labels: Sequence[LabelConfig], facts: Sequence[CaseFacts], orientation: str
) -> tuple[int, ...]:
    """Return the axes of model space along which mirrored cases still have the right labels."""
    names = [label.name for label in labels]
    return mirror_axes(names, [fact.sides for fact in facts], orientation)


def _resolution_mode(config: FinetuneConfig, start: Start, spacing: Spacing) -> ResolutionMode:
    if config.resolution_mode is not None:
        return config.resolution_mode
    return start.network.resolution_mode if start.source else choose_resolution_mode(spacing)


def _patch(
    facts: Sequence[CaseFacts], spacing: Spacing, network: NetworkConfig, start: Start
) -> Size:
    """Plan the patch; a source's patch stays, except where the volumes are smaller than it."""
    stride = stride_dhw(network)
    if start.bundle is None:
        return plan_patch(facts, spacing, stride, start.max_patch_voxels)
    if network.architecture in OF_ONE_SIZE:
        return start.bundle.manifest.preprocessing.patch_size
    depth, height, width = map(
        min,
        plan_patch(facts, spacing, stride, math.inf),
        start.bundle.manifest.preprocessing.patch_size,
    )
    return depth, height, width


def _labels(
    config: FinetuneConfig, found: LabelledSet, facts: Sequence[CaseFacts], start: Start
) -> tuple[LabelConfig, ...]:
    """Describe the labels as the data set names them.

    Codes and colours come from the source where it has a label of the same name. Its names are
    taken only when the user says that the labels are the same: equal values prove nothing.

    Raises:
        ConfigError: The labels were said to be those of the source, and their values differ.
    """
    values = sorted({value for fact in facts for value in fact.label_values})
    of_source = start.bundle.manifest.labels if start.bundle else ()
    if config.same_labels:
        theirs = [label.value for label in of_source]
        if not set(values) <= set(theirs):
            raise ConfigError(
                f"The label maps hold {values}, the labels of {config.init} are {theirs}.",
                code="labels-differ",
                remedy="Leave --same-labels out, and name the labels with --labels.",
            )
        return of_source
    by_name = {plain(label.name): label for label in of_source}
    labels = []
    for value in values:
        name = found.label_names.get(value, f"label {value}")
        known = by_name.get(plain(name))
        labels.append(
            replace(known, value=value, name=name) if known else label_config(value, name)
        )
    return tuple(labels)
