"""Labelled cases of a data set: finding and pairing the files, names of the labels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from MISFMLib.data.case_files import complete, entry_cases, from_folders, listed
from MISFMLib.data.case_reading import plain
from MISFMLib.data.case_tables import from_table
from MISFMLib.data.descriptions import describe, part_lists, read_json
from MISFMLib.data.labelled_set import Case, LabelledSet, Split
from MISFMLib.errors import ConfigError, DataError
from MISFMLib.volumes.volume import read_segment_names

__all__ = ["Case", "LabelledSet", "Split", "find_cases", "listed", "with_label_names"]


def find_cases(path: Path) -> LabelledSet:
    """Find the labelled cases of a data set.

    Args:
        path: A folder with images/ and labels/ (or imagesTr/ and labelsTr/), paired by case name
            or by their paths; the channels of one case end in _0000, _0001, as in nnU-Net's raw
            data. For each case the label map may be a folder with one mask per structure; so may
            folders of subjects be with their images and a folder segmentations/ each. A CSV with
            the columns image (or image_0, image_1, ...; or several files joined by commas), label
            and optionally name and split. A dataset.json of the Medical Segmentation Decathlon or
            of nnU-Net 2, or a folder with one; it may hold our own key ``split`` with the lists
            train and validation. A labels.json beside any of them names the labels.

    Raises:
        DataError: There is no such data set, or it cannot be read.
    """
    description = path if path.name == "dataset.json" else path / "dataset.json"
    if description.is_file():
        # That of nnU-Net 2 need not list the files: they then lie in the folders beside it.
        lists_files = {"training", "dataset"} & set(read_json(description))
        path = description if lists_files else description.parent
    if path.is_dir():
        found = from_folders(path)
    elif path.suffix.lower() == ".json" and path.is_file():
        found = _from_dataset_json(path)
    elif path.suffix.lower() == ".csv" and path.is_file():
        found = from_table(path)
    else:
        raise DataError(
            f"{path} is no data set: a folder, a .csv or a dataset.json was expected.",
            code="dataset-not-found",
            remedy="Give a folder with images/ and labels/, a CSV, or a dataset.json.",
        )
    _check_found(found, path)
    found = replace(found, cases=tuple(sorted(found.cases, key=lambda case: case.name)))
    return _naming(found if found.label_names else _named_by_segments(found))


def _naming(found: LabelledSet) -> LabelledSet:
    """Let every case know the names of the labels."""
    cases = tuple(replace(case, label_names=found.label_names) for case in found.cases)
    return replace(found, cases=cases)


def with_label_names(found: LabelledSet, names: Sequence[str]) -> LabelledSet:
    """Return the set with other names of labels.

    Args:
        found: The set.
        names: As ``1=left_kidney``; empty leaves the names as they are.

    Raises:
        ConfigError: A name has another form, or two have one value.
    """
    if not names:
        return found
    names_of = parse_label_names(names)
    return _naming(replace(found, label_names=names_of, names_of_segments=False))


def parse_label_names(names: Sequence[str]) -> dict[int, str]:
    """Return value and name of labels written as ``1=left_kidney``, by value.

    Raises:
        ConfigError: A name has another form, or two have one value.
    """
    pairs = [name.partition("=") for name in names]
    values = [value.strip() for value, _, _ in pairs]
    is_sound = all(value.isascii() and value.isdigit() and int(value) > 0 for value in values)
    if not is_sound or len(set(map(int, values))) < len(values) or not all(n for *_, n in pairs):
        raise ConfigError(
            f"The labels are {', '.join(names)}; each value above 0 once with its name was "
            "expected.",
            code="bad-label-names",
            remedy="Write them as --labels 1=left_kidney 2=right_kidney.",
        )
    given = {int(value): name.strip() for value, _, name in pairs}
    return dict(sorted(given.items()))


def _check_found(found: LabelledSet, path: Path) -> None:
    if not found.cases:
        raise DataError(
            f"{path} has no image with a label map of the same name.",
            code="dataset-empty",
            remedy="Name each label map like its image, in a folder labels/ beside images/.",
        )
    names = [case.name for case in found.cases]
    unusable = [name for name in names if name in ("", ".", "..") or Path(name).name != name]
    if unusable:
        raise DataError(
            f"{path} has cases with names that no file can have: {listed(unusable)}.",
            code="case-name-unusable",
            remedy="Leave slashes and other folder signs out of the names.",
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            f"{path} has several cases named {', '.join(repeated)}.",
            code="case-name-repeated",
            remedy="Give every case its own name; a CSV may have a column name.",
        )
    missing = [file for case in found.cases for file in (*case.images, case.label)]
    missing = [file for file in missing if not file.exists()]
    if missing:
        raise DataError(
            f"{path} names files that do not exist: {listed(missing)}.",
            code="dataset-files-missing",
            remedy="Correct the paths; relative ones start at the folder of the list.",
        )


def _from_dataset_json(path: Path) -> LabelledSet:
    content = read_json(path)
    entries = _entries(content.get("training"), "image")
    names: list[str] = []
    split = None
    if entries is None and isinstance(content.get("dataset"), dict):  # nnU-Net 2
        names = list(map(str, content["dataset"]))
        entries = _entries(list(content["dataset"].values()), "images")
    held_out = _entries(content.get("validation"), "image") or []  # MONAI
    if entries is None:
        raise DataError(
            f"{path} has no list training with an image and a label in every entry.",
            code="dataset-unreadable",
            remedy="Give a dataset.json of the Medical Segmentation Decathlon.",
        )
    names = names or [""] * len(entries)
    cases = entry_cases([*entries, *held_out], path.parent, [*names, *[""] * len(held_out)])
    if held_out and not content.get("split"):
        parts = [case.name for case in cases]
        split = part_lists({"train": parts[: len(entries)], "validation": parts[len(entries) :]})
    return complete(cases, describe(path.parent, content), split=split)


def _entries(content: Any, image_key: str) -> list[tuple[list[str], str]] | None:
    """Return images and label map of each entry; None where the form is another."""
    if not isinstance(content, list):
        return None
    entries = []
    for entry in content:
        images = entry.get(image_key) if isinstance(entry, dict) else None
        images = [images] if isinstance(images, str) else images
        label = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(images, list) or not isinstance(label, str):
            return None
        if not images or not all(isinstance(image, str) for image in images):
            return None
        entries.append((images, label))
    return entries


# ------------------------------------------------------------------------------------------- names


def _named_by_segments(found: LabelledSet) -> LabelledSet:
    """Take the names of the labels from the segments in the label maps, where they have names.

    A segment keeps the value of the first case in which it occurs; in others it is matched by name.
    """
    of_files = {
        case.name: {} if case.label.is_dir() else read_segment_names(case.label)
        for case in found.cases
    }
    names = _numbered(list(of_files.values()))
    if not names:
        return found
    values = {plain(name): value for value, name in names.items()}
    without = [case for case, of_file in of_files.items() if not of_file]
    renumbered = [
        case
        for case, of_file in of_files.items()
        if any(values[plain(name)] != value for value, name in of_file.items())
    ]
    if renumbered and without:
        raise DataError(
            f"The label maps of {listed(without)} do not name their labels, and others number the "
            f"labels differently: {listed(renumbered)}.",
            code="ambiguous-labels",
            remedy="Name the labels with --labels or labels.json, or save all label maps as "
            ".seg.nrrd with the names of the segments.",
        )
    notices = found.notices
    if renumbered:
        described = ", ".join(f"{value} {name}" for value, name in names.items())
        notices += (
            f"The numbers of the segments differ in {listed(renumbered)}; segments are matched by "
            f"name: {described}.",
        )
    return replace(found, label_names=names, notices=notices, names_of_segments=True)


def _numbered(of_files: Sequence[Mapping[int, str]]) -> dict[int, str]:
    """Give every name the value of the first file that has it, or a free one if that is taken."""
    names: dict[int, str] = {}
    known: set[str] = set()
    for of_file in of_files:
        for value, name in of_file.items():
            if plain(name) not in known:
                free = itertools.chain([value], itertools.count(1))
                names[next(each for each in free if each not in names)] = name
                known.add(plain(name))
    return dict(sorted(names.items()))
