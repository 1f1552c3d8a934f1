"""A volume with its segmentation, from the scene into a training set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.annotation.labels import check_known, match_labels, new_label
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.configs import LabelConfig
from MISFMLib.errors import DataError

from .Channels import caseName, writeChannel
from .Export import writeLabelMap
from .Masks import labelArray, liesOnGrid
from .Segmentations import referenceVolume, segmentationOf
from .TrainingCases import CASE_FILE, segmentColour, segmentNames
from .Transforms import checkTransforms

NEW, LEAVE_OUT = "new", "leave out"
"""What a segment can be besides the value of a label: a new label of the set, or nothing."""


def addCase(
    trainingSet: TrainingSet, volumes: Sequence[Any], segmentation: Any, chosen: Mapping[str, Any]
) -> CaseRow:
    """Add a labelled case; what is refused changes nothing.

    A label of the set that has no segment counts as not drawn, one with an empty segment as absent.

    Args:
        trainingSet: The set.
        volumes: A volume node for each channel of the set; all are written on the first one's grid.
        segmentation: The segmentation node.
        chosen: Segment ID to the value of a label, `NEW` or `LEAVE_OUT`.

    Raises:
        MISFMError: Segments overlap, a volume is bent, or a file cannot be written.
    """
    first = volumes[0]
    checkTransforms([first])
    labels, values = _withNewLabels(trainingSet.labels, segmentation, chosen)
    array = labelArray(segmentation, first, values)  # before: it may refuse the case

    def writeLabels(path: Path) -> None:
        writeLabelMap(array, first, path)
        check_known(trainingSet.labels, labels)

    name = trainingSet.free_name(caseName([volume.GetName() for volume in volumes]))
    trainingSet.add_case(
        name,
        *(partial(writeChannel, volume, first) for volume in volumes),
        write_labels=writeLabels,
    )
    missing = _notDrawn(labels, values)
    return trainingSet.take_up(name, labels=labels, not_drawn=missing)


def replaceLabels(
    trainingSet: TrainingSet, case: str, volume: Any, segmentation: Any, chosen: Mapping[str, Any]
) -> CaseRow:
    """Give a case the labels of a segmentation, as `addCase` does; what is refused changes nothing.

    Args:
        trainingSet: The set.
        case: Its case of `caseWithImage`.
        volume: The volume, whose voxels and grid are those of the case.
        segmentation: The segmentation node.
        chosen: Segment ID to the value of a label, `NEW` or `LEAVE_OUT`.

    Raises:
        MISFMError: Segments overlap, or a file cannot be written.
    """
    labels, values = _withNewLabels(trainingSet.labels, segmentation, chosen)
    array = labelArray(segmentation, volume, values)
    return trainingSet.save_labels(
        case,
        lambda path: writeLabelMap(array, volume, path),
        labels=labels,
        not_drawn=_notDrawn(labels, values),
    )


def caseOf(trainingSet: TrainingSet, volume: Any) -> str:
    """Return the case of a set that a volume was opened from; empty for one from elsewhere."""
    storage = volume.GetStorageNode()
    loaded = storage.GetFileName() if storage is not None else None
    path = Path(volume.GetAttribute(CASE_FILE) or loaded or "")
    if path.parent.parent != trainingSet.folder:
        return ""
    names = [row.name for row in trainingSet.cases()]
    files = ((name, {image.name for image in trainingSet.images(name)}) for name in names)
    return next((name for name, images in files if path.name in images), "")


def segmentationToAdd(volume: Any) -> Any:
    """Return the segmentation of a volume; None when there is none, or no telling which it is.

    One that was loaded from a file names no volume, and Segment Editor does not change that: it is
    taken when it alone is shown where the volume is, or alone lies on the volume's grid.
    """
    named = segmentationOf(volume)
    if named is not None or volume is None or volume.GetImageData() is None:
        return named
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    loaded = [node for node in nodes if referenceVolume(node) is None and _isShown(node, volume)]
    onGrid = [node for node in loaded if liesOnGrid(node, volume)]
    return next((found[0] for found in (loaded, onGrid) if len(found) == 1), None)


def _isShown(segmentation: Any, volume: Any) -> bool:
    """Tell whether a segmentation is visible and has something where a volume is."""
    display, ours, theirs = segmentation.GetDisplayNode(), [0.0] * 6, [0.0] * 6
    segmentation.GetRASBounds(ours)
    volume.GetRASBounds(theirs)
    isThere = all(
        max(ours[axis], theirs[axis]) <= min(ours[axis + 1], theirs[axis + 1]) for axis in (0, 2, 4)
    )
    return isThere and (display is None or bool(display.GetVisibility()))


def addAllOfScene(trainingSet: TrainingSet) -> None:
    """Add every volume of the scene that has a segmentation; names of segments are the labels.

    Raises:
        DataError: There is none.
    """
    volumes = [
        volume
        for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if volume.GetImageData() is not None and segmentationOf(volume) is not None
    ]
    if not volumes:
        raise DataError(
            _("The scene holds no volume with a segmentation of it."),
            code="no-segmentation",
            remedy=_("Give a scene with volumes and segmentations, or a data set."),
        )
    for volume in volumes:
        segmentation = segmentationOf(volume)
        names = segmentNames(segmentation)
        known = match_labels(names.values(), trainingSet.labels).values
        chosen = {key: known.get(name, NEW) for key, name in names.items()}
        addCase(trainingSet, [volume], segmentation, chosen)


def _notDrawn(labels: Sequence[LabelConfig], values: Mapping[str, int]) -> tuple[str, ...]:
    drawn = set(values.values())
    return tuple(label.name for label in labels if label.value not in drawn)


def _withNewLabels(
    labels: tuple[LabelConfig, ...], segmentation: Any, chosen: Mapping[str, Any]
) -> tuple[tuple[LabelConfig, ...], dict[str, int]]:
    """Return the labels of the set with those that are new, and the value of every segment."""
    values, names = {}, segmentNames(segmentation)
    for key, choice in chosen.items():
        if choice == NEW:
            label = new_label(names[key], labels, segmentColour(segmentation, key))
            labels, choice = (*labels, label), label.value
        if choice != LEAVE_OUT:
            values[key] = choice
    return labels, values
