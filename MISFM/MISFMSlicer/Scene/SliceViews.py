"""The slice views: show a volume, go to a place, lay a volume over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer

from .Segmentations import referenceVolume, results

_OPACITY = 0.5


def showWithResult(volume: Any) -> None:
    """Show a volume with its newest result, if no slice view shows it yet."""
    if not _isShown(volume):
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
    own = [node for node in results() if referenceVolume(node) is volume]
    if own:
        own[-1].GetDisplayNode().SetVisibility(True)
    hideUnderOthers()


def hideUnderOthers() -> None:
    """Hide the results of volumes that no slice view shows: they would be seen over another one."""
    for node in results():
        volume = referenceVolume(node)
        if volume is not None and not _isShown(volume):
            node.GetDisplayNode().SetVisibility(False)


def _isShown(volume: Any) -> bool:
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    shown = [(each.GetBackgroundVolumeID(), each.GetForegroundVolumeID()) for each in composites]
    return any(volume.GetID() in layers for layers in shown)


def jumpTo(position: Sequence[float]) -> None:
    """Centre all slice views on a place.

    Args:
        position: In the world: R, A and S in mm.
    """
    mode = slicer.vtkMRMLSliceNode.CenteredJumpSlice
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *position, mode)


class Overlay:
    """A volume over the image in all slice views, until it is taken away again."""

    def __init__(self) -> None:
        """Show nothing."""
        self._before: list[tuple[Any, str | None, float]] = []
        self._shownId = ""

    def show(self, node: Any) -> None:
        """Show a volume instead of what was there."""
        self.hide()
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        self._before = [
            (each, each.GetForegroundVolumeID(), each.GetForegroundOpacity()) for each in composites
        ]
        self._shownId = node.GetID()
        slicer.util.setSliceViewerLayers(foreground=node, foregroundOpacity=_OPACITY)

    def hide(self) -> None:
        """Bring back what was there, except where something else has been chosen since."""
        for composite, nodeId, opacity in self._before:
            if composite.GetForegroundVolumeID() == self._shownId:
                isThere = nodeId and slicer.mrmlScene.GetNodeByID(nodeId) is not None
                composite.SetForegroundVolumeID(nodeId if isThere else None)
                composite.SetForegroundOpacity(opacity)
        self._before = []
