"""Segments as masks on a volume's grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from MISFMLib.errors import DataError

from .Transforms import ijkToRas, isBent, toWorld

LABELMAP = "Binary labelmap"
"""Name of the representation; vtkSegmentationConverter returns the same."""
_SURFACE = "Closed surface"
_SAME_GRID = 1e-6
_BACKGROUND = 0


def labelMapOf(node: Any, segmentId: str) -> Any:
    """Return the voxels of a segment alone, 1 inside, as a vtkOrientedImageData of its own."""
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segmentId, image)
    return image


def maskOn(segmentation: Any, segmentId: str, volume: Any) -> np.ndarray:
    """Return where a segment is on the grid of a volume: bool, shape (k, j, i).

    A voxel is in the segment when the segment's voxel nearest to its centre is. Slicer's own export
    (slicer-core 5.13) says the same only where the grids are one: on a finer one it lets a segment,
    which is kept cropped, grow by half of its own voxels on all sides. A segment that is a surface
    or contours, as from STL or RTSTRUCT, becomes voxels as small as the volume's first.

    Raises:
        DataError: This Slicer makes no voxels of what the segment is.
    """
    onGrid = _onItsGrid(segmentation, segmentId, volume)
    if onGrid is not None:
        return onGrid
    labelMap = _converted(segmentation, segmentId, volume) or labelMapOf(segmentation, segmentId)
    if not labelMap.GetNumberOfPoints():
        return np.zeros(volume.GetImageData().GetDimensions()[::-1], bool)
    toVolume = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        segmentation.GetParentTransformNode(), volume.GetParentTransformNode(), toVolume
    )
    image = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        _withBorder(labelMap), gridOf(volume), image, False, False, toVolume
    )
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    return np.reshape(voxels, image.GetDimensions()[::-1]) > 0


def labelArray(segmentation: Any, volume: Any, values: Mapping[str, int]) -> np.ndarray:
    """Return the labels (k, j, i) of some segments on the grid of a volume, uint8.

    Args:
        segmentation: The vtkMRMLSegmentationNode.
        volume: The volume.
        values: Segment ID to value; segments that are not named are left out.

    Raises:
        DataError: Two of the segments overlap, which a label map cannot say.
    """
    labels = np.zeros(volume.GetImageData().GetDimensions()[::-1], np.uint8)
    for part, found in _labelsOn(segmentation, values, volume):
        before, isFound = labels[part], found != _BACKGROUND
        taken = isFound & (before != _BACKGROUND)
        if taken.any():
            keys = {value: key for key, value in values.items()}
            pair = (keys[before[taken][0]], keys[found[taken][0]])
            first, second = (segmentation.GetSegmentation().GetSegment(key) for key in pair)
            raise DataError(
                _("{first} and {second} overlap, a label map gives each voxel one label.").format(
                    first=first.GetName(), second=second.GetName()
                ),
                code="overlapping-segments",
                remedy=_("Remove the overlap in the Segment Editor."),
            )
        np.copyto(before, found, where=isFound)
    return labels


def _labelsOn(
    segmentation: Any, values: Mapping[str, int], volume: Any
) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield parts of a volume and the labels there, which may overlap.

    Segments that share a label map come together: of a hundred, one by one takes minutes.
    """
    shared: dict[Any, list[str]] = {}
    for key in values:
        segment = segmentation.GetSegmentation().GetSegment(key)
        image = segment.GetRepresentation(LABELMAP)
        if image is not None and _isOnGrid(image, segmentation, volume):
            shared.setdefault(image, []).append(key)
            continue
        mask = maskOn(segmentation, key, volume)
        if mask.any():
            yield ..., mask * np.uint8(values[key])
    for image, keys in shared.items():
        part, voxels = _partIn(volume, image)
        if voxels.size:
            table = np.zeros(int(voxels.max()) + 1, np.uint8)
            for key in keys:
                own = segmentation.GetSegmentation().GetSegment(key).GetLabelValue()
                table[own : own + 1] = values[key]  # a label without voxels may be beyond
            yield part, np.stack([table[plane.astype(np.intp)] for plane in voxels])


