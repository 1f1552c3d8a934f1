"""What the box of a result shows is kept in the scene, and follows it."""

import numpy as np
import pytest


@pytest.fixture
def segmented(panel, make_volume):
    """The panel with a result that also says where the model is unsure."""
    make_volume(name="head")
    panel.ui.uncertaintyBox.click()
    panel.settle()
    panel.segment()
    return panel


def shown(panel):
    """Return what the box says: headline, rows of the table, places."""
    ui = panel.ui
    rows = [
        tuple(ui.resultTable.item(row, column).text() for column in (0, 1))
        for row in range(ui.resultTable.rowCount)
    ]
    places = [ui.placesList.item(row).text() for row in range(ui.placesList.count)]
    return ui.resultLabel.text, rows, places


def test_a_reopened_scene_shows_the_result_again(segmented, tmp_path):
    import slicer

    before = shown(segmented)
    assert before[2]
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(False)
    segmented.settle()
    assert not segmented.shown("resultFrame")
    slicer.util.loadScene(path)
    segmented.settle()
    assert segmented.shown("resultFrame")
    assert shown(segmented) == before
    buttons = ("show3DButton", "editButton", "exportButton", "overlayButton", "placesList")
    assert all(segmented.shown(name) for name in buttons)
    segmented.ui.show3DButton.checked = True
    node = segmented.widget.segmentTab._result.job.result.segmentation
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    segmented.ui.overlayButton.click()
    assert segmented.ui.overlayButton.checked


def test_of_several_results_the_newest_comes_back(segmented, make_volume):
    from MISFMSlicer.Scene import KeptResults

    volume = make_volume(name="second")
    segmented.choose(volume)
    segmented.segment()
    last = segmented.widget.segmentTab._result.job
    last.result.segmentation.SetAttribute("MISFM.Finished", "2027-01-01T00:00:00+00:00")
    assert KeptResults.last().result.segmentation is last.result.segmentation
    assert KeptResults.last().request.volumes == (volume,)


def test_a_result_whose_volume_was_removed_does_not_come_back(segmented):
    import slicer
    from MISFMSlicer.Scene import KeptResults

    slicer.mrmlScene.RemoveNode(segmented.widget.segmentTab.volume())
    assert KeptResults.last() is None


@pytest.mark.parametrize("name", ["Sizes", "Notices", "Seconds", "Frames"])
def test_what_somebody_has_edited_by_hand_does_not_come_back(segmented, name):
    from MISFMSlicer.Scene import KeptResults

    node = segmented.widget.segmentTab._result.job.result.segmentation
    node.SetAttribute(f"MISFM.{name}", "[")
    assert KeptResults.of(node) is None


def test_restore_previous_shows_the_restored_result(segmented):
    """The box went on showing the run that was undone."""
    import slicer

    before = shown(segmented)
    tab, volume = segmented.widget.segmentTab, segmented.widget.segmentTab.volume()
    segmented.parameters.output = tab._result.job.result.segmentation
    segmented.parameters.uncertainty = False
    segmented.settle()
    slicer.util.updateVolumeFromArray(volume, np.full((12, 16, 20), 60, np.int16))
    segmented.segment()
    after = shown(segmented)
    assert after != before
    assert "Restore previous" in segmented.ui.nextLabel.text
    segmented.ui.restoreButton.click()
    segmented.settle()
    assert shown(segmented) == before
    segmented.ui.restoreButton.click()
    segmented.settle()
    assert shown(segmented)[:2] == after[:2]


def test_restoring_what_no_model_made_hides_the_box(panel, make_volume):
    import slicer

    make_volume()
    panel.settle()
    panel.parameters.output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    panel.settle()
    panel.segment()
    assert panel.shown("resultFrame")
    panel.ui.restoreButton.click()
    panel.settle()
    assert not panel.shown("resultFrame")


def test_nothing_is_said_of_restore_when_the_output_was_deleted_during_the_job(panel, make_volume):
    import slicer

    make_volume()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    panel.parameters.output = node
    panel.settle()
    panel.runner.holds = True
    panel.start()
    slicer.mrmlScene.RemoveNode(node)
    panel.runner.holds = False
    panel.host.wait_until(lambda: not panel.logic.jobs)
    panel.settle()
    assert panel.shown("resultFrame")
    assert "Restore previous" not in panel.ui.nextLabel.text


@pytest.fixture
def cine(panel, make_volume):
    """The panel with the result of a sequence, and its browser."""
    import slicer

    volume = make_volume(name="cine")
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    for frame in range(3):
        array = slicer.util.arrayFromVolume(volume)
        array[:] = 0
        array[1 : 3 + frame, 4:8, 4:8] = 200
        slicer.util.arrayFromVolumeModified(volume)
        sequence.SetDataNodeAtValue(volume, str(frame))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.AddProxyNode(volume, sequence, False)
    panel.choose(volume)
    panel.ui.allFramesBox.click()
    panel.settle()
    panel.segment()
    return panel, browser


def show_frame(panel, browser, number):
    browser.SetSelectedItemNumber(number)
    panel.host.process_events(0.05)
    panel.widget.segmentTab.refresh()


def test_another_frame_is_no_edit_and_an_edit_is_there_again_in_its_frame(cine):
    import slicer

    panel, browser = cine
    result = panel.widget.segmentTab._result.job.result
    key = result.segmentation.GetSegmentation().GetNthSegmentID(0)
    sizes = []
    for frame in (1, 2, 0):
        show_frame(panel, browser, frame)
        sizes.append(result.volumes[0].voxels)
        assert "Edited" not in panel.ui.resultLabel.text
    assert sizes == [48, 64, 32]
    volume = panel.ui.volumeSelector.currentNode()
    array = slicer.util.arrayFromSegmentBinaryLabelmap(result.segmentation, key, volume).copy()
    array[0, 4, 4] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, result.segmentation, key, volume)
    show_frame(panel, browser, 1)
    show_frame(panel, browser, 0)
    assert result.volumes[0].voxels == 33
    assert "Edited" in panel.ui.resultLabel.text


def test_a_reopened_scene_shows_the_result_of_a_sequence_again(cine, tmp_path):
    import slicer

    panel, browser = cine
    path = str(tmp_path / "scene.mrb")
    show_frame(panel, browser, 2)
    before = shown(panel)
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(False)
    panel.settle()
    slicer.util.loadScene(path)
    panel.settle()
    assert panel.shown("resultFrame")
    assert shown(panel) == before
