"""What goes to the processes that work on a batch, and what comes back; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from MISFMLib.configs import SegmentConfig
from MISFMLib.export.statistics import LabelVolume


@dataclass(frozen=True)
class BatchJob:
    """What every process that works on a batch has to know."""

    config: SegmentConfig
    model: str
    """The model as the table names it."""
    folder: Path
    """Where the results go."""
    volumes: int
    """Cases to compute; decides which engine pays."""
    engine: str
    """What has computed the cases that are kept, or nothing."""
    started_ns: int
    """Time of the folder's disk when the batch began: newer results are its own."""
    threads: int | None = None
    """CPU threads of the process; None as it finds them."""
    is_spread: bool = False
    """Whether machines of other kinds may take part."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    case: str
    status: str
    """done, skipped (its result was there), failed, or busy (another run works on it)."""
    message: str = ""
    code: str = ""
    outputs: tuple[str, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    volumes: Sequence[LabelVolume] = ()
    notices: tuple[str, ...] = ()
    """What was told meanwhile, where nobody could hear it."""
