"""A result for other programs: NIfTI, STL, DICOM SEG."""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from MISFMLib.errors import DataError, DependencyError, OutputError

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


def exportDicomSeg(segmentation: Any, volume: Any, folder: Path) -> list[Path]:
    """Write a DICOM SEG that refers to the volume's series; return the files.

    Raises:
        DataError: The volume was not loaded from DICOM.
        DependencyError: This Slicer cannot write DICOM SEG.
        OutputError: It could not be written.
    """
    if not volume.GetAttribute("DICOM.instanceUIDs"):
        raise DataError(
            _("{volume} was not loaded from DICOM, to which a DICOM SEG has to refer.").format(
                volume=volume.GetName()
            ),
            code="not-dicom",
            remedy=_("Load the volume with the module DICOM, or export to NIfTI."),
        )
    plugin = _dicomPlugin()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    exportables = plugin.examineForExport(hierarchy.GetItemByDataNode(segmentation))
    before = set(folder.iterdir())
    for exportable in exportables:
        exportable.directory = str(folder)
    problem = plugin.export(exportables) if exportables else _("its series is not in the database")
    files = sorted(set(folder.iterdir()) - before)
    if problem or not files:
        raise OutputError(
            _("The DICOM SEG could not be written: {problem}.").format(
                problem=problem or _("no file came")
            ),
            code="dicom-seg-failed",
            remedy=_("See whether the volume's series is complete in Slicer's DICOM database."),
        )
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


def _dicomPlugin() -> Any:
    try:
        module = importlib.import_module("DICOMSegmentationPlugin")
    except ImportError as error:
        raise DependencyError(
            _("This Slicer cannot write DICOM SEG."),
            code="no-dicom-seg",
            remedy=_("Install the extension QuantitativeReporting, or use Slicer 5.12 or newer."),
        ) from error
    return module.DICOMSegmentationPluginClass()
