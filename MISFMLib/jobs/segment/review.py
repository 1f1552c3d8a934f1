"""The page to check the results of a batch by, made at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from MISFMLib.configs import LabelConfig, ReviewConfig, SegmentConfig
from MISFMLib.errors import ConfigError, JobCancelled, MISFMError
from MISFMLib.events import EventSink, Notice
from MISFMLib.files import real_path
from MISFMLib.jobs import load_job
from MISFMLib.jobs.review_place import REPORTS, check_place
from MISFMLib.jobs.segment.plan import SegmentCase, SegmentPlan


def with_reports(config: SegmentConfig) -> SegmentConfig:
    """Have the cases write the reports that the page tells from, if there shall be one."""
    if config.review is None or config.report is not None:
        return config
    return dataclasses.replace(config, report=config.review / REPORTS)


def check_review(config: SegmentConfig, plan: SegmentPlan) -> None:
    """Refuse a page that could not be made at the end.

    Raises:
        ConfigError: The output is one file, or results would lie in the folder of the page.
        OutputError: Its folder holds something else.
    """
    if config.review is None:
        return
    if plan.folder is None:
        raise ConfigError(
            "A page to review is made of a folder of results, not of one file.",
            code="review-of-file",
            remedy="Give a folder as output.",
        )
    page = real_path(config.review)
    for folder in {real_path(path.parent) for path in plan.cases[0].results}:  # as of all cases
        if folder == page or (page in folder.parents and folder != page / REPORTS):
            raise ConfigError(
                f"The page to review would lie among results: {folder} is in {config.review}.",
                code="review-among-results",
                remedy="Choose a folder of its own for the page.",
            )
    check_place(config.review, overwrite=True)


def write_review(
    config: SegmentConfig,
    cases: Iterable[SegmentCase],
    labels: Sequence[LabelConfig],
    events: EventSink,
) -> None:
    """Make the page, in the processes that have segmented; what hinders it is only told.

    Args:
        config: The job, with ``review`` and ``report``.
        cases: All its cases.
        labels: What the model finds.
        events: Hears progress and what is wrong.
    """
    assert config.review is not None
    settings = ReviewConfig(
        results=config.output,
        output=config.review,
        reports=config.report,
        series=config.series,
        labels=tuple(f"{label.value}={label.name}" for label in labels),
        workers=config.workers,
        scheduler=config.scheduler,
        overwrite=True,
    )
    try:
        report = load_job("review")(settings, events, {case.name: case.inputs[0] for case in cases})
        events(Notice(report["text"], level="info"))
    except JobCancelled:
        raise
    except MISFMError as error:
        events(Notice(f"There is no page to review: {error}"))
