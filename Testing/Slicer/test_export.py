"""Results as files that other programs, and Slicer itself, read back as they were."""

import sys
from pathlib import Path

import numpy as np
import pytest
from test_transforms import SHIFT, put_under, world_voxels

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MISFM"))

from MISFMLib.errors import DataError, OutputError

__all__ = ["put_under"]


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


def test_nifti_has_hidden_and_renamed_segments_too(export, a_result, tmp_path):
    """Slicer's own export leaves hidden segments out, and those that a colour table lacks."""
    import slicer

    volume, node = a_result
    first, second = node.GetSegmentation().GetSegmentIDs()
    node.GetDisplayNode().SetSegmentVisibility(first, False)
    node.GetSegmentation().GetSegment(second).SetName("liver")
    files = export.exportNifti(node, volume, tmp_path / "x.nii.gz")
    assert files[1].read_text("utf-8") == "value,name\n1,left/right\n2,liver\n"
    array = slicer.util.arrayFromVolume(slicer.util.loadVolume(str(files[0]), {"labelmap": True}))
    assert [int((array == value).sum()) for value in (1, 2)] == [4 * 25, 3 * 25]


def test_nifti_keeps_the_values_of_the_model(export, a_result, tmp_path):
    node = a_result[1]
    for index, value in enumerate((7, 300)):
        node.GetSegmentation().GetNthSegment(index).SetLabelValue(value)
    assert export._labelValues(node) == dict(
        zip(node.GetSegmentation().GetSegmentIDs(), (7, 300), strict=True)
    )


@pytest.mark.parametrize("matrix", [None, SHIFT])
def test_surfaces_come_back_where_they_are_seen(export, a_result, put_under, tmp_path, matrix):
    import slicer

    _, node = a_result
    if matrix:
        put_under(node, matrix)
    files = export.exportStl(node, tmp_path)
    assert [file.name for file in files] == ["left_right.stl", "Leber 肝.stl"]
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    read = slicer.util.loadModel(str(files[0]))
    places = world_voxels(node, node.GetSegmentation().GetNthSegmentID(0))
    bounds = np.reshape(read.GetPolyData().GetBounds(), (3, 2))
    np.testing.assert_allclose(
        bounds.mean(axis=1), (places.max(0) + places.min(0))[:3] / 2, atol=1e-3
    )
    assert export.exportStl(node, tmp_path)[0].name == "left_right2.stl"


def shape(kind, size):
    """A mask with some air around: a cube, a ball, a vessel or a plate."""
    grid = np.indices((size + 6,) * 3) - (size + 5) / 2
    if kind == "ball":
        return (np.linalg.norm(grid, axis=0) <= size / 2).astype(np.uint8)
    mask = (np.abs(grid) < size / 2).all(axis=0)
    if kind != "cube":
        mask[:, :, 4:] = False
    if kind == "vessel":
        mask[:, 4:] = False
    return mask.astype(np.uint8)


@pytest.mark.parametrize("direction", ["axial", "oblique"])
@pytest.mark.parametrize(
    ("kind", "size"),
    [("cube", size) for size in (1, 2, 3, 5, 10)]
    + [("ball", size) for size in (3, 7, 15, 31)]
    + [("vessel", 20), ("plate", 15)],
)
def test_a_surface_holds_what_the_voxels_do(export, make_volume, tmp_path, kind, size, direction):
    import slicer
    import vtk

    mask = shape(kind, size)
    volume = make_volume(direction, shape_kji=mask.shape)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("", kind)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)
    node.GetSegmentation().AddEmptySegment("", "empty")
    (path,) = export.exportStl(node, tmp_path)
    reader, measured = vtk.vtkSTLReader(), vtk.vtkMassProperties()
    reader.SetFileName(str(path))
    measured.SetInputConnection(reader.GetOutputPort())
    assert measured.GetVolume() == pytest.approx(mask.sum() * 1.0 * 1.5 * 2.5, rel=0.01)


def test_what_the_3d_view_shrinks_is_known(host, make_volume):
    import slicer
    from MISFMSlicer.Scene.Surfaces import shrunkIn3D

    volume = make_volume(shape_kji=(37, 37, 37), spacing_ijk=(1, 1, 1))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for size in (3, 31):
        mask = np.zeros((37, 37, 37), np.uint8)
        mask[: size + 6, : size + 6, : size + 6] = shape("ball", size)
        segment = node.GetSegmentation().AddEmptySegment("", f"ball {size}")
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)
    assert shrunkIn3D(node, 0.9) == []
    node.CreateClosedSurfaceRepresentation()
    ((name, kept),) = shrunkIn3D(node, 0.9)
    assert name == "ball 3"
    assert kept < 0.1


def test_labels_of_a_left_handed_volume_lie_on_it(export, a_result, tmp_path):
    import slicer

    volume, node = a_result
    array = slicer.util.arrayFromVolume(volume)[::-1].copy()
    matrix = matrix_of(volume) @ np.array(
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 11], [0, 0, 0, 1]]
    )
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    slicer.util.updateVolumeFromArray(volume, array)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    (path, _) = export.exportNifti(node, volume, tmp_path / "x.nii.gz")
    read = slicer.util.loadVolume(str(path), {"labelmap": True})
    labels = slicer.util.arrayFromVolume(read)
    assert (labels[2:6, 3:8, 4:9] == 1).all()
    assert np.count_nonzero(labels) == (4 + 3) * 25


def test_a_sheared_volume_is_not_written_as_nifti(export, a_result, tmp_path):
    import slicer

    volume, node = a_result
    sheared = matrix_of(volume)
    sheared[:3, 2] += 0.2 * sheared[:3, 1]
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(sheared))
    with pytest.raises(DataError, match="right angles"):
        export.exportNifti(node, volume, tmp_path / "x.nii.gz")
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize("name", ["result", "result.nii", "result.v2"])
def test_a_name_without_its_suffix_gets_it_and_replaces_nothing(export, a_result, tmp_path, name):
    volume, node = a_result
    files = export.exportNifti(node, volume, tmp_path / name)
    assert files[0].name == f"{name.removesuffix('.nii')}.nii.gz"
    assert files[0].exists()
    with pytest.raises(OutputError, match="exists"):
        export.exportNifti(node, volume, tmp_path / name)
    export.exportNifti(node, volume, files[0])  # the dialog has asked
