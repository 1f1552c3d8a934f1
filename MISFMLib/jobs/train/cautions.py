"""What a model card has to say of its own results: how many cases, and with what caution."""

from __future__ import annotations

import re

from MISFMLib.jobs.train.finetune_job import FinetuneJob
from MISFMLib.training.checkpoint import TrainResult

_FEW_CASES = 5
_SHARE_ALIKE = re.compile(r"-SA\b|GPL|share.?alike", re.IGNORECASE)
_UNKNOWN = ("", "unknown")
_LAST = "The weights are those of the last step."
_HIGHEST = (
    "The weights are those with the highest Dice on these held-out cases, so that the results are "
    "slightly optimistic."
)


def limitations(job: FinetuneJob, result: TrainResult) -> str:
    """Say on what a model was trained and judged, and what that does not show."""
    parts = [_training(job, result)]
    if result.missing:
        parts.append(f"Labels that it does not find: {', '.join(result.missing)}.")
    count = len(job.validation)
    if 0 < count < _FEW_CASES:
        parts.append(
            f"So few held-out cases ({count}) tell little: one case more or less can change the "
            "mean a lot."
        )
    if job.start.bundle is not None and count:
        parts.append(
            "Whether its start was trained on the held-out cases is not known; if it was, the "
            "results are too good."
        )
    parts.append("Other scanners, protocols and diseases were not tried.")
    return " ".join(parts)


def _training(job: FinetuneJob, result: TrainResult) -> str:
    trained = _cases(len(job.train))
    if not job.validation:
        return (
            f"Trained on {trained}; none was held out, so that nothing is known of its results on "
            f"other volumes. {_LAST}"
        )
    held_out = _cases(len(job.validation))
    if result.score is None:
        return (
            f"Trained on {trained}; the {held_out} held out have no label, so that nothing is "
            f"known of its results. {_LAST}"
        )
    weights = _HIGHEST if _are_chosen(result) else _LAST
    return f"Trained on {trained} and evaluated on {held_out} of the same source. {weights}"


def _are_chosen(result: TrainResult) -> bool:
    """Tell whether the held-out cases chose the weights, as they do before the end alone."""
    has_no_end = result.ended_early == "request" or bool(result.missing)
    return has_no_end or result.step != result.steps


def _cases(count: int) -> str:
    return f"{count} case" if count == 1 else f"{count} cases"


def license_of(job: FinetuneJob) -> str:
    """Return the licence of the trained weights: a share-alike one of the start carries over."""
    chosen = job.config.license
    source = job.start.bundle.manifest.license if job.start.bundle is not None else ""
    if not _SHARE_ALIKE.search(source) or chosen == source:
        return chosen
    if chosen in _UNKNOWN:
        return source
    return f"{chosen}; the start's licence {source} is share-alike and holds for the weights too"
