"""A training that goes on keeps plan and split, whatever has become of the data set since."""

from __future__ import annotations

from collections.abc import Mapping

from MISFMLib.data.cases import LabelledSet, Split, listed
from MISFMLib.data.datasets import drop_changed, other_files
from MISFMLib.data.label_check import CaseFacts
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.errors import ConfigError
from MISFMLib.events import EventSink, Notice
from MISFMLib.jobs.train.finetune_job import FinetuneJob


def kept_split(split: Split, found: LabelledSet) -> Split:
    """Return the split that a training goes on with.

    Raises:
        ConfigError: Cases are gone that it has learnt from, or is judged by.
    """
    gone = sorted({*split.train, *split.validation} - {case.name for case in found.cases})
    if gone:
        raise _other_data(f"its cases {listed(gone)} are not in the data set any more")
    return split


def kept_plan(plan: TrainingPlan, facts: Mapping[str, CaseFacts]) -> TrainingPlan:
    """Return the plan that a training goes on with.

    Raises:
        ConfigError: A label would be learnt as background, since it was not there at the beginning.
    """
    known = {label.value for label in plan.labels}
    new = sorted({value for fact in facts.values() for value in fact.label_values} - known)
    if new:
        raise _other_data(f"its cases have the labels {listed(new)}, which it does not know")
    return plan


def check_moved(job: FinetuneJob, events: EventSink) -> None:
    """Let a training go on with a data set that lies elsewhere, if its files are the same.

    Raises:
        ConfigError: They are of other sizes.
    """
    before, now = job.folder.other_place(job.config), job.config.data
    if not before:
        return
    others = other_files([*job.train, *job.validation], job.folder.cases)
    if others:
        raise _other_data(f"its cases {listed(others)} are others in {now} than in {before}")
    events(Notice(f"The data set is read from {now} now, no longer from {before}."))


def read_changed_anew(job: FinetuneJob, events: EventSink) -> None:
    """Have cases prepared anew whose files were changed while the training rested."""
    changed = drop_changed([*job.train, *job.validation], job.folder.cases)
    if changed:
        events(Notice(f"Changed since the training began, and read anew: {listed(changed)}."))


def _other_data(what: str) -> ConfigError:
    return ConfigError(
        f"The training cannot go on: {what}.",
        code="resume-data",
        remedy="Put the data set back as it was, or start over with --overwrite and without "
        "--resume.",
    )
