"""The few places where a network is least sure, for a reader who wants to check a label map.

Every boundary between labels has a rim of uncertain voxels, which is no news. Entropy is therefore
smoothed over a few voxels: where the rim is thick, where labels meet, or where something is neither
found nor excluded, more of it comes together than along a plain boundary. The places are the
highest peaks of the smoothed entropy.
Axes: D, H, W depth, height, width.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 the name everyone uses
import torch
import torch.nn.functional as F

from MISFMLib.configs import LabelConfig, Size, Spacing
from MISFMLib.data.resampling import slab_ranges
from MISFMLib.inference.uncertainty import Uncertainty
from MISFMLib.volumes.volume import LabelMap

_MOST_PLACES = 10
_SIGMA_MM = 2.0
_SIGMA_VOXELS = 2.0
"""Deviation of the smoothing along each axis: the larger of the two."""
_REACH = 2.0
"""Deviations from the middle of a place to its end along each axis."""
_PLAIN_BOUNDARY = 1 / (_SIGMA_VOXELS * math.sqrt(2 * math.pi))
"""Smoothed entropy of a flat boundary with a rim of one voxel in which two classes are equally
likely, as a part of the entropy of that voxel."""
_LEAST_SHARE = 0.1
"""Part of a place's uncertainty that a label must be involved in to be named."""
_MOST_NAMES = 3
_LARGEST_MAP = 2**24
"""Voxels smoothed at once; those of larger volumes are averaged in blocks first."""

FloatMap = npt.NDArray[np.float32]
Index = tuple[int, int, int]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class UncertainPlace:
    """A place worth a look; entropies are parts of the highest there can be, 0 to 1."""

    position_xyz: tuple[float, float, float]
    """Its middle in mm, LPS."""
    index_ijk: Index
    """Voxel of its middle along width, height, depth."""
    labels: tuple[str, ...]
    """What the network wavers between there, strongest first."""
    local_entropy: float
    """Smoothed entropy of its middle, by which places are ranked."""
    mean_entropy: float
    """Mean entropy of its voxels."""
    peak_entropy: float
    """Entropy of its least certain voxel."""
    volume_ml: float
    """Its size: the voxels around the middle with at least half of the smoothed entropy there."""


def find_uncertain_places(
    uncertainty: Uncertainty, label_map: LabelMap, labels: Sequence[LabelConfig]
) -> tuple[UncertainPlace, ...]:
    """Return the least certain places, least certain first; ordinary boundaries are none.

    Args:
        uncertainty: Uncertainty of every voxel.
        label_map: The network's labels before any cleaning, on the same grid.
        labels: All labels of the network.
    """
    finder = _PlaceFinder(uncertainty, label_map, labels)
    return tuple(itertools.islice(finder.places(), _MOST_PLACES))


