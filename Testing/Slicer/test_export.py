"""Results as files that other programs, and Slicer itself, read back as they were."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MISFM"))

from MISFMLib.errors import DataError, OutputError


@pytest.fixture
def export(host):
    from MISFMSlicer.Scene import Export

    return Export


@pytest.fixture
def a_result(make_volume):
    """A volume and a segmentation of two segments on its grid."""
    import slicer

    volume = make_volume("oblique")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "result")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, slices in (("left/right", np.s_[2:6, 3:8, 4:9]), ("Leber 肝", np.s_[7:10, 3:8, 4:9])):
        array = np.zeros((12, 16, 20), np.uint8)
        array[slices] = 1
        segment_id = node.GetSegmentation().AddEmptySegment("", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segment_id, volume)
    return volume, node


def matrix_of(volume):
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def test_nifti_has_the_volumes_grid_and_a_table_of_the_values(export, a_result, tmp_path):
    import slicer

    volume, node = a_result
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    files = export.exportNifti(node, volume, tmp_path / "ein Ergebnis.nii.gz")
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert [file.name for file in files] == ["ein Ergebnis.nii.gz", "ein Ergebnis-labels.csv"]
    assert files[1].read_text("utf-8") == "value,name\n1,left/right\n2,Leber 肝\n"
    read = slicer.util.loadVolume(str(files[0]), {"labelmap": True})
    np.testing.assert_allclose(matrix_of(read), matrix_of(volume), atol=1e-5)
    array = slicer.util.arrayFromVolume(read)
    assert (array[2:6, 3:8, 4:9] == 1).all()
    assert (array[7:10, 3:8, 4:9] == 2).all()
    assert np.count_nonzero(array) == (4 + 3) * 25


def test_nifti_keeps_the_values_of_the_model(export, a_result, tmp_path):
    node = a_result[1]
    for index, value in enumerate((7, 300)):
        node.GetSegmentation().GetNthSegment(index).SetLabelValue(value)
    assert export._labelValues(node) == dict(
        zip(node.GetSegmentation().GetSegmentIDs(), (7, 300), strict=True)
    )


def test_surfaces_come_back_where_they_were(export, a_result, tmp_path):
    import slicer

    _, node = a_result
    files = export.exportStl(node, tmp_path)
    assert [file.name for file in files] == ["left_right.stl", "Leber 肝.stl"]
    bounds = np.zeros(6)
    node.GetSegmentation().GetNthSegment(0).GetRepresentation("Closed surface").GetBounds(bounds)
    (tmp_path / "plain.stl").write_bytes(files[0].read_bytes())
    read = slicer.modules.models.logic().AddModel(str(tmp_path / "plain.stl"))
    np.testing.assert_allclose(read.GetPolyData().GetBounds(), bounds, atol=1e-3)


def test_segments_of_the_same_name_get_files_of_their_own(export, a_result, tmp_path):
    _, node = a_result
    node.GetSegmentation().GetNthSegment(1).SetName("LEFT?right")
    files = export.exportStl(node, tmp_path)
    assert len(set(files)) == len(list(tmp_path.glob("*.stl"))) == 2


def test_nothing_to_export_is_told(export, a_result, tmp_path):
    volume, node = a_result
    node.GetSegmentation().RemoveAllSegments()
    with pytest.raises(DataError):
        export.exportNifti(node, volume, tmp_path / "x.nii.gz")
    with pytest.raises(DataError):
        export.exportStl(node, tmp_path)


def test_a_place_that_cannot_be_written_is_told(export, a_result, tmp_path):
    volume, node = a_result
    (tmp_path / "a file").write_text("")
    with pytest.raises(OutputError):
        export.exportNifti(node, volume, tmp_path / "a file" / "x.nii.gz")
    with pytest.raises(OutputError):
        export.exportStl(node, tmp_path / "a file")
