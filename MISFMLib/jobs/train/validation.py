"""Judging a segmentation network: quickly while it learns, and in full once it is a bundle."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from MISFMLib.configs import LabelConfig
from MISFMLib.data.case_reading import read_case, without_unlabelled
from MISFMLib.data.cases import Case
from MISFMLib.data.datasets import UNLABELLED, PreparedCase
from MISFMLib.files import write_text
from MISFMLib.inference.sliding_window import Placement, predict_logits
from MISFMLib.inference.windows import WindowConfig
from MISFMLib.metrics import Agreement, compare_label_maps, dice
from MISFMLib.models.bundle_manifest import HELD_OUT, MEAN_DICE, TOLERANCE
from MISFMLib.training.task import Validation
from MISFMLib.volumes.volume import LabelMap, Volume

_MAX_VOXELS = 20_000_000
"""Voxels looked at in one validation during a training, to keep it short beside the training."""
_MIN_CASES = 4
_FOUND_DICE = 0.05
"""A label below has not been found yet, as small ones are not for hundreds of steps."""
_TOLERANCE_MM = 1.0
"""Distance up to which surfaces count as the same in the surface Dice."""


class FinestOutput(nn.Module):
    """A deeply supervised network reduced to its logits at full resolution."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_BCDHW: torch.Tensor) -> torch.Tensor:
        """Return logits (B, K, D, H, W)."""
        outputs = self.network(image_BCDHW)
        logits: torch.Tensor = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        return logits


