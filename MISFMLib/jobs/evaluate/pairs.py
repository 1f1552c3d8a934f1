"""Which label map is compared with which: by the names of the cases."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from MISFMLib.data.descriptions import Description
from MISFMLib.errors import DataError, MISFMError
from MISFMLib.files import real_path
from MISFMLib.jobs.segment.table import model_name
from MISFMLib.models.store import find_model
from MISFMLib.volumes.case_names import case_name, distinct_names, without_channel
from MISFMLib.volumes.dicom_seg import is_dicom_seg
from MISFMLib.volumes.folders import find_volumes

_OF_ALL = re.compile(r"[^\W\d_]+|t[12]\w*", re.IGNORECASE)
"""Words of names that say what is in a file, not whose it is: seg, ct, T1w."""


@dataclass(frozen=True)
class Pair:
    """One case."""

    name: str
    prediction: Path
    reference: Path
    image: Path | None = None
    """For pictures."""
    unlabelled: int | None = None
    """Value in the reference of voxels that nobody labelled."""
    not_drawn: tuple[int, ...] = ()
    """Labels that nobody has drawn in the reference."""
    model_names: tuple[tuple[int, str], ...] = ()
    """Value and name of the labels of the model that made the prediction, where it is known."""


@dataclass(frozen=True)
class Pairing:
    """All cases, and files of either side that stand alone."""

    pairs: tuple[Pair, ...]
    without_prediction: tuple[str, ...] = ()
    """Cases of the references that nobody has segmented."""
    without_reference: tuple[str, ...] = ()
    """Segmentations that there is nothing to compare with."""
    notice: str = ""
    """How they were paired, if not by equal names."""


def find_pairs(predictions: Path, references: Path, images: Path | None) -> Pairing:
    """Pair the label maps of two folders by case name, or two files.

    Volumes that the segmentations were made from are no references. Where no names are the same,
    what tells the names of a side apart counts, such as the patient.

    Args:
        predictions: File or folder.
        references: File or folder.
        images: File or folder with the volumes, or None.

    Raises:
        DataError: A path does not exist, one side is a file and the other a folder, two files
            beside each other have one name, or no name occurs on both sides.
    """
    for path in filter(None, (predictions, references, images)):
        if not path.exists():
            raise DataError(
                f"{path} does not exist.", code="file-missing", remedy="Check the path."
            )
    if predictions.is_file() and references.is_file():
        image = images if images is not None and images.is_file() else None
        return Pairing((Pair(case_name(references), predictions, references, image),))
    if predictions.is_file() or references.is_file():
        raise DataError(
            f"One of {predictions} and {references} is a file and the other a folder.",
            code="not-a-pair",
            remedy="Give two label maps, or two folders of label maps.",
        )
    volumes = images_by_case(images) if images is not None and images.is_dir() else {}
    return _pair_folders(predictions, references, volumes)


def _pair_folders(predictions: Path, references: Path, volumes: Mapping[str, Path]) -> Pairing:
    found, right = files_by_name(predictions), files_by_name(references)
    scans = _volumes_segmented(predictions)
    right = {name: path for name, path in right.items() if real_path(path) not in scans}
    same = {name: name for name in sorted(found.keys() & right.keys())}
    common = same or _by_what_differs(found, right)
    if not common:
        left_out = " Volumes that were segmented themselves do not count." if scans else ""
        raise DataError(
            f"No label map in {predictions} ({_some(found)}) has the name of one in {references} "
            f"({_some(right)}).{left_out}",
            code="no-pair",
            remedy="Give the files of a case the same name on both sides, apart from their ending; "
            "or the folder that holds the label maps alone.",
        )
    return Pairing(
        tuple(Pair(a, found[a], right[b], volumes.get(a)) for a, b in common.items()),
        tuple(sorted(right.keys() - set(common.values()))),
        tuple(sorted(found.keys() - common.keys())),
        "" if same else _told(common),
    )


def _by_what_differs(predictions: Iterable[str], references: Iterable[str]) -> dict[str, str]:
    """Pair names by what tells those of a side apart: P1_ct, P2_ct with P1_seg, P2_seg."""
    found, right = _telling_parts(predictions), _telling_parts(references)
    return {found[part]: right[part] for part in sorted(found.keys() & right.keys())}


def _telling_parts(names: Iterable[str]) -> dict[str, str]:
    """Return names by what is left of them without the words that all begin or end with."""
    of_names = {name: re.split(r"[\W_]+", name) for name in names}
    starts, ends = (_shared([words[::step] for words in of_names.values()]) for step in (1, -1))
    parts = {"_".join(words[starts : len(words) - ends]): name for name, words in of_names.items()}
    return parts if len(parts) == len(of_names) and "" not in parts else {}


def _shared(names: Sequence[Sequence[str]]) -> int:
    """Count the first words that all names share, up to one that may be a patient's."""
    first = itertools.takewhile(lambda words: len({*words}) == 1, zip(*names, strict=False))
    return len(list(itertools.takewhile(_OF_ALL.fullmatch, (words[0] for words in first))))


