"""Commands that segment, train, convert and check."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

from MISFMLib.commands.base import (
    JOB_CONFIGS,
    Command,
    Report,
    SpreadCommand,
    only,
    read_job,
    run_job,
)
from MISFMLib.commands.failures import failure, known_error
from MISFMLib.configs import (
    FinetuneConfig,
    PrepareConfig,
    PretrainConfig,
    QuantizeConfig,
    ResolutionMode,
    SegmentConfig,
    Size,
    decode,
)
from MISFMLib.events import EventSink, Measured
from MISFMLib.resources import read_preset

FinetunePreset = Literal["one-shot", "few-shot"]
PretrainPreset = Literal["laptop", "pdata-1k", "pdata-10k", "pdata-110k"]


@dataclass(frozen=True, kw_only=True)
class Segment(SegmentConfig, SpreadCommand):
    """Segment volumes with a model."""

    images: Positional[tuple[Path, ...]]
    model: Annotated[str, arg(aliases=["-m"])]
    output: Annotated[Path, arg(aliases=["-o"])]
    style: Annotated[Literal["own", "totalsegmentator"], arg(aliases=["--as"])] = (
        SegmentConfig.style
    )

    def run(self, events: EventSink) -> Report:
        """Run the job."""
        return self.run_spread("segment", SegmentConfig, ["images"], events)


@dataclass(frozen=True, kw_only=True)
class Finetune(FinetuneConfig, Command):
    """Train a network on labelled volumes, from scratch or from pretrained weights."""

    data: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]
    preset: FinetunePreset | None = None
    """Settings that take the place of the defaults: one-shot learns from all cases there are,
    which may be one; few-shot, for about 4 to 20 cases, holds a quarter of them out and ends when
    their score has stopped rising. Both change the patches strongly."""

    def run(self, events: EventSink) -> Report:
        """Run the job."""
        return run_job("finetune", only(FinetuneConfig, self), events)


@dataclass(frozen=True, kw_only=True)
class Prepare(PrepareConfig, Command):
    """Turn folders of volumes into a training store for pretraining."""

    data: Positional[tuple[Path, ...]]
    output: Annotated[Path, arg(aliases=["-o"])]

    def run(self, events: EventSink) -> Report:
        """Run the job."""
        return run_job("prepare", only(PrepareConfig, self), events)


@dataclass(frozen=True, kw_only=True)
class Pretrain(PretrainConfig, Command):
    """Pretrain a network on volumes without labels."""

    data: Positional[tuple[Path, ...]]
    output: Annotated[Path, arg(aliases=["-o"])]
    preset: PretrainPreset | None = None
    """Settings that take the place of the defaults: laptop gives a result in minutes; the pdata
    ones are those of the paper of 2023 for 1 000, 10 000 and 110 000 volumes, for a large GPU."""

    def run(self, events: EventSink) -> Report:
        """Run the job."""
        return run_job("pretrain", only(PretrainConfig, self), events)


_WITH_PRESETS: dict[str, tuple[Any, Any, Any, Any]] = {
    "finetune": (Finetune, FinetuneConfig, FinetunePreset, "DATA"),
    "pretrain": (Pretrain, PretrainConfig, PretrainPreset, ["DATA"]),
}
"""Command, its config, the names of its presets, and what can stand for its data."""


def preset_defaults(words: Sequence[str]) -> Any:
    """Return a command with the values of ``--preset`` as its defaults; None without a preset."""
    verb = next(iter(words), "")
    if verb not in _WITH_PRESETS:
        return None
    command, config_class, presets, data = _WITH_PRESETS[verb]
    named = [
        preset
        for preset in typing.get_args(presets)
        if f"--preset={preset}" in words or ("--preset", preset) in itertools.pairwise(words)
    ]
    if not named:
        return None
    # Decoding checks names and types; paths are no part of a preset.
    paths = {"data": data, "output": "OUTPUT"}
    config = decode(config_class, {**paths, **read_preset(f"{verb}-{named[-1]}")})
    settings = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    settings |= {"data": tyro.MISSING, "output": tyro.MISSING, "preset": named[-1]}
    return command(**settings)


@dataclass(frozen=True, kw_only=True)
class Quantize(QuantizeConfig, Command):
    """Prepare a model for 8-bit integers on this CPU, if it is faster and as good with them."""

    model: Positional[str]
    data: Positional[Path]

    def run(self, events: EventSink) -> Report:
        """Run the job."""
        return run_job("quantize", only(QuantizeConfig, self), events)


@dataclass(frozen=True, kw_only=True)
class Convert(Command):
    """Turn a published PyMIC checkpoint (.pt) into a bundle, without running code from it."""

    checkpoint: Positional[Path]
    """Checkpoint file, such as pctnet_ct10k_volf.pt."""
    output: Positional[Path]
    """Bundle folder to write."""
    resolution_mode: ResolutionMode = 1
    """Resolution mode of a PCT-Net checkpoint, which does not tell it; the released ones use 1."""
    patch_size: Size | None = None
    """Patch that the network was trained with; matters for small patches only."""
    labels: tuple[str, ...] = ()
    """Names of the foreground classes, when the checkpoint segments and is not a pretrained one."""
    overwrite: bool = False
    """Replace a bundle that is already there."""

    def run(self, events: EventSink) -> Report:
        """Convert and report what was loaded."""
        from MISFMLib.jobs.convert import convert_checkpoint

        bundle, load_report = convert_checkpoint(
            self.checkpoint,
            self.output,
            resolution_mode=self.resolution_mode,
            patch_size=self.patch_size,
            labels=self.labels,
            overwrite=self.overwrite,
        )
        return {"bundle": str(bundle.path), "text": load_report.summary()}


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Check versions, devices, model store and packages, and say what to do about problems."""

    def run(self, events: EventSink) -> Report:
        """Run all checks."""
        from MISFMLib.jobs.doctor import format_report, run_doctor

        report = run_doctor()
        return {
            **dataclasses.asdict(report),
            "exit_code": int(report.status == "fail"),
            "text": format_report(report),
        }


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Segment a sample with the bundled model and show the result; needs no network."""

    output: Annotated[Path, arg(aliases=["-o"])] = Path("misfm-demo")
    """Folder for the sample and the results."""
    image: Path | None = None
    """Segment this volume instead of the generated sample."""
    seed: int = 1
    """Which sample is generated."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    overwrite: bool = False
    """Replace results that are already there."""

    def run(self, events: EventSink) -> Report:
        """Run the job."""
        from MISFMLib.jobs.demo import format_report, run_demo

        report = run_demo(
            self.output,
            image=self.image,
            seed=self.seed,
            device=self.device,
            overwrite=self.overwrite,
            events=events,
        )
        return {**report, "text": format_report(report)}