def choose_cases(
    held_out: Sequence[PreparedCase], training: Sequence[PreparedCase]
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Choose cases for a short validation that sees every label.

    Returns:
        Some of the held-out cases, evenly spread, with all classes that one of them has; and some
        training cases with the classes that none of them has.
    """
    classes = {case.name: case.classes() for case in (*held_out, *training)}
    chosen = subset(held_out) if held_out else []
    chosen += _having(held_out, classes, seen_in=chosen)
    return chosen, _having(training, classes, seen_in=chosen)


def subset(cases: Sequence[PreparedCase]) -> list[PreparedCase]:
    """Choose some of the cases, at least one, evenly spread, that make a short validation."""
    median = float(np.median([case.label().size for case in cases]))
    count = min(len(cases), max(_MIN_CASES, int(_MAX_VOXELS / median)))
    return [cases[index] for index in np.linspace(0, len(cases) - 1, count).round().astype(int)]


def _having(
    cases: Sequence[PreparedCase],
    classes: Mapping[str, set[int]],
    seen_in: Sequence[PreparedCase],
) -> list[PreparedCase]:
    """Choose few cases that have all classes which have not been seen in others."""
    wanted = set[int]().union(*(classes[case.name] for case in cases))
    wanted -= set[int]().union(*(classes[case.name] for case in seen_in))
    chosen = []
    while wanted:
        chosen.append(max(cases, key=lambda case: len(wanted & classes[case.name])))
        wanted -= classes[chosen[-1].name]
    return chosen


def validate(
    network: nn.Module,
    cases: Sequence[PreparedCase],
    labels: Sequence[LabelConfig],
    window: WindowConfig,
    placement: Placement,
    learnt_from: Sequence[PreparedCase] = (),
) -> Validation:
    """Segment whole prepared volumes and compare them with their labels in model space.

    Args:
        network: In eval mode.
        cases: Held-out cases.
        labels: Classes of the network without the background.
        window: How the network is applied.
        placement: Where.
        learnt_from: Training cases; of labels that no held-out case has they tell whether the
            network has found them, and nothing else.

    Returns:
        Dice of each label that one of the cases has, the mean over those in which it is defined; as
        score their mean, None where no case has a label; how many labels are found, and which are
        not, judged by the cases that have them.
    """
    names = [label.name for label in labels]
    held_out = [_compare(network, case, names, window, placement) for case in cases]
    learnt = [_compare(network, case, names, window, placement) for case in learnt_from]
    means: dict[str, float] = {}
    where_it_is: dict[str, float] = {}
    for name in names:
        judged = _mean([of_case[name].dice for of_case in held_out if of_case[name].is_there])
        if judged is not None:
            means[name] = _mean([of_case[name].dice for of_case in held_out]) or 0.0
        else:
            judged = _mean([of_case[name].dice for of_case in learnt if of_case[name].is_there])
        if judged is not None:
            where_it_is[name] = judged
    missing = tuple(name for name, value in where_it_is.items() if value < _FOUND_DICE)
    counts = {"labels": len(where_it_is), "labels found": len(where_it_is) - len(missing)}
    of_labels = {f"dice/{name}": value for name, value in means.items()}
    return Validation(_mean(list(means.values())), {**of_labels, **counts}, missing)


class _Found(NamedTuple):
    """What a network has found of a label in a case."""

    dice: float
    """nan where it is in neither, or nobody has drawn it."""
    is_there: bool


def _compare(
    network: nn.Module,
    case: PreparedCase,
    names: Sequence[str],
    window: WindowConfig,
    placement: Placement,
) -> dict[str, _Found]:
    image_CDHW = torch.from_numpy(case.image().astype(np.float32))
    logits_KDHW = predict_logits(FinestOutput(network), image_CDHW, window, placement)
    reference_DHW = np.asarray(case.label())
    prediction_DHW = without_unlabelled(logits_KDHW.argmax(0).numpy(), reference_DHW, UNLABELLED)
    found = {}
    for index, name in enumerate(names, start=1):
        found[name] = _Found(math.nan, is_there=False)
        if index not in case.not_drawn:
            is_label_DHW = reference_DHW == index
            score = dice(prediction_DHW == index, is_label_DHW)
            found[name] = _Found(score, is_there=bool(is_label_DHW.any()))
    return found


def _mean(values: Sequence[float]) -> float | None:
    """Return the mean of the values that are not nan; None when there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else None


# ----------------------------------------------------------------------------- the finished bundle


def evaluate(
    cases: Sequence[Case],
    segment: Callable[[Volume], LabelMap],
    labels: Sequence[LabelConfig],
    table: Path,
    on_case: Callable[[int], None],
) -> dict[str, Any]:
    """Segment held-out cases as a user would and compare them with their labels on their own grids.

    Args:
        cases: The held-out cases.
        segment: The finished model.
        labels: Classes to compare.
        table: CSV to write, one line per case and label.
        on_case: Called with the number of cases done.

    Returns:
        By label name the mean and standard deviation of each metric over the cases in which it is
        defined, and the number of those with distances, which a missed label has not; beside them
        the mean Dice over the labels and the conditions.
    """
    rows: list[dict[str, Any]] = []
    for index, case in enumerate(cases, start=1):
        volume, reference = read_case(case)
        found_DHW = segment(volume).array_DHW
        agreements = compare_label_maps(
            without_unlabelled(found_DHW, reference.array_DHW, case.unlabelled),
            reference.array_DHW,
            [label.value for label in labels],
            volume.geometry.spacing_dhw,
            _TOLERANCE_MM,
        )
        rows += [
            {"case": case.name, "label": label.name, **asdict(agreements[label.value])}
            for label in labels
            if label.value not in case.not_drawn
        ]
        on_case(index)
    _write_table(rows, table)
    return _summary(rows, labels, len(cases))


def _write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    columns = ["case", "label", *(field.name for field in fields(Agreement))]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue(), overwrite=True)


def _summary(
    rows: Sequence[Mapping[str, Any]], labels: Sequence[LabelConfig], case_count: int
) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for label in labels:
        of_label = [row for row in rows if row["label"] == label.name]
        summary[label.name] = {}
        for metric in (field.name for field in fields(Agreement)):
            values = [row[metric] for row in of_label]
            summary[label.name] |= {metric: _mean(values), f"{metric}_sd": _deviation(values)}
        with_distance = [row for row in of_label if not math.isnan(row["assd_mm"])]
        summary[label.name]["distance_cases"] = len(with_distance)
    means = [summary[label.name]["dice"] for label in labels]
    return {
        **summary,
        MEAN_DICE: _mean([mean for mean in means if mean is not None]),
        HELD_OUT: case_count,
        TOLERANCE: _TOLERANCE_MM,
    }


def _deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation of a sample, without its nan; None below two values."""
    defined = [value for value in values if not math.isnan(value)]
    return statistics.stdev(defined) if len(defined) > 1 else None
