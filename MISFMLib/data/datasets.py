"""Training patches: prepared cases on disk, and samples that depend on seed, step and index alone.

Prepared cases are memory-mapped arrays, so that a crop is read without reading the volume and the
operating system keeps in memory what fits. Since a sample depends on nothing that came before, a
training that was stopped goes on with exactly the samples it would have seen.

Axes: C channel, D depth, H height, W width, B batch.
"""

from __future__ import annotations

import contextlib
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MISFMLib.configs import Padding, PreprocessingConfig, Size
from MISFMLib.data.augmentation import Augmentation
from MISFMLib.data.case_reading import read_case
from MISFMLib.data.cases import Case
from MISFMLib.data.crops import crop
from MISFMLib.data.preprocessing import prepare_label_map, prepare_volume
from MISFMLib.errors import DataError
from MISFMLib.files import parse_json, read_text, write_json, written_atomically
from MISFMLib.volumes.formats.text_headers import data_files

_CENTRES_PER_CLASS = 1000
_LARGEST = float(np.finfo(np.float16).max)
"""Beyond it float16 is infinite; native intensities, as some models want them, may be larger."""
_MOST_CLASSES = 256
UNLABELLED = 255
"""Class index of voxels that nobody labelled; no loss and no score looks at them."""
_IMAGE, _LABEL, _CENTRES = "image.npy", "label.npy", "centres.npz"
_SOURCE = "source.json"


@dataclass(frozen=True)
class Batch:
    """What a network learns from in one step."""

    image_BCDHW: torch.Tensor
    """Network input, float32."""
    label_BDHW: torch.Tensor
    """Class of every voxel, int64, 255 where nobody labelled; pretext tasks put their own kind of
    target here."""
    not_drawn_BK: torch.Tensor | None = None
    """Whether a class was not drawn in the case of a sample, bool for 256 classes: what is
    background there may be of that class. None when all classes are drawn in all cases."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        not_drawn_BK = None if self.not_drawn_BK is None else self.not_drawn_BK.to(device)
        return Batch(self.image_BCDHW.to(device), self.label_BDHW.to(device), not_drawn_BK)


# ---------------------------------------------------------------------------------- prepared cases


@dataclass(frozen=True)
class PreparedCase:
    """One case in model space, kept in a folder; each call opens its file, since there are many."""

    name: str
    folder: Path
    not_drawn: tuple[int, ...] = ()
    """Class indices that nobody has drawn in the case."""

    def image(self) -> np.ndarray:
        """Map the network input (C, D, H, W): float16, finer than any scanner's noise."""
        image_CDHW: np.ndarray = np.load(self.folder / _IMAGE, mmap_mode="r")
        return image_CDHW

    def label(self) -> np.ndarray:
        """Map the class indices (D, H, W), uint8; 255 where nobody labelled."""
        label_DHW: np.ndarray = np.load(self.folder / _LABEL, mmap_mode="r")
        return label_DHW

    def centres(self) -> list[np.ndarray]:
        """Return for every class in the case up to 1000 of its voxels, as rows (d, h, w)."""
        with np.load(self.folder / _CENTRES) as of_classes:
            return list(of_classes.values())

    def classes(self) -> set[int]:
        """Return the classes that the case has voxels of."""
        label_DHW = self.label()
        present = {int(label_DHW[tuple(rows[0])]) for rows in self.centres()}
        return present - set(self.not_drawn)


