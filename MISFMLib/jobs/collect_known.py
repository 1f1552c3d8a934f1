"""Volumes that a training set has already: collected once more, they come in no second time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.annotation.dataset_json import file_name
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import MISFMError, OutputError
from MISFMLib.volumes.volume import Volume, read_volume, write_volume

OPEN = ("unlabelled", "proposed")
"""Status of cases that may be given labels; those of others stay as somebody left them."""

Add = Callable[[], bool]
"""Adds a case, and tells whether there was something new in it."""


def add_all(
    cases: Iterable[tuple[str, Add]], on_case: Callable[[int], None]
) -> tuple[list[str], dict[str, str]]:
    """Add cases by their names.

    Returns:
        Names of those that the set has already, and why others cannot be used.

    Raises:
        OutputError: The training set cannot be written.
    """
    kept, refused = [], {}
    for index, (name, add) in enumerate(cases, start=1):
        try:
            if not add():
                kept.append(name)
        except OutputError:
            raise  # as it would be with all others
        except MISFMError as error:
            refused[name] = error.message
        on_case(index)
    return kept, refused


def add_volume(made: TrainingSet, name: str, channels: Sequence[Volume]) -> tuple[CaseRow, bool]:
    """Return the case of a volume, and whether it is new.

    Known is one that has the same voxels and came with the same name.
    """
    numbered = re.compile(re.escape(file_name(name)) + r"(_\d+)?", re.IGNORECASE)
    for row in made.cases():
        if numbered.fullmatch(row.name) and _has_voxels(made, row.name, channels):
            return row, False
    writers = [partial(write_volume, channel) for channel in channels]
    return made.add_case(made.free_name(name), *writers), True


def _has_voxels(made: TrainingSet, name: str, channels: Sequence[Volume]) -> bool:
    try:
        images = [read_volume(path) for path in made.images(name)]
    except MISFMError:
        return False
    pairs = zip(images, channels, strict=False)
    return all(np.array_equal(image.array_CDHW, new.array_CDHW) for image, new in pairs)
