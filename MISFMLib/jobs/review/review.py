"""``misfm review``: measure the results of a cohort, find the outliers, write the page."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from MISFMLib.configs import ReviewConfig
from MISFMLib.data.cases import parse_label_names
from MISFMLib.data.descriptions import label_names_beside
from MISFMLib.errors import DataError, DependencyError, MISFMError, OutputError
from MISFMLib.events import EventSink, Notice, ignore_events
from MISFMLib.files import write_text
from MISFMLib.jobs.evaluate.pairs import files_by_name
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.review.measures import measure
from MISFMLib.jobs.review.outliers import find_outliers
from MISFMLib.jobs.review.page import ReviewedCase, write_page
from MISFMLib.jobs.review.pictures import write_thumbnail
from MISFMLib.jobs.review.verdicts import Verdict, read_verdicts
from MISFMLib.models.store import find_model
from MISFMLib.models.terminology import label_config
from MISFMLib.volumes.dicom_seg import is_dicom_seg, read_dicom_seg
from MISFMLib.volumes.volume import on_grid, present_values, read_label_map, read_volume

_OURS = "data.js"
"""Marks a folder as a page of ours."""
_FEW = 8


@dataclass(frozen=True)
class _Job:
    """What a worker needs for one case."""

    name: str
    label: Path
    image: Path | None
    names: Mapping[int, str]
    thumbnail: Path


def run_review(config: ReviewConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Make the page.

    Args:
        config: Results, scans and place of the page.
        events: Hears progress and notices.

    Returns:
        Numbers of cases, the strongest outliers, with the key ``text`` for people.

    Raises:
        DataError: There are no results, or the verdicts cannot be read.
        DependencyError: SciPy or Pillow is not installed.
        OutputError: The folder holds something else, or is there already.
    """
    _check_place(config)
    verdicts = read_verdicts(config.verdicts) if config.verdicts else {}
    jobs = _find_jobs(config)
    count = counter(events, "review", len(jobs))
    cases: dict[str, ReviewedCase] = {}
    for case in _reviewed(jobs, config.workers):
        cases[case.name] = case
        count(len(cases))
    for name, message in _failed_before(config.results).items():
        cases.setdefault(name, ReviewedCase(name, "", "", {}, f"No result: {message}"))
    ordered = [cases[name] for name in sorted(cases)]
    findings = find_outliers({case.name: case.measures for case in ordered if not case.problem})
    write_page(ordered, findings, verdicts, config.output)
    _write_to_correct(ordered, verdicts, config.output / "to_correct.csv", config.verdicts)
    for case in ordered:
        if case.problem:
            events(Notice(f"{case.name}: {case.problem}"))
    first = sorted(findings, key=lambda name: -findings[name].score)[:_FEW]
    lines = [f"{name}: {findings[name].reasons[0]}" for name in first if findings[name].score]
    lines.append(f"{len(ordered)} cases: open {config.output / 'index.html'}")
    return {"cases": len(ordered), "first": first, "text": "\n".join(lines)}


def _check_place(config: ReviewConfig) -> None:
    """Write into a new or empty folder, or over a page of ours if that is allowed."""
    folder = config.output
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / _OURS).is_file():
        raise OutputError(
            f"{folder} holds other files than a review.",
            code="output-exists",
            remedy="Choose a new folder.",
        )
    if not config.overwrite:
        raise OutputError(
            f"{folder} holds a review already.",
            code="output-exists",
            remedy="Choose another output, or allow replacing it with --overwrite.",
        )


def _find_jobs(config: ReviewConfig) -> list[_Job]:
    files = files_by_name(config.results)
    if not files:
        raise DataError(
            f"There is no label map in {config.results}.",
            code="no-volume",
            remedy="Give the folder of results that `misfm segment` wrote.",
        )
    images = files_by_name(config.images) if config.images is not None else {}
    names = (
        parse_label_names(config.labels)
        or label_names_beside(config.results)
        or _names_of_model(config.results)
    )
    return [
        _Job(
            name,
            path,
            images.get(name),
            names,
            config.output / "thumbnails" / f"{name}.jpg",
        )
        for name, path in sorted(files.items())
    ]


def _rows(results: Path) -> list[dict[str, str]]:
    """Return the rows of a batch's table; none where there is no readable one."""
    try:
        with (results / "cases.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _names_of_model(results: Path) -> dict[int, str]:
    """Return the label names of the model that made the results, if it is installed."""
    for row in _rows(results):
        words = (row.get("model") or "").split()
        try:
            labels = find_model(words[0]).manifest.labels if words else ()
        except MISFMError:
            return {}
        return {label.value: label.name for label in labels}
    return {}


def _failed_before(results: Path) -> dict[str, str]:
    return {
        row["case"]: row.get("message") or "it failed"
        for row in _rows(results)
        if row.get("status") == "failed" and row.get("case")
    }


def _reviewed(jobs: Sequence[_Job], workers: int | None) -> Iterator[ReviewedCase]:
    number = min(workers if workers is not None else os.cpu_count() or 1, len(jobs))
    if number < 2 or (workers is None and len(jobs) < _FEW):
        yield from map(_review, jobs)
        return
    with ProcessPoolExecutor(number, get_context("spawn")) as pool:
        tasks = [pool.submit(_review, job) for job in jobs]
        try:
            yield from (task.result() for task in as_completed(tasks))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _review(job: _Job) -> ReviewedCase:
    """Measure and draw a case; what is wrong with it stands on the page."""
    image = "" if job.image is None else str(job.image.absolute())
    case = (job.name, str(job.label.absolute()), image)
    try:
        reader = read_dicom_seg if is_dicom_seg(job.label) else read_label_map
        label_map = reader(job.label)
        volume = None if job.image is None else read_volume(job.image)
        if volume is not None:
            label_map = on_grid(label_map, volume, name=str(job.label))
        names = {**label_map.names, **job.names}
        measures = measure(label_map, names, volume)
        colors = {
            value: label_config(value, names.get(value, "")).color
            for value in present_values(label_map.array_DHW) - {0}
        }
        write_thumbnail(volume, label_map, colors, job.thumbnail)
    except DependencyError:
        raise
    except MISFMError as error:
        return ReviewedCase(*case, {}, str(error))
    return ReviewedCase(*case, measures, "" if measures else "The result is empty.")


def _write_to_correct(
    cases: Sequence[ReviewedCase], verdicts: Mapping[str, Verdict], path: Path, source: Path | None
) -> None:
    """List what a person found wrong or unsure, in the form that `misfm finetune` reads."""
    if source is None:
        return
    chosen = [
        case
        for case in cases
        if verdicts.get(case.name, Verdict("")).verdict in ("wrong", "unsure")
    ]
    rows = [("name", "image", "label", "note")]
    rows += [(c.name, c.image, c.label, verdicts[c.name].note) for c in chosen]
    text = "".join(",".join(map(_quoted, row)) + "\n" for row in rows)
    write_text(path, text, overwrite=True)


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\n\r') else cell
