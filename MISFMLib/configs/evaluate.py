"""Settings of `misfm evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.spread import SpreadConfig


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(SpreadConfig):
    """Compare segmentations with their references, case by case and label by label."""

    predictions: Path
    """Label map, or folder of label maps (.nii.gz .nii .nrrd .mha .seg.nrrd, DICOM SEG)."""
    references: Path
    """What is right: a label map, or a folder whose files have the names of the cases, or those of
    their patients' folders."""
    output: Path
    """Folder for the tables cases.csv and labels.csv, summary.json, and the pictures."""
    images: Path | None = None
    """Volume or folder of volumes, for pictures of the worst cases."""
    labels: tuple[str, ...] = ()
    """Names of the labels, as 1=left_kidney 2=right_kidney; else those that the files give (the
    segments of .seg.nrrd and DICOM SEG, dataset.json beside the references)."""
    tolerance_mm: float = 1.0
    """Distance up to which two surfaces count as the same in the surface Dice."""
    worst: int = 5
    """Cases that are drawn, those with the lowest mean Dice."""
    workers: int | None = None
    """Processes that compare; 0 works in this one; one per core when not given."""
    overwrite: bool = False
    """Replace an evaluation that is already there."""

    def __post_init__(self) -> None:
        problems = self.spread_problems()
        if not 0 < self.tolerance_mm < float("inf"):
            problems.append(f"tolerance_mm is {self.tolerance_mm}, it must be positive")
        problems += [
            f"{name} is {getattr(self, name)}, it must be at least 0"
            for name in ("worst", "workers")
            if getattr(self, name) is not None and getattr(self, name) < 0
        ]
        raise_problems(problems, "See `misfm evaluate --help`.")
