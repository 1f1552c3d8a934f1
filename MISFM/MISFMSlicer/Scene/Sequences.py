"""Volumes over time: the frames behind a volume node, and a sequence of segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISFMLib.errors import DataError

from ..Job import SegmentVolume
from .Segmentations import algorithmOf, placeBeside, putSegments, setProvenance


@dataclass(frozen=True)
class Frames:
    """The frames of a node that shows one frame of a sequence."""

    browser: Any
    """The vtkMRMLSequenceBrowserNode."""
    sequence: Any
    """The vtkMRMLSequenceNode with the volumes, or with their segmentations."""

    @property
    def nodes(self) -> list[Any]:
        """Nodes of all frames; they are not in the scene."""
        number = self.sequence.GetNumberOfDataNodes()
        return [self.sequence.GetNthDataNode(index) for index in range(number)]

    @property
    def current(self) -> int:
        """Index of the frame that is shown."""
        return max(0, self.browser.GetSelectedItemNumber())


def framesOf(node: Any) -> Frames | None:
    """Return the frames of which a node shows one; None for a single volume or segmentation."""
    logic = slicer.modules.sequences.logic()
    browser = logic.GetFirstBrowserNodeForProxyNode(node)
    sequence = browser.GetSequenceNode(node) if browser is not None else None
    if sequence is None or sequence.GetNumberOfDataNodes() < 2:
        return None
    return Frames(browser, sequence)


def framesOfAll(volumes: Sequence[Any]) -> list[Frames]:
    """Return the frames of the channels of a case.

    Raises:
        DataError: A channel is no sequence, or they differ in their number of frames.
    """
    frames = [framesOf(volume) for volume in volumes]
    counts = {len(each.nodes) if each is not None else 1 for each in frames}
    if None in frames or len(counts) > 1:
        raise DataError(
            _("The volumes do not all belong to sequences with the same number of frames."),
            code="frame-count",
            remedy=_("Segment the current frame only, or choose other volumes."),
        )
    return frames


class SegmentationSequence:
    """Collects one segmentation per frame and shows that of the current frame."""

    def __init__(self, frames: Frames, name: str) -> None:
        """Start with none; the scene does not change before `show`."""
        self._frames = frames
        self._name = name
        self._items: list[tuple[str, Any]] = []
        self._scene = slicer.vtkMRMLScene()

    def add(
        self, index: int, labels: Any, found: Sequence[SegmentVolume], report: dict[str, Any]
    ) -> None:
        """Add the segmentation of a frame, with what made it: the node that shows it takes both.

        Args:
            index: The frame.
            labels: A vtkSegmentation of `readLabels`; it is empty afterwards.
            found: Sizes of the segments.
            report: The library's report of the frame.
        """
        node = self._scene.AddNewNodeByClass("vtkMRMLSegmentationNode", self._name)
        putSegments(node, self._frames.nodes[index], labels, found, algorithmOf(report))
        setProvenance(node, report)
        self._items.append((self._frames.sequence.GetNthIndexValue(index), node))

    def show(self, volume: Any) -> Any:
        """Add the sequence to the scene; return the segmentation node that follows the frames."""
        scene = slicer.mrmlScene
        name = scene.GenerateUniqueName(self._name)
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{name} sequence")
        source = self._frames.sequence
        sequence.SetIndexName(source.GetIndexName())
        sequence.SetIndexUnit(source.GetIndexUnit())
        sequence.SetIndexType(source.GetIndexType())
        for indexValue, node in self._items:
            sequence.SetDataNodeAtValue(node, indexValue)
        shown = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        shown.CreateDefaultDisplayNodes()
        browser = self._frames.browser
        browser.AddProxyNode(shown, sequence, False)
        browser.SetSaveChanges(sequence, True)  # else what is drawn goes with the next frame
        shown.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        shown.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        placeBeside(shown, volume)
        return shown
