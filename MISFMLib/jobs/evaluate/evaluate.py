"""``misfm evaluate``: label maps against their references, tables and pictures of the worst."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from MISFMLib.configs import EvaluateConfig
from MISFMLib.data.cases import listed, parse_label_names
from MISFMLib.data.descriptions import description_beside
from MISFMLib.errors import BatchError, DataError, OutputError
from MISFMLib.events import EventSink, Notice, ignore_events
from MISFMLib.files import check_output, write_json
from MISFMLib.jobs.evaluate import tables
from MISFMLib.jobs.evaluate.comparing import compare_all
from MISFMLib.jobs.evaluate.comparison import (
    LabelScore,
    names_of_predictions,
    read_pair,
    surplus,
    unnamed,
)
from MISFMLib.jobs.evaluate.pairs import Pair, Pairing, find_pairs, with_descriptions
from MISFMLib.jobs.journal import Journals
from MISFMLib.models.terminology import label_config
from MISFMLib.volumes.volume import count_frames, on_grid, present_values, read_volume

_FEW = 4
_OURS = "case,label,"
"""How a table of an evaluation begins."""
_UNNAMED = re.compile(unnamed(r"(\d+)"))
_LAST = "summary.json"
"""The table that is written last."""


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
    if config.is_part and (config.output / _LAST).exists() and not config.overwrite:
        return {"open": 0, "text": f"All cases are compared already. Tables: {config.output}"}
    _check_tables(config)
    pairing = find_pairs(config.predictions, config.references, config.images)
    if pairing.notice:
        events(Notice(pairing.notice))
    description = description_beside(config.references)
    pairing = with_descriptions(pairing, config.predictions, description)
    names = parse_label_names(config.labels) or description.found.label_names
    results = compare_all(pairing.pairs, names, config, events)
    missing = len(pairing.pairs) - len(results)
    if missing:
        text = f"{len(results)} of {len(pairing.pairs)} cases are compared; no tables yet."
        return {"open": missing, "text": text}
    with Journals(config.output).merging():
        failures = {name: result for name, result in results.items() if isinstance(result, str)}
        scores = [s for result in results.values() if not isinstance(result, str) for s in result]
        if scores:
            scores = _named(scores, pairing.pairs)
            return _report(pairing, names, scores, failures, config, events)
    raise DataError(
        f"No case could be compared: {next(iter(failures.values()), 'there is no label')}",
        code="nothing-compared",
        remedy="Mend the first case, then try again.",
    )


def _named(scores: Sequence[LabelScore], pairs: Sequence[Pair]) -> list[LabelScore]:
    """Give labels that the references do not name the names that the segmentations have."""
    if not any(_UNNAMED.fullmatch(score.label) for score in scores):
        return list(scores)
    names = {unnamed(value): name for value, name in names_of_predictions(pairs).items()}
    return [replace(score, label=names.get(score.label, score.label)) for score in scores]


def _check_tables(config: EvaluateConfig) -> None:
    cases, header = config.output / "cases.csv", ""
    if cases.is_file():
        with cases.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.read(len(_OURS))
    if header not in ("", _OURS):
        raise OutputError(
            f"{cases} is no table of an evaluation; a batch of `misfm segment` has one, too.",
            code="output-exists",
            remedy="Choose another output folder.",
        )
    for name in ("cases.csv", "labels.csv", _LAST):
        check_output(config.output / name, overwrite=config.overwrite)


def _report(
    pairing: Pairing,
    names: Mapping[int, str],
    scores: Sequence[LabelScore],
    failures: Mapping[str, str],
    config: EvaluateConfig,
    events: EventSink,
) -> dict[str, Any]:
    """Write the tables and the pictures; return the summary."""
    # The last two shards write the same tables, one after the other.
    overwrite = config.overwrite or config.is_part
    summary = _summary(scores, pairing, failures, config.tolerance_mm)
    rows = tables.label_rows(scores)
    tables.write_table(tables.case_rows(scores), config.output / "cases.csv", overwrite=overwrite)
    tables.write_table(rows, config.output / "labels.csv", overwrite=overwrite)
    write_json(config.output / _LAST, summary, overwrite=overwrite)
    _draw_worst(pairing, scores, names, config, events)
    left_out = {**failures, **dict.fromkeys(pairing.without_prediction, "has no segmentation.")}
    remarks = (*_remarks(summary, left_out), *_unlabelled(pairing.pairs, names))
    lines = [*tables.text_table(rows), *remarks, f"Tables: {config.output}"]
    exit_code = BatchError.exit_code if left_out else 0
    return {**summary, "exit_code": exit_code, "text": "\n".join(lines)}


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
    values = [match[1] for row in summary["labels"] if (match := _UNNAMED.fullmatch(row["label"]))]
    if values:
        yield f"Nothing names the labels {listed(values, _FEW)}: --labels {values[0]}=liver does."
    yield from (f"Left out: {name}: {why}" for name, why in list(left_out.items())[:_FEW])
    if len(left_out) > _FEW:
        yield f"and {len(left_out) - _FEW} more, see summary.json"
    alone = summary["without_reference"]
    if alone:
        yield f"Not compared, for want of a reference: {listed(alone, _FEW)}"


def _unlabelled(pairs: Sequence[Pair], names: Mapping[int, str]) -> Iterator[str]:
    """Say what is not compared, since nobody has labelled it."""
    if pairs[0].unlabelled is not None:  # as in all of them
        yield f"Voxels of the label {pairs[0].unlabelled} (ignore) are not compared."
    lacking = [pair.name for pair in pairs if pair.not_drawn]
    if lacking:
        yield f"Labels that nobody has drawn are not compared in {listed(lacking, _FEW)}."
    more = {name: None for pair in pairs for name in surplus(pair, names)} if names else {}
    if more:
        yield f"Not compared, since the references have no such label: {listed([*more], _FEW)}."


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
    volume = read_volume(pair.image, num_channels=count_frames(pair.image))
    prediction, reference = (
        on_grid(label_map, volume, name=f"A label map of {pair.name}")
        for label_map in read_pair(pair, names)
    )
    known = {**prediction.names, **reference.names, **names}
    values = present_values(prediction.array_DHW) | present_values(reference.array_DHW)
    labels = [label_config(v, known.get(v, unnamed(v))) for v in sorted(values - {0})]
    write_comparison(volume, prediction, reference, labels, path, f"{pair.name}  Dice {dice:.3f}")
