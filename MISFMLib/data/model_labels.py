"""Label maps in model space: those that are learnt, and those of the model before in a cascade.

Axes: K labels; D, H, W depth, height, width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from MISFMLib.data.interpolation import nearest_positions
from MISFMLib.data.label_resampling import LabelResampler, Place, Places, TileListener
from MISFMLib.data.resampling import slab_ranges
from MISFMLib.data.spatial import SpatialRecord

_OUTSIDE = 255
"""Label of what lies outside the foreground; no network has as many."""
_LEVEL = 1e-5
"""Scores that are as close are equal: float32 has rounded them."""

Labels = npt.NDArray[Any]
Plane = npt.NDArray[np.uint8]


def labels_in_model_space(labels_DHW: Labels, record: SpatialRecord) -> torch.Tensor:
    """Resample labels of a crop, each as a volume of ones and zeros; the highest value wins.

    Equal values give the lowest label.

    Args:
        labels_DHW: Labels up to 255 of the crop that `record` tells.
        record: The record of the prepared volume.

    Returns:
        Labels (D, H, W), uint8.
    """
    if labels_DHW.shape == record.model_shape_dhw:
        return torch.from_numpy(labels_DHW.astype(np.uint8))
    return torch.from_numpy(_resampled(labels_DHW.astype(np.uint8, copy=False), record))


def previous_in_model_space(
    labels_DHW: Labels, inside_DHW: npt.NDArray[np.bool_], record: SpatialRecord
) -> torch.Tensor:
    """Resample the labels of the model before in a cascade as nnU-Net does.

    There the outside of the foreground is a label of its own, and where labels are equal the one of
    the nearest voxel is taken (batchgenerators 0.25.5): with voxel sizes like 1.25 and 1 mm whole
    planes of voxels lie halfway.

    Args:
        labels_DHW: Labels up to 254 of the crop that `record` tells.
        inside_DHW: Which voxels of the crop are foreground of the image.
        record: The record of the prepared volume.

    Returns:
        Labels (D, H, W), uint8; 255 where the image has no foreground.
    """
    labels_DHW = labels_DHW.astype(np.uint8)
    labels_DHW[(labels_DHW == 0) & ~inside_DHW] = _OUTSIDE
    if labels_DHW.shape == record.model_shape_dhw:
        return torch.from_numpy(labels_DHW)
    values = np.unique(labels_DHW)
    resampled_DHW = np.empty(record.model_shape_dhw, np.uint8)
    depths, rows, columns = (
        nearest_positions(old, new).numpy()
        for old, new in zip(labels_DHW.shape, record.model_shape_dhw, strict=True)
    )

    def settle(place: Place, scores_KHW: torch.Tensor, _classes_HW: torch.Tensor) -> None:
        index, tile = place
        nearest_HW: Plane = labels_DHW[depths[index]][np.ix_(rows[tile], columns)]
        number_1HW = torch.from_numpy(np.searchsorted(values, nearest_HW))[None]
        of_nearest_HW = scores_KHW.gather(0, number_1HW)[0]
        is_level_HW = (of_nearest_HW >= scores_KHW.amax(0) - _LEVEL).numpy()
        np.copyto(resampled_DHW[index, tile], nearest_HW, where=is_level_HW)

    _resample_into(resampled_DHW, labels_DHW, record, settle)
    return torch.from_numpy(resampled_DHW)


def _resampled(labels_DHW: Plane, record: SpatialRecord) -> Plane:
    resampled_DHW = np.empty(record.model_shape_dhw, np.uint8)
    _resample_into(resampled_DHW, labels_DHW, record)
    return resampled_DHW


def _resample_into(
    output_DHW: Plane, labels_DHW: Plane, record: SpatialRecord, on_tile: TileListener | None = None
) -> None:
    values = np.unique(labels_DHW)
    depth, height, width = labels_DHW.shape
    # Indicators are interpolated linearly where intensities are cubic.
    places = Places(tuple(min(order, 1) for order in record.orders))
    resampler = LabelResampler((depth, height, width), output_DHW, values, on_tile, places=places)
    for start, stop in slab_ranges(depth, len(values) * height * width):
        is_label_KDHW = labels_DHW[start:stop] == values[:, None, None, None]
        resampler.add(torch.from_numpy(is_label_KDHW.astype(np.float32)))
