"""How to train on a data set: voxel size, patch and intensities, derived from its cases."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, cast

import numpy as np

from MISFMLib.configs import (
    IntensityConfig,
    LabelConfig,
    NetworkConfig,
    PreprocessingConfig,
    Size,
    Spacing,
)
from MISFMLib.data.descriptions import modality_of
from MISFMLib.data.intensity import USUAL_LIMITS
from MISFMLib.data.label_check import CaseFacts
from MISFMLib.data.label_sides import LPS_AXIS

Modality = Literal["CT", "MR", "other"]
Scheme = Literal["ct-clip", "ct-percentile", "mr-zscore", "mr-percentile"]

_SPACING_TOLERANCE = 0.01
"""Relative difference up to which voxel sizes count as equal."""
PATCH_COVERAGE = 0.85
"""Part of the median volume that the patch of a fresh network covers."""
_VOXELS_FOR_ONE = 2.5
"""Voxels of a patch for one in the box around the largest label."""
_AIR_HU = -900
_SLICED_FACTOR = 1.5
_EMISSION = {"PET", "PT", "SUV", "SPECT", "NM"}
"""Words for channels whose intensities are uptake."""


class Extent(Protocol):
    """How far a volume reaches, along the patient's axes or those of model space."""

    @property
    def shape_dhw(self) -> Size:
        """Voxels along the axes."""

    @property
    def spacing_dhw(self) -> Spacing:
        """Voxel size in mm along the axes."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """All that a data set decides about a training; written into the bundle."""

    network: NetworkConfig
    preprocessing: PreprocessingConfig
    labels: tuple[LabelConfig, ...]
    """Class k of the network is labels[k - 1]."""
    batch_size: int
    """Patches per step."""

    def summary(self) -> dict[str, str]:
        """Describe the plan for people, by topic."""
        network, preprocessing = self.network, self.preprocessing
        channels = zip(preprocessing.channels, preprocessing.intensity, strict=True)
        spacing = preprocessing.spacing_dhw
        return {
            "network": f"{network.architecture}, levels of {_joined(network.level_channels, ', ')} "
            f"channels, resolution mode {network.resolution_mode}",
            "modality": preprocessing.modality,
            "intensities": ", ".join(f"{name} {scheme.scheme}" for name, scheme in channels),
            "axes": f"{preprocessing.orientation or 'as stored'}, crop {preprocessing.crop}",
            "voxel size": f"{_joined(spacing)} mm" if spacing else "as scanned",
            "patch": f"{_joined(preprocessing.patch_size)} voxels, {self.batch_size} a step",
            "mirrored": ", ".join(_AXES[axis] for axis in preprocessing.mirror_axes) or "never",
            "labels": ", ".join(f"{label.value} {label.name}" for label in self.labels),
        }


_AXES = ("depth", "height", "width")


def _joined(values: Sequence[float], separator: str = " x ") -> str:
    return separator.join(f"{value:g}" for value in values)


def plan_orientation(facts: Sequence[Extent]) -> str:
    """Choose the axes of model space so that slices are stacked along depth.

    That is LPS for axial and isotropic volumes. When the voxels are 1.5 times longer along another
    axis than along both others, as in sagittal and coronal series, that axis becomes depth.
    """
    spacing = np.median([fact.spacing_dhw for fact in facts], axis=0)
    longest = int(spacing.argmax())
    is_sliced = spacing[longest] >= _SLICED_FACTOR * np.delete(spacing, longest).max()
    return ("LPS", "LSP", "PSL")[longest] if is_sliced else "LPS"


def along(fact: CaseFacts, space: PreprocessingConfig) -> CaseFacts:
    """Return the facts of a case with shape and spacing along the axes of a model space."""
    axes = [LPS_AXIS[letter] for letter in space.directions]
    depth, height, width = axes or [fact.stored_axes[axis] for axis in space.transpose]
    shape, spacing = fact.shape_dhw, fact.spacing_dhw
    return replace(
        fact,
        shape_dhw=(shape[depth], shape[height], shape[width]),
        spacing_dhw=(spacing[depth], spacing[height], spacing[width]),
    )


def plan_spacing(facts: Sequence[Extent]) -> Spacing:
    """Return the median voxel size of the cases in mm, rounded to 1 micrometre.

    Cases that differ by less than 1 % from the first are taken as equal to it, so that volumes
    of one protocol are not resampled by a hair.
    """
    spacings = np.array([fact.spacing_dhw for fact in facts])
    equal = np.abs(spacings / spacings[0] - 1).max(axis=1) < _SPACING_TOLERANCE
    chosen = spacings[0] if equal.mean() > 0.5 else np.median(spacings, axis=0)
    depth, height, width = (round(float(value), 3) for value in chosen)
    return depth, height, width


def patch_budget(
    facts: Sequence[CaseFacts], spacing_dhw: Spacing, least: float, most: float
) -> float:
    """Choose how many voxels a training patch may have.

    What is far larger than the largest label costs time and brings nothing: Docs/evidence.md.

    Args:
        facts: Training cases.
        spacing_dhw: Voxel size in mm to train at.
        least: Budget for labels however small.
        most: Budget for labels however large, and where no case has one.
    """
    boxes = [
        max(math.prod(side.extent_mm) for side in fact.sides.values())
        for fact in facts
        if fact.sides
    ]
    largest = float(np.median(boxes)) / math.prod(spacing_dhw) if boxes else math.inf
    return min(most, max(least, _VOXELS_FOR_ONE * largest))


def plan_patch(
    facts: Sequence[Extent],
    spacing_dhw: Spacing,
    stride_dhw: Size,
    max_voxels: float,
    coverage: float = PATCH_COVERAGE,
) -> Size:
    """Choose the training patch.

    The patch covers most of the median volume along every axis in whole strides of the network;
    where that exceeds the budget, its longest edge in mm is shortened until it fits.

    Args:
        facts: Training cases.
        spacing_dhw: Voxel size in mm to train at.
        stride_dhw: Voxels that one voxel of the coarsest level spans.
        max_voxels: Budget of voxels in the patch.
        coverage: Part of the median volume that it covers at least, budget permitting.
    """
    edges_mm = np.array([np.multiply(fact.shape_dhw, fact.spacing_dhw) for fact in facts])
    median_shape = np.median(edges_mm, axis=0) / spacing_dhw
    steps = np.maximum(1, np.ceil(coverage * median_shape / stride_dhw)).astype(int)
    while np.prod(steps * stride_dhw) > max_voxels and steps.max() > 1:
        lengths_mm = steps * stride_dhw * np.asarray(spacing_dhw)
        steps[np.where(steps > 1, lengths_mm, 0).argmax()] -= 1
    depth, height, width = (int(edge) for edge in steps * stride_dhw)
    return depth, height, width


def plan_steps(case_count: int, label_count: int) -> int:
    """Choose how many steps to train: more for more cases and labels, but ever less for each.

    1000 for 5 cases with 4 labels, 4500 for 100.

    Returns:
        A multiple of 250 from 500 to 20000.
    """
    steps = 1000 * math.sqrt(case_count / 5) * math.sqrt(math.sqrt(label_count / 4))
    return min(20000, max(500, 250 * round(steps / 250)))


def plan_modality(facts: Sequence[CaseFacts], described: Modality | Literal[""]) -> Modality:
    """Choose the modality: as the data set says, else as most files say, else by the intensities.

    Intensities of CT reach down to air at about -1000 HU in most of the volumes.
    """
    if described:
        return described
    named = [fact.modality for fact in facts if fact.modality in ("CT", "MR")]
    if 2 * len(named) > len(facts):
        return cast(Modality, max(sorted(set(named)), key=named.count))
    with_air = [fact.intensity_range[0] <= _AIR_HU for fact in facts]
    return "CT" if 2 * sum(with_air) > len(with_air) else "other"


def plan_intensity(
    facts: Sequence[CaseFacts],
    modality: Modality,
    scheme: Scheme | Literal["auto"],
    channels: Sequence[str] = (),
) -> tuple[IntensityConfig, ...]:
    """Choose the intensity scheme of every channel.

    Args:
        facts: Training cases; their labelled voxels give the numbers of ``ct-percentile``.
        modality: Modality of the volumes.
        scheme: The scheme, or auto: ct-clip for CT, else mr-zscore; of several channels each by its
            own name, so that PET beside CT is not clipped to Hounsfield units.
        channels: Their names, where they are known.
    """
    if scheme == "auto":
        names = channels or [""] * len(facts[0].foreground_samples)
        return tuple(
            _scheme_of(_modality_of(name, modality) if len(names) > 1 else modality)
            for name in names
        )
    if scheme == "ct-percentile":
        samples = np.concatenate([fact.foreground_samples for fact in facts], axis=1)
        return tuple(_foreground_statistics(channel) for channel in samples)
    return (usual_intensity(scheme),) * len(facts[0].foreground_samples)


def usual_intensity(scheme: Scheme) -> IntensityConfig:
    """Return a scheme with the limits that it has where nobody gives any."""
    return IntensityConfig(scheme=scheme, clip=USUAL_LIMITS.get(scheme))


def _scheme_of(modality: Modality) -> IntensityConfig:
    return usual_intensity("ct-clip" if modality == "CT" else "mr-zscore")


def _modality_of(channel: str, modality: Modality) -> Modality:
    words = set(re.findall(r"[A-Z]+", channel.upper()))
    return modality_of([channel]) or ("other" if words & _EMISSION else modality)


def _foreground_statistics(values: np.ndarray) -> IntensityConfig:
    lower, upper = (float(bound) for bound in np.percentile(values, (0.5, 99.5)))
    clipped = np.clip(values, lower, upper)
    return IntensityConfig(
        scheme="ct-percentile",
        clip=(round(lower, 2), round(upper, 2)),
        mean=round(float(clipped.mean()), 3),
        std=round(max(float(clipped.std()), 1.0), 3),
    )