def _told(pairs: dict[str, str]) -> str:
    listed = ", ".join(f"{a} with {b}" for a, b in [*pairs.items()][:3])
    more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
    return (
        "No names are the same on both sides. Paired by what tells those of a side apart: "
        f"{listed}{more}."
    )


def _volumes_segmented(results: Path) -> set[Path]:
    """Return the volumes that a batch has made its results from, as far as its table tells."""
    inputs = [row.get("input") for row in rows_of_batch(results)]
    return {real_path(results / volume) for volume in inputs if volume}


def rows_of_batch(results: Path) -> list[dict[str, str]]:
    """Return the rows of a batch's table; none where there is no readable one."""
    try:
        with (results / "cases.csv").open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def names_of_model(results: Path) -> dict[int, str]:
    """Return the label names of the model that made the results of a batch, if it is installed."""
    told = next((row.get("model") for row in rows_of_batch(results)), None)
    if not told or not told.strip():
        return {}
    try:
        manifest = find_model(told.split()[0]).manifest
    except MISFMError:
        return {}
    is_same = model_name(manifest) == told
    return {label.value: label.name for label in manifest.labels} if is_same else {}


def with_descriptions(pairing: Pairing, results: Path, description: Description) -> Pairing:
    """Return the pairs with what is known of both sides.

    Args:
        pairing: The pairs.
        results: Where the predictions lie.
        description: What the data set says that nobody has labelled in the references.
    """
    model_names = tuple(names_of_model(results).items())
    pairs = [
        replace(
            pair,
            unlabelled=description.unlabelled,
            not_drawn=description.not_drawn.get(real_path(pair.reference), ()),
            model_names=model_names,
        )
        for pair in pairing.pairs
    ]
    return replace(pairing, pairs=tuple(pairs))


def files_by_name(folder: Path) -> dict[str, Path]:
    """Return volume files and DICOM SEG files below a folder by their case names.

    Where names repeat, as in folders of patients, the folders that differ come before.

    Raises:
        DataError: The folder does not exist, or two files beside each other have one name.
    """
    files: dict[str, Path] = {}
    seg_files = [path for path in sorted(folder.rglob("*")) if is_dicom_seg(path)]
    paths = [path for path in [*find_volumes(folder), *seg_files] if not path.is_dir()]
    for name, path in zip(distinct_names(paths), paths, strict=True):
        # The channel number of nnU-Net's images is no part of the case's name.
        name = name.removesuffix("_0000")
        if name in files:
            raise DataError(
                f"{files[name]} and {path} are both called {name}.",
                code="same-name",
                remedy="Keep one of them, or give the folder that holds the right ones.",
            )
        files[name] = path
    return files


def images_by_case(folder: Path) -> dict[str, Path]:
    """Return the scans of a folder, DICOM folders too, by the names that `misfm segment` gives.

    Of a case with a file per channel it is the first one.

    Raises:
        DataError: The folder does not exist.
    """
    paths = find_volumes(folder)
    names = distinct_names(paths)
    found = dict(zip(without_channel(names), paths, strict=True))
    for name, path in zip(names, paths, strict=True):
        found.setdefault(name.removesuffix("_0000"), path)
    return found


def _some(files: dict[str, Path]) -> str:
    names = sorted(files)
    listed = ", ".join(names[:3]) or "none at all"
    return f"{listed} and {len(names) - 3} more" if len(names) > 3 else listed
