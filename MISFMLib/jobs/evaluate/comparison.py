"""One case: two label maps on one grid, compared label by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from MISFMLib.data.case_reading import match_names, plain, without_unlabelled
from MISFMLib.data.volume_checks import neighbours_are_equal
from MISFMLib.errors import DataError
from MISFMLib.jobs.evaluate.pairs import Pair
from MISFMLib.metrics import Agreement, compare_label_maps
from MISFMLib.volumes.dicom_seg import is_dicom_seg, read_dicom_seg
from MISFMLib.volumes.same_grid import placed_on
from MISFMLib.volumes.volume import (
    LabelMap,
    Volume,
    on_grid,
    present_values,
    read_label_map,
    read_segment_names,
)

_MANY = 50
"""Values up to which it is not asked whether a file is a scan."""


@dataclass(frozen=True)
class LabelScore:
    """One label of one case."""

    case: str
    label: str
    agreement: Agreement
    prediction_ml: float
    reference_ml: float


def read_pair(pair: Pair, names: Mapping[int, str]) -> tuple[LabelMap, LabelMap]:
    """Read both label maps of a case on the grid of the reference, with the same numbers.

    Args:
        pair: The files.
        names: Value and name of the labels that the user or the data set gives; may be empty.

    Raises:
        DataError: A file cannot be read, the grids differ by more than the order and sense of the
            axes, or a segment has a name that the reference does not have.
    """
    reference = _read(pair.reference)
    if names:
        reference = match_names(reference, names, pair.reference)
    prediction = _read(pair.prediction)
    if is_dicom_seg(pair.prediction):
        prediction = placed_on(prediction, reference.geometry, str(pair.prediction))
    else:
        if reference.names and reference.array_DHW.size < prediction.array_DHW.size:
            # Slicer may have saved no more of it than the box around its segments.
            reference = placed_on(reference, prediction.geometry, str(pair.reference))
        grid = Volume(reference.array_DHW[np.newaxis], reference.geometry, pair.name)
        prediction = on_grid(prediction, grid, name=str(pair.prediction), whose="reference")
    if names:
        more = surplus(pair, names)
        prediction = _without_surplus(_named(prediction, pair, names, more), more)
    known = names or reference.names
    return (match_names(prediction, known, pair.prediction) if known else prediction), reference


def surplus(pair: Pair, names: Mapping[int, str]) -> list[str]:
    """Return the labels that a prediction may have and the data set has not.

    None where the data set has one that the prediction cannot have: that may be a slip.
    """
    wanted = {plain(name) for name in names.values()}
    of_prediction = dict(pair.model_names) or read_segment_names(pair.prediction)
    more = [name for name in of_prediction.values() if plain(name) not in wanted]
    return more if len(more) + len(wanted) == len(of_prediction) else []


def _named(
    prediction: LabelMap, pair: Pair, names: Mapping[int, str], more: Sequence[str]
) -> LabelMap:
    """Let the model name labels that it numbers otherwise than the data set, or has more of."""
    values = {plain(name): value for value, name in names.items()}
    is_other = any(values.get(plain(name), value) != value for value, name in pair.model_names)
    if prediction.names or not (is_other or more):
        return prediction
    return replace(prediction, names=dict(pair.model_names))


def _without_surplus(prediction: LabelMap, more: Sequence[str]) -> LabelMap:
    """Leave out labels that the data set does not have, so that nobody has drawn them."""
    left_out = [value for value, name in prediction.names.items() if name in more]
    if not left_out:
        return prediction
    lookup = np.arange(int(np.iinfo(prediction.array_DHW.dtype).max) + 1)
    lookup[left_out] = 0
    array_DHW = lookup.astype(prediction.array_DHW.dtype)[prediction.array_DHW]
    return replace(prediction, array_DHW=array_DHW)


def names_of_predictions(pairs: Sequence[Pair]) -> dict[int, str]:
    """Return what the segmentations call their labels; nothing where they contradict each other."""
    found: dict[int, str] = {}
    for pair in pairs:
        names = read_segment_names(pair.prediction)
        if any(found.setdefault(value, name) != name for value, name in names.items()):
            return {}
    return found


def unnamed(value: object) -> str:
    """Return what a label is called that neither side, nor the user, gives a name."""
    return f"label {value}"


def _read(path: Path) -> LabelMap:
    """Read a label map; a scan of integers would be one of hundreds of labels.

    Raises:
        DataError: It cannot be read, or is a scan.
    """
    label_map = read_dicom_seg(path) if is_dicom_seg(path) else read_label_map(path)
    array_DHW = label_map.array_DHW
    if len(present_values(array_DHW)) > _MANY and not neighbours_are_equal(array_DHW):
        raise DataError(
            f"{path} looks like a scan, not like a label map: most neighbours differ.",
            code="no-label-map",
            remedy="Give the label maps, or the folder that holds them alone.",
        )
    return label_map


def compare_pair(pair: Pair, names: Mapping[int, str], tolerance_mm: float) -> list[LabelScore]:
    """Compare all labels of a case that occur on either side.

    Returns:
        A score for each label with a name, and for each that has voxels; none for what nobody has
        labelled in the reference.

    Raises:
        DataError: See `read_pair`.
        DependencyError: SciPy or, for DICOM SEG, highdicom is not installed.
    """
    prediction, reference = read_pair(pair, names)
    known_DHW = without_unlabelled(prediction.array_DHW, reference.array_DHW, pair.unlabelled)
    prediction = replace(prediction, array_DHW=known_DHW)
    known = {**reference.names, **names}
    found = present_values(prediction.array_DHW) | present_values(reference.array_DHW)
    values = sorted({*known, *found} - {0, pair.unlabelled, *pair.not_drawn})
    labels = {value: known.get(value, unnamed(value)) for value in values}
    return score_labels(pair.name, prediction, reference, labels, tolerance_mm)


def score_labels(
    case: str,
    prediction: LabelMap,
    reference: LabelMap,
    labels: Mapping[int, str],
    tolerance_mm: float,
) -> list[LabelScore]:
    """Compare two label maps on one grid, label by label.

    Args:
        case: Name of the case.
        prediction: Labels to judge.
        reference: The right labels, on the same grid.
        labels: Value and name of the labels to compare.
        tolerance_mm: Distance up to which surfaces count as the same.

    Raises:
        DependencyError: SciPy is not installed.
    """
    geometry, arrays = reference.geometry, (prediction.array_DHW, reference.array_DHW)
    found = compare_label_maps(*arrays, labels, geometry.spacing_dhw, tolerance_mm)
    ml = geometry.voxel_volume_mm3 / 1000
    length = max(labels, default=0) + 1
    predicted, right = (np.bincount(array.ravel(), minlength=length) for array in arrays)
    return [
        LabelScore(case, name, found[value], float(predicted[value] * ml), float(right[value] * ml))
        for value, name in labels.items()
    ]
