"""Settings of every job whose cases can be spread over processes and machines."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SpreadConfig:
    """Who works on the cases of a job."""

    workers: int | None = None
    """Processes on this machine that share out its cores; each loads the model once."""
    scheduler: str | None = None
    """Address of a dask scheduler, such as tcp://host:8786, whose workers do the work; they must
    see the same folders."""
    shard: str = "1/1"
    """K/N: do every N-th case from the K-th, for job arrays; all shards share one output folder,
    and the last one writes the tables."""
    merge: bool = False
    """Compute nothing: write the tables from what shards have done so far."""

    @property
    def part(self) -> slice:
        """The cases of `shard`."""
        first, _, count = self.shard.partition("/")
        return slice(int(first) - 1, None, int(count))

    @property
    def is_part(self) -> bool:
        """Whether others do the rest."""
        return self.merge or not self.shard.endswith("/1")

    @property
    def is_elsewhere(self) -> bool:
        """Whether other processes than this one work."""
        return bool(self.workers) or self.scheduler is not None

    @property
    def is_spread(self) -> bool:
        """Whether several processes work, perhaps on machines that differ."""
        return self.is_elsewhere or self.is_part

    def spread_problems(self) -> list[str]:
        """Say what is wrong with these settings."""
        problems = []
        if self.workers is not None and self.scheduler is not None:
            problems.append("workers does nothing with a scheduler")
        first, _, count = self.shard.partition("/")
        if not re.fullmatch(r"[1-9]\d{0,5}/[1-9]\d{0,5}", self.shard) or int(first) > int(count):
            problems.append(f"shard is {self.shard}, K/N with K from 1 to N was expected")
        return problems
