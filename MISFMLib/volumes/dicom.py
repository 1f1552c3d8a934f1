"""DICOM series: find them in a folder, check that their slices form a grid, read their voxels.

Only SimpleITK is needed. Where the slices lie is worked out here from what each of them states:
ITK takes even distances for granted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.dicom_header import is_dicom, read_frames
from MISFMLib.volumes.formats.dicom_image import DicomImage, inspect_image, unreadable
from MISFMLib.volumes.formats.itk import quiet_itk
from MISFMLib.volumes.formats.problems import file_missing
from MISFMLib.volumes.formats.slice_stack import Plane, stack_planes
from MISFMLib.volumes.volume_types import Array, Volume

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
        DataError: An image is damaged, or stored in a way that cannot be read here.
    """
    return [_info(_sorted(images)) for images in _scan(folder)]


def is_series_folder(folder: Path) -> bool:
    """Tell whether a folder itself holds at least one DICOM image; stops at the first."""
    for path in _files(folder):
        try:
            image = inspect_image(path)
        except DataError:
            return True  # what is wrong is told when it is read
        if image is not None and image.modality not in _NOT_SCANS:
            return True
    return False


def _files(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")
    )


def _scan(folder: Path) -> list[list[DicomImage]]:
    """Return the images of each series in the order of the file names."""
    series: dict[str, list[DicomImage]] = {}
    for path in _files(folder):
        image = inspect_image(path)
        if image is not None and image.modality not in _NOT_SCANS:
            series.setdefault(image.series, []).append(image)
    return [images for _, images in sorted(series.items())]


def _sorted(images: Sequence[DicomImage]) -> Sequence[DicomImage]:
    """Sort along the normal of the first slice, where it states a place."""
    if not images[0].position_xyz or not images[0].orientation:
        return images
    row, column = np.reshape(images[0].orientation, (2, 3))
    normal = np.cross(row, column)
    return sorted(images, key=lambda image: float(np.dot(image.position_xyz or (0, 0, 0), normal)))


def _info(images: Sequence[DicomImage]) -> SeriesInfo:
    first = images[0]
    files = tuple(image.path for image in images)
    return SeriesInfo(first.series, first.description, first.modality, files)


# ----------------------------------------------------------------------------------------- reading


def read_series(path: Path, series: str | None = None) -> Volume:
    """Read one series as a volume, its slices in the order of their normal.

    Args:
        path: Folder with the files of the series, or one multi-frame file.
        series: Series instance UID; needed when the folder holds several.

    Returns:
        Volume with one channel in HU or in the scanner's units, its modality and its files.

    Raises:
        DataError: There is no such series or there are several, a file is damaged or compressed
            in an unknown way, or the slices form no regular grid.
    """
    if not path.exists():
        raise file_missing(path)
    images = _without_copies(_choose(path, series))
    if any(image.component_count != 1 for image in images):
        raise DataError(
            f"The series in {path} holds colour pictures, the intensities of a scan were expected.",
            code="colour-image",
            remedy="Choose another series.",
        )
    order, geometry = stack_planes(_planes(images), path)
    if len(images) == 1:
        array = _read_files(images)[order]
        files: tuple[Path, ...] = (images[0].path,)
    else:
        images = [images[index] for index in order]
        array = _read_files(images)
        files = tuple(image.path for image in images)
    return Volume(
        _narrowed(array)[np.newaxis],
        geometry,
        name=path.name.removesuffix(".dcm"),
        modality=images[0].modality if images[0].modality in ("CT", "MR") else "",
        dicom_files=files,
    )


def _choose(path: Path, series: str | None) -> list[DicomImage]:
    if path.is_file():
        image = inspect_image(path)
        found = [[image]] if image else []
    else:
        found = _scan(path)
    if not found:
        raise DataError(
            f"{path} holds no DICOM images{_subfolder_hint(path)}.",
            code="dicom-no-images",
            remedy="Give the folder that holds the files of the series themselves.",
        )
    if series is None and len(found) > 1:
        raise DataError(
            f"{path} holds {len(found)} series: {_listed(found)}.",
            code="dicom-several-series",
            remedy="Choose one with --series UID.",
        )
    for images in found:
        if series in (None, images[0].series):
            return images
    raise DataError(
        f"{path} holds no series {series}; it holds {_listed(found)}.",
        code="dicom-unknown-series",
        remedy="Choose one of them with --series UID.",
    )


def _subfolder_hint(path: Path) -> str:
    if not path.is_dir():
        return ""
    names = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    return f" itself, but the folders {', '.join(names[:5])}" if names else ""


def _listed(found: Sequence[Sequence[DicomImage]]) -> str:
    return "; ".join(
        f"{images[0].series} ({images[0].description or 'no description'}, {images[0].modality}, "
        f"{sum(image.frame_count for image in images)} slices)"
        for images in found
    )


def _without_copies(images: Sequence[DicomImage]) -> list[DicomImage]:
    """Leave out files that hold the same image again, under another name."""
    kept: dict[str, DicomImage] = {}
    for image in images:
        kept.setdefault(image.uid or str(image.path), image)
    if len(kept) < len(images):
        logger.warning("%d copies of slices were left out.", len(images) - len(kept))
    return list(kept.values())


def _planes(images: Sequence[DicomImage]) -> list[Plane]:
    if len(images) == 1 and images[0].frame_count > 1:
        return read_frames(images[0].path, images[0].shape_hw)
    for image in images:
        if image.frame_count > 1 or not image.position_xyz or not image.orientation:
            raise DataError(
                f"{image.path} does not say where its slice lies in the patient.",
                code="dicom-no-positions",
                remedy="Export the original series, not a secondary capture of it.",
            )
    return [
        Plane(image.position_xyz, image.orientation, image.spacing_hw or (0, 0), image.shape_hw)
        for image in images
    ]


def planes_of(files: Sequence[Path]) -> list[Plane]:
    """Return where the slices of the files of a series lie, file by file, frame by frame.

    Raises:
        DataError: A file is no DICOM image, is damaged, or does not say where its slice lies.
    """
    planes = []
    for path in files:
        image = inspect_image(path)
        if image is None:
            raise DataError(
                f"{path} is no DICOM image.",
                code="dicom-no-images",
                remedy="Load the series again.",
            )
        planes += _planes([image])
    return planes


def _read_files(images: Sequence[DicomImage]) -> Array:
    """Read voxels (D, H, W) in the order of the files."""
    try:
        array = _decode(images)
    except RuntimeError as error:
        raise unreadable(_first_damaged(images)) from error
    return array.reshape(-1, *images[0].shape_hw)


def _decode(images: Sequence[DicomImage]) -> Array:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(image.path) for image in images])
    if len({image.pixel_type for image in images}) > 1:
        # Each slice has its own rescale slope: the type of the first would cut off the others.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    with quiet_itk():
        array: Array = sitk.GetArrayFromImage(reader.Execute())
    return array


def _first_damaged(images: Sequence[DicomImage]) -> Path:
    for image in images[:-1]:
        try:
            _decode([image])
        except RuntimeError:
            return image.path
    return images[-1].path


def _narrowed(array: Array) -> Array:
    """Undo the widening of GDCM, which takes 32 bits for HU stored in 16."""
    if array.dtype == np.float64:
        return array.astype(np.float32)
    bounds = np.iinfo(np.int16)
    if array.dtype == np.int32 and array.min() >= bounds.min and array.max() <= bounds.max:
        return array.astype(np.int16)
    return array
