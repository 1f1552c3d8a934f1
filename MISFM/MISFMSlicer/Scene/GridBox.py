"""The part of a volume that a job sees: a box of its voxels, and a mask when it is a segment."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from MISFMLib.errors import DataError

from ..Job import Region
from .Masks import maskOn
from .Transforms import ijkToRas, toWorld

_ROUNDING_MM = 1e-6


@dataclass(frozen=True)
class GridBox:
    """Voxels start <= (i, j, k) < stop of a volume."""

    startIjk: tuple[int, int, int]
    stopIjk: tuple[int, int, int]
    mask: np.ndarray | None = None
    """True (k, j, i) in the box where labels are kept; None keeps all."""

    @property
    def extent(self) -> tuple[int, ...]:
        """First and last voxel along i, j and k, as VTK writes it."""
        ends = zip(self.startIjk, self.stopIjk, strict=True)
        return tuple(itertools.chain.from_iterable((start, stop - 1) for start, stop in ends))

    @property
    def sizeIjk(self) -> tuple[int, ...]:
        """Voxels along i, j and k."""
        return tuple(np.subtract(self.stopIjk, self.startIjk).tolist())

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where the box is in an array (k, j, i) of the volume."""
        ends = list(zip(self.startIjk, self.stopIjk, strict=True))
        return tuple(slice(start, stop) for start, stop in reversed(ends))


def boxOf(volume: Any, region: Region | None, *, isRough: bool = False) -> GridBox:
    """Return the box of a volume that holds a region with its margin.

    Args:
        volume: The volume node.
        region: None for all of it.
        isRough: Leave out the mask of a ROI, which takes time where that is large.

    Raises:
        DataError: The region is empty, was removed, or lies outside the volume.
    """
    if region is None:
        return GridBox((0, 0, 0), volume.GetImageData().GetDimensions())
    if region.node is None or not slicer.mrmlScene.IsNodePresent(region.node):
        raise _outside(_("The region was removed."))
    if region.node.IsA("vtkMRMLSegmentationNode"):
        return _boxOfSegment(volume, region)
    low, high = _roiBounds(volume, region.node)
    box = _limited(volume, low, high, region.marginMm)
    return box if isRough else _insideRoi(volume, region.node, box)


def _boxOfSegment(volume: Any, region: Region) -> GridBox:
    isInside = maskOn(region.node, region.segmentId, volume)
    if not isInside.any():
        raise _outside(_("The segment to stay inside of has no voxel in the volume."))
    used = [np.flatnonzero(isInside.any(axis=others)) for others in ((0, 1), (0, 2), (1, 2))]
    low = [axis[0] for axis in used]
    high = [axis[-1] + 1 for axis in used]
    box = _limited(volume, low, high, region.marginMm)
    return GridBox(box.startIjk, box.stopIjk, isInside[box.slices])


def _roiBounds(volume: Any, roi: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest voxel coordinates that the ROI's corners reach."""
    toWorld = slicer.util.arrayFromVTKMatrix(roi.GetObjectToWorldMatrix())
    rasToIjk = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(rasToIjk)
    rasToIjk = slicer.util.arrayFromVTKMatrix(rasToIjk)
    worldToVolume = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        None, volume.GetParentTransformNode(), worldToVolume
    )
    half = np.array(roi.GetSize()) / 2
    corners = []
    for signs in itertools.product((-1, 1), repeat=3):
        world = toWorld @ [*(half * signs), 1]
        ras = worldToVolume.TransformPoint(world[:3])
        corners.append((rasToIjk @ [*ras, 1])[:3])
    # A voxel reaches half a voxel to either side of its centre.
    return np.min(corners, axis=0) + 0.5, np.max(corners, axis=0) + 0.5


def _insideRoi(volume: Any, roi: Any, box: GridBox) -> GridBox:
    """Return the box with a mask of the voxels whose centres are in the ROI, if not all are."""
    toRoi = np.linalg.inv(slicer.util.arrayFromVTKMatrix(roi.GetObjectToWorldMatrix()))
    toRoi = toRoi @ toWorld(volume) @ ijkToRas(volume)
    half = np.array(roi.GetSize()) / 2 + _ROUNDING_MM
    i, j, k = (np.arange(*ends) for ends in zip(box.startIjk, box.stopIjk, strict=True))
    mask = np.ones(box.sizeIjk[::-1], bool)
    for plane, depth in zip(mask, k, strict=True):  # one by one, to need little memory
        for row, reach in zip(toRoi[:3], half, strict=True):
            place = row[0] * i[None] + row[1] * j[:, None] + (row[2] * depth + row[3])
            plane &= np.abs(place) <= reach
    if not mask.any():
        raise _outside(_("The region holds no centre of a voxel."))
    return box if mask.all() else GridBox(box.startIjk, box.stopIjk, mask)


def _limited(volume: Any, low: Any, high: Any, marginMm: float) -> GridBox:
    """Return the whole voxels between two corners, with a margin, inside the volume."""
    margin = marginMm / np.array(volume.GetSpacing())
    size = np.array(volume.GetImageData().GetDimensions())
    start = np.maximum(np.floor(np.array(low) - margin + 1e-6), 0).astype(int)
    stop = np.minimum(np.ceil(np.array(high) + margin - 1e-6), size).astype(int)
    if (start >= stop).any():
        raise _outside(_("The region lies outside the volume."))
    if (stop - start).max() == 1:  # Slicer crashes when it reads labels for a single voxel
        raise _outside(_("The region is a single voxel."))
    return GridBox(tuple(start.tolist()), tuple(stop.tolist()))


def _outside(message: str) -> DataError:
    return DataError(
        message,
        code="region-outside",
        remedy=_("Move the region, or segment the whole volume."),
    )
