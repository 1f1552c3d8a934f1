"""DICOM series: find them in a folder, choose the volume, check its grid, read its voxels.

Headers are read by pydicom. Where the slices lie is worked out here from what each of them states:
ITK takes even distances for granted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.dicom_header import is_dicom
from MISFMLib.volumes.formats.dicom_image import DicomSlice, inspect_image
from MISFMLib.volumes.formats.dicom_stacks import (
    Stack,
    chosen_volumes,
    files_of,
    shared_identifiers,
    stacks_of,
)
from MISFMLib.volumes.formats.problems import file_missing
from MISFMLib.volumes.formats.slice_stack import Plane, stack_planes
from MISFMLib.volumes.series_choice import SeriesChoice
from MISFMLib.volumes.volume_types import Volume

__all__ = [
    "Plane",
    "SeriesInfo",
    "is_dicom",
    "is_series_folder",
    "list_series",
    "planes_of",
    "read_series",
]

logger = logging.getLogger(__name__)

_NOT_SCANS = ("SEG", "RTDOSE", "PR", "SR", "KO")
"""Modalities of results that often lie beside a scan."""
_LISTED = 12
"""Volumes that a message names."""


@dataclass(frozen=True)
class SeriesInfo:
    """One image series of a DICOM folder."""

    uid: str
    """Series instance UID; empty where it was removed."""
    description: str
    """What the scanner's operator called it."""
    modality: str
    """DICOM modality, such as CT or MR."""
    files: tuple[Path, ...]
    """Its files in the order of the slices along their normal."""


# ----------------------------------------------------------------------------------------- listing


def list_series(folder: Path) -> list[SeriesInfo]:
    """List the image series among the files of a folder, not of its subfolders.

    Results that often lie beside a scan, such as DICOM SEG and dose, are left out.

    Raises:
        DataError: An image is damaged.
    """
    return [_info(_sorted(slices)) for slices in _scan(folder)]


def is_series_folder(folder: Path) -> bool:
    """Tell whether a folder itself holds at least one DICOM image; stops at the first."""
    for path in _files(folder):
        try:
            slices = inspect_image(path)
        except DataError:
            return True  # what is wrong is told when it is read
        if slices and slices[0].image.modality not in _NOT_SCANS:
            return True
    return False


def _files(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")
    )


def _scan(folder: Path) -> list[list[DicomSlice]]:
    """Return the slices of each series in the order of the file names."""
    series: dict[str, list[DicomSlice]] = {}
    for path in _files(folder):
        slices = inspect_image(path)
        if slices and slices[0].image.modality not in _NOT_SCANS:
            series.setdefault(slices[0].image.series, []).extend(slices)
    return [slices for _, slices in sorted(series.items())]


def _sorted(slices: Sequence[DicomSlice]) -> Sequence[DicomSlice]:
    """Sort along the normal of the first slice, where it states a place."""
    if not slices[0].is_placed:
        return slices
    row, column = np.reshape(slices[0].orientation, (2, 3))
    normal = np.cross(row, column)
    return sorted(slices, key=lambda each: float(np.dot(each.position_xyz or (0, 0, 0), normal)))


def _info(slices: Sequence[DicomSlice]) -> SeriesInfo:
    image = slices[0].image
    return SeriesInfo(image.series, image.description, image.modality, files_of(slices))


# ----------------------------------------------------------------------------------------- reading


def read_series(path: Path, series: str | None = None) -> Volume:
    """Read one volume of a folder, its slices in the order of their normal.

    Scouts, screenshots and other images beside the only volume are left out, with a warning.

    Args:
        path: Folder with the files, or one multi-frame file.
        series: Which volume, where there are several: a series instance UID, or words such as
            ``echo=2``; see `SeriesChoice`.

    Returns:
        Volume with one channel in HU or in the scanner's units, its modality and its files.

    Raises:
        DataError: There is no such volume or there are several, a file is damaged or compressed in
            an unknown way, or the slices form no regular grid.
        ConfigError: `series` has another form than expected.
    """
    from MISFMLib.volumes.formats.dicom_pixels import read_voxels  # SimpleITK, which takes 90 MB

    if not path.exists():
        raise file_missing(path)
    stack = _choose(path, SeriesChoice.parse(series))
    if any(each.image.component_count != 1 for each in stack.slices):
        raise DataError(
            f"The series in {path} holds colour pictures, the intensities of a scan were expected.",
            code="colour-image",
            remedy="Choose another series.",
        )
    if "MOSAIC" in stack.slices[0].image_type.upper().split("\\"):
        raise DataError(
            f"The series in {path} holds mosaics, whose slices lie side by side in one image.",
            code="dicom-mosaic",
            remedy="Convert it with dcm2niix, or export it as Enhanced MR or single slices.",
        )
    order, geometry = stack_planes(_planes(stack.slices), path)
    slices = [stack.slices[index] for index in order]
    modality = slices[0].image.modality
    return Volume(
        read_voxels(slices)[np.newaxis],
        geometry,
        name=path.name.removesuffix(".dcm"),
        modality=modality if modality in ("CT", "MR") else "",
        dicom_files=files_of(slices),
    )


