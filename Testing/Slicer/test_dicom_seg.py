"""DICOM SEG of a result: on the slices of the series, or refused. Slicer's exporter is a stand-in;
Testing/RealSlicer/patient_table.py does the same with the real one."""

import sys
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from test_transforms import SHIFT, put_under

from MISFMLib.errors import DataError, DependencyError, OutputError

__all__ = ["put_under"]


@dataclass
class Plane:
    """As `MISFMLib.volumes.dicom.Plane`, which needs SimpleITK."""

    position_xyz: tuple
    orientation: tuple
    spacing_hw: tuple
    shape_hw: tuple


class Exporter:
    """Has what Slicer's DICOMSegmentationExporter has; a test says what happens."""

    class NoNonEmptySegmentsFoundError(ValueError):
        pass

    exported, error, writes = [], None, True

    def __init__(self, node, creator):
        self.node = node

    def export(self, folder, name, metadata, skipEmpty):
        from test_transforms import grid_of

        self.exported.append((self.node, metadata, grid_of(self.node)))
        if self.error:
            raise self.error
        if self.writes:
            (Path(folder) / name).write_bytes(b"DICM")

    def cleanup(self):
        pass


@pytest.fixture
def database(host, monkeypatch):
    """Slicer's database, which takes copies."""
    import slicer

    inserted = []
    monkeypatch.setattr(
        slicer, "dicomDatabase", types.SimpleNamespace(insert=inserted.append), raising=False
    )
    return inserted


@pytest.fixture
def exporter(monkeypatch):
    module = types.ModuleType("DICOMSegmentationPlugin")
    module.DICOMSegmentationExporter = Exporter
    monkeypatch.setitem(sys.modules, "DICOMSegmentationPlugin", module)
    monkeypatch.setattr(Exporter, "exported", [])
    monkeypatch.setattr(Exporter, "error", None)
    monkeypatch.setattr(Exporter, "writes", True)
    return Exporter


def planes_of(volume):
    """The slices of the series that a volume was loaded from."""
    from MISFMSlicer.Scene.Transforms import ijkToRas

    to_lps = np.diag([-1, -1, 1, 1]) @ ijkToRas(volume)
    columns, rows, slices = volume.GetImageData().GetDimensions()
    spacing = volume.GetSpacing()
    axes = to_lps[:3, :3] / spacing
    return [
        Plane(
            tuple((to_lps @ [0, 0, k, 1])[:3]),
            (*axes[:, 0], *axes[:, 1]),
            (spacing[1], spacing[0]),
            (rows, columns),
        )
        for k in range(slices)
    ]


@pytest.fixture
def loaded(host, make_volume, database, exporter, monkeypatch):
    """A volume from DICOM with a segmentation of one segment, and the function under test."""
    import slicer
    from MISFMSlicer.Scene import DicomSeg

    volume = make_volume("oblique", name="CT/abdomen")
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    planes = planes_of(volume)
    monkeypatch.setattr(DicomSeg, "_planesOf", lambda _volume: planes)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "result")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("", "liver")
    array = np.ones((12, 16, 20), np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segment, volume)
    return types.SimpleNamespace(
        volume=volume, node=node, planes=planes, export=DicomSeg.exportDicomSeg
    )


def test_each_export_has_a_folder_and_a_file_with_the_volumes_name(loaded, database, tmp_path):
    files = [loaded.export(loaded.node, loaded.volume, tmp_path)[0] for _ in range(3)]
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "CT_abdomen DICOM SEG/CT_abdomen.dcm",
        "CT_abdomen DICOM SEG 2/CT_abdomen.dcm",
        "CT_abdomen DICOM SEG 3/CT_abdomen.dcm",
    ]
    assert database == [str(file) for file in files]
    assert len(list(tmp_path.iterdir())) == 3
    assert Exporter.exported[0][:2] == (loaded.node, {"SeriesDescription": "result"})


def test_it_is_written_on_the_volumes_grid_and_the_painted_grid_stays(loaded, tmp_path):
    from test_transforms import grid_of

    grid = grid_of(loaded.node)
    name = "Reference image geometry"
    finer = grid.replace("0;19;0;15;0;11;", "0;39;0;31;0;23;")
    assert finer != grid
    loaded.node.GetSegmentation().SetConversionParameter(name, finer)
    loaded.export(loaded.node, loaded.volume, tmp_path)
    assert Exporter.exported[-1][2] == grid
    assert grid_of(loaded.node) == finer


