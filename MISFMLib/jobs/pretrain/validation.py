"""Judging a pretext task on volumes that are held out, and showing it in a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from MISFMLib.configs import Precision
from MISFMLib.data.datasets import Batch
from MISFMLib.data.pretext import PretextSource
from MISFMLib.device import autocast
from MISFMLib.export.pretext_preview import Panel, write_pretext_preview
from MISFMLib.jobs.pretrain.methods import Method
from MISFMLib.jobs.pretrain.preview import show_volume
from MISFMLib.training.task import Validation

_JUDGED_SAMPLES = 32
_SHOWN_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Validates a method on samples of volumes that are held out, the same ones every time."""

    method: Method
    samples: PretextSource
    names: Sequence[str]
    """Of its volumes."""
    device: torch.device
    precision: Precision
    preview: Path | None
    """Picture to renew at every validation."""

    def __call__(self) -> Validation:
        """Judge the network as it is, in evaluation mode."""
        with torch.inference_mode():
            validation = self.method.judge(self._answers())
            if self.preview:
                rows = [self._row(number) for number in range(_SHOWN_SAMPLES)]
                write_pretext_preview(rows, self.preview)
        return validation

    def _answers(self) -> Iterator[tuple[Any, Batch]]:
        size = self.samples.batch_size
        for step in range(-(-_JUDGED_SAMPLES // size)):
            batch = self.samples.batch(step, range(size)).to(self.device)
            yield self._outputs(batch.image_BCDHW), batch

    def _row(self, number: int) -> list[Panel]:
        step, index = divmod(number, self.samples.batch_size)
        sample = self.samples.sample(step, index)
        outputs = self._outputs(sample.image_BCDHW)
        volume = self.samples.volume(step, index)
        shown = show_volume(self.samples.source, volume, self.names[volume])
        return [shown, *self.method.show(sample, outputs)]

    def _outputs(self, image_BCDHW: Tensor) -> Any:
        with autocast(self.device, self.precision):
            return self.method.network(image_BCDHW.to(self.device))
