"""A training set on disk: a Medical Segmentation Decathlon folder and a table of our own.

    dataset.json    labels, and the cases that can be learnt from with their split
    cases.csv       one line per case: status, split, certainty, who, when
    imagesTr        images of labelled cases     labelsTr    their label maps
    imagesTs        images of the others         proposals   what a model proposes for them
    open            a file for each case that somebody has open in Slicer now
    .lock           locked for the moment in which somebody changes the table

A case has one image, or one for each channel (T1 and T2, CT and MR), on one grid: case_0000.nii.gz,
case_0001.nii.gz, … as nnU-Net names them.

``cases.csv`` is what counts; ``dataset.json`` follows from it and is written again with every
change, so that MONAI and `misfm finetune` read the set without knowing us. So does nnU-Net where a
case has one image: its conversion of Decathlon data sets adds a _0000 to every name. Every change
waits for its turn, reads the table anew and writes it beside the old one, so that two programs can
work on a set and a crash at any moment leaves a set that is whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from MISFMLib.annotation.case_table import CaseRow, Status, from_csv, next_split, stamp, to_csv
from MISFMLib.annotation.dataset_json import (
    LABELLED_IMAGES,
    LABELS,
    OTHER_IMAGES,
    SUFFIX,
    channel_fields,
    channels_of,
    check_channels,
    described,
    file_name,
    image_files,
    label_fields,
    labels_of,
    no_set,
    read_description,
    refresh_description,
    write_description,
)
from MISFMLib.annotation.labels import check_known, still_named
from MISFMLib.annotation.turns import turn
from MISFMLib.configs import LabelConfig
from MISFMLib.errors import DataError
from MISFMLib.files import output_error, write_text, written_atomically

_TABLE, _PROPOSALS = "cases.csv", "proposals"

Write = Callable[[Path], object]
"""Writes a volume or label map to a path that ends in .nii.gz."""


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """The set in a folder; holds nothing in memory but the folder, so those of one are equal."""

    folder: Path

    def __post_init__(self) -> None:
        """Open a set; raise a `DataError` when the folder holds none, or a damaged one."""
        self._description()
        self.cases()

    @classmethod
    def create(
        cls,
        folder: Path,
        labels: Sequence[LabelConfig] = (),
        *,
        name: str = "",
        channels: Sequence[str] = ("image",),
    ) -> TrainingSet:
        """Make an empty set.

        Args:
            folder: A folder that is not there yet, or empty.
            labels: What is segmented; more can be added with `set_labels`.
            name: Name for people; the folder's when not given.
            channels: What the volumes of a case are, in the network's order: CT, or T1 and T2.

        Raises:
            DataError: The folder has something in it.
            OutputError: It cannot be written.
        """
        if folder.exists() and any(folder.iterdir()):
            raise DataError(
                f"{folder} is not empty.",
                code="training-set-exists",
                remedy="Choose a new folder for the training set, or open the one that is there.",
            )
        write_text(folder / _TABLE, to_csv(()))
        write_description(folder, described(name or folder.name, labels, channels), ())
        return cls(folder)

    @property
    def name(self) -> str:
        """Name for people."""
        return str(self._description().get("name") or self.folder.name)

    @property
    def channels(self) -> tuple[str, ...]:
        """What the volumes of each case are, in the network's order."""
        return channels_of(self._description(), self.folder)

    @property
    def labels(self) -> tuple[LabelConfig, ...]:
        """The labels, in the order of their values."""
        return labels_of(self._description(), self.folder)

    def cases(self) -> list[CaseRow]:
        """Return all cases in the order in which they were added."""
        path = self.folder / _TABLE
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise no_set(self.folder, str(error)) from error
        return from_csv(text, str(path))

    def case(self, name: str) -> CaseRow:
        """Return the case of this name.

        Raises:
            DataError: There is none.
        """
        found = next((row for row in self.cases() if row.name == name), None)
        if found is None:
            raise DataError(
                f"The training set has no case {name}.",
                code="case-unknown",
                remedy="Perhaps it was removed meanwhile; look at the list again.",
            )
        return found

    def images(self, name: str) -> tuple[Path, ...]:
        """Return the image of each channel of a case, wherever its status has put them."""
        labelled, others = self.folder / LABELLED_IMAGES, self.folder / OTHER_IMAGES
        files = image_files(name, len(self.channels))
        return tuple((labelled if (labelled / file).exists() else others) / file for file in files)

    def label_map(self, name: str) -> Path:
        """Return the label map of a case, which is there when the case is labelled."""
        return self.folder / LABELS / f"{name}{SUFFIX}"

    def proposal(self, name: str, suffix: str = ".seg.nrrd") -> Path:
        """Return what a model proposes for a case; it may not be there."""
        return self.folder / _PROPOSALS / f"{name}{suffix}"

    def free_name(self, wanted: str) -> str:
        """Return a name that a file can have, and no case nor file that a crash has left has."""
        wanted = file_name(wanted)
        taken, name, number = {row.name.casefold() for row in self.cases()}, wanted, 1
        while name.casefold() in taken or any(
            path.exists() for path in (*self.images(name), self.label_map(name))
        ):
            number += 1
            name = f"{wanted}_{number}"
        return name

    def set_labels(self, labels: Sequence[LabelConfig]) -> None:
        """Replace the list of labels; one that has voxels may change all but its value.

        One that is new counts as not drawn in the cases that have labels already.

        Raises:
            DataError: Two labels have the same name or value.
        """
        with turn(self.folder):
            content, rows, known = self._description(), self.cases(), self.labels
            values = {label.value for label in known}
            new = [label.name for label in labels if label.value not in values]
            for index, row in enumerate(rows):
                names = still_named(row.not_drawn, known, labels)
                added = new if self.label_map(row.name).exists() else ()
                rows[index] = dataclasses.replace(row, not_drawn=(*names, *added))
            write_text(self.folder / _TABLE, to_csv(rows), overwrite=True)
            write_description(self.folder, {**content, **label_fields(labels)}, rows)

    def set_channels(self, channels: Sequence[str]) -> None:
        """Say what the volumes of each case are, while there is no case yet.

        Raises:
            DataError: There are cases, or two channels have the same name.
        """
        if self.cases() or not all(channels) or len(set(channels)) < len(channels):
            raise DataError(
                "Every volume of a case needs a name of its own, given before the first case.",
                code="channels-differ",
                remedy="Give them different names, or make a new training set.",
            )
        write_description(self.folder, {**self._description(), **channel_fields(channels)}, ())

    def add_case(
        self, name: str, *write_images: Write, write_labels: Write | None = None
    ) -> CaseRow:
        """Add a case, of which all files are written or none.

        Args:
            name: As `free_name` gives it.
            *write_images: Each writes the image of a channel.
            write_labels: Writes a label map, which counts with `take_up`; None for no labels.

        Raises:
            DataError: There is such a case already, or it has other channels than the set.
            OutputError: A file cannot be written.
        """
        check_channels(self.channels, len(write_images))
        if name != self.free_name(name):
            raise DataError(
                f"The training set has a case {name} already.",
                code="case-name-repeated",
                remedy="Give the new case another name.",
            )
        files = [self.folder / OTHER_IMAGES / file for file in image_files(name, len(write_images))]
        writes = dict(zip(files, write_images, strict=True))
        if write_labels is not None:
            writes[self.label_map(name)] = write_labels
        with contextlib.ExitStack() as all_or_none:
            for path, write in writes.items():
                write(all_or_none.enter_context(written_atomically(path)))
        row = CaseRow(name=name)
        with turn(self.folder):
            self._save([*self.cases(), row])
        return row

    def save_labels(self, name: str, write_labels: Write, **changes: Any) -> CaseRow:
        """Keep the labels of a case, which can be learnt from now on.

        Args:
            name: The case.
            write_labels: Writes its label map.
            **changes: Other fields of its row, `status` is corrected when not given; or `labels`.

        Raises:
            DataError: There is no such case, or somebody has added labels that are not in `labels`.
            OutputError: The label map cannot be written, and the old one stays; or an image cannot
                be moved to the labelled ones, which `recover` does later.
        """
        self.case(name)
        with written_atomically(self.label_map(name), overwrite=True) as temporary:
            write_labels(temporary)
            check_known(self.labels, changes.get("labels", ()))
        return self.take_up(name, **changes)

    def take_up(self, name: str, *, labels: Sequence[LabelConfig] = (), **changes: Any) -> CaseRow:
        """List a case with a label map as labelled; `labels` are the set's, if it brings new."""
        check_known(self.labels, labels)
        if labels and tuple(labels) != self.labels:
            self.set_labels(labels)
        labelled = self.folder / LABELLED_IMAGES
        labelled.mkdir(exist_ok=True)
        for image in self.images(name):
            if image.parent != labelled:
                try:
                    image.replace(labelled / image.name)
                except OSError as error:  # as on Windows, where another program has it open
                    raise output_error(error, labelled / image.name) from error
        return self.update(name, **{"status": "corrected", **stamp(), **changes})

    def update(self, name: str, **changes: Any) -> CaseRow:
        """Change the row of a case; one that gets labels gets its side of the split, for good."""
        with turn(self.folder):
            rows, row = self.cases(), dataclasses.replace(self.case(name), **changes)
            if row.is_labelled and not row.split:
                row = dataclasses.replace(row, split=next_split(rows))
            self._save([row if each.name == name else each for each in rows])
        return row

    def set_status(self, name: str, status: Status) -> CaseRow:
        """Change what a case is used for.

        Raises:
            DataError: It shall be learnt from and has no label map.
        """
        row = dataclasses.replace(self.case(name), status=status)
        if row.is_labelled and not self.label_map(name).exists():
            raise DataError(
                f"{name} has no labels yet.",
                code="case-unlabelled",
                remedy="Correct its proposal, or draw its labels, first.",
            )
        return self.update(name, status=status)

    def recover(self) -> list[str]:
        """Take up what a crash kept out of the table or dataset.json; return the cases' names."""
        waiting = [row.name for row in self.cases() if row.status in ("unlabelled", "proposed")]
        found = [name for name in waiting if self.label_map(name).exists()]
        for name in found:
            self.take_up(name)
        refresh_description(self.folder, self.cases())
        return found

    def _save(self, rows: Sequence[CaseRow]) -> None:
        write_text(self.folder / _TABLE, to_csv(rows), overwrite=True)
        write_description(self.folder, self._description(), rows)

    def _description(self) -> dict[str, Any]:
        return read_description(self.folder)