def test_a_volume_under_a_transform_is_written_where_its_series_is(loaded, put_under, tmp_path):
    transform = put_under(loaded.volume, SHIFT)
    loaded.node.SetAndObserveTransformNodeID(transform.GetID())
    assert loaded.export(loaded.node, loaded.volume, tmp_path)
    loaded.node.SetAndObserveTransformNodeID(None)
    with pytest.raises(DataError, match="another transform"):
        loaded.export(loaded.node, loaded.volume, tmp_path)


def move(volume):
    matrix = volume_matrix(volume)
    matrix.SetElement(0, 3, matrix.GetElement(0, 3) + 0.2)
    volume.SetIJKToRASMatrix(matrix)


def stretch(volume):
    volume.SetSpacing(1.0, 1.5, 2.53)


def harden(volume):
    import slicer

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.array(SHIFT, float)))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    volume.HardenTransform()


def crop(volume):
    import slicer

    slicer.util.updateVolumeFromArray(volume, slicer.util.arrayFromVolume(volume)[:-1].copy())


def volume_matrix(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


@pytest.mark.parametrize("change", [move, stretch, harden, crop])
def test_a_volume_that_no_longer_lies_on_its_series_is_refused(loaded, tmp_path, change):
    change(loaded.volume)
    with pytest.raises(DataError, match="was moved or resampled") as error:
        loaded.export(loaded.node, loaded.volume, tmp_path)
    assert "NIfTI" in error.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_uneven_slices_missing_and_doubled_ones_are_refused(loaded, tmp_path):
    from MISFMSlicer.Scene.DicomSeg import _liesOnSlices

    planes = loaded.planes
    assert _liesOnSlices(loaded.volume, planes)
    assert _liesOnSlices(loaded.volume, planes[::-1])
    assert not _liesOnSlices(loaded.volume, planes[:-1])
    assert not _liesOnSlices(loaded.volume, [*planes[:-1], planes[0]])
    x, y, z = planes[4].position_xyz
    planes[4].position_xyz = (x, y, z + 0.5)
    with pytest.raises(DataError, match="was moved or resampled"):
        loaded.export(loaded.node, loaded.volume, tmp_path)


def test_slices_in_permuted_and_reversed_axes_are_the_same_voxels(loaded):
    import slicer
    from MISFMSlicer.Scene.DicomSeg import _liesOnSlices
    from MISFMSlicer.Scene.Transforms import ijkToRas

    volume, old = loaded.volume, ijkToRas(loaded.volume)
    array = slicer.util.arrayFromVolume(volume)
    slicer.util.updateVolumeFromArray(volume, array.transpose(1, 0, 2)[:, ::-1].copy())
    swap = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 11], [0, 0, 0, 1.0]])
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(old @ swap))
    assert _liesOnSlices(volume, loaded.planes)


def test_what_slicer_cannot_write_is_told_and_leaves_nothing(loaded, exporter, tmp_path):
    exporter.error = RuntimeError("itkimage2segimage failed")
    with pytest.raises(OutputError, match="itkimage2segimage failed"):
        loaded.export(loaded.node, loaded.volume, tmp_path)
    exporter.error, exporter.writes = None, False
    with pytest.raises(OutputError, match="no file came"):
        loaded.export(loaded.node, loaded.volume, tmp_path)
    exporter.error = exporter.NoNonEmptySegmentsFoundError()
    with pytest.raises(DataError, match="no segment"):
        loaded.export(loaded.node, loaded.volume, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_volume_that_is_not_from_dicom_has_no_dicom_seg(loaded, tmp_path):
    loaded.volume.RemoveAttribute("DICOM.instanceUIDs")
    with pytest.raises(DataError) as error:
        loaded.export(loaded.node, loaded.volume, tmp_path)
    assert error.value.code == "not-dicom"


def test_a_slicer_without_the_exporter_is_told(loaded, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "DICOMSegmentationPlugin", None)
    with pytest.raises(DependencyError):
        loaded.export(loaded.node, loaded.volume, tmp_path)


def test_a_missing_converter_is_a_missing_package(loaded, monkeypatch, tmp_path):
    module = sys.modules["DICOMSegmentationPlugin"]
    module.DICOMPlugin = types.SimpleNamespace(_dcmqi_binary=None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(DependencyError, match="dcmqi") as error:
        loaded.export(loaded.node, loaded.volume, tmp_path)
    assert error.value.code == "missing-package"
    assert list(tmp_path.iterdir()) == []
