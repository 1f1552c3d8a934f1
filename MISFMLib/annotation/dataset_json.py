"""``dataset.json`` of a training set, as the Medical Segmentation Decathlon has it, and more.

Beside the Decathlon's keys it has ``split`` (train, validation), ``label_details`` (colours and
codes), and in an entry of ``training`` ``not_drawn``: labels whose absence there says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.configs import LabelConfig, decode, encode
from MISFMLib.errors import ConfigError, DataError
from MISFMLib.files import parse_json, write_json

FILE = "dataset.json"
LABELLED_IMAGES, OTHER_IMAGES, LABELS = "imagesTr", "imagesTs", "labelsTr"
SUFFIX = ".nii.gz"


def read_description(folder: Path) -> dict[str, Any]:
    """Read the file of a set.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        content = parse_json((folder / FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise no_set(folder, str(error)) from error
    if not isinstance(content, dict):
        raise no_set(folder, f"{FILE} is no JSON object")
    return content


def described(name: str, labels: Sequence[LabelConfig], channels: Sequence[str]) -> dict[str, Any]:
    """Return the file of a new set, without its cases."""
    return {
        "name": name,
        "description": "Training set of an annotator, made with MISFM",
        "tensorImageSize": "3D",
        **channel_fields(channels),
        **label_fields(labels),
    }


def channel_fields(channels: Sequence[str]) -> dict[str, Any]:
    """Return the keys that depend on the channels."""
    return {"modality": {str(index): name for index, name in enumerate(channels)}}


def channels_of(content: dict[str, Any], folder: Path) -> tuple[str, ...]:
    """Return the names of the channels in their order.

    Raises:
        DataError: They are not written as ours are.
    """
    names = content.get("modality") or {"0": "image"}
    try:
        return tuple(str(names[str(index)]) for index in range(len(names)))
    except (KeyError, TypeError) as error:
        raise no_set(folder, f"its modality is not written as ours: {names!r:.60}") from error


def file_name(wanted: str) -> str:
    """Return a name that a file can have."""
    return re.sub(r"[^\w.-]+", "_", wanted).strip("._")[:64] or "case"


def image_files(name: str, num_channels: int) -> tuple[str, ...]:
    """Return the names of a case's images: its own, or one for each channel as nnU-Net has them."""
    if num_channels == 1:
        return (f"{name}{SUFFIX}",)
    return tuple(f"{name}_{channel:04d}{SUFFIX}" for channel in range(num_channels))


def check_channels(channels: Sequence[str], count: int) -> None:
    """Check that a case has a volume for each channel of its set.

    Raises:
        DataError: It has more or fewer.
    """
    if count != len(channels):
        raise DataError(
            f"Each case of this training set has {len(channels)} volumes ({', '.join(channels)}), "
            f"this one has {count}.",
            code="channels-differ",
            remedy="Give a volume for each, or use another training set.",
        )


def label_fields(labels: Sequence[LabelConfig]) -> dict[str, Any]:
    """Return the keys that depend on the labels.

    Raises:
        DataError: Two labels have the same name or value.
    """
    names, values = {label.name for label in labels}, {label.value for label in labels}
    if min(len(names), len(values)) < len(labels):
        raise DataError(
            "Two labels have the same name or number.",
            code="label-name",
            remedy="Give every label of a training set a name and a number of its own.",
        )
    labels = sorted(labels, key=lambda label: label.value)
    return {
        "labels": {"0": "background", **{str(label.value): label.name for label in labels}},
        "label_details": [encode(label) for label in labels],
    }


def write_description(folder: Path, content: dict[str, Any], rows: Sequence[CaseRow]) -> None:
    """Write the file with the cases that a set has now; keys that are not ours stay."""
    write_json(folder / FILE, _with_cases(folder, content, rows), overwrite=True)


def refresh_description(folder: Path, rows: Sequence[CaseRow]) -> None:
    """Write the file anew if a crash has kept cases out of it."""
    content = read_description(folder)
    if _with_cases(folder, content, rows) != content:
        write_description(folder, content, rows)


def _with_cases(folder: Path, content: dict[str, Any], rows: Sequence[CaseRow]) -> dict[str, Any]:
    labelled = [row for row in rows if row.is_labelled]
    values = {label.name: label.value for label in labels_of(content, folder)}
    num_channels = len(channels_of(content, folder))

    def images(row: CaseRow, place: str) -> str | list[str]:
        paths = [f"./{place}/{file}" for file in image_files(row.name, num_channels)]
        return paths if num_channels > 1 else paths[0]  # MONAI reads either

    training = [
        {
            "image": images(row, LABELLED_IMAGES),
            "label": f"./{LABELS}/{row.name}{SUFFIX}",
            **_not_drawn(row, values),
        }
        for row in labelled
    ]
    others = [row for row in rows if not row.is_labelled and row.status != "left out"]
    return {
        **content,
        "numTraining": len(training),
        "numTest": len(others),
        "training": training,
        "test": [images(row, OTHER_IMAGES) for row in others],
        "split": {
            side: [row.name for row in labelled if row.split == side]
            for side in ("train", "validation")
        },
    }


def _not_drawn(row: CaseRow, values: dict[str, int]) -> dict[str, Any]:
    drawn = [values[name] for name in row.not_drawn if name in values]
    return {"not_drawn": sorted(drawn)} if drawn else {}


def labels_of(content: dict[str, Any], folder: Path) -> tuple[LabelConfig, ...]:
    """Return the labels.

    Raises:
        DataError: They are not written as ours are.
    """
    try:
        return tuple(decode(LabelConfig, each) for each in content.get("label_details", ()))
    except (ConfigError, TypeError) as error:
        raise no_set(folder, f"its labels are not ours: {error}") from error


def no_set(folder: Path, why: str) -> DataError:
    """Return the error that a folder holds no training set."""
    return DataError(
        f"{folder} is no training set: {why}.",
        code="no-training-set",
        remedy="Choose the folder of a training set, with its dataset.json and cases.csv.",
    )
