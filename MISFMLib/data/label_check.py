"""What is in the cases of a data set, and everything that would spoil a training, found before it.

Every case is read once. All problems come in one error, since a user wants to mend them in one go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np

from MISFMLib.configs import Size, Spacing
from MISFMLib.data.case_reading import read_case, without_unlabelled
from MISFMLib.data.cases import Case, LabelledSet, Split, listed
from MISFMLib.data.label_sides import LabelSide, label_sides
from MISFMLib.data.spatial import canonical_axes
from MISFMLib.errors import DataError
from MISFMLib.models.bundle_manifest import RESULTS_OF_ALL
from MISFMLib.volumes.volume import LabelMap, Volume, present_values
from MISFMLib.volumes.volume_types import numbers

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
    stored_axes: Size = (0, 1, 2)
    """Which of these axes each one of the file is."""
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
    """Digest of the label map; empty for an empty one, which healthy cases share."""
    sides: Mapping[int, LabelSide] = field(default_factory=dict)
    """Where each label lies."""


@dataclass(frozen=True)
class Problem:
    """One thing that would spoil a training."""

    case: str
    """Where; empty when it is about the whole data set."""
    code: str
    """Short stable name of the cause."""
    message: str
    """What was found, with an example, and what was expected."""
    remedy: str
    """What to do about this one."""
    cases: tuple[str, ...] = ()
    """Cases that have to do with it, where `case` is empty: to leave out, or to move."""
    values: tuple[int, ...] = ()
    """Label values that it is about."""
    positions_xyz: tuple[tuple[float, float, float], ...] = ()
    """Where, in mm: one place to look at, or all voxels that would be removed."""

    def text(self) -> str:
        """Return where and what in a line."""
        return f"{self.case}: {self.message}" if self.case else self.message


def examine_cases(
    found: LabelledSet, names: Sequence[str], on_case: Callable[[int], None] = lambda _index: None
) -> dict[str, CaseFacts]:
    """Read cases once and check each.

    Args:
        found: The data set.
        names: Which cases to read.
        on_case: Called with the number of cases read so far.

    Returns:
        Facts by case name, in the order of the names.

    Raises:
        DataError: Label maps are unreadable, on another grid than their image or hold values
            without a name. All problems are named, each with its remedy.
    """
    facts, problems = try_cases(found, names, on_case)
    raise_problems(problems)
    return facts


def try_cases(
    found: LabelledSet, names: Sequence[str], on_case: Callable[[int], None] = lambda _index: None
) -> tuple[dict[str, CaseFacts], list[Problem]]:
    """Read cases once; return facts by case name, and what is wrong with the other cases."""
    cases = {case.name: case for case in found.cases}
    facts: dict[str, CaseFacts] = {}
    problems: list[Problem] = []
    for index, name in enumerate(names, start=1):
        try:
            facts[name] = examine_case(cases[name])
        except DataError as error:
            message = error.message.removeprefix(f"{name}: ")
            where = error.details[0] if error.details else {}
            problems.append(Problem(name, error.code, message, error.remedy, **where))
        on_case(index)
    return facts, problems


def check_parts(facts: Mapping[str, CaseFacts], found: LabelledSet, split: Split) -> None:
    """Check that the two parts of a split can teach and judge.

    Raises:
        DataError: A class occurs in no training case, two labels have one name or one has none, or
            training and validation share an image or label map. All problems are named.
    """
    raise_problems(
        [
            *_unusable_names(found.label_names),
            *_missing_classes(facts, found, split),
            *_shared_content(facts, split),
        ]
    )


def examine_case(case: Case) -> CaseFacts:
    """Read one case and check that image and label map fit together.

    Args:
        case: Files of the case; its label names are the values that are allowed, none allow any.

    Raises:
        DataError: A file cannot be read, the grids differ, or the label map holds values that are
            not allowed. An empty one is allowed: the case is healthy.
    """
    volume, label_map = read_case(case)
    label_values = tuple(sorted(present_values(label_map.array_DHW) - {0, case.unlabelled}))
    _check_values(label_values, label_map, case.label_names)
    axes, _flips = canonical_axes(volume.geometry.direction, "LPS")
    shape, spacing = volume.geometry.shape_dhw, volume.geometry.spacing_dhw
    first_channel = volume.array_CDHW[0]
    return CaseFacts(
        name=case.name,
        shape_dhw=(shape[axes[0]], shape[axes[1]], shape[axes[2]]),
        spacing_dhw=(spacing[axes[0]], spacing[axes[1]], spacing[axes[2]]),
        stored_axes=(axes.index(0), axes.index(1), axes.index(2)),
        modality=volume.modality,
        intensity_range=(float(first_channel.min()), float(first_channel.max())),
        label_values=label_values,
        foreground_samples=_foreground_samples(volume, label_map, case.unlabelled),
        sides=label_sides(label_map, label_values),
        image_digest=_digest(volume.array_CDHW),
        label_digest=_digest(label_map.array_DHW) if label_values else "",
    )


def _check_values(
    values: Sequence[int], label_map: LabelMap, label_names: Mapping[int, str]
) -> None:
    allowed = set(label_names) or set(range(1, _LARGEST_VALUE + 1))
    wrong = [value for value in values if value not in allowed or value > _LARGEST_VALUE]
    if not wrong:
        return
    position = partial(position_of, label_map)
    example = np.argwhere(label_map.array_DHW == wrong[0])
    place = numbers(position(example[0]))
    if label_names and wrong[0] <= _LARGEST_VALUE:
        names = ", ".join(f"{value} {name}" for value, name in label_names.items())
        expected = f"the data set names {names}"
        remedy = "Correct the label map, or name the label (--labels, labels.json, dataset.json)."
    else:
        expected = f"values from 1 to {_LARGEST_VALUE} were expected"
        remedy = "Give the structures smaller numbers."
    raise DataError(
        f"the label map holds {', '.join(map(str, wrong[:10]))}; {expected}. For example "
        f"{len(example)} voxels hold {wrong[0]}, one at {place} mm (LPS).",
        code="label-values",
        remedy=remedy,
        details=[{"values": tuple(map(int, wrong)), "positions_xyz": (position(example[0]),)}],
    )


def position_of(label_map: LabelMap, index_dhw: np.ndarray) -> tuple[float, float, float]:
    """Return where a voxel is, in mm."""
    d, h, w = map(float, index_dhw)
    x, y, z = (round(float(mm), 4) for mm in label_map.geometry.position_xyz((d, h, w)))
    return x, y, z


def _foreground_samples(volume: Volume, label_map: LabelMap, unlabelled: int | None) -> np.ndarray:
    array_DHW = label_map.array_DHW
    positions = np.flatnonzero(without_unlabelled(array_DHW, array_DHW, unlabelled))
    step = max(1, len(positions) // _FOREGROUND_SAMPLES)
    channels = volume.array_CDHW.reshape(len(volume.array_CDHW), -1)
    return channels[:, positions[::step][:_FOREGROUND_SAMPLES]].astype(np.float32)


def _digest(array: np.ndarray) -> str:
    digest = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _unusable_names(label_names: Mapping[int, str]) -> Iterable[Problem]:
    """Find what a model would refuse in the end, since its labels go by their names."""
    values_of: dict[str, list[int]] = {}
    for value, name in label_names.items():
        values_of.setdefault(name.strip(), []).append(value)
    remedy = "Give each its own name (--labels, labels.json, dataset.json), or both one value."
    for name, values in values_of.items():
        message = f"the labels {listed(values)} are all named {name}"
        if not name:
            message = f"the label {listed(values)} has no name"
        if name in RESULTS_OF_ALL:
            message = f"the label {listed(values)} is named {name}, as a line of the results is"
        if not name or len(values) > 1 or name in RESULTS_OF_ALL:
            yield Problem("", "label-names", message, remedy, values=tuple(values))


def _missing_classes(
    facts: Mapping[str, CaseFacts], found: LabelledSet, split: Split
) -> Iterable[Problem]:
    in_training = {value for name in split.train for value in facts[name].label_values}
    everywhere = {value for fact in facts.values() for value in fact.label_values}
    # A segment or mask that is empty in all cases is none of the labels.
    expected = everywhere if found.names_of_segments else {*found.label_names} | everywhere
    if not expected:
        yield Problem(
            "",
            "label-maps-empty",
            f"none of the {len(facts)} label maps holds a label",
            "Label at least one case.",
        )
    for value in sorted(expected - in_training):
        name = found.label_names.get(value, "unnamed")
        held_out = [case for case in split.validation if value in facts[case].label_values]
        where = f", but in the held-out {listed(held_out)}" if held_out else " nor in any other"
        remedy = (
            "Move one of them to the training part with --split."
            if held_out
            else "Label it in a training case, or take its name out of the data set's description."
        )
        message = f"label {value} ({name}) occurs in no training case{where}"
        yield Problem(
            "", "label-not-trained", message, remedy, cases=tuple(held_out), values=(value,)
        )


def _shared_content(facts: Mapping[str, CaseFacts], split: Split) -> Iterable[Problem]:
    for what in ("image", "label map"):
        trained = {_digest_of(facts[name], what): name for name in split.train}
        for name in split.validation:
            twin = trained.get(_digest_of(facts[name], what))
            if twin and _digest_of(facts[name], what):
                yield Problem(
                    "",
                    "case-on-both-sides",
                    f"{name} (validation) has the same {what} as {twin} (train)",
                    "Leave one of the two out, or put both into one part with --split.",
                    cases=(name, twin),
                )


def _digest_of(fact: CaseFacts, what: str) -> str:
    return fact.image_digest if what == "image" else fact.label_digest


def raise_problems(problems: Sequence[Problem]) -> None:
    """Put all problems into one error, those with one remedy together.

    Raises:
        DataError: There are any.
    """
    if not problems:
        return
    groups: dict[str, list[Problem]] = {}
    for problem in problems[:_PROBLEMS_SHOWN]:
        groups.setdefault(problem.remedy, []).append(problem)
    lines = []
    for remedy, group in groups.items():
        lines += [f"- {problem.text()}" for problem in group]
        lines.append(f"  What to do: {remedy}")
    if len(problems) > _PROBLEMS_SHOWN:
        lines.append(f"- and {len(problems) - _PROBLEMS_SHOWN} more")
    raise DataError(
        "The data set cannot be trained on:\n" + "\n".join(lines) + "\n",
        code="labels-unusable",
        remedy="Nothing was trained.",
        details=[asdict(problem) for problem in problems],
    )
