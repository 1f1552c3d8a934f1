"""Where the model is unsure: a volume beside the result, and the places to look at first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer
import vtk

from ..Job import Place
from .GridBox import GridBox
from .SceneIO import boxToRas, voxelsOf
from .Segmentations import placeBeside

_VOLUME = "MISFM.Uncertainty"
"""Role of the reference from a segmentation to the volume of its uncertainty, and the attribute
that marks this volume."""
_COLOURS = "vtkMRMLColorTableNodeIron"
_LOWEST_SHOWN = 5
"""Percent; below this the volume is transparent over the image."""


def isUncertainty(volume: Any) -> bool:
    """Tell whether a volume node is an uncertainty of ours."""
    return bool(volume.GetAttribute(_VOLUME))


def uncertaintyOf(segmentation: Any) -> Any:
    """Return the volume of the uncertainty of a result, or None."""
    return segmentation.GetNodeReference(_VOLUME)


def referToUncertainty(segmentation: Any, volume: Any) -> None:
    """Say which volume holds the uncertainty of a result; None for none."""
    segmentation.SetNodeReferenceID(_VOLUME, volume.GetID() if volume is not None else None)


def putUncertainty(segmentation: Any, volume: Any, box: GridBox, image: Any) -> Any:
    """Bring the uncertainty of a result into the scene without showing it.

    Args:
        segmentation: The result; the uncertainty of an earlier one is replaced.
        volume: The volume that was segmented.
        box: The part of it that the image holds.
        image: vtkImageData with percent of the greatest entropy there can be, 0 to 100.

    Returns:
        The vtkMRMLScalarVolumeNode.
    """
    if box.mask is not None:
        voxelsOf(image).reshape(box.mask.shape)[~box.mask] = 0
    node = uncertaintyOf(segmentation) or _add(segmentation, volume)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(boxToRas(volume, box))
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    return node


def _add(segmentation: Any, volume: Any) -> Any:
    name = slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} uncertainty")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAttribute(_VOLUME, "percent")
    referToUncertainty(segmentation, node)
    placeBeside(node, volume)
    return node


def colour(node: Any, numClasses: int) -> None:
    """Let an uncertainty be seen over the image: what wavers between two labels is brightest."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_COLOURS)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0, 100 * math.log(2) / math.log(max(2, numClasses)))
    display.SetThreshold(_LOWEST_SHOWN, 100)
    display.SetApplyThreshold(True)


def placesOf(report: Mapping[str, Any], volume: Any, box: GridBox) -> tuple[Place, ...]:
    """Return where to look, the least certain place first; only what is inside the box's mask.

    Args:
        report: The library's report of the case.
        volume: The volume that was segmented.
        box: The part of it that was segmented.
    """
    places = []
    for each in report.get("where_to_look", ()):
        x, y, z = each["position_xyz"]
        position = (-x, -y, z)  # LPS to RAS
        if _isInside(position, volume, box):
            places.append(Place(_toWorld(position, volume), tuple(each["labels"])))
    return tuple(places)


def _isInside(position: Sequence[float], volume: Any, box: GridBox) -> bool:
    if box.mask is None:
        return True
    rasToIjk = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(rasToIjk)
    ijk = np.rint(rasToIjk.MultiplyPoint((*position, 1.0))[:3]).astype(int)
    k, j, i = (ijk - box.startIjk)[::-1]
    return bool(box.mask[k, j, i])


def _toWorld(position: Sequence[float], volume: Any) -> tuple[float, ...]:
    """Return where the volume's transform puts a position."""
    toWorld = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        volume.GetParentTransformNode(), None, toWorld
    )
    return toWorld.TransformPoint(position)
