"""Names of labels and channels of bundles in MONAI's form, and how regions become labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from MISFMLib.configs import LabelConfig, NetworkConfig
from MISFMLib.jobs.imports.sources import refused
from MISFMLib.models.terminology import label_config

Painting = tuple[tuple[int, int], ...]
"""Output and number of every region, in the order in which they are painted."""


def labels_of(
    prediction: Mapping[str, Any], network: NetworkConfig, told: Painting, *, is_regional: bool
) -> tuple[tuple[LabelConfig, ...], NetworkConfig]:
    """Return the labels, and the network with its outputs in their order.

    Args:
        prediction: What the metadata say of the network's output.
        network: The network.
        told: How regions are painted over each other; empty where the bundle does not tell.
        is_regional: Whether every output is a region, and there is none for the background.

    Raises:
        BundleError: Not every region is painted with a number of its own.
    """
    names = _names(prediction, network.num_classes, is_regional)
    painted = _painting(names, told) if is_regional else ()
    if not painted:
        return tuple(label_config(value, name) for value, name in enumerate(names, 1)), network
    labels = tuple(label_config(number, names[output]) for output, number in painted)
    outputs = [output for output, _ in painted]
    if outputs == sorted(outputs):
        return labels, network
    described = {**json.loads(network.monai), "outputs": outputs}
    return labels, replace(network, monai=json.dumps(described, sort_keys=True))


def _names(prediction: Mapping[str, Any], classes: int, is_regional: bool) -> list[str]:
    """Return the names of the labels in the order of the outputs."""
    given = prediction.get("channel_def") or prediction.get("label_def") or {}
    # A bundle of one region often names the background that it has no output for.
    first = 1 if not is_regional or len(given) == classes + 1 else 0
    numbers = range(first, classes + first if is_regional else classes)
    return unique([str(given.get(str(number), f"structure {number}")) for number in numbers])


def _painting(names: Sequence[str], told: Painting) -> Painting:
    """Return how regions are painted over each other.

    Without being told they come as the outputs do, but a whole before its parts, of which nothing
    would be seen: the outputs for BraTS are core, whole and enhancing tumour.
    """
    if not told:
        order = sorted(range(len(names)), key=lambda output: "whole" not in names[output].lower())
        return tuple((output, output + 1) for output in order)
    outputs, numbers = zip(*told, strict=True)
    if sorted(outputs) != list(range(len(names))) or len({*numbers, 0}) != len(names) + 1:
        raise refused(
            f"Lambdad of the bundle paints the outputs {outputs} with {numbers}; each of "
            f"{len(names)} with a number of its own was expected."
        )
    return told


def overlap_note(labels: Sequence[LabelConfig]) -> str:
    """Say what becomes of regions that overlap; nothing where there is one."""
    if len(labels) < 2:
        return ""
    names = ", ".join(label.name for label in labels)
    return f"Regions that overlap are painted over each other in this order: {names}."


def unique(names: list[str]) -> list[str]:
    """Number the names that repeat."""
    return [f"{name} {i}" if names.count(name) > 1 else name for i, name in enumerate(names)]
