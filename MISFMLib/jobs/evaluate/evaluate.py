"""``misfm evaluate``: label maps against their references, tables and pictures of the worst."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from MISFMLib.configs import EvaluateConfig
from MISFMLib.data.cases import parse_label_names
from MISFMLib.data.descriptions import label_names_beside
from MISFMLib.errors import BatchError, DataError, DependencyError, MISFMError
from MISFMLib.events import CaseDone, EventSink, Notice, ignore_events
from MISFMLib.files import check_output, write_json
from MISFMLib.jobs.evaluate import tables
from MISFMLib.jobs.evaluate.comparison import LabelScore, compare_pair, read_pair
from MISFMLib.jobs.evaluate.pairs import Pair, Pairing, find_pairs
from MISFMLib.jobs.progress import counter
from MISFMLib.models.terminology import label_config
from MISFMLib.volumes.volume import on_grid, present_values, read_volume

_FEW = 4

_Result = list[LabelScore] | str
"""Scores of a case, or why it has none."""


def run_evaluate(config: EvaluateConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Compare two folders of label maps, or two files.

    Args:
        config: What to compare and where the tables go.
        events: Hears progress and the end of every case.

    Returns:
        The summary, with the key ``text`` for people.

    Raises:
        DataError: There is nothing to compare.
        OutputError: Tables are there already, or their place is read-only or full.
    """
    for name in ("cases.csv", "labels.csv", "summary.json"):
        check_output(config.output / name, overwrite=config.overwrite)
    pairing = find_pairs(config.predictions, config.references, config.images)
    names = parse_label_names(config.labels) or label_names_beside(config.references)
    scores, failures = _compare_all(pairing, names, config, events)
    if not scores:
        raise DataError(
            f"No case could be compared: {next(iter(failures.values()), 'there is no label')}",
            code="nothing-compared",
            remedy="Mend the first case, then try again.",
        )
    summary = _summary(scores, pairing, failures, config.tolerance_mm)
    rows = tables.label_rows(scores)
    tables.write_table(
        tables.case_rows(scores), config.output / "cases.csv", overwrite=config.overwrite
    )
    tables.write_table(rows, config.output / "labels.csv", overwrite=config.overwrite)
    write_json(config.output / "summary.json", summary, overwrite=config.overwrite)
    _draw_worst(pairing, scores, names, config, events)
    left_out = {**failures, **dict.fromkeys(pairing.without_prediction, "has no segmentation.")}
    lines = [*tables.text_table(rows), *_remarks(summary, left_out), f"Tables: {config.output}"]
    exit_code = BatchError.exit_code if left_out else 0
    return {**summary, "exit_code": exit_code, "text": "\n".join(lines)}


def _compare_all(
    pairing: Pairing, names: Mapping[int, str], config: EvaluateConfig, events: EventSink
) -> tuple[list[LabelScore], dict[str, str]]:
    """Return the scores in the order of the cases, and why the other cases have none."""
    count = counter(events, "evaluate", len(pairing.pairs))
    results: dict[str, _Result] = {}
    for name, result in _results(pairing.pairs, names, config):
        results[name] = result
        failed = isinstance(result, str)
        events(CaseDone(name, "failed" if failed else "done", str(result) if failed else ""))
        count(len(results))
    scores: list[LabelScore] = []
    failures: dict[str, str] = {}
    for pair in pairing.pairs:
        result = results[pair.name]
        if isinstance(result, str):
            failures[pair.name] = result
        else:
            scores += result
    return scores, failures


def _results(
    pairs: Sequence[Pair], names: Mapping[int, str], config: EvaluateConfig
) -> Iterator[tuple[str, _Result]]:
    """Yield the result of every case as it comes."""
    workers = config.workers if config.workers is not None else os.cpu_count() or 1
    if min(workers, len(pairs)) < 2 or (config.workers is None and len(pairs) < _FEW):
        yield from ((pair.name, _compare(pair, names, config.tolerance_mm)) for pair in pairs)
        return
    with ProcessPoolExecutor(min(workers, len(pairs)), get_context("spawn")) as pool:
        jobs = {
            pool.submit(_compare, pair, names, config.tolerance_mm): pair.name for pair in pairs
        }
        try:
            yield from ((jobs[job], job.result()) for job in as_completed(jobs))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _compare(pair: Pair, names: Mapping[int, str], tolerance_mm: float) -> _Result:
    """Compare a case; what is wrong with it does not stop the others."""
    try:
        return compare_pair(pair, names, tolerance_mm)
    except DependencyError:
        raise
    except (MISFMError, OSError, MemoryError) as error:
        return str(error)


def _summary(
    scores: Sequence[LabelScore], pairing: Pairing, failures: Mapping[str, str], tolerance: float
) -> dict[str, Any]:
    rows = tables.label_rows(scores)
    means = [row["dice_mean"] for row in rows if row["dice_cases"]]
    return {
        "cases": len({score.case for score in scores}),
        "mean_dice_of_labels": statistics.fmean(means) if means else None,
        "tolerance_mm": tolerance,
        "labels": rows,
        "failed": dict(failures),
        "without_prediction": list(pairing.without_prediction),
        "without_reference": list(pairing.without_reference),
        "rules": " ".join((tables.__doc__ or "").split()),
    }


def _remarks(summary: Mapping[str, Any], left_out: Mapping[str, str]) -> Iterator[str]:
    mean = summary["mean_dice_of_labels"]
    if mean is not None:
        yield f"Mean Dice of the labels: {mean:.4f} ({summary['cases']} cases)"
    yield from (f"Left out: {name}: {why}" for name, why in list(left_out.items())[:_FEW])
    if len(left_out) > _FEW:
        yield f"and {len(left_out) - _FEW} more, see summary.json"
    surplus = summary["without_reference"]
    if surplus:
        yield f"Not compared, for want of a reference: {', '.join(surplus[:_FEW])}"


def _draw_worst(
    pairing: Pairing,
    scores: Sequence[LabelScore],
    names: Mapping[int, str],
    config: EvaluateConfig,
    events: EventSink,
) -> None:
    """Draw the cases with the lowest mean Dice that have an image."""
    means = tables.mean_dice(scores)
    drawable = [pair for pair in pairing.pairs if pair.image is not None and pair.name in means]
    for pair in sorted(drawable, key=lambda pair: means[pair.name])[: config.worst]:
        try:
            _draw(pair, names, means[pair.name], config.output / "worst" / f"{pair.name}.png")
        except DataError as error:
            events(Notice(f"No picture of {pair.name}: {error}"))


def _draw(pair: Pair, names: Mapping[int, str], dice: float, path: Path) -> None:
    from MISFMLib.export.comparison import write_comparison  # needs matplotlib

    assert pair.image is not None
    volume = read_volume(pair.image)
    prediction, reference = (
        on_grid(label_map, volume, name=f"A label map of {pair.name}")
        for label_map in read_pair(pair, names)
    )
    known = {**reference.names, **names}
    values = present_values(prediction.array_DHW) | present_values(reference.array_DHW)
    labels = [label_config(v, known.get(v, f"label {v}")) for v in sorted(values - {0})]
    write_comparison(volume, prediction, reference, labels, path, f"{pair.name}  Dice {dice:.3f}")
