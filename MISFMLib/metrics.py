"""How well a segmentation agrees with a reference: overlap, and distance of the surfaces in mm.

Computed by MONAI on one label at a time, cut to the box that holds both masks. Surface voxels are
those that a 6-neighbour erosion removes; each counts once, whatever its area.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

from MISFMLib.configs import Spacing


@dataclass(frozen=True)
class Agreement:
    """Agreement of one label with its reference in one volume.

    All values are nan when the label is in neither. When it is in only one of the two, both Dice
    values are 0 and the distance, which does not exist then, is nan.
    """

    dice: float
    """Dice coefficient, 0 to 1."""
    hausdorff95_mm: float
    """Larger of the two 95th percentiles of the distances from one surface to the other."""
    surface_dice: float
    """Normalised surface Dice: part of both surfaces within the tolerance of the other."""


def dice(prediction_DHW: np.ndarray, reference_DHW: np.ndarray) -> float:
    """Return the Dice coefficient of two masks; nan when both are empty."""
    masks = (torch.from_numpy(mask)[None, None] for mask in (prediction_DHW, reference_DHW))
    return float(compute_dice(*masks, ignore_empty=not prediction_DHW.any()))


def agreement(
    prediction_DHW: np.ndarray,
    reference_DHW: np.ndarray,
    spacing_dhw: Spacing,
    tolerance_mm: float = 1.0,
) -> Agreement:
    """Compare two masks.

    Args:
        prediction_DHW: Boolean.
        reference_DHW: Boolean, on the same grid.
        spacing_dhw: Voxel size in mm.
        tolerance_mm: Distance up to which surfaces count as the same.
    """
    box = _box(prediction_DHW | reference_DHW)
    if box is None:
        return Agreement(np.nan, np.nan, np.nan)
    prediction, reference = prediction_DHW[box], reference_DHW[box]
    if not (prediction.any() and reference.any()):
        return Agreement(0.0, np.nan, 0.0)
    masks = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
    with warnings.catch_warnings():
        # MONAI 1.5 and 1.6 use an option of their own that they have deprecated.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        distance = compute_hausdorff_distance(*masks, percentile=95, spacing=spacing_dhw)
        surface = compute_surface_dice(*masks, class_thresholds=[tolerance_mm], spacing=spacing_dhw)
    return Agreement(dice(prediction, reference), float(distance), float(surface))


def compare_label_maps(
    prediction_DHW: np.ndarray,
    reference_DHW: np.ndarray,
    values: Iterable[int],
    spacing_dhw: Spacing,
    tolerance_mm: float = 1.0,
) -> dict[int, Agreement]:
    """Compare two label maps on the same grid, label by label."""
    return {
        value: agreement(prediction_DHW == value, reference_DHW == value, spacing_dhw, tolerance_mm)
        for value in values
    }


def _box(mask_DHW: np.ndarray) -> tuple[slice, ...] | None:
    """Return the box that holds a mask; None when it is empty."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        (occupied,) = np.nonzero(mask_DHW.any(axis=others))
        if not len(occupied):
            return None
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)
