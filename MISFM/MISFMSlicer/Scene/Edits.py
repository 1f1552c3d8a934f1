"""What a user changes in a result after it was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk

from ..Job import SegmentVolume
from ..Signal import Signal
from .Masks import labelMapOf
from .SceneIO import voxelsOf
from .Segmentations import isAutomatic, markEdited, segments
from .Transforms import toWorld


class Edits:
    """Hears of changes in results and marks their segments, for DICOM SEG and for people.

    Signal: ``changed(segmentation)``, often while the user paints.
    """

    def __init__(self) -> None:
        """Watch nothing."""
        self.changed = Signal()
        self._watched: list[tuple[Any, int]] = []
        self._isOurs = False

    def watch(self, node: Any) -> None:
        """Hear of changes in a segmentation node."""
        if any(node is each for each, _tag in self._watched):
            return
        event = slicer.vtkSegmentation.SourceRepresentationModified
        self._watched.append((node, node.AddObserver(event, self._onChanged)))

    def close(self) -> None:
        """Let go of all nodes."""
        for node, tag in self._watched:
            node.RemoveObserver(tag)
        self._watched = []

    @contextmanager
    def ofOurs(self) -> Iterator[None]:
        """Do not count what is changed in the block."""
        wasOurs, self._isOurs = self._isOurs, True
        try:
            yield
        finally:
            self._isOurs = wasOurs

    @vtk.calldata_type(vtk.VTK_STRING)
    def _onChanged(self, node: Any, _event: Any, segmentId: str | None = None) -> None:
        if self._isOurs:
            return
        segment = node.GetSegmentation().GetSegment(segmentId) if segmentId else None
        if segment is not None:
            markEdited(segment)
        self.changed.emit(node)


def findEdits(node: Any) -> None:
    """Mark the segments of a model whose number of voxels is another than the model's.

    Segment Editor names the segment that it changes, undo and scripts do not; and a scene may have
    been edited where this module was not open.
    """
    for segmentId, segment in segments(node.GetSegmentation()):
        voxels = isAutomatic(segment)
        if voxels is not None and voxels != voxelCount(labelMapOf(node, segmentId)):
            markEdited(segment)


def differsFromModels(node: Any) -> bool:
    """Tell whether a segment of a result that holds nothing else has other voxels than a model's.

    That tells of an edit where the sizes do not: those of a sequence are other in each frame.
    """
    return any(
        isAutomatic(segment) != voxelCount(labelMapOf(node, segmentId))
        for segmentId, segment in segments(node.GetSegmentation())
    )


def measureAgain(node: Any, before: Sequence[SegmentVolume]) -> tuple[SegmentVolume, ...]:
    """Return the sizes of a result as it is now, of the model's labels first."""
    sizes = {item.name: SegmentVolume(item.name, 0, 0.0) for item in before}
    scale = abs(np.linalg.det(toWorld(node)[:3, :3])) / 1000
    for segmentId, segment in segments(node.GetSegmentation()):
        image, name = labelMapOf(node, segmentId), segment.GetName()
        count, matrix = voxelCount(image), vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        sizes[name] = SegmentVolume(name, count, count * abs(matrix.Determinant()) * scale)
    return tuple(sizes.values())


def voxelCount(image: Any) -> int:
    """Return how many voxels of an image are not 0."""
    return int(np.count_nonzero(voxelsOf(image))) if image.GetNumberOfPoints() else 0


def rememberForUndo(node: Any) -> None:
    """Let Undo in Segment Editor, where it has a node open, take back what is done to it next."""
    widget = getattr(slicer.modules, "SegmentEditorWidget", None)  # made when it is first opened
    if widget is not None and widget.editor.segmentationNode() is node:
        widget.editor.saveStateForUndo()
