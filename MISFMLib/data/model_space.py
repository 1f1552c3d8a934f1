"""Where a volume lies in model space: its axes, crop and voxel size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.configs import PreprocessingConfig, Size, Spacing
from MISFMLib.data.interpolation import axis_orders, separate_axis
from MISFMLib.data.model_labels import PreviousRule, linear_orders
from MISFMLib.data.outside_air import BODY_HU
from MISFMLib.data.resampling import slab_ranges
from MISFMLib.data.spatial import Flips, SpatialRecord, canonical_axes
from MISFMLib.memory import check_fits
from MISFMLib.volumes.volume import Geometry, Volume


def spatial_record(volume: Volume, preprocessing: PreprocessingConfig) -> SpatialRecord:
    """Find out where a volume lies in model space.

    Raises:
        DeviceError: It would not fit into the memory at the model's voxel size.
    """
    geometry = volume.geometry
    axes, flips = model_axes(geometry.direction, preprocessing)
    start, stop = _crop(volume.array_CDHW, preprocessing, axes, flips)
    spacing, target = _spacings(geometry, axes, preprocessing)
    shape = _model_shape(np.subtract(stop, start), spacing, target)
    _check_memory(volume, shape, target)
    apart = separate_axis(preprocessing.resampling, spacing, target)
    apart_back = separate_axis(preprocessing.restoring, target, spacing)
    return SpatialRecord(
        geometry,
        axes,
        flips,
        start,
        stop,
        shape,
        axis_orders(preprocessing.resampling, apart),
        apart,
        axis_orders(preprocessing.restoring, apart_back),
    )


def previous_rule(record: SpatialRecord, preprocessing: PreprocessingConfig) -> PreviousRule:
    """Return how the labels of the model before in a cascade come onto a volume's model grid."""
    config = preprocessing.previous_resampling
    if config is None:
        return PreviousRule(linear_orders(record.orders), preprocessing.previous_choice)
    apart = separate_axis(config, *_spacings(record.input_geometry, record.axes, preprocessing))
    return PreviousRule(axis_orders(config, apart), preprocessing.previous_choice)


def _spacings(
    geometry: Geometry, axes: Size, preprocessing: PreprocessingConfig
) -> tuple[Spacing, Spacing]:
    """Return the voxel size along the axes of model space, and the one that is wanted."""
    depth, height, width = np.take(geometry.spacing_dhw, axes).tolist()
    spacing = (depth, height, width)
    target = preprocessing.spacing_dhw or spacing
    return spacing, (depth, *target[1:]) if preprocessing.keeps_depth else target


def model_axes(
    direction: tuple[float, ...], preprocessing: PreprocessingConfig
) -> tuple[Size, Flips]:
    """Return the array axis that becomes each axis of model space, and whether it is flipped."""
    axes, flips = (0, 1, 2), (False, False, False)
    if preprocessing.orientation:
        axes, flips = canonical_axes(direction, preprocessing.orientation)
    first, second, third = preprocessing.transpose
    return (axes[first], axes[second], axes[third]), (flips[first], flips[second], flips[third])


def _model_shape(crop_shape: npt.NDArray[Any], spacing: Spacing, target: Spacing) -> Size:
    scale = np.divide(spacing, target)
    depth, height, width = np.maximum(1, np.rint(scale * crop_shape)).astype(int).tolist()
    return depth, height, width


def _check_memory(volume: Volume, shape: Size, target: Spacing) -> None:
    """Refuse a volume that would be a giant at the model's voxel size.

    Raises:
        DeviceError: It would not fit into the memory.
    """
    given, wanted = (
        " x ".join(f"{edge:.4g}" for edge in spacing)
        for spacing in (volume.geometry.spacing_dhw, target)
    )
    check_fits(
        f"{volume.name}, whose voxels of {given} mm become {' x '.join(map(str, shape))} voxels of "
        f"{wanted} mm (D x H x W),",
        len(volume.array_CDHW) * math.prod(shape) * 4,
        "Check the voxel size in its header, which must be in millimetres; crop it, or use a "
        "computer with more memory.",
    )


def _crop(
    array_CDHW: npt.NDArray[Any], preprocessing: PreprocessingConfig, axes: Size, flips: Flips
) -> tuple[Size, Size]:
    """Return the foreground's box on canonical axes; the whole volume when nothing is in it."""
    shape = array_CDHW.shape[1:]
    if preprocessing.crop == "none":
        spans = [(0, size) for size in shape]
    else:
        spans = [
            _span(occupied, preprocessing.crop_margin)
            for occupied in _occupied_planes(array_CDHW, preprocessing.crop)
        ]
    (d0, d1), (h0, h1), (w0, w1) = (
        (shape[axis] - spans[axis][1], shape[axis] - spans[axis][0]) if flip else spans[axis]
        for axis, flip in zip(axes, flips, strict=True)
    )
    return (d0, h0, w0), (d1, h1, w1)


def _occupied_planes(array_CDHW: npt.NDArray[Any], crop: str) -> list[npt.NDArray[np.bool_]]:
    """Tell for every plane across each array axis whether it holds foreground in any channel."""
    _, depth, height, width = array_CDHW.shape
    planes = [np.zeros(size, dtype=bool) for size in (depth, height, width)]
    for start, stop in slab_ranges(depth, height * width):
        slab = array_CDHW[:, start:stop]
        is_foreground = np.greater(slab, BODY_HU) if crop == "body" else np.not_equal(slab, 0)
        mask: npt.NDArray[np.bool_] = np.any(is_foreground, axis=0)
        planes[0][start:stop] = mask.any(axis=(1, 2))
        columns: npt.NDArray[np.bool_] = np.any(mask, axis=0)
        planes[1] |= columns.any(axis=1)
        planes[2] |= columns.any(axis=0)
    return planes


def _span(occupied: npt.NDArray[np.bool_], margin: int) -> tuple[int, int]:
    """Return first and end of the occupied planes with a margin; all planes when none is."""
    (indices,) = occupied.nonzero()
    if not len(indices):
        return 0, len(occupied)
    start, stop = int(indices[0]) - margin, int(indices[-1]) + 1 + margin
    return max(0, start), min(len(occupied), stop)
