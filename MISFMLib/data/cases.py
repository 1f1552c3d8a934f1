"""Labelled cases of a data set: finding and pairing the files, names of the labels, the split."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from MISFMLib.errors import DataError
from MISFMLib.volumes.volume import case_name, find_volumes

_FOLDER_PAIRS = (("images", "labels"), ("imagesTr", "labelsTr"))
_CHANNEL_SUFFIX = re.compile(r"_(\d{4})$")


@dataclass(frozen=True)
class Case:
    """Files of one labelled subject."""

    name: str
    """Unique in the data set."""
    images: tuple[Path, ...]
    """One volume per channel."""
    label: Path
    """Label map."""


@dataclass(frozen=True)
class Split:
    """Names of the cases to learn from and of those that are held out."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Cases of a data set and what is known about them."""

    cases: tuple[Case, ...]
    """In the order of their names."""
    label_names: Mapping[int, str]
    """Foreground value to name; empty when the data set does not name them."""
    channels: tuple[str, ...] = ("image",)
    """Name of every channel, in the network's order."""
    modality: Literal["CT", "MR", ""] = ""
    """CT, MR, or empty when unknown."""
    split: Split | None = None
    """The data set's own split."""
    unpaired: tuple[Path, ...] = ()
    """Images without label map and label maps without image."""


def find_cases(path: Path) -> LabelledSet:
    """Find the labelled cases of a data set.

    Args:
        path: A folder with images/ and labels/ (or imagesTr/ and labelsTr/), paired by case name;
            the channels of one case end in _0000, _0001, as in
            nnU-Net's raw data. A CSV with the
            columns image (or image_0, image_1, ...; or several files joined by commas), label and
            optionally name and split. A dataset.json of the Medical Segmentation Decathlon, or a
            folder with one; it may hold our own key ``split`` with the lists train and validation.

    Raises:
        DataError: There is no such data set, or it cannot be read.
    """
    description = path / "dataset.json"
    if path.is_dir() and description.is_file() and "training" in read_json(description):
        path = description
    if path.is_dir():
        found = _from_folders(path)
    elif path.suffix == ".json" and path.is_file():
        found = _from_dataset_json(path)
    elif path.suffix == ".csv" and path.is_file():
        found = _from_csv(path)
    else:
        raise DataError(
            f"{path} is no data set: a folder, a .csv or a dataset.json was expected.",
            code="dataset-not-found",
            remedy="Give a folder with images/ and labels/, a CSV, or a dataset.json.",
        )
    _check_found(found, path)
    return replace(found, cases=tuple(sorted(found.cases, key=lambda case: case.name)))


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


# ------------------------------------------------------------------------------------- the formats


def _from_folders(path: Path) -> LabelledSet:
    for images, labels in _FOLDER_PAIRS:
        if (path / images).is_dir() and (path / labels).is_dir():
            break
    else:
        raise DataError(
            f"{path} has neither images/ and labels/ nor imagesTr/ and labelsTr/.",
            code="dataset-not-found",
            remedy="Put the volumes into images/ and the label maps into labels/.",
        )
    label_files = {case_name(file): file for file in find_volumes(path / labels)}
    image_files: dict[str, list[Path]] = {}
    for file in find_volumes(path / images):
        name = case_name(file)
        if name not in label_files:
            name = _CHANNEL_SUFFIX.sub("", name)
        image_files.setdefault(name, []).append(file)
    paired = sorted(set(label_files) & set(image_files))
    unpaired = [file for name in set(image_files) - set(paired) for file in image_files[name]]
    unpaired += [label_files[name] for name in set(label_files) - set(paired)]
    cases = tuple(Case(name, tuple(image_files[name]), label_files[name]) for name in paired)
    described = _describe(read_json(path / "dataset.json"), _channel_count(cases))
    return replace(described, cases=cases, unpaired=tuple(sorted(unpaired)))


def _from_dataset_json(path: Path) -> LabelledSet:
    content = read_json(path)
    entries = content.get("training")
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and {"image", "label"} <= set(entry) for entry in entries
    ):
        raise DataError(
            f"{path} has no list training with an image and a label in every entry.",
            code="dataset-unreadable",
            remedy="Give a dataset.json of the Medical Segmentation Decathlon.",
        )
    cases = tuple(_case(entry["image"], entry["label"], path.parent) for entry in entries)
    return replace(_describe(content, _channel_count(cases)), cases=cases)


