"""Before and after: what a fine-tuning was worth on the cases that it never learnt from."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from MISFMLib.configs import LabelConfig
from MISFMLib.events import EventSink, ignore_events
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.train.finetune_job import FinetuneJob
from MISFMLib.jobs.train.validation import evaluate
from MISFMLib.training.stop import yielding_events
from MISFMLib.volumes.volume import LabelMap

_ONE_SIDED_95 = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81, 1.80, 1.78, 1.77)
"""Student's t for 1, 2, ... degrees of freedom: chance stays below it in 95 of 100 cases."""
_MANY = 1.645
"""The same for many degrees of freedom, plus what `_bound` adds for few."""


def compare_with_start(job: FinetuneJob, events: EventSink) -> dict[str, Any]:
    """Evaluate the model that a training started from on its held-out cases, and compare.

    Args:
        job: The training; the table of its own evaluation is in its folder.
        events: Receives the progress.

    Returns:
        `before`: the results of the start as in an evaluation; `cases`: mean Dice of each case
        before and after, the worst first; and the verdict of `judge`. Empty when nothing is held
        out or the start is no model that knows one of the labels.
    """
    bundle = job.start.bundle
    if bundle is None or not job.validation:
        return {}
    values = {label.name: label.value for label in bundle.manifest.labels}
    known = [label for label in job.plan.labels if label.name in values]
    if not known:
        return {}
    config = job.config
    options = SegmenterOptions(device=config.device, precision=config.precision)
    segmenter, yielding = Segmenter.from_bundle(bundle, options), yielding_events(ignore_events)
    before = evaluate(
        job.validation,
        lambda volume: _renumbered(segmenter.segment(volume, yielding).label_map, known, values),
        known,
        job.folder.scores_before,
        counter(events, "compare", len(job.validation)),
    )
    return {"before": before, **compare_tables(job.folder.scores_before, job.folder.scores)}


def _renumbered(
    label_map: LabelMap, labels: Sequence[LabelConfig], values: Mapping[str, int]
) -> LabelMap:
    """Give labels of the start the values that they have in the training."""
    array_DHW = np.zeros_like(label_map.array_DHW)
    for label in labels:
        array_DHW[label_map.array_DHW == values[label.name]] = label.value
    return LabelMap(array_DHW, label_map.geometry)


def compare_tables(before: Path, after: Path) -> dict[str, Any]:
    """Compare two tables of the same cases, by the labels that both have a Dice of.

    Returns:
        cases: list of case, before, after, the lowest after first; and what `judge` says.
    """
    old, new = _dice_of(before), _dice_of(after)
    cases: list[dict[str, Any]] = []
    for case in sorted({case for case, _label in old}):
        shared = [key for key in old if key[0] == case and key in new]
        if shared:
            cases.append(
                {
                    "case": case,
                    "before": round(statistics.fmean(old[key] for key in shared), 6),
                    "after": round(statistics.fmean(new[key] for key in shared), 6),
                }
            )
    cases.sort(key=lambda row: row["after"])
    return {"cases": cases, **judge([row["after"] - row["before"] for row in cases])}


def _dice_of(table: Path) -> dict[tuple[str, str], float]:
    with table.open(newline="", encoding="utf-8") as file:
        rows = [(row["case"], row["label"], float(row["dice"])) for row in csv.DictReader(file)]
    return {(case, label): dice for case, label, dice in rows if not math.isnan(dice)}


def judge(gains: Sequence[float]) -> dict[str, Any]:
    """Say whether a gain is more than chance, by a one-sided paired t test at 5 %.

    Args:
        gains: Of every case, Dice after minus before.

    Returns:
        gain: the mean; gain_sd: the spread over the cases; needed: what the mean has to exceed,
        None with fewer than two cases; is_better.
    """
    if len(gains) < 2:
        gain = gains[0] if gains else 0.0
        return {"gain": round(gain, 6), "gain_sd": None, "needed": None, "is_better": False}
    gain, spread = statistics.fmean(gains), statistics.stdev(gains)
    needed = _bound(len(gains) - 1) * spread / math.sqrt(len(gains))
    return {
        "gain": round(gain, 6),
        "gain_sd": round(spread, 6),
        "needed": round(needed, 6),
        "is_better": gain > needed and gain > 0,
    }


def compared(start: str | None, comparison: Mapping[str, Any]) -> list[str]:
    """Say in a line what a fine-tuning was worth; nothing where that is not known.

    Args:
        start: What it started from.
        comparison: What `compare_with_start` has found.
    """
    cases = comparison.get("cases", [])
    if not cases:
        return []
    held_out = "the held-out case" if len(cases) == 1 else f"the {len(cases)} held-out cases"
    worth = "more than chance brings" if comparison["is_better"] else "which may be chance"
    return [f"Against {start} on {held_out}: {comparison['gain']:+.3f} of Dice, {worth}."]


def _bound(freedom: int) -> float:
    if freedom <= len(_ONE_SIDED_95):
        return _ONE_SIDED_95[freedom - 1]
    return _MANY + 1.6 / freedom  # within 0.01 of the exact values
