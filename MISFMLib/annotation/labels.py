"""The one list of labels of a training set, and how labels from elsewhere map to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from MISFMLib.configs import LabelConfig
from MISFMLib.errors import DataError
from MISFMLib.models.terminology import label_config

_LARGEST_VALUE = 255
"""Label maps for training hold 8-bit numbers."""


@dataclass(frozen=True)
class LabelMapping:
    """What the labels of a case are in a training set."""

    values: Mapping[str, int]
    """Name in the case to value in the set, for names that are the same but for their spelling."""
    unknown: tuple[str, ...]
    """Names that the set does not have: somebody has to say what they are."""
    missing: tuple[str, ...]
    """Labels of the set that the case does not have: not drawn, or not there."""

    @property
    def is_certain(self) -> bool:
        """Whether nobody has to be asked which label is which."""
        return not self.unknown


def plain(name: str) -> str:
    """Return a name without case, underscores and double spaces: ``Left_Kidney``, ``left kidney``.

    The words stay in their order: whoever writes "kidney left" is asked. Signs such as plus, and a
    minus at the end, tell labels apart: ``node+``, ``node-``.
    """
    return " ".join(re.findall(r"\w+|[+<>*]|-(?=\W*$)", name.replace("_", " ").casefold()))


def match_labels(names: Iterable[str], labels: Sequence[LabelConfig]) -> LabelMapping:
    """Find the labels of a set in those of a case, by their names alone.

    Numbers are never matched: programs number segments as they come.
    """
    by_name = {plain(label.name): label for label in labels}
    names = list(names)
    values = {name: by_name[plain(name)].value for name in names if plain(name) in by_name}
    found = set(values.values())
    return LabelMapping(
        values,
        tuple(name for name in names if name not in values),
        tuple(label.name for label in labels if label.value not in found),
    )


def new_label(
    name: str, labels: Sequence[LabelConfig], color: tuple[int, int, int] | None = None
) -> LabelConfig:
    """Describe a label to add to a set: the next free value, its code when the name is known.

    Raises:
        DataError: The name is empty or taken, or there are too many labels.
    """
    name = " ".join(name.split())
    if not plain(name) or plain(name) in {plain(label.name) for label in labels}:
        raise DataError(
            f"The label {name!r} has no name of its own.",
            code="label-name",
            remedy="Give every label of a training set a different name.",
        )
    value = max((label.value for label in labels), default=0) + 1
    if value > _LARGEST_VALUE:
        raise DataError(
            f"A training set has at most {_LARGEST_VALUE} labels.",
            code="label-values",
            remedy="Leave some out, or train two models.",
        )
    described = label_config(value, name)
    return described if color is None else replace(described, color=color)


def still_named(
    names: Iterable[str], before: Sequence[LabelConfig], after: Sequence[LabelConfig]
) -> tuple[str, ...]:
    """Return names of labels as they are called after a change, without those that are gone."""
    called = {label.value: label.name for label in after}
    now = {label.name: called[label.value] for label in before if label.value in called}
    return tuple(now[name] for name in names if name in now)


def check_known(known: Iterable[LabelConfig], labels: Sequence[LabelConfig]) -> None:
    """Refuse labels for a set that lack one of those it has by now; none at all bring nothing new.

    Raises:
        DataError: Somebody who shares the set has added it, and its number may be taken.
    """
    ours = {(label.value, label.name) for label in labels}
    added = [label.name for label in known if (label.value, label.name) not in ours]
    if labels and added:
        raise DataError(
            f"Somebody else has added {', '.join(added)} to the labels of the set meanwhile.",
            code="labels-changed",
            remedy="Try once more; nothing was written.",
        )
