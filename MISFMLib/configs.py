"""Settings of networks, model space and jobs as frozen dataclasses; needs neither torch nor numpy.

Every default stands here and nowhere else. The line under a field is its help text on the command
line and its tooltip in Slicer. `decode` and `encode` translate to and from JSON.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from MISFMLib.errors import ConfigError

Size = tuple[int, int, int]
"""Voxels along depth, height, width."""
Spacing = tuple[float, float, float]
"""Millimetres along depth, height, width."""
ResolutionMode = Literal[0, 1, 2]
"""How anisotropic the voxels are: 0 isotropic, 1 mildly (about 2:1), 2 strongly (3:1 and more)."""
Precision = Literal["auto", "fp32", "bf16", "fp16"]
SegmentPrecision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
EngineName = Literal["auto", "torch", "openvino"]
NetworkPreset = Literal["small", "full", "fmunet", "unet3d", "unet3d-small"]
"""Networks to train from scratch, by the names of the files in ``presets``."""


# ---------------------------------------------------------------------------------------- network


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Everything that fixes a network's layers; stored in a bundle beside the weights."""

    architecture: Literal["pctnet", "fmunet", "unet3d"] = "pctnet"
    """PCT-Net (convolution and window attention in parallel), FMUNet, or a plain 3D U-Net."""
    in_channels: int = 1
    """Channels of the input volume."""
    num_classes: int = 2
    """Classes including background = 0."""
    level_channels: tuple[int, ...] = (24, 48, 128, 256, 512)
    """Feature channels of the five levels, finest first."""
    resolution_mode: ResolutionMode = 1
    """0 isotropic, 1 mildly anisotropic, 2 strongly anisotropic voxels."""
    deep_supervision: bool = False
    """Return logits of four levels, finest first, instead of one tensor."""
    dropout: tuple[float, ...] = (0.0, 0.0, 0.2, 0.2, 0.2)
    """Dropout probability of the five levels."""
    depths: tuple[int, ...] = (2, 2, 2)
    """Attention blocks at levels 2, 3, 4 (PCT-Net); FMUNet: the first is the blocks of a level."""
    num_heads: tuple[int, ...] = (4, 8, 16)
    """Attention heads at levels 2, 3, 4 (PCT-Net)."""
    window_sizes: tuple[int, ...] = (6, 6, 6)
    """Edge of the attention windows at levels 2, 3, 4 in voxels of the level (PCT-Net)."""
    patch_size: Size | None = None
    """Patch the attention windows are laid out for; None keeps every window at its full size."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, it must be at least 1"
            for name in ("in_channels", "num_classes")
            if getattr(self, name) < 1
        ]
        lengths = {"level_channels": 5, "dropout": 5}
        if self.architecture == "pctnet":
            lengths |= {"depths": 3, "num_heads": 3, "window_sizes": 3}
        problems += [
            f"{name} needs {length} values, got {getattr(self, name)}"
            for name, length in lengths.items()
            if len(getattr(self, name)) != length
        ]
        if self.architecture == "pctnet":
            problems += [
                f"{channels} channels cannot be shared by {heads} attention heads"
                for channels, heads in zip(self.level_channels[2:], self.num_heads, strict=False)
                if heads < 1 or channels % heads
            ]
        used = {"pctnet": ("depths", "window_sizes"), "fmunet": ("depths",), "unet3d": ()}
        problems += [
            f"{name} is {getattr(self, name)}, it needs values of at least 1"
            for name in (*used[self.architecture], "patch_size")
            if getattr(self, name) is not None and min(getattr(self, name), default=0) < 1
        ]
        if self.resolution_mode not in (0, 1, 2):
            problems.append(f"resolution_mode is {self.resolution_mode}, it must be 0, 1 or 2")
        raise_problems(problems, "Correct the network settings.")


# ------------------------------------------------------------------------------------ model space


@dataclass(frozen=True, kw_only=True)
class IntensityConfig:
    """How the intensities of one channel become network input; statistics are always per volume."""

    scheme: Literal["ct-clip", "ct-percentile", "mr-zscore", "mr-percentile"] = "mr-zscore"
    """ct-clip: clip HU to `clip` and scale to [-1, 1]. ct-percentile: clip to `clip` (percentiles
    of the training foreground in HU), then subtract `mean` and divide by `std`. mr-zscore: subtract
    the volume's mean and divide by its deviation. mr-percentile: clip to the volume's `clip`
    percentiles and scale to [-1, 1]."""
    clip: tuple[float, float] | None = None
    """Lower and upper bound: HU for the CT schemes, percentiles 0-100 for mr-percentile."""
    mean: float = 0.0
    """HU mean of the training foreground (ct-percentile)."""
    std: float = 1.0
    """HU standard deviation of the training foreground (ct-percentile)."""


@dataclass(frozen=True, kw_only=True)
class PreprocessingConfig:
    """From a volume as it was scanned to the model's space."""

    modality: Literal["CT", "MR", "other"] = "other"
    """What the model expects to see; a volume that looks otherwise gives a warning."""
    channels: tuple[str, ...] = ("image",)
    """Names of the input channels in the network's order, such as ``T1``."""
    intensity: tuple[IntensityConfig, ...] = (IntensityConfig(),)
    """One scheme per channel."""
    spacing_dhw: Spacing | None = None
    """Voxel size in mm that volumes are resampled to; None keeps the volume's own."""
    orientation: str = "LPS"
    """Canonical axes as three letters for x, y, z in SimpleITK's sense; LPS is the DICOM order."""
    crop: Literal["none", "nonzero", "body"] = "none"
    """Cut empty borders before the network: none, nonzero (zero voxels), body (HU <= -500)."""
    patch_size: Size = (64, 128, 128)
    """Window of the network in voxels of the model space."""
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    """Axes (0 depth, 1 height, 2 width) along which the model was trained on mirrored volumes."""

    def __post_init__(self) -> None:
        problems = []
        if len(self.intensity) != len(self.channels):
            problems.append(
                f"{len(self.intensity)} intensity schemes for {len(self.channels)} channels"
            )
        if min(self.patch_size) < 1:
            problems.append(f"patch_size is {self.patch_size}, all edges must be at least 1")
        if self.spacing_dhw is not None and min(self.spacing_dhw) <= 0:
            problems.append(f"spacing_dhw is {self.spacing_dhw}, all values must be positive")
        if not set(self.mirror_axes) <= {0, 1, 2}:
            problems.append(f"mirror_axes is {self.mirror_axes}, allowed are 0, 1 and 2")
        raise_problems(problems, "Correct the preprocessing settings.")


