"""What fixes the layers of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.types import ResolutionMode, Size


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
