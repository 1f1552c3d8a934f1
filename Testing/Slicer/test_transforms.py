"""Volumes that were moved, scaled or bent: results lie where the volume does, and are as large."""

import numpy as np
import pytest

from MISFMLib.errors import DataError

SHIFT = [[1, 0, 0, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
TURN = [[0.766, -0.643, 0, 3], [0.643, 0.766, 0, -8], [0, 0, 1, 1], [0, 0, 0, 1]]
LARGER = [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
SHEARED = [[1, 0, 0.3, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.fixture
def put_under(host):
    """Put a node under a linear transform; return the transform."""

    def put(node, matrix, name="moved"):
        import slicer

        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.array(matrix)))
        node.SetAndObserveTransformNodeID(transform.GetID())
        return transform

    return put


def bend(node):
    import slicer

    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "acquisition")
    node.SetAndObserveTransformNodeID(grid.GetID())
    return grid


def grid_of(segmentation):
    """The grid that Segment Editor paints on and DICOM SEG is written on, as its text."""
    import slicer

    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    return segmentation.GetSegmentation().GetConversionParameter(name)


def world_voxels(segmentation, segment_id):
    """Places of a segment's voxels in the world, in a fixed order."""
    import slicer
    import vtk
    from MISFMSlicer.Scene.Transforms import toWorld

    image = slicer.vtkOrientedImageData()
    segmentation.GetBinaryLabelmapRepresentation(segment_id, image)
    value = segmentation.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    low = np.array(image.GetExtent())[::2]
    array = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    kji = np.argwhere(array.reshape(image.GetDimensions()[::-1]) == value)
    ijk1 = np.column_stack([kji[:, ::-1] + low, np.ones(len(kji))])
    places = ijk1 @ (toWorld(segmentation) @ slicer.util.arrayFromVTKMatrix(matrix)).T
    return places[np.lexsort(places.round(3).T)]


@pytest.mark.parametrize("matrix", [SHIFT, TURN, LARGER, SHEARED])
@pytest.mark.parametrize("direction", ["axial", "oblique"])
def test_the_grid_of_a_result_is_that_of_its_volume_under_any_transform(
    panel, make_volume, put_under, matrix, direction
):
    volume = make_volume(direction)
    panel.choose(volume)
    panel.segment()
    expected = grid_of(result(panel))
    put_under(volume, matrix)
    panel.segment()
    assert grid_of(result(panel)) == expected
    panel.parameters.output = result(panel)
    put_under(volume, SHIFT)
    panel.settle()
    panel.segment()
    assert grid_of(panel.parameters.output) == expected
    assert panel.parameters.output.GetTransformNodeID() == volume.GetTransformNodeID()


def result(panel):
    return panel.widget.segmentTab._result.job.result.segmentation


@pytest.mark.parametrize("before", [None, SHIFT, TURN])
@pytest.mark.parametrize("after", [None, SHIFT, TURN])
def test_what_was_drawn_stays_where_it_is_when_the_volume_was_moved(
    panel, make_volume, put_under, before, after
):
    import slicer

    volume = make_volume("oblique")
    panel.choose(volume)
    if before:
        put_under(volume, before)
    panel.segment()
    node = panel.parameters.output = result(panel)
    drawn = node.GetSegmentation().AddEmptySegment("drawn", "drawn")
    array = np.zeros((12, 16, 20), np.uint8)
    array[2:5, 3:9, 4:6] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, drawn, volume)
    places = world_voxels(node, drawn)
    assert len(places) == 36
    volume.SetAndObserveTransformNodeID(None)
    if after:
        put_under(volume, after)
    panel.settle()
    panel.segment()
    np.testing.assert_allclose(world_voxels(node, drawn), places, atol=1e-3)
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()


@pytest.mark.parametrize(("matrix", "factor"), [(TURN, 1), (LARGER, 2), (SHEARED, 1)])
def test_volumes_in_the_table_are_those_in_the_patient(
    panel, make_volume, put_under, matrix, factor
):
    volume = make_volume("oblique")
    panel.choose(volume)
    panel.segment()
    before = panel.widget.segmentTab._result.job.result.volumes[0]
    put_under(volume, matrix)
    panel.segment()
    after = panel.widget.segmentTab._result.job.result.volumes[0]
    assert after.voxels == before.voxels
    assert after.volumeMl == pytest.approx(factor * before.volumeMl, rel=2e-3)


def test_a_bent_volume_is_refused_and_welcome_once_it_is_not(panel, make_volume):
    volume = make_volume()
    panel.choose(volume)
    assert panel.ui.segmentButton.enabled
    bend(volume)
    panel.settle()
    assert not panel.ui.segmentButton.enabled
    assert "acquisition" in panel.ui.statusLabel.text
    assert "Harden" in panel.ui.statusLabel.text
    volume.SetAndObserveTransformNodeID(None)
    panel.settle()
    assert panel.ui.segmentButton.enabled


def test_a_bent_volume_is_refused_without_the_panel_too(panel, make_volume):
    from MISFMSlicer.Job import SegmentRequest
    from MISFMSlicer.Jobs.SegmentTask import checkRequest

    volume = make_volume()
    grid = bend(volume)
    with pytest.raises(DataError, match="non-linear"):
        checkRequest(SegmentRequest((volume,), "m"))
    above = make_volume()
    import slicer

    linear = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    linear.SetAndObserveTransformNodeID(grid.GetID())
    above.SetAndObserveTransformNodeID(linear.GetID())
    with pytest.raises(DataError, match="non-linear"):
        checkRequest(SegmentRequest((above,), "m"))


@pytest.mark.parametrize(("shear", "isRefused"), [(0, False), (0.004, False), (0.1, True)])
def test_shear_is_judged_by_what_it_moves_at_the_edge(panel, make_volume, shear, isRefused):
    import slicer
    from MISFMSlicer.Scene.Transforms import ijkToRas

    volume = make_volume("oblique")
    grid = ijkToRas(volume)
    grid[:3, 2] += shear * grid[:3, 1] * 2.5 / 1.5
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid))
    panel.choose(volume)
    assert panel.ui.segmentButton.enabled != isRefused
    if isRefused:
        assert "right angles" in panel.ui.statusLabel.text
        assert "Crop Volume" in panel.ui.statusLabel.text
        return
    panel.segment()
    array = slicer.util.arrayFromVolume(volume)
    found = slicer.util.arrayFromSegmentBinaryLabelmap(
        result(panel), first_segment(result(panel)), volume
    )
    np.testing.assert_array_equal(found > 0, array > 100)
    written = panel.runner.volumes[-1][1]
    axes = np.reshape(written.direction, (3, 3))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)


