"""What the commands share: their common option, and the way from a config to its job."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from MISFMLib.configs import (
    BenchmarkConfig,
    CollectConfig,
    EvaluateConfig,
    FinetuneConfig,
    PrepareConfig,
    PretrainConfig,
    QuantizeConfig,
    ReviewConfig,
    SegmentConfig,
    raise_problems,
)
from MISFMLib.configs.ranges import range_problems
from MISFMLib.errors import ConfigError
from MISFMLib.events import EventSink, warnings_as_notices
from MISFMLib.files import read_json
from MISFMLib.jobs import load_job
from MISFMLib.jobs.slurm import slurm_script

Report = dict[str, Any]
"""What a command gives back; ``text`` is for people, ``exit_code`` for the shell."""

JOB_CONFIGS: dict[str, type] = {
    "segment": SegmentConfig,
    "finetune": FinetuneConfig,
    "prepare": PrepareConfig,
    "pretrain": PretrainConfig,
    "quantize": QuantizeConfig,
    "evaluate": EvaluateConfig,
    "benchmark": BenchmarkConfig,
    "review": ReviewConfig,
    "collect": CollectConfig,
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """What every command has in common."""

    events: Literal["bar", "json"] = "bar"
    """bar shows progress to people; json prints one JSON line per event for programs."""

    def __post_init__(self) -> None:
        raise_problems(range_problems(self), "See `misfm --help`.")

    def run(self, events: EventSink) -> Report:
        """Do the work and return the report."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SpreadCommand(Command):
    """What commands have in common whose cases can be spread."""

    print_slurm: bool = False
    """Only print a script for `sbatch` that does this as a job array, of N tasks with --shard
    1/N."""

    def run_spread(
        self, name: str, config_class: type, positional: Sequence[str], events: EventSink
    ) -> Report:
        """Run the job, or print the script that does."""
        config = only(config_class, self)
        if self.print_slurm:
            return {"text": slurm_script(name, config, positional).rstrip()}
        return run_job(name, config, events)


def only(config_class: type, command: Command) -> Any:
    """Leave out what only the command line has."""
    names = [field.name for field in dataclasses.fields(config_class)]
    return config_class(**{name: getattr(command, name) for name in names})


def run_job(name: str, config: Any, events: EventSink) -> Report:
    """Run the job of this name and return its report."""
    with warnings_as_notices(events):
        report: Report = load_job(name)(config, events)
    return report


def read_job(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a job file: the name of a job and its settings.

    Raises:
        ConfigError: It is no job file, or names no job.
    """
    remedy = 'Write {"job": "segment", "config": {...}} as UTF-8 JSON.'
    content = read_json(path, ConfigError, code="bad-job-file", remedy=remedy)
    keys = content.keys() if isinstance(content, dict) else set()
    if not keys >= {"job", "config"}:
        raise ConfigError(
            f"{path} is not a job file: an object with job and config was expected.",
            code="bad-job-file",
            remedy=remedy,
        )
    job, config = content["job"], content["config"]
    if not isinstance(job, str) or job not in JOB_CONFIGS:
        raise ConfigError(
            f"{path} asks for the job {job!r:.80}.",
            code="bad-job-file",
            remedy=f"Use one of: {', '.join(JOB_CONFIGS)}.",
        )
    return job, config