def _choose(path: Path, choice: SeriesChoice) -> Stack:
    """Return the one volume that is meant; say what else there was."""
    if path.is_file():
        slices = inspect_image(path)
        found = [slices] if slices else []
    else:
        found = _scan(path)
    if not found:
        raise DataError(
            f"{path} holds no DICOM images{_subfolder_hint(path)}.",
            code="dicom-no-images",
            remedy="Give the folder that holds the files of the series themselves.",
        )
    every = [stack for slices in found for stack in _stacks(slices, path)]
    fitting = choice.among(every)
    if not fitting:
        raise DataError(
            f"{path} holds no series {choice}; it holds {_listed(every)}.",
            code="dicom-unknown-series",
            remedy="Choose one of them with --series.",
        )
    placed = [stack for stack in fitting if stack.slices[0].is_placed and len(stack.slices) > 1]
    volumes = chosen_volumes(fitting) or placed or fitting[:1]
    if len(volumes) > 1:
        raise _several(volumes, path)
    _check_lost(volumes[0], fitting)
    if len(fitting) > 1:
        others = [stack for stack in fitting if stack is not volumes[0]]
        logger.warning("%s: left out beside the volume: %s.", path, _listed(others))
    return volumes[0]


def _check_lost(volume: Stack, stacks: Sequence[Stack]) -> None:
    """Refuse to leave out what looks like a slice of the volume and does not say where it lies."""
    first = volume.slices[0].image
    for stack in stacks:
        image = stack.slices[0].image
        is_capture = image.is_capture or image.component_count > 1
        is_like_volume = image.series == first.series and image.shape_hw == first.shape_hw
        if not stack.slices[0].is_placed and is_like_volume and not is_capture:
            _planes(stack.slices)


def _stacks(slices: Sequence[DicomSlice], path: Path) -> list[Stack]:
    stacks, copies = stacks_of(slices)
    if copies:
        logger.warning("%s: %d copies of slices were left out.", path, copies)
    shared = shared_identifiers([each for stack in stacks for each in stack.slices])
    if shared:
        logger.warning(
            "%s: %d SOP instance UIDs are shared by slices at different places, as bad "
            "anonymisation leaves them; all slices are read.",
            path,
            shared,
        )
    return stacks


def _several(stacks: Sequence[Stack], path: Path) -> DataError:
    if len({stack.series for stack in stacks}) == len(stacks):
        return DataError(
            f"{path} holds {len(stacks)} series: {_listed(stacks)}.",
            code="dicom-several-series",
            remedy="Choose one with --series UID, or in a batch with --series description=WORD.",
        )
    keys = {"echo_time": "echo-time", "b_value": "b-value", "phase": "time"}
    keys |= {"image_type": "type", "acquisition": "acquisition"}
    telling = next((stack.telling[0] for stack in stacks if stack.telling), ("", ""))
    hint = f"{keys[telling[0]]}={telling[1]}" if telling[0] in keys else "UID"
    return DataError(
        f"{path} holds several volumes: {_listed(stacks)}.",
        code="dicom-several-volumes",
        remedy=f"Choose one with --series, for example --series {hint}.",
    )


def _subfolder_hint(path: Path) -> str:
    if not path.is_dir():
        return ""
    names = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    return f" itself, but the folders {', '.join(names[:5])}" if names else ""


def _listed(stacks: Sequence[Stack]) -> str:
    more = f"; and {len(stacks) - _LISTED} more" if len(stacks) > _LISTED else ""
    return "; ".join(stack.title() for stack in stacks[:_LISTED]) + more


def _planes(slices: Sequence[DicomSlice]) -> list[Plane]:
    for each in slices:
        if not each.is_placed:
            raise DataError(
                f"{each.image.path} does not say where its slice lies in the patient.",
                code="dicom-no-positions",
                remedy="Export the original series, not a secondary capture of it.",
            )
    return [
        Plane(
            each.position_xyz,
            each.orientation,
            each.spacing_hw or (0, 0),
            each.image.shape_hw,
            each.image.path.name,
        )
        for each in slices
    ]


def planes_of(files: Sequence[Path]) -> list[Plane]:
    """Return where the slices of the files of a series lie, file by file, frame by frame.

    Raises:
        DataError: A file is no DICOM image, is damaged, or does not say where its slice lies.
    """
    planes = []
    for path in files:
        slices = inspect_image(path)
        if not slices:
            raise DataError(
                f"{path} is no DICOM image.",
                code="dicom-no-images",
                remedy="Load the series again.",
            )
        planes += _planes(slices)
    return planes