@dataclass(frozen=True)
class Code:
    """A coded concept, as DICOM writes it."""

    value: str
    """Code, such as ``10200004``."""
    scheme: str
    """Coding scheme, such as ``SCT`` for SNOMED CT."""
    meaning: str
    """Plain words, such as ``Liver``."""


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """One foreground class: how it is called, shown, coded and cleaned up."""

    value: int
    """Integer in the label map, 1 and up."""
    name: str
    """Name for people, unique in the model."""
    color: tuple[int, int, int] = (128, 174, 128)
    """Red, green, blue, 0 to 255."""
    category: Code = Code("85756007", "SCT", "Tissue")
    """Segmented property category."""
    type: Code = Code("85756007", "SCT", "Tissue")
    """Segmented property type."""
    modifier: Code | None = None
    """Modifier of the type, such as left or right."""
    keep_largest: bool = False
    """Keep only the largest connected component."""
    min_volume_mm3: float = 0.0
    """Remove connected components smaller than this."""
    fill_holes: bool = False
    """Fill cavities that the label encloses."""


# ------------------------------------------------------------------------------------------- jobs


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """Segment volumes with a model."""

    images: tuple[Path, ...]
    """Volumes (.nii .nii.gz .nrrd .mha .mhd), DICOM folders, or folders of volumes. The channels of
    a multi-channel case are joined by commas, in the model's order: t1.nii.gz,flair.nii.gz"""
    model: str
    """Name of an installed model (see `misfm models list`), or path of a bundle folder or zip."""
    output: Path
    """Result file for one case (.nii.gz .nrrd .mha .seg.nrrd .dcm), or a folder for many."""
    format: Literal["nii.gz", "nrrd", "mha", "seg.nrrd", "dcm"] = "seg.nrrd"
    """File format when the output is a folder; dcm (DICOM SEG) needs DICOM input."""
    series: str | None = None
    """DICOM series instance UID to read when a folder holds several."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: SegmentPrecision = "auto"
    """Number format of the network; auto takes half precision where the chip is faster with it.
    int8 is for models that `misfm quantize` has prepared on this computer; others are computed as
    with auto."""
    engine: EngineName = "auto"
    """Program that computes the network: torch, or openvino, which is faster on x86 CPUs once it
    has converted the model, which takes some seconds; auto does that as soon as it pays."""
    overlap: float = 0.5
    """Overlap of neighbouring windows as a fraction of the patch, 0 to below 1."""
    batch_size: int | None = None
    """Windows computed together; as many as make about a million voxels when not given."""
    mirroring: bool = False
    """Average over the mirror images that the model was trained on, up to eight: better by a
    little, slower by their number."""
    threads: int | None = None
    """CPU threads; all cores when not given."""
    postprocessing: Literal["model", "off"] = "model"
    """Clean up components and holes as the model says, or leave the network's answer alone."""
    statistics: Path | None = None
    """Also write a table with the volume of every label in ml (.csv)."""
    overview: Path | None = None
    """Also write a picture of three planes with the labels (.png); a folder for many cases."""
    uncertainty: Path | None = None
    """Also write how undecided the network is in every voxel (.nii.gz .nii .nrrd .mha): the entropy
    of the class probabilities, with --mirroring averaged over the mirror images, in percent of the
    highest there can be; a folder for many cases. The report then lists where to look first. A high
    value is a reason to check, a low one no proof: a network knows nothing of what it never saw."""
    report: Path | None = None
    """Also write a report of the run (.json); a folder for many cases."""
    overwrite: bool = False
    """Replace results that are already there; without it one file is refused, a batch resumes."""

    def __post_init__(self) -> None:
        problems = []
        if not self.images:
            problems.append("no image was given")
        if not 0 <= self.overlap < 1:
            problems.append(f"overlap is {self.overlap}, it must be at least 0 and below 1")
        problems += [
            f"{name} is {getattr(self, name)}, it must be at least 1"
            for name in ("batch_size", "threads")
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]
        raise_problems(problems, "See `misfm segment --help`.")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What every training has to know, with or without labels."""

    verb: ClassVar[str]
    """Command that has these settings."""

    output: Path
    """Bundle folder to write; checkpoints and logs go to a folder beside it until it is done."""
    name: str = ""
    """Title of the model for people; the output folder's name when not given."""
    network: NetworkPreset = "small"
    """Network with fresh weights; small and full are PCT-Nets of 3 and 44 M weights."""
    modality: Literal["auto", "CT", "MR", "other"] = "auto"
    """Modality of the volumes; auto asks the data set and the files, or guesses by intensities."""
    spacing_dhw: Spacing | None = None
    """Voxel size in mm to train at."""
    patch_size: Size | None = None
    """Training patch in voxels; planned from the volumes when not given."""
    resolution_mode: ResolutionMode | None = None
    """Anisotropy mode of the network; planned from the voxel sizes when not given."""
    validation_fraction: float
    """Part of the volumes that is held out to judge the weights and keep the best."""
    steps: int
    """Optimizer steps."""
    minutes: float | None = None
    """End after so many minutes of training if the steps are not done by then; the learning rate
    falls accordingly. Such a training cannot be repeated bit for bit."""
    patience: int | None = None
    """End when so many validations in a row have not raised the score of the held-out volumes, its
    mean over three validations, by 0.001; in a fine-tuning they count once all labels are found."""
    batch_size: int
    """Samples per step."""
    accumulate: int = 1
    """Parts in which a step's samples go through the network one after another; more parts need
    less memory. The loss, which counts all voxels of a part together, is the mean over the
    parts."""
    recompute_levels: int = 0
    """Levels of the network, from the finest of five, whose inner features are computed again for
    the gradient instead of being kept: less memory for a longer step with the same result."""
    learning_rate: float = 1e-3
    """Learning rate at the start; decays polynomially to zero."""
    weight_decay: float = 1e-5
    """Weight decay."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    """Optimizer. Published is adam, which lets the weights of a level that the task hardly uses
    shrink away; see Docs/evidence.md."""
    gradient_clip: float = 12.0
    """Largest gradient norm; longer gradients are shortened to it."""
    validate_every: int
    """Steps between validations."""
    checkpoint_every: int
    """Steps between checkpoints."""
    resume: bool = False
    """Go on from the newest checkpoint of the same output."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    devices: int = 1
    """Processes for data-parallel training; each takes its share of the batch."""
    precision: Precision = "auto"
    """Number format of the computation."""
    threads: int | None = None
    """CPU threads; all cores when not given."""
    seed: int = 1
    """Seed of the split, the weights and the samples."""
    license: str = "unknown"
    """Licence of the trained weights, written into the bundle."""
    authors: str = "unknown"
    """Authors of the model, written into the bundle."""
    training_data: str = ""
    """Origin, licence and attribution of the training data, written into the model card."""
    overwrite: bool = False
    """Replace a bundle that is already there."""

    def __post_init__(self) -> None:
        raise_problems(self._problems(), f"See `misfm {self.verb} --help`.")

    def _problems(self) -> list[str]:
        """Name settings that are impossible, alone or together."""
        problems = self._below_one(
            "steps", "patience", "batch_size", "accumulate", "validate_every", "checkpoint_every"
        )
        problems += self._below_one("devices", "threads")
        if not 0 <= self.recompute_levels <= 5:
            problems.append(f"recompute_levels is {self.recompute_levels}, it must be from 0 to 5")
        problems += [
            f"{name} is {getattr(self, name)}, it must be positive"
            for name in ("minutes", "learning_rate", "gradient_clip")
            if getattr(self, name) is not None and getattr(self, name) <= 0
        ]
        return problems

    def _below_one(self, *names: str) -> list[str]:
        return [
            f"{name} is {getattr(self, name)}, it must be at least 1"
            for name in names
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainingConfig):
    """Train a network on labelled volumes, from scratch or from pretrained weights."""

    verb = "finetune"

    validation_fraction: float = 0.2
    """Part of the cases held out when the split is drawn."""
    steps: int = 2000
    batch_size: int = 2
    validate_every: int = 250
    checkpoint_every: int = 250
    spacing_dhw: Spacing | None = None
    """Voxel size in mm to train at; the median of the training volumes when not given."""

    data: Path
    """Folder with images/ and labels/ (or imagesTr/ and labelsTr/), a CSV with the columns image
    and label, or a Medical Segmentation Decathlon dataset.json."""
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
    height from the first step on, small labels may be given up before anything is learnt of them;
    see Docs/evidence.md."""
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
        problems += [
            f"{name} is {getattr(self, name)}, it must be from 0 to 1"
            for name in ("validation_fraction", "foreground_share")
            if not 0 <= getattr(self, name) <= 1
        ]
        if self.warm_up_steps < 0:
            problems.append(f"warm_up_steps is {self.warm_up_steps}, it must be 0 or more")
        if not 0 < self.layer_decay <= 1:
            problems.append(f"layer_decay is {self.layer_decay}, it must be above 0 and at most 1")
        if self.layer_decay != 1 and self.trainable in ("decoder", "head"):
            problems.append(f"layer_decay does nothing with trainable {self.trainable}")
        if self.trainable != "all" and self.init is None:
            problems.append(f"trainable {self.trainable} needs trained weights to start from: init")
        if self.init_parts != "all" and self.init is None:
            problems.append(f"init_parts {self.init_parts} needs init")
        if not set(self.mirror_axes or ()) <= {0, 1, 2}:
            problems.append(f"mirror_axes is {self.mirror_axes}, allowed are 0, 1 and 2")
        return problems


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Pretrain a network on volumes without labels."""

    verb = "pretrain"

    validation_fraction: float = 0.1
    """Part of the volumes on which the task is judged, to keep the best weights; at least one."""
    steps: int = 10000
    batch_size: int = 4
    learning_rate: float = 1e-3
    """Learning rate at the start."""
    validate_every: int = 500
    checkpoint_every: int = 500
    spacing_dhw: Spacing | None = None
    """Voxel size in mm to train at; that of each volume when not given."""

    data: tuple[Path, ...]
    """Volume files, DICOM folders, folders of volumes, or labelled data sets, whose images are used
    (of one with its own split only the training cases). Or training stores that `misfm prepare`
    made: folders, or URLs such as s3://bucket/store."""
    method: Literal[
        "volume-fusion",
        "model-genesis",
        "patch-swapping",
        "masked-modelling",
        "rotation",
        "contrastive",
    ] = "volume-fusion"
    """What the network learns to do; rotation and contrastive train the encoder only."""
    sampler: Literal["grid", "boxes"] = "grid"
    """Volume Fusion of two crops of one volume in a grid of blocks (2025), or of two volumes in
    random boxes (2023)."""
    num_levels: int = 4
    """Fusion levels K above the background; the network tells K + 1 classes."""
    smallest_block: Size | None = None
    """Smallest block of Volume Fusion in voxels; 8, at most half the patch, when not given."""
    largest_block: Size | None = None
    """Largest block of Volume Fusion in voxels; when not given 32, at most half the patch (grid),
    or five eighths of the patch (boxes)."""
    foreground_share: float = 0.7
    """Part of the grid's blocks that gets foreground (sampler grid)."""
    intensity: Literal["auto", "ct-clip", "mr-percentile"] = "auto"
    """Intensity scheme of all volumes; auto follows the modality of each."""
    fraction: float = 1.0
    """Part of the volumes to learn from, above 0; smaller parts are contained in larger ones."""
    halve_every: int | None = None
    """Halve the learning rate after every so many steps; when not given it decays polynomially to
    zero."""
    preview: Path | None = None
    """Also write a picture of what the network sees and answers (.png), at every validation."""

    def _problems(self) -> list[str]:
        problems = super()._problems() + self._below_one("num_levels", "halve_every")
        problems += [
            f"{name} is {getattr(self, name)}, it must be above 0 and at most 1"
            for name in ("fraction", "foreground_share")
            if not 0 < getattr(self, name) <= 1
        ]
        if not self.data:
            problems.append("no volume was given")
        if not 0 <= self.validation_fraction < 1:
            problems.append(
                f"validation_fraction is {self.validation_fraction}, it must be from 0 to below 1"
            )
        return problems + self._block_problems()

    def _block_problems(self) -> list[str]:
        """Name settings of Volume Fusion that are impossible or would do nothing."""
        smallest, largest = self.smallest_block or (1, 1, 1), self.largest_block or (2**31,) * 3
        problems = []
        if any(not 1 <= low <= high for low, high in zip(smallest, largest, strict=True)):
            problems.append(f"there are no blocks from {smallest} to {largest}")
        idle: tuple[str, ...] = ()
        if self.method != "volume-fusion":
            idle = ("sampler", "num_levels", "smallest_block", "largest_block", "foreground_share")
        elif self.sampler == "boxes":
            idle = ("foreground_share",)
        problems += [
            f"{name} does nothing with method {self.method}, sampler {self.sampler}"
            for name in idle
            if getattr(self, name) != getattr(PretrainConfig, name)
        ]
        return problems


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Turn folders of volumes into a training store for pretraining."""

    data: tuple[Path, ...]
    """Folders with volumes at any depth (.nii .nii.gz .nrrd .mha .mhd, DICOM), or such volumes.
    Label maps, and cases that a dataset.json holds out, are left out."""
    output: Path
    """Folder of the store; an unfinished one is gone on with, a finished one is brought up to
    date."""
    manifest: Literal["pdata-1k", "pdata-10k", "pdata-110k"] | None = None
    """Also tell which of the published sources are missing; the folder of each is called like
    it."""
    check_only: bool = False
    """Only compare what is there with the manifest; nothing is read or written."""
    modality: Literal["auto", "CT", "MR", "other"] = "auto"
    """Modality of all volumes; auto asks the data set and the file, or guesses by intensities."""
    intensity: Literal["auto", "ct-clip", "mr-percentile"] = "auto"
    """Intensity scheme of all volumes; auto follows the modality of each."""
    spacing_dhw: Spacing | None = None
    """Voxel size in mm to resample to; that of each volume when not given."""
    min_edge: int = 8
    """Volumes with fewer voxels along an axis are quarantined."""
    max_spacing_mm: float = 10.0
    """Volumes with longer voxels are quarantined."""
    workers: int | None = None
    """Processes that prepare volumes; 0 works in this one; one per core when not given."""
    scheduler: str | None = None
    """Address of a dask scheduler, such as tcp://host:8786, whose workers do the work; they must
    see the same folders."""
    retry_quarantined: bool = False
    """Try the quarantined volumes of earlier runs once more."""

    def __post_init__(self) -> None:
        problems = []
        if not self.data:
            problems.append("no folder was given")
        if self.workers is not None and self.workers < 0:
            problems.append(f"workers is {self.workers}, it must be at least 0")
        if self.workers is not None and self.scheduler is not None:
            problems.append("workers does nothing with a scheduler")
        if self.check_only and self.manifest is None:
            problems.append("check_only needs a manifest to compare with")
        if self.min_edge < 1:
            problems.append(f"min_edge is {self.min_edge}, it must be at least 1")
        if self.max_spacing_mm <= 0:
            problems.append(f"max_spacing_mm is {self.max_spacing_mm}, it must be positive")
        if self.spacing_dhw is not None and min(self.spacing_dhw) <= 0:
            problems.append(f"spacing_dhw is {self.spacing_dhw}, all values must be positive")
        raise_problems(problems, "See `misfm prepare --help`.")


@dataclass(frozen=True, kw_only=True)
class QuantizeConfig:
    """Prepare a model for 8-bit integers on this CPU, if it segments as well with them."""

    model: str
    """Name of an installed model (see `misfm models list`), or path of a bundle folder or zip."""
    data: Path
    """Labelled cases like those the model is for: a folder with images/ and labels/, a CSV with the
    columns image and label, or a dataset.json."""
    split: Path | None = None
    """JSON file with the lists train (for the ranges of the numbers) and validation (for the
    comparison); else dataset.json's split, else by seed."""
    validation_fraction: float = 0.5
    """Part of the cases to compare on when the split is drawn."""
    seed: int = 1
    """Seed of the split that is drawn."""
    calibration_cases: int = 32
    """Cases of the split's train part that are used at most."""
    threads: int | None = None
    """CPU threads; all cores when not given."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, it must be at least 1"
            for name in ("calibration_cases", "threads")
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]
        if not 0 < self.validation_fraction < 1:
            problems.append(
                f"validation_fraction is {self.validation_fraction}, it must be between 0 and 1"
            )
        raise_problems(problems, "See `misfm quantize --help`.")


# ---------------------------------------------------------------------------------- JSON and back


def raise_problems(problems: list[str], remedy: str) -> None:
    """Raise one ConfigError that names all problems, or return when there are none."""
    if problems:
        raise ConfigError("; ".join(problems) + ".", code="bad-option", remedy=remedy)


def encode(config: Any) -> dict[str, Any]:
    """Turn a config into JSON types: tuples become lists, paths become strings."""
    return {
        field.name: _encode_value(getattr(config, field.name))
        for field in dataclasses.fields(config)
    }


def _encode_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return encode(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_encode_value(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _encode_value(item) for key, item in value.items()}
    return value


ConfigT = TypeVar("ConfigT")


def decode(config_class: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Build a config from JSON types.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type.
    """
    hints = typing.get_type_hints(config_class)
    fields = {field.name: field for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    problems = [
        f"{config_class.__name__} has no setting {name!r} (it has {', '.join(fields)})"
        for name in values
        if name not in fields
    ]
    problems += [
        f"{config_class.__name__} needs {name}"
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    raise_problems(problems, "Compare with a file that this version wrote.")
    return config_class(
        **{name: _decode_value(hints[name], value, name) for name, value in values.items()}
    )


def _decode_value(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _decode_value(inner, value, name)
    if origin is Literal:
        if value not in arguments:
            allowed = ", ".join(map(str, arguments))
            raise_problems([f"{name} is {value!r}, allowed are {allowed}"], "Choose one of them.")
        return value
    if origin is tuple:
        return _decode_tuple(arguments, value, name)
    if origin is dict or dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise_problems([f"{name} is {value!r}, a JSON object was expected"], "Correct it.")
        return dict(value) if origin is dict else decode(typing.cast(type, hint), value)
    return _decode_scalar(hint, value, name)


def _decode_tuple(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise_problems([f"{name} is {value!r}, a list was expected"], "Correct it.")
    if arguments[-1] is Ellipsis:
        return tuple(_decode_value(arguments[0], item, name) for item in value)
    if len(value) != len(arguments):
        raise_problems([f"{name} is {value!r}, it needs {len(arguments)} values"], "Correct it.")
    return tuple(
        _decode_value(hint, item, name) for hint, item in zip(arguments, value, strict=True)
    )


def _decode_scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is Any:
        return value
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise_problems([f"{name} is {value!r}, expected {hint.__name__}"], "Correct it.")
    return value
