"""Label maps of a training set, changed where they lie; each stays whole until the new one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import DataError

from .Export import writeLabelMap
from .Transforms import ijkToRas

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def setValues(trainingSet: TrainingSet, case: str, values: Sequence[int], value: int) -> None:
    """Give voxels that hold one of some values another, 0 for none.

    Raises:
        MISFMError: The label map cannot be written.
        RuntimeError: It cannot be read.
    """

    def change(labels: np.ndarray, _node: Any) -> None:
        labels[np.isin(labels, values)] = value

    _change(trainingSet, case, change)


def removeVoxels(trainingSet: TrainingSet, case: str, positions: Sequence[Sequence[float]]) -> None:
    """Take the label from the voxels at some places.

    Args:
        trainingSet: The set.
        case: One of its cases.
        positions: Places in mm, LPS.

    Raises:
        MISFMError: The label map cannot be written.
        RuntimeError: It cannot be read.
    """

    def change(labels: np.ndarray, node: Any) -> None:
        toIjk = np.linalg.inv(ijkToRas(node))
        ras = np.asarray(positions) * _LPS_TO_RAS
        ijk = np.rint(ras @ toIjk[:3, :3].T + toIjk[:3, 3]).astype(int)
        isInside = np.all((ijk >= 0) & (ijk < labels.shape[::-1]), axis=1)
        labels[tuple(ijk[isInside].T[::-1])] = 0

    _change(trainingSet, case, change)


def resampleToImage(trainingSet: TrainingSet, case: str) -> None:
    """Bring the label map of a case onto the grid of its image.

    A voxel gets the label of the voxel whose centre is nearest to its own, and none outside.

    Raises:
        MISFMError: The label map cannot be written.
        RuntimeError: A file cannot be read.
    """
    row = trainingSet.case(case)
    image = slicer.util.loadVolume(str(trainingSet.images(case)[0]), {"show": False})
    labels = None
    try:
        labels = slicer.util.loadLabelVolume(str(trainingSet.label_map(case)), {"show": False})
        toLabels = np.linalg.inv(ijkToRas(labels)) @ ijkToRas(image)
        shape = slicer.util.arrayFromVolume(image).shape
        resampled = _small(_nearest(slicer.util.arrayFromVolume(labels), toLabels, shape))
        trainingSet.save_labels(
            case, lambda file: writeLabelMap(resampled, image, file), status=row.status
        )
    finally:
        for node in (image, labels):
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)


def takeOut(trainingSet: TrainingSet, values: Sequence[int]) -> None:
    """Take labels out of a set that no case has, also none that is left out.

    Raises:
        DataError: A case has voxels of one.
        RuntimeError: A label map cannot be read.
    """
    for row in trainingSet.cases():
        if trainingSet.label_map(row.name).exists():
            with _labelsOf(trainingSet, row.name) as node:
                if np.isin(slicer.util.arrayFromVolume(node), values).any():
                    raise DataError(
                        _("{case} has voxels of this label.").format(case=row.name),
                        code="label-in-use",
                        remedy=_("Open the case, remove them, and press Done."),
                    )
    trainingSet.set_labels([each for each in trainingSet.labels if each.value not in values])


def _nearest(voxels: np.ndarray, toVoxels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Take the nearest of some voxels (k, j, i) at each place of a grid, 0 beyond them.

    Args:
        voxels: Labels.
        toVoxels: From i, j, k of the grid to theirs.
        shape: Of the grid: k, j, i.
    """
    taken = np.zeros(shape, voxels.dtype)
    j, i = np.mgrid[: shape[1], : shape[2]]
    for k in range(shape[0]):
        places = np.einsum("ac,cji->aji", toVoxels[:3, :2], np.stack([i, j]))
        places += (toVoxels[:3, 2] * k + toVoxels[:3, 3])[:, None, None]
        index = np.rint(places[::-1]).astype(int)
        sizes = np.reshape(voxels.shape, (3, 1, 1))
        isInside = ((index >= 0) & (index < sizes)).all(axis=0)
        taken[k][isInside] = voxels[tuple(index[:, isInside])]
    return taken


def _small(labels: np.ndarray) -> np.ndarray:
    """Return labels as uint8 where that holds them all; others stay what they are, to be told."""
    with np.errstate(invalid="ignore"):
        small = labels.astype(np.uint8)
    return small if np.array_equal(small, labels) else labels


@contextmanager
def _labelsOf(trainingSet: TrainingSet, case: str) -> Iterator[Any]:
    """Load the label map of a case for the block."""
    path = trainingSet.label_map(case)
    node = slicer.util.loadLabelVolume(str(path), {"show": False})
    try:
        yield node
    finally:
        slicer.mrmlScene.RemoveNode(node)


def _change(trainingSet: TrainingSet, case: str, change: Callable[[np.ndarray, Any], None]) -> None:
    row = trainingSet.case(case)
    with _labelsOf(trainingSet, case) as node:
        labels = slicer.util.arrayFromVolume(node).copy()
        change(labels, node)
        written = _small(labels)
        trainingSet.save_labels(
            case, lambda file: writeLabelMap(written, node, file), status=row.status
        )
