"""What a training starts from: a preset with fresh weights, a bundle, a published checkpoint."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from MISFMLib.configs import (
    FinetuneConfig,
    LabelConfig,
    NetworkConfig,
    NetworkPreset,
    TrainingConfig,
    decode,
)
from MISFMLib.data.case_reading import plain
from MISFMLib.data.nnunet_rules import StageRules
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.device import seed_everything
from MISFMLib.errors import ConfigError
from MISFMLib.models import store
from MISFMLib.models.bundle import Bundle
from MISFMLib.networks import (
    LoadReport,
    SegmentationNetwork,
    build_network,
    initialise,
    load_published_checkpoint,
)
from MISFMLib.networks.trainable import choose_trainable
from MISFMLib.resources import read_preset

_PUBLISHED_SUFFIXES = (".pt", ".pth")
_PUBLISHED_PATCH = (64, 128, 128)


@dataclass(frozen=True)
class Start:
    """What a training starts from: fresh weights, a bundle, or a published checkpoint."""

    network: NetworkConfig
    """Architecture and sizes; classes and channels follow the data set."""
    max_patch_voxels: int
    """Budget of the patch."""
    least_patch_voxels: int | None = None
    """Budget where all labels are small; None where it does not go by the labels."""
    rules: StageRules | None = None
    """By which the stages follow the data; None where the network is what it is."""
    bundle: Bundle | None = None
    checkpoint: Path | None = None

    @property
    def source(self) -> Bundle | Path | None:
        """Where the weights come from; None for fresh ones."""
        return self.bundle or self.checkpoint

    @property
    def is_pretrained(self) -> bool:
        """Whether this is a bundle that segments nothing by itself."""
        return self.bundle is not None and self.bundle.manifest.kind == "pretrained"

    def segments(self, label_count: int) -> bool:
        """Tell whether this is a trained model of so many labels."""
        if self.bundle is None or self.is_pretrained:
            return False
        if self.bundle.manifest.preprocessing.is_regional:
            return False
        return self.network.num_classes == label_count + 1

    def knows(self, labels: Sequence[LabelConfig]) -> bool:
        """Tell whether this is a trained model of these labels, by their names and order.

        That it has as many proves nothing: they may be others, or numbered in another order.
        """
        if self.bundle is None or not self.segments(len(labels)):
            return False
        theirs = self.bundle.manifest.own_labels
        return [plain(each.name) for each in theirs] == [plain(each.name) for each in labels]

    def reorders(self, channels: Sequence[str]) -> bool:
        """Tell whether this is a model of the same channels, by their names, in another order."""
        if self.bundle is None:
            return False
        theirs, ours = (
            [name.casefold().strip() for name in names]
            for names in (self.bundle.manifest.preprocessing.channels, channels)
        )
        return theirs != ours and sorted(theirs) == sorted(ours)

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


def fresh_start(name: NetworkPreset) -> Start:
    """Return fresh weights of a preset's network."""
    network, most, rules = preset_network(name)
    return Start(network, most, read_preset(name).get("least_patch_voxels"), rules)


def find_start(config: FinetuneConfig) -> Start:
    """Find what the training starts from.

    Raises:
        BundleError: The source model is missing or damaged.
        ConfigError: It is an ensemble.
    """
    if config.init is None:
        return fresh_start(config.network)
    if config.init.endswith(_PUBLISHED_SUFFIXES):
        checkpoint = Path(config.init)
        # The tensors do not tell the mode; the released weights were made in mode 1.
        mode = 1 if config.resolution_mode is None else config.resolution_mode
        network, _ = load_published_checkpoint(checkpoint, resolution_mode=mode)
        return Start(network.config, math.prod(_PUBLISHED_PATCH), checkpoint=checkpoint)
    bundle = store.find_model(config.init)
    if bundle.manifest.network.members > 1:
        raise ConfigError(
            f"{config.init} is an ensemble of {bundle.manifest.network.members} networks, and a "
            "training trains one.",
            code="start-ensemble",
            remedy="Start from one of them: of nnU-Net import one fold; or combine networks that "
            "come from one start with --mean-of weights.",
        )
    return _of_bundle(bundle)


def _of_bundle(bundle: Bundle) -> Start:
    """Start from a bundle: what was only pretrained may have the patch of fresh weights.

    A pretext task is learnt on small patches in less time; a structure that is larger than they are
    is not segmented with them as well (Docs/evidence.md).
    """
    manifest = bundle.manifest
    network, budget = manifest.network, math.prod(manifest.preprocessing.patch_size)
    fresh = _fresh(network) if manifest.kind == "pretrained" else None
    if fresh is None:
        return Start(network, budget, bundle=bundle)
    most = max(budget, fresh.max_patch_voxels)
    return Start(network, most, fresh.least_patch_voxels, bundle=bundle)


def _fresh(network: NetworkConfig) -> Start | None:
    """Return fresh weights of the preset with a network's architecture and widths."""
    asked = network.architecture, network.level_channels
    starts = map(fresh_start, get_args(NetworkPreset))
    of_these = (s for s in starts if (s.network.architecture, s.network.level_channels) == asked)
    return next(of_these, None)


def trains_on(config: FinetuneConfig, start: Start, labels: Sequence[LabelConfig]) -> bool:
    """Tell whether a model that knows the labels is trained on, its class outputs too."""
    return start.knows(labels) and config.init_parts == "all"


def check_whole(start: Start, labels: Sequence[LabelConfig], channels: int) -> None:
    """Refuse other labels or channels for a network of MONAI, which is trained on as it is.

    Nothing tells which of its parts belong to them.

    Raises:
        ConfigError: They are others.
    """
    if start.bundle is None or start.network.architecture != "monai":
        return
    if start.knows(labels) and channels == start.network.in_channels:
        return
    names = ", ".join(label.name for label in start.bundle.manifest.own_labels)
    raise ConfigError(
        f"{start.bundle.manifest.name} is a network of MONAI with {start.network.in_channels} "
        f"channel(s) and the labels {names}; with others it cannot be trained on.",
        code="start-labels",
        remedy="If the labels mean the same, use --same-labels; else start from another model.",
    )


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
    is_other_task = not start.knows(plan.labels)
    report = initialise(
        network, start.source, encoder_only=encoder_only, is_other_task=is_other_task
    )
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
