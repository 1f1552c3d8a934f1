"""Segments as masks on a volume's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


def labelMapOf(node: Any, segmentId: str) -> Any:
    """Return the voxels of a segment alone, 1 inside, as a vtkOrientedImageData of its own."""
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segmentId, image)
    return image


def maskOn(segmentation: Any, segmentId: str, volume: Any) -> np.ndarray:
    """Return where a segment is on the grid of a volume: bool, shape (k, j, i).

    A voxel is in the segment when the segment's voxel nearest to its centre is. Slicer's own export
    (slicer-core 5.13) says the same only where the grids are one: on a finer one it lets a segment,
    which is kept cropped, grow by half of its own voxels on all sides.
    """
    labelMap = labelMapOf(segmentation, segmentId)
    if not labelMap.GetNumberOfPoints():
        return np.zeros(volume.GetImageData().GetDimensions()[::-1], bool)
    toVolume = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        segmentation.GetParentTransformNode(), volume.GetParentTransformNode(), toVolume
    )
    image = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        _withBorder(labelMap), _grid(volume), image, False, False, toVolume
    )
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    return np.reshape(voxels, image.GetDimensions()[::-1]) > 0


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


def _grid(volume: Any) -> Any:
    """Return the grid of a volume as an image that shares its voxels."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(volume.GetImageData())
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return image
