"""The trainings of a benchmark, and the cases each learns from, chooses by and is judged by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MISFMLib.configs import BenchmarkConfig, NetworkPreset
from MISFMLib.data.cases import LabelledSet
from MISFMLib.errors import DataError

_SPLIT_SEED = 1
"""All seeds of a benchmark share their folds, so that they differ in the training alone."""


@dataclass(frozen=True)
class Parts:
    """Names of the cases of one fold."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    """Judge the training while it learns."""
    test: tuple[str, ...]
    """Judged after the training, which never saw them."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    network: NetworkPreset | None
    """Fresh weights; None with `init`."""
    init: str | None


@dataclass(frozen=True)
class Run:
    """One training and its judgement."""

    row: Row
    fold: int
    seed: int
    parts: Parts
    folder: Path


def plan_runs(config: BenchmarkConfig, found: LabelledSet) -> list[Run]:
    """Return all trainings, the rows of one seed and fold next to each other.

    Raises:
        DataError: There are too few cases.
    """
    rows = [Row(name, name, None) for name in config.networks]
    rows += [Row(_short(init), None, init) for init in config.inits]
    if len({row.name for row in rows}) < len(rows):
        rows = [Row(row.init or row.name, row.network, row.init) for row in rows]
    folds = draw_folds(config, found)
    return [
        Run(row, fold, seed, parts, config.output / "runs" / f"{_safe(row.name)}-{fold}-{seed}")
        for seed in config.seeds
        for fold, parts in enumerate(folds, start=1)
        for row in rows
    ]


def draw_folds(config: BenchmarkConfig, found: LabelledSet) -> list[Parts]:
    """Divide the cases of a data set.

    Raises:
        DataError: There are too few cases for three parts.
    """
    names = [case.name for case in found.cases]
    if config.folds == 1 and found.split is not None and found.split.validation:
        tests: list[Sequence[str]] = [found.split.validation]
        names = [*found.split.train, *found.split.validation]
    elif config.folds == 1:
        tests = [_shuffled(names)[: max(1, round(config.test_fraction * len(names)))]]
    else:
        tests = [_shuffled(names)[first :: config.folds] for first in range(config.folds)]
    return [_parts(names, test, config.validation_fraction) for test in tests]


def _parts(names: Sequence[str], test: Sequence[str], validation_fraction: float) -> Parts:
    others = _shuffled([name for name in names if name not in set(test)])
    count = max(1, round(validation_fraction * len(others)))
    if not test or len(others) <= count:
        raise DataError(
            f"{len(names)} cases are too few to learn from, to choose by and to be judged by.",
            code="too-few-cases",
            remedy="Give more cases, or fewer folds.",
        )
    parts = (others[count:], others[:count], test)
    return Parts(*(tuple(sorted(part)) for part in parts))


def _shuffled(names: Sequence[str]) -> list[str]:
    ordered = sorted(names)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(ordered))
    return [ordered[index] for index in order]


def _short(init: str) -> str:
    return Path(init).name.removesuffix(".zip").removesuffix(".pt")


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)
