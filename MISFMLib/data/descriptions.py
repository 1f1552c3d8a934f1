"""What data sets say of themselves: dataset.json of the Decathlon and of nnU-Net 2, labels.json.

Formats: medicaldecathlon.com, and documentation/dataset_format.md, region_based_training.md and
ignore_label.md of github.com/MIC-DKFZ/nnUNet.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from MISFMLib.data.labelled_set import LabelledSet, Split
from MISFMLib.errors import DataError
from MISFMLib.files import real_path

IGNORE = "ignore"
"""Name of the label of voxels that nobody labelled, as in nnU-Net 2."""
_PARTS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "held out", "held-out"), "validation"),
}
"""Words for the two parts of a split, in small letters."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks with which Windows programs begin a text."""


# -------------------------------------------------------------------------------------------- text


def read_text(path: Path) -> str:
    """Read a text as editors and Excel save it: UTF-8 or UTF-16 with a mark, UTF-8, else cp1252."""
    data = path.read_bytes()
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty when there is no such file.

    Raises:
        DataError: The file is no JSON object.
    """
    content = _read_any_json(path)
    return content if isinstance(content, dict) else {}


def _read_any_json(path: Path) -> Any:
    if not path.is_file():
        return {}
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is no JSON: {error}.",
            code="dataset-unreadable",
            remedy="Correct the file.",
        ) from error


def read_split(path: Path) -> Split:
    """Read a split: an object with the lists train and validation, or a list of such (nnU-Net).

    Of a list of several folds the first is taken.

    Raises:
        DataError: The file is missing, or no such split.
    """
    content = _read_any_json(path)
    if isinstance(content, list) and content:
        content = content[0]
    parts = part_lists(content) if isinstance(content, dict) else None
    if not parts:
        raise DataError(
            f"{path} holds no split." if path.is_file() else f"{path} does not exist.",
            code="bad-split",
            remedy='Write {"train": [names], "validation": [names]} with the names of the cases.',
        )
    return parts


def part_lists(content: Mapping[str, Any]) -> Split | None:
    """Return the split in an object with lists of names; None where there are no such lists."""
    parts: dict[str, tuple[str, ...]] = {"train": (), "validation": ()}
    for key, names in content.items():
        part = part_of(key)
        if part and isinstance(names, list) and all(isinstance(name, str) for name in names):
            parts[part] = tuple(names)
    return Split(parts["train"], parts["validation"]) if any(parts.values()) else None


def part_of(word: str) -> str:
    """Return train or validation for the words that people use; empty for any other."""
    return _PARTS.get(word.strip().casefold().replace("_", " "), "")


# ------------------------------------------------------------------------------------ descriptions


@dataclass(frozen=True)
class Description:
    """What a description says, apart from the files of the cases."""

    found: LabelledSet
    """Without cases."""
    unlabelled: int | None
    """Label of voxels that nobody labelled."""
    num_channels: int
    """Channels that it names; 0 when it names none."""
    not_drawn: Mapping[Path, tuple[int, ...]]
    """Label maps, and labels that nobody has drawn in them: our own key in ``training``."""


def describe(folder: Path, content: Mapping[str, Any]) -> Description:
    """Read label names, channel names, modality and split.

    Args:
        folder: Where labels.json may lie, which names the labels before anything else.
        content: Of dataset.json; may be empty.

    Raises:
        DataError: They have another form than expected.
    """
    try:
        names, notices = _label_names(content.get("labels", {}))
        own = read_json(folder / "labels.json")
        if own:
            names, notices = _label_names(own.get("labels", own))
        channels = _channel_names(content.get("channel_names", content.get("modality", {})))
        split = content.get("split")
        own_split = part_lists(split) if split else None
        if split and own_split is None:
            raise ValueError(f"split {split!r:.60}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"dataset.json has labels, modality or split in another form than expected: {error!r}.",
            code="dataset-unreadable",
            remedy='Write them as {"labels": {"0": "background", "1": "liver"}, "modality": '
            '{"0": "CT"}, "split": {"train": [...], "validation": [...]}}.',
        ) from error
    ignored = [value for value, name in names.items() if name.casefold() == IGNORE]
    if ignored:
        names.pop(ignored[0])
        notices += (
            f"The label {ignored[0]} ignore marks voxels that nobody labelled: they are neither "
            "learnt nor scored.",
        )
    found = LabelledSet(
        cases=(),
        label_names=names,
        channels=channels,
        modality=modality_of(channels),
        split=own_split,
        notices=notices,
    )
    not_drawn = _not_drawn(content.get("training"), folder)
    return Description(found, ignored[0] if ignored else None, len(channels), not_drawn)


def description_beside(references: Path) -> Description:
    """Return what dataset.json or labels.json say, in a folder of label maps or above it.

    Args:
        references: Label map or folder of label maps.

    Returns:
        The description that names labels; an empty one where nothing names them.

    Raises:
        DataError: A description has another form than expected.
    """
    place = references.absolute()
    place = place if place.is_dir() else place.parent
    for folder in (place, place.parent):
        description = describe(folder, read_json(folder / "dataset.json"))
        if description.found.label_names:
            return description
    return describe(place, {})


def label_names_beside(references: Path) -> dict[int, str]:
    """Return value and name of the labels that `description_beside` finds named."""
    return dict(description_beside(references).found.label_names)


def _not_drawn(entries: Any, folder: Path) -> dict[Path, tuple[int, ...]]:
    found = {}
    for entry in entries if isinstance(entries, list) else ():
        values = entry.get("not_drawn") if isinstance(entry, dict) else None
        if isinstance(values, list) and all(isinstance(value, int) for value in values):
            found[real_path(folder / str(entry.get("label")).strip())] = tuple(values)
    return found


def with_channels(found: LabelledSet, num_channels: int) -> LabelledSet:
    """Return the set with as many names of channels as its cases have channels."""
    if len(found.channels) == num_channels:
        return found
    numbered = tuple(f"image_{index}" for index in range(num_channels))
    return replace(found, channels=numbered if num_channels > 1 else ("image",))


def _channel_names(names: Any) -> tuple[str, ...]:
    if isinstance(names, str):
        return (names,) if names else ()
    if isinstance(names, list):
        return tuple(map(str, names))
    return tuple(str(names[key]) for key in sorted(names, key=int))


def _label_names(labels: Any) -> tuple[dict[int, str], tuple[str, ...]]:
    """Read value to name (Decathlon), name to value or values (nnU-Net 2), without background."""
    if isinstance(labels, list):
        labels = {str(value): name for value, name in enumerate(labels)}
    regions = {name: values for name, values in labels.items() if isinstance(values, list)}
    if regions:
        return _parts_of_regions(labels)
    if all(re.fullmatch(r"\d+", str(key)) for key in labels):
        pairs = [(int(value), str(name)) for value, name in labels.items()]
    else:
        pairs = [(int(value), name) for name, value in labels.items()]
    values = [value for value, _ in pairs]
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"several labels have the value {repeated[0]}")
    return {value: name for value, name in sorted(pairs) if value > 0}, ()


def _parts_of_regions(labels: Mapping[str, Any]) -> tuple[dict[int, str], tuple[str, ...]]:
    """Name the single labels by the smallest region that holds each, without the ones inside."""
    regions = {
        name: {int(value) for value in (values if isinstance(values, list) else [values])}
        for name, values in labels.items()
    }
    names: dict[int, str] = {}
    for value in sorted(set().union(*regions.values()) - {0}):
        around = [name for name in regions if value in regions[name]]
        smallest = min(around, key=lambda name: len(regions[name]))
        inside = [name for name in regions if regions[name] < regions[smallest] and regions[name]]
        taken = set().union(*(regions[name] for name in inside)) if inside else set()
        alone = regions[smallest] - taken == {value}
        names[value] = smallest
        if inside and alone:
            largest = max(inside, key=lambda name: len(regions[name]))
            names[value] = f"{smallest} without {largest}"
        elif len(regions[smallest]) > 1 and not alone:
            names[value] = f"{smallest} {value}"
    listed = ", ".join(f"{value} {name}" for value, name in names.items())
    notice = (
        "The data set describes regions that overlap. Their parts are learnt, as they stand in the "
        f"label maps: {listed}. Other names can be given with --labels."
    )
    return names, (notice,)


def modality_of(names: Sequence[str]) -> Literal["CT", "MR", ""]:
    """Tell the modality by the names of the channels; empty when it is unknown or several."""
    found = {_modality_of_channel(name) for name in names}
    return "" if has_other_than_ct(names) else next(iter(found - {""}), "")


def has_other_than_ct(names: Sequence[str]) -> bool:
    """Tell whether some of the channels are CT and others are not, such as PET."""
    found = {_modality_of_channel(name) for name in names}
    return "CT" in found and len(found) > 1


def _modality_of_channel(name: str) -> Literal["CT", "MR", ""]:
    words = set(re.findall(r"[A-Z0-9]+", name.upper()))
    if "CT" in words and not words & {"PET", "PT"}:
        return "CT"
    return "MR" if words & _MR_WORDS else ""


_MR_WORDS = {
    *("MR", "MRI", "T1", "T2", "T1W", "T2W", "T1C", "T1CE", "T1GD", "T1N", "T2F", "FLAIR", "LGE"),
    *("ADC", "DWI", "DCE", "SWI", "PD", "PDW"),
}
