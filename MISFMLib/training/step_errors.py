"""Why a step of a training cannot go on, and what to do about it."""

from __future__ import annotations

from pathlib import Path

from MISFMLib.errors import DeviceError, TrainingError, first_line
from MISFMLib.training.checkpoint import has_checkpoint


def too_little_memory(error: BaseException) -> DeviceError:
    """Return the error for a step that does not fit into the device's memory."""
    return DeviceError(
        f"A step needs more memory than the device has: {first_line(error)}.",
        code="out-of-memory",
        remedy="Take more --recompute-levels (up to 5), more parts with --accumulate, or a "
        "smaller --batch-size or --patch-size.",
    )


def not_finite(step: int, loss: float, gradient: float, checkpoint: Path) -> TrainingError:
    """Return the error for a step whose loss or gradient is no number.

    Args:
        step: Counted from 1.
        loss: As it came out.
        gradient: Its length.
        checkpoint: From which the training can go on, if it has been written.
    """
    remedy = "Lower --learning-rate, or compute with --precision fp32."
    if has_checkpoint(checkpoint):
        remedy = (
            "Start over with --overwrite and a lower --learning-rate. Or go on from the last "
            "checkpoint with --resume: with --precision fp32, if it was another; or with --minutes "
            "0.01, which ends there and makes a model of what it has learnt."
        )
    return TrainingError(
        f"Step {step} gave the loss {loss} and a gradient of length {gradient}.",
        code="loss-not-finite",
        remedy=remedy,
    )
