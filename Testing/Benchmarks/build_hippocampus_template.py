"""Compute Resources/Samples/hippocampus_template.npz, the population that `misfm demo` draws from.

    python Testing/Benchmarks/build_hippocampus_template.py DATA Resources/Samples

DATA is Task04 of the Medical Segmentation Decathlon with a dataset.json whose split.train names the
cases. Every crop is registered to a running mean (scaling by label moments, then diffeomorphic
demons), in two rounds, as in Guimond et al., "Average brain models", CVIU 77, 2000. What is stored
is averaged over all people: the mean image, the mean label probabilities, the spread around the
mean, and the first modes (principal components) of shape and of intensity. Crops are continued past
their borders, so that every voxel of the template is an average over all people; a mode that leans
on one person stops the script. One thread, no random numbers: the result is the same on every run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

Array = npt.NDArray[np.floating[Any]]

SHAPE_DHW = (37, 53, 37)
"""Voxels of 1 mm of the template: the median crop, made a multiple of both steps plus one."""
SHAPE_STEP = 4
"""Voxels of the template per node of a shape mode."""
INTENSITY_STEP = 2
"""Voxels of the template per node of an intensity mode."""
ORIGIN_XYZ = -(np.array(SHAPE_DHW[::-1]) - 1) / 2
"""Place of the first voxel in mm; the centre of the hippocampus is at zero."""
DIRECTION = (-1, 0, 0, 0, -1, 0, 0, 0, 1)
"""Axes x, y, z of every crop in LPS: to the right, to the front, to the head."""
HIGHEST_INTENSITY = 1.2
"""Where bright voxels are clipped; 0 and 1 are the 1st and 99th percentile of a crop."""
NUM_MODES = 6
DEMONS_ITERATIONS = (30, 60)
"""Iterations in each round; before the first the crops are only shifted and scaled."""
LABEL_WEIGHTS = (0.5, 1.0)
"""What the labels 1 and 2 add to the intensity (0 to 1) when two crops are compared."""
FEWEST_PEOPLE = 100
LARGEST_SHARE = 0.1
"""Largest part of a mode's variance that may come from one person."""


@dataclass(frozen=True)
class Crop:
    """One training crop, its origin moved to the centre of the hippocampus."""

    person: int
    """Number of the person; the cases 2n-1 and 2n are the two sides of person n."""
    image: sitk.Image
    """Intensity 0 to 1, spacing 1 mm, identity direction."""
    labels: tuple[sitk.Image, ...]
    """Masks of the labels 1 and 2 as float32 on the same grid."""
    extent_xyz: Array
    """Standard deviation of the hippocampus voxels' positions in mm."""


@dataclass(frozen=True)
class Population:
    """Crops in the frame of the template."""

    images: Array
    """Intensities (N, D, H, W)."""
    labels: Array
    """Label probabilities (N, 2, D, H, W)."""
    shapes: Array
    """Displacements (N, d, h, w, 3) in mm from a place in a crop to its place in the template, as
    vectors x, y, z."""


