"""What fixes the layers of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.ranges import range_problems
from MISFMLib.configs.types import ResolutionMode, Size

Architecture = Literal[
    "pctnet",
    "fmunet",
    "unet3d",
    "plainconvunet",
    "resencunet",
    "transunet",
    "segresnet",
    "swinunetr",
    "unetr",
    "nnformer",
    "unetrpp",
    "monai",
]
STAGED = ("plainconvunet", "resencunet", "transunet")
"""Networks whose every stage is given."""
_LENGTHS: dict[str, dict[str, int]] = {
    "pctnet": {"level_channels": 5, "dropout": 5, "depths": 3, "num_heads": 3, "window_sizes": 3},
    "fmunet": {"level_channels": 5, "dropout": 5},
    "unet3d": {"level_channels": 5, "dropout": 5},
    "segresnet": {"level_channels": 1, "depths": 4},
    "swinunetr": {"level_channels": 1, "depths": 4, "num_heads": 4},
    "unetr": {"level_channels": 1, "num_heads": 1},
    "nnformer": {"level_channels": 1, "depths": 4, "num_heads": 4, "window_sizes": 4},
    "unetrpp": {"level_channels": 5, "depths": 4, "num_heads": 1},
}
"""How many values the settings of a network need."""


@dataclass(frozen=True, kw_only=True)
class StagesConfig:
    """Layers of a U-Net whose every stage is given: the networks of nnU-Net.

    Networks of slices are written as networks of volumes that are one voxel deep: kernels and
    strides have a 1 in front.
    """

    kernels: tuple[Size, ...]
    """Kernel of the convolutions of each stage, finest first."""
    strides: tuple[Size, ...]
    """Stride at the start of each stage; of the first usually (1, 1, 1)."""
    blocks: tuple[int, ...]
    """Convolutions (plainconvunet) or residual blocks (resencunet) of each encoder stage."""
    decoder_blocks: tuple[int, ...]
    """Convolutions of each decoder stage, coarsest first; one fewer than stages."""
    norm: Literal["instance", "batch", "none"] = "instance"
    """Normalisation behind every convolution."""
    norm_eps: float = 1e-5
    """Added to the variance."""
    norm_affine: bool = True
    """Whether normalised features are scaled and shifted."""
    conv_bias: bool = True
    """Whether convolutions, transposed ones included, have a bias."""
    slope: float = 0.01
    """Slope of the leaky ReLU below zero; 0 is a plain ReLU."""

    def __post_init__(self) -> None:
        raise_problems(range_problems(self), "Correct the stages of the network.")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Everything that fixes a network's layers; stored in a bundle beside the weights."""

    architecture: Architecture = "pctnet"
    """PCT-Net (convolution and window attention in parallel), FMUNet, a plain 3D U-Net, the U-Nets
    of nnU-Net (PlainConvUNet, ResidualEncoderUNet), TransUNet in 3D, SegResNet, Swin UNETR, UNETR,
    nnFormer, UNETR++, or a network of MONAI that a bundle in its form brings."""
    in_channels: int = 1
    """Channels of the input volume."""
    num_classes: int = 2
    """Classes including background = 0."""
    level_channels: tuple[int, ...] = (24, 48, 128, 256, 512)
    """Feature channels of the levels, finest first: five, or as many as `stages` has; the first
    alone where each level has twice those of the one before (SegResNet, Swin UNETR, UNETR,
    nnFormer)."""
    resolution_mode: ResolutionMode = 1
    """0 isotropic, 1 mildly anisotropic, 2 strongly anisotropic voxels."""
    deep_supervision: bool = False
    """Return logits of several levels, finest first, instead of one tensor, where the network has
    them."""
    dropout: tuple[float, ...] = (0.0, 0.0, 0.2, 0.2, 0.2)
    """Dropout probability of the five levels."""
    depths: tuple[int, ...] = (2, 2, 2)
    """Attention blocks at levels 2, 3, 4 (PCT-Net) or of every level (Swin UNETR, nnFormer,
    UNETR++); residual blocks of every level (SegResNet); layers of the transformer (TransUNet). The
    first is the blocks of a level (FMUNet)."""
    num_heads: tuple[int, ...] = (4, 8, 16)
    """Attention heads of the levels that `depths` counts, one number for all of UNETR++, UNETR and
    TransUNet; the transformer of the last two has 64 features for each head."""
    window_sizes: tuple[int, ...] = (6, 6, 6)
    """Edge of the attention windows in voxels of the level (PCT-Net: at levels 2, 3, 4)."""
    patch_size: Size | None = None
    """Patch the attention windows are laid out for; None keeps every window at its full size.
    UNETR, UNETR++ and TransUNet, whose weights belong to places, take no other size."""
    stages: StagesConfig | None = None
    """Stages of plainconvunet, resencunet and transunet."""
    monai: str = ""
    """Class and arguments of a network of MONAI, as JSON."""
    members: int = 1
    """Networks of this kind that are averaged, such as the folds of a cross-validation."""
    kinds: tuple[NetworkConfig, ...] = ()
    """Networks of different kinds that are averaged; the other settings then are the first's."""
    averaged: Literal["logits", "probabilities"] = "logits"
    """What is averaged: the logits, as nnU-Net does, or the probabilities, so that members that
    are sure of different classes are unsure together."""

    def __post_init__(self) -> None:
        problems = range_problems(self)
        if self.architecture in STAGED:
            problems += self._stage_problems()
        elif self.architecture == "monai":
            problems += [] if self.monai else ["a network of MONAI needs its class and arguments"]
        else:
            problems += self._level_problems()
        raise_problems(problems, "Correct the network settings.")

    def _stage_problems(self) -> list[str]:
        """Say what is wrong with the stages of a U-Net of nnU-Net."""
        if self.stages is None:
            return [f"{self.architecture} needs stages"]
        count = len(self.level_channels)
        lengths = {"kernels": count, "strides": count, "blocks": count, "decoder_blocks": count - 1}
        own = {"depths": 1, "num_heads": 1} if self.architecture == "transunet" else {}
        problems = [
            f"stages.{name} needs {length} values, got {getattr(self.stages, name)}"
            for name, length in lengths.items()
            if len(getattr(self.stages, name)) != length
        ]
        problems += self._length_problems(own)
        edges = [edge for size in (*self.stages.kernels, *self.stages.strides) for edge in size]
        counts = (*self.level_channels, *self.stages.blocks, *self.stages.decoder_blocks, *edges)
        if count < 2 or min(counts, default=0) < 1:
            problems.append("two or more stages are needed, with values of at least 1")
        return problems

    def _level_problems(self) -> list[str]:
        """Say what is wrong with the levels of the other networks."""
        lengths = _LENGTHS[self.architecture]
        problems = self._length_problems(lengths)
        if problems:
            return problems
        problems += [
            f"{channels} channels cannot be shared by {heads} attention heads"
            for channels, heads in self._shared_channels()
            if heads < 1 or channels % heads
        ]
        used = {*lengths, "depths"} if self.architecture == "fmunet" else {*lengths}
        return problems + [
            f"{name} is {getattr(self, name)}, it needs values of at least 1"
            for name in sorted({*used, "patch_size"} & {"depths", "window_sizes", "patch_size"})
            if getattr(self, name) is not None and min(getattr(self, name), default=0) < 1
        ]

    def _length_problems(self, lengths: Mapping[str, int]) -> list[str]:
        return [
            f"{name} needs {length} value{'s' if length > 1 else ''}, got {getattr(self, name)}"
            for name, length in lengths.items()
            if len(getattr(self, name)) != length
        ]

    def _shared_channels(self) -> list[tuple[int, int]]:
        """Pair the channels of the levels with attention with their heads."""
        first = self.level_channels[0]
        channels: dict[str, tuple[int, ...]] = {
            "pctnet": self.level_channels[2:],
            "swinunetr": (first, 2 * first, 4 * first, 8 * first),
            "nnformer": (first, 2 * first, 4 * first, 8 * first),
            "unetrpp": self.level_channels[1:],
        }
        shared = channels.get(self.architecture, ())
        heads = self.num_heads * (len(shared) if len(self.num_heads) == 1 else 1)
        return list(zip(shared, heads, strict=False))