def prepare_case(
    case: Case, preprocessing: PreprocessingConfig, label_values: Sequence[int], folder: Path
) -> PreparedCase:
    """Bring a case into model space and keep it in a folder, unless it is there already.

    Args:
        case: Files of the case.
        preprocessing: The model space.
        label_values: Value in the label maps of class 1, 2, ...
        folder: Where the arrays of all cases are kept.

    Raises:
        DataError: The case cannot be read, or none of its labels is left in model space.
    """
    target = folder / case.name
    if not is_whole(target):
        source = _source(case)
        shutil.rmtree(target, ignore_errors=True)  # cut short by a fault of the disk
        volume, label_map = read_case(case)
        prepared = prepare_volume(volume, preprocessing)
        values_DHW = prepare_label_map(label_map, prepared.record).numpy()
        label_DHW = _class_indices(values_DHW, label_values, case.unlabelled)
        if np.isin(label_map.array_DHW, label_values).any():
            _check_left(label_DHW, case.name)
        with written_atomically(target) as temporary:
            temporary.mkdir()
            image_CDHW = prepared.image_CDHW.clamp(-_LARGEST, _LARGEST).numpy()
            np.save(temporary / _IMAGE, image_CDHW.astype(np.float16))
            np.save(temporary / _LABEL, label_DHW)
            np.savez(temporary / _CENTRES, *_centres(label_DHW))
            write_json(temporary / _SOURCE, source)
    classes = {value: index for index, value in enumerate(label_values, start=1)}
    not_drawn = tuple(classes[value] for value in case.not_drawn if value in classes)
    return PreparedCase(case.name, target, not_drawn)


def drop_changed(cases: Iterable[Case], folder: Path) -> list[str]:
    """Remove prepared cases whose files were changed since, so that they are prepared anew.

    Args:
        cases: Files of the cases.
        folder: Where the arrays of all cases are kept, and nobody uses them.

    Returns:
        Their names.
    """
    changed = other_files(cases, folder, parts=3)
    for name in changed:
        shutil.rmtree(folder / name)
    return changed


def other_files(cases: Iterable[Case], folder: Path, parts: int = 2) -> list[str]:
    """Return the names of prepared cases made from files of other names, sizes or, of 3, times."""
    others = []
    for case in cases:
        with contextlib.suppress(OSError, ValueError):
            before = parse_json(read_text(folder / case.name / _SOURCE))
            if [file[:parts] for file in before] != [file[:parts] for file in _source(case)]:
                others.append(case.name)
    return others


def _source(case: Case) -> list[list[Any]]:
    """Return what changes when somebody writes the files of a case."""
    paths = [*case.images, case.label]
    files = [
        file for path in paths for file in (path, *data_files(path), *sorted(path.glob("**/*")))
    ]
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def is_whole(folder: Path) -> bool:
    """Tell whether all arrays of a prepared case are there with all that their headers name."""
    try:
        image_CDHW = np.load(folder / _IMAGE, mmap_mode="r")
        label_DHW = np.load(folder / _LABEL, mmap_mode="r")
        PreparedCase(folder.name, folder).centres()
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return False
    return bool(image_CDHW.shape[1:] == label_DHW.shape)


def _class_indices(
    label_DHW: np.ndarray, label_values: Sequence[int], unlabelled: int | None
) -> np.ndarray:
    classes = np.zeros(256, np.uint8)
    if unlabelled is not None:
        classes[unlabelled] = UNLABELLED
    classes[list(label_values)] = np.arange(1, len(label_values) + 1)
    indices: np.ndarray = classes[label_DHW]
    return indices


def _check_left(label_DHW: np.ndarray, name: str) -> None:
    if not ((label_DHW > 0) & (label_DHW != UNLABELLED)).any():
        raise DataError(
            f"{name} has no labelled voxel left at the training's voxel size.",
            code="label-map-empty",
            remedy="Leave the case out, or train at a smaller voxel size with --spacing-dhw.",
        )


def _centres(label_DHW: np.ndarray) -> list[np.ndarray]:
    """Choose voxels of every class that is present, evenly spread over the class."""
    rows = []
    for class_index in np.setdiff1d(label_DHW, (0, UNLABELLED)):
        positions = np.flatnonzero(label_DHW == class_index)
        count = min(len(positions), _CENTRES_PER_CLASS)
        chosen = positions[np.linspace(0, len(positions) - 1, count).astype(np.int64)]
        rows.append(np.stack(np.unravel_index(chosen, label_DHW.shape), axis=1).astype(np.int32))
    return rows


