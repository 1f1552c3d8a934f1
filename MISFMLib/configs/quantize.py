"""Settings of `misfm quantize`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.ranges import range_problems


@dataclass(frozen=True, kw_only=True)
class QuantizeConfig:
    """Prepare a model for 8-bit integers on this CPU, if it is faster and as good with them."""

    model: str
    """Name of an installed model (see `misfm models list`), or path of a bundle folder or zip."""
    data: Path
    """Labelled cases like those the model is for: a folder with images/ and labels/, a CSV with the
    columns image and label, or a dataset.json."""
    split: Path | None = None
    """JSON file with the lists train (for the ranges of the numbers) and validation (for the
    comparison); else dataset.json's split, else by seed."""
    validation_fraction: float = 0.5
    """Part of the cases to compare on when the split is drawn."""
    seed: int = 1
    """Seed of the split that is drawn."""
    calibration_cases: int = 32
    """Cases of the split's train part that are used at most."""
    threads: int | None = None
    """CPU threads; all cores when not given."""

    def __post_init__(self) -> None:
        problems = range_problems(self)
        if not 0 < self.validation_fraction < 1:
            problems.append(
                f"validation_fraction is {self.validation_fraction}, it must be between 0 and 1"
            )
        raise_problems(problems, "See `misfm quantize --help`.")
