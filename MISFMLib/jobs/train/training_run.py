"""What every training begins with, whatever it learns from."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from typing import Any

from MISFMLib.configs import TrainingConfig
from MISFMLib.data.cases import listed
from MISFMLib.device import set_threads
from MISFMLib.errors import ConfigError
from MISFMLib.events import EventSink, Notice
from MISFMLib.jobs.train.run_folder import RunFolder
from MISFMLib.jobs.train.run_log import logged
from MISFMLib.models.bundle import check_bundle_output
from MISFMLib.training.checkpoint import TrainResult, has_checkpoint, read_result
from MISFMLib.training.launch import Processes, Training
from MISFMLib.training.task import FitSettings

_REASONS = {
    "minutes": "the time was over",
    "patience": "the score had stopped rising",
    "request": "it was asked to",
}


def run_training(
    config: TrainingConfig,
    training: Training,
    lead: Callable[[Processes], dict[str, Any]],
) -> dict[str, Any]:
    """Lead a training, or help with one that another process leads.

    Args:
        config: Number of threads and processes.
        training: What all processes compute.
        lead: What the first one does around it; returns the report.

    Returns:
        The report; empty in processes that help.
    """
    set_threads(config.threads)
    with Processes.of(config) as processes:
        if processes.leads:
            return lead(processes)
        processes.follow(training)
        return {}


@dataclass(frozen=True)
class TrainingRun:
    """A training for which everything is ready but its plan."""

    folder: RunFolder
    events: EventSink
    """Keeps notices and numbers in the folder too."""
    processes: Processes

    def train(self, training: Training, job: Any) -> TrainResult:
        """Train in all processes, and read what came out."""
        try:
            self.processes.run(training, job, events=self.events)
        except KeyboardInterrupt:
            if has_checkpoint(self.folder.checkpoint):
                message = f"The training rests in {self.folder.path}: --resume goes on with it."
                self.events(Notice(message, level="info"))
            raise
        result = read_result(self.folder.checkpoint)
        if result.ended_early:
            reason = _REASONS[result.ended_early]
            message = f"The training ended after {result.steps} steps: {reason}."
            self.events(Notice(message, level="info"))
        if result.missing:
            self.events(
                Notice(
                    f"Not found in {result.steps} steps: {listed(result.missing)}. More --steps "
                    "may find them, or more cases that have them; look also whether they are too "
                    "small for the voxel size of the plan."
                )
            )
        return result


@contextlib.contextmanager
def open_run(
    config: TrainingConfig, events: EventSink, processes: Processes
) -> Iterator[TrainingRun]:
    """Open the folder of a training, a new one or the one to resume, and log to it.

    Raises:
        ConfigError: The run to resume was started with other settings.
        OutputError: The bundle, or an unfinished run, is there already, or another training runs.
    """
    check_bundle_output(config.output, overwrite=config.overwrite)
    with contextlib.ExitStack() as stack:
        stack.enter_context(RunFolder.of(config).alone(events))
        folder = RunFolder.open(config)
        keep = stack.enter_context(logged(folder.log, events))
        if config.resume and not has_checkpoint(folder.checkpoint):
            keep(Notice("There is no checkpoint to resume: the training starts at its beginning."))
        yield TrainingRun(folder, keep, processes)


def check_patience(config: TrainingConfig, held_out: Sized) -> None:
    """Refuse to wait for a better score when there will be no score.

    Raises:
        ConfigError: The training shall end when its score stops rising, and nothing is held out.
    """
    if config.patience is not None and not held_out:
        raise ConfigError(
            "patience needs the scores of held-out volumes, but none is held out.",
            code="nothing-held-out",
            remedy="Hold some out with --validation-fraction, or leave out --patience.",
        )


def fit_settings(config: TrainingConfig) -> FitSettings:
    """Pick the settings of the loop."""
    names = [field.name for field in dataclasses.fields(FitSettings)]
    return FitSettings(**{name: getattr(config, name) for name in names})
