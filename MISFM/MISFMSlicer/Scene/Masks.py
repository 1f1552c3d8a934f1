"""Segments as masks on a volume's grid."""

from __future__ import annotations

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
    size = volume.GetImageData().GetDimensions()[::-1]
    mask = np.zeros(size, bool)
    if image.GetNumberOfPoints():
        ends = np.add(np.reshape(image.GetExtent(), (3, 2))[::-1], (0, 1))
        inside = [slice(max(0, a), max(0, min(b, n))) for (a, b), n in zip(ends, size, strict=True)]
        voxels = vtk_to_numpy(image.GetPointData().GetScalars())
        voxels = np.reshape(voxels, image.GetDimensions()[::-1])
        part = [slice(s.start - a, s.stop - a) for s, (a, _b) in zip(inside, ends, strict=True)]
        if all(each.start < each.stop for each in inside):
            np.equal(voxels[tuple(part)], segment.GetLabelValue(), out=mask[tuple(inside)])
    return mask


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
