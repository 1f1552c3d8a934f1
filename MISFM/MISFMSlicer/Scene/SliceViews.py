"""The slice views: go to a place, lay a volume over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer

_OPACITY = 0.5


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
