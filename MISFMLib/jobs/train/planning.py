"""Plan of a fine-tuning, from network preset or source model, data set, and the user's wishes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from MISFMLib.configs import (
    FinetuneConfig,
    LabelConfig,
    NetworkConfig,
    PreprocessingConfig,
    ResolutionMode,
    Size,
    Spacing,
)
from MISFMLib.configs.finetune import FULL_RATE, LOW_RATE
from MISFMLib.data.case_reading import plain
from MISFMLib.data.cases import LabelledSet, Split
from MISFMLib.data.datasets import UNLABELLED
from MISFMLib.data.descriptions import has_other_than_ct
from MISFMLib.data.known_cases import KnownCases
from MISFMLib.data.label_check import CaseFacts
from MISFMLib.data.label_sides import mirror_axes
from MISFMLib.data.nnunet_rules import nnunet_spacing, plan_stages
from MISFMLib.data.plan import (
    Modality,
    TrainingPlan,
    along,
    patch_budget,
    plan_intensity,
    plan_modality,
    plan_orientation,
    plan_patch,
    plan_spacing,
    plan_steps,
)
from MISFMLib.errors import ConfigError
from MISFMLib.jobs.train.start import Start, check_whole, trains_on
from MISFMLib.models.terminology import label_config
from MISFMLib.networks import choose_resolution_mode, stride_dhw
from MISFMLib.networks.resolution import OF_ONE_SIZE, check_patch, fitting_patch

_PATIENCE = 4
"""Validations without a better score before a training of planned length comes to its end."""
_LONGEST_BLIND = 250
"""Most steps between validations; in short trainings fewer, so that labels which are not found then
can count more while there is time to learn them."""


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

    Raises:
        ConfigError: Settings, data set and start do not fit together.
    """
    described: Modality | Literal[""] = config.modality if config.modality != "auto" else ""
    if not described:
        described = "other" if has_other_than_ct(found.channels) else found.modality
    modality = plan_modality(facts, described)
    space = _model_space(config, found, facts, modality, start)
    labels = _labels(config, found, facts, start)
    check_whole(start, labels, len(found.channels))
    space = replace(space, mirror_axes=_mirror_axes(config, labels, facts, space))
    facts = [along(fact, space) for fact in facts]
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
    config: FinetuneConfig,
    split: Split,
    labels: Sequence[LabelConfig],
    start: Start,
    known: KnownCases,
) -> FinetuneConfig:
    """Plan rate, length and validations of a training, and its end when the score stands still.

    What the user has said stays.

    Args:
        config: The user's settings.
        split: Cases to learn from, and those held out, without which there is no score.
        labels: To find.
        start: What the training starts from.
        known: To that start. If all that it has learnt from is learnt from again, there is more to
            learn than to keep: Docs/loop.md.
    """
    if config.learning_rate is None:
        has_all_again = known.is_whole and known.train <= set(split.train)
        low = trains_on(config, start, labels) and not has_all_again
        config = replace(config, learning_rate=LOW_RATE if low else FULL_RATE)
    if config.steps is None:
        patience = config.patience or (_PATIENCE if split.validation else None)
        steps = plan_steps(len(split.train), len(labels))
        config = replace(config, steps=steps, patience=patience)
    assert config.steps is not None
    validate_every = config.validate_every or max(1, min(_LONGEST_BLIND, config.steps // 4))
    return replace(config, validate_every=validate_every)


def _model_space(
    config: FinetuneConfig,
    found: LabelledSet,
    facts: Sequence[CaseFacts],
    modality: Modality,
    start: Start,
) -> PreprocessingConfig:
    """Take over axes, crop, intensities and spacing of a source of the same modality, or plan them.

    Patch and mirrored axes are left open, and the spacing too unless the source has one. What was
    only pretrained is taught the intensities of the plan: MR in the range of a pretext task, from
    -1 to 1, cost 4 to 7 points of Dice (Docs/evidence.md).
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
    takes_over = has_same_channels and not start.reorders(found.channels)
    if config.intensity != "auto" or not takes_over or start.is_pretrained:
        source = replace(source, intensity=planned.intensity)
    space = replace(source, channels=found.channels, previous_labels=())
    # What the network gives is trained anew: one class a voxel.
    return replace(space, decision="highest", scores="logits") if source.is_regional else space


def _mirror_axes(
    config: FinetuneConfig,
    labels: Sequence[LabelConfig],
    facts: Sequence[CaseFacts],
    space: PreprocessingConfig,
) -> tuple[int, ...]:
    if config.augmentation == "none":
        return ()
    if config.mirror_axes is not None:
        return config.mirror_axes
    return sound_mirror_axes(labels, facts, space)


def sound_mirror_axes(
    labels: Sequence[LabelConfig], facts: Sequence[CaseFacts], space: PreprocessingConfig
) -> tuple[int, ...]:
    """Return the axes of model space along which mirrored cases still have the right labels."""
    names = [label.name for label in labels]
    return mirror_axes(names, [fact.sides for fact in facts], space.directions)


def _resolution_mode(config: FinetuneConfig, start: Start, spacing: Spacing) -> ResolutionMode:
    if config.resolution_mode is not None:
        return config.resolution_mode
    return start.network.resolution_mode if start.source else choose_resolution_mode(spacing)


def _patch(
    facts: Sequence[CaseFacts], spacing: Spacing, network: NetworkConfig, start: Start
) -> Size:
    """Plan the patch; that of a model stays, except where the volumes are smaller than it.

    What segments needs to see as much as it has learnt with, so that it is cut to nothing less than
    the volumes; what was only pretrained goes by what is worth its time in a fresh network.
    """
    stride = stride_dhw(network)
    has_one_size = network.architecture in (*OF_ONE_SIZE, "monai")  # or tells not what else fits
    if start.bundle is None or (start.is_pretrained and not has_one_size):
        most, least = start.max_patch_voxels, start.least_patch_voxels
        budget = most if least is None else patch_budget(facts, spacing, least, most)
        patch = plan_patch(facts, spacing, stride, budget)
        return fitting_patch(network, patch)
    own_patch = start.bundle.manifest.preprocessing.patch_size
    if has_one_size:
        return own_patch
    depth, height, width = map(min, plan_patch(facts, spacing, stride, math.inf, 1), own_patch)
    return depth, height, width


def _labels(
    config: FinetuneConfig, found: LabelledSet, facts: Sequence[CaseFacts], start: Start
) -> tuple[LabelConfig, ...]:
    """Describe the labels as the data set names them.

    Codes and colours come from the source where it has a label of the same name. Its names are
    taken only when the user says that the labels are the same: equal values prove nothing.

    Raises:
        ConfigError: The labels were said to be those of the source, and their values differ; or
            there are too many.
    """
    values = sorted({value for fact in facts for value in fact.label_values})
    if len(values) >= UNLABELLED:
        raise ConfigError(
            f"The label maps hold {len(values)} labels, a network learns up to {UNLABELLED - 1}.",
            code="too-many-labels",
            remedy="Share the labels between several models, and segment with all of them.",
        )
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