class _PlaceFinder:
    """Finds one place after the other in smoothed entropy, on a grid of blocks of voxels."""

    def __init__(
        self, uncertainty: Uncertainty, label_map: LabelMap, labels: Sequence[LabelConfig]
    ) -> None:
        self._uncertainty = uncertainty
        self._labels_DHW = label_map.array_DHW
        self._names = {0: "background", **{label.value: label.name for label in labels}}
        geometry = uncertainty.geometry
        self._block = _block_size(geometry.shape_dhw, geometry.spacing_dhw)
        sigmas = np.maximum(_SIGMA_MM / np.array(geometry.spacing_dhw), _SIGMA_VOXELS) / self._block
        self._reaches = np.ceil(_REACH * sigmas).astype(int).tolist()
        self._smooth_DHW = _smoothed(_block_means(uncertainty.percent_DHW, self._block), sigmas)
        self._plain = 100 * _PLAIN_BOUNDARY * math.log(2) / math.log(len(self._names))

    def places(self) -> Iterator[UncertainPlace]:
        """Yield the highest peak, then the highest outside that place, and so on."""
        while True:
            highest = int(self._smooth_DHW.argmax())
            middle = [int(index) for index in np.unravel_index(highest, self._smooth_DHW.shape)]
            peak = self._smooth_DHW.flat[highest]
            if peak <= self._plain:
                return
            depths, rows, columns = (
                slice(max(0, index - reach), index + reach + 1)
                for index, reach in zip(middle, self._reaches, strict=True)
            )
            box = depths, rows, columns
            part_DHW = self._smooth_DHW[box]
            yield self._place(middle, box, part_DHW >= peak / 2)
            part_DHW[...] = 0

    def _place(
        self, middle: Sequence[int], box: Box, is_place_DHW: npt.NDArray[np.bool_]
    ) -> UncertainPlace:
        """Describe a place that is given by its blocks."""
        geometry = self._uncertainty.geometry
        voxels, is_voxel_DHW = _voxels_of(box, is_place_DHW, self._block, geometry.shape_dhw)
        percents = self._uncertainty.percent_DHW[voxels][is_voxel_DHW]
        depth, height, width = (
            min(index * edge + edge // 2, size - 1)
            for index, edge, size in zip(middle, self._block, geometry.shape_dhw, strict=True)
        )
        x, y, z = geometry.position_xyz((depth, height, width)).tolist()
        return UncertainPlace(
            position_xyz=(x, y, z),
            index_ijk=(width, height, depth),
            labels=self._labels_at(voxels, is_voxel_DHW, percents),
            local_entropy=float(self._smooth_DHW[tuple(middle)]) / 100,
            mean_entropy=float(percents.mean()) / 100,
            peak_entropy=float(percents.max()) / 100,
            volume_ml=percents.size * geometry.voxel_volume_mm3 / 1000,
        )

    def _labels_at(
        self, voxels: Box, is_voxel_DHW: npt.NDArray[np.bool_], percents: npt.NDArray[np.uint8]
    ) -> tuple[str, ...]:
        """Name the labels and their rivals at some voxels, those of the most uncertainty first."""
        sums: Counter[int] = Counter()
        for labels_DHW in (self._labels_DHW, self._uncertainty.rival_DHW):
            for value, percent in enumerate(
                np.bincount(labels_DHW[voxels][is_voxel_DHW], weights=percents)
            ):
                sums[value] += percent
        least = _LEAST_SHARE * int(percents.sum())
        return tuple(
            self._names[value] for value, total in sums.most_common(_MOST_NAMES) if total >= least
        )


def _block_size(shape: Size, spacing: Spacing) -> Size:
    """Return the edges of blocks, nearly cubic in mm, of which a volume has few enough."""
    block = np.ones(3, int)
    while np.prod(-(-np.array(shape) // block)) > _LARGEST_MAP:
        edges_mm = np.where(2 * block > shape, math.inf, block * spacing)
        block[edges_mm.argmin()] *= 2
    depth, height, width = block.tolist()
    return depth, height, width


def _block_means(percent_DHW: npt.NDArray[np.uint8], block: Size) -> FloatMap:
    """Return the mean of every block; those at the far border may be cut off."""
    depth, height, width = percent_DHW.shape
    edge = block[0]
    means = []
    for start, stop in slab_ranges(-(-depth // edge), edge * height * width):
        slab_DHW = torch.from_numpy(percent_DHW[start * edge : stop * edge]).float()
        means.append(
            F.avg_pool3d(slab_DHW[None], block, ceil_mode=True, count_include_pad=False)[0]
        )
    array: FloatMap = torch.cat(means).numpy()
    return array


def _smoothed(map_DHW: FloatMap, sigmas: npt.NDArray[np.float64]) -> FloatMap:
    """Filter with a Gaussian; beyond the border the map goes on as it ends."""
    variance_xyz = np.square(sigmas)[::-1].tolist()
    width = 8 * math.ceil(sigmas.max())  # no cut-off before the filter's own
    image = sitk.DiscreteGaussian(
        sitk.GetImageFromArray(map_DHW), variance_xyz, width, useImageSpacing=False
    )
    smooth_DHW: FloatMap = sitk.GetArrayFromImage(image)
    return smooth_DHW


def _voxels_of(
    box: Box, is_place_DHW: npt.NDArray[np.bool_], block: Size, shape: Size
) -> tuple[Box, npt.NDArray[np.bool_]]:
    """Return the box of voxels of a box of blocks, and which of them belong to the place."""
    starts = [part.start * edge for part, edge in zip(box, block, strict=True)]
    for axis, edge in enumerate(block):
        is_place_DHW = is_place_DHW.repeat(edge, axis)
    depths, rows, columns = (
        slice(start, min(start + length, size))
        for start, length, size in zip(starts, is_place_DHW.shape, shape, strict=True)
    )
    inside = tuple(slice(part.stop - part.start) for part in (depths, rows, columns))
    return (depths, rows, columns), is_place_DHW[inside]
