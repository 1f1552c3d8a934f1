"""Settings of `misfm finetune`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from MISFMLib.configs.training import TrainingConfig
from MISFMLib.configs.types import Spacing

FULL_RATE, LOW_RATE = 3e-3, 3e-4
"""Learning rate from which fresh class outputs are learnt, and with which trained ones are kept."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainingConfig):
    """Train a network on labelled volumes, from scratch or from pretrained weights."""

    verb = "finetune"

    validation_fraction: float = 0.2
    """Part of the cases held out when the split is drawn."""
    steps: int | None = None
    """Optimizer steps; when not given they are planned from the numbers of cases and labels, and
    four validations without a better score let the training end earlier."""
    batch_size: int = 2
    learning_rate: float | None = None
    """Learning rate at the start; decays polynomially to zero. When not given 3e-3, and 3e-4 from a
    model that segments the same labels, by their names and order, and comes from other cases, since
    a high rate would leave little of what it knows."""
    validate_every: int | None = None
    """Steps between validations; when not given a quarter of all steps, and 250 at most."""
    checkpoint_every: int = 250
    spacing_dhw: Spacing | None = None
    """Voxel size in mm to train at; the median of the training volumes when not given."""

    data: Path
    """Folder with images/ and labels/ (or imagesTr/ and labelsTr/), folders of subjects with a
    folder of masks each, a CSV with the columns image and label, or a dataset.json of the Medical
    Segmentation Decathlon or of nnU-Net 2."""
    labels: tuple[str, ...] = ()
    """Names of the labels, as 1=left_kidney 2=right_kidney; else those that the data set gives, in
    dataset.json, labels.json, the segments of .seg.nrrd files or the names of masks."""
    same_labels: bool = False
    """The labels mean the same as those of `init`, whose names and codes the model then takes. Only
    from a model with the same labels the class outputs are taken over."""
    check_only: bool = False
    """Check the data set and show the plan, or all problems with what to do about each; train
    nothing."""
    split: Path | None = None
    """JSON file with the lists train and validation; else dataset.json's split, else by seed."""
    init: str | None = None
    """Start from this bundle (installed name, folder, zip) or published .pt checkpoint."""
    init_parts: Literal["all", "encoder"] = "all"
    """What to take over from `init`: the whole network, or its encoder, which is better after
    pretraining by restoring volumes."""
    trainable: Literal["all", "decoder", "head", "lora"] = "all"
    """What is trained of a network with trained weights: all; its decoder with the class outputs;
    the class outputs alone; or, with lora, low-rank changes of the attention's linear layers (of
    the convolutions in networks without attention), the norms and the class outputs. Whatever
    `init` does not bring is trained in any case."""
    warm_up_steps: int = 100
    """Steps, at most a fifth of all, over which the learning rate rises to its full height. At full
    height from the first step on, small labels may be given up before anything is learnt of
    them."""
    layer_decay: float = 1.0
    """Below 1 each level of the encoder learns more slowly by this factor than the next coarser
    one, and the coarsest than the decoder; so the encoder keeps more of what it has learnt."""
    intensity: Literal["auto", "ct-clip", "ct-percentile", "mr-zscore", "mr-percentile"] = "auto"
    """Intensity scheme; auto follows the modality."""
    deep_supervision: bool = True
    """Train the coarse outputs too."""
    augmentation: Literal["none", "light", "strong"] = "light"
    """Random flips, rotation, scaling, contrast and noise of the training patches."""
    mirror_axes: tuple[int, ...] | None = None
    """Axes (0 depth, 1 height, 2 width) along which augmentation mirrors patches; when not given,
    those along which no two labels differ, as left and right kidney do."""
    foreground_share: float = 0.5
    """Part of the patches that is centred on a labelled voxel."""

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.layer_decay != 1 and self.trainable in ("decoder", "head"):
            problems.append(f"layer_decay does nothing with trainable {self.trainable}")
        if self.trainable != "all" and self.init is None:
            problems.append(f"trainable {self.trainable} needs trained weights to start from: init")
        if self.same_labels and (self.init is None or self.labels):
            problems.append("same_labels needs init, and no labels beside it")
        if self.init_parts != "all" and self.init is None:
            problems.append(f"init_parts {self.init_parts} needs init")
        return problems
