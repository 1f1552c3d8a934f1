"""What Slicer's own classes do to segments, where the panel meets it (slicer-core 5.13)."""

import numpy as np
import pytest
import vtk


@pytest.fixture
def put(host):
    """Make a volume of zeros with a spacing."""
    import slicer

    def make(size, spacing_mm, origin=(0.0, 0.0, 0.0)):
        matrix = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
        matrix[:3, 3] = origin
        return slicer.util.addVolumeFromArray(np.zeros([size] * 3, np.int16), ijkToRAS=matrix)

    return make


@pytest.fixture
def imported(host):
    """Make a segmentation of one label map, as an import from a file does: held cropped."""
    import slicer

    def make(volume, mask):
        labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        labels.CopyOrientation(volume)
        slicer.util.updateVolumeFromArray(labels, mask.astype(np.uint8))
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, node)
        return node, node.GetSegmentation().GetNthSegmentID(0)

    return make


def ball(size, radius):
    grid = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1)
    return np.linalg.norm(grid - (size - 1) / 2, axis=-1) <= radius


@pytest.mark.parametrize("radius", [0.5, 2, 3])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_a_segment_keeps_its_volume_on_a_finer_grid(put, imported, radius, shift):
    """Slicer's own export makes 27 mm3 of one voxel of 8 mm3, and 5.8 ml of 4.0."""
    from MISFMSlicer.Scene.Masks import maskOn

    mask = ball(9, radius)
    node, segment_id = imported(put(9, 2.0), mask)
    mask_on_fine = maskOn(node, segment_id, put(36, 0.5, origin=(shift, shift, shift)))
    assert mask_on_fine.sum() * 0.5**3 == pytest.approx(mask.sum() * 2.0**3)


def test_on_its_own_grid_a_mask_is_what_it_was_also_under_a_transform(put, imported):
    import slicer
    from MISFMSlicer.Scene.Masks import maskOn

    mask = np.random.default_rng(0).random((12, 12, 12)) > 0.6
    volume = put(12, 1.5)
    node, segment_id = imported(volume, mask)
    assert np.array_equal(maskOn(node, segment_id, volume), mask)
    turn = vtk.vtkTransform()
    turn.Translate(7, -3, 2)
    turn.RotateZ(35)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(turn.GetMatrix())
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(transform.GetID())
    assert np.array_equal(maskOn(node, segment_id, volume), mask)
    node.SetAndObserveTransformNodeID(None)  # now it lies elsewhere
    assert not np.array_equal(maskOn(node, segment_id, volume), mask)


@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_a_surface_from_a_file_is_the_voxels_inside_of_it(put, imported, as_surfaces, shift):
    """Slicer says of such a segment that it has no voxels."""
    import slicer
    from MISFMSlicer.Scene.Masks import maskOn

    mask, volume = ball(9, 3), put(9, 2.0)
    node, segment_id = as_surfaces(imported(volume, mask)[0])
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = np.eye(4)
    moved[0, 3] = shift
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    node.SetAndObserveTransformNodeID(transform.GetID())
    origin = np.add(volume.GetOrigin(), (shift, 0, 0))
    volume.SetOrigin(*origin)
    assert np.array_equal(maskOn(node, segment_id, volume), mask)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_contours_are_voxels_where_there_is_a_way_and_else_refused(put, imported, as_contours):
    """Slicer alone has none; a scene that was made with SlicerRT may have their surfaces too."""
    from MISFMSlicer.Scene.Masks import canBeVoxels, maskOn

    from MISFMLib.errors import DataError

    mask, volume = ball(9, 3), put(9, 2.0)
    painted = imported(volume, mask)[0]
    node, segment_id = as_contours(painted, hasSurface=True)
    assert canBeVoxels(node)
    assert np.array_equal(maskOn(node, segment_id, volume), mask)
    node, segment_id = as_contours(painted, hasSurface=False)
    assert not canBeVoxels(node)
    with pytest.raises(DataError, match="contours") as error:
        maskOn(node, segment_id, volume)
    assert "SlicerRT" in error.value.remedy


def test_a_segment_without_voxels_is_nowhere(put):
    import slicer
    from MISFMSlicer.Scene.Masks import maskOn

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segment_id = node.GetSegmentation().AddEmptySegment()
    mask = maskOn(node, segment_id, put(4, 1.0))
    assert mask.shape == (4, 4, 4)
    assert not mask.any()


def test_a_region_drawn_on_a_coarser_grid_does_not_grow(put, imported):
    from MISFMSlicer.Job import Region
    from MISFMSlicer.Scene.GridBox import boxOf

    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4] = True
    node, segment_id = imported(put(9, 2.0), mask)
    box = boxOf(put(36, 0.5), Region(node, segment_id, marginMm=0.0))
    assert box.mask.sum() * 0.5**3 == pytest.approx(8.0)


