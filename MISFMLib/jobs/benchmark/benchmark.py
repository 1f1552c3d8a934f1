"""``misfm benchmark``: networks and starts, trained alike, judged by cases that none has seen."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from MISFMLib.configs import BenchmarkConfig, FinetuneConfig, decode, encode
from MISFMLib.data.cases import LabelledSet, find_cases, listed, with_label_names
from MISFMLib.data.label_check import try_cases
from MISFMLib.errors import BatchError, ConfigError, JobCancelled, MISFMError, OutputError
from MISFMLib.events import CaseDone, EventSink, Notice, ignore_events
from MISFMLib.files import read_json_object, write_json
from MISFMLib.gpus import own_gpu
from MISFMLib.jobs.benchmark.carry_out import MODEL, carry_out, read_scores
from MISFMLib.jobs.benchmark.pictures import draw_worst
from MISFMLib.jobs.benchmark.plan import Run, plan_runs
from MISFMLib.jobs.benchmark.published import published_results
from MISFMLib.jobs.benchmark.report import RowResult, markdown, write_boxes, write_reports
from MISFMLib.jobs.claims import claimed
from MISFMLib.jobs.journal import nothing_to_merge
from MISFMLib.jobs.progress import Pace, counter
from MISFMLib.jobs.workers import open_workers, shared_cores

_SAME = ("data", "folds", "test_fraction", "validation_fraction", "options", "tolerance_mm")
_DIED = "Its process died each time, most likely because the memory was full."
_OWN = ("data", "output", "split", "seed", "resume", "overwrite", "init", "network")
"""What the benchmark decides itself."""


def run_benchmark(config: BenchmarkConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Carry out the trainings that are missing, and write the tables when all are done.

    Args:
        config: Data, rows, seeds and folds.
        events: Hears progress, notices and the end of every training.

    Returns:
        The table, with the key ``text`` for people.

    Raises:
        DataError: The data set cannot be used.
        ConfigError: The output holds a benchmark of other settings, or the options are wrong.
        OutputError: The output holds tables of something else.
        BatchError: Trainings failed; the others were finished.
    """
    settings = _read_options(config)
    found = with_label_names(find_cases(config.data), settings.get("labels", ()))
    runs = plan_runs(config, found)
    _check_same(config, settings)
    mine = () if config.merge else runs[config.part]
    attempt = partial(
        _attempt,
        found=found,
        labels_of=_labels_of(mine, found, events),
        settings=settings,
    )
    failures = _carry_out_all(mine, attempt, config, events)
    if failures:
        listed = "; ".join(f"{name}: {message}" for name, message in list(failures.items())[:3])
        raise BatchError(
            f"{len(failures)} of {len(runs)} trainings failed ({listed}).",
            code="trainings-failed",
            remedy="The same command tries only these again.",
        )
    return _report(runs, found, config, events)


def _labels_of(
    runs: Sequence[Run], found: LabelledSet, events: EventSink
) -> dict[str, tuple[int, ...]]:
    """Read the labels of each case, if something is to be trained."""
    if all((run.folder / MODEL).exists() for run in runs):
        return {}
    names = [case.name for case in found.cases]
    # What is wrong with a case its trainings tell, with what to do.
    facts, _problems = try_cases(found, names, counter(events, "check", len(names)))
    return {name: fact.label_values for name, fact in facts.items()}


def _carry_out_all(
    runs: Sequence[Run],
    attempt: Callable[..., tuple[str, str]],
    config: BenchmarkConfig,
    events: EventSink,
) -> dict[str, str]:
    """Return why trainings failed, by the names of their folders."""
    failures = {}
    pace = Pace(len(runs))

    def take(run: Run, outcome: tuple[str, str]) -> None:
        status, message = outcome
        if status == "failed":
            failures[run.folder.name] = message
        events(CaseDone(run.folder.name, status, message))
        pace.add("error" if status == "failed" else "")

    if not config.is_elsewhere:
        for run in runs:
            event = pace.progress("benchmark")
            message = f"{pace.position()}: {run.folder.name}"
            events(dataclasses.replace(event, message=message))
            take(run, attempt(run, config=config, events=events))
        return failures
    count = min(config.workers or 0, len(runs)) or 1
    if config.scheduler is None:
        config = dataclasses.replace(config, threads=config.threads or shared_cores(count))
    attempt = partial(attempt, config=config, events=ignore_events)
    with open_workers(count, config.scheduler, config.threads) as workers:
        for run, future in workers.results(attempt, runs):
            is_lost = isinstance(future.exception(), BrokenProcessPool)
            take(run, ("failed", _DIED) if is_lost else future.result())
            events(pace.progress("benchmark"))
    return failures


