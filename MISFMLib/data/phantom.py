"""Draw a hippocampus T1 MR crop that belongs to nobody, with its labels.

``Resources/Samples/hippocampus_template.npz`` holds the mean of 162 crops and the main ways in
which they differ; its README tells how it was made. A drawing mixes these at random, and adds what
a scanner adds: an uneven coil sensitivity, noise, an arbitrary intensity scale, an oblique block.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.configs import Size
from MISFMLib.errors import ConfigError
from MISFMLib.resources import resource_path
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume

Array = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.uint8]

_CANVAS_XYZ = (49, 65, 49)
"""Voxels to draw on, as far as the padded shape modes reach; cut to the margins afterwards."""
_MARGINS = (5, 8)
"""Voxels between the hippocampus and a border of the crop: the fewest, and one above the most."""
_LARGEST_DEVIATION = 2.0
"""Modes are mixed up to this many standard deviations from the mean."""
_NOISE = 0.02
"""Noise of one receiver channel as a fraction of white matter."""
_LARGEST_BIAS = 0.15
"""Bias field at the border as a fraction of the intensity, for each of its three axes."""
_LARGEST_TILT_DEG = 12.0
"""Rotation of the slice block about each axis."""
_IMAGE_SPACING_MM, _INTENSITY_SPACING_MM, _SHAPE_SPACING_MM = 1.0, 2.0, 4.0
"""Grids of the template: its mean, its modes of intensity, its modes of shape."""
_TEMPLATE_AXES = (-1.0, -1.0, 1.0)
"""Directions of the template's x, y and z axis in LPS: to the right, to the front, to the head."""


@dataclass(frozen=True)
class _Template:
    """The population; distances in mm, axes D, H, W, intensities 0 to 1."""

    image: Array
    """Mean intensity (D, H, W)."""
    labels: Array
    """Mean label probabilities (K, D, H, W), background left out."""
    intensity_modes: Array
    """Deviations of the intensity (M, d, h, w) on a coarser grid."""
    spread: Array
    """Standard deviation (d, h, w) of what the modes do not explain."""
    shape_modes: Array
    """Displacements (M, d, h, w, 3) on a coarse grid as vectors x, y, z."""


def draw_phantom(seed: int) -> tuple[Volume, LabelMap]:
    """Draw a crop and its labels; the same for the same seed.

    Args:
        seed: Any integer from 0.

    Returns:
        An int16 volume, 1 mm isotropic, about 36 x 50 x 35 voxels, and its label map: 1 anterior
        hippocampus, 2 posterior hippocampus.

    Raises:
        ConfigError: The seed is negative.
    """
    if seed < 0:
        raise ConfigError(
            f"The seed is {seed}, a number from 0 was expected.",
            code="bad-seed",
            remedy="Choose a seed from 0.",
        )
    rng = np.random.default_rng(seed)
    template = _read_template()
    warp = _draw_warp(template, rng)
    deviation = _draw_sum(template.intensity_modes, rng)
    deviation += template.spread * rng.standard_normal(deviation.shape)
    intensity = _resample(template.image, _IMAGE_SPACING_MM, warp)
    intensity += _resample(deviation, _INTENSITY_SPACING_MM, warp)
    labels = _most_probable(
        [_resample(label, _IMAGE_SPACING_MM, warp) for label in template.labels]
    )
    box = _draw_box(labels, rng)
    scanned = _scan(intensity[box], rng)
    geometry = _draw_geometry(scanned.shape, rng)
    return (
        Volume(scanned[None], geometry, f"phantom-{seed}", "MR"),
        LabelMap(labels[box], geometry),
    )


def _read_template() -> _Template:
    with np.load(resource_path("Samples/hippocampus_template.npz")) as content:
        return _Template(
            **{
                field.name: content[field.name] * content[f"{field.name}_scale"]
                for field in fields(_Template)
            }
        )


def _draw_warp(template: _Template, rng: np.random.Generator) -> sitk.Transform:
    """Map places of the phantom to places of the template, also beyond its borders."""
    field = _draw_sum(template.shape_modes, rng)
    padded = np.pad(field, ((2, 2), (2, 2), (2, 2), (0, 0)), mode="edge")
    return sitk.DisplacementFieldTransform(_to_image(padded, _SHAPE_SPACING_MM))


def _draw_sum(modes: Array, rng: np.random.Generator) -> Array:
    weights = np.clip(rng.standard_normal(len(modes)), -_LARGEST_DEVIATION, _LARGEST_DEVIATION)
    return np.tensordot(weights, modes, axes=1)


def _to_image(array: Array, spacing_mm: float) -> sitk.Image:
    # The centre of every grid, coarse or fine, lies at zero.
    image = sitk.GetImageFromArray(array.astype(np.float64), isVector=array.ndim == 4)
    image.SetSpacing([spacing_mm] * 3)
    image.SetOrigin([-spacing_mm * (edge - 1) / 2 for edge in image.GetSize()])
    return image


def _resample(array: Array, spacing_mm: float, warp: sitk.Transform) -> Array:
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(_CANVAS_XYZ)
    resampler.SetOutputOrigin([-(edge - 1) / 2 for edge in _CANVAS_XYZ])
    resampler.SetTransform(warp)
    resampler.SetInterpolator(sitk.sitkBSpline)
    resampler.UseNearestNeighborExtrapolatorOn()
    resampled: Array = sitk.GetArrayFromImage(resampler.Execute(_to_image(array, spacing_mm)))
    return resampled


def _most_probable(probabilities: list[Array]) -> Labels:
    background = 1 - np.sum(probabilities, axis=0)
    labels: Labels = np.argmax([background, *probabilities], axis=0).astype(np.uint8)
    return labels


def _draw_box(labels: Labels, rng: np.random.Generator) -> tuple[slice, ...]:
    places = np.argwhere(labels)
    starts = places.min(axis=0) - rng.integers(*_MARGINS, 3)
    stops = places.max(axis=0) + 1 + rng.integers(*_MARGINS, 3)
    return tuple(slice(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True))


def _scan(intensity: Array, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Add a bias field, Rician noise and a scale, as a scanner does."""
    axes = np.meshgrid(*(np.linspace(-1, 1, edge) for edge in intensity.shape), indexing="ij")
    bias = 1 + np.tensordot(rng.uniform(-_LARGEST_BIAS, _LARGEST_BIAS, 3), axes, axes=1)
    real, imaginary = rng.normal(0, _NOISE, (2, *intensity.shape))
    magnitude = np.hypot(intensity.clip(0) * bias + real, imaginary)
    scale = 10 ** rng.uniform(2, 3.5)
    scanned: npt.NDArray[np.int16] = np.round(magnitude * scale).astype(np.int16)
    return scanned


def _draw_geometry(shape_dhw: Size, rng: np.random.Generator) -> Geometry:
    tilt = sitk.Euler3DTransform()
    tilt.SetRotation(*np.deg2rad(rng.uniform(-_LARGEST_TILT_DEG, _LARGEST_TILT_DEG, 3)).tolist())
    direction = np.reshape(tilt.GetMatrix(), (3, 3)) @ np.diag(_TEMPLATE_AXES)
    centre_xyz = rng.uniform(-60, 60, 3)
    half_xyz = (np.array(shape_dhw[::-1]) - 1) / 2
    x, y, z = centre_xyz - direction @ half_xyz
    return Geometry(shape_dhw, (1.0, 1.0, 1.0), (x, y, z), tuple(direction.ravel().tolist()))
