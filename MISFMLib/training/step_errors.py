"""Why a step of a training cannot go on, and what to do about it."""

from __future__ import annotations

from MISFMLib.errors import DeviceError, TrainingError, first_line


def too_little_memory(error: BaseException) -> DeviceError:
    """Return the error for a step that does not fit into the device's memory."""
    return DeviceError(
        f"A step needs more memory than the device has: {first_line(error)}.",
        code="out-of-memory",
        remedy="Take more --recompute-levels (up to 5), more parts with --accumulate, or a "
        "smaller --batch-size or --patch-size.",
    )


def not_finite(step: int, loss: float, gradient: float) -> TrainingError:
    """Return the error for a step whose loss or gradient is no number.

    Args:
        step: Counted from 1.
        loss: As it came out.
        gradient: Its length.
    """
    return TrainingError(
        f"Step {step} gave the loss {loss} and a gradient of length {gradient}.",
        code="loss-not-finite",
        remedy="Lower --learning-rate, or compute with --precision fp32.",
    )
