"""Train a network on labelled volumes and ship it as a bundle: the job behind `misfm finetune`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from MISFMLib.configs import FinetuneConfig
from MISFMLib.data.augmentation import Augmentation
from MISFMLib.data.cases import (
    Case,
    LabelledSet,
    Split,
    find_cases,
    listed,
    with_label_names,
)
from MISFMLib.data.datasets import PatchSource, PreparedCase, prepare_case
from MISFMLib.data.known_cases import NONE_KNOWN, known_cases
from MISFMLib.data.label_check import CaseFacts, check_parts, examine_cases
from MISFMLib.data.label_doubts import find_doubts
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.data.split import draw_split, given_split
from MISFMLib.data.visits import visited
from MISFMLib.device import set_threads
from MISFMLib.events import EventSink, Notice, ignore_events
from MISFMLib.inference.results import SegmenterOptions
from MISFMLib.inference.sliding_window import Placement
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.train.case_notices import (
    tell_of_cases,
    tell_of_learnt_cases,
    tell_of_lost_labels,
    tell_of_no_hounsfield,
    tell_of_other_channels,
    tell_of_other_labels,
    tell_of_other_network,
    warn_of_mirrored_labels,
)
from MISFMLib.jobs.train.finetune_job import FinetuneJob
from MISFMLib.jobs.train.going_on import (
    check_moved,
    kept_plan,
    kept_split,
    read_changed_anew,
)
from MISFMLib.jobs.train.planning import make_plan, with_schedule
from MISFMLib.jobs.train.run_folder import RunFolder
from MISFMLib.jobs.train.start import Start, find_start, start_network
from MISFMLib.jobs.train.trained_bundle import write_trained_bundle
from MISFMLib.jobs.train.training_run import check_patience, fit_settings, open_run, run_training
from MISFMLib.jobs.train.validation import choose_cases, validate
from MISFMLib.jobs.train.watching import write_watched
from MISFMLib.networks import SegmentationNetwork
from MISFMLib.networks.trainable import count_weights, level_rate
from MISFMLib.training.launch import Processes
from MISFMLib.training.loop import fit
from MISFMLib.training.losses import SegmentationLoss
from MISFMLib.training.prior import class_shares, first_labels, set_class_prior
from MISFMLib.training.schedules import linear_rise, polynomial_decay
from MISFMLib.training.stop import yielding_events
from MISFMLib.training.task import Task, Validation

_VALIDATION_OVERLAP = 0.25
"""Overlap of windows in the validations during a training; the final one uses the usual half."""
_MOST_WARM_UP = 5
"""The learning rate rises during one of so many parts of the training at most."""


def run_finetune(config: FinetuneConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Train on a labelled data set and write the model as a bundle.

    Checkpoint, log, plan and split go to the folder ``<output>.run`` beside the bundle. A training
    that was stopped or killed goes on from there with ``resume``.

    Args:
        config: Data, network and training.
        events: Receives notices, progress and metrics.

    Returns:
        Report: with `check_only` the split and the plan; else where the bundle is, its held-out
        results, steps and what ended them, seconds, speed of loader and network. Empty in processes
        that torchrun or SLURM has started to help the first.

    Raises:
        DataError: The data set cannot be trained on.
        ConfigError: Settings contradict each other, or the run that shall be resumed.
        BundleError: The source model cannot be used.
        OutputError: The bundle, or an unfinished run, is there already.
        TrainingError: The loss is not finite any more.
        KeyboardInterrupt: Stopped by the user; the checkpoint is saved.
    """
    if config.check_only:
        return _check(config, events)
    return run_training(config, train, partial(_lead, config, events))


def _check(config: FinetuneConfig, events: EventSink) -> dict[str, Any]:
    """Do everything that comes before a training, and nothing else."""
    _config, found, split, plan, _start, facts = plan_training(config, events)
    on_case = counter(events, "check", len(split.train) + len(split.validation))
    doubts = find_doubts(found, split, facts, on_case)
    counts = f"{len(split.train)} cases to learn from, {len(split.validation)} held out"
    lines = "".join(f"\n- {each.text()}" for each in doubts)
    return {
        "train": list(split.train),
        "validation": list(split.validation),
        "plan": plan.summary(),
        "doubts": [asdict(each) for each in doubts],
        "text": f"The data set can be trained on: {counts}.{lines}",
    }


