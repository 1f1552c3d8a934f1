"""Settings of `misfm segment`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.ranges import range_problems
from MISFMLib.configs.spread import SpreadConfig
from MISFMLib.configs.types import EngineName, SegmentPrecision

WORTH_CONVERTING = 8 * 2**20
"""Voxels in all windows of a model from which `engine` auto converts it for the CPU."""


@dataclass(frozen=True, kw_only=True)
class SegmentConfig(SpreadConfig):
    """Segment volumes with a model."""

    images: tuple[Path, ...]
    """Volumes (.nii .nii.gz .nrrd .mha .mhd), DICOM folders, or folders of volumes. The channels of
    a multi-channel case are joined by commas, in the model's order: t1.nii.gz,flair.nii.gz"""
    model: str
    """Name of an installed model (see `misfm models list`), or path of a bundle folder or zip."""
    output: Path
    """Result file for one case (.nii.gz .nrrd .mha .seg.nrrd .dcm), or a folder for many."""
    format: Literal["nii.gz", "nii", "nrrd", "mha", "seg.nrrd", "dcm"] | None = None
    """File format when the output is a folder: that of each volume when not given, and seg.nrrd for
    DICOM; dcm (DICOM SEG) needs DICOM input."""
    series: str | None = None
    """Which volume of a DICOM folder that holds several, in a batch of every folder: a series
    instance UID, or one or several of description=, echo= (1 is the shortest), echo-time= (ms),
    b-value=, time=, type=, acquisition=, joined by commas. Scouts, screenshots and the like beside
    the only volume need no choice."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: SegmentPrecision = "auto"
    """Number format of the network; auto takes half precision where the chip is faster with it.
    int8 is for models that `misfm quantize` has prepared on this computer; others are computed as
    with auto."""
    engine: EngineName = "auto"
    """Program that computes the network: torch, or openvino, which is faster on x86 CPUs once it
    has converted the model, which takes some seconds; auto does that as soon as it pays."""
    overlap: float | None = None
    """Overlap of neighbouring windows as a fraction of the patch, 0 to below 1; the model's own,
    usually 0.5, when not given."""
    batch_size: int | None = None
    """Windows computed together; as many as make about a million voxels when not given."""
    mirroring: bool = False
    """Average over the mirror images that the model was trained on, up to eight: better by a
    little, slower by their number."""
    only: str | None = None
    """Names of the structures that are wanted, joined by commas: liver,spleen. Of several models in
    one only those that have one of them are run."""
    style: Literal["own", "totalsegmentator"] = "own"
    """own: as the network was trained. totalsegmentator: resample the volume to the network's voxel
    size and the labels back as TotalSegmentator 2.18 does, for studies that were begun with it."""
    threads: int | None = None
    """CPU threads of each process; all cores, or its share of them, when not given."""
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
    review: Path | None = None
    """Also make the page of `misfm review` in this folder, when all cases are done."""
    overwrite: bool = False
    """Replace results that are already there; without it one file is refused, a batch resumes."""

    def __post_init__(self) -> None:
        problems = [*range_problems(self), *self.spread_problems()]
        if not self.images:
            problems.append("no image was given")
        raise_problems(problems, "See `misfm segment --help`.")
