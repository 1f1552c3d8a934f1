"""Labels that a training has not found yet: told while there is time, and counted more."""

from __future__ import annotations

from collections.abc import Sequence

from MISFMLib.data.cases import listed
from MISFMLib.events import Notice
from MISFMLib.training.checkpoint import TrainState


def told(state: TrainState, missing: Sequence[str], *, is_last: bool) -> Notice | None:
    """Say what has not been found yet, or that at last all is.

    Args:
        state: Of the training, with what the validation before did not find.
        missing: Names of the labels that this validation did not find.
        is_last: Whether no step follows: then nothing can be done about them here.
    """
    if missing and is_last:
        return None
    if missing:
        return Notice(
            f"Not found after {state.step} steps: {listed(missing)}. Their voxels count more in "
            "the loss until they are, and the training does not end early."
        )
    if state.missing:
        return Notice(f"All labels are found after {state.step} steps.", level="info")
    return None
