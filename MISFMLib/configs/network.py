"""What fixes the layers of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.ranges import range_problems
from MISFMLib.configs.types import ResolutionMode, Size


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

    architecture: Literal["pctnet", "fmunet", "unet3d", "plainconvunet", "resencunet", "monai"] = (
        "pctnet"
    )
    """PCT-Net (convolution and window attention in parallel), FMUNet, a plain 3D U-Net, the U-Nets
    of nnU-Net (PlainConvUNet, ResidualEncoderUNet), or a network of MONAI."""
    in_channels: int = 1
    """Channels of the input volume."""
    num_classes: int = 2
    """Classes including background = 0."""
    level_channels: tuple[int, ...] = (24, 48, 128, 256, 512)
    """Feature channels of the levels, finest first: five, or as many as `stages` has."""
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
    stages: StagesConfig | None = None
    """Stages of plainconvunet and resencunet."""
    monai: str = ""
    """Class and arguments of a network of MONAI, as JSON."""
    members: int = 1
    """Networks of this kind whose logits are averaged, such as the folds of a cross-validation."""

    def __post_init__(self) -> None:
        problems = range_problems(self)
        if self.architecture in ("plainconvunet", "resencunet"):
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
        problems = [
            f"stages.{name} needs {length} values, got {getattr(self.stages, name)}"
            for name, length in lengths.items()
            if len(getattr(self.stages, name)) != length
        ]
        edges = [edge for size in (*self.stages.kernels, *self.stages.strides) for edge in size]
        counts = (*self.level_channels, *self.stages.blocks, *self.stages.decoder_blocks, *edges)
        if count < 2 or min(counts, default=0) < 1:
            problems.append("two or more stages are needed, with values of at least 1")
        return problems

    def _level_problems(self) -> list[str]:
        """Say what is wrong with the five levels of our own networks."""
        lengths = {"level_channels": 5, "dropout": 5}
        if self.architecture == "pctnet":
            lengths |= {"depths": 3, "num_heads": 3, "window_sizes": 3}
        problems = [
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
        used = {"pctnet": ("depths", "window_sizes"), "fmunet": ("depths",)}
        return problems + [
            f"{name} is {getattr(self, name)}, it needs values of at least 1"
            for name in (*used.get(self.architecture, ()), "patch_size")
            if getattr(self, name) is not None and min(getattr(self, name), default=0) < 1
        ]
