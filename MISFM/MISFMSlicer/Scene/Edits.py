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
from .Masks import LABELMAP
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
        for event, slot in (
            (slicer.vtkSegmentation.SourceRepresentationModified, self._onChanged),
            (slicer.vtkSegmentation.SegmentAdded, self._onListed),
            (slicer.vtkSegmentation.SegmentRemoved, self._onListed),
            (slicer.vtkSegmentation.SegmentModified, self._onListed),
        ):
            self._watched.append((node, node.AddObserver(event, slot)))

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

    def _onListed(self, node: Any, _event: Any) -> None:
        """Tell of a segment that is new, gone or renamed; what made its voxels is as it was."""
        if not self._isOurs:
            self.changed.emit(node)


def findEdits(node: Any) -> None:
    """Mark the segments of a model whose number of voxels is another than the model's.

    Segment Editor names the segment that it changes, undo and scripts do not; and a scene may have
    been edited where this module was not open.
    """
    for segment, count in _sizes(node):
        voxels = isAutomatic(segment)
        if voxels is not None and voxels != count:
            markEdited(segment)


def differsFromModels(node: Any) -> bool:
    """Tell whether a segment of a result that holds nothing else has other voxels than a model's.

    That tells of an edit where the sizes do not: those of a sequence are other in each frame.
    """
    return any(isAutomatic(segment) != count for segment, count in _sizes(node))


def measureAgain(node: Any, before: Sequence[SegmentVolume]) -> tuple[SegmentVolume, ...]:
    """Return the sizes of a result as it is now, of the model's labels first.

    Segments of one name, as a copy from another segmentation has it, follow each other.
    """
    sizes: dict[str, list[SegmentVolume]] = {item.name: [] for item in before}
    scale = abs(np.linalg.det(toWorld(node)[:3, :3])) / 1000
    for segment, count in _sizes(node):
        image, name = segment.GetRepresentation(LABELMAP), segment.GetName()
        voxelMm3 = 0.0
        if image is not None:
            matrix = vtk.vtkMatrix4x4()
            image.GetImageToWorldMatrix(matrix)
            voxelMm3 = abs(matrix.Determinant())
        sizes.setdefault(name, []).append(SegmentVolume(name, count, count * voxelMm3 * scale))
    return tuple(
        size for name, found in sizes.items() for size in found or [SegmentVolume(name, 0, 0.0)]
    )


def _sizes(node: Any) -> Iterator[tuple[Any, int]]:
    """Yield every segment of a segmentation node and how many voxels it has.

    A label map that segments share is read once: of a hundred, one by one took seconds.
    """
    read: dict[Any, dict[int, int]] = {None: {}}
    for _segmentId, segment in segments(node.GetSegmentation()):
        image = segment.GetRepresentation(LABELMAP)
        if image not in read:
            read[image] = _voxelsOfLabels(image)
        yield segment, read[image].get(segment.GetLabelValue(), 0)


def _voxelsOfLabels(image: Any) -> dict[int, int]:
    """Return how many voxels each value of a label map has."""
    if not image.GetNumberOfPoints():
        return {}
    labels = voxelsOf(image)
    low, high = int(labels.min()), int(labels.max())
    histogram = vtk.vtkImageAccumulate()
    histogram.SetInputData(image)
    histogram.SetComponentOrigin(low, 0, 0)
    histogram.SetComponentExtent(0, high - low, 0, 0, 0, 0)
    histogram.Update()
    return {low + index: int(n) for index, n in enumerate(voxelsOf(histogram.GetOutput()))}


def voxelCount(image: Any) -> int:
    """Return how many voxels of an image are not 0."""
    return int(np.count_nonzero(voxelsOf(image))) if image.GetNumberOfPoints() else 0


def rememberForUndo(node: Any) -> None:
    """Let Undo in Segment Editor, where it has a node open, take back what is done to it next."""
    widget = getattr(slicer.modules, "SegmentEditorWidget", None)  # made when it is first opened
    if widget is not None and widget.editor.segmentationNode() is node:
        widget.editor.saveStateForUndo()
