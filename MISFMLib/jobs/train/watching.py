"""One held-out case as the network sees it while it learns, for whoever watches."""

from __future__ import annotations

from torch import nn

from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.errors import MISFMError
from MISFMLib.events import EventSink, Notice
from MISFMLib.inference.restoration import LabelRestorer
from MISFMLib.inference.sliding_window import Placement, iterate_slabs
from MISFMLib.inference.windows import WindowConfig
from MISFMLib.jobs.train.finetune_job import FinetuneJob
from MISFMLib.jobs.train.validation import FinestOutput
from MISFMLib.volumes.volume import read_volume, write_label_map


def write_watched(
    job: FinetuneJob,
    network: nn.Module,
    window: WindowConfig,
    placement: Placement,
    events: EventSink,
) -> None:
    """Write the labels of the case that is asked for, on its own grid; nothing if none is.

    Args:
        job: Its folder says which case, and takes the labels.
        network: As it is trained; in eval mode.
        window: How it is applied.
        placement: Where.
        events: Hears why there are no labels: a training does not end for that.
    """
    name = job.folder.watched_case()
    case = next((each for each in job.validation if each.name == name), None)
    if case is None:
        return
    try:
        volume = read_volume(case.images, num_channels=case.num_channels)
        prepared = prepare_volume(volume, job.plan.preprocessing)
        restorer = LabelRestorer(prepared.record, job.plan.labels, space=job.plan.preprocessing)
        for slab in iterate_slabs(FinestOutput(network), prepared, window, placement):
            restorer.add(slab)
        write_label_map(
            restorer.label_map(), job.folder.watched, labels=job.plan.labels, overwrite=True
        )
    except MISFMError as error:
        events(Notice(f"{case.name} cannot be shown: {error}"))
