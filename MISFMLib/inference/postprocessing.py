"""Cleaning up a label map as the model's labels ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.configs import LabelConfig
from MISFMLib.data.resampling import slab_ranges
from MISFMLib.volumes.volume import LabelMap

Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]


def clean_labels(label_map: LabelMap, labels: Sequence[LabelConfig]) -> LabelMap:
    """Remove small components and fill holes, label by label.

    First the components of every label: `min_volume_mm3` removes those below it, `keep_largest` all
    but the largest; what is removed becomes background. Then the holes of every label: background
    that the label alone encloses, together with what lies in it, is filled; other labels inside are
    kept. Components touch by faces, edges or corners (26 neighbours); background leaks out through
    faces only (6 neighbours), so a wall without face-wide gaps encloses. Each step works in the
    label's bounding box.

    Args:
        label_map: Label map, which is left as it is.
        labels: What to do with each label.
    """
    array_DHW = label_map.array_DHW.copy()
    voxel_mm3 = label_map.geometry.voxel_volume_mm3
    for label in labels:
        # Just below the quotient, so that a component of exactly the volume stays.
        min_voxels = int(np.ceil(label.min_volume_mm3 / voxel_mm3 - 1e-6))
        if label.keep_largest or min_voxels > 1:
            _keep_components(array_DHW, label, min_voxels)
    for label in labels:
        if label.fill_holes:
            _fill_holes(array_DHW, label)
    return LabelMap(array_DHW, label_map.geometry)


def _keep_components(
    array_DHW: npt.NDArray[np.unsignedinteger[Any]], label: LabelConfig, min_voxels: int
) -> None:
    box = _bounding_box(array_DHW, label.value)
    if box is None:
        return
    part_DHW = array_DHW[box]
    components = sitk.ConnectedComponent(_as_image(part_DHW == label.value), True)
    numbers_DHW = sitk.GetArrayViewFromImage(components)
    sizes = _component_sizes(numbers_DHW)
    is_removed = sizes < min_voxels
    if label.keep_largest:
        is_removed[np.arange(len(sizes)) != sizes.argmax()] = True
    is_removed[0] = False  # no component
    for slab in _slabs(part_DHW.shape):
        part_DHW[slab][is_removed[numbers_DHW[slab]]] = 0


def _component_sizes(numbers_DHW: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Count the voxels of every component; its number is the index, 0 is none and counts none."""
    sizes = np.zeros(int(numbers_DHW.max()) + 1, np.int64)
    for slab in _slabs(numbers_DHW.shape):
        sizes += np.bincount(numbers_DHW[slab].ravel(), minlength=len(sizes))
    sizes[0] = 0
    return sizes


def _slabs(shape: Sequence[int]) -> Iterator[slice]:
    """Split a volume along its depth, so that no second one is needed to work on it."""
    for start, stop in slab_ranges(shape[0], shape[1] * shape[2]):
        yield slice(start, stop)


def _fill_holes(array_DHW: npt.NDArray[np.unsignedinteger[Any]], label: LabelConfig) -> None:
    box = _bounding_box(array_DHW, label.value)
    if box is None:
        return
    filled = sitk.BinaryFillhole(_as_image(array_DHW[box] == label.value), False)
    is_hole_DHW = sitk.GetArrayViewFromImage(filled).astype(bool) & (array_DHW[box] == 0)
    array_DHW[box][is_hole_DHW] = label.value


def _bounding_box(array_DHW: npt.NDArray[np.unsignedinteger[Any]], value: int) -> Box | None:
    """Return the box around a label, or None when it is absent."""
    mask_DHW: Mask = array_DHW == value
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        (planes,) = mask_DHW.any(axis=others).nonzero()
        if not len(planes):
            return None
        spans.append(slice(int(planes[0]), int(planes[-1]) + 1))
    return spans[0], spans[1], spans[2]


def _as_image(mask_DHW: Mask) -> sitk.Image:
    return sitk.GetImageFromArray(mask_DHW.view(np.uint8))
