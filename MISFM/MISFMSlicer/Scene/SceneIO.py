"""Volume nodes to files, and files with labels back onto exactly the volume's grid."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from MISFMLib.errors import DataError

from ..Job import SegmentVolume
from .GridBox import GridBox
from .Masks import LABELMAP
from .Transforms import straightened

_PIECE_BYTES = 16_000_000
"""Written at a time; takes about as long as a picture of a film lasts."""
_NRRD_TYPES = {
    **{"int16": "short", "uint16": "unsigned short", "int32": "int", "uint32": "unsigned int"},
    **{"uint8": "unsigned char", "float32": "float", "float64": "double"},
}
_RARE_TYPES = (
    *(vtk.VTK_CHAR, vtk.VTK_SIGNED_CHAR, vtk.VTK_LONG, vtk.VTK_UNSIGNED_LONG),
    *(vtk.VTK_LONG_LONG, vtk.VTK_UNSIGNED_LONG_LONG),
)


def isInScene(node: Any) -> bool:
    """Tell whether a node is there; the user may have removed it, or closed the scene."""
    return node is not None and bool(slicer.mrmlScene.IsNodePresent(node))


# --------------------------------------------------------------------------------------- to files


def checkVolume(volume: Any) -> None:
    """Refuse what is no volume with one value per voxel.

    Raises:
        DataError: There is no volume, or it has not even two voxels, or colours.
    """
    image = volume.GetImageData() if volume is not None else None
    if image is None or image.GetNumberOfPoints() < 2:
        raise DataError(
            _("There is no volume, or it has no voxels."),
            code="volume-empty",
            remedy=_("Choose another volume."),
        )
    if image.GetNumberOfScalarComponents() != 1:
        raise DataError(
            _("{volume} has colours instead of one value per voxel.").format(
                volume=volume.GetName()
            ),
            code="volume-not-scalar",
            remedy=_("Convert it with the module Vector to Scalar Volume."),
        )


def writeVolume(volume: Any, box: GridBox, path: Path) -> None:
    """Write the voxels of a box as NRRD, uncompressed, with the node's own IJK-to-RAS matrix.

    Raises:
        OSError: The file cannot be written.
    """
    for _piece in writeInPieces(volume, box, path):
        pass


def writeInPieces(volume: Any, box: GridBox, path: Path) -> Iterator[None]:
    """Do what `writeVolume` does, and stop between the pieces, so that others can work.

    Slicer's own writer holds up the event loop for 0.1 to 0.4 s, with a CT of 150 MB.
    """
    voxels = voxelsOf(_voxelsIn(volume, box))
    matrix = slicer.util.arrayFromVTKMatrix(boxToRas(volume, box))
    # Hardly sheared axes are written at right angles: the labels come back voxel by voxel.
    straight = straightened(matrix, box.sizeIjk)
    header = _header(voxels, box, matrix if straight is None else straight)
    step = _PIECE_BYTES // voxels.itemsize
    try:
        with path.open("wb") as file:
            file.write(header.encode("ascii"))
            for start in range(0, voxels.size, step):
                if start:
                    yield
                file.write(memoryview(voxels[start : start + step]))
    except OSError as error:
        why = error.strerror
        raise OSError(f"{path} could not be written: {why}. Is there space on the disk?") from error


def _header(voxels: np.ndarray, box: GridBox, toRas: np.ndarray) -> str:
    toLps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ toRas
    *directions, origin = (
        "(" + ",".join(repr(float(value)) for value in column[:3]) + ")" for column in toLps.T
    )
    lines = [
        "NRRD0004",
        f"type: {_NRRD_TYPES[voxels.dtype.name]}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, box.sizeIjk))}",
        f"space directions: {' '.join(directions)}",
        "kinds: domain domain domain",
        f"endian: {sys.byteorder}",
        "encoding: raw",
        f"space origin: {origin}",
    ]
    return "\n".join(lines) + "\n\n"


def _voxelsIn(volume: Any, box: GridBox) -> vtk.vtkImageData:
    return _inKnownType(_cropped(volume, box))


def _inKnownType(image: vtk.vtkImageData) -> vtk.vtkImageData:
    """Return voxels in a type that files hold on every system: no 8 bits with a sign, no 64."""
    voxels = image.GetPointData().GetScalars()
    if voxels.GetDataType() not in _RARE_TYPES:
        return image
    array = voxelsOf(image)
    bounds = np.iinfo(np.int32)
    fits = array.min() >= bounds.min and array.max() <= bounds.max
    wanted = np.int16 if array.itemsize == 1 else np.int32 if fits else np.float32
    known = vtk.vtkImageData()
    known.CopyStructure(image)
    known.GetPointData().SetScalars(numpy_to_vtk(array.astype(wanted), deep=True))
    return known


def _cropped(volume: Any, box: GridBox) -> vtk.vtkImageData:
    if box.sizeIjk == volume.GetImageData().GetDimensions():
        return volume.GetImageData()  # a copy of a large volume would take its time and memory
    crop = vtk.vtkExtractVOI()
    crop.SetInputData(volume.GetImageData())
    crop.SetVOI(*box.extent)
    crop.Update()
    image = vtk.vtkImageData()
    image.ShallowCopy(crop.GetOutput())
    image.SetExtent(*(end for size in box.sizeIjk for end in (0, size - 1)))
    return image


def boxToRas(volume: Any, box: GridBox) -> vtk.vtkMatrix4x4:
    """Return where the voxels of a box are."""
    shift = vtk.vtkMatrix4x4()
    for axis, start in enumerate(box.startIjk):
        shift.SetElement(axis, 3, start)
    ijkToRas, result = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(ijkToRas)
    vtk.vtkMatrix4x4.Multiply4x4(ijkToRas, shift, result)
    return result


# ------------------------------------------------------------------------------------- from files


def loadFile(load: Callable[..., Any], path: Path, properties: Mapping[str, Any]) -> Any:
    """Load a file into the scene with one of Slicer's functions for it; return the node.

    Raises:
        DataError: It is not there, or damaged.
    """
    try:
        return load(str(path), dict(properties))
    except RuntimeError as error:
        raise DataError(
            _("{path} cannot be read.").format(path=path),
            code="file-unreadable",
            remedy=_("It is damaged or not there; is its drive connected?"),
        ) from error


def readLabels(path: Path, volume: Any, box: GridBox) -> Any:
    """Read a .seg.nrrd of a box into a vtkSegmentation on exactly the volume's grid.

    Raises:
        RuntimeError: The file cannot be read or does not fit the box.
    """
    scene = slicer.vtkMRMLScene()  # its own, so that the user's sees nothing of it
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(path.as_posix())
    if not storage.ReadData(node):
        raise RuntimeError(f"{path} cannot be read.")
    segmentation = node.GetSegmentation()
    for image in _labelMaps(segmentation):
        _checkSize(image, box)
        _place(image, volume, box)
    return segmentation


def readImage(path: Path, box: GridBox) -> vtk.vtkImageData:
    """Read the voxels of a volume file of a box.

    Raises:
        RuntimeError: The file cannot be read or does not fit the box.
    """
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(path.as_posix())
    if not storage.ReadData(node):
        raise RuntimeError(f"{path} cannot be read.")
    _checkSize(node.GetImageData(), box)
    return node.GetImageData()


def _checkSize(image: Any, box: GridBox) -> None:
    if image.GetDimensions() != box.sizeIjk:
        raise RuntimeError(f"{image.GetDimensions()} voxels came for a box of {box.sizeIjk}.")


def _labelMaps(segmentation: Any) -> list[Any]:
    layers = range(segmentation.GetNumberOfLayers(LABELMAP))
    return [segmentation.GetLayerDataObject(layer, LABELMAP) for layer in layers]


def _place(image: Any, volume: Any, box: GridBox) -> None:
    """Put a label map where the box is in the volume, and erase what is outside its mask."""
    if box.mask is not None:
        voxelsOf(image).reshape(box.mask.shape)[~box.mask] = 0
    image.SetExtent(*box.extent)
    ijkToRas = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(ijkToRas)
    image.SetGeometryFromImageToWorldMatrix(ijkToRas)


def voxelsOf(image: Any) -> Any:
    """Return the voxels of a vtkImageData, one after the other; writing changes the image."""
    return vtk_to_numpy(image.GetPointData().GetScalars())


def measure(
    segmentation: Any, labels: Sequence[dict[str, Any]], box: GridBox, voxelMl: float
) -> tuple[SegmentVolume, ...]:
    """Return the size of every segment; what a mask has erased is counted again.

    Args:
        segmentation: A vtkSegmentation of `readLabels`.
        labels: The library's report: label, name, voxels.
        box: Where labels are kept.
        voxelMl: Size of a voxel in the patient, which the library does not know: it sees the
            volume without its transform.
    """
    voxels = {label["label"]: label["voxels"] for label in labels}
    if box.mask is not None:
        maps = [voxelsOf(image) for image in _labelMaps(segmentation)]
        voxels = {value: sum(int((map_ == value).sum()) for map_ in maps) for value in voxels}
    return tuple(
        SegmentVolume(label["name"], count, count * voxelMl)
        for label in labels
        for count in (voxels[label["label"]],)
    )
