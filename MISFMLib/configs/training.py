"""What every training has to know, with or without labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.ranges import range_problems
from MISFMLib.configs.types import NetworkPreset, Precision, ResolutionMode, Size, Spacing


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
    """Network with fresh weights; small and full are PCT-Nets of 3 and 44 M weights. `misfm
    networks` lists all with what they cost; those named -small train on a CPU."""
    modality: Literal["auto", "CT", "MR", "other"] = "auto"
    """Modality of the volumes; auto asks the data set and the files, or guesses by intensities."""
    spacing_dhw: Spacing | None = None
    """Voxel size in mm to train at."""
    patch_size: Size | None = None
    """Training patch in voxels; planned from the volumes when not given."""
    resolution_mode: ResolutionMode | None = None
    """Anisotropy mode of the network; planned from the voxel sizes when not given."""
    validation_fraction: float
    """Part of the volumes that is held out to judge the weights."""
    steps: int | None
    """Optimizer steps."""
    minutes: float | None = None
    """End after so many minutes of training if the steps are not done by then; the learning rate
    falls accordingly. Such a training cannot be repeated bit for bit."""
    patience: int | None = None
    """When so many validations in a row have not raised the score of the held-out volumes, its mean
    over three validations, by 0.001, let the learning rate fall to zero within a fifth of the steps
    done, and end; in a fine-tuning they count once all labels are found."""
    batch_size: int
    """Samples per step."""
    accumulate: int = 1
    """Parts in which a step's samples go through the network one after another; more parts need
    less memory. The loss, which counts all voxels of a part together, is the mean over the
    parts."""
    recompute_levels: int = 0
    """Levels of the network, from the finest of five, whose inner features are computed again for
    the gradient instead of being kept: less memory for a longer step with the same result."""
    learning_rate: float | None
    """Learning rate at the start; decays polynomially to zero."""
    weight_decay: float = 1e-5
    """Weight decay."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    """Optimizer. Published is adam, which lets the weights of a level that the task hardly uses
    shrink away; see Docs/evidence.md."""
    gradient_clip: float = 12.0
    """Largest gradient norm; longer gradients are shortened to it."""
    validate_every: int | None
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
        return range_problems(self)
