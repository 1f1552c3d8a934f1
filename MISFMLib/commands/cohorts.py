"""Commands that compare, judge and look through many results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from MISFMLib.commands.base import Command, Report, SpreadCommand, only, run_job
from MISFMLib.configs import (
    BenchmarkConfig,
    CollectConfig,
    EvaluateConfig,
    NetworkPreset,
    ReviewConfig,
    Size,
)
from MISFMLib.events import EventSink


@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluateConfig, SpreadCommand):
    """Compare segmentations with their references, case by case and label by label."""

    predictions: Positional[Path]
    references: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]

    def run(self, events: EventSink) -> Report:
        """Run the job."""
        return self.run_spread("evaluate", EvaluateConfig, ["predictions", "references"], events)


@dataclass(frozen=True, kw_only=True)
class Review(ReviewConfig, Command):
    """Make a page to check many results by: outliers first, with pictures and reasons."""

    results: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]

    def run(self, events: EventSink) -> Report:
        """Run the job."""
        return run_job("review", only(ReviewConfig, self), events)


@dataclass(frozen=True, kw_only=True)
class Benchmark(BenchmarkConfig, SpreadCommand):
    """Train several networks on one data set and compare them on cases that none has seen."""

    data: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]

    def run(self, events: EventSink) -> Report:
        """Run the job."""
        return self.run_spread("benchmark", BenchmarkConfig, ["data"], events)


@dataclass(frozen=True, kw_only=True)
class Collect(CollectConfig, Command):
    """Copy the cases of a data set into a training set for the tab Fine-tune in Slicer."""

    data: Positional[Path]
    output: Annotated[Path, arg(aliases=["-o"])]

    def run(self, events: EventSink) -> Report:
        """Run the job."""
        return run_job("collect", only(CollectConfig, self), events)


@dataclass(frozen=True, kw_only=True)
class Networks(Command):
    """List the networks that `misfm finetune --network` trains, with what they cost."""

    names: Positional[tuple[NetworkPreset, ...]] = ()
    """Networks to list; all when not given."""
    patch_size: Size = (64, 128, 128)
    """Patch that operations are counted for; one of multiples of 32 fits every network."""
    measure: bool = False
    """Compute a patch and a training step of each network, and measure time and memory on this
    machine; the full ones take minutes and many GB."""
    threads: int | None = None
    """CPU threads; all cores when not given."""

    def run(self, events: EventSink) -> Report:
        """List the networks."""
        from MISFMLib.jobs.networks import list_networks

        return list_networks(
            self.names,
            self.patch_size,
            events,
            is_measured=self.measure,
            threads=self.threads,
        )
