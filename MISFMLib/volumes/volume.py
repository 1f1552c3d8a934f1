"""Volumes and label maps on disk: read with their grid, written on exactly that grid.

NRRD and MetaImage keep a grid in 64-bit numbers. NIfTI keeps 32-bit ones, which move the voxels of
a volume of 600 x 512 x 512 by less than 0.0002 mm, and only axes at exactly right angles; a result
whose voxels would be off by more than 1 % of their size is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.configs import LabelConfig
from MISFMLib.errors import DataError
from MISFMLib.volumes.case_names import case_name, distinct_names
from MISFMLib.volumes.dicom import is_dicom, read_series
from MISFMLib.volumes.folders import find_volumes
from MISFMLib.volumes.formats.problems import not_finite, two_dimensional
from MISFMLib.volumes.formats.slicer_segmentation import merge_layers, segment_fields, segment_names
from MISFMLib.volumes.label_values import make_whole
from MISFMLib.volumes.same_grid import TOLERANCE, fitted, on_grid
from MISFMLib.volumes.suffixes import volume_suffix
from MISFMLib.volumes.volume_files import (
    count_frames,
    geometry_of,
    header_fields,
    read_frames,
    read_image,
)
from MISFMLib.volumes.volume_types import (
    Array,
    Geometry,
    LabelMap,
    Volume,
    check_same_grid,
    describe_difference,
)
from MISFMLib.volumes.volume_writing import write_image

__all__ = [
    "Geometry",
    "LabelMap",
    "Volume",
    "case_name",
    "check_same_grid",
    "count_frames",
    "distinct_names",
    "find_volumes",
    "on_grid",
    "present_values",
    "read_label_map",
    "read_segment_names",
    "read_volume",
    "write_label_map",
    "write_volume",
]


# ---------------------------------------------------------------------------------------- volumes


def read_volume(
    path: Path | Sequence[Path], *, series: str | None = None, num_channels: int = 1
) -> Volume:
    """Read a volume from one file or DICOM folder, or one channel from each of several.

    Numbers of up to 32 bits keep their type; 64-bit ones become 32-bit ones.

    Args:
        path: Volume file, DICOM folder, or several of them in the order of the channels.
        series: Series instance UID to read from a DICOM folder that holds several.
        num_channels: Channels that are expected; so many frames of one file are taken as channels,
            which is how the Medical Segmentation Decathlon keeps them.

    Raises:
        DataError: A file cannot be read, is no scalar volume, has no regular grid, is constant or
            holds NaN or infinite values, or the channels lie on different grids.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    frames = num_channels if len(paths) == 1 else 1
    return join_channels([_read_one(single, series, frames) for single in paths])


def _read_one(path: Path, series: str | None, num_frames: int) -> Volume:
    if path.is_dir() or (not volume_suffix(path) and is_dicom(path)):
        volume = read_series(path, series)
    else:
        frames = read_frames(path, num_frames)
        if min(frames[0].GetSize()) < 2:  # as a segmentation may be
            raise two_dimensional(path, frames[0].GetSize())
        channels = [_channels(frame, path) for frame in frames]
        array = channels[0] if len(channels) == 1 else np.concatenate(channels)
        volume = Volume(array, geometry_of(frames[0]), case_name(path))
    for channel in volume.array_CDHW:
        check_intensities(channel, path)
    return volume


def _channels(image: sitk.Image, path: Path) -> Array:
    array: Array = sitk.GetArrayFromImage(image)
    if array.ndim == 3:
        return reduced(array)[np.newaxis]
    if array.dtype == np.uint8 and array.shape[-1] in (3, 4):
        raise DataError(
            f"{path} is a colour picture, the intensities of a scan were expected.",
            code="colour-image",
            remedy="Give the scan itself, not a screenshot or rendering.",
        )
    return reduced(np.ascontiguousarray(np.moveaxis(array, -1, 0)))


def reduced(array: Array) -> Array:
    """Return numbers that need no more than 32 bits, in types that every library takes."""
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype not in (np.int64, np.uint64, np.uint32) or not array.size:
        return array
    bounds = np.iinfo(np.int32)
    fits = array.min() >= bounds.min and array.max() <= bounds.max
    return array.astype(np.int32 if fits else np.float32)


def check_intensities(array_DHW: Array, path: Path | str) -> None:
    """Refuse voxels that say nothing; goes slice by slice to need no second volume."""
    if array_DHW.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in array_DHW):
        raise not_finite(path)
    first = array_DHW.flat[0]
    if all((plane == first).all() for plane in array_DHW):
        raise DataError(
            f"{path} is constant: every voxel is {first}.",
            code="constant-volume",
            remedy="Export the image again.",
        )