def main() -> None:
    """Build the template and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with dataset.json, imagesTr and labelsTr")
    parser.add_argument("output", type=Path, help="folder for hippocampus_template.npz")
    arguments = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    start = time.monotonic()

    names = json.loads((arguments.data / "dataset.json").read_text("utf-8"))["split"]["train"]
    crops = [read_crop(arguments.data, name) for name in names]
    people = np.array([crop.person for crop in crops])
    if len(set(people)) < FEWEST_PEOPLE:
        raise SystemExit(f"{len(set(people))} people, {FEWEST_PEOPLE} are needed")
    path = arguments.output / "hippocampus_template.npz"
    np.savez_compressed(path, **summarise(align(crops), people))
    print(
        f"{path}: {path.stat().st_size} bytes from {len(crops)} crops of {len(set(people))} people"
        f" in {time.monotonic() - start:.0f} s"
    )


def read_crop(data: Path, name: str) -> Crop:
    """Read a case, scale its intensities and centre it on its hippocampus."""
    scan = sitk.ReadImage(data / "imagesTr" / f"{name}.nii.gz")
    if scan.GetDirection() != DIRECTION or scan.GetSpacing() != (1, 1, 1):
        raise SystemExit(f"{name} has other axes or voxels than the template")
    values = sitk.GetArrayFromImage(scan)
    label_map = sitk.GetArrayFromImage(sitk.ReadImage(data / "labelsTr" / f"{name}.nii.gz"))
    low, high = np.percentile(values, (1, 99))
    places_xyz = np.argwhere(label_map > 0)[:, ::-1]
    origin_xyz = -places_xyz.mean(axis=0)
    return Crop(
        person=(int(name.split("_")[1]) + 1) // 2,
        image=to_image(np.clip((values - low) / (high - low), 0, HIGHEST_INTENSITY), origin_xyz),
        labels=tuple(to_image(label_map == value, origin_xyz) for value in (1, 2)),
        extent_xyz=places_xyz.std(axis=0),
    )


def align(crops: list[Crop]) -> Population:
    """Register all crops to their running mean."""
    extent_xyz = np.mean([crop.extent_xyz for crop in crops], axis=0)
    scalings = [scaling(crop, extent_xyz) for crop in crops]
    population = resample(crops, scalings)
    for iterations in DEMONS_ITERATIONS:
        fixed = unbiased_mean(population)
        transforms = [
            register(crop, scale, fixed, iterations)
            for crop, scale in zip(crops, scalings, strict=True)
        ]
        population = resample(crops, transforms)
    return population


def scaling(crop: Crop, extent_xyz: Array) -> sitk.Transform:
    """Map the template to the crop by the sizes of their hippocampi along the three axes."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(np.diag(crop.extent_xyz / extent_xyz).ravel().tolist())
    return transform


def register(
    crop: Crop, scale: sitk.Transform, fixed: sitk.Image, iterations: int
) -> sitk.Transform:
    """Map the template, given as `comparable` makes it, to the crop: scaling, then demons."""
    demons = sitk.DiffeomorphicDemonsRegistrationFilter()
    demons.SetNumberOfIterations(iterations)
    demons.SetStandardDeviations(1.2)
    field = demons.Execute(fixed, warp(comparable(crop.image, crop.labels), scale))
    return sitk.CompositeTransform([scale, sitk.DisplacementFieldTransform(field)])


def resample(crops: list[Crop], transforms: list[sitk.Transform]) -> Population:
    """Bring all crops to the template's grid."""
    images, labels = [], []
    for crop, transform in zip(crops, transforms, strict=True):
        warped = [warp(image, transform) for image in (crop.image, *crop.labels)]
        image, *masks = map(sitk.GetArrayFromImage, warped)
        images.append(image)
        labels.append(masks)
    shapes = [inverse_displacement(transform) for transform in transforms]
    return Population(np.stack(images), np.array(labels), np.stack(shapes))


def unbiased_mean(population: Population) -> sitk.Image:
    """Average the crops and give the average their mean shape; in the form of `comparable`."""
    field = sitk.GetImageFromArray(population.shapes.mean(axis=0).astype(float), isVector=True)
    field.SetSpacing([SHAPE_STEP] * 3)
    field.SetOrigin(ORIGIN_XYZ)
    mean_shape = sitk.DisplacementFieldTransform(field)
    means = (population.images.mean(axis=0), *population.labels.mean(axis=0))
    image, *labels = (warp(to_image(mean, ORIGIN_XYZ), mean_shape) for mean in means)
    return comparable(image, labels)


def comparable(image: sitk.Image, labels: Sequence[sitk.Image]) -> sitk.Image:
    """Add the smoothed labels to the intensity, so that demons align both at once."""
    for label, weight in zip(labels, LABEL_WEIGHTS, strict=True):
        image = image + weight * sitk.DiscreteGaussian(label, 1.0)
    return image


