"""What is in the cases of a data set, and everything that would spoil a training, found before it.

Every case is read once. All problems come in one error, since a user wants to mend them in one go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from MISFMLib.configs import Size, Spacing
from MISFMLib.data.cases import Case, LabelledSet, Split
from MISFMLib.data.spatial import canonical_axes
from MISFMLib.errors import DataError
from MISFMLib.volumes.volume import LabelMap, Volume, check_same_grid, read_label_map, read_volume

_FOREGROUND_SAMPLES = 2000
_PROBLEMS_SHOWN = 20
_LARGEST_VALUE = 255
"""Prepared label maps are kept as 8-bit numbers."""


@dataclass(frozen=True, kw_only=True)
class CaseFacts:
    """What a training plan needs to know of one case."""

    name: str
    shape_dhw: Size
    """Voxels along the axes LPS: depth is inferior-superior, width right-left."""
    spacing_dhw: Spacing
    """Voxel size in mm in the same order."""
    modality: str
    """As the file says: CT, MR, or empty."""
    intensity_range: tuple[float, float]
    """Smallest and largest intensity of the first channel."""
    label_values: tuple[int, ...]
    """Foreground values in the label map."""
    foreground_samples: np.ndarray
    """Intensities (C, n) of up to 2000 labelled voxels."""
    image_digest: str
    """Digest of the intensities; equal for copies of one image."""
    label_digest: str
    """Digest of the label map."""


def examine_cases(
    found: LabelledSet, split: Split, on_case: Callable[[int], None] = lambda _index: None
) -> dict[str, CaseFacts]:
    """Read every case of the split once and check it.

    Args:
        found: The data set.
        split: Which cases to read, and for what.
        on_case: Called with the number of cases read so far.

    Returns:
        Facts by case name, in the order of the split.

    Raises:
        DataError: Label maps are empty, unreadable, on another grid than their image or hold
            values without a name; a class occurs in no training case; training and validation
            share an image or label map. All problems are named.
    """
    cases = {case.name: case for case in found.cases}
    facts: dict[str, CaseFacts] = {}
    problems: list[str] = []
    for index, name in enumerate((*split.train, *split.validation), start=1):
        try:
            facts[name] = examine_case(cases[name], found.label_names)
        except DataError as error:
            problems.append(f"{name}: {error.message}")
        on_case(index)
    if not problems:
        problems = [*_missing_classes(facts, found, split), *_shared_content(facts, split)]
    _raise_problems(problems)
    return facts


def examine_case(case: Case, label_names: Mapping[int, str]) -> CaseFacts:
    """Read one case and check that image and label map fit together.

    Args:
        case: Files of the case.
        label_names: Allowed foreground values; empty allows any.

    Raises:
        DataError: A file cannot be read, the grids differ, or the label map is empty or holds
            values that are not allowed.
    """
    volume = read_volume(case.images)
    label_map = read_label_map(
        case.label, allowed_values={0, *label_names} if label_names else None
    )
    check_same_grid(volume, label_map)
    label_values = tuple(int(value) for value in np.unique(label_map.array_DHW) if value)
    if not label_values or label_values[-1] > _LARGEST_VALUE:
        found = f"goes up to {label_values[-1]}" if label_values else "is empty"
        raise DataError(
            f"the label map {found}, values from 1 to {_LARGEST_VALUE} were expected.",
            code="label-values",
            remedy="Label the case or leave it out; give structures smaller numbers.",
        )
    axes, _flips = canonical_axes(volume.geometry.direction, "LPS")
    shape, spacing = volume.geometry.shape_dhw, volume.geometry.spacing_dhw
    first_channel = volume.array_CDHW[0]
    return CaseFacts(
        name=case.name,
        shape_dhw=(shape[axes[0]], shape[axes[1]], shape[axes[2]]),
        spacing_dhw=(spacing[axes[0]], spacing[axes[1]], spacing[axes[2]]),
        modality=volume.modality,
        intensity_range=(float(first_channel.min()), float(first_channel.max())),
        label_values=label_values,
        foreground_samples=_foreground_samples(volume, label_map),
        image_digest=_digest(volume.array_CDHW),
        label_digest=_digest(label_map.array_DHW),
    )


def _foreground_samples(volume: Volume, label_map: LabelMap) -> np.ndarray:
    positions = np.flatnonzero(label_map.array_DHW)
    step = max(1, len(positions) // _FOREGROUND_SAMPLES)
    channels = volume.array_CDHW.reshape(len(volume.array_CDHW), -1)
    return channels[:, positions[::step][:_FOREGROUND_SAMPLES]].astype(np.float32)


def _digest(array: np.ndarray) -> str:
    digest = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _missing_classes(
    facts: Mapping[str, CaseFacts], found: LabelledSet, split: Split
) -> Iterable[str]:
    in_training = {value for name in split.train for value in facts[name].label_values}
    everywhere = {value for fact in facts.values() for value in fact.label_values}
    for value in sorted(({*found.label_names} | everywhere) - in_training):
        name = found.label_names.get(value, "unnamed")
        yield f"label {value} ({name}) occurs in no training case"


def _shared_content(facts: Mapping[str, CaseFacts], split: Split) -> Iterable[str]:
    for what in ("image", "label map"):
        trained = {_digest_of(facts[name], what): name for name in split.train}
        for name in split.validation:
            twin = trained.get(_digest_of(facts[name], what))
            if twin:
                yield f"{name} (validation) has the same {what} as {twin} (train)"


def _digest_of(fact: CaseFacts, what: str) -> str:
    return fact.image_digest if what == "image" else fact.label_digest


def _raise_problems(problems: Sequence[str]) -> None:
    if not problems:
        return
    shown = [f"- {problem}" for problem in problems[:_PROBLEMS_SHOWN]]
    if len(problems) > _PROBLEMS_SHOWN:
        shown.append(f"- and {len(problems) - _PROBLEMS_SHOWN} more")
    raise DataError(
        "The data set cannot be trained on:\n" + "\n".join(shown) + "\n",
        code="labels-unusable",
        remedy="Correct these cases or leave them out; nothing was trained.",
    )
