"""Where the volumes of a training store come from: what lies below the folders that were given."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from MISFMLib.data.cases import LabelledSet, find_cases
from MISFMLib.errors import ConfigError, DataError
from MISFMLib.files import real_path
from MISFMLib.volumes.formats.text_headers import data_files
from MISFMLib.volumes.volume import find_volumes

logger = logging.getLogger(__name__)

_LABEL_FOLDERS = {
    *("labels", "labelsTr", "labelsTs", "masks", "segmentations"),
    "seg-lungs-LUNA16",
}
"""Folders of label maps in data sets, which need not be opened to be told from scans."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A volume file, or a DICOM folder with one series or several."""

    path: Path
    """Where it is."""
    name: str
    """Name of the folder that was given, then the path below it, with forward slashes."""
    modality: str = ""
    """CT or MR where a data set says so."""
    is_held_out: bool = False
    """Whether a data set keeps it for validation."""
    num_channels: int = 1
    """Frames of the file that a data set calls channels; each is a volume."""
    signature: str = ""
    """Number, size and time of its files, and what a data set says of it."""


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """Find what may be a volume, except in folders of label maps.

    A dataset.json in any folder tells the modality of the volumes below it, and where it has a
    split, which of them are held out.

    Args:
        paths: Folders, volume files or DICOM folders. Those below another one are not searched
            twice.

    Returns:
        Every source once, in the order of the names.

    Raises:
        ConfigError: Two folders have the same name, so that their volumes could be confused.
        DataError: A path does not exist, or there is no volume.
    """
    roots = _roots(paths)
    found = sorted((source for root in roots for source in _below(root)), key=attrgetter("name"))
    if not found:
        raise DataError(
            "No volume was found.",
            code="no-volume",
            remedy="Give volume files, DICOM folders, or folders that hold them.",
        )
    return found


def _roots(paths: Sequence[Path]) -> list[Path]:
    given = sorted({real_path(path) for path in paths})
    for path in given:
        if not path.exists():
            raise DataError(
                f"{path} does not exist.", code="file-missing", remedy="Check the spelling."
            )
    roots = [path for path in given if not set(path.parents) & set(given)]
    names = [root.name for root in roots]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(
            f"Several of the folders are called {', '.join(repeated)}.",
            code="folder-name-repeated",
            remedy="Rename them, or give the folder that holds them.",
        )
    return roots


def _below(root: Path) -> Iterator[Source]:
    if root.is_file():
        yield _source(root, (root.name,))
        return
    for path, data_set in volumes_below(root):
        yield _source(path, (root.name, *path.relative_to(root).parts), data_set)


def volumes_below(root: Path) -> Iterator[tuple[Path, DataSet | None]]:
    """Yield the volumes below a folder, each with the data set that it belongs to.

    Label maps are left out: ``*.seg.nrrd``, and all in folders that are named as theirs are.
    """
    data_sets = dict(_data_sets(root))
    for path in find_volumes(root):
        folders = {root.name, *path.relative_to(root).parts[:-1]}
        if not folders & _LABEL_FOLDERS and not path.name.lower().endswith(".seg.nrrd"):
            yield path, _nearest(data_sets, path)


def _source(path: Path, parts: Sequence[str], data_set: DataSet | None = None) -> Source:
    # Names that are no valid text would spoil the table.
    name = "/".join(parts).encode("utf-8", "backslashreplace").decode()
    modality = data_set.modality if data_set else ""
    is_held_out = data_set is not None and data_set.holds_out(path)
    num_channels = data_set.num_channels if data_set else 1
    channels = f"{num_channels} channels" if num_channels > 1 else ""
    described = (modality, "held out" * is_held_out, channels)
    return Source(
        path=path,
        name=name,
        modality=modality,
        is_held_out=is_held_out,
        num_channels=num_channels,
        signature=":".join((_signature(path), *described)).rstrip(":"),
    )


def _signature(path: Path) -> str:
    files = path.iterdir() if path.is_dir() else (path, *data_files(path))
    # A link may lead nowhere, such as those of DataLad to what was not fetched.
    facts = [file.stat() for file in files if file.is_file()]
    newest = max((fact.st_mtime_ns for fact in facts), default=0)
    return f"{len(facts)}:{sum(fact.st_size for fact in facts)}:{newest}"


# --------------------------------------------------------------------------------------- data sets


@dataclass(frozen=True)
class DataSet:
    """What a data set says of its images."""

    modality: str
    """CT or MR; empty where it does not say."""
    held_out: frozenset[Path]
    """Images that it keeps for validation."""
    num_channels: int
    """In each file."""

    def holds_out(self, path: Path) -> bool:
        """Tell whether it keeps an image for validation."""
        return real_path(path) in self.held_out


def _data_sets(root: Path) -> Iterator[tuple[Path, DataSet]]:
    for description in root.rglob("dataset.json"):
        folder = description.parent
        try:
            found = find_cases(folder)
        except DataError as error:
            logger.info("%s says nothing of its volumes: %s", description, error)
        else:
            case = found.cases[0]
            in_a_file = case.num_channels if len(case.images) == 1 else 1
            yield folder, DataSet(found.modality, _held_out(found), in_a_file)


def _nearest(data_sets: Mapping[Path, DataSet], path: Path) -> DataSet | None:
    return next((data_sets[folder] for folder in path.parents if folder in data_sets), None)


def _held_out(found: LabelledSet) -> frozenset[Path]:
    names = found.split.validation if found.split else ()
    return frozenset(
        real_path(image) for case in found.cases if case.name in names for image in case.images
    )
