"""The labels of dataset.json of nnU-Net v2, as what the outputs of a network mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from MISFMLib.jobs.imports.sources import refused

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Outputs:
    """What the outputs of a network mean."""

    is_regional: bool
    """Whether they are regions instead of classes."""
    names: tuple[str, ...]
    """Names of the foreground in the order of the outputs."""
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
    if ordered[0] != 0:
        raise refused("dataset.json has no background with the value 0.")
    return Outputs(
        False,
        tuple(by_value[value] for value in ordered[1:]),
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
    return Outputs(True, tuple(names), tuple(order), tuple(order), tuple(foreground))
