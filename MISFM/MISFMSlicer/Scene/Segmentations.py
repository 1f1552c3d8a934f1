"""Results in the scene: segments, what made them, and a table of their volumes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import slicer
import vtk

from ..Job import SegmentVolume
from .SceneIO import LABELMAP
from .Transforms import followVolume

_TABLE = "MISFM.Table"
"""Role of the reference from a segmentation to the table of its volumes."""
_ALGORITHM_TYPE = "DICOM.SegmentAlgorithmType"
_ALGORITHM_NAME = "DICOM.SegmentAlgorithmName"
"""Tags of a segment that Slicer writes into DICOM SEG."""
_VOXELS = "MISFM.Voxels"
"""Tag with the number of voxels that the model found."""
_LONGEST_DICOM_TEXT = 64


def segments(segmentation: Any) -> Iterator[tuple[str, Any]]:
    """Yield ID and vtkSegment of all segments of a vtkSegmentation."""
    for index in range(segmentation.GetNumberOfSegments()):
        segmentId = segmentation.GetNthSegmentID(index)
        yield segmentId, segmentation.GetSegment(segmentId)


def takeOut(segmentation: Any) -> list[tuple[str, Any]]:
    """Empty a vtkSegmentation; return its segments, which go on sharing their label maps.

    A vtkSegmentation gives each segment that it removes, also at its own end, a label map for
    itself alone, unless it has none: of 13 labels that takes seconds and 13 times the memory.
    """
    taken = list(segments(segmentation))
    labelMaps = [segment.GetRepresentation(LABELMAP) for _, segment in taken]
    for _, segment in taken:
        segment.RemoveRepresentation(LABELMAP)
    segmentation.RemoveAllSegments()
    for (_, segment), labelMap in zip(taken, labelMaps, strict=True):
        if labelMap is not None:
            segment.AddRepresentation(LABELMAP, labelMap)
    return taken


def addSegmentation(volume: Any, name: str) -> Any:
    """Add an empty segmentation node beside a volume in the subject hierarchy."""
    node = slicer.mrmlScene.AddNewNodeByClass(
        "vtkMRMLSegmentationNode", slicer.mrmlScene.GenerateUniqueName(name)
    )
    node.CreateDefaultDisplayNodes()
    placeBeside(node, volume)
    return node


def segmentationOf(volume: Any) -> Any:
    """Return the newest segmentation of a volume in the scene; None when there is none."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    found = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if volume is not None and node.GetNodeReference(role) is volume
    ]
    return found[-1] if found else None


def results() -> list[Any]:
    """Return what jobs have made in the scene and can be seen, the newest last."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if "Finished" in provenance(node) and node.GetDisplayNode()]


def hideEarlierResults(node: Any, volume: Any) -> None:
    """Hide what earlier jobs made of a volume; over each other they would cover the image."""
    for other in results():
        if other is not node and referenceVolume(other) is volume:
            other.GetDisplayNode().SetVisibility(False)


def hideOthers(volumes: Sequence[Any]) -> list[Any]:
    """Hide what is segmented of other volumes; return the display nodes of what was visible."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    displays = [each.GetDisplayNode() for each in nodes if referenceVolume(each) not in volumes]
    seen = [each for each in displays if each is not None and each.GetVisibility()]
    for display in seen:
        display.SetVisibility(False)
    return seen


def placeBeside(node: Any, volume: Any) -> None:
    """Move a node to the study (or folder) of a volume in the subject hierarchy."""
    placeIn(folderOf(volume), node)


def folderOf(node: Any) -> int:
    """Return the item that a node is in; 0 outside of the subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    return hierarchy.GetItemParent(item) if item else 0


def placeIn(folder: int, node: Any) -> None:
    """Move a node to an item of `folderOf`, unless that was removed."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    if not item:
        return
    root, items = hierarchy.GetSceneItemID(), vtk.vtkIdList()
    hierarchy.GetItemChildren(root, items, True)
    if folder == root or items.IsId(folder) >= 0:
        hierarchy.SetItemParent(item, folder)


def referenceVolume(node: Any) -> Any:
    """Return the volume that a segmentation belongs to, or None."""
    return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())


def putSegments(
    node: Any, volume: Any, source: Any, found: Sequence[SegmentVolume], algorithm: str
) -> None:
    """Put the segments of a result that have voxels into a segmentation node.

    A segment of the same name is replaced and keeps its ID and looks; one of which nothing was
    found is taken out; all others stay as they are. The node gets the volume's grid.

    Args:
        node: The vtkMRMLSegmentationNode.
        volume: The volume that was segmented.
        source: A vtkSegmentation of `readLabels`; it is empty afterwards.
        found: Sizes of the segments.
        algorithm: What made them, of `algorithmOf`.
    """
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    hadSurface = node.GetSegmentation().ContainsRepresentation(surface)
    wasModifying = node.StartModify()
    followVolume(node, volume)  # first: the grid is written down as it lies under this transform
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    if node.GetSegmentation().GetSourceRepresentationName() != LABELMAP:
        # As Segment Editor does with surfaces from STL; else those of the result would be all.
        node.GetSegmentation().CreateRepresentation(LABELMAP)
        node.SetSourceRepresentationToBinaryLabelmap()
    voxels = {item.name: item.voxels for item in found}
    for segmentId, segment in takeOut(source):
        _putSegment(node.GetSegmentation(), segmentId, segment, voxels[segment.GetName()] > 0)
        _sign(segment, algorithm, voxels[segment.GetName()])
    if hadSurface:
        node.CreateClosedSurfaceRepresentation()
    node.EndModify(wasModifying)


