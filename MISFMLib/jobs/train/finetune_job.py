"""What the parts of a fine-tuning share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from MISFMLib.configs import FinetuneConfig
from MISFMLib.data.cases import Case
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.jobs.train.run_folder import RunFolder
from MISFMLib.jobs.train.start import Start


@dataclass(frozen=True, kw_only=True)
class FinetuneJob:
    """All that one process of a training has to know; picklable."""

    config: FinetuneConfig
    plan: TrainingPlan
    start: Start
    folder: RunFolder
    train: tuple[Case, ...]
    """Cases to learn from."""
    validation: tuple[Case, ...]
    """Cases that are held out."""
    images: Mapping[str, str]
    """Digest of the image of each case, by its name."""

    @property
    def case_count(self) -> int:
        """Cases of both kinds."""
        return len(self.train) + len(self.validation)