def _converted(segmentation: Any, segmentId: str, volume: Any) -> Any:
    """Return the voxels of a segment that has none; None for others. The node stays as it is."""
    inside = segmentation.GetSegmentation()
    source, segment = inside.GetSourceRepresentationName(), inside.GetSegment(segmentId)
    shape = segment.GetRepresentation(source) if segment is not None else None
    isOther = source != LABELMAP and shape is not None and shape.GetNumberOfPoints() > 0
    if not isOther or segment.GetRepresentation(LABELMAP) is not None:
        return None
    grid = gridOf(volume)
    if not isBent(segmentation) and not isBent(volume):
        matrix = np.linalg.inv(toWorld(segmentation)) @ toWorld(volume) @ ijkToRas(volume)
        grid.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(matrix))
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    own, converted = slicer.vtkSegmentation(), slicer.vtkSegment()
    own.SetSourceRepresentationName(source)
    own.CopyConversionParameters(inside)
    own.SetConversionParameter(name, slicer.vtkSegmentationConverter.SerializeImageGeometry(grid))
    for each in (source, _SURFACE):  # of contours there may be a surface, and else no way
        if segment.GetRepresentation(each) is not None:
            converted.AddRepresentation(each, segment.GetRepresentation(each))
    own.AddSegment(converted, segmentId)
    own.CreateRepresentation(LABELMAP)
    labelMap = converted.GetRepresentation(LABELMAP)
    if labelMap is None:
        raise noVoxels(segment.GetName())
    return labelMap


def canBeVoxels(segmentation: Any) -> bool:
    """Tell whether the segments have voxels, or this Slicer can make them."""
    inside, paths = segmentation.GetSegmentation(), slicer.vtkSegmentationConversionPaths()
    if inside.GetSourceRepresentationName() == LABELMAP or not inside.GetNumberOfSegments():
        return True
    inside.GetPossibleConversions(LABELMAP, paths)
    return paths.GetNumberOfPaths() > 0 or inside.ContainsRepresentation(_SURFACE)


def noVoxels(name: str) -> DataError:
    """Say that a segment or segmentation is contours of which this Slicer makes no voxels."""
    return DataError(
        _("{name} is made of contours, of which this Slicer cannot make voxels.").format(name=name),
        code="contours-without-voxels",
        remedy=_("Install the extension SlicerRT, which can."),
    )


def liesOnGrid(segmentation: Any, volume: Any) -> bool:
    """Tell whether all label maps of a segmentation lie on the grid of a volume."""
    inside = segmentation.GetSegmentation()
    keys = [inside.GetNthSegmentID(index) for index in range(inside.GetNumberOfSegments())]
    images = [inside.GetSegment(key).GetRepresentation(LABELMAP) for key in keys]
    return all(
        _isOnGrid(image, segmentation, volume)
        for image in images
        if image is not None and image.GetNumberOfPoints()
    )


def _onItsGrid(segmentation: Any, segmentId: str, volume: Any) -> np.ndarray | None:
    """Return a mask without resampling where the segment lies on the volume's grid, else None.

    That is so for all that was made here or drawn on the volume, and ten times as fast.
    """
    segment = segmentation.GetSegmentation().GetSegment(segmentId)
    image = segment.GetRepresentation(LABELMAP) if segment is not None else None
    if image is None or not _isOnGrid(image, segmentation, volume):
        return None
    mask = np.zeros(volume.GetImageData().GetDimensions()[::-1], bool)
    part, voxels = _partIn(volume, image)
    np.equal(voxels, segment.GetLabelValue(), out=mask[part])
    return mask


def _partIn(volume: Any, image: Any) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return which part of a volume a label map on its grid covers, and the voxels there."""
    size = volume.GetImageData().GetDimensions()[::-1]
    ends = np.add(np.reshape(image.GetExtent(), (3, 2))[::-1], (0, 1))
    inside = [slice(max(0, a), min(b, n)) for (a, b), n in zip(ends, size, strict=True)]
    if not image.GetNumberOfPoints() or any(each.start >= each.stop for each in inside):
        return (slice(0, 0),) * 3, np.zeros((0, 0, 0), np.uint8)
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    voxels = np.reshape(voxels, image.GetDimensions()[::-1])
    part = [slice(s.start - a, s.stop - a) for s, (a, _b) in zip(inside, ends, strict=True)]
    return tuple(inside), voxels[tuple(part)]


def _isOnGrid(image: Any, segmentation: Any, volume: Any) -> bool:
    if segmentation.GetTransformNodeID() != volume.GetTransformNodeID():
        return False
    ours, theirs = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(ours)
    volume.GetIJKToRASMatrix(theirs)
    return np.allclose(_elements(ours), _elements(theirs), rtol=0, atol=_SAME_GRID)


def _elements(matrix: Any) -> list[float]:
    return [matrix.GetElement(row, column) for row in range(3) for column in range(4)]


def _withBorder(labelMap: Any) -> Any:
    """Return a label map with a voxel of background on all sides."""
    extent = labelMap.GetExtent()
    pad = vtk.vtkImageConstantPad()
    pad.SetInputData(labelMap)
    pad.SetOutputWholeExtent(*(end + (-1, 1)[index % 2] for index, end in enumerate(extent)))
    pad.Update()
    matrix = vtk.vtkMatrix4x4()
    labelMap.GetImageToWorldMatrix(matrix)
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(pad.GetOutput())
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return image


def gridOf(volume: Any) -> Any:
    """Return the grid of a volume as an image that shares its voxels."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(volume.GetImageData())
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return image