@dataclass(frozen=True, kw_only=True)
class Run(Command):
    """Run a job that a program has written down as JSON: {"job": "segment", "config": {...}}."""

    file: Positional[Path]
    """The job file."""

    def run(self, events: EventSink) -> Report:
        """Decode the config and run the job."""
        job, settings = read_job(self.file)
        return run_job(job, decode(JOB_CONFIGS[job], settings), events)


@dataclass(frozen=True, kw_only=True)
class Serve(Command):
    """Run the job files that a program names on stdin, and keep the model loaded between them."""

    idle_minutes: float = 10.0
    """End when no command has come for so long; the end of stdin ends it at once."""

    def run(self, events: EventSink) -> Report:
        """Carry out commands until there is nobody to send them."""
        from MISFMLib.jobs.serve import Server, WarmJobs, reset_priority

        jobs = WarmJobs()

        def run_job_file(path: Path, events: EventSink) -> Report:
            job, settings = read_job(path)
            return jobs.run(job, decode(JOB_CONFIGS[job], settings), events)

        def load_model(
            settings: dict[str, Any], is_wanted: Callable[[], bool] | None
        ) -> Iterator[Measured | None]:
            no_files = {"images": [""], "output": ""}  # they may not be there yet
            return jobs.load(decode(SegmentConfig, {**settings, **no_files}), is_wanted)

        reset_priority()
        server = Server(
            run_job_file=run_job_file,
            load=load_model,
            describe=lambda error: failure(known_error(error) or error),
            release=jobs.release,
            events=events,
        )
        server.serve(
            sys.stdin.fileno(), 60 * self.idle_minutes, lambda: jobs.load_libraries(events)
        )
        return {}
