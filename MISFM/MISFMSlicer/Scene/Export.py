"""A result for other programs: NIfTI, STL."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from MISFMLib.errors import DataError, OutputError

from .Segmentations import segments

_STL_HEADER = "3D Slicer output. SPACE=LPS"
"""As Slicer writes it, so that Slicer reads the surface back where it was."""


def exportNifti(segmentation: Any, volume: Any, path: Path) -> list[Path]:
    """Write the segments as one label map on the volume's grid, and a table of their values.

    Segments keep their label values where these differ, and else get 1, 2, ... Where segments
    overlap, the later one is written.

    Args:
        segmentation: The vtkMRMLSegmentationNode.
        volume: The volume whose grid is written.
        path: File, .nii.gz; the table goes beside it (.csv).

    Returns:
        The files.

    Raises:
        DataError: There is no segment.
        OutputError: A file cannot be written.
    """
    values = _labelValues(segmentation)
    labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint16)
    for segmentId, value in values.items():
        labels[slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segmentId, volume) > 0] = (
            value
        )
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    try:
        node.CopyOrientation(volume)
        slicer.util.updateVolumeFromArray(node, labels)
        _write(slicer.vtkMRMLVolumeArchetypeStorageNode(), node, path)
    finally:
        slicer.mrmlScene.RemoveNode(node)
    names = {key: segment.GetName() for key, segment in segments(segmentation.GetSegmentation())}
    table = path.with_name(path.name.removesuffix(".nii.gz") + "-labels.csv")
    try:
        with table.open("w", encoding="utf-8", newline="") as file:
            rows = [("value", "name"), *((value, names[key]) for key, value in values.items())]
            csv.writer(file, lineterminator="\n").writerows(rows)
    except OSError as error:
        raise _notWritten(table) from error
    return [path, table]


def exportStl(segmentation: Any, folder: Path) -> list[Path]:
    """Write one surface per segment (.stl, millimetres, LPS); return the files.

    Raises:
        DataError: There is no segment.
        OutputError: A file cannot be written.
    """
    segmentation.CreateClosedSurfaceRepresentation()
    files = []
    for segmentId, name in _namesForFiles(segmentation):
        path = folder / f"{name}.stl"
        _writeSurface(_surface(segmentation, segmentId), path)
        files.append(path)
    return files


def _labelValues(segmentation: Any) -> dict[str, int]:
    """Return a value of its own for every segment, by its ID."""
    values = {key: segment.GetLabelValue() for key, segment in _existing(segmentation)}
    if len(set(values.values())) < len(values) or min(values.values()) < 1:
        return {key: index for index, key in enumerate(values, 1)}
    return values


def _existing(segmentation: Any) -> list[tuple[str, Any]]:
    found = list(segments(segmentation.GetSegmentation()))
    if not found:
        raise DataError(
            _("There is no segment to export."),
            code="nothing-to-export",
            remedy=_("Segment first."),
        )
    return found


def _namesForFiles(segmentation: Any) -> Iterator[tuple[str, str]]:
    """Yield the ID of every segment and a name that a file can have, each name once."""
    used = set()
    for segmentId, segment in _existing(segmentation):
        name = re.sub(r"[^\w .-]+", "_", segment.GetName()).strip() or segmentId
        if name.lower() in used:
            name = f"{name} {segmentId}"
        used.add(name.lower())
        yield segmentId, name


def _surface(segmentation: Any, segmentId: str) -> vtk.vtkPolyData:
    """Return a surface in LPS, with the transform of the segmentation."""
    surface = vtk.vtkPolyData()
    slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentClosedSurfaceRepresentation(
        segmentation, segmentId, surface
    )
    rasToLps = vtk.vtkTransform()
    rasToLps.Scale(-1, -1, 1)
    transformed = vtk.vtkTransformPolyDataFilter()
    transformed.SetTransform(rasToLps)
    transformed.SetInputData(surface)
    transformed.Update()
    return transformed.GetOutput()


def _writeSurface(surface: vtk.vtkPolyData, path: Path) -> None:
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(surface)
    writer = vtk.vtkSTLWriter()
    writer.SetFileTypeToBinary()
    writer.SetHeader(_STL_HEADER)
    writer.SetFileName(path.as_posix())
    writer.SetInputConnection(triangles.GetOutputPort())
    if not writer.Write() or not path.exists():
        raise _notWritten(path)


def _write(storage: Any, node: Any, path: Path) -> None:
    storage.SetFileName(path.as_posix())
    if not storage.WriteData(node) or not path.exists():
        raise _notWritten(path)


def _notWritten(path: Path) -> OutputError:
    return OutputError(
        _("{path} cannot be written.").format(path=path),
        code="output-not-writable",
        remedy=_("Choose a folder where you may write, on a disk with space left."),
    )
