"""The region that a task of TotalSegmentator looks at: found first, by a rough model.

Tasks for small structures see the part of a volume around larger ones only, such as the liver for
its vessels: a model of 3 or 6 mm finds those, and the box around them is cut out with a margin. The
tasks were trained on such parts, and find things elsewhere that are none.

Of a task that sees everything a user may ask for some structures only: the same is done around
those, since they are nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.events import EventSink, Notice, Progress
from MISFMLib.inference.results import SegmentResult
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.models.store import find_model, is_installed
from MISFMLib.models.totalsegmentator import TotalTask, find_task
from MISFMLib.volumes.volume import LabelMap, Volume

Box = tuple[slice, slice, slice]
Compute = Callable[[Volume, EventSink], SegmentResult]


class RegionFirst:
    """Segments the region of a task; keeps the rough models that find it for the next volume."""

    def __init__(self, options: SegmenterOptions) -> None:
        """Prepare.

        Args:
            options: Of the task's own model; rough models take its device, engine and precision.
        """
        self._only = options.only
        self._options = SegmenterOptions(
            device=options.device, precision=options.precision, engine=options.engine
        )
        self._rough: dict[str, Segmenter] = {}

    def segment(
        self, model: str, volume: Volume, compute: Compute, events: EventSink
    ) -> SegmentResult:
        """Segment a volume, or of tasks that have a region that; what lies outside is background.

        Where the rough model is not installed, or does not find all that a user asks for, the whole
        volume is segmented, which is told.

        Args:
            model: Name of the model; any other than a task's sees the whole volume.
            volume: The volume.
            compute: Segments what it is given with this model.
            events: Hears progress and notices.

        Raises:
            MISFMError: As `compute` and `Segmenter.segment`.
        """
        task = find_task(model)
        if task is None or not task.rough:
            return compute(volume, events)
        if task.region:
            return self._within(task, volume, compute, events)
        asked = tuple(name for name in task.labels if task.value_of(name) in self._only)
        if not asked or not is_installed(task.rough):
            return compute(volume, events)
        return self._around_asked(replace(task, region=asked), volume, compute, events)

    def _within(
        self, task: TotalTask, volume: Volume, compute: Compute, events: EventSink
    ) -> SegmentResult:
        """Segment the region of a task that finds nothing elsewhere."""
        names = ", ".join(task.region)
        if not is_installed(task.rough):
            return _whole(
                f"TotalSegmentator looks for this task around {names} only, which {task.rough} "
                f"finds; that is not installed (misfm models fetch {task.rough}), so the whole "
                "volume is segmented, and structures may be found where there are none.",
                volume,
                compute,
                events,
            )
        inside_DHW = self._find(task, volume, events) > 0
        box = _box(inside_DHW, np.divide(task.margin_mm, volume.geometry.spacing_dhw))
        if box is not None:
            return _boxed(task, box, volume, compute, events)
        told = f"{task.rough} found none of {names}, around which this task looks."
        events(Notice(told))
        # One voxel, since what computes is to be told as of any other volume.
        box = (slice(0, 1), slice(0, 1), slice(0, 1))
        result = compute(_cut(volume, box), events)
        nothing = LabelMap(np.zeros_like(result.label_map.array_DHW), result.label_map.geometry)
        result = replace(result, label_map=nothing, places=())
        return _put_back(replace(result, notices=(told, *result.notices)), volume, box)

    def _around_asked(
        self, task: TotalTask, volume: Volume, compute: Compute, events: EventSink
    ) -> SegmentResult:
        """Segment around the structures that are asked for, here the region of the task."""
        found_DHW = self._find(task, volume, events)
        numbers = np.bincount(found_DHW.ravel(), minlength=len(task.region) + 1)[1:]
        missing = [name for name, n in zip(task.region, numbers, strict=True) if not n]
        if missing:
            told = f"{task.rough} found no {', '.join(missing)}: the whole volume is segmented."
            return _whole(told, volume, compute, events)
        box = _box(found_DHW > 0, np.divide(task.margin_mm, volume.geometry.spacing_dhw))
        assert box is not None, "all of them were found"
        return _boxed(task, box, volume, compute, events)

    def _find(self, task: TotalTask, volume: Volume, events: EventSink) -> npt.NDArray[np.uint8]:
        """Return the place of each voxel's structure among those of the region, from 1 on, or 0."""
        events(Progress("segment", 0.0, f"looking for {', '.join(task.region)}"))
        bundle = find_model(task.rough)
        if task.rough not in self._rough:
            self._rough[task.rough] = Segmenter.from_bundle(bundle, self._options)
        labels = bundle.manifest.labels
        places = np.zeros(max(label.value for label in labels) + 1, np.uint8)
        for label in labels:
            if label.name in task.region:
                places[label.value] = task.region.index(label.name) + 1
        # A rough model may look somewhere only, in turn.
        result = self.segment(task.rough, volume, self._rough[task.rough].segment, events)
        found_DHW: npt.NDArray[np.uint8] = places[result.label_map.array_DHW]
        return found_DHW


