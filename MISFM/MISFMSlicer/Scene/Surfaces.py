"""Surfaces of segments, and how much of a structure they hold."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from .Edits import voxelCount
from .Masks import labelMapOf
from .SceneIO import LABELMAP
from .Segmentations import segments

_SURFACE_NETS = {"Conversion method": "1", "Smoothing factor": "0"}
"""Settings of Slicer's conversion that keep the volume of every structure: flying edges (method 0)
cut off the corners also without smoothing, of one voxel 83 %."""


def exactSurface(segmentation: Any, segmentId: str) -> vtk.vtkPolyData:
    """Return a surface along the faces of a segment's voxels, in the node's space.

    The surface that the scene shows stays as it is.
    """
    segment = slicer.vtkSegment()
    segment.AddRepresentation(LABELMAP, labelMapOf(segmentation, segmentId))
    own = slicer.vtkSegmentation()
    own.SetSourceRepresentationName(LABELMAP)
    for name, value in _SURFACE_NETS.items():
        own.SetConversionParameter(name, value)
    own.AddSegment(segment, segmentId)
    name = _surfaceName()
    own.CreateRepresentation(name)
    return segment.GetRepresentation(name) or vtk.vtkPolyData()


def shrunkIn3D(segmentation: Any, share: float) -> list[tuple[str, float]]:
    """Return what the surfaces in the scene keep of those structures of which it is too little.

    Args:
        segmentation: The vtkMRMLSegmentationNode; without surfaces nothing is shrunk.
        share: Of the volume of a structure's voxels, that its surface should hold.

    Returns:
        Names of the segments that keep less, and the kept share.
    """
    shrunk = []
    for segmentId, segment in segments(segmentation.GetSegmentation()):
        surface = segment.GetRepresentation(_surfaceName())
        if surface is None:
            continue
        volume = _voxelVolume(labelMapOf(segmentation, segmentId))
        kept = _volumeOf(surface) / volume if volume else 1.0
        if kept < share:
            shrunk.append((segment.GetName(), kept))
    return shrunk


def _voxelVolume(image: Any) -> float:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return abs(matrix.Determinant()) * voxelCount(image)


def _volumeOf(surface: vtk.vtkPolyData) -> float:
    if not surface.GetNumberOfCells():
        return 0.0
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(surface)
    measured = vtk.vtkMassProperties()
    measured.SetInputConnection(triangles.GetOutputPort())
    measured.Update()
    return measured.GetVolume()


def _surfaceName() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
