"""Pretrain a network on volumes without labels: the job behind `misfm pretrain`."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from MISFMLib.configs import PretrainConfig, raise_problems
from MISFMLib.data.pretext import PretextSource
from MISFMLib.data.stored_arrays import open_volumes
from MISFMLib.device import resolve_precision, seed_everything, select_device, set_threads
from MISFMLib.errors import ConfigError, DependencyError
from MISFMLib.events import EventSink, Notice, ignore_events
from MISFMLib.files import check_output
from MISFMLib.jobs.pretrain_methods import Method, build_method
from MISFMLib.jobs.pretrain_plan import PretrainJob, plan_pretraining
from MISFMLib.jobs.pretrain_validation import HeldOut
from MISFMLib.jobs.pretrained_bundle import write_pretrained_bundle
from MISFMLib.jobs.run_folder import RunFolder
from MISFMLib.training.launch import launch
from MISFMLib.training.loop import FitSettings, Task, fit
from MISFMLib.training.schedules import polynomial_decay, repeated_halving


def run_pretrain(config: PretrainConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Pretrain on unlabelled volumes and write the network as a bundle to start fine-tuning from.

    Checkpoint, log, plan and the list of volumes go to the folder ``<output>.run`` beside the
    bundle. A training that was stopped or killed goes on from there with ``resume``. A volume that
    cannot be used is left out with a notice.

    Args:
        config: Volumes, method, network and training.
        events: Receives notices, progress and metrics.

    Returns:
        Report: where the bundle is, its score in the pretext task, volumes left out, steps.

    Raises:
        DataError: There is no volume that can be used.
        ConfigError: Settings contradict each other, or the run that shall be resumed.
        DependencyError: The preview needs a package that is not installed.
        OutputError: The bundle, the preview, or an unfinished run, is there already.
        TrainingError: The loss is not finite any more.
        KeyboardInterrupt: Stopped by the user; the checkpoint is saved.
    """
    check_output(config.output, overwrite=config.overwrite)
    if config.batch_size % config.devices:
        raise_problems(
            [f"batch_size {config.batch_size} cannot be shared by {config.devices} devices"],
            "Make the batch a multiple of --devices.",
        )
    if config.preview:
        _check_preview(config.preview, overwrite=config.overwrite or config.resume)
    set_threads(config.threads)
    device = select_device(config.device)
    dtype = resolve_precision(config.precision, device)
    folder = RunFolder.open(config)
    with folder.logged(events) as logged:
        if config.resume and not folder.checkpoint.exists():
            logged(
                Notice("There is no checkpoint to resume: the training starts at its beginning.")
            )
        job = plan_pretraining(config, folder, logged)
        launch(train, job, events=logged, device=device, dtype=dtype, devices=config.devices)
        return write_pretrained_bundle(job)


def _check_preview(preview: Path, *, overwrite: bool) -> None:
    """Find out before the training what would spoil the picture after hours of it."""
    check_output(preview, overwrite=overwrite)
    if preview.suffix.lower() != ".png":
        raise ConfigError(
            f"The preview is called {preview.name}, a name that ends in .png was expected.",
            code="bad-preview-format",
            remedy="Give the picture a name that ends in .png.",
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise DependencyError(
            "The preview needs matplotlib, which is not installed.",
            code="missing-package",
            remedy="Install it: pip install 'misfm[report]'",
        )


def train(fabric: Fabric, job: PretrainJob, events: EventSink) -> None:
    """Train in one process of a run; leaves the weights in the run's checkpoint."""
    config = job.config
    set_threads(config.threads)
    seed_everything(config.seed)
    method = build_method(config, job.network)
    judge = HeldOut(
        method=method,
        samples=_samples(job, method, job.validation),
        device=fabric.device,
        precision=config.precision,
        preview=config.preview,
    )
    task = Task(
        network=method.network,
        batches=_samples(job, method, job.train).batch,
        loss=method.loss,
        schedule=_schedule(config),
        validate=judge if job.validation else None,
    )
    names = [field.name for field in dataclasses.fields(FitSettings)]
    settings = FitSettings(**{name: getattr(config, name) for name in names})
    fit(fabric, task, settings, job.folder.checkpoint, events)


def _samples(job: PretrainJob, method: Method, folders: Sequence[Path]) -> PretextSource:
    return PretextSource(
        source=open_volumes(folders),
        pretext=method.pretext,
        batch_size=job.config.batch_size,
        seed=job.config.seed,
    )


def _schedule(config: PretrainConfig) -> Callable[[int], float]:
    if config.halve_every is None:
        return partial(polynomial_decay, steps=config.steps)
    return partial(repeated_halving, every=config.halve_every)
