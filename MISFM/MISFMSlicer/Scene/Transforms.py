"""Where transforms put a node in the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from MISFMLib.errors import DataError

_ROUNDING = 1e-6
SAME_VOXELS = 0.1
"""How far a voxel may lie off another, in voxels, to count as the same."""


def isBent(node: Any) -> bool:
    """Tell whether a node is under a transform that is not linear.

    Slicer loads DICOM series with uneven or missing slices on an even grid, under such a transform.
    """
    transform = node.GetParentTransformNode()
    return transform is not None and not transform.IsTransformToWorldLinear()


def toWorld(node: Any) -> np.ndarray:
    """Return the 4 x 4 matrix of all linear transforms above a node."""
    matrix = vtk.vtkMatrix4x4()
    transform = node.GetParentTransformNode()
    if transform is not None:
        transform.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def ijkToRas(volume: Any) -> np.ndarray:
    """Return the 4 x 4 matrix from voxels of a volume to its own space."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def isOnGridOf(volume: Any, first: Any) -> bool:
    """Tell whether the voxels of two volumes are at the same places of the world."""
    if volume.GetImageData().GetDimensions() != first.GetImageData().GetDimensions():
        return False
    moved = placesIn(first, volume, probes=2) - corners(first)[:, :3]
    return bool(np.abs(moved).max() <= SAME_VOXELS)


def placesIn(volume: Any, other: Any, probes: int) -> np.ndarray:
    """Return where places of a volume, from corner to corner, are in another: i, j, k, float."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        volume.GetParentTransformNode(), other.GetParentTransformNode(), transform
    )
    ends = [np.linspace(0, size - 1, probes) for size in volume.GetImageData().GetDimensions()]
    ijk = np.stack([*(each.ravel() for each in np.meshgrid(*ends)), np.ones(probes**3)], axis=-1)
    ras = ijk @ ijkToRas(volume).T
    moved = np.array([transform.TransformPoint(place[:3]) for place in ras])
    toOther = np.linalg.inv(ijkToRas(other))
    return moved @ toOther[:3, :3].T + toOther[:3, 3]


def voxelMl(volume: Any, shownAs: Any = None) -> float:
    """Return the size of a voxel in the world, which transforms may scale.

    Args:
        volume: The volume.
        shownAs: The node in the scene that shows it, when it is a frame of a sequence.
    """
    grid = toWorld(shownAs or volume) @ ijkToRas(volume)
    return float(abs(np.linalg.det(grid[:3, :3]))) / 1000


def corners(volume: Any) -> np.ndarray:
    """Return the voxels (i, j, k, 1) at the corners of a volume, shape (8, 4)."""
    ends = [(0, size - 1) for size in volume.GetImageData().GetDimensions()]
    return np.stack([*(each.ravel() for each in np.meshgrid(*ends)), np.ones(8)], axis=-1)


def straightened(grid: np.ndarray, sizeIjk: Sequence[int]) -> np.ndarray | None:
    """Return the nearest grid with axes at right angles, about the same middle.

    Args:
        grid: 4 x 4 matrix from voxels to space.
        sizeIjk: Voxels along i, j and k.

    Returns:
        The matrix; None when a voxel would be off by more than a tenth of a voxel.
    """
    lengths = np.linalg.norm(grid[:3, :3], axis=0)
    left, _stretch, right = np.linalg.svd(grid[:3, :3] / lengths)
    straight = grid.copy()
    straight[:3, :3] = left @ right * lengths
    if np.abs(straight - grid).max() < _ROUNDING * lengths.max():
        return grid  # as it is, to the last digit
    middle = np.append((np.array(sizeIjk) - 1) / 2, 1)
    straight[:3, 3] += (grid @ middle - straight @ middle)[:3]
    ends = [(0, size - 1) for size in sizeIjk]
    edges = np.stack([*(each.ravel() for each in np.meshgrid(*ends)), np.ones(8)], axis=-1)
    off = np.abs(edges @ (np.linalg.inv(grid) @ straight).T - edges).max()
    return straight if off <= SAME_VOXELS else None


def shearProblem(volume: Any) -> str:
    """Return why the axes of a volume are no regular grid; empty when they are."""
    grid = ijkToRas(volume)
    if straightened(grid, volume.GetImageData().GetDimensions()) is not None:
        return ""
    directions = grid[:3, :3] / np.linalg.norm(grid[:3, :3], axis=0)
    cosines = np.abs(directions.T @ directions - np.eye(3)).max()
    return _(
        "The axes of {volume} are {angle} degrees off right angles, as after a scan with tilted"
        " gantry."
    ).format(volume=volume.GetName(), angle=f"{np.degrees(np.arcsin(cosines)):.3g}")


def shearRemedy() -> str:
    """Say what to do with a volume whose axes are not at right angles."""
    return _(
        "Resample it in the module Crop Volume, with interpolated cropping; segment the result."
    )


def followVolume(node: Any, volume: Any) -> None:
    """Put a segmentation under the transform of a volume; what it holds stays in its place."""
    new = volume.GetParentTransformNode()
    if node.GetParentTransformNode() is not new and node.GetSegmentation().GetNumberOfSegments():
        node.HardenTransform()
        if new is not None:
            fromWorld = vtk.vtkMatrix4x4()
            new.GetMatrixTransformFromWorld(fromWorld)
            node.ApplyTransformMatrix(fromWorld)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())


def checkTransforms(volumes: Sequence[Any]) -> None:
    """Refuse volumes whose voxels do not lie in the patient as a model would see them.

    Raises:
        DataError: A volume is bent or sheared, or the volumes of a case are moved against each
            other.
    """
    for volume in volumes:
        if isBent(volume):
            raise DataError(bentProblem(volume), code="volume-bent", remedy=bentRemedy())
        if shearProblem(volume):
            raise DataError(shearProblem(volume), code="volume-sheared", remedy=shearRemedy())
    grid, corner = ijkToRas(volumes[0]), corners(volumes[0])
    toFirst = np.linalg.inv(toWorld(volumes[0]) @ grid)
    for other in volumes[1:]:  # the library sees their own grids, and compares those
        moved = corner @ (toFirst @ toWorld(other) @ grid).T
        if np.abs(moved - corner).max() > SAME_VOXELS:
            raise DataError(
                _("{first} and {other} are under different transforms.").format(
                    first=volumes[0].GetName(), other=other.GetName()
                ),
                code="volumes-moved",
                remedy=_("Harden the transforms and resample one volume to the other's grid."),
            )


def bentProblem(volume: Any) -> str:
    """Say that a volume is bent."""
    return _(
        "{volume} is under the non-linear transform {transform}: its slices are uneven, missing"
        " or tilted, or it was warped."
    ).format(volume=volume.GetName(), transform=volume.GetParentTransformNode().GetName())


def bentRemedy() -> str:
    """Say what to do with a volume that is bent."""
    return _(
        "In the module Data, right-click its transform and choose Harden transform, or take the"
        " volume out of the transform."
    )
