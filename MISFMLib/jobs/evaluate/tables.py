"""Scores as tables: every case and label, and every label over its cases.

Rules: a label that is in neither map of a case has no score there and is left out of the means. A
missed or made-up label has Dice and surface Dice 0 and no distance; the table says over how many
cases a mean distance goes. A label that occurs in no case does not enter the mean of the labels.
What the data set of the references says nobody has labelled has no score: voxels of its label
ignore, and labels that nobody has drawn in a case. Where it names its labels, and the predictions
name those and more, the others have none either.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from MISFMLib.files import written_atomically
from MISFMLib.jobs.evaluate.comparison import LabelScore
from MISFMLib.metrics import Agreement

METRICS = tuple(field.name for field in fields(Agreement))


def case_rows(scores: Iterable[LabelScore]) -> list[dict[str, Any]]:
    """Return a row for each case and label."""
    return [
        {
            "case": score.case,
            "label": score.label,
            **{name: _cell(value) for name, value in asdict(score.agreement).items()},
            "prediction_ml": round(score.prediction_ml, 6),
            "reference_ml": round(score.reference_ml, 6),
        }
        for score in scores
    ]


def label_rows(scores: Iterable[LabelScore]) -> list[dict[str, Any]]:
    """Return a row for each label: cases with a score, mean, sd and median of each metric."""
    of_labels: dict[str, list[Agreement]] = {}
    for score in scores:
        of_labels.setdefault(score.label, []).append(score.agreement)
    rows = []
    for label, of_label in of_labels.items():
        row: dict[str, Any] = {"label": label}
        for metric in METRICS:
            values = defined(getattr(agreement, metric) for agreement in of_label)
            row |= {
                f"{metric}_cases": len(values),
                f"{metric}_mean": _cell(statistics.fmean(values) if values else math.nan),
                f"{metric}_sd": _cell(statistics.stdev(values) if len(values) > 1 else math.nan),
                f"{metric}_median": _cell(statistics.median(values) if values else math.nan),
            }
        rows.append(row)
    return rows


def mean_dice(scores: Iterable[LabelScore]) -> dict[str, float]:
    """Return the mean Dice of each case over its labels; cases without any label are left out."""
    of_cases: dict[str, list[float]] = {}
    for score in scores:
        of_cases.setdefault(score.case, []).append(score.agreement.dice)
    means = {case: defined(dices) for case, dices in of_cases.items()}
    return {case: statistics.fmean(values) for case, values in means.items() if values}


def defined(values: Iterable[float]) -> list[float]:
    """Leave out what is nan."""
    return [value for value in values if not math.isnan(value)]


def write_table(rows: Sequence[Mapping[str, Any]], path: Path, *, overwrite: bool) -> None:
    """Write rows of the same keys as CSV, UTF-8.

    Raises:
        OutputError: The table is there already, or its place is read-only or full.
    """
    with (
        written_atomically(path, overwrite=overwrite) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def text_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return lines for people: each label with Dice, surface Dice, HD95 and ASSD."""
    width = max([len(str(row["label"])) for row in rows] + [5])
    lines = [f"{'label':{width}}  cases   Dice  (sd)    surface Dice  HD95 mm  ASSD mm  (of)"]
    for row in rows:
        lines.append(
            f"{row['label']:{width}}  {row['dice_cases']:5}  {_number(row['dice_mean'], 3)}"
            f"  {_number(row['dice_sd'], 3)}   {_number(row['surface_dice_mean'], 3):>12}"
            f"  {_number(row['hausdorff95_mm_mean'], 2):>7}  {_number(row['assd_mm_mean'], 2):>7}"
            f"  {row['assd_mm_cases']:>4}"
        )
    return lines


def _cell(value: float) -> float | str:
    """Return a number with six decimals, or nothing where there is none."""
    return "" if math.isnan(value) else round(value, 6)


def _number(value: float | str, digits: int) -> str:
    return "-" if isinstance(value, str) else f"{value:.{digits}f}"
