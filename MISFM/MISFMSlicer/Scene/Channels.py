"""Several volumes of one patient that belong to a case: T1 and T2, CT and MR."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .Masks import gridOf
from .SceneIO import checkVolume
from .TrainingCases import writeImage
from .Transforms import isOnGridOf, placesIn
from .Uncertainty import isUncertainty

VOLUME = "vtkMRMLScalarVolumeNode"
_ALONGSIDE = 0.5
"""Share of a volume that another one covers to be taken for one of the same patient."""
_WHOLE = 0.995
"""A volume that covers so much of another is taken to cover it all."""
_PROBES = 9
"""Places along each axis at which it is looked whether a volume covers another."""


def allVolumes() -> list[Any]:
    """Return the scalar volumes of the scene, uncertainties among them, label maps not."""
    nodes = slicer.util.getNodesByClass(VOLUME)
    return [node for node in nodes if node.GetClassName() == VOLUME]


def sceneVolumes() -> list[Any]:
    """Return the scalar volumes of the scene that a user sees in lists and has not from us."""
    return [
        node for node in allVolumes() if not node.GetHideFromEditors() and not isUncertainty(node)
    ]


def volumeNamed(channel: str, volumes: Sequence[Any], taken: Sequence[Any]) -> Any:
    """Return a free one of the volumes whose name has all words of a channel's name, else None."""
    words = re.findall(r"\w+", channel.lower())
    for volume in volumes:
        name = (volume.GetName() or "").lower()
        if volume not in taken and words and all(word in name for word in words):
            return volume
    return None


def alongside(volume: Any) -> list[Any]:
    """Return the other volumes of the scene that cover at least half of a volume."""
    others = [each for each in sceneVolumes() if each is not volume]
    others = [each for each in others if each.GetImageData() is not None]
    return [each for each in others if covered(volume, each) >= _ALONGSIDE]


def covered(volume: Any, other: Any) -> float:
    """Return the share of a volume, 0 to 1, that lies inside another, wherever transforms put it.

    A voxel lies inside when its centre is no more than half a voxel beyond the other's outermost.
    """
    size = np.array(other.GetImageData().GetDimensions())
    places = placesIn(volume, other, _PROBES)
    return float(np.all((places >= -0.5) & (places <= size - 0.5), axis=1).mean())


def onGridOf(volume: Any, first: Any) -> Any:
    """Return a volume on the grid of another, interpolated linearly; outside it has its lowest.

    Returns:
        A node that is in no scene: the voxels as they are where the grids are the same.
    """
    node = slicer.vtkMRMLScalarVolumeNode()
    node.CopyOrientation(first)
    node.SetName(volume.GetName())
    if isOnGridOf(volume, first):
        node.SetAndObserveImageData(volume.GetImageData())
        return node
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        volume.GetParentTransformNode(), first.GetParentTransformNode(), transform
    )
    lowest, isLinear, isPadded = volume.GetImageData().GetScalarRange()[0], True, False
    resampled = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        gridOf(volume), gridOf(first), resampled, isLinear, isPadded, transform, lowest
    )
    image = vtk.vtkImageData()
    image.ShallowCopy(resampled)
    image.SetOrigin(0, 0, 0)
    image.SetSpacing(1, 1, 1)
    node.SetAndObserveImageData(image)
    return node


def gridTexts(volumes: Sequence[Any]) -> list[str]:
    """Say of each volume that lies on another grid than the first what becomes of it."""
    first, texts = volumes[0], []
    for volume in volumes[1:]:
        if isOnGridOf(volume, first):
            continue
        share = covered(first, volume)
        text = _("{volume} lies on another grid than {first}: it is resampled to that.")
        if share < _WHOLE:
            text = _(
                "{volume} lies on another grid than {first} and covers {share} % of it: it is"
                " resampled to that, and filled with its lowest value beyond."
            )
        fields = {"volume": volume.GetName(), "first": first.GetName()}
        texts.append(text.format(share=round(100 * share), **fields))
    return texts


def writeChannel(volume: Any, first: Any, path: Path) -> None:
    """Write a volume of a case on the grid of the first one.

    Raises:
        DataError: It has no voxels or colours.
        OSError: The file cannot be written.
    """
    checkVolume(volume)
    writeImage(volume if volume is first else onGridOf(volume, first), path)


# ----------------------------------------------------------------------------------------- names

_KINDS = ("CT", "PET", "T1", "T1W", "T1C", "T1CE", "T1GD", "T2", "T2W", "FLAIR", "PD", "DWI")
_KINDS += ("ADC", "SWI", "DIXON", "LGE", "MRA", "MR")
"""Words by which people call what a volume is."""


def kindsOf(names: Sequence[str]) -> list[str]:
    """Guess from their names what the volumes of a case are, so that all differ.

    Returns:
        T1, FLAIR, CT and the like; else the part in which the names differ; else image 1, image 2.
    """
    words = [re.findall(r"[^\W_]+", name) for name in names]
    kinds = [" ".join(word.upper() for word in each if word.upper() in _KINDS) for each in words]
    if not all(kinds) or len(set(kinds)) < len(kinds):
        shared = len(_shared(words))
        kinds = [" ".join(each[shared:]) for each in words]
    if not all(kind.strip("0123456789 ") for kind in kinds) or len(set(kinds)) < len(kinds):
        kinds = [f"image {number}" for number in range(1, len(names) + 1)]
    return kinds


def caseName(names: Sequence[str]) -> str:
    """Return what the names of a case's volumes have in common, else the first name."""
    if len(names) == 1:
        return names[0]
    parts = [re.split(r"(?<=[\W_])", name) for name in names]
    return re.sub(r"[\W_]+$", "", "".join(_shared(parts))) or names[0]


def sharedStart(volume: Any, other: Any) -> int:
    """Return with how many letters the names of two volumes begin alike."""
    return len(_shared([volume.GetName(), other.GetName()]))


def _shared(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return the elements with which all lists begin."""
    columns = zip(*lists, strict=False)
    return [each[0] for each in itertools.takewhile(lambda same: len(set(same)) == 1, columns)]
