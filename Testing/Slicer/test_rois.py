"""A new ROI lies along the volume, and does not cover it."""

import numpy as np
import pytest


@pytest.mark.parametrize("direction", ["axial", "left-handed", "oblique"])
def test_a_new_roi_is_the_box_of_the_volume(panel, make_volume, direction):
    import slicer
    from MISFMSlicer.Job import Region
    from MISFMSlicer.Scene.GridBox import boxOf

    volume = make_volume(direction)
    panel.settle()
    panel.ui.newRoiButton.click()
    panel.settle()
    roi = panel.parameters.roi
    spacing, size = volume.GetSpacing(), volume.GetImageData().GetDimensions()
    np.testing.assert_allclose(roi.GetSize(), np.multiply(spacing, size), rtol=1e-6)
    box = boxOf(volume, Region(roi))
    assert (box.startIjk, box.stopIjk) == ((0, 0, 0), size)
    toNode = slicer.util.arrayFromVTKMatrix(roi.GetObjectToNodeMatrix())
    assert np.linalg.det(toNode[:3, :3]) == pytest.approx(1)
    assert not roi.GetDisplayNode().GetFillVisibility()


@pytest.mark.parametrize("angle", [0, 30])
def test_a_new_roi_follows_a_transformed_volume(panel, make_volume, angle):
    import slicer
    from MISFMSlicer.Job import Region
    from MISFMSlicer.Scene.GridBox import boxOf

    volume = make_volume()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    turn = np.eye(4)
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn[:2, :2], turn[:3, 3] = [[cosine, -sine], [sine, cosine]], [50, 20, -10]
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(turn))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    panel.settle()
    panel.ui.newRoiButton.click()
    box = boxOf(volume, Region(panel.parameters.roi))
    assert (box.startIjk, box.stopIjk) == ((0, 0, 0), volume.GetImageData().GetDimensions())


def test_the_uncertainty_is_no_volume_to_segment(panel, make_volume):
    make_volume(name="head")
    panel.ui.uncertaintyBox.click()
    panel.settle()
    panel.segment()
    assert panel.widget.segmentTab._result.job.result.uncertainty is not None
    selector = panel.ui.volumeSelector
    assert selector.nodeCount() == 1
    assert selector.currentNode().GetName() == "head"


def test_a_further_result_hides_the_earlier_ones_of_the_same_volume(panel, make_volume):
    def visible(result):
        return bool(result.segmentation.GetDisplayNode().GetVisibility())

    other = make_volume(name="other")
    panel.choose(other)
    panel.segment()
    of_other = panel.widget.segmentTab._result.job.result
    panel.choose(make_volume(name="head"))
    results = []
    for _ in range(3):
        panel.segment()
        results.append(panel.widget.segmentTab._result.job.result)
    assert [visible(result) for result in results] == [False, False, True]
    panel.choose(other)
    assert visible(of_other), "it was hidden with its volume only"
