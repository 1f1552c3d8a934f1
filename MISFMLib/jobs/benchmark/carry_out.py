"""One training of a benchmark: train, segment the cases it never saw, compare; resumable."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from MISFMLib.configs import BenchmarkConfig, FinetuneConfig, decode
from MISFMLib.data.case_reading import read_case, without_unlabelled
from MISFMLib.data.cases import Case, LabelledSet
from MISFMLib.data.split import keep_rare_labels
from MISFMLib.device import chip_name
from MISFMLib.energy import measured
from MISFMLib.events import EventSink
from MISFMLib.files import parse_json, read_text, write_json
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.jobs import load_job
from MISFMLib.jobs.benchmark.plan import Parts, Run
from MISFMLib.jobs.evaluate.comparison import LabelScore, score_labels
from MISFMLib.metrics import Agreement
from MISFMLib.models.bundle import Bundle, read_bundle
from MISFMLib.volumes.volume import LabelMap, write_label_map

MODEL = "model"
"""Folder of the bundle that a training ends with, in its own."""
_SCORES = "scores.json"
_COST = "training.json"


def read_scores(run: Run) -> tuple[list[LabelScore], dict[str, Any]] | None:
    """Return the scores of a training that is done, and what it cost; None for others.

    A damaged file counts for none: the model is there, and judges the cases again.
    """
    try:
        content = parse_json(read_text(run.folder / _SCORES))
        scores = [
            LabelScore(**{**row, "agreement": Agreement(**_with_nan(row["agreement"]))})
            for row in content["scores"]
        ]
        return scores, dict(content["cost"])
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        return None


def carry_out(
    run: Run,
    found: LabelledSet,
    labels_of: Mapping[str, Collection[int]],
    config: BenchmarkConfig,
    settings: Mapping[str, Any],
    events: EventSink,
) -> None:
    """Train, judge and write the scores; what is there already is not done again.

    Args:
        run: The training.
        found: The data set.
        labels_of: Labels in each case, as far as they are known; for a training that is done none
            need be.
        config: The benchmark.
        settings: Further settings of `misfm finetune`.
        events: Hears progress and notices.

    Raises:
        MISFMError: The training or a case failed.
    """
    bundle = _trained(run, found, labels_of, config, settings, events)
    cases = {case.name: case for case in found.cases}
    start = time.monotonic()
    scores = _judged(run, bundle, cases, config, events)
    seconds = (time.monotonic() - start) / len(run.parts.test)
    content = {
        "scores": [_without_nan(asdict(score)) for score in scores],
        "cost": {**_training_cost(run), "seconds_per_case": round(seconds, 3)},
    }
    write_json(run.folder / _SCORES, content, overwrite=True)


def _trained(
    run: Run,
    found: LabelledSet,
    labels_of: Mapping[str, Collection[int]],
    config: BenchmarkConfig,
    settings: Mapping[str, Any],
    events: EventSink,
) -> Bundle:
    model = run.folder / MODEL
    if not model.exists():
        split = run.folder / "split.json"
        write_json(split, _split(run.parts, labels_of), overwrite=True)
        own = {
            "data": config.data,
            "output": model,
            "split": split,
            "seed": run.seed,
            "resume": model.with_name("model.run").exists(),
            "device": config.device,
            "threads": config.threads,
            **_labels(run.parts, found, labels_of),
        }
        start = {"init": run.row.init} if run.row.init else {"network": run.row.network}
        finetune = decode(FinetuneConfig, {**settings, **own, **start})
        with measured() as energy:
            report = load_job("finetune")(finetune, events)
        cost = {
            "training_s": report.get("training_seconds"),
            "steps": report.get("steps"),
            "chip": chip_name(config.device),
            # Of a training that was stopped and went on, this would be its last part alone.
            "joules": None if own["resume"] else energy.joules,
        }
        write_json(run.folder / _COST, cost, overwrite=True)
    return read_bundle(model)


def _split(parts: Parts, labels_of: Mapping[str, Collection[int]]) -> dict[str, list[str]]:
    """Return what a training learns from and chooses by; whatever has a label, it can learn."""
    train, validation = list(parts.train), list(parts.validation)
    keep_rare_labels(train, validation, labels_of)
    return {"train": sorted(train), "validation": sorted(validation)}


def _labels(
    parts: Parts, found: LabelledSet, labels_of: Mapping[str, Collection[int]]
) -> dict[str, list[str]]:
    """Return the setting that leaves labels out which the cases to be judged by alone have."""

    def present(names: Sequence[str]) -> set[int]:
        return {value for name in names for value in labels_of.get(name, ())}

    missing = present(parts.test) - present([*parts.train, *parts.validation])
    if found.names_of_segments or not missing & set(found.label_names):
        return {}  # the training asks for no label then that its cases lack
    learnt = {value: name for value, name in found.label_names.items() if value not in missing}
    return {"labels": [f"{value}={name}" for value, name in learnt.items()]}


def _training_cost(run: Run) -> dict[str, Any]:
    """Return what the training cost; nothing when that was not written down, or is damaged."""
    try:
        return dict(parse_json(read_text(run.folder / _COST)))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _judged(
    run: Run, bundle: Bundle, cases: Mapping[str, Case], config: BenchmarkConfig, events: EventSink
) -> list[LabelScore]:
    """Segment the cases of the test part on their own grids and compare them."""
    options = SegmenterOptions(device=config.device)
    segmenter = Segmenter.from_bundle(bundle, options)
    labels = bundle.manifest.labels
    names = {label.value: label.name for label in labels}
    scores = []
    for name in run.parts.test:
        volume, reference = read_case(cases[name])
        label_map = segmenter.segment(volume, events).label_map
        output = run.folder / "labels" / f"{name}.nii.gz"
        write_label_map(label_map, output, labels=labels, overwrite=True)
        scores += _score(cases[name], label_map, reference, names, config.tolerance_mm)
    return scores


def _score(
    case: Case,
    label_map: LabelMap,
    reference: LabelMap,
    names: Mapping[int, str],
    tolerance_mm: float,
) -> list[LabelScore]:
    """Compare what was drawn in a case: no other labels, and no voxels that nobody labelled."""
    known_DHW = without_unlabelled(label_map.array_DHW, reference.array_DHW, case.unlabelled)
    drawn = {value: name for value, name in names.items() if value not in case.not_drawn}
    found = replace(label_map, array_DHW=known_DHW)
    return score_labels(case.name, found, reference, drawn, tolerance_mm)


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    agreement = {name: None if v != v else v for name, v in row["agreement"].items()}  # noqa: PLR0124
    return {**row, "agreement": agreement}


def _with_nan(agreement: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in agreement.items()}
