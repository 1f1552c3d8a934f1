"""Settings of `misfm prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.ranges import range_problems
from MISFMLib.configs.types import Spacing


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Turn folders of volumes into a training store for pretraining."""

    data: tuple[Path, ...]
    """Folders with volumes at any depth (.nii .nii.gz .nrrd .mha .mhd, DICOM), or such volumes.
    Label maps, and cases that a dataset.json holds out, are left out. Of files with several
    channels (4D) that a dataset.json names, each channel is a volume."""
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
        problems = range_problems(self)
        if not self.data:
            problems.append("no folder was given")
        if self.workers is not None and self.scheduler is not None:
            problems.append("workers does nothing with a scheduler")
        if self.check_only and self.manifest is None:
            problems.append("check_only needs a manifest to compare with")
        raise_problems(problems, "See `misfm prepare --help`.")
