"""A held-out case in the slice views: its labels, and what the network sees in it now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.configs import LabelConfig

from .GridBox import boxOf
from .SceneIO import isInScene, readLabels
from .Segmentations import addSegmentation, takeOut
from .TrainingCases import openCase

_FILL = 0.25
"""Opacity of the labels, under the outlines of what the network sees."""


class WatchedCase:
    """The nodes of one case, until `close`."""

    def __init__(self, trainingSet: TrainingSet, name: str) -> None:
        """Show the case with its labels, filled.

        Raises:
            RuntimeError: A file cannot be read, or the labels do not fit the volume.
        """
        images, labels = trainingSet.images(name), trainingSet.label_map(name)
        self.name = name
        self._labels: Sequence[LabelConfig] = trainingSet.labels
        self._case = openCase(name, images, labels, self._labels, channels=trainingSet.channels)
        self.found = addSegmentation(self._case.volume, _("{case}, network").format(case=name))
        self.found.SetReferenceImageGeometryParameterFromVolumeNode(self._case.volume)
        _show(self._case.segmentation, isFilled=True)
        _show(self.found, isFilled=False)

    @property
    def isInScene(self) -> bool:
        """Whether nobody has closed the scene or deleted its nodes."""
        return self._case.isInScene and isInScene(self.found)

    def hideOthers(self) -> None:
        """Let no segmentation of another volume be seen over it, until it is closed."""
        self._case.hideOthers()

    def update(self, path: Path) -> None:
        """Show other outlines.

        Args:
            path: A .seg.nrrd on the grid of the volume.

        Raises:
            RuntimeError: The file cannot be read or does not fit the volume.
        """
        volume, target = self._case.volume, self.found.GetSegmentation()
        source = readLabels(path, volume, boxOf(volume, None))
        colours = {label.name: [each / 255 for each in label.color] for label in self._labels}
        target.RemoveAllSegments()
        for key, segment in takeOut(source):
            if segment.GetName() in colours:
                segment.SetColor(*colours[segment.GetName()])
            target.AddSegment(segment, key)

    def close(self) -> None:
        """Take all of it out of the scene."""
        if isInScene(self.found):
            slicer.mrmlScene.RemoveNode(self.found)
        self._case.close()


def _show(segmentation: Any, *, isFilled: bool) -> None:
    display = segmentation.GetDisplayNode()
    display.SetVisibility2DFill(isFilled)
    display.SetVisibility2DOutline(not isFilled)
    display.SetOpacity2DFill(_FILL)
