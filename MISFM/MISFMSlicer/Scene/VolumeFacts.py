"""What is known about a volume before it is segmented, and whether it suits a model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from MISFMLib.configs import PreprocessingConfig

from .. import Messages
from .GridBox import GridBox

_SOFT_TISSUE_HU = -200
"""A CT reaches far below this; see MISFMLib.inference.domain, which judges the same in the job."""
_AIR_HU = -900
_SPACING_RATIO = 3.0
_BODY_HU = -500
"""Above this is the body; as in MISFMLib.data.outside_air."""
_SAMPLES = 48
"""Samples along an axis that tell where a volume is empty."""
_SMALL_WINDOW_VOXELS = 100_000
"""Windows are planned as large as the training volumes, up to several times this."""
_TOO_LARGE = 8
"""Times that a volume is larger than a small window, from which it shows much else."""
_PATIENT_AXES = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


@dataclass(frozen=True)
class VolumeFacts:
    """Size and intensities of a volume; `Dhw` are the axes of the model."""

    shapeDhw: tuple[int, ...]
    spacingDhw: tuple[float, ...]
    """Voxel size in mm."""
    lowest: float
    """Lowest intensity."""
    modality: str
    """As DICOM says, such as CT or MR; empty when unknown."""
    voxelBytes: int = 2
    """Bytes of a voxel."""
    samplesDhw: np.ndarray | None = None
    """A coarse grid of its intensities; the axes may run the other way."""

    def isOccupied(self, preprocessing: PreprocessingConfig) -> np.ndarray | None:
        """Tell of each sample whether it is more than air or an empty border."""
        if self.samplesDhw is None:
            return None
        isCt = preprocessing.modality == "CT" or preprocessing.crop == "body"
        return self.samplesDhw > (_BODY_HU if isCt else self.lowest)


def volumeFacts(volume: Any, orientation: str, box: GridBox) -> VolumeFacts:
    """Look at a volume node that has voxels.

    Args:
        volume: The vtkMRMLScalarVolumeNode.
        orientation: Canonical axes x, y, z of the model, such as LPS.
        box: The part that is segmented.
    """
    axes = _axesOf(volume, orientation)
    spacing = volume.GetSpacing()
    return VolumeFacts(
        tuple(box.sizeIjk[axis] for axis in axes),
        tuple(spacing[axis] for axis in axes),
        volume.GetImageData().GetScalarRange()[0],
        dicomModality(volume),
        volume.GetImageData().GetScalarSize(),
        _samples(volume, box).transpose([2 - axis for axis in axes]),
    )


def _samples(volume: Any, box: GridBox) -> np.ndarray:
    """Return a few thousand voxels (k, j, i) of a box, evenly spread."""
    part = slicer.util.arrayFromVolume(volume)[box.slices]
    steps = tuple(slice(None, None, -(-size // _SAMPLES)) for size in part.shape)
    return part[steps]


def _axesOf(volume: Any, orientation: str) -> tuple[int, ...]:
    """Return which of the axes i, j, k lies along depth, height and width of the model."""
    ijkToRas = vtk.vtkMatrix4x4()
    volume.GetIJKToRASDirectionMatrix(ijkToRas)
    directions = np.abs(slicer.util.arrayFromVTKMatrix(ijkToRas)[:3, :3])
    wanted = [_PATIENT_AXES[letter] for letter in reversed(orientation)]

    def agreement(axes: tuple[int, ...]) -> float:
        return sum(directions[row, axis] for row, axis in zip(wanted, axes, strict=True))

    return max(itertools.permutations(range(3)), key=agreement)


def dicomModality(volume: Any) -> str:
    """Return the DICOM modality of a volume's series; empty when it did not come from DICOM."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume) if hierarchy is not None else 0
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return hierarchy.GetItemAttribute(item, name) if item else ""


def domainWarnings(
    facts: VolumeFacts, preprocessing: PreprocessingConfig, *, isSizeKnown: bool = True
) -> list[str]:
    """Return why a volume is unlike the training's, one sentence each, the worst first."""
    warnings = [
        _modalityWarning(facts, preprocessing),
        _sizeWarning(facts, preprocessing) if isSizeKnown else "",
        _spacingWarning(facts, preprocessing),
    ]
    return [warning for warning in warnings if warning]


def _modalityWarning(facts: VolumeFacts, preprocessing: PreprocessingConfig) -> str:
    expected = preprocessing.modality
    if expected == "other":
        return ""
    if facts.modality in ("CT", "MR", "PT", "US", "NM") and facts.modality != expected:
        return _("This is a {given} volume; the model was trained on {expected}.").format(
            given=facts.modality, expected=expected
        )
    if expected == "CT" and facts.lowest > _SOFT_TISSUE_HU:
        return _(
            "This does not look like CT in Hounsfield units: its lowest intensity is {value}."
        ).format(value=f"{facts.lowest:g}")
    if expected == "MR" and facts.lowest <= _AIR_HU:
        return _("This looks like CT; the model was trained on MR.")
    return ""


def _spacingWarning(facts: VolumeFacts, preprocessing: PreprocessingConfig) -> str:
    if preprocessing.spacing_dhw is None:
        return ""
    ratios = np.array(facts.spacingDhw) / preprocessing.spacing_dhw
    if np.maximum(ratios, 1 / ratios).max() <= _SPACING_RATIO:
        return ""
    return _("The voxels are {given}; the model was trained on {expected}.").format(
        given=Messages.lengths(facts.spacingDhw[::-1]),
        expected=Messages.lengths(preprocessing.spacing_dhw[::-1]),
    )


def _sizeWarning(facts: VolumeFacts, preprocessing: PreprocessingConfig) -> str:
    patch = np.array(preprocessing.patch_size)
    given = np.array(facts.shapeDhw) * facts.spacingDhw
    window = patch * (preprocessing.spacing_dhw or facts.spacingDhw)
    if patch.prod() > _SMALL_WINDOW_VOXELS or given.prod() < _TOO_LARGE * window.prod():
        return ""
    return _(
        "The volume is {given}; the model was trained on crops of about {expected}."
        " Choose a region in Options."
    ).format(
        given=Messages.lengths(np.round(given[::-1])),
        expected=Messages.lengths(np.round(window[::-1])),
    )