# ----------------------------------------------------------------------------------------- patches


@dataclass(frozen=True, kw_only=True)
class PatchSource:
    """Draws augmented training patches; the same seed, step and index give the same patch."""

    cases: Sequence[PreparedCase]
    patch_size: Size
    batch_size: int
    """Patches per step over all processes; needed to visit every case equally often."""
    foreground_share: float
    """Part of the patches that is centred on a labelled voxel, of any class equally often."""
    augmentation: Augmentation
    seed: int
    padding: Padding = "edge"
    """What lies around a volume that is smaller than the patch."""

    def batch(self, step: int, indices: Iterable[int]) -> Batch:
        """Return some patches of a step.

        Args:
            step: Optimizer step, from 0.
            indices: Which patches of the step, each 0 to batch_size - 1.
        """
        indices = list(indices)
        samples = [self.sample(step, index) for index in indices]
        return Batch(
            torch.stack([image_CDHW for image_CDHW, _ in samples]),
            torch.stack([label_DHW for _, label_DHW in samples]),
            self._not_drawn(step, indices),
        )

    def labels(self, step: int, indices: Iterable[int]) -> torch.Tensor:
        """Return the labels (B, d, h, w) of these patches alone, in a part of the time."""
        changed = []
        for case, start, size, seed in (self._chosen(step, index) for index in indices):
            label_DHW = crop(case.label(), start, size, self.padding)
            changed.append(self.augmentation.label(torch.from_numpy(label_DHW), seed))
        return torch.stack(changed)

    def _not_drawn(self, step: int, indices: Sequence[int]) -> torch.Tensor | None:
        if not any(case.not_drawn for case in self.cases):  # of all cases: alike in all processes
            return None
        not_drawn_BK = torch.zeros(len(indices), _MOST_CLASSES, dtype=torch.bool)
        for row, index in enumerate(indices):
            not_drawn_BK[row, list(self._case(step * self.batch_size + index).not_drawn)] = True
        return not_drawn_BK

    def sample(self, step: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one patch: image (C, d, h, w) float32 and label (d, h, w) int64."""
        case, start, size, seed = self._chosen(step, index)
        image_CDHW = crop(case.image(), start, size, self.padding).astype(np.float32)
        label_DHW = crop(case.label(), start, size, self.padding)
        return self.augmentation(torch.from_numpy(image_CDHW), torch.from_numpy(label_DHW), seed)

    def _chosen(self, step: int, index: int) -> tuple[PreparedCase, np.ndarray, np.ndarray, int]:
        """Choose the case of a patch, its first voxel and size there, and the seed of changes."""
        rng = np.random.default_rng((self.seed, step, index))
        case = self._case(step * self.batch_size + index)
        margin = self.augmentation.margin
        start = np.subtract(self._start(case, case.label().shape, rng), margin)
        size = np.add(self.patch_size, np.multiply(margin, 2))
        return case, start, size, int(rng.integers(2**31))

    def _case(self, number: int) -> PreparedCase:
        """Return the case of a patch, counted over the training: all cases, shuffled each round."""
        epoch, position = divmod(number, len(self.cases))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.cases))
        return self.cases[int(order[position])]

    def _start(
        self, case: PreparedCase, shape: tuple[int, ...], rng: np.random.Generator
    ) -> np.ndarray:
        """Choose where the patch begins; volumes smaller than it lie anywhere inside it."""
        surplus = np.subtract(shape, self.patch_size)
        lowest, highest = np.minimum(surplus, 0), np.maximum(surplus, 0)
        if rng.random() >= self.foreground_share:
            return rng.integers(lowest, highest + 1)
        of_classes = case.centres()
        if not of_classes:  # a healthy case
            return rng.integers(lowest, highest + 1)
        of_class = of_classes[rng.integers(len(of_classes))]
        centred: np.ndarray = of_class[rng.integers(len(of_class))] - np.array(self.patch_size) // 2
        return centred.clip(lowest, highest)
