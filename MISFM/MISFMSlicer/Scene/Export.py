"""A result for other programs: NIfTI, STL."""

from __future__ import annotations

import csv
import errno
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from MISFMLib.errors import DataError
from MISFMLib.files import written_atomically

from .Masks import maskOn
from .Segmentations import segments
from .Surfaces import exactSurface
from .Transforms import SAME_VOXELS, corners, ijkToRas

_STL_HEADER = "3D Slicer output. SPACE=LPS"
"""As Slicer writes it, so that Slicer reads the surface back where it was."""
_STL_HEAD_BYTES, _STL_TRIANGLE_BYTES = 84, 50


def exportNifti(segmentation: Any, volume: Any, path: Path) -> list[Path]:
    """Write the segments as one label map on the volume's own grid, and a table of their values.

    Segments keep their label values where these differ, and else get 1, 2, ... Where segments
    overlap, the later one is written. A transform is left out, as Slicer does: the labels lie on
    the volume's file.

    Args:
        segmentation: The vtkMRMLSegmentationNode.
        volume: The volume whose grid is written.
        path: File, .nii.gz; the table goes beside it (.csv). Both are replaced. A name without
            this suffix gets it, and then must be free.

    Returns:
        The files.

    Raises:
        DataError: There is no segment, or NIfTI cannot hold the volume's grid.
        OutputError: A file cannot be written.
    """
    isNamed = path.name.endswith(".nii.gz")  # else nobody was asked whether it may be replaced
    path = path if isNamed else path.with_name(f"{path.name.removesuffix('.nii')}.nii.gz")
    values = _labelValues(segmentation)
    labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint16)
    for segmentId, value in values.items():
        labels[maskOn(segmentation, segmentId, volume)] = value
    with written_atomically(path, overwrite=isNamed) as temporary:
        writeLabelMap(labels, volume, temporary)
    names = {key: segment.GetName() for key, segment in segments(segmentation.GetSegmentation())}
    table = path.with_name(path.name.removesuffix(".nii.gz") + "-labels.csv")
    with (
        written_atomically(table, overwrite=True) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        rows = [("value", "name"), *((value, names[key]) for key, value in values.items())]
        csv.writer(file, lineterminator="\n").writerows(rows)
    return [path, table]


def writeLabelMap(labels: np.ndarray, volume: Any, path: Path) -> None:
    """Write a label map and read it again: neither Slicer nor ITK tells when it went wrong.

    Args:
        labels: Labels (k, j, i) on the grid of the volume.
        volume: The volume node.
        path: NIfTI file to write.

    Raises:
        OSError: The file cannot be written.
        DataError: The volume's axes are not at right angles.
    """
    scene = slicer.vtkMRMLScene()  # its own, so that the user's sees nothing of it
    node, read = (scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode") for _ in range(2))
    node.CopyOrientation(volume)
    slicer.util.updateVolumeFromArray(node, labels)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(path.as_posix())
    storage.SetSingleFile(True)
    if not storage.WriteData(node) or not storage.ReadData(read):
        raise notWritten()
    # A left-handed grid comes back with its slices reversed, in the same places.
    steps = np.linalg.inv(ijkToRas(volume)) @ ijkToRas(read)
    found = slicer.util.arrayFromVolume(read)[:: -1 if steps[2, 2] < 0 else 1]
    if not np.array_equal(found, labels):
        raise notWritten()
    places = corners(read) @ steps.T
    if np.abs(np.sort(places, axis=0) - np.sort(corners(volume), axis=0)).max() > SAME_VOXELS:
        raise DataError(
            _("The axes of {volume} are not at right angles, as NIfTI needs them.").format(
                volume=volume.GetName()
            ),
            code="sheared",
            remedy=_("Save the segmentation as .seg.nrrd instead."),
        )


def exportStl(segmentation: Any, folder: Path) -> list[Path]:
    """Write one surface per segment (.stl, millimetres, LPS), where the segment is seen in 3D.

    The surfaces follow the voxels and so hold the volume of each structure, also of small ones,
    which the smoothing of the 3D view lets shrink or vanish. Files that are there stay.

    Args:
        segmentation: The vtkMRMLSegmentationNode.
        folder: Where the files go.

    Returns:
        The files; a segment without voxels has none.

    Raises:
        DataError: There is no segment with voxels.
        OutputError: A file cannot be written.
    """
    files = []
    for segmentId, name in _namesForFiles(segmentation):
        surface = exactSurface(segmentation, segmentId)
        if surface.GetNumberOfCells():
            path = _freePath(folder, name)
            _writeSurface(_inLps(surface, segmentation), path)
            files.append(path)
    if not files:
        raise _nothingToExport()
    return files


def _freePath(folder: Path, name: str) -> Path:
    candidates = (f"{name}{number}.stl" for number in itertools.chain([""], itertools.count(2)))
    return next(path for each in candidates if not (path := folder / each).exists())


def _labelValues(segmentation: Any) -> dict[str, int]:
    """Return a value of its own for every segment, by its ID."""
    values = {key: segment.GetLabelValue() for key, segment in _existing(segmentation)}
    if len(set(values.values())) < len(values) or min(values.values()) < 1:
        return {key: index for index, key in enumerate(values, 1)}
    return values


def _existing(segmentation: Any) -> list[tuple[str, Any]]:
    found = list(segments(segmentation.GetSegmentation()))
    if not found:
        raise _nothingToExport()
    return found


def _nothingToExport() -> DataError:
    return DataError(
        _("There is no segment to export."), code="nothing-to-export", remedy=_("Segment first.")
    )


def _namesForFiles(segmentation: Any) -> Iterator[tuple[str, str]]:
    """Yield the ID of every segment and a name that a file can have, each name once."""
    used = set()
    for segmentId, segment in _existing(segmentation):
        name = re.sub(r"[^\w .-]+", "_", segment.GetName()).strip() or segmentId
        if name.lower() in used:
            name = f"{name} {segmentId}"
        used.add(name.lower())
        yield segmentId, name


def _inLps(surface: vtk.vtkPolyData, segmentation: Any) -> vtk.vtkPolyData:
    """Return a surface in LPS, with the transform of the segmentation."""
    toLps = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        segmentation.GetParentTransformNode(), None, toLps
    )
    toLps.PostMultiply()
    toLps.Scale(-1, -1, 1)
    transformed = vtk.vtkTransformPolyDataFilter()
    transformed.SetTransform(toLps)
    transformed.SetInputData(surface)
    transformed.Update()
    return transformed.GetOutput()


def _writeSurface(surface: vtk.vtkPolyData, path: Path) -> None:
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(surface)
    triangles.Update()
    with written_atomically(path) as temporary:
        writer = vtk.vtkSTLWriter()
        writer.SetFileTypeToBinary()
        writer.SetHeader(_STL_HEADER)
        writer.SetFileName(temporary.as_posix())
        writer.SetInputData(triangles.GetOutput())
        size = _STL_HEAD_BYTES + _STL_TRIANGLE_BYTES * triangles.GetOutput().GetNumberOfCells()
        if not writer.Write() or not temporary.exists() or len(temporary.read_bytes()) != size:
            raise notWritten()


def notWritten() -> OSError:
    """Say that a file is not whole; `written_atomically` tells which, Slicer tells no reason."""
    return OSError(errno.EIO, _("the disk may be full"))
