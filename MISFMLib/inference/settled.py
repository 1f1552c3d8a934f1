"""What computes the network, decided once for a batch: small differences must not depend on order.

Two programs, or two number formats, differ by a few voxels. Which one pays depends on how much
there is to compute, so it is decided for the whole batch before its first case, written into its
table, and kept when the batch goes on later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch

from MISFMLib.configs import SegmentPrecision
from MISFMLib.errors import OutputError
from MISFMLib.inference.engine import Engine

Program = Literal["OpenVINO", "CUDA graph", "PyTorch"]


@dataclass(frozen=True)
class Settled:
    """A choice that holds for all cases of a batch."""

    program: Program
    precision: SegmentPrecision
    device: str
    """Kind of the device: cpu, cuda or mps."""

    def __str__(self) -> str:
        return f"{self.program} in {self.precision} on {self.device}"

    @classmethod
    def from_engine(cls, engine: Engine, device: torch.device) -> Settled:
        """Name the choice behind an engine, called like ``PyTorch 2.13.0, CUDA graph``."""
        program = next(program for program in get_args(Program) if program in engine.name)
        return cls(cast(Program, program), engine.precision, device.type)

    @classmethod
    def parse(cls, text: str) -> Settled | None:
        """Read what `str` wrote; None for anything else."""
        match = re.fullmatch(r"(.+) in (\S+) on (\S+)", text)
        if not match or match[1] not in get_args(Program):
            return None
        if match[2] not in get_args(SegmentPrecision):
            return None
        return cls(cast(Program, match[1]), cast(SegmentPrecision, match[2]), match[3])


def check_wish(settled: Settled, config_engine: str, precision: str, device: str) -> None:
    """Refuse to go on with a batch in another way than it was begun.

    Args:
        settled: What has computed its other cases.
        config_engine: Engine that the user asks for now.
        precision: Number format that the user asks for now.
        device: Kind of the device that was chosen now.

    Raises:
        OutputError: They contradict each other.
    """
    exact = get_args(SegmentPrecision)[1:4]
    if (
        (config_engine == "torch" and settled.program == "OpenVINO")
        or (precision in exact and precision != settled.precision)
        or device != settled.device
    ):
        raise OutputError(
            f"The results that are there were computed by {settled}; asked for is the engine "
            f"{config_engine} in {precision} on {device}.",
            code="other-engine",
            remedy="Ask for the same, choose another output folder, or replace the results with "
            "--overwrite.",
        )