def _attempt(
    run: Run,
    found: LabelledSet,
    labels_of: Mapping[str, tuple[int, ...]],
    config: BenchmarkConfig,
    settings: dict[str, Any],
    events: EventSink,
) -> tuple[str, str]:
    """Carry a training out unless it is done, or another process is at it; return what became."""
    with claimed(config.output, run.folder.name, events) as claim:
        if claim is None:
            return "skipped", "Another run works on it."
        if read_scores(run) is not None:
            return "skipped", "It was done already."
        try:
            is_one = config.is_spread and settings.get("devices", 1) == 1
            choose = own_gpu if is_one else nullcontext
            with choose(config.device) as device:
                here = dataclasses.replace(config, device=device)
                carry_out(run, found, labels_of, here, settings, events)
        except MISFMError as error:
            if isinstance(error, JobCancelled):
                raise
            return "failed", str(error)
        return "done", ""


def _report(
    runs: Sequence[Run], found: LabelledSet, config: BenchmarkConfig, events: EventSink
) -> dict[str, Any]:
    results = {run.folder: read_scores(run) for run in runs}
    missing = [folder.name for folder, result in results.items() if result is None]
    if missing:
        text = f"{len(runs) - len(missing)} of {len(runs)} trainings are done; no table yet."
        return {"missing": missing, "text": text}
    rows = []
    for row in dict.fromkeys(run.row for run in runs):
        of_row = [results[run.folder] for run in runs if run.row == row]
        done = [result for result in of_row if result is not None]
        rows.append(
            RowResult(row.name, tuple(tuple(s) for s, _ in done), tuple(cost for _, cost in done))
        )
    notes = [*_notes(runs, config), *_not_judged(rows, found), *_machines(rows)]
    cells = write_reports(rows, notes, config.output)
    try:
        write_boxes(rows, config.output / "boxes.png")
    except MISFMError as error:
        events(Notice(f"No box plot was drawn: {error}", level="info"))
    draw_worst(runs, {case.name: case for case in found.cases}, config, events)
    return {"table": cells, "text": markdown(cells, notes)}


def _notes(runs: Sequence[Run], config: BenchmarkConfig) -> list[str]:
    published = published_results(config.data)
    judged = len({case for run in runs for case in run.parts.test})
    learnt = sorted({len(run.parts.train) for run in runs})
    return [
        f"{judged} cases judged, {' or '.join(map(str, learnt))} learnt from by each training, "
        f"{len(config.seeds)} seeds, {config.folds} folds; mean ± sd over cases, labels and seeds.",
        "Differences: of the mean Dice of each case over labels and seeds; 95 % by bootstrap over "
        "the cases; p: Wilcoxon's signed-rank test over the cases, corrected by Holm.",
        "Distances: a label that is missed, or found where there is none, has none; (n of m) says "
        "over how many the mean goes where some have none.",
        *published,
    ]


def _not_judged(rows: Sequence[RowResult], found: LabelledSet) -> list[str]:
    """Name the labels that some trainings know nothing of."""
    trainings = [{score.label for score in scores} for row in rows for scores in row.scores]
    names = [n for n in found.label_names.values() if not all(n in each for each in trainings)]
    if not names or found.names_of_segments:
        return []
    return [f"Not in every training, for want of cases to learn them from: {listed(names)}."]


def _machines(rows: Sequence[RowResult]) -> list[str]:
    """Say on what was trained, where machines differ, so that nobody compares their times."""
    chips = Counter(chip for row in rows for cost in row.costs if (chip := cost.get("chip")))
    listed = ", ".join(f"{count} on {chip}" for chip, count in chips.most_common())
    return [f"Trainings: {listed}; their seconds cannot be compared."] if len(chips) > 1 else []


def _read_options(config: BenchmarkConfig) -> dict[str, Any]:
    """Return the settings that all rows share, checked before anything is trained."""
    if config.options is None:
        return {}
    content = read_json_object(
        config.options,
        ConfigError,
        code="bad-options-file",
        remedy='Write settings of `misfm finetune` as JSON, such as {"steps": 500}.',
    )
    own = sorted(set(content) & set(_OWN))
    if own:
        raise ConfigError(
            f"{config.options} sets {', '.join(own)}, which the benchmark decides itself.",
            code="bad-options-file",
            remedy="Leave them out.",
        )
    decode(FinetuneConfig, {**content, "data": config.data, "output": config.output})
    return content


def _check_same(config: BenchmarkConfig, settings: dict[str, Any]) -> None:
    """Refuse to mix trainings of different settings in one table."""
    path = config.output / "benchmark.json"
    encoded = encode(config)
    now = {**{name: encoded[name] for name in _SAME}, "options": settings}
    now["data"] = str(Path(config.data).resolve())
    if not path.is_file():
        if config.merge:
            raise nothing_to_merge(config.output)
        if (config.output / "cases.csv").exists():
            raise OutputError(
                f"{config.output} has a cases.csv that is of no benchmark.",
                code="output-exists",
                remedy="Choose another output.",
            )
        write_json(path, now)
        return
    before = read_json_object(
        path, ConfigError, code="other-benchmark", remedy="Choose another output."
    )
    changed = sorted(name for name in now if before.get(name) != now[name])
    if changed:
        raise ConfigError(
            f"{config.output} holds a benchmark with another {', '.join(changed)}.",
            code="other-benchmark",
            remedy="Choose another output, or give the settings of the first time.",
        )
