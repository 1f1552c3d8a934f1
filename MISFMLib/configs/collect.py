"""Settings of `misfm collect`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.ranges import range_problems


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """Copy the cases of a data set, and images without labels, into a training set."""

    data: Path
    """Data set as `misfm finetune` takes it: a folder with images/ and labels/ (or imagesTr/ and
    labelsTr/), nnU-Net raw data, a dataset.json or a CSV; or a folder with DICOM files, whose scans
    become cases, labelled where a DICOM SEG of them lies beside."""
    output: Path
    """Folder of the training set that the tab Fine-tune in Slicer works on; new, or to be
    extended."""
    labels: tuple[str, ...] = ()
    """Names of the labels, as 1=left_kidney 2=right_kidney; else those that the data set gives, and
    label 1, label 2, ... where it gives none."""
    as_proposals: bool = False
    """Take the labels for proposals that are to be corrected in Slicer before anything is learnt
    from them, such as the to_correct.csv of a review."""
    series: str | None = None
    """Which volume of a DICOM folder that holds several, as `misfm segment --series` was told."""
    unlabelled: Path | None = None
    """Folder with volumes without labels to add as well; imagesTs/ of the data set when not
    given."""

    def __post_init__(self) -> None:
        raise_problems(range_problems(self), "See `misfm collect --help`.")
