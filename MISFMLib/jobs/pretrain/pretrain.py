"""Pretrain a network on volumes without labels: the job behind `misfm pretrain`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from MISFMLib.configs import PretrainConfig
from MISFMLib.data.datasets import Batch
from MISFMLib.data.pretext import PretextSource
from MISFMLib.data.stored_arrays import open_volumes
from MISFMLib.device import seed_everything, set_threads
from MISFMLib.errors import ConfigError, DependencyError
from MISFMLib.events import EventSink, ignore_events
from MISFMLib.files import check_output
from MISFMLib.jobs.pretrain.methods import Method, build_method
from MISFMLib.jobs.pretrain.plan import PretrainJob, plan_pretraining
from MISFMLib.jobs.pretrain.pretrained_bundle import write_pretrained_bundle
from MISFMLib.jobs.pretrain.validation import HeldOut
from MISFMLib.jobs.train.training_run import fit_settings, open_run, run_training
from MISFMLib.training.launch import Processes
from MISFMLib.training.loop import fit
from MISFMLib.training.prior import class_shares, first_labels, set_class_prior
from MISFMLib.training.schedules import polynomial_decay, repeated_halving
from MISFMLib.training.stop import yielding_events
from MISFMLib.training.task import Task


def run_pretrain(config: PretrainConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Pretrain on unlabelled volumes and write the network as a bundle to start fine-tuning from.

    Checkpoint, log, plan and the list of volumes go to the folder ``<output>.run`` beside the
    bundle. A training that was stopped or killed goes on from there with ``resume``. A volume that
    cannot be used is left out with a notice.

    Args:
        config: Volumes, method, network and training.
        events: Receives notices, progress and metrics.

    Returns:
        Report: where the bundle is, its score in the pretext task, volumes left out, steps and what
        ended them, seconds, speed of loader and network. Empty in processes that torchrun or SLURM
        has started to help the first.

    Raises:
        DataError: There is no volume that can be used.
        ConfigError: Settings contradict each other, or the run that shall be resumed.
        DependencyError: The preview needs a package that is not installed.
        OutputError: The bundle, the preview, or an unfinished run, is there already.
        TrainingError: The loss is not finite any more.
        KeyboardInterrupt: Stopped by the user; the checkpoint is saved.
    """
    return run_training(config, train, partial(_lead, config, events))


def _lead(config: PretrainConfig, events: EventSink, processes: Processes) -> dict[str, Any]:
    if config.preview:
        _check_preview(config.preview, overwrite=config.overwrite or config.resume)
    with open_run(config, events, processes) as run:
        job = plan_pretraining(config, run.folder, yielding_events(run.events))
        return write_pretrained_bundle(job, run.train(train, job))


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
        names=job.validation_names,
        device=fabric.device,
        precision=config.precision,
        preview=config.preview,
    )
    samples = _samples(job, method, job.train)
    if method.classes:
        _set_class_prior(config, method, method.classes, samples)
    task = Task(
        network=method.network,
        batches=samples.batch,
        loss=method.loss,
        schedule=_schedule(config),
        validate=judge if job.validation else None,
    )
    fit(fabric, task, fit_settings(config), job.folder.checkpoint, events)


def _set_class_prior(
    config: PretrainConfig,
    method: Method,
    classes: Callable[[Batch], Batch],
    samples: PretextSource,
) -> None:
    def labels(step: int, indices: Sequence[int]) -> Tensor:
        return classes(samples.batch(step, indices)).label_BDHW

    first = first_labels(labels, config.batch_size)
    set_class_prior(method.network, class_shares(first, config.num_levels + 1))


def _samples(job: PretrainJob, method: Method, folders: Sequence[Path]) -> PretextSource:
    return PretextSource(
        source=open_volumes(folders),
        pretext=method.pretext,
        batch_size=job.config.batch_size,
        seed=job.config.seed,
    )


def _schedule(config: PretrainConfig) -> Callable[[float], float]:
    if config.halve_every is None:
        return partial(polynomial_decay, steps=config.steps)
    return partial(repeated_halving, every=config.halve_every)
