"""Train a network on labelled volumes and ship it as a bundle: the job behind `misfm finetune`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lightning_fabric import Fabric

from MISFMLib.configs import FinetuneConfig, raise_problems
from MISFMLib.data.augmentation import Augmentation
from MISFMLib.data.cases import Case, LabelledSet, find_cases
from MISFMLib.data.datasets import PatchSource, PreparedCase, prepare_case
from MISFMLib.data.label_check import examine_cases
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.data.split import choose_split
from MISFMLib.device import resolve_precision, select_device, set_threads
from MISFMLib.events import EventSink, Notice, ignore_events
from MISFMLib.files import check_output
from MISFMLib.inference.sliding_window import Placement
from MISFMLib.inference.windows import WindowConfig
from MISFMLib.jobs.finetune_job import FinetuneJob
from MISFMLib.jobs.planning import find_start, make_plan, start_network
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.run_folder import RunFolder
from MISFMLib.jobs.trained_bundle import write_trained_bundle
from MISFMLib.jobs.validation import subset, validate
from MISFMLib.networks import SegmentationNetwork
from MISFMLib.training.launch import launch
from MISFMLib.training.loop import FitSettings, Task, Validation, fit
from MISFMLib.training.losses import SegmentationLoss
from MISFMLib.training.schedules import polynomial_decay

_VALIDATION_OVERLAP = 0.25
"""Overlap of windows in the validations during a training; the final one uses the usual half."""


def run_finetune(config: FinetuneConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Train on a labelled data set and write the model as a bundle.

    Checkpoint, log, plan and split go to the folder ``<output>.run`` beside the bundle. A training
    that was stopped or killed goes on from there with ``resume``.

    Args:
        config: Data, network and training.
        events: Receives notices, progress and metrics.

    Returns:
        Report: where the bundle is, its held-out results, steps, seconds.

    Raises:
        DataError: The data set cannot be trained on.
        ConfigError: Settings contradict each other, or the run that shall be resumed.
        BundleError: The source model cannot be used.
        OutputError: The bundle, or an unfinished run, is there already.
        TrainingError: The loss is not finite any more.
        KeyboardInterrupt: Stopped by the user; the checkpoint is saved.
    """
    check_output(config.output, overwrite=config.overwrite)
    if config.batch_size % config.devices:
        raise_problems(
            [f"batch_size {config.batch_size} cannot be shared by {config.devices} devices"],
            "Make the batch a multiple of --devices.",
        )
    set_threads(config.threads)
    device = select_device(config.device)
    dtype = resolve_precision(config.precision, device)
    folder = RunFolder.open(config)
    with folder.logged(events) as logged:
        if config.resume and not folder.checkpoint.exists():
            logged(
                Notice("There is no checkpoint to resume: the training starts at its beginning.")
            )
        job = _plan_job(config, folder, logged)
        _prepared(job, [*job.train, *job.validation], counter(logged, "prepare", job.case_count))
        launch(train, job, events=logged, device=device, dtype=dtype, devices=config.devices)
        return write_trained_bundle(job, logged)


def _plan_job(config: FinetuneConfig, folder: RunFolder, events: EventSink) -> FinetuneJob:
    """Find, split and check the cases, plan the training, and write both down."""
    found = find_cases(config.data)
    if found.unpaired:
        files = ", ".join(file.name for file in found.unpaired[:10])
        events(Notice(f"{len(found.unpaired)} files have no counterpart and are left out: {files}"))
    split = choose_split(
        found, config.split, validation_fraction=config.validation_fraction, seed=config.seed
    )
    if not split.validation:
        events(Notice("No case is held out, so the model will not be evaluated."))
    start = find_start(config)
    total = len(split.train) + len(split.validation)
    facts = examine_cases(found, split, counter(events, "check", total))
    plan = make_plan(config, found, [facts[name] for name in split.train], start)
    folder.write_plan(plan, split)
    lines = "\n".join(f"{topic:<12}{text}" for topic, text in plan.summary().items())
    events(Notice(f"Plan\n{lines}", level="info"))
    _warn_of_mirrored_sides(config, plan, events)
    return FinetuneJob(
        config=config,
        plan=plan,
        start=start,
        folder=folder,
        train=_named(found, split.train),
        validation=_named(found, split.validation),
    )


def _warn_of_mirrored_sides(config: FinetuneConfig, plan: TrainingPlan, events: EventSink) -> None:
    """Tell when mirrored patches would teach the network to confuse left and right."""
    sides = {label.modifier.meaning for label in plan.labels if label.modifier}
    letters = plan.preprocessing.orientation
    side_axis = next(2 - index for index, letter in enumerate(letters) if letter in "LR")
    is_mirrored = config.augmentation != "none" and side_axis in config.mirror_axes
    if is_mirrored and {"Left", "Right"} <= sides:
        others = [axis for axis in config.mirror_axes if axis != side_axis]
        advice = " ".join(["--mirror-axes", *map(str, others)])
        events(
            Notice(
                "Some labels differ in their side only, and patches are mirrored left to right, "
                f"which makes them hard to tell apart. Use {advice} to keep the sides."
            )
        )


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
    set_threads(config.threads)
    network, load_report = start_network(config, plan, job.start)
    if load_report and fabric.is_global_zero:
        events(Notice(f"Start: {load_report.summary()}", level="info"))
    patches = PatchSource(
        cases=_prepared(job, job.train),
        patch_size=plan.preprocessing.patch_size,
        batch_size=config.batch_size,
        foreground_share=config.foreground_share,
        augmentation=Augmentation(
            config.augmentation,
            plan.preprocessing.patch_size,
            mirror_axes=config.mirror_axes,
            resolution_mode=plan.network.resolution_mode,
        ),
        seed=config.seed,
    )
    task = Task(
        network=network,
        batches=patches.batch,
        loss=SegmentationLoss(),
        schedule=partial(polynomial_decay, steps=config.steps),
        validate=partial(_validate, fabric, job, network) if job.validation else None,
    )
    fit(fabric, task, _settings(config), job.folder.checkpoint, events)


def _validate(fabric: Fabric, job: FinetuneJob, network: SegmentationNetwork) -> Validation:
    window = WindowConfig(
        patch_size=job.plan.preprocessing.patch_size,
        overlap=_VALIDATION_OVERLAP,
        batch_size=job.config.batch_size,
    )
    placement = Placement(network=fabric.device, sums=fabric.device, precision=job.config.precision)
    cases = subset(_prepared(job, job.validation))
    return validate(network, cases, job.plan.labels, window, placement)


def _settings(config: FinetuneConfig) -> FitSettings:
    return FitSettings(
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        optimizer=config.optimizer,
        gradient_clip=config.gradient_clip,
        validate_every=config.validate_every,
        checkpoint_every=config.checkpoint_every,
        seed=config.seed,
    )