def _putSegment(target: Any, segmentId: str, segment: Any, hasVoxels: bool) -> None:
    oldId = target.GetSegmentIdBySegmentName(segment.GetName())
    following = ""
    if oldId:
        labelValue = segment.GetLabelValue()
        segment.DeepCopyMetadata(target.GetSegment(oldId))
        segment.SetLabelValue(labelValue)
        index = target.GetSegmentIndex(oldId) + 1
        if index < target.GetNumberOfSegments():
            following = target.GetNthSegmentID(index)
        target.RemoveSegment(oldId)
    if hasVoxels:
        target.AddSegment(segment, oldId or target.GenerateUniqueSegmentID(segmentId), following)


def _sign(segment: Any, algorithm: str, voxels: int) -> None:
    segment.SetTag(_ALGORITHM_TYPE, "AUTOMATIC")
    segment.SetTag(_ALGORITHM_NAME, algorithm)
    segment.SetTag(_VOXELS, str(voxels))


def isAutomatic(segment: Any) -> int | None:
    """Return how many voxels a model gave to a segment that is not known to be edited, or None."""
    voxels, kind = vtk.mutable(""), vtk.mutable("")
    hasVoxels = segment.GetTag(_VOXELS, voxels) and segment.GetTag(_ALGORITHM_TYPE, kind)
    return int(str(voxels)) if hasVoxels and str(kind) == "AUTOMATIC" else None


def markEdited(segment: Any) -> None:
    """Write down that a segment of a model was changed by a person."""
    if isAutomatic(segment) is not None:
        segment.SetTag(_ALGORITHM_TYPE, "SEMIAUTOMATIC")


def algorithmOf(report: dict[str, Any]) -> str:
    """Return what DICOM calls the algorithm of a result: the model and its version."""
    model = report["model"]
    return f"MISFM {model['name']} {model['version']}".strip()[:_LONGEST_DICOM_TEXT]


def setProvenance(node: Any, report: dict[str, Any]) -> None:
    """Write down on a node what made it: model, versions, options; all as text."""
    model = report["model"]
    attributes = {
        "Model": model["name"],
        "ModelVersion": model["version"],
        "WeightsSHA256": model["weights_sha256"],
        "Version": report["versions"]["misfm"],
        "Options": json.dumps(report["options"]),
        "Device": report["device"],
        "Finished": report["finished"],
    }
    setAttributes(node, attributes)


def setAttributes(node: Any, attributes: Mapping[str, Any]) -> None:
    """Write down attributes of ours, with one event for all: each lets Slicer look at the node."""
    wasModifying = node.StartModify()
    for name, value in attributes.items():
        node.SetAttribute(f"MISFM.{name}", str(value))
    node.EndModify(wasModifying)


def provenance(node: Any) -> dict[str, str]:
    """Return what `setProvenance` wrote: attribute names without ``MISFM.``, and values."""
    names = node.GetAttributeNames()
    return {
        name.removeprefix("MISFM."): node.GetAttribute(name)
        for name in names
        if name.startswith("MISFM.")
    }


def tableOf(node: Any) -> Any:
    """Return the table of a segmentation's volumes, or None."""
    return node.GetNodeReference(_TABLE)


def putTable(node: Any, volume: Any, found: Sequence[SegmentVolume]) -> Any:
    """Fill the table of a segmentation, a new one where there is none, and return it."""
    table = tableOf(node)
    if table is None:
        name = slicer.mrmlScene.GenerateUniqueName(f"{node.GetName()} volumes")
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
        node.SetNodeReferenceID(_TABLE, table.GetID())
        placeBeside(table, volume)
    wasModifying = table.StartModify()
    table.RemoveAllColumns()
    names, voxels, volumes = vtk.vtkStringArray(), vtk.vtkLongLongArray(), vtk.vtkDoubleArray()
    for array, title in ((names, "Segment"), (voxels, "Voxels"), (volumes, "Volume (ml)")):
        array.SetName(title)
    for item in found:
        names.InsertNextValue(item.name)
        voxels.InsertNextValue(item.voxels)
        volumes.InsertNextValue(round(item.volumeMl, 6))
    for array in (names, voxels, volumes):
        table.AddColumn(array)
    table.SetUseColumnTitleAsColumnHeader(True)
    table.EndModify(wasModifying)
    return table
