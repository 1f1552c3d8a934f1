"""What the panel shows of a result, kept in the scene with its segmentation."""

from __future__ import annotations

import json
from typing import Any

import slicer
import vtk

from MISFMLib.events import Notice

from ..Job import Job, JobResult, JobState, Place, SegmentRequest, SegmentVolume
from .Segmentations import placeBeside, provenance, referenceVolume, setAttributes, tableOf
from .Sequences import framesOf
from .Uncertainty import uncertaintyOf

_PLACES = "MISFM.Places"
"""Role of the reference from a segmentation to the table of the places to look at first."""
_COLUMNS = ("R", "A", "S", "Labels")
_BETWEEN = " / "


def keep(job: Job) -> None:
    """Write down on the segmentation of a finished job what the panel shows of it."""
    result, node = job.result, job.result.segmentation
    notices = [[notice.message, notice.level] for notice in job.notices]
    attributes = {
        "Seconds": f"{job.seconds:.3f}",
        "Frames": result.frames,
        "Notices": json.dumps(notices),
        "Sizes": json.dumps([[v.name, v.voxels, v.volumeMl] for v in result.volumes]),
    }
    frames = framesOf(node) if result.frames > 1 else None
    for each in (node, *(frames.nodes if frames is not None else ())):  # it takes those of a frame
        setAttributes(each, attributes)
    _putPlaces(node, job.request.volumes[0], result.places, isWanted=result.uncertainty is not None)


def placesTable(node: Any) -> Any:
    """Return the table of the places of a segmentation, or None."""
    return node.GetNodeReference(_PLACES)


def last() -> Job | None:
    """Return the result of the scene that was made last, as a finished job; None without any."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    made = [node for node in nodes if provenance(node).get("Finished")]
    newest = sorted(made, key=lambda node: provenance(node)["Finished"])
    return next(filter(None, map(of, reversed(newest))), None)


def of(node: Any) -> Job | None:
    """Return the result that a segmentation holds, as a finished job.

    None when no job made it, or its volume was removed.
    """
    known, volume = provenance(node), referenceVolume(node)
    if volume is None or not {"Seconds", "Sizes"} <= set(known):
        return None
    try:
        sizes = tuple(SegmentVolume(*size) for size in json.loads(known["Sizes"]))
        notices = [Notice(*notice) for notice in json.loads(known["Notices"])]
        seconds, frames = float(known["Seconds"]), int(known["Frames"])
    except (KeyError, TypeError, ValueError):  # somebody has edited it
        return None
    result = JobResult(node, tableOf(node), sizes, {}, frames)
    result.uncertainty, result.places = uncertaintyOf(node), _places(node)
    request = SegmentRequest((volume,), known.get("Model", ""))
    job = Job(request, f"{volume.GetName()}: {request.model}", JobState.FINISHED, result=result)
    job.notices, job.seconds = notices, seconds
    return job


def _putPlaces(node: Any, volume: Any, places: tuple[Place, ...], *, isWanted: bool) -> None:
    """Fill the table of the places, a new one where there is none and some are known."""
    table = placesTable(node)
    if table is None:
        if not isWanted:
            return
        name = slicer.mrmlScene.GenerateUniqueName(f"{node.GetName()} where to look")
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
        node.SetNodeReferenceID(_PLACES, table.GetID())
        placeBeside(table, volume)
    wasModifying = table.StartModify()
    table.RemoveAllColumns()
    for index, title in enumerate(_COLUMNS):
        array = vtk.vtkStringArray() if title == "Labels" else vtk.vtkDoubleArray()
        array.SetName(title)
        for place in places:
            value = _BETWEEN.join(place.labels) if title == "Labels" else place.position[index]
            array.InsertNextValue(value)
        table.AddColumn(array)
    table.SetUseColumnTitleAsColumnHeader(True)
    table.EndModify(wasModifying)


def _places(node: Any) -> tuple[Place, ...]:
    table = placesTable(node)
    columns = [table.GetTable().GetColumnByName(name) for name in _COLUMNS] if table else [None]
    if None in columns:
        return ()
    rows = range(table.GetNumberOfRows())
    values = [[table.GetTable().GetValueByName(row, name) for name in _COLUMNS] for row in rows]
    return tuple(
        Place(
            tuple(value.ToDouble() for value in position),
            tuple(labels.ToString().split(_BETWEEN)),
        )
        for *position, labels in values
    )
