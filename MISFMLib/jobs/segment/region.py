"""The region that a task of TotalSegmentator looks at: found first, by a rough model.

Tasks for small structures see the part of a volume around larger ones only, such as the liver for
its vessels: a model of 3 or 6 mm finds those, and the box around them is cut out with a margin. The
tasks were trained on such parts, and find things elsewhere that are none.
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
        self._options = SegmenterOptions(
            device=options.device, precision=options.precision, engine=options.engine
        )
        self._rough: dict[str, Segmenter] = {}

    def segment(
        self, model: str, volume: Volume, compute: Compute, events: EventSink
    ) -> SegmentResult:
        """Segment a volume, or of tasks that have a region that; what lies outside is background.

        Where the rough model is not installed the whole volume is segmented, which is told.

        Args:
            model: Name of the model; any other than a task's sees the whole volume.
            volume: The volume.
            compute: Segments what it is given with this model.
            events: Hears progress and notices.

        Raises:
            MISFMError: As `compute` and `Segmenter.segment`.
        """
        task = find_task(model)
        if task is None or not task.region:
            return compute(volume, events)
        names = ", ".join(task.region)
        if not is_installed(task.rough):
            told = (
                f"TotalSegmentator looks for this task around {names} only, which {task.rough} "
                f"finds; that is not installed (misfm models fetch {task.rough}), so the whole "
                "volume is segmented, and structures may be found where there are none."
            )
            events(Notice(told))
            result = compute(volume, events)
            return replace(result, notices=(told, *result.notices))
        events(Progress("segment", 0.0, f"looking for {names}"))
        inside_DHW = self._find(task, volume, events)
        box = _box(inside_DHW, np.divide(task.margin_mm, volume.geometry.spacing_dhw))
        if box is None:
            told = f"{task.rough} found none of {names}, around which this task looks."
            events(Notice(told))
            # One voxel, since what computes is to be told as of any other volume.
            box = (slice(0, 1), slice(0, 1), slice(0, 1))
            result = compute(_cut(volume, box), events)
            nothing = np.zeros_like(result.label_map.array_DHW)
            label_map = LabelMap(nothing, result.label_map.geometry)
            result = replace(result, label_map=label_map, places=())
        else:
            told = f"Segmented was the box around {names} as {task.rough} found them."
            result = compute(_cut(volume, box), events)
        return _put_back(replace(result, notices=(told, *result.notices)), volume, box)

    def _find(self, task: TotalTask, volume: Volume, events: EventSink) -> npt.NDArray[np.bool_]:
        """Return the voxels of the structures around which the task looks."""
        bundle = find_model(task.rough)
        wanted = [label.value for label in bundle.manifest.labels if label.name in task.region]
        if task.rough not in self._rough:
            self._rough[task.rough] = Segmenter.from_bundle(bundle, self._options)
        # A rough model may look somewhere only, in turn.
        result = self.segment(task.rough, volume, self._rough[task.rough].segment, events)
        found: npt.NDArray[np.bool_] = np.isin(result.label_map.array_DHW, wanted)
        return found


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