def _from_csv(path: Path) -> LabelledSet:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else []
    image_columns = sorted(
        (column for column in columns if re.fullmatch(r"image(_\d+)?", column or "")),
        key=lambda column: int(column.partition("_")[2] or 0),
    )
    if not image_columns or "label" not in columns:
        raise DataError(
            f"{path} has the columns {', '.join(map(str, columns)) or 'none'}; image and label "
            "were expected.",
            code="dataset-unreadable",
            remedy="Name the columns image (or image_0, image_1, ...) and label in the first line.",
        )
    cases = tuple(
        _case([row[column] for column in image_columns], row["label"], path.parent, row.get("name"))
        for row in rows
    )
    parts = {case.name: row.get("split") or "" for case, row in zip(cases, rows, strict=True)}
    return replace(
        _describe({}, _channel_count(cases)), cases=cases, split=_split_from_column(parts)
    )


def _split_from_column(parts: Mapping[str, str]) -> Split | None:
    train = tuple(name for name, part in parts.items() if part == "train")
    validation = tuple(name for name, part in parts.items() if part == "validation")
    return Split(train, validation) if train or validation else None


def _case(images: str | Sequence[str], label: str, root: Path, name: str | None = None) -> Case:
    listed = [images] if isinstance(images, str) else images
    files = [root / part.strip() for entry in listed for part in (entry or "").split(",")]
    label_file = root / (label or "").strip()
    return Case(name or case_name(label_file), tuple(files), label_file)


def _channel_count(cases: Sequence[Case]) -> int:
    counts = {len(case.images) for case in cases} or {1}
    if len(counts) > 1:
        few = [case.name for case in cases if len(case.images) < max(counts)]
        raise DataError(
            f"Some cases have {max(counts)} channels, others fewer: {listed(few)}.",
            code="channels-differ",
            remedy="Give every case the same channels in the same order.",
        )
    return counts.pop()


def _describe(content: Mapping[str, Any], channel_count: int) -> LabelledSet:
    """Read label names, channel names, modality and split of a dataset.json, without its cases."""
    try:
        names = _label_names(content.get("labels", {}))
        modalities = content.get("modality", content.get("channel_names", {}))
        channels = tuple(str(name) for _, name in sorted(modalities.items()))
        split = content.get("split")
        own_split = Split(tuple(split["train"]), tuple(split["validation"])) if split else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"dataset.json has labels, modality or split in another form than expected: {error!r}.",
            code="dataset-unreadable",
            remedy='Write them as {"labels": {"0": "background", "1": "liver"}, "modality": '
            '{"0": "CT"}, "split": {"train": [...], "validation": [...]}}.',
        ) from error
    modality = _modality(channels)
    if len(channels) != channel_count:
        numbered = tuple(f"image_{index}" for index in range(channel_count))
        channels = numbered if channel_count > 1 else ("image",)
    return LabelledSet(
        cases=(), label_names=names, channels=channels, modality=modality, split=own_split
    )


def _label_names(labels: Mapping[str, Any]) -> dict[int, str]:
    """Read value to name (Decathlon) or name to value (nnU-Net 2), without the background."""
    if all(isinstance(value, int) for value in labels.values()):
        pairs = [(value, name) for name, value in labels.items()]
    else:
        pairs = [(int(value), str(name)) for value, name in labels.items()]
    return {value: name for value, name in sorted(pairs) if value > 0}


def _modality(names: Sequence[str]) -> Literal["CT", "MR", ""]:
    words = {word for name in names for word in re.findall(r"[A-Z0-9]+", name.upper())}
    if "CT" in words:
        return "CT"
    return "MR" if words & {"MR", "MRI", "T1", "T2", "T1W", "T2W", "FLAIR", "LGE"} else ""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty when there is no such file.

    Raises:
        DataError: The file is no JSON.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(
            f"{path} is no JSON: {error}.",
            code="dataset-unreadable",
            remedy="Correct the file.",
        ) from error
    return content if isinstance(content, dict) else {}


def listed(items: Sequence[object], limit: int = 10) -> str:
    """Join the first items of a list for a message, and tell how many more there are."""
    shown = ", ".join(str(item) for item in items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"
