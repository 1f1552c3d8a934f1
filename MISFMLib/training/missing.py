"""Labels that a training has not found yet: told while there is time, and counted more."""

from __future__ import annotations

from collections.abc import Sequence

from MISFMLib.events import Notice


def told(step: int, missing: Sequence[str], before: Sequence[str]) -> Notice | None:
    """Say what has not been found yet, or that at last all is.

    Args:
        step: Optimizer steps done.
        missing: Names of the labels that this validation did not find.
        before: Those that the one before did not.
    """
    if missing:
        return Notice(
            f"Not found after {step} steps: {', '.join(missing)}. Their voxels count more in the "
            "loss until they are, and the training does not end early."
        )
    return Notice(f"All labels are found after {step} steps.", level="info") if before else None