def _lead(config: FinetuneConfig, events: EventSink, processes: Processes) -> dict[str, Any]:
    with open_run(config, events, processes) as run:
        yielding = yielding_events(run.events)
        job, facts = _plan_job(config, run.folder, yielding)
        check_moved(job, yielding)
        read_changed_anew(job, yielding)
        on_case = counter(yielding, "prepare", job.case_count)
        prepared = _prepared(job, [*job.train, *job.validation], on_case)
        tell_of_lost_labels(job.plan, facts, prepared, yielding)
        return write_trained_bundle(job, run.train(train, job), yielding)


def _plan_job(
    config: FinetuneConfig, folder: RunFolder, events: EventSink
) -> tuple[FinetuneJob, dict[str, CaseFacts]]:
    """Find, split and check the cases, plan the training, and write both down."""
    config, found, split, plan, start, facts = plan_training(config, events, folder.begun())
    folder.write_plan(plan, split)
    job = FinetuneJob(
        config=config,
        plan=plan,
        start=start,
        folder=folder,
        train=_named(found, split.train),
        validation=_named(found, split.validation),
        images={name: fact.image_digest for name, fact in facts.items()},
    )
    return job, facts


def plan_training(
    config: FinetuneConfig, events: EventSink, begun: tuple[TrainingPlan, Split] | None = None
) -> tuple[FinetuneConfig, LabelledSet, Split, TrainingPlan, Start, dict[str, CaseFacts]]:
    """Find, split and check the cases, and plan the training; the settings then tell its length.

    What the check has found of the cases comes along, since reading them takes long.

    Plan and split of a training that goes on, `begun`, stay as they are.

    Raises:
        DataError: The data set cannot be trained on; every problem is named with its remedy.
        ConfigError: Settings contradict each other or the data set, or what goes on does not fit it
            any more.
        BundleError: The source model cannot be used.
    """
    found = with_label_names(find_cases(config.data), config.labels)
    for notice in found.notices:
        events(Notice(notice))
    if found.unpaired:
        files = listed([file.relative_to(_root(config.data)) for file in found.unpaired])
        events(Notice(f"{len(found.unpaired)} files have no counterpart and are left out: {files}"))
    start = find_start(config)
    tell_of_other_network(config, start, events)
    split = kept_split(begun[1], found) if begun else given_split(found, config.split)
    used = (*split.train, *split.validation) if split else [case.name for case in found.cases]
    facts = examine_cases(found, used, counter(events, "check", len(used)))
    known = known_cases(facts, start.bundle.manifest) if start.bundle else NONE_KNOWN
    if split is None:
        labels_of = {name: fact.label_values for name, fact in facts.items()}
        split = draw_split(found, config.validation_fraction, config.seed, labels_of, known)
    check_parts(facts, found, split)
    tell_of_cases(config, found, split, facts, events)
    tell_of_learnt_cases(split, known, events)
    check_patience(config, split.validation)
    of_training = [facts[name] for name in split.train]
    plan = kept_plan(begun[0], facts) if begun else make_plan(config, found, of_training, start)
    config = with_schedule(config, split, plan.labels, start, known)
    length = f"{config.steps} steps at most, learning rate {config.learning_rate:g}"
    summary = {**plan.summary(), "length": length}
    lines = "\n".join(f"{topic:<12}{text}" for topic, text in summary.items())
    events(Notice(f"Plan\n{lines}", level="info"))
    warn_of_mirrored_labels(plan, of_training, events)
    tell_of_no_hounsfield(plan, facts, events)
    tell_of_other_channels(plan, start, events)
    tell_of_other_labels(config, plan, start, events)
    return config, found, split, plan, start, facts


