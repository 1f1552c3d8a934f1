"""One case of a download: read, in the values of the recipe, on the grid of its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.errors import DataError
from MISFMLib.jobs.recipes.catalogue import Recipe
from MISFMLib.jobs.recipes.files import CaseFiles
from MISFMLib.volumes.volume import (
    LabelMap,
    Volume,
    on_grid,
    present_values,
    read_label_map,
    read_volume,
)


def read_recipe_case(
    name: str, files: CaseFiles, recipe: Recipe, structures: Mapping[str, int]
) -> tuple[Volume, LabelMap]:
    """Read a case.

    Args:
        name: Its name.
        files: Its files.
        recipe: The data set.
        structures: Value of each mask.

    Raises:
        DataError: A file is damaged, holds other values than the recipe says, or lies elsewhere.
    """
    volume = read_volume(_image_source(files.images))
    if recipe.layout == "masks":
        label_map = _of_masks(name, volume, files.labels, structures)
    elif recipe.layout == "slices":
        label_map = _of_slices(name, volume, files)
    else:
        label_map = on_grid(read_label_map(files.labels[""]), volume, name=f"{name}: the labels")
    return volume, _in_values(name, label_map, recipe)


def _image_source(images: Sequence[Path]) -> Path:
    """Return the file, or the folder of the slices."""
    folders = {path.parent for path in images}
    if len(images) == 1:
        return images[0]
    if len(folders) > 1:
        raise DataError(
            f"The slices of one case lie in {len(folders)} folders, such as {min(folders)}.",
            code="case-files-repeated",
            remedy="Keep one series for each case.",
        )
    return folders.pop()


def _of_masks(
    name: str, volume: Volume, masks: Mapping[str, Path], structures: Mapping[str, int]
) -> LabelMap:
    """Put masks together; where they overlap, the later structure counts."""
    labels_DHW = np.zeros(volume.geometry.shape_dhw, np.uint8)
    for structure, path in sorted(masks.items(), key=lambda item: structures.get(item[0], 0)):
        if structure not in structures:
            continue
        mask = on_grid(read_label_map(path), volume, name=f"{name}: the mask {path.name}")
        labels_DHW[mask.array_DHW > 0] = structures[structure]
    return LabelMap(labels_DHW, volume.geometry)


def _of_slices(name: str, volume: Volume, files: CaseFiles) -> LabelMap:
    """Stack pictures of labels in the order of the DICOM slices that have their names."""
    planes = []
    for image in volume.dicom_files:
        picture = files.labels.get(image.stem)
        if picture is None:
            raise DataError(
                f"{name}: the slice {image.name} has no picture of labels.",
                code="label-missing",
                remedy="Download the case again.",
            )
        planes.append(_picture(picture))
    labels_DHW = np.stack(planes)
    if labels_DHW.shape != volume.geometry.shape_dhw:
        raise DataError(
            f"{name}: the pictures of labels have {labels_DHW.shape} pixels, the slices "
            f"{volume.geometry.shape_dhw}.",
            code="grid-mismatch",
            remedy="Download the case again.",
        )
    return LabelMap(labels_DHW, volume.geometry)


def _picture(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise DataError(
            f"{path} cannot be read as a picture.",
            code="file-unreadable",
            remedy="Download the case again.",
        ) from error
    grey = array[..., 0] if array.ndim == 3 else array
    return grey.astype(np.uint8)


def _in_values(name: str, label_map: LabelMap, recipe: Recipe) -> LabelMap:
    present = present_values(label_map.array_DHW) - {0}
    known = set(recipe.values) or set(recipe.labels)
    unknown = sorted(present - known) if known else []
    if unknown:
        raise DataError(
            f"{name} holds the values {', '.join(map(str, unknown[:5]))}; "
            f"{recipe.title} has {', '.join(map(str, sorted(known)))}.",
            code="unknown-label",
            remedy="Check that this is the whole, unchanged download.",
        )
    if not recipe.values:
        return label_map
    lookup = np.zeros(int(np.iinfo(label_map.array_DHW.dtype).max) + 1, np.uint8)
    for value, meant in recipe.values.items():
        lookup[value] = meant
    return LabelMap(lookup[label_map.array_DHW], label_map.geometry)
