"""Why Segment cannot be pressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISFMLib.errors import DataError

from ..LibraryMessages import forPanel
from ..Scene.SceneIO import checkVolume
from ..Scene.Transforms import bentProblem, bentRemedy, isBent, shearProblem, shearRemedy
from ..Setup.Models import Model
from .Parameters import Parameters


def problem(parameters: Parameters, models: Sequence[Model], model: Model | None) -> str:
    """Return what has to be chosen or done before a run; empty when all is there.

    Args:
        parameters: What is chosen.
        models: The installed models.
        model: The chosen one.
    """
    if not models:
        return _("No model is installed: import one in Models.")
    if model is None:
        return _unknownModel(parameters.model)
    if model.manifest is None:
        return _("This model is damaged: {problem}").format(problem=forPanel(model.entry.problem))
    return _volumesProblem(parameters, model.channels) or _regionProblem(parameters)


def _unknownModel(name: str) -> str:
    if not name:
        return _("Select a model.")
    return _("The model {name} is not on this computer: import it in Models.").format(name=name)


def _volumesProblem(parameters: Parameters, channels: Sequence[str]) -> str:
    volumes = [parameters.volume(channel) for channel in range(len(channels))]
    for volume, name in zip(volumes, channels, strict=True):
        if volume is None:
            return _noVolume() if len(channels) == 1 else _noChannel(name)
        if refusal := _refusal(volume):
            return refusal
    if len({volume.GetID() for volume in volumes}) < len(volumes):
        return _("Each input needs a volume of its own.")
    return ""


def _noVolume() -> str:
    if slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"):
        return _("Select a volume.")
    return _("Load a volume first: drag its file or DICOM folder into Slicer.")


def _noChannel(name: str) -> str:
    return _("Select the volume for {channel}.").format(channel=name)


def _hasVoxels(volume: Any) -> bool:
    image = volume.GetImageData()
    return image is not None and image.GetNumberOfPoints() > 0


def _refusal(volume: Any) -> str:
    """Return why a volume cannot be segmented; the forecast cannot look at such a one."""
    if not _hasVoxels(volume):
        return _("{volume} has no voxels.").format(volume=volume.GetName())
    if isBent(volume):
        return f"{bentProblem(volume)} {bentRemedy()}"
    if shearProblem(volume):
        return f"{shearProblem(volume)} {shearRemedy()}"
    try:
        checkVolume(volume)
    except DataError as error:
        return f"{error.message} {error.remedy}"
    return ""


def _regionProblem(parameters: Parameters) -> str:
    if parameters.regionKind == "roi" and parameters.roi is None:
        return _("Select or create the ROI in Options.")
    if parameters.regionKind == "segment" and not parameters.hasRegionSegment():
        return _("Select the segment in Options.")
    return ""