def _root(data: Path) -> Path:
    return data if data.is_dir() else data.parent


def _named(found: LabelledSet, names: Sequence[str]) -> tuple[Case, ...]:
    by_name = {case.name: case for case in found.cases}
    return tuple(by_name[name] for name in names)


def _prepared(
    job: FinetuneJob, cases: Sequence[Case], on_case: Callable[[int], None] = lambda _done: None
) -> list[PreparedCase]:
    """Open cases in model space; the first call in a run brings them there."""
    values = [label.value for label in job.plan.labels]
    prepared = []
    for case in cases:
        prepared.append(prepare_case(case, job.plan.preprocessing, values, job.folder.cases))
        on_case(len(prepared))
    return prepared


def train(fabric: Fabric, job: FinetuneJob, events: EventSink) -> None:
    """Train in one process of a run; leaves the weights in the run's checkpoint."""
    config, plan = job.config, job.plan
    assert config.steps is not None, "the plan gives every training its length"
    set_threads(config.threads)
    network, load_report = start_network(config, plan, job.start)
    if load_report and fabric.is_global_zero:
        trained, total = count_weights(network)
        lines = f"Start: {load_report.summary()}\n{trained} of {total} weights are trained"
        events(Notice(lines, level="info"))
    patches = _patches(job)
    visits = len(patches.cases)
    if visits > len(job.train) and fabric.is_global_zero:
        told = f"Cases with rare labels are visited more often: a round of all has {visits} visits."
        events(Notice(told, level="info"))
    cases = choose_cases(_prepared(job, job.validation), patches.cases)
    first = first_labels(patches.labels, config.batch_size)
    fresh = load_report.newly_initialised if load_report else None
    shares_K = class_shares(first, plan.network.num_classes)
    set_class_prior(network, shares_K, fresh)
    loss = SegmentationLoss()
    task = Task(
        network=network,
        batches=patches.batch,
        loss=loss,
        attend=partial(_emphasise, loss, shares_K, [label.name for label in plan.labels]),
        schedule=partial(polynomial_decay, steps=config.steps),
        rise=partial(linear_rise, warm_up=min(config.warm_up_steps, config.steps // _MOST_WARM_UP)),
        rate=partial(level_rate, decay=config.layer_decay, levels=len(plan.network.level_channels)),
        validate=partial(_validate, fabric, job, network, events, cases),
    )
    fit(fabric, task, fit_settings(config), job.folder.checkpoint, events)


def _emphasise(
    loss: SegmentationLoss, shares_K: Tensor, names: Sequence[str], missing: Sequence[str]
) -> None:
    """Let labels that have not been found yet count more."""
    loss.emphasise([1 + names.index(name) for name in missing], shares_K)


def _patches(job: FinetuneJob) -> PatchSource:
    """Give the training patches of a job."""
    config, plan = job.config, job.plan
    return PatchSource(
        cases=visited(_prepared(job, job.train)),
        patch_size=plan.preprocessing.patch_size,
        batch_size=config.batch_size,
        foreground_share=config.foreground_share,
        augmentation=Augmentation(
            config.augmentation,
            plan.preprocessing.patch_size,
            mirror_axes=plan.preprocessing.mirror_axes,
            resolution_mode=plan.network.resolution_mode,
        ),
        seed=config.seed,
        padding=plan.preprocessing.padding,
    )


def _validate(
    fabric: Fabric,
    job: FinetuneJob,
    network: SegmentationNetwork,
    events: EventSink,
    cases: tuple[Sequence[PreparedCase], Sequence[PreparedCase]],
) -> Validation:
    options = SegmenterOptions(overlap=_VALIDATION_OVERLAP, batch_size=job.config.batch_size)
    window = options.windows(job.plan.preprocessing)
    placement = Placement(network=fabric.device, sums=fabric.device, precision=job.config.precision)
    held_out, learnt_from = cases
    validation = validate(network, held_out, job.plan.labels, window, placement, learnt_from)
    write_watched(job, network, window, placement, events)
    return validation
