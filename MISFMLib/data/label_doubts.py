"""What does not keep a network from learning, and is often a slip all the same.

Cases are read once more here; only a check before a training looks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813

from MISFMLib.data.case_reading import read_case
from MISFMLib.data.cases import Case, LabelledSet, Split
from MISFMLib.data.label_check import CaseFacts, Problem, position_of
from MISFMLib.volumes.volume import LabelMap

_MOST_ISLAND_VOXELS = 20
_MOST_ISLAND_SHARE = 0.01
"""Pieces of a label below both are taken for slips of the brush."""
_MOST_POSITIONS = 500


def find_doubts(
    found: LabelledSet,
    split: Split,
    facts: Mapping[str, CaseFacts],
    on_case: Callable[[int], None] = lambda _index: None,
) -> list[Problem]:
    """Find stray voxels, empty label maps, labels that no held-out case has, and copies.

    Args:
        found: A data set without the problems that `label_check` finds.
        split: Its parts.
        facts: What the check of the cases has found, by their names.
        on_case: Called with the number of cases looked at so far.

    Raises:
        DataError: A case cannot be read.
    """
    cases = {case.name: case for case in found.cases}
    names = [*split.train, *split.validation]
    doubts: list[Problem] = []
    for index, name in enumerate(names, start=1):
        doubts += _of_case(cases[name], facts[name])
        on_case(index)
    doubts += _not_judged(facts, split, found.label_names)
    doubts += _copies(facts, split)
    return doubts


def _of_case(case: Case, facts: CaseFacts) -> Iterator[Problem]:
    if not facts.label_values:
        yield Problem(
            case.name,
            "label-map-empty",
            "the label map is empty, as that of a healthy case",
            "Leave the case out if nobody has labelled it.",
        )
        return
    _volume, label_map = read_case(case)
    for value in facts.label_values:
        voxels = _islands(label_map, value)
        if len(voxels):
            name = case.label_names.get(value, str(value))
            yield Problem(
                case.name,
                "label-islands",
                f"{len(voxels)} stray voxels of {value} ({name}) lie apart from the rest",
                "Remove them, if they are slips.",
                values=(int(value),),
                positions_xyz=tuple(
                    position_of(label_map, voxel) for voxel in voxels[:_MOST_POSITIONS]
                ),
            )


def _islands(label_map: LabelMap, value: int) -> np.ndarray:
    """Return the voxels (n, 3) of the small pieces of a label."""
    inside = np.argwhere(label_map.array_DHW == value)
    first, last = inside.min(axis=0), inside.max(axis=0) + 1
    part = label_map.array_DHW[tuple(map(slice, first, last))] == value
    image = sitk.GetImageFromArray(part.astype(np.uint8))
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))  # with corners
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    is_small = (sizes <= _MOST_ISLAND_VOXELS) & (sizes < _MOST_ISLAND_SHARE * len(inside))
    is_small[0] = False
    voxels: np.ndarray = np.argwhere(is_small[pieces]) + first
    return voxels


def _not_judged(
    facts: Mapping[str, CaseFacts], split: Split, label_names: Mapping[int, str]
) -> Iterator[Problem]:
    if not split.validation:
        return
    held_out = {value for name in split.validation for value in facts[name].label_values}
    for value in sorted({v for name in split.train for v in facts[name].label_values} - held_out):
        having = tuple(name for name in split.train if value in facts[name].label_values)
        yield Problem(
            "",
            "label-not-judged",
            f"label {value} ({label_names.get(value, 'unnamed')}) is in no held-out case, so that "
            "nobody will know how well it is found",
            "Hold a case out that has it.",
            cases=having if len(having) > 1 else (),  # the only one has to be learnt from
            values=(int(value),),
        )


def _copies(facts: Mapping[str, CaseFacts], split: Split) -> Iterator[Problem]:
    for part in (split.train, split.validation):
        yield from _copies_in([facts[name] for name in part])


def _copies_in(part: Sequence[CaseFacts]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for fact in part:
        twin = first.setdefault(fact.image_digest, fact.name)
        if twin != fact.name:
            yield Problem(
                "",
                "case-repeated",
                f"{fact.name} has the same image as {twin}",
                "Leave one of the two out.",
                cases=(fact.name, twin),
            )
