"""Label maps in model space: those that are learnt, and those of the model before in a cascade.

Axes: K labels; D, H, W depth, height, width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from MISFMLib.configs import Size
from MISFMLib.data.interpolation import nearest_positions
from MISFMLib.data.label_resampling import BlockListener, LabelResampler, Place, Places
from MISFMLib.data.resampling import slab_ranges
from MISFMLib.data.spatial import SpatialRecord

_OUTSIDE = -1
"""Label of what lies outside the foreground."""
_LEVEL = 1e-5
"""Scores that are as close are equal: float32 has rounded them."""

_HALF_SCALE = 1000
"""What nnU-Net multiplies shares by before it rounds them to half precision."""

Labels = npt.NDArray[Any]


@dataclass(frozen=True)
class PreviousRule:
    """How the labels of the model before come onto the grid of the second one."""

    orders: Size = (1, 1, 1)
    """1 or 0 for each axis: linear, or the nearest slice."""
    choice: Literal["nearest", "lowest", "above-half"] = "nearest"
    """Which label a voxel takes, as `PreprocessingConfig` has it."""


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
    labels_DHW: Labels,
    inside_DHW: npt.NDArray[np.bool_],
    record: SpatialRecord,
    rule: PreviousRule | None = None,
) -> torch.Tensor:
    """Resample the labels of the model before in a cascade as nnU-Net does.

    There the outside of the foreground is a label of its own. Where labels are equal, and with
    voxel sizes like 1.25 and 1 mm whole planes of voxels lie halfway, its function of scikit-image
    takes the one of the nearest voxel (batchgenerators 0.25.5), that of PyTorch the lowest.

    Args:
        labels_DHW: Labels of the crop that `record` tells.
        inside_DHW: Which voxels of the crop are foreground of the image.
        record: The record of the prepared volume.
        rule: Linear, and of equal labels that of the nearest voxel, when not given.

    Returns:
        Labels (D, H, W), int16; -1 where the image has no foreground.
    """
    rule = rule or PreviousRule()
    labels_DHW = labels_DHW.astype(np.int16)
    labels_DHW[(labels_DHW == 0) & ~inside_DHW] = _OUTSIDE
    if labels_DHW.shape == record.model_shape_dhw:
        return torch.from_numpy(labels_DHW)
    values = np.unique(labels_DHW)
    resampled_DHW = np.empty(record.model_shape_dhw, np.int16)
    nearest_places = [
        nearest_positions(old, new).numpy()
        for old, new in zip(labels_DHW.shape, record.model_shape_dhw, strict=True)
    ]

    def nearest(place: Place, scores_Kdhw: torch.Tensor, classes_dhw: torch.Tensor) -> torch.Tensor:
        axes = [axis[part] for axis, part in zip(nearest_places, place, strict=True)]
        number_dhw = torch.from_numpy(np.searchsorted(values, labels_DHW[np.ix_(*axes)]))
        of_nearest_dhw = scores_Kdhw.gather(0, number_dhw[None])[0]
        is_level_dhw = of_nearest_dhw >= scores_Kdhw.amax(0) - _LEVEL
        return torch.where(is_level_dhw, number_dhw, classes_dhw)

    choose = {"nearest": nearest, "lowest": _lowest, "above-half": _last_above_half}[rule.choice]

    def settle(place: Place, scores_Kdhw: torch.Tensor, classes_dhw: torch.Tensor) -> None:
        numbers_dhw = choose(place, scores_Kdhw, classes_dhw).numpy()
        chosen_dhw = values[numbers_dhw]
        if rule.choice == "above-half":
            chosen_dhw[numbers_dhw < 0] = 0
        resampled_DHW[place] = chosen_dhw

    _resample_into(resampled_DHW, labels_DHW, Places(rule.orders), settle)
    return torch.from_numpy(resampled_DHW)


def _lowest(_place: Place, scores_Kdhw: torch.Tensor, _classes_dhw: torch.Tensor) -> torch.Tensor:
    """Return the label with the highest share, the lowest of those that half precision levels."""
    return (scores_Kdhw * _HALF_SCALE).half().float().argmax(0)


def _last_above_half(
    _place: Place, scores_Kdhw: torch.Tensor, _classes_dhw: torch.Tensor
) -> torch.Tensor:
    """Return the last label with a share above a half; -1 where there is none."""
    numbers_K = torch.arange(1, len(scores_Kdhw) + 1)
    return ((scores_Kdhw > 0.5) * numbers_K[:, None, None, None]).amax(0) - 1


def _resampled(labels_DHW: npt.NDArray[np.uint8], record: SpatialRecord) -> Labels:
    resampled_DHW = np.empty(record.model_shape_dhw, np.uint8)
    _resample_into(resampled_DHW, labels_DHW, Places(linear_orders(record.orders)))
    return resampled_DHW


def linear_orders(orders: Size) -> Size:
    """Return the orders for volumes of ones and zeros: linear where intensities are cubic."""
    depth, height, width = (min(order, 1) for order in orders)
    return depth, height, width


def _resample_into(
    output_DHW: Labels, labels_DHW: Labels, places: Places, on_block: BlockListener | None = None
) -> None:
    values = np.unique(labels_DHW)
    depth, height, width = labels_DHW.shape
    resampler = LabelResampler((depth, height, width), output_DHW, values, on_block, places=places)
    for start, stop in slab_ranges(depth, len(values) * height * width):
        is_label_KDHW = labels_DHW[start:stop] == values[:, None, None, None]
        resampler.add(torch.from_numpy(is_label_KDHW.astype(np.float32)))
