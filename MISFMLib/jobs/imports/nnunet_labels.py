"""The labels of dataset.json of nnU-Net v2, as what the outputs of a network mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from MISFMLib.jobs.imports.sources import refused

Json = Mapping[str, Any]
_WITHOUT = " without "


@dataclass(frozen=True)
class Outputs:
    """What the outputs of a network mean."""

    is_regional: bool
    """Whether they are regions instead of classes."""
    names: tuple[str, ...]
    """Names of the foreground in the order of the outputs."""
    painted: tuple[str, ...]
    """What is left of each in a label map, where later regions are painted over earlier ones."""
    values: tuple[int, ...]
    """What each is painted with in nnU-Net's label maps."""
    declared: tuple[int, ...]
    """Values in dataset.json; other than those painted where they are not consecutive."""
    foreground: tuple[int, ...]
    """All values of the foreground in dataset.json, ascending: what a cascade's second stage looks
    for in the label map of the first."""

    @property
    def count(self) -> int:
        """Outputs of the network."""
        return len(self.names) + (0 if self.is_regional else 1)


def outputs_of(dataset: Json) -> Outputs:
    """Read the labels of a ``dataset.json``; the label to be ignored is no output.

    Raises:
        BundleError: They cannot be understood.
    """
    labels = {name: value for name, value in dataset.get("labels", {}).items() if name != "ignore"}
    if not labels or any(isinstance(key, str) and key.isdigit() for key in labels):
        raise refused("dataset.json names no labels in the form of nnU-Net v2.")
    if any(isinstance(value, list) and len(value) > 1 for value in labels.values()):
        return _regions(labels, dataset)
    values = {name: int(v[0] if isinstance(v, list) else v) for name, v in labels.items()}
    ordered = sorted(set(values.values()))
    by_value = {value: name for name, value in reversed(values.items())}
    names = tuple(by_value[value] for value in ordered[1:])
    if ordered[0] != 0:
        raise refused("dataset.json has no background with the value 0.")
    return Outputs(
        False,
        names,
        names,
        tuple(range(1, len(ordered))),
        declared=tuple(ordered[1:]),
        foreground=tuple(ordered[1:]),
    )


def _regions(labels: Json, dataset: Json) -> Outputs:
    values_of = {
        name: {*map(int, value if isinstance(value, list) else [value])}
        for name, value in labels.items()
    }
    names = [name for name, values in values_of.items() if values != {0}]
    order = [int(value) for value in dataset.get("regions_class_order") or ()]
    if len(order) != len(names) or len(set(order)) != len(order) or min(order, default=0) < 1:
        raise refused(
            f"dataset.json has {len(names)} regions and the regions_class_order {order}; one "
            "different number above 0 for each was expected."
        )
    foreground = sorted(set().union(*values_of.values()) - {0})
    painted = _painted([(name, values_of[name]) for name in names])
    return Outputs(True, tuple(names), painted, tuple(order), tuple(order), tuple(foreground))


def _painted(regions: Sequence[tuple[str, set[int]]]) -> tuple[str, ...]:
    """Return what is left of regions, with the names that a data set of these labels gets."""
    names = []
    for number, (name, region) in enumerate(regions, start=1):
        inside = [later for later in regions[number:] if later[1] < region]
        largest = max(inside, key=lambda later: len(later[1]), default=None)
        names.append(f"{name}{_WITHOUT}{largest[0]}" if largest else name)
    return tuple(names)


def names_of_regions(painted: Sequence[str]) -> list[str]:
    """Return the names of regions by those of what is left of them."""
    names: list[str] = []
    for name in reversed(painted):
        ends = [f"{_WITHOUT}{later}" for later in names if name.endswith(f"{_WITHOUT}{later}")]
        names.append(name.removesuffix(max(ends, key=len, default="")))
    return names[::-1]