def join_channels(volumes: Sequence[Volume]) -> Volume:
    """Put the channels of volumes on one grid together.

    Raises:
        DataError: The grids differ.
    """
    if len(volumes) == 1:
        return volumes[0]
    first, arrays = volumes[0], [volumes[0].array_CDHW]
    for other in volumes[1:]:
        array = fitted(other.array_CDHW, other.geometry, first.geometry, f"Channel {other.name}")
        if array is None:
            difference = describe_difference(first.geometry, other.geometry, TOLERANCE)
            raise DataError(
                f"The channels {first.name} and {other.name} lie on different grids: {difference}.",
                code="grid-mismatch",
                remedy="Resample them to one grid first.",
            )
        arrays.append(array)
    return Volume(
        np.concatenate(arrays),
        first.geometry,
        first.name,
        first.modality,
        first.dicom_files,
    )


def write_volume(volume: Volume, path: Path, *, overwrite: bool = False) -> None:
    """Write intensities in their own type; several channels become components of the voxels.

    Raises:
        OutputError: The suffix is none that can be written, the file is there already or cannot be
            written, or the format cannot store the grid.
    """
    array = volume.array_CDHW
    array = array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)
    write_image(array, volume.geometry, path, overwrite=overwrite)


# -------------------------------------------------------------------------------------- label maps


def read_label_map(path: Path, *, allowed_values: Collection[int] | None = None) -> LabelMap:
    """Read a label map as uint8, or as uint16 when a label is above 255.

    Args:
        path: Volume file; the layers of a .seg.nrrd file are merged.
        allowed_values: Labels that may occur besides 0; all when not given.

    Raises:
        DataError: The file cannot be read, holds no non-negative integers up to 65535, holds a
            value that is not allowed, or has segments that overlap.
    """
    image = read_image(path)
    array: Array = sitk.GetArrayFromImage(image)
    is_segmentation = volume_suffix(path) == ".seg.nrrd"
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    names = segment_names(fields) if is_segmentation else {}
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    elif array.ndim == 4 and is_segmentation:
        array, names = merge_layers(array, fields, path)
    elif array.ndim == 4:
        raise DataError(
            f"{path} has {array.shape[-1]} channels, one label per voxel was expected.",
            code="label-channels",
            remedy="Save it with one channel.",
        )
    make_whole(array, fields, path)
    labels = array.astype(np.uint8 if array.max() <= 255 else np.uint16, copy=False)
    if allowed_values is not None:
        unknown = present_values(labels) - {0, *allowed_values}
        if unknown:
            raise DataError(
                f"{path} holds the labels {_listed(unknown)}, allowed are "
                f"{_listed(allowed_values)}.",
                code="unknown-label",
                remedy="Correct the label map, or the list of labels.",
            )
    return LabelMap(labels, geometry_of(image), names)


def read_segment_names(path: Path) -> dict[int, str]:
    """Read the names of the labels from the header of a .seg.nrrd file; empty for others.

    A file that cannot be read has none: what is wrong with it is told when its voxels are read.
    """
    if volume_suffix(path) != ".seg.nrrd":
        return {}
    try:
        return segment_names(header_fields(path))
    except DataError:
        return {}


def present_values(array_DHW: Array) -> set[int]:
    """Return the values that occur in labels of an unsigned type."""
    counts = np.zeros(int(np.iinfo(array_DHW.dtype).max) + 1, np.int64)
    for plane in array_DHW:
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    return set(map(int, np.flatnonzero(counts)))


def _listed(values: Collection[int]) -> str:
    ordered = sorted(values)
    return ", ".join(map(str, ordered[:10])) + (" and more" if len(ordered) > 10 else "")


def write_label_map(
    label_map: LabelMap,
    path: Path,
    *,
    labels: Sequence[LabelConfig] = (),
    overwrite: bool = False,
) -> None:
    """Write labels on their grid, compressed.

    Args:
        label_map: Labels and grid.
        path: Result; .nii.gz .nii .nrrd .mha, or .seg.nrrd, which 3D Slicer opens as a
            segmentation.
        labels: Names, colours and codes for .seg.nrrd; other formats have no place for them.
        overwrite: Replace a file that is already there.

    Raises:
        OutputError: The suffix is none that can be written, the file is there already or cannot be
            written, or the format cannot store the grid.
    """
    fields = {}
    if volume_suffix(path) == ".seg.nrrd":
        present = present_values(label_map.array_DHW)
        fields = segment_fields(labels, present, label_map.geometry)
    write_image(label_map.array_DHW, label_map.geometry, path, fields=fields, overwrite=overwrite)
