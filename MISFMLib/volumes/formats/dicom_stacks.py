"""Which slices of a folder belong to one volume: series; echoes, phases or scouts within one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np

from MISFMLib.volumes.formats.dicom_image import DicomSlice

_SAME_ORIENTATION = 1e-3
"""Largest difference of two direction cosines that is rounding (0.06 degrees)."""
_SAME_SPACING_MM = 1e-3
_SAME_PLACE_MM = 1e-3
_SCOUT_SLICES = 5
"""Volumes beside a much larger one that have no more slices are scouts or samples."""
_TELLING: tuple[tuple[str, str], ...] = (
    ("echo_time", "echo time {} ms"),
    ("b_value", "b-value {}"),
    ("phase", "time {}"),
    ("trigger", "trigger time {} ms"),
    ("image_type", "type {}"),
    ("acquisition", "acquisition {}"),
    ("acquisition_time", "acquired at {}"),
)
"""What tells images of one place apart, and how it is said."""


@dataclass(frozen=True)
class Stack:
    """Slices of one series that may form a volume."""

    slices: tuple[DicomSlice, ...]
    telling: tuple[tuple[str, str], ...] = ()
    """Attribute and value by which it differs from other stacks of the series."""

    @property
    def series(self) -> str:
        """Series instance UID."""
        return self.slices[0].image.series

    @property
    def is_volume(self) -> bool:
        """Whether it has several slices with a place, and is no scout view."""
        first = self.slices[0]
        return len(self.slices) > 1 and first.is_placed and not first.is_localizer

    def title(self) -> str:
        """Describe it for people: series, what it is, slices, and what tells it apart."""
        image = self.slices[0].image
        facts = [dict(_TELLING)[attribute].format(value) for attribute, value in self.telling]
        kind = "captures" if not self.slices[0].is_placed else "slices"
        count = f"{len(self.slices)} {kind}"
        what = image.description or "no description"
        if self.slices[0].is_localizer:
            facts.append("scout")
        return f"{image.series} ({', '.join([what, image.modality, count, *facts])})"


def stacks_of(series: Sequence[DicomSlice]) -> tuple[list[Stack], int]:
    """Divide the slices of one series into stacks.

    Slices that differ in size, pixel size or orientation, or have no place, never belong together;
    where several lie at one place, they are divided by echo, b-value, phase, type or acquisition.

    Returns:
        The stacks, and how many slices were copies of others.
    """
    stacks: list[Stack] = []
    copies = 0
    for alike in _alike(series):
        kept = _without_copies(alike)
        copies += len(alike) - len(kept)
        stacks += _divided(kept, [attribute for attribute, _ in _TELLING])
    return stacks, copies


def chosen_volumes(stacks: Sequence[Stack]) -> list[Stack]:
    """Return the stacks that somebody who asks for the volume can mean.

    Scouts, captures and single slices are none, nor are a few slices beside a much larger volume.
    """
    volumes = [stack for stack in stacks if stack.is_volume]
    most = max((len(stack.slices) for stack in volumes), default=0)
    return [
        stack
        for stack in volumes
        if len(stack.slices) > _SCOUT_SLICES or 3 * len(stack.slices) > most
    ]


def _alike(series: Sequence[DicomSlice]) -> list[list[DicomSlice]]:
    """Group slices that could be parts of one grid; slices without a place have groups too."""
    groups: list[list[DicomSlice]] = []
    for each in series:
        group = next((group for group in groups if _is_alike(group[0], each)), None)
        if group is None:
            groups.append([each])
        else:
            group.append(each)
    return groups


def _is_alike(one: DicomSlice, other: DicomSlice) -> bool:
    if one.is_placed != other.is_placed or one.is_localizer != other.is_localizer:
        return False
    if one.image.shape_hw != other.image.shape_hw:
        return False
    if not one.is_placed:
        return True
    return (
        len(one.spacing_hw) == len(other.spacing_hw)
        and _is_close(one.spacing_hw, other.spacing_hw, _SAME_SPACING_MM)
        and _is_close(one.orientation, other.orientation, _SAME_ORIENTATION)
    )


def _is_close(one: Sequence[float], other: Sequence[float], tolerance: float) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


def _without_copies(slices: Sequence[DicomSlice]) -> list[DicomSlice]:
    """Leave out files that hold the same image again, under another name.

    A copy has the identifier and the place of the first one: anonymisers give one identifier to
    several slices, which are no copies.
    """
    kept: dict[tuple[object, ...], DicomSlice] = {}
    for each in slices:
        uid = each.image.uid or str(each.image.path)
        place = tuple(round(value, 3) for value in each.position_xyz)
        kept.setdefault((uid, each.frame, place), each)
    return list(kept.values())


def shared_identifiers(slices: Sequence[DicomSlice]) -> int:
    """Count the SOP instance UIDs that several files have."""
    files = {(each.image.uid, each.image.path) for each in slices if each.image.uid}
    return sum(count > 1 for count in Counter(uid for uid, _ in files).values())


def _divided(slices: Sequence[DicomSlice], attributes: Sequence[str]) -> Iterator[Stack]:
    """Divide slices by the first attributes that leave fewer of them at one place."""
    most = _most_at_one_place(slices)
    for index, attribute in enumerate(attributes):
        if most < 2:
            break
        parts = _parts(slices, attrgetter(attribute))
        # Values that change from slice to slice, such as times of acquisition, tell no volumes.
        is_telling = 1 < len(parts) <= 2 * most
        if is_telling and max(_most_at_one_place(part) for part in parts.values()) < most:
            for value, part in sorted(parts.items(), key=lambda item: _sort_key(item[0])):
                for stack in _divided(part, attributes[index + 1 :]):
                    yield Stack(stack.slices, ((attribute, value), *stack.telling))
            return
    yield Stack(tuple(slices))


def _parts(
    slices: Sequence[DicomSlice], key: Callable[[DicomSlice], str]
) -> dict[str, list[DicomSlice]]:
    parts: dict[str, list[DicomSlice]] = {}
    for each in slices:
        parts.setdefault(key(each), []).append(each)
    return parts


def _sort_key(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def _most_at_one_place(slices: Sequence[DicomSlice]) -> int:
    """Return how many slices lie at the place that has the most; 0 for slices without a place."""
    if not slices[0].is_placed:
        return 0
    row, column = np.reshape(slices[0].orientation, (2, 3))
    normal = np.cross(row, column)
    depths = np.sort([float(np.dot(each.position_xyz, normal)) for each in slices])
    starts = np.flatnonzero(np.diff(depths, prepend=-np.inf) > _SAME_PLACE_MM)
    return int(np.diff([*starts, len(depths)]).max())


def files_of(slices: Sequence[DicomSlice]) -> tuple[Path, ...]:
    """Return the files of slices, each once, in their order."""
    return tuple(dict.fromkeys(each.image.path for each in slices))
