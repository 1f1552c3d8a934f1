"""Where the model is unsure: the volume in the scene, the places in the panel."""

import numpy as np
import pytest


@pytest.fixture
def unsure(panel):
    """The panel with the option on."""
    panel.ui.uncertaintyBox.click()
    panel.settle()
    return panel


def result_of(panel):
    return panel.widget.segmentTab._result.job.result


def ijk_to_ras(volume):
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def slice_centre():
    """Return what lies in the centre of the slice views, R, A and S."""
    import slicer

    centres = {
        name: slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}").GetSliceToRAS()
        for name in ("Red", "Green", "Yellow")
    }
    return [centres["Yellow"].GetElement(0, 3), *(centres["Red"].GetElement(i, 3) for i in (1, 2))]


def foregrounds():
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return {(node.GetForegroundVolumeID(), node.GetForegroundOpacity()) for node in nodes}


# ------------------------------------------------------------------------------------------ scene


@pytest.mark.parametrize("direction", ["axial", "left-handed", "oblique"])
def test_the_uncertainty_lies_on_the_volumes_grid(unsure, make_volume, direction):
    import slicer

    volume = make_volume(direction)
    unsure.settle()
    unsure.segment()
    node = result_of(unsure).uncertainty
    np.testing.assert_allclose(ijk_to_ras(node), ijk_to_ras(volume), rtol=0, atol=1e-12)
    expected = np.where(slicer.util.arrayFromVolume(volume) > 100, 50, 0)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), expected)


def test_the_uncertainty_lies_in_the_volumes_study_and_is_not_shown(unsure, make_volume):
    import slicer

    volume = make_volume(name="head")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    unsure.settle()
    before = foregrounds()
    unsure.segment()
    node = result_of(unsure).uncertainty
    assert node.GetName() == "head uncertainty"
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert foregrounds() == before


@pytest.mark.parametrize("direction", ["axial", "left-handed", "oblique"])
def test_a_place_leads_the_slices_there(unsure, make_volume, direction):
    volume = make_volume(direction)
    unsure.settle()
    unsure.segment()
    unsure.ui.placesList.setCurrentRow(0)
    centre = ijk_to_ras(volume) @ [10, 8, 6, 1]
    np.testing.assert_allclose(slice_centre(), centre[:3], atol=1e-3)


