"""How well a segmentation agrees with a reference: overlap, and distance of the surfaces in mm.

The surface of a mask are the voxels that a 6-neighbour erosion removes; the end of the image counts
as outside, and each voxel counts once, whatever its area. Everything is computed in the box that
holds a label in both maps, with a k-d tree of the surface voxels: the values are those of MONAI
1.6.1, which computes distance transforms instead (see Docs/evaluation.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.configs import Spacing
from MISFMLib.errors import DependencyError

Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]

_SLACK = 1 + 1e-6
"""A distance may equal the tolerance: 0.2 mm is 0.20000000298 in NIfTI's 32-bit numbers."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of one label with its reference in one volume.

    All values are nan when the label is in neither. When it is in only one of the two, both Dice
    values are 0 and the distances, which do not exist then, are nan.
    """

    dice: float
    """Dice coefficient, 0 to 1."""
    hausdorff95_mm: float
    """Larger of the two 95th percentiles of the distances from one surface to the other."""
    surface_dice: float
    """Normalised surface Dice: part of both surfaces within the tolerance of the other."""
    assd_mm: float
    """Average symmetric surface distance: mean over the voxels of both surfaces together."""


_NOWHERE = Agreement(np.nan, np.nan, np.nan, np.nan)
_IN_ONE_ONLY = Agreement(0.0, np.nan, 0.0, np.nan)


def dice(prediction_DHW: Mask, reference_DHW: Mask) -> float:
    """Return the Dice coefficient of two masks; nan when both are empty."""
    voxels = int(np.count_nonzero(prediction_DHW)) + int(np.count_nonzero(reference_DHW))
    common = int(np.count_nonzero(prediction_DHW & reference_DHW))
    return 2 * common / voxels if voxels else np.nan


def agreement(
    prediction_DHW: Mask,
    reference_DHW: Mask,
    spacing_dhw: Spacing,
    tolerance_mm: float = 1.0,
) -> Agreement:
    """Compare two masks.

    Args:
        prediction_DHW: Boolean.
        reference_DHW: Boolean, on the same grid.
        spacing_dhw: Voxel size in mm.
        tolerance_mm: Distance up to which surfaces count as the same.

    Raises:
        DependencyError: SciPy is not installed.
    """
    maps = (prediction_DHW.astype(np.uint8), reference_DHW.astype(np.uint8))
    return compare_label_maps(*maps, (1,), spacing_dhw, tolerance_mm)[1]


def compare_label_maps(
    prediction_DHW: npt.NDArray[np.integer],
    reference_DHW: npt.NDArray[np.integer],
    values: Iterable[int],
    spacing_dhw: Spacing,
    tolerance_mm: float = 1.0,
) -> dict[int, Agreement]:
    """Compare two label maps on the same grid, label by label.

    Args:
        prediction_DHW: Integers from 0.
        reference_DHW: Integers from 0, of the same shape.
        values: Labels to compare, 1 and up.
        spacing_dhw: Voxel size in mm.
        tolerance_mm: Distance up to which surfaces count as the same.

    Raises:
        DependencyError: SciPy is not installed.
    """
    boxes = [_boxes(labels_DHW) for labels_DHW in (prediction_DHW, reference_DHW)]
    found = {}
    for value in values:
        pair = [of_map.get(value) for of_map in boxes]
        present = [box for box in pair if box is not None]
        if len(present) < 2:
            found[value] = _IN_ONE_ONLY if present else _NOWHERE
            continue
        box = _around(*present)
        masks = (prediction_DHW[box] == value, reference_DHW[box] == value)
        found[value] = _compare(*masks, spacing_dhw, tolerance_mm)
    return found


def _compare(
    prediction: Mask, reference: Mask, spacing_dhw: Spacing, tolerance_mm: float
) -> Agreement:
    """Compare two masks that both have voxels."""
    surfaces = [_surface(mask) for mask in (prediction, reference)]
    there = _distances(surfaces[0], surfaces[1], spacing_dhw)
    back = _distances(surfaces[1], surfaces[0], spacing_dhw)
    both = np.concatenate([there, back])
    return Agreement(
        dice(prediction, reference),
        float(max(np.percentile(there, 95), np.percentile(back, 95))),
        float(np.count_nonzero(both <= tolerance_mm * _SLACK) / len(both)),
        float(both.mean()),
    )


def _surface(mask_DHW: Mask) -> Mask:
    """Return the voxels of a mask that have one of their six neighbours outside it."""
    padded = np.pad(mask_DHW, 1)
    inner = padded[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for start in (0, 2):
            shifted = [slice(1, -1)] * 3
            shifted[axis] = slice(start, padded.shape[axis] - 2 + start)
            inner &= padded[tuple(shifted)]
    surface: Mask = mask_DHW & ~inner
    return surface


def _distances(source: Mask, target: Mask, spacing_dhw: Spacing) -> npt.NDArray[np.float64]:
    """Return the distance in mm of every voxel of one surface from the other surface."""
    apart = source & ~target
    distances = np.zeros(int(np.count_nonzero(source)))
    if apart.any():
        tree = _scipy("spatial").KDTree(np.argwhere(target) * spacing_dhw)
        distances[: int(np.count_nonzero(apart))] = tree.query(np.argwhere(apart) * spacing_dhw)[0]
    return distances


def _boxes(labels_DHW: npt.NDArray[np.integer]) -> dict[int, Box]:
    """Return the box that holds each label, for those that occur."""
    found = _scipy("ndimage").find_objects(labels_DHW.astype(np.int32, copy=False))
    return {value: box for value, box in enumerate(found, start=1) if box is not None}


def _around(first: Box, second: Box) -> Box:
    depth, height, width = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )
    return depth, height, width


def _scipy(part: str) -> Any:
    try:
        return importlib.import_module(f"scipy.{part}")
    except ImportError as error:
        raise DependencyError(
            "Comparing segmentations needs SciPy, which is not installed.",
            code="missing-package",
            remedy="Install it: pip install scipy",
        ) from error
