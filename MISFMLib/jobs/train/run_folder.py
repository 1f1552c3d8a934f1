"""Folder of a training: settings, split, plan, prepared cases, checkpoint, logs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MISFMLib.configs import TrainingConfig, encode
from MISFMLib.data.cases import Split
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.errors import ConfigError, OutputError
from MISFMLib.events import Event, EventSink, Metric, Notice, event_to_json
from MISFMLib.files import write_json

_FREE_TO_CHANGE = (
    *("resume", "overwrite", "device", "devices", "precision", "threads", "preview"),
    *("minutes", "patience", "recompute_levels"),
)
"""Settings that a resumed training may change; all others would make it another training."""


@dataclass(frozen=True)
class RunFolder:
    """Paths in the folder of one training."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """State to go on from."""
        return self.path / "checkpoint.pt"

    @property
    def control(self) -> Path:
        """What the user asks of the training while it runs: ``pause`` or ``finish``."""
        return self.checkpoint.with_name("control")

    @property
    def cases(self) -> Path:
        """Prepared cases; can be made again from the data set."""
        return self.path / "cases"

    @property
    def draft(self) -> Path:
        """The bundle before its evaluation."""
        return self.path / "draft"

    @property
    def scores(self) -> Path:
        """Table of the final validation, one line per case and label."""
        return self.path / "validation.csv"

    @property
    def scores_before(self) -> Path:
        """The same table of the model that the training started from."""
        return self.path / "before.csv"

    @classmethod
    def open(cls, config: TrainingConfig) -> RunFolder:
        """Open the folder of a run, a new one or the one to resume.

        Raises:
            OutputError: An unfinished run is there, and neither resume nor overwrite is set; or a
                folder of that name is no run.
            ConfigError: The run to resume was started with other settings.
        """
        folder = cls(config.output.with_name(f"{config.output.name}.run"))
        settings = folder.path / "settings.json"
        if settings.exists() and config.resume:
            _check_same_settings(json.loads(settings.read_text("utf-8")), config)
            folder.control.unlink(missing_ok=True)  # it was meant for the process that has ended
        elif folder.checkpoint.exists() and not config.overwrite:
            raise OutputError(
                f"{folder.path} holds an unfinished training.",
                code="run-exists",
                remedy="Go on with --resume, or start over with --overwrite.",
            )
        elif folder.path.exists() and not settings.exists():
            raise OutputError(
                f"{folder.path} is in the way: the files of the training shall go there.",
                code="run-folder-taken",
                remedy="Move it, or choose another output.",
            )
        else:
            shutil.rmtree(folder.path, ignore_errors=True)
            write_json(settings, encode(config))
        return folder

    def write_plan(self, plan: TrainingPlan, split: Split) -> None:
        """Write down what was planned and which cases were held out."""
        write_json(self.path / "plan.json", encode(plan), overwrite=True)
        write_json(self.path / "split.json", encode(split), overwrite=True)

    @contextlib.contextmanager
    def logged(self, events: EventSink) -> Iterator[EventSink]:
        """Give an event sink that passes events on and keeps notices and numbers in files.

        The numbers also go to TensorBoard when it is installed.
        """
        with (
            (self.path / "log.jsonl").open("a", encoding="utf-8") as log,
            _scalars(self.path) as add,
        ):

            def keep(event: Event) -> None:
                if isinstance(event, Metric | Notice):
                    log.write(event_to_json(event) + "\n")
                    log.flush()
                if isinstance(event, Metric):
                    add(event)
                events(event)

            yield keep

    def clean(self) -> None:
        """Remove what is of no use once the bundle is there: prepared cases, draft, checkpoint."""
        for large in (self.cases, self.draft):
            shutil.rmtree(large, ignore_errors=True)
        for file in (
            self.checkpoint,
            self.control,
            *self.path.glob(f".misfm-*-{self.checkpoint.name}"),
        ):
            file.unlink(missing_ok=True)  # beside the checkpoint what kills have left of others


@contextlib.contextmanager
def _scalars(folder: Path) -> Iterator[Any]:
    """Give a function that writes the numbers of an event for TensorBoard, if that is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield lambda _event: None
        return

    with SummaryWriter(folder / "tensorboard") as writer:

        def add(event: Metric) -> None:
            for name, value in event.values.items():
                writer.add_scalar(name, value, event.step)

        yield add


def _check_same_settings(earlier: dict[str, Any], config: TrainingConfig) -> None:
    # What an earlier version did not know had the effect that is the default now.
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    earlier = defaults | earlier
    changed = [
        f"{name} was {earlier[name]} and is {value}"
        for name, value in encode(config).items()
        if name not in _FREE_TO_CHANGE and earlier[name] != value
    ]
    if changed:
        raise ConfigError(
            f"The run to resume was started with other settings: {'; '.join(changed)}.",
            code="resume-settings",
            remedy="Use the same settings, or start over with --overwrite and without --resume.",
        )
