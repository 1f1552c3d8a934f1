"""A DICOM study into a training set: every scan is a case, with its DICOM SEG if there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from MISFMLib.annotation.labels import match_labels, new_label
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import DataError, MISFMError
from MISFMLib.jobs.collect_known import OPEN, add_volume
from MISFMLib.volumes.dicom import SeriesInfo, is_series_folder, list_series
from MISFMLib.volumes.dicom_seg import read_dicom_seg
from MISFMLib.volumes.same_grid import on_grid
from MISFMLib.volumes.series_choice import SeriesChoice
from MISFMLib.volumes.volume import LabelMap, read_volume, write_label_map


@dataclass(frozen=True)
class Scan:
    """One image series of a study."""

    folder: Path
    series: SeriesInfo
    segmentations: tuple[Path, ...] = ()
    """DICOM SEG files that name the series."""

    @property
    def name(self) -> str:
        """What to call the case: nothing of the patient but what the folder says."""
        return f"{self.folder.name}_{self.series.description or self.series.modality}"


def find_scans(study: Path) -> list[Scan]:
    """Return the image series below a folder; none when it holds no DICOM files.

    Raises:
        DataError: An image is damaged.
    """
    folders = [Path(place) for place, _folders, _files in os.walk(study)]
    scans = [
        Scan(folder, series)
        for folder in sorted(folders)
        if is_series_folder(folder)
        for series in list_series(folder)
    ]
    belonging: dict[str, list[Path]] = {}
    for folder in folders if scans else ():
        for path, series_uid in _segmentations(folder):
            belonging.setdefault(series_uid, []).append(path)
    return [
        replace(scan, segmentations=tuple(sorted(belonging.get(scan.series.uid, ()))))
        for scan in scans
    ]


def _segmentations(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in folder.iterdir():
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, OSError, ValueError):
            continue
        if header.get("Modality") == "SEG":
            for series in header.get("ReferencedSeriesSequence", ()):
                yield path, str(series.get("SeriesInstanceUID", ""))


def add_scan(made: TrainingSet, scan: Scan, wanted: str | None) -> bool:
    """Add a scan as a case, labelled where a segmentation of it is there.

    Args:
        made: The training set.
        scan: The scan.
        wanted: Which scans, and which volume of each, as ``--series`` says it.

    Returns:
        Whether the set had not all of it already.

    Raises:
        DataError: The scan, or its segmentation, cannot be used.
        OutputError: The training set cannot be written.
    """
    choice = SeriesChoice.parse(wanted)
    if scan.series.uid:
        choice = SeriesChoice((("uid", scan.series.uid), *choice.wanted))
    volume = read_volume(scan.folder, series=str(choice) or None)
    row, is_new = add_volume(made, scan.name, [volume])
    if not scan.segmentations or row.status not in OPEN:
        return is_new
    if len(scan.segmentations) > 1:
        raise DataError(
            f"its volume was added, but it has {len(scan.segmentations)} segmentations.",
            code="label-maps-several",
            remedy="Add the right one in Slicer with Add labels.",
        )
    try:
        found = on_grid(read_dicom_seg(scan.segmentations[0]), volume)
    except MISFMError as error:
        raise DataError(
            f"its volume was added, but not its segmentation: {error.message}",
            code=error.code,
            remedy=error.remedy,
        ) from error
    _add_labels(made, row.name, found)
    return True


def _add_labels(made: TrainingSet, name: str, found: LabelMap) -> None:
    """Save labels under the numbers of the set; names that it lacks become new labels."""
    labels = made.labels
    array_DHW = np.zeros(found.array_DHW.shape, np.uint8)
    for value, text in sorted(found.names.items()):
        known = match_labels([text], labels).values
        if text not in known:
            labels = (*labels, new_label(text, labels))
        array_DHW[found.array_DHW == value] = known.get(text, labels[-1].value)
    drawn = match_labels(found.names.values(), labels)
    made.save_labels(
        name,
        lambda path: write_label_map(LabelMap(array_DHW, found.geometry), path),
        labels=labels,
        status="checked",
        not_drawn=drawn.missing,
    )
