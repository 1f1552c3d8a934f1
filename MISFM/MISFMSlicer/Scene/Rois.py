"""Boxes in the slices that say which part of a volume is segmented."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from .Transforms import ijkToRas, isBent, toWorld

_RIGHT_ANGLE = 1e-3
"""Cosine up to which two axes are at right angles, as those of a box always are."""


def addRoi(volume: Any) -> Any:
    """Add an ROI as large as a volume and along its axes; only its outline is drawn."""
    name = slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} ROI")
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
    roi.CreateDefaultDisplayNodes()
    roi.GetDisplayNode().SetFillVisibility(False)  # it would cover the image
    axes, size, centre = _box(volume)
    toNode = np.eye(4)
    toNode[:3, :3], toNode[:3, 3] = axes, centre
    roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(toNode))
    roi.SetSize(size.tolist())
    return roi


def _box(volume: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the axes (in columns), the size in mm and the centre of a volume in the world."""
    grid = toWorld(volume) @ ijkToRas(volume) if not isBent(volume) else np.zeros((4, 4))
    lengths = np.linalg.norm(grid[:3, :3], axis=0)
    axes = grid[:3, :3] / np.where(lengths > 0, lengths, 1)
    if np.abs(axes.T @ axes - np.eye(3)).max() > _RIGHT_ANGLE:
        bounds = [0.0] * 6
        volume.GetRASBounds(bounds)
        low, high = np.array(bounds[::2]), np.array(bounds[1::2])
        return np.eye(3), high - low, (low + high) / 2
    size = np.array(volume.GetImageData().GetDimensions())
    centre = (grid @ [*((size - 1) / 2), 1])[:3]
    if np.linalg.det(axes) < 0:  # a box is the same in a mirror
        axes[:, 2] *= -1
    return axes, size * lengths, centre
