"""Settings of `misfm pretrain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from MISFMLib.configs.training import TrainingConfig
from MISFMLib.configs.types import Size, Spacing


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Pretrain a network on volumes without labels."""

    verb = "pretrain"

    validation_fraction: float = 0.1
    """Part of the volumes on which the task is judged while it is learnt; at least one."""
    steps: int = 10000
    batch_size: int = 4
    learning_rate: float = 1e-3
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
        "fusion-masking",
        "model-genesis",
        "patch-swapping",
        "masked-modelling",
        "rotation",
        "contrastive",
    ] = "volume-fusion"
    """What the network learns to do; fusion-masking is Volume Fusion with a part of the blocks
    hidden, which are to be restored as well; rotation and contrastive train the encoder only."""
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

    @property
    def tells_levels(self) -> bool:
        """Whether the network learns to tell fusion levels, with or without something else."""
        return self.method in ("volume-fusion", "fusion-masking")

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.foreground_share == 0:
            problems.append("foreground_share is 0, there would be nothing to tell apart")
        if not self.data:
            problems.append("no volume was given")
        if self.validation_fraction == 1:
            problems.append("validation_fraction is 1, there would be no volume to learn from")
        return problems + self._block_problems()

    def _block_problems(self) -> list[str]:
        """Name settings of Volume Fusion that are impossible or would do nothing."""
        smallest, largest = self.smallest_block or (1, 1, 1), self.largest_block or (2**31,) * 3
        problems = []
        if any(low > high for low, high in zip(smallest, largest, strict=True)):
            problems.append(f"there are no blocks from {smallest} to {largest}")
        idle: tuple[str, ...] = ()
        if not self.tells_levels:
            idle = ("sampler", "num_levels", "smallest_block", "largest_block", "foreground_share")
        elif self.sampler == "boxes":
            idle = ("foreground_share",)
        problems += [
            f"{name} does nothing with method {self.method}, sampler {self.sampler}"
            for name in idle
            if getattr(self, name) != getattr(PretrainConfig, name)
        ]
        return problems