def _whole(told: str, volume: Volume, compute: Compute, events: EventSink) -> SegmentResult:
    """Segment the whole volume for a reason that is told."""
    events(Notice(told))
    result = compute(volume, events)
    return replace(result, notices=(told, *result.notices))


def _boxed(
    task: TotalTask, box: Box, volume: Volume, compute: Compute, events: EventSink
) -> SegmentResult:
    """Segment a box around the structures of the region."""
    told = f"Segmented was the box around {', '.join(task.region)} as {task.rough} found them."
    result = compute(_cut(volume, box), events)
    return _put_back(replace(result, notices=(told, *result.notices)), volume, box)


def _box(inside_DHW: npt.NDArray[np.bool_], margin_dhw: npt.NDArray[Any]) -> Box | None:
    """Return the box around voxels with a margin in voxels, None where there are none."""
    sides = []
    for axis, margin in enumerate(margin_dhw.astype(int).tolist()):
        others = tuple(other for other in range(3) if other != axis)
        (planes,) = inside_DHW.any(axis=others).nonzero()
        if not len(planes):
            return None
        stop = min(inside_DHW.shape[axis], int(planes[-1]) + 1 + margin)
        sides.append(slice(max(0, int(planes[0]) - margin), stop))
    depth, height, width = sides
    return depth, height, width


def _cut(volume: Volume, box: Box) -> Volume:
    geometry = volume.geometry
    d, h, w = (side.start for side in box)
    depth, height, width = (side.stop - side.start for side in box)
    x, y, z = geometry.position_xyz((d, h, w)).tolist()
    geometry = replace(geometry, shape_dhw=(depth, height, width), origin_xyz=(x, y, z))
    array_CDHW = volume.array_CDHW[:, box[0], box[1], box[2]]
    return replace(volume, array_CDHW=array_CDHW, geometry=geometry, dicom_files=())


def _put_back(result: SegmentResult, volume: Volume, box: Box) -> SegmentResult:
    labels_DHW = np.zeros(volume.geometry.shape_dhw, result.label_map.array_DHW.dtype)
    labels_DHW[box] = result.label_map.array_DHW
    uncertainty = result.uncertainty
    if uncertainty is not None:
        array_CDHW = np.zeros((1, *volume.geometry.shape_dhw), uncertainty.array_CDHW.dtype)
        array_CDHW[:, box[0], box[1], box[2]] = uncertainty.array_CDHW
        uncertainty = Volume(array_CDHW, volume.geometry, volume.name)
    depth, height, width = (side.start for side in box)
    places = tuple(
        replace(place, index_ijk=(i + width, j + height, k + depth))
        for place in result.places
        for i, j, k in (place.index_ijk,)
    )
    label_map = LabelMap(labels_DHW, volume.geometry)
    return replace(result, label_map=label_map, uncertainty=uncertainty, places=places)
