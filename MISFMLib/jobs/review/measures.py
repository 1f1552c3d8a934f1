"""What is measured of every structure of a result, to find those that are not like the others.

Axes: D, H, W of a canonical view run to the head, to the back and to the left of the patient.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.data.spatial import canonical_axes, canonical_view
from MISFMLib.volumes.volume import LabelMap, Volume

Array = npt.NDArray[Any]
_FACES = (("I", "S"), ("A", "P"), ("R", "L"))
"""Ends of the canonical axes."""
_CUT = 0.02
"""A structure is cut off where so much of its surface lies on the end of the image."""


@dataclass(frozen=True)
class Measures:
    """One structure of one case."""

    volume_ml: float
    components: int
    largest_share: float
    """Part of the voxels in the largest component."""
    roughness: float
    """Surface to the power of 1.5 over volume: 10.6 for a ball (of exact surface), more for
    anything else."""
    extent_mm: tuple[float, float, float]
    """Edges of the box along D, H, W."""
    place: tuple[float, float, float]
    """Centre along D, H, W, from 0 to 1 in the image."""
    offset_mm: tuple[float, float, float] | None
    """Centre from the centre of all other structures; None when it is the only one."""
    flat: tuple[float, float, float]
    """Part of the surface in one plane across D, H, W: large where it was cut straight."""
    cut_by: str
    """Ends of the image that cut it off, as letters of IS, AP, RL."""
    intensity: float | None
    """Median intensity in it, in quartile distances of the image; None without image."""
    texture: float | None
    """Quartile distance of the intensities in it, in that of the image; None without image."""


def measure(
    label_map: LabelMap, names: Mapping[int, str], volume: Volume | None
) -> dict[str, Measures]:
    """Measure every structure that has voxels.

    Args:
        label_map: Labels.
        names: Value and name of those that have one.
        volume: The scan on the same grid, or None.

    Raises:
        DependencyError: SciPy is not installed.
    """
    axes, flips = canonical_axes(label_map.geometry.direction, "LPS")
    labels_DHW = canonical_view(label_map.array_DHW, axes, flips)
    spacing = np.take(label_map.geometry.spacing_dhw, axes)
    image_DHW = None if volume is None else _standardised(volume, axes, flips)
    boxes = importlib.import_module("scipy.ndimage").find_objects(labels_DHW.astype(np.int32))
    found, centres, counts = {}, {}, {}
    for value, box in enumerate(boxes, start=1):
        if box is None:
            continue
        mask = labels_DHW[box] == value
        start = np.array([part.start for part in box])
        name = names.get(value, f"label {value}")
        counts[name] = int(np.count_nonzero(mask))
        centres[name] = np.argwhere(mask).mean(axis=0) + start
        found[name] = (mask, box)
    return {
        name: _measures(
            mask,
            start=np.array([part.start for part in box]),
            centre=centres[name],
            others=_centre({k: v for k, v in centres.items() if k != name}, counts),
            shape=np.array(labels_DHW.shape),
            spacing=spacing,
            intensities=None if image_DHW is None else image_DHW[box][mask],
        )
        for name, (mask, box) in found.items()
    }


def _measures(  # noqa: PLR0913 the parts of one structure
    mask: Array,
    *,
    start: Array,
    centre: Array,
    others: Array | None,
    shape: Array,
    spacing: Array,
    intensities: Array | None,
) -> Measures:
    ndimage = importlib.import_module("scipy.ndimage")
    parts, components = ndimage.label(mask, np.ones((3, 3, 3), bool))
    voxels = int(np.count_nonzero(mask))
    largest = int(np.bincount(parts.ravel())[1:].max())
    surface, flat, ends = _surface(mask, start, shape, spacing)
    volume_mm3 = voxels * float(np.prod(spacing))
    offset = None if others is None else _triple((centre - others) * spacing)
    return Measures(
        volume_ml=volume_mm3 / 1000,
        components=int(components),
        largest_share=largest / voxels,
        roughness=surface**1.5 / volume_mm3,
        extent_mm=_triple(np.array(mask.shape) * spacing),
        place=_triple((centre + 0.5) / shape),
        offset_mm=offset,
        flat=flat,
        cut_by="".join(letter for letter, area in ends.items() if area > _CUT * surface),
        intensity=None if intensities is None else float(np.median(intensities)),
        texture=None if intensities is None else _quartile_distance(intensities),
    )


def _surface(
    mask: Array, start: Array, shape: Array, spacing: Array
) -> tuple[float, tuple[float, float, float], dict[str, float]]:
    """Return the area of a mask's voxel faces in mm², its flattest part, and that on each end."""
    total, flattest, ends = 0.0, [], {}
    for axis, letters in enumerate(_FACES):
        area = float(np.prod(spacing)) / float(spacing[axis])
        padded = np.pad(mask, [(int(a == axis), int(a == axis)) for a in range(3)])
        others = tuple(a for a in range(3) if a != axis)
        planes = area * np.count_nonzero(np.diff(padded, axis=axis), axis=others)
        total += float(planes.sum())
        flattest.append(planes.max())
        at_end = (start[axis] == 0, start[axis] + mask.shape[axis] == shape[axis])
        for letter, plane, touches in zip(letters, (planes[0], planes[-1]), at_end, strict=True):
            ends[letter] = float(plane) if touches else 0.0
    return total, _triple(np.array(flattest) / total), ends


def _centre(centres: Mapping[str, Array], counts: Mapping[str, int]) -> Array | None:
    """Return the mean of the centres of some structures, each with its voxels."""
    if not centres:
        return None
    weights = [counts[name] for name in centres]
    centre: Array = np.average(list(centres.values()), axis=0, weights=weights)
    return centre


def _standardised(volume: Volume, axes: Any, flips: Any) -> Array:
    """Return the first channel in quartile distances from its median, background left out."""
    image = canonical_view(volume.array_CDHW[0], axes, flips).astype(np.float32)
    sample = image[::2, ::2, ::2]
    low, middle, high = np.percentile(sample[sample > image.min()], [25, 50, 75])
    spread = float(high - low) or float(image.std()) or 1.0
    standardised: Array = (image - middle) / spread
    return standardised


def _quartile_distance(values: Array) -> float:
    low, high = np.percentile(values, [25, 75])
    return float(high - low)


def _triple(values: Array) -> tuple[float, float, float]:
    first, second, third = map(float, values)
    return first, second, third
