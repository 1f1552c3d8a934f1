"""All trainings of this computer's user, found again after a restart of Slicer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from MISFMLib.models import store

from .TrainingProcess import TrainingProcess


def trainingsFolder() -> Path:
    """Return where the trainings lie, which may not exist yet."""
    return store.home() / "trainings"


def newTraining(job: str, config: Mapping[str, Any], about: Mapping[str, Any]) -> TrainingProcess:
    """Write down a training in a folder of its own; nothing is started.

    Args:
        job: finetune or pretrain.
        config: Its settings without the output.
        about: What the panel wants to find again.

    Raises:
        OutputError: It cannot be written.
    """
    folder, number = trainingsFolder() / time.strftime(f"{job}-%Y%m%d-%H%M%S"), 1
    while folder.exists():
        number += 1
        folder = folder.with_name(f"{folder.name.partition('+')[0]}+{number}")
    settings = {**config, "output": str(folder / "model")}
    return TrainingProcess.create(folder, {"job": job, "config": settings}, about)


def findTrainings(job: str = "") -> list[TrainingProcess]:
    """Return the trainings that are there, the oldest first, with all that has happened to them.

    Args:
        job: Only those of this job.
    """
    found = []
    for folder in sorted(trainingsFolder().glob("*/job.json")):
        training = TrainingProcess(folder.parent)
        if training.about and job in ("", training.job.get("job")):
            training.poll()
            found.append(training)
    return found
