"""What a segmentation was before a job updated it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import slicer
import vtk

from .Edits import rememberForUndo
from .KeptResults import placesTable
from .SceneIO import isInScene
from .Segmentations import folderOf, placeIn, provenance, referenceVolume, tableOf, takeOut
from .Uncertainty import referToUncertainty, uncertaintyOf


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
        self._tables = [_copyOf(table) for table in _tablesOf(node)]
        self._uncertainty = uncertaintyOf(node)
        # An update gives the volume another image; this one stays as it is.
        self._percents = self._uncertainty.GetImageData() if self._uncertainty else None

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
        for table, copied in zip(_tablesOf(node), self._tables, strict=True):
            if table is not None:
                table.GetTable().DeepCopy(copied)
                table.Modified()
        referToUncertainty(node, self._uncertainty)
        if self._uncertainty is not None:
            self._uncertainty.SetAndObserveImageData(self._percents)
        node.EndModify(wasModifying)


class Snapshots:
    """What segmentation nodes were before jobs updated them."""

    def __init__(self) -> None:
        """Know none."""
        self._kept: dict[str, Snapshot] = {}

    def has(self, node: Any) -> bool:
        """Tell whether a segmentation can be brought back."""
        return node is not None and node.GetID() in self._kept

    @contextlib.contextmanager
    def kept(self, node: Any) -> Iterator[None]:
        """Remember what a segmentation was before the block, unless that fails; None for none."""
        before = None
        if isInScene(node):
            before = Snapshot(node)
            rememberForUndo(node)
        yield
        if before is not None:
            self._kept[node.GetID()] = before

    def restore(self, node: Any) -> None:
        """Make a segmentation what it was; the next call undoes this one."""
        rememberForUndo(node)
        before = self._kept[node.GetID()]
        self._kept[node.GetID()] = Snapshot(node)
        before.restore(node)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()


def _tablesOf(node: Any) -> tuple[Any, ...]:
    return tableOf(node), placesTable(node)


def _copyOf(table: Any) -> vtk.vtkTable:
    copied = vtk.vtkTable()
    if table is not None:
        copied.DeepCopy(table.GetTable())
    return copied
