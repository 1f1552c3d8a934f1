"""A result as DICOM SEG, by Slicer's own exporter, on exactly the slices of the series."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import re
import tempfile
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from MISFMLib.errors import DataError, DependencyError, OutputError

from .Edits import findEdits
from .Segmentations import referenceVolume
from .Transforms import SAME_VOXELS, corners, ijkToRas, isBent, toWorld

INSTANCES = "DICOM.instanceUIDs"
"""Attribute of a volume from DICOM: its files. It survives hardening, cloning and resampling."""
CONVERTER = "dcmqi"
"""The package whose converter writes DICOM SEG."""
INSTALL = f"PythonSlicer -m pip install {CONVERTER}"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def exportDicomSeg(segmentation: Any, volume: Any, folder: Path) -> list[Path]:
    """Write a DICOM SEG that refers to a volume's series; Slicer's database takes a copy.

    Args:
        segmentation: The vtkMRMLSegmentationNode; segments without voxels are left out.
        volume: Used where the segmentation itself refers to no volume.
        folder: Gets a new folder, named after the volume, with one file.

    Returns:
        The file.

    Raises:
        DataError: The volume was not loaded from DICOM, or it or the segmentation does not lie
            where the series does.
        DependencyError: This Slicer cannot write DICOM SEG.
        OutputError: It could not be written.
    """
    volume = referenceVolume(segmentation) or volume
    _check(segmentation, volume)
    module = _exporterModule()
    name = re.sub(r"[^\w .-]+", "_", volume.GetName()).strip(" .") or "volume"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".misfm-") as temporary:
        path = Path(temporary) / f"{name}.dcm"
        findEdits(segmentation)
        with _gridOf(volume, segmentation):
            _export(module, segmentation, path)
        target = _newFolder(folder, f"{name} DICOM SEG")
        path = path.replace(target / path.name)
    slicer.dicomDatabase.insert(str(path))
    return [path]


def _check(segmentation: Any, volume: Any) -> None:
    if not volume.GetAttribute(INSTANCES):
        raise DataError(
            _("{volume} was not loaded from DICOM, to which a DICOM SEG has to refer.").format(
                volume=volume.GetName()
            ),
            code="not-dicom",
            remedy=_("Load the volume with the module DICOM, or export to NIfTI."),
        )
    if not _liesOnSlices(volume, _planesOf(volume)):
        raise _moved(volume, _("its voxels no longer lie on the slices of its DICOM series"))
    if not _liesOn(segmentation, volume):
        raise _moved(segmentation, _("it is under another transform than its volume"))


def _moved(node: Any, reason: str) -> DataError:
    return DataError(
        _("{name} was moved or resampled: {reason}.").format(name=node.GetName(), reason=reason),
        code="dicom-moved",
        remedy=_("Export to NIfTI, or segment the volume as the module DICOM loads it."),
    )


def _planesOf(volume: Any) -> list[Any]:
    """Return where the slices of a volume's series lie: `MISFMLib.volumes.dicom.Plane`."""
    from MISFMLib.volumes.dicom import planes_of  # here: it needs SimpleITK

    uids = volume.GetAttribute(INSTANCES).split()
    files = [slicer.dicomDatabase.fileForInstance(uid) for uid in uids]
    if not all(file and Path(file).is_file() for file in files):
        raise DataError(
            _("The DICOM files of {volume} are not in Slicer's database.").format(
                volume=volume.GetName()
            ),
            code="dicom-not-in-database",
            remedy=_("Import its series with the module DICOM."),
        )
    return planes_of([Path(file) for file in files])


def _liesOnSlices(volume: Any, planes: Iterable[Any]) -> bool:
    """Tell whether the voxels of a volume are those of the slices, in whatever order."""
    toIjk = np.linalg.inv(_LPS_TO_RAS @ ijkToRas(volume))
    size = np.array(volume.GetImageData().GetDimensions())
    pixels, places = 0, []
    for plane in planes:
        rows, columns = plane.shape_hw
        pixels += rows * columns
        along = np.reshape(plane.orientation, (2, 3)) * np.reshape(plane.spacing_hw[::-1], (2, 1))
        for steps in itertools.product((0, columns - 1), (0, rows - 1)):
            places.append(np.append(plane.position_xyz + np.array(steps) @ along, 1))
    ijk = (np.array(places) @ toIjk.T)[:, :3]
    voxels = np.rint(ijk)
    isOnGrid = np.abs(ijk - voxels).max() <= SAME_VOXELS
    isInside = (voxels >= 0).all() and (voxels < size).all()
    return bool(isOnGrid and isInside and pixels == size.prod() and _areDifferent(voxels))


def _areDifferent(voxels: np.ndarray) -> bool:
    return len(np.unique(voxels[::4], axis=0)) == len(voxels) // 4


def _liesOn(segmentation: Any, volume: Any) -> bool:
    if segmentation.GetParentTransformNode() is volume.GetParentTransformNode():
        return True
    if isBent(segmentation) or isBent(volume):
        return False
    grid, corner = ijkToRas(volume), corners(volume)
    between = np.linalg.inv(toWorld(segmentation) @ grid) @ toWorld(volume) @ grid
    return bool(np.abs(corner @ between.T - corner).max() <= SAME_VOXELS)


@contextmanager
def _gridOf(volume: Any, segmentation: Any) -> Any:
    """Let a segmentation be written on a volume's grid, whatever grid it is painted on."""
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    before = segmentation.GetSegmentation().GetConversionParameter(name)
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    try:
        yield
    finally:
        segmentation.GetSegmentation().SetConversionParameter(name, before)


def _export(module: Any, segmentation: Any, path: Path) -> None:
    exporter = module.DICOMSegmentationExporter(segmentation, "MISFM")
    problem = ""
    try:
        metadata = {"SeriesDescription": segmentation.GetName()}
        exporter.export(str(path.parent), path.name, metadata, skipEmpty=True)
    except module.DICOMSegmentationExporter.NoNonEmptySegmentsFoundError as error:
        raise DataError(
            _("There is no segment to export."),
            code="nothing-to-export",
            remedy=_("Segment first."),
        ) from error
    except Exception as error:  # of the converter, a program of its own: of any class
        problem = str(error)
    finally:
        exporter.cleanup()
    if problem or not path.is_file():
        raise OutputError(
            _("The DICOM SEG could not be written: {problem}.").format(
                problem=problem.strip().rstrip(".") or _("no file came")
            ),
            code="dicom-seg-failed",
            remedy=_("See whether the volume's series is complete in Slicer's DICOM database."),
        )


def _newFolder(folder: Path, name: str) -> Path:
    for number in itertools.count(1):
        target = folder / (name if number == 1 else f"{name} {number}")
        try:
            target.mkdir()
        except FileExistsError:
            continue
        return target
    raise AssertionError


def _exporterModule() -> Any:
    try:
        module = importlib.import_module("DICOMSegmentationPlugin")
    except ImportError as error:
        raise DependencyError(
            _("This Slicer cannot write DICOM SEG."),
            code="no-dicom-seg",
            remedy=_("Install the extension QuantitativeReporting, or use Slicer 5.12 or newer."),
        ) from error
    plugin = getattr(module, "DICOMPlugin", None)
    # Slicer 5.13 takes the converter from this package; before, QuantitativeReporting brings it.
    if hasattr(plugin, "_dcmqi_binary") and importlib.util.find_spec(CONVERTER) is None:
        raise DependencyError(
            _("DICOM SEG needs the package {name}, which is missing.").format(name=CONVERTER),
            code="missing-package",
            remedy=_("Install it: {command}").format(command=INSTALL),
        )
    return module
