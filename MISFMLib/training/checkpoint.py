"""State of a training on disk, from which it goes on as if it had never stopped."""

from __future__ import annotations

import errno
import pickle
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from MISFMLib.errors import BundleError
from MISFMLib.files import written_atomically
from MISFMLib.training.sealed_file import has_no_seal, is_sealed, save_sealed
from MISFMLib.training.speed import Speed

_FORMAT = 1

EarlyEnd = Literal["", "minutes", "patience", "request"]
"""What ended a training before its last step."""


@dataclass(frozen=True)
class BestWeights:
    """Weights that count: those with the highest validation score so far, or the last."""

    score: float
    """Mean foreground Dice of the validation, or what else the task counts; higher is better."""
    step: int
    """Optimizer steps after which they were reached."""
    weights: dict[str, torch.Tensor]
    """State of the network, on the CPU."""
    missing: tuple[str, ...] = ()
    """What they did not find."""


@dataclass
class TrainState:
    """Everything that changes during a training."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Wall time spent so far, over all sessions."""
    speed: Speed = field(default_factory=Speed)
    scores: list[float] = field(default_factory=list)
    """Score of every validation since all that is to be learnt has begun to be."""
    missing: tuple[str, ...] = ()
    """What the last validation did not find."""
    stalled_at: int | None = None
    """Step at which the score had stopped rising, from which on the learning rate falls to zero."""
    best: BestWeights | None = None
    ended_early: EarlyEnd = ""
    _newest_is_whole: bool = False
    """Whether the newest checkpoint on the disk was read or written by this object."""

    def save(self, path: Path) -> None:
        """Write the state; a checkpoint that is there stays valid until the new one is complete.

        Raises:
            OutputError: The place is read-only or full.
        """
        best = self.best
        content: dict[str, Any] = {
            "format": _FORMAT,
            "step": self.step,
            "seconds": self.seconds,
            "speed": asdict(self.speed),
            "scores": self.scores,
            "missing": list(self.missing),
            "stalled_at": self.stalled_at,
            "ended_early": self.ended_early,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": best and {field.name: getattr(best, field.name) for field in fields(best)},
        }

        def check(temporary: Path) -> None:
            if not is_sealed(temporary):
                raise OSError(errno.EIO, "the disk holds something else than what was written")
            if path.exists() and self._newest_is_whole:
                path.replace(previous(path))

        with written_atomically(path, overwrite=True, check=check) as temporary:
            save_sealed(content, temporary)
        self._newest_is_whole = True

    def load(self, path: Path) -> str:
        """Continue from a state that `save` wrote; from the one before if the newest is damaged.

        Returns:
            Why the one before was taken, as a sentence; empty where the newest was.

        Raises:
            BundleError: Both checkpoints are damaged, or belong to another network.
        """
        notice = ""
        try:
            content = _read(path)
            self._newest_is_whole = True
        except BundleError as error:
            if not previous(path).exists():
                raise
            content = _read(previous(path))
            notice = (
                f"{error.message} The training goes on from the checkpoint before, "
                f"step {content['step']}."
            )
        fused = [group["fused"] for group in self.optimizer.param_groups]
        try:
            self.network.load_state_dict(content["network"])
            self.optimizer.load_state_dict(content["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise _damaged(path, error) from error
        for group, value in zip(self.optimizer.param_groups, fused, strict=True):
            group["fused"] = value  # a matter of the device, which may be another one now
        self.step, self.seconds = content["step"], content["seconds"]
        self.speed, self.scores = _speed(content), content.get("scores", [])
        self.missing = tuple(content.get("missing", ()))
        self.stalled_at = content.get("stalled_at")
        self.ended_early = content.get("ended_early", "")
        self.best = BestWeights(**content["best"]) if content["best"] else None
        return notice


def has_checkpoint(path: Path) -> bool:
    """Tell whether there is a state to go on from."""
    return path.exists() or previous(path).exists()


def previous(path: Path) -> Path:
    """Return the place of the checkpoint before the newest one."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves for its bundle."""

    step: int
    """Optimizer steps after which the weights were reached."""
    weights: dict[str, torch.Tensor]
    """State of the network: what counts after the validations, else the newest."""
    score: float | None
    """Validation score of the weights; None when nothing was validated."""
    steps: int
    """Optimizer steps of the whole training."""
    ended_early: EarlyEnd
    """What ended it before its last step."""
    missing: tuple[str, ...]
    """What the weights did not find."""
    seconds: float
    """Wall time of the training, over all sessions."""
    speed: Speed
    """Where the time went."""

    def summary(self) -> dict[str, Any]:
        """Describe the training for the report of a job."""
        return {
            "steps": self.steps,
            "weights_step": self.step,
            "ended_by": self.ended_early or "steps",
            **({"not_found": list(self.missing)} if self.missing else {}),
            "training_seconds": round(self.seconds, 1),
            "speed": self.speed.summary(),
        }


def read_result(path: Path) -> TrainResult:
    """Read from a checkpoint what the training has reached.

    Raises:
        BundleError: The checkpoint is damaged.
    """
    content = _read(path)
    newest = {"step": content["step"], "weights": content["network"], "score": None}
    of_last = {"missing": tuple(content.get("missing", ()))}  # all that earlier versions kept
    return TrainResult(
        **{**of_last, **(content["best"] or newest)},
        steps=content["step"],
        ended_early=content.get("ended_early", ""),
        seconds=content["seconds"],
        speed=_speed(content),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        if not is_sealed(path) and not has_no_seal(path):
            raise _damaged(path, "its checksum is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise _damaged(path, error) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _damaged(path, "it is of another version")
    return content


def _speed(content: dict[str, Any]) -> Speed:
    return Speed(**content.get("speed", {}))


def _damaged(path: Path, error: Exception | str) -> BundleError:
    return BundleError(
        f"The checkpoint {path} cannot be used: {error}.",
        code="checkpoint-unusable",
        remedy="Start the training again with --overwrite and without --resume.",
    )


def network_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copy the state of a network to the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
