"""Settings of `misfm benchmark`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.spread import SpreadConfig
from MISFMLib.configs.types import NetworkPreset


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(SpreadConfig):
    """Train several networks on one data set and compare them on cases that none has seen."""

    data: Path
    """Labelled data set, as for `misfm finetune`."""
    output: Path
    """Folder for the runs and the tables; the same command goes on with what is missing."""
    networks: tuple[NetworkPreset, ...] = ("small",)
    """Networks to train from fresh weights; the first row is what all others are compared with."""
    inits: tuple[str, ...] = ()
    """Models to start from (installed name, bundle, published checkpoint), each a further row."""
    seeds: tuple[int, ...] = (1,)
    """Seeds of weights and samples; each trains every row once more."""
    folds: int = 1
    """Parts of a cross-validation: every case is judged by trainings that did not see it. With 1
    the cases that the data set holds out are judged, or `test_fraction` of all."""
    test_fraction: float = 0.25
    """Part of the cases that is judged when the data set holds none out (folds 1)."""
    validation_fraction: float = 0.2
    """Part of the other cases that a training holds out to judge itself."""
    options: Path | None = None
    """JSON file with further settings of `misfm finetune` for all rows, such as steps, minutes,
    patch_size, spacing_dhw."""
    tolerance_mm: float = 1.0
    """Distance up to which two surfaces count as the same in the surface Dice."""
    worst: int = 3
    """Cases that are drawn for each row, those with the lowest mean Dice."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    threads: int | None = None
    """CPU threads of each process; all cores, or its share of them, when not given."""

    def __post_init__(self) -> None:
        problems = self.spread_problems()
        problems += [
            f"{name} has {getattr(self, name)} more than once"
            for name in ("networks", "inits", "seeds")
            if len(set(getattr(self, name))) < len(getattr(self, name))
        ]
        if not self.networks and not self.inits:
            problems.append("no network was given")
        if not self.seeds:
            problems.append("no seed was given")
        if self.folds < 1:
            problems.append(f"folds is {self.folds}, it must be at least 1")
        problems += [
            f"{name} is {getattr(self, name)}, it must be at least 0"
            for name in ("worst", "workers")
            if getattr(self, name) is not None and getattr(self, name) < 0
        ]
        problems += [
            f"{name} is {getattr(self, name)}, it must be between 0 and 1"
            for name in ("test_fraction", "validation_fraction")
            if not 0 < getattr(self, name) < 1
        ]
        if not 0 < self.tolerance_mm < float("inf"):
            problems.append(f"tolerance_mm is {self.tolerance_mm}, it must be positive")
        raise_problems(problems, "See `misfm benchmark --help`.")
