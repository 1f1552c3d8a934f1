"""Read a labelled case: image and label map on one grid, labels with the data set's own numbers.

Whoever compares a label map with its image, or with another label map, reads both here.
Axes: D, H, W depth, height, width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from MISFMLib.annotation import labels
from MISFMLib.data.labelled_set import Case
from MISFMLib.errors import DataError
from MISFMLib.volumes.volume import (
    LabelMap,
    Volume,
    case_name,
    find_volumes,
    on_grid,
    present_values,
    read_label_map,
    read_volume,
)

_GENERATED = re.compile(r"(segment|label)[_ ]?\d*", re.IGNORECASE)
"""Names that programs give to segments that nobody named."""


def read_case(case: Case, *, series: str | None = None) -> tuple[Volume, LabelMap]:
    """Read image and label map of a case.

    Segments of .seg.nrrd files are matched with the labels of the data set by name, since programs
    renumber them; files without names go by value.

    Args:
        case: Its files.
        series: Which volume of a DICOM folder that holds several.

    Returns:
        The image and, on exactly its grid, the labels as the data set numbers them.

    Raises:
        DataError: A file cannot be read, the grids differ, or a segment has a name that is none of
            the data set's.
    """
    volume = read_volume(case.images, series=series, num_channels=case.num_channels)
    if case.label.is_dir():
        return volume, _merged_masks(case, volume)
    label_map = on_grid(read_label_map(case.label), replace(volume, name=case.name))
    return volume, match_names(label_map, case.label_names, case.label)


def match_names(label_map: LabelMap, label_names: Mapping[int, str], path: Path) -> LabelMap:
    """Give the labels of a file with named segments the values that other names have.

    Args:
        label_map: As read, with the names of its file.
        label_names: Value and name of the labels that are wanted.
        path: The file, for messages.

    Returns:
        The label map with the values of `label_names`; as it is where either side has no names.

    Raises:
        DataError: A segment with voxels has a name that is none of the wanted ones.
    """
    if not label_map.names or not label_names:
        return label_map
    wanted = {plain(name): value for value, name in label_names.items()}
    values = {v: wanted[plain(n)] for v, n in label_map.names.items() if plain(n) in wanted}
    if not values and all(_GENERATED.fullmatch(name) for name in label_map.names.values()):
        return label_map
    present = present_values(label_map.array_DHW) - {0}
    unknown = [label_map.names.get(value, f"label {value}") for value in present - set(values)]
    if unknown:
        raise DataError(
            f"{path} holds the segments {', '.join(sorted(unknown))}; the labels are "
            f"{', '.join(label_names.values())}.",
            code="unknown-label",
            remedy="Give the segments the names of the labels, or remove those that do not belong "
            "to them.",
        )
    lookup = np.zeros(int(np.iinfo(label_map.array_DHW.dtype).max) + 1, np.uint16)
    for value in present:
        lookup[value] = values[value]
    array_DHW = lookup[label_map.array_DHW]
    if array_DHW.max() <= np.iinfo(np.uint8).max:
        array_DHW = array_DHW.astype(np.uint8)
    return replace(label_map, array_DHW=array_DHW, names=label_names)


def plain(name: str) -> str:
    """Return a name as labels are compared; one without a letter or number stays as it is."""
    return labels.plain(name) or name


def masks_in(folder: Path) -> dict[str, Path]:
    """Return the masks of a case by the names of their structures.

    Raises:
        DataError: Two files have one name.
    """
    masks: dict[str, Path] = {}
    for path in find_volumes(folder):
        name = case_name(path)
        if name in masks:
            raise DataError(
                f"{folder} holds two masks of {name}: {masks[name].name} and {path.name}.",
                code="case-files-repeated",
                remedy="Keep one of them.",
            )
        masks[name] = path
    return masks


def _merged_masks(case: Case, volume: Volume) -> LabelMap:
    """Put one mask per structure into a label map; those that the data set does not name stay out.

    A structure without a file is one that the case does not have.
    """
    by_name = {plain(name): path for name, path in masks_in(case.label).items()}
    label_names = case.label_names
    merged_DHW = np.zeros(volume.geometry.shape_dhw, np.uint16)
    for value, name in label_names.items():
        path = by_name.get(plain(name))
        if path is None:
            continue
        mask = on_grid(read_label_map(path), volume, name=f"{case.name}: the mask {path.name}")
        is_label_DHW = mask.array_DHW > 0
        covered = merged_DHW[is_label_DHW & (merged_DHW > 0)]
        if len(covered):
            other = label_names[int(covered[0])]
            raise DataError(
                f"{case.name}: the masks of {other} and {name} overlap in {len(covered)} voxels, a "
                "label map gives each voxel one label.",
                code="overlapping-segments",
                remedy="Remove the overlap in 3D Slicer's Segment Editor.",
            )
        merged_DHW[is_label_DHW] = value
    dtype = np.uint8 if merged_DHW.max() <= np.iinfo(np.uint8).max else np.uint16
    return LabelMap(merged_DHW.astype(dtype, copy=False), volume.geometry, label_names)


def without_unlabelled(
    array_DHW: np.ndarray, reference_DHW: np.ndarray, unlabelled: int | None
) -> np.ndarray:
    """Return labels that are background wherever nobody labelled the reference."""
    if unlabelled is None:
        return array_DHW
    return np.where(reference_DHW == unlabelled, np.zeros_like(array_DHW), array_DHW)