def first_segment(node):
    return node.GetSegmentation().GetNthSegmentID(0)


def test_channels_that_are_moved_against_each_other_are_refused(panel, make_volume, put_under):
    from MISFMSlicer.Scene.Transforms import checkTransforms

    first, second = make_volume(name="t1"), make_volume(name="t2")
    put_under(first, TURN)
    put_under(second, TURN)
    checkTransforms((first, second))
    put_under(second, SHIFT)
    with pytest.raises(DataError, match="t1 and t2"):
        checkTransforms((first, second))


def test_restoring_brings_back_volume_and_place_in_the_subject_hierarchy(panel, make_volume):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    first, second = make_volume(name="first"), make_volume("oblique", name="second")
    folders = []
    for volume in (first, second):
        folders.append(hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), volume.GetName()))
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), folders[-1])
    panel.choose(first)
    panel.segment()
    node = result(panel)
    item = hierarchy.GetItemByDataNode(node)
    grid, parent = grid_of(node), hierarchy.GetItemParent(item)
    assert parent == folders[0]
    panel.choose(second)
    panel.parameters.output = node
    panel.settle()
    assert "belongs to first" in panel.ui.warningLabel.toolTip
    panel.segment()
    hierarchy.SetItemParent(item, folders[1])
    role = node.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is second
    panel.logic.restorePrevious(node)
    assert node.GetNodeReference(role) is first
    assert grid_of(node) == grid
    assert hierarchy.GetItemParent(item) == folders[0]
    panel.logic.restorePrevious(node)
    assert node.GetNodeReference(role) is second
    assert hierarchy.GetItemParent(item) == folders[1]


def test_another_volume_gets_a_segmentation_of_its_own(panel, make_volume):
    first, second = make_volume(name="first"), make_volume(name="second")
    panel.choose(first)
    panel.segment()
    node = result(panel)
    panel.parameters.output = node
    panel.settle()
    panel.choose(second)
    assert panel.ui.outputSelector.currentNode() is None
    panel.segment()
    assert result(panel) is not node
    panel.parameters.output = node  # by hand: the user sees what it says
    panel.choose(first)
    assert panel.parameters.output is node