def test_a_place_follows_the_volumes_transform(unsure, make_volume):
    import slicer
    import vtk

    volume = make_volume()
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(0, 3, 100.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(shift)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    unsure.settle()
    unsure.segment()
    result = result_of(unsure)
    assert result.uncertainty.GetTransformNodeID() == transform.GetID()
    expected = np.add((ijk_to_ras(volume) @ [10, 8, 6, 1])[:3], (100, 0, 0))
    np.testing.assert_allclose(result.places[0].position, expected, atol=1e-6)


def test_inside_a_region_only_its_places_and_voxels_count(unsure, make_volume):
    import slicer

    volume = make_volume()
    inside = np.zeros((12, 16, 20), np.uint8)
    inside[4:8, 6:10, 8:12] = 1
    mask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    mask.CreateDefaultDisplayNodes()
    segment_id = mask.GetSegmentation().AddEmptySegment("inside")
    slicer.util.updateSegmentBinaryLabelmapFromArray(inside, mask, segment_id, volume)
    with unsure.parameters.changing():
        unsure.parameters.regionKind = "segment"
        unsure.parameters.regionSegmentation = mask
        unsure.parameters.regionSegment = segment_id
    unsure.settle()
    unsure.segment()
    result = result_of(unsure)
    assert slicer.util.arrayFromVolume(result.uncertainty).sum() == 50 * inside.sum()
    assert len(result.places) == 1


def test_a_region_gives_a_smaller_uncertainty_that_lies_right(unsure, make_volume):
    import slicer

    volume = make_volume("oblique")
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    roi.SetCenter((ijk_to_ras(volume) @ [10, 8, 6, 1])[:3])
    roi.SetSize(4.0, 4.0, 4.0)
    with unsure.parameters.changing():
        unsure.parameters.regionKind, unsure.parameters.roi = "roi", roi
        unsure.parameters.marginMm = 0
    unsure.settle()
    unsure.segment()
    node = result_of(unsure).uncertainty
    start = unsure.widget.logic._runner.volumes[-1][1].origin_xyz
    np.testing.assert_allclose(ijk_to_ras(node)[:3, 3], np.array(start) * [-1, -1, 1], atol=1e-6)
    assert slicer.util.arrayFromVolume(node).size < slicer.util.arrayFromVolume(volume).size


def test_a_second_run_into_the_same_segmentation_has_one_uncertainty(unsure, make_volume):
    import slicer

    make_volume()
    unsure.settle()
    unsure.segment()
    first = result_of(unsure)
    unsure.parameters.output = first.segmentation
    unsure.settle()
    unsure.segment()
    assert result_of(unsure).uncertainty is first.uncertainty
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2


def test_an_uncertainty_is_never_chosen_as_the_next_volume(unsure, make_volume):
    volume = make_volume()
    unsure.settle()
    unsure.segment()
    unsure.widget._onNextKey()
    unsure.settle()
    assert unsure.ui.volumeSelector.currentNode() is volume


def test_a_missing_uncertainty_fails_the_job_and_leaves_the_scene(unsure, make_volume, monkeypatch):
    import fake_worker
    import slicer

    make_volume()
    unsure.settle()
    monkeypatch.setattr(fake_worker, "unsure_case", lambda images, output: [])
    before = slicer.mrmlScene.GetNumberOfNodes()
    unsure.segment()
    assert unsure.shown("failureFrame")
    assert slicer.mrmlScene.GetNumberOfNodes() == before


# ------------------------------------------------------------------------------------------ panel


def test_the_places_are_named_with_their_labels_and_millimetres(unsure, make_volume):
    volume = make_volume()
    unsure.settle()
    unsure.segment()
    r, a, s = np.round((ijk_to_ras(volume) @ [10, 8, 6, 1])[:3]).tolist()
    side = f"{'RL'[r < 0]} {abs(r):.0f}, {'AP'[a < 0]} {abs(a):.0f}, {'SI'[s < 0]} {abs(s):.0f}"
    item = unsure.ui.placesList.item(0)
    assert item.text() == item.toolTip() == f"{side} mm: left hippocampus"
    assert unsure.ui.placesLabel.text == "Where to look"


def test_without_the_option_nothing_of_it_is_seen(panel, make_volume):
    make_volume()
    panel.settle()
    panel.segment()
    assert not panel.shown("placesBox")
    assert "uncertainty" not in panel.runner.jobs[-1]["config"]


def test_a_model_that_is_sure_everywhere_says_so(unsure, make_volume, monkeypatch):
    import fake_worker

    draw = fake_worker.unsure_case
    monkeypatch.setattr(fake_worker, "unsure_case", lambda *case: draw(*case)[:0])
    make_volume()
    unsure.settle()
    unsure.segment()
    assert unsure.ui.placesLabel.text == "No unsure place"
    assert not unsure.shown("placesList")
    assert unsure.shown("overlayButton")


def test_the_next_key_goes_through_the_places(unsure, make_volume):
    make_volume()
    unsure.settle()
    unsure.widget._onNextPlaceKey()  # there is none yet
    unsure.segment()
    rows = []
    for _ in range(3):
        unsure.widget._onNextPlaceKey()
        rows.append(unsure.ui.placesList.currentRow)
    assert rows == [0, 1, 0]


def test_the_overlay_comes_and_goes_and_leaves_what_was_there(unsure, make_volume):
    import slicer

    other = make_volume(name="other")
    unsure.choose(make_volume(name="head"))
    slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.25)
    unsure.segment()
    unsure.ui.overlayButton.click()
    assert foregrounds() == {(result_of(unsure).uncertainty.GetID(), 0.5)}
    unsure.ui.overlayButton.click()
    assert foregrounds() == {(other.GetID(), 0.25)}


def test_the_overlay_leaves_alone_what_the_user_has_shown_since(unsure, make_volume):
    import slicer

    unsure.choose(make_volume(name="head"))
    unsure.segment()
    unsure.ui.overlayButton.click()
    other = make_volume(name="other")
    slicer.util.setSliceViewerLayers(foreground=other)
    unsure.ui.overlayButton.click()
    assert {node_id for node_id, _opacity in foregrounds()} == {other.GetID()}


def test_closing_the_scene_takes_places_and_overlay_away(unsure, make_volume):
    import slicer

    make_volume()
    unsure.settle()
    unsure.segment()
    unsure.ui.overlayButton.click()
    slicer.mrmlScene.Clear(False)
    unsure.settle()
    assert not unsure.shown("placesBox")
    assert not unsure.ui.overlayButton.checked
    assert {node_id for node_id, _opacity in foregrounds()} == {None}


def test_frames_of_a_sequence_have_no_uncertainty(unsure, make_volume):
    from MISFMSlicer.Job import SegmentRequest
    from MISFMSlicer.Jobs.SegmentTask import SegmentTask

    volume = make_volume()
    import slicer

    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    for index in range(2):
        sequence.SetDataNodeAtValue(volume, str(index))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(volume, sequence, False)
    request = SegmentRequest((volume,), "a model", allFrames=True, uncertainty=True)
    task = SegmentTask(request)
    for _piece in task.write():
        pass
    assert "uncertainty" not in (task.folder / "job.json").read_text("utf-8")
    task.remove()
    unsure.parameters.allFrames = True
    unsure.widget.segmentTab.refresh()
    assert not unsure.ui.uncertaintyBox.enabled
