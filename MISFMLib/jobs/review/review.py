"""``misfm review``: measure the results of a cohort, find the outliers, write the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from MISFMLib.configs import ReviewConfig
from MISFMLib.cores import usable_cores
from MISFMLib.data.cases import parse_label_names
from MISFMLib.data.descriptions import label_names_beside
from MISFMLib.errors import DataError, DependencyError, MISFMError
from MISFMLib.events import EventSink, Notice, ignore_events
from MISFMLib.jobs.evaluate.pairs import (
    files_by_name,
    images_by_case,
    names_of_model,
    rows_of_batch,
)
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.review.job import ReviewJob
from MISFMLib.jobs.review.measures import measure
from MISFMLib.jobs.review.outliers import find_outliers
from MISFMLib.jobs.review.page import ReviewedCase, write_page
from MISFMLib.jobs.review.pictures import write_thumbnail
from MISFMLib.jobs.review.reports import told_by
from MISFMLib.jobs.review.to_correct import write_to_correct
from MISFMLib.jobs.review.verdicts import read_verdicts
from MISFMLib.jobs.review_place import THUMBNAILS, check_place
from MISFMLib.jobs.workers import open_workers
from MISFMLib.models.terminology import label_config
from MISFMLib.volumes.case_names import case_name
from MISFMLib.volumes.dicom_seg import is_dicom_seg, read_dicom_seg
from MISFMLib.volumes.series_choice import SeriesChoice
from MISFMLib.volumes.volume import (
    Volume,
    count_frames,
    on_grid,
    present_values,
    read_label_map,
    read_volume,
)

_FEW = 8
_GONE = "it was done, but its label map is not there any more."
_WITHOUT_RESULT = {"failed": "it failed.", "cancelled": "it was not finished."}
_DIED = "The process that measured it died each time: most likely the memory was full."


def run_review(
    config: ReviewConfig,
    events: EventSink = ignore_events,
    images: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Make the page.

    Args:
        config: Results, scans and place of the page.
        events: Hears progress and notices.
        images: The scan of each case, where that is known; else they are found by their names.

    Returns:
        Numbers of cases, the strongest outliers, with the key ``text`` for people.

    Raises:
        ConfigError: The choice of a series has another form.
        DataError: There are no results, or the verdicts cannot be read.
        DependencyError: SciPy or Pillow is not installed.
        OutputError: The folder holds something else, or is there already.
    """
    check_place(config.output, overwrite=config.overwrite)
    SeriesChoice.parse(config.series)
    verdicts = read_verdicts(config.verdicts) if config.verdicts else {}
    jobs = _find_jobs(config, images)
    count = counter(events, "review", len(jobs))
    cases: dict[str, ReviewedCase] = {}
    for case in _reviewed(jobs, config):
        cases[case.name] = case
        count(len(cases))
    for name, message in _listed(config.results).items():
        cases.setdefault(name, ReviewedCase(name, "", "", {}, f"No result: {message}"))
    ordered = [cases[name] for name in sorted(cases)]
    findings = find_outliers({case.name: case.measures for case in ordered if not case.problem})
    write_page(ordered, findings, verdicts, config.output)
    if config.verdicts is not None:
        for notice in write_to_correct(jobs, verdicts, config.output):
            events(Notice(notice))
    for case in ordered:
        if case.problem:
            events(Notice(f"{case.name}: {case.problem}"))
    first = sorted(findings, key=lambda name: -findings[name].score)[:_FEW]
    lines = [f"{name}: {findings[name].reasons[0]}" for name in first if findings[name].score]
    lines.append(f"{len(ordered)} cases: open {config.output / 'index.html'}")
    return {"cases": len(ordered), "first": first, "text": "\n".join(lines)}


def _find_jobs(config: ReviewConfig, images: Mapping[str, Path] | None) -> list[ReviewJob]:
    listed = _listed(config.results)
    files = {}
    for name, path in files_by_name(config.results).items():
        own = case_name(path)  # with the number of a channel, where not all cases have one
        files[own if own in listed else name] = path
    if not files:
        raise DataError(
            f"There is no label map in {config.results}.",
            code="no-volume",
            remedy="Give the folder of results that `misfm segment` wrote.",
        )
    if images is None:
        images = images_by_case(config.images) if config.images is not None else {}
    names = (
        parse_label_names(config.labels)
        or label_names_beside(config.results)
        or names_of_model(config.results)
    )
    return [
        ReviewJob(
            name,
            path,
            images.get(name),
            names,
            config.output / THUMBNAILS / f"{name}.jpg",
            config.series,
            None if config.reports is None else config.reports / f"{name}.json",
        )
        for name, path in sorted(files.items())
    ]


def _listed(results: Path) -> dict[str, str]:
    """Return the cases of a batch's table, each with why it may have no label map."""
    return {
        row["case"]: row.get("message") or _WITHOUT_RESULT.get(row.get("status", ""), _GONE)
        for row in rows_of_batch(results)
        if row.get("case")
    }


def _reviewed(jobs: Sequence[ReviewJob], config: ReviewConfig) -> Iterator[ReviewedCase]:
    count = min(usable_cores() if config.workers is None else config.workers, len(jobs))
    if config.scheduler is None and (count < 2 or (config.workers is None and len(jobs) < _FEW)):
        yield from map(_review, jobs)
        return
    with open_workers(count, config.scheduler) as workers:
        for job, future in workers.results(_review, jobs):
            if isinstance(future.exception(), BrokenProcessPool):
                yield ReviewedCase(job.name, str(job.label.absolute()), "", {}, _DIED)
            else:
                yield future.result()


def _review(job: ReviewJob) -> ReviewedCase:
    """Measure and draw a case; what is wrong with it stands on the page."""
    label = str(job.label.absolute())
    told = told_by(job.report)
    try:
        label_map = (read_dicom_seg if is_dicom_seg(job.label) else read_label_map)(job.label)
        volume, image, warnings = _scan(job)
        if volume is not None:
            label_map = on_grid(label_map, volume, name=str(job.label))
        names = {**label_map.names, **job.names}
        measures = measure(label_map, names, volume)
        colors = {
            value: label_config(value, names.get(value, "")).color
            for value in present_values(label_map.array_DHW) - {0}
        }
        shape = label_map.array_DHW.shape
        place = told.place_dhw if volume is not None and told.lies_in(shape) else None
        write_thumbnail(volume, label_map, colors, job.thumbnail, place)
    except DependencyError:
        raise
    except MISFMError as error:
        return ReviewedCase(job.name, label, _text(job.image), {}, str(error))
    problem = "" if measures else "The result is empty."
    warnings = (*warnings, *told.warnings)
    sure = told.certainty
    return ReviewedCase(job.name, label, image, measures, problem, warnings, sure, is_drawn=True)


def _scan(job: ReviewJob) -> tuple[Volume | None, str, tuple[str, ...]]:
    """Return the scan, its path as Slicer can open it, and what is wrong with it."""
    if job.image is None:
        return None, "", ()
    try:
        frames = count_frames(job.image)
        volume = read_volume(job.image, series=job.series, num_channels=frames)
    except MISFMError as error:
        return None, _text(job.image), (f"The scan is not shown: {error.message}",)
    # Of a DICOM series Slicer opens all files when it is given one.
    return volume, _text(volume.dicom_files[0] if volume.dicom_files else job.image), ()


def _text(path: Path | None) -> str:
    return "" if path is None else str(path.absolute())