def inverse_displacement(transform: sitk.Transform) -> Array:
    """Invert a transform of the template to a crop by fixed-point iteration.

    Returns:
        Displacement (d, h, w, 3) as in `Population.shapes`.
    """
    size_xyz = [(edge - 1) // SHAPE_STEP + 1 for edge in SHAPE_DHW[::-1]]
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, size_xyz, ORIGIN_XYZ, [SHAPE_STEP] * 3
    )
    forward = np.moveaxis(sitk.GetArrayFromImage(field), -1, 0)
    nodes = np.indices(forward.shape[1:])
    inverse = -forward
    for _ in range(15):
        places = nodes + inverse[::-1] / SHAPE_STEP
        inverse = np.stack(
            [-ndimage.map_coordinates(part, places, order=1, mode="nearest") for part in forward]
        )
    return np.moveaxis(inverse, 0, -1)


def summarise(population: Population, people: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Reduce the population to means, modes and spread, one byte a value.

    ``X`` is in units of ``X_scale``; one scale per mode makes it one standard deviation.
    """
    image = population.images.mean(axis=0)
    residuals = ndimage.gaussian_filter(population.images - image, (0, 0.8, 0.8, 0.8))
    coarse = residuals[:, ::INTENSITY_STEP, ::INTENSITY_STEP, ::INTENSITY_STEP]
    intensity_modes, spread = principal_modes(coarse, people)
    shape_modes, _ = principal_modes(population.shapes - population.shapes.mean(axis=0), people)
    content: dict[str, Any] = {}
    for name, values, dtype in (
        ("image", image, np.uint8),
        ("labels", population.labels.mean(axis=0), np.uint8),
        ("spread", spread, np.uint8),
        ("intensity_modes", intensity_modes, np.int8),
        ("shape_modes", shape_modes, np.int8),
    ):
        scale = np.abs(values).max() / np.iinfo(dtype).max
        content[name] = np.round(values / scale).astype(dtype)
        content[f"{name}_scale"] = np.float32(scale)
    return content


def principal_modes(deviations: Array, people: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Find the main directions of deviation from the mean.

    All deviations count alike, however large they are (spherical principal components, Locantore
    et al., "Robust principal component analysis for functional data", Test 8, 1999): a mode shows
    what many people share, not what one outlier has.

    Args:
        deviations: One per crop (N, ...), with zero mean.
        people: Number of the person of each crop (N,).

    Returns:
        The modes (NUM_MODES, ...), each one standard deviation long, and the standard deviation
        (...) of what they leave.

    Raises:
        SystemExit: One person makes up more than LARGEST_SHARE of a mode.
    """
    flat = deviations.reshape(len(deviations), -1)
    weights, _, directions = np.linalg.svd(
        flat / np.linalg.norm(flat, axis=1, keepdims=True), full_matrices=False
    )
    weights, directions = weights[:, :NUM_MODES], directions[:NUM_MODES]
    shares = [(weights[people == person] ** 2).sum(axis=0) for person in np.unique(people)]
    if np.max(shares) > LARGEST_SHARE:
        raise SystemExit(f"one person makes up {np.max(shares):.0%} of a mode")
    scores = flat @ directions.T
    modes = directions * scores.std(axis=0)[:, None]
    spread = (flat - scores @ directions).std(axis=0)
    shape = deviations.shape[1:]
    return modes.reshape(-1, *shape), spread.reshape(shape)


def warp(image: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """Resample onto the template's grid; places outside the image take its nearest voxel."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(SHAPE_DHW[::-1])
    resampler.SetOutputOrigin(ORIGIN_XYZ)
    resampler.SetTransform(transform)
    resampler.UseNearestNeighborExtrapolatorOn()
    return resampler.Execute(image)


def to_image(array: npt.NDArray[Any], origin_xyz: Array) -> sitk.Image:
    """Make a float32 image with spacing 1 mm and identity direction."""
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetOrigin(origin_xyz.tolist())
    return image


if __name__ == "__main__":
    main()
