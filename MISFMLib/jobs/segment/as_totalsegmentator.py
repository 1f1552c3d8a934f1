"""Resampling around the network as TotalSegmentator 2.18 does it.

The volume is turned to RAS and interpolated linearly between the middles of the first and last
voxels, then cut to whole numbers; labels go back by the nearest voxel in the same way. The
network's own way is sharper at borders, but a study that was begun with TotalSegmentator can go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from MISFMLib.data.monai_steps import sampled
from MISFMLib.data.spatial import canonical_axes, canonical_view
from MISFMLib.errors import ConfigError
from MISFMLib.events import EventSink
from MISFMLib.inference.results import SegmentResult
from MISFMLib.inference.segmenter import Segmenter
from MISFMLib.models.bundle import BundleManifest
from MISFMLib.models.totalsegmentator import find_task
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume


def segment_as_totalsegmentator(
    segmenter: Segmenter, volume: Volume, manifest: BundleManifest, events: EventSink
) -> SegmentResult:
    """Segment a volume with TotalSegmentator's resampling.

    Raises:
        ConfigError: The model does not say to which voxel size.
        MISFMError: As `Segmenter.segment`.
    """
    spacing = _spacing_dhw(manifest)
    axes, flips = canonical_axes(volume.geometry.direction, "RAS")
    own = np.take(volume.geometry.spacing_dhw, axes)
    channels = [canonical_view(array_DHW, axes, flips) for array_DHW in volume.array_CDHW]
    shape = np.round(channels[0].shape * (own / spacing)).astype(int).tolist()
    if not np.array_equal(own.astype(np.float32), np.array(spacing, np.float32)):
        channels = [_resampled(channel, shape) for channel in channels]
    geometry = _canonical_geometry(volume.geometry, axes, flips, channels[0].shape, spacing)
    resampled = replace(volume, array_CDHW=np.stack(channels), geometry=geometry, dicom_files=())
    result = segmenter.segment(resampled, events)
    labels_DHW = np.zeros(volume.geometry.shape_dhw, result.label_map.array_DHW.dtype)
    view_DHW = canonical_view(labels_DHW, axes, flips)
    nearest = [
        np.floor(_positions(old, new) + 0.5).astype(int)
        for old, new in zip(channels[0].shape, view_DHW.shape, strict=True)
    ]
    view_DHW[...] = result.label_map.array_DHW[np.ix_(*nearest)]
    return replace(
        result, label_map=LabelMap(labels_DHW, volume.geometry), uncertainty=None, places=()
    )


def _spacing_dhw(manifest: BundleManifest) -> tuple[float, float, float]:
    task = find_task(manifest.name)
    spacing = manifest.preprocessing.spacing_dhw
    if task is not None:
        spacing = None if task.spacing_xyz is None else task.spacing_xyz[::-1]
    if spacing is None:
        raise ConfigError(
            f"TotalSegmentator does not resample volumes for {manifest.name}.",
            code="no-spacing",
            remedy="Leave --as away: the model's own way is TotalSegmentator's here.",
        )
    return spacing


def _positions(old: int, new: int) -> npt.NDArray[Any]:
    """Return where the voxels of an axis lie if the first and last ones coincide."""
    return np.arange(new) * ((old - 1) / max(1, new - 1))


def _resampled(channel_DHW: npt.NDArray[np.generic], shape: Sequence[int]) -> npt.NDArray[np.int32]:
    values = torch.from_numpy(np.ascontiguousarray(channel_DHW, np.float64))
    for axis in range(3):
        values = sampled(values, axis, _positions(values.shape[axis], shape[axis]), order=1)
    whole: npt.NDArray[np.int32] = values.numpy().astype(np.int32)
    return whole


def _canonical_geometry(
    geometry: Geometry,
    axes: tuple[int, int, int],
    flips: tuple[bool, bool, bool],
    shape: Sequence[int],
    spacing: tuple[float, float, float],
) -> Geometry:
    direction = np.reshape(geometry.direction, (3, 3))
    # Columns of the direction are x, y, z, array axes run the other way.
    columns = [direction[:, 2 - axes[axis]] * (-1.0 if flips[axis] else 1.0) for axis in (2, 1, 0)]
    first = [0.0, 0.0, 0.0]
    for axis, flip in zip(axes, flips, strict=True):
        first[axis] = geometry.shape_dhw[axis] - 1.0 if flip else 0.0
    x, y, z = geometry.position_xyz((first[0], first[1], first[2])).tolist()
    depth, height, width = shape
    return Geometry(
        (depth, height, width),
        spacing,
        (x, y, z),
        tuple(np.stack(columns, axis=1).ravel().tolist()),
    )
