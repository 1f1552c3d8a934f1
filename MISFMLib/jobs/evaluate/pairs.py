"""Which label map is compared with which: by the names of the cases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from MISFMLib.data.descriptions import Description
from MISFMLib.errors import DataError
from MISFMLib.files import real_path
from MISFMLib.volumes.case_names import case_name, distinct_names, without_channel
from MISFMLib.volumes.dicom_seg import is_dicom_seg
from MISFMLib.volumes.folders import find_volumes


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


@dataclass(frozen=True)
class Pairing:
    """All cases, and files of either side that stand alone."""

    pairs: tuple[Pair, ...]
    without_prediction: tuple[str, ...] = ()
    """Cases of the references that nobody has segmented."""
    without_reference: tuple[str, ...] = ()
    """Segmentations that there is nothing to compare with."""


def find_pairs(predictions: Path, references: Path, images: Path | None) -> Pairing:
    """Pair the label maps of two folders by case name, or two files.

    Args:
        predictions: File or folder.
        references: File or folder.
        images: File or folder with the volumes, or None.

    Raises:
        DataError: A path does not exist, one side is a file and the other a folder, two files of a
            folder have one name, or no name occurs on both sides.
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
    found, right = files_by_name(predictions), files_by_name(references)
    volumes = images_by_case(images) if images is not None and images.is_dir() else {}
    common = sorted(found.keys() & right.keys())
    if not common:
        raise DataError(
            f"No label map in {predictions} ({_some(found)}) has the name of one in {references} "
            f"({_some(right)}).",
            code="no-pair",
            remedy="Give the files of a case the same name on both sides, apart from their ending.",
        )
    return Pairing(
        tuple(Pair(name, found[name], right[name], volumes.get(name)) for name in common),
        tuple(sorted(right.keys() - found.keys())),
        tuple(sorted(found.keys() - right.keys())),
    )


def with_description(pairing: Pairing, description: Description) -> Pairing:
    """Return the pairs with what the data set says that nobody has labelled in the references."""
    pairs = [
        replace(
            pair,
            unlabelled=description.unlabelled,
            not_drawn=description.not_drawn.get(real_path(pair.reference), ()),
        )
        for pair in pairing.pairs
    ]
    return replace(pairing, pairs=tuple(pairs))


def files_by_name(folder: Path) -> dict[str, Path]:
    """Return volume files and DICOM SEG files below a folder by their case names.

    Raises:
        DataError: The folder does not exist, or two files have one name.
    """
    files: dict[str, Path] = {}
    seg_files = [path for path in sorted(folder.rglob("*")) if is_dicom_seg(path)]
    for path in [*find_volumes(folder), *seg_files]:
        # The channel number of nnU-Net's images is no part of the case's name.
        name = case_name(path).removesuffix("_0000")
        if path.is_dir() or files.get(name) == path:
            continue
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