def test_saving_renumbers_label_values_and_an_update_still_finds_its_segments(
    panel, make_volume, tmp_path
):
    """Slicer merges layers when it saves, also in the scene: only names and IDs stay."""
    import slicer

    volume = make_volume()
    panel.settle()
    panel.segment()
    node = panel.widget.segmentTab._result.job.result.segmentation
    ids = node.GetSegmentation().GetSegmentIDs()
    drawn = node.GetSegmentation().AddEmptySegment("drawn", "drawn")
    everywhere = np.ones(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(everywhere, node, drawn, volume)
    node.GetSegmentation().GetSegment(ids[0]).SetLabelValue(7)
    assert slicer.util.saveNode(node, str(tmp_path / "s.seg.nrrd"), {})
    panel.ui.outputSelector.setCurrentNode(node)
    panel.settle()
    panel.segment()
    assert panel.widget.segmentTab._result.job.result.segmentation is node
    assert sorted(node.GetSegmentation().GetSegmentIDs()) == sorted([*ids, drawn])
    found = slicer.util.arrayFromSegmentBinaryLabelmap(node, ids[0], volume) > 0
    assert np.array_equal(found, slicer.util.arrayFromVolume(volume) > 100)
    kept = slicer.util.arrayFromSegmentBinaryLabelmap(node, drawn, volume)
    assert kept.all()


@pytest.mark.parametrize("mode", ["MODE_REPLACE", "MODE_MERGE_MASK"])
def test_segments_that_slicer_merges_and_collapses_are_measured_and_updated(
    panel, make_volume, mode
):
    """Where layers are collapsed by force, the later segment keeps the voxels that two share."""
    import slicer
    from MISFMSlicer.Scene.Edits import measureAgain
    from MISFMSlicer.Scene.Masks import maskOn

    def voxels(segment_id):
        return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume) > 0

    volume = make_volume()
    panel.settle()
    panel.segment()
    result = panel.widget.segmentTab._result.job.result
    node, segmentation = result.segmentation, result.segmentation.GetSegmentation()
    model = segmentation.GetNthSegmentID(0)
    bright = slicer.util.arrayFromVolume(volume) > 100
    drawn = segmentation.AddEmptySegment("drawn", "drawn")
    part = np.zeros(bright.shape, np.uint8)
    part[: part.shape[0] // 2] = 1
    brush = slicer.vtkOrientedImageData()
    slicer.util.updateSegmentBinaryLabelmapFromArray(part, node, drawn, volume)
    node.GetBinaryLabelmapRepresentation(drawn, brush)
    put = slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment
    assert put(brush, node, drawn, getattr(slicer.vtkSlicerSegmentationsModuleLogic, mode))
    assert np.array_equal(voxels(model), bright)
    segmentation.CollapseBinaryLabelmaps(True)
    assert segmentation.GetNumberOfLayers("Binary labelmap") == 1
    assert np.array_equal(voxels(drawn), part)
    assert np.array_equal(voxels(model), bright & (part == 0))
    sizes = {each.name: each.voxels for each in measureAgain(node, result.volumes)}
    for segment_id in (model, drawn):
        name = segmentation.GetSegment(segment_id).GetName()
        assert np.array_equal(maskOn(node, segment_id, volume), voxels(segment_id))
        assert sizes[name] == voxels(segment_id).sum()
    panel.ui.outputSelector.setCurrentNode(node)
    panel.settle()
    panel.segment()
    assert np.array_equal(voxels(model), bright)
    assert np.array_equal(voxels(drawn), part)


@pytest.mark.parametrize("first", [(-2, 3, 0), (0, 0, 0), (9, 9, 9), (30, 0, 0)])
def test_a_mask_on_its_own_grid_is_what_resampling_gives(put, first, monkeypatch):
    """Also where the segment's box reaches beyond the volume, or lies outside it."""
    import slicer
    from MISFMSlicer.Scene import Masks

    volume = put(12, 1.5, origin=(3.0, -4.0, 5.0))
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*(number for start in first for number in (start, start + 7)))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    voxels[:] = np.random.default_rng(1).integers(0, 4, voxels.shape)
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segment = slicer.vtkSegment()
    segment.AddRepresentation(Masks.LABELMAP, image)
    segment.SetLabelValue(3)
    node.GetSegmentation().AddSegment(segment, "one")
    fast = Masks.maskOn(node, "one", volume)
    monkeypatch.setattr(Masks, "_onItsGrid", lambda *_arguments: None)
    assert np.array_equal(fast, Masks.maskOn(node, "one", volume))
    assert fast.any() == (first[0] < 12)
