"""Jobs: each composes the parts below it, decides nothing else, and returns its report."""

from __future__ import annotations

import importlib
from typing import Any

_ROOMS = {
    "segment": "segment.segment",
    "finetune": "train.finetune",
    "pretrain": "pretrain.pretrain",
    "prepare": "prepare.prepare",
    "evaluate": "evaluate.evaluate",
    "benchmark": "benchmark.benchmark",
    "review": "review.review",
}


def load_job(name: str) -> Any:
    """Import a job and return its function ``run_NAME(config, events, …) -> report``.

    Late and by name, because jobs bring torch: ``misfm --help`` does not wait for it.
    """
    module = importlib.import_module(f"{__name__}.{_ROOMS.get(name, name)}")
    return getattr(module, f"run_{name}")
