"""What a segmentation was before a job updated it."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from .Segmentations import folderOf, placeIn, provenance, referenceVolume, tableOf, takeOut


class Snapshot:
    """A copy of a segmentation node's segments and of what is written down about them.

    It can be restored once: the node then has the copied segments themselves.
    """

    def __init__(self, node: Any) -> None:
        """Copy."""
        self._segmentation = slicer.vtkSegmentation()
        self._segmentation.DeepCopy(node.GetSegmentation())
        self._segments = takeOut(self._segmentation)
        self._transformId = node.GetTransformNodeID()
        self._volumeId = referenceVolume(node).GetID() if referenceVolume(node) else None
        self._folder = folderOf(node)
        self._provenance = provenance(node)
        self._table = vtk.vtkTable()
        if tableOf(node) is not None:
            self._table.DeepCopy(tableOf(node).GetTable())

    def restore(self, node: Any) -> None:
        """Make the node what it was."""
        wasModifying = node.StartModify()
        node.GetSegmentation().DeepCopy(self._segmentation)
        for segmentId, segment in self._segments:
            node.GetSegmentation().AddSegment(segment, segmentId)
        node.SetAndObserveTransformNodeID(self._transformId)
        node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), self._volumeId)
        placeIn(self._folder, node)
        for name in provenance(node):
            node.RemoveAttribute(f"MISFM.{name}")
        for name, value in self._provenance.items():
            node.SetAttribute(f"MISFM.{name}", value)
        if tableOf(node) is not None:
            tableOf(node).GetTable().DeepCopy(self._table)
            tableOf(node).Modified()
        node.EndModify(wasModifying)
