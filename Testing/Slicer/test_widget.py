"""The straight path of the panel, state by state, with a worker that segments by thresholds."""

import time
from pathlib import Path

import pytest

from MISFMLib.events import Failed, Notice, Progress

_ALWAYS = {"volumeSelector", "modelSelector", "fastButton", "segmentButton", "statusLabel"}
_LATER = {"queueButton", "progressBar", "warningBox", "failureFrame", "resultFrame", "options"}


# ------------------------------------------------------------------------------------------- idle


def test_an_idle_panel_shows_the_straight_path_and_nothing_else(panel, make_volume):
    make_volume()
    panel.settle()
    assert all(panel.shown(name) for name in _ALWAYS)
    assert not any(panel.shown(name) for name in (*_LATER, "models", "setup"))


def test_the_volume_in_the_slice_views_and_a_model_are_chosen_already(panel, make_volume):
    import slicer

    make_volume(name="first")
    second = make_volume(name="second")
    panel.parameters.setVolume(None)
    slicer.util.setSliceViewerLayers(background=second)
    slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(second.GetID())
    panel.widget.enter()
    panel.settle()
    assert panel.ui.volumeSelector.currentNode() is second
    assert panel.ui.modelSelector.currentData == "hippocampus-mr"
    assert panel.ui.segmentButton.enabled


def test_the_first_forecast_comes_from_what_the_worker_measures(panel, make_volume):
    make_volume()
    panel.settle()
    panel.host.wait_until(lambda: panel.ui.statusLabel.text.startswith("About"))
    assert panel.ui.statusLabel.text.endswith("of memory on the CPU.")
    count = len(panel.runner.loaded)
    make_volume(name="another")
    panel.settle()
    assert len(panel.runner.loaded) == count  # it is known now


_TRANSLATION = Path(__file__).parents[2] / "MISFM/Resources/Translations/MISFM_zh-CN.qm"
_SECTIONS = ("optionsSection", "modelsSection", "setupSection")


@pytest.fixture(params=["en", "zh-CN"])
def panel_in_a_language(request, host):
    """The panel in English and in Chinese."""
    if request.param == "en":
        yield request.getfixturevalue("panel")
        return
    with host.language("zh_CN", _TRANSLATION):
        yield request.getfixturevalue("panel")


def _show_long_texts(panel, text):
    """Show whatever can be long."""
    panel.widget.segmentTab.report(Failed(text, code="package", remedy=text))
    panel.widget.segmentTab._notices.showWarnings([text])
    for name in ("statusLabel", "selfCheckLabel", "modelStatusLabel", "resultNoticeLabel"):
        getattr(panel.ui, name).text = text
        getattr(panel.ui, name).visible = True
    panel.ui.cardLabel.text = f"<b>{text}</b>"
    panel.ui.aboutLabel.text = panel.ui.nextLabel.text = panel.ui.resultLabel.text = text


@pytest.mark.parametrize(
    "text", ["x" * 90, "a line of about eighty letters " * 3], ids=["word", "line"]
)
@pytest.mark.parametrize("section", _SECTIONS)
def test_no_section_widens_a_panel_of_400_pixels(panel_in_a_language, make_volume, section, text):
    """A collapsible button is at least as wide as what it holds would like to be."""
    panel = panel_in_a_language
    make_volume(name="a volume whose name is longer than any panel could be wide " * 3)
    panel.settle()
    panel.segment()
    for name in _SECTIONS:
        getattr(panel.ui, name).collapsed = name != section
    _show_long_texts(panel, text)
    panel.host.process_events(0.05)
    assert panel.widget.parent.minimumSizeHint.width() <= 400


def test_the_speed_goes_to_the_library(panel, make_volume):
    make_volume()
    panel.settle()
    for button, expected in (
        ("fastButton", {"overlap": 0.25}),
        ("bestButton", {"mirroring": True}),
    ):
        getattr(panel.ui, button).click()
        panel.segment()
        config = panel.runner.jobs[-1]["config"]
        assert expected.items() <= config.items()


def test_fast_takes_the_version_in_8_bit_integers_that_was_made_for_this_computer(
    panel, make_volume, monkeypatch
):
    from MISFMSlicer.Setup.Models import Model

    monkeypatch.setattr(Model, "hasInt8", True)
    make_volume()
    panel.settle()
    panel.segment()
    assert "precision" not in panel.runner.jobs[-1]["config"]
    panel.ui.fastButton.click()
    panel.segment()
    assert panel.runner.jobs[-1]["config"]["precision"] == "int8"


# ---------------------------------------------------------------------------------------- refused


def refusal(panel):
    """Return why Segment is disabled; the line and the tooltip agree."""
    panel.settle()
    assert not panel.ui.segmentButton.enabled
    assert panel.tool_tip("segmentButton") == panel.ui.statusLabel.text
    return panel.ui.statusLabel.text


def test_without_a_volume_the_user_is_told_to_load_one(panel):
    assert refusal(panel).startswith("Load a volume first")


def test_a_volume_without_voxels_is_refused(panel):
    import slicer

    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
    assert refusal(panel) == "hollow has no voxels."


def test_a_volume_with_colours_is_refused(panel, make_volume):
    """It used to be an unexpected error of the forecast."""
    import slicer
    import vtk

    colours = vtk.vtkImageData()
    colours.SetDimensions(4, 4, 4)
    colours.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "capture")
    node.SetAndObserveImageData(colours)
    panel.choose(node)
    assert refusal(panel).startswith("capture has colours instead of one value per voxel.")
    assert not panel.shown("failureFrame")


def test_a_volume_that_gets_its_voxels_later_can_be_segmented(panel):
    import numpy as np
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
    refusal(panel)
    slicer.util.updateVolumeFromArray(node, np.zeros((4, 4, 4), np.int16))
    panel.settle()
    assert panel.ui.segmentButton.enabled


def test_a_model_of_the_scene_that_is_not_installed_is_named(panel, make_volume):
    make_volume()
    panel.parameters.model = "kidney-ct"
    assert refusal(panel).startswith("The model kidney-ct is not on this computer")


@pytest.mark.parametrize(
    ("kind", "words"), [("roi", "create the ROI"), ("segment", "Select the segment")]
)
def test_a_region_that_is_not_chosen_is_asked_for(panel, make_volume, kind, words):
    make_volume()
    panel.parameters.regionKind = kind
    assert words in refusal(panel)


def test_the_run_key_does_nothing_while_segment_is_disabled(panel):
    panel.widget._onRunKey()
    panel.settle()
    assert panel.logic.jobs == ()
    assert not panel.shown("failureFrame")


def test_what_the_logic_refuses_is_one_clear_message(panel, make_volume):
    import slicer

    volume = make_volume()
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    roi.SetCenter([900.0, 900.0, 900.0])
    roi.SetSize([10.0, 10.0, 10.0])
    with panel.parameters.changing():
        panel.parameters.regionKind, panel.parameters.roi = "roi", roi
    panel.choose(volume)
    panel.start()
    assert panel.logic.jobs == ()
    assert "outside the volume" in panel.ui.failureLabel.text
    assert panel.ui.remedyLabel.text


# ---------------------------------------------------------------------------------------- warnings


def test_a_volume_that_looks_unlike_the_training_gives_a_warning(panel, make_volume):
    import slicer

    volume = make_volume()
    slicer.util.arrayFromVolume(volume)[0, 0, 0] = -1024
    slicer.util.arrayFromVolumeModified(volume)
    panel.choose(volume)
    panel.widget.segmentTab.refresh()
    assert panel.ui.segmentButton.enabled
    assert panel.ui.warningLabel.text == "This looks like CT; the model was trained on MR."
    assert panel.shown("warningBox")


def test_the_dicom_modality_goes_before_the_intensities(panel, make_volume):
    import slicer

    volume = make_volume()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(volume), "DICOM.Modality", "CT")
    panel.choose(volume)
    assert panel.ui.warningLabel.text == "This is a CT volume; the model was trained on MR."


def test_a_field_of_view_far_larger_than_the_training_gives_a_warning(panel, make_volume):
    panel.choose(make_volume(shape_kji=(60, 60, 60), spacing_ijk=(3.0, 3.0, 3.0)))
    assert "180 x 180 x 180 mm" in panel.ui.warningLabel.text
    assert "32 x 48 x 32 mm" in panel.ui.warningLabel.text


def test_voxels_far_from_those_of_the_training_give_a_warning(panel, make_volume):
    panel.choose(make_volume(shape_kji=(9, 9, 9), spacing_ijk=(1.0, 1.0, 4.0)))
    assert panel.ui.warningLabel.text.startswith("The voxels are 1 x 1 x 4 mm")


# ---------------------------------------------------------------------------------------- running


@pytest.fixture
def running(panel, make_volume):
    """A job that is under way and does not end by itself."""
    make_volume(name="first")
    panel.settle()
    panel.runner.holds = True
    panel.start()
    return panel


def test_a_running_job_shows_stage_percent_and_time_left(running):
    assert running.ui.segmentButton.text == "Cancel"
    assert running.ui.progressBar.visible
    assert running.ui.progressBar.value == 50
    assert running.ui.statusLabel.text == "Segmenting, about 2 s left"


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ("write", "Writing the result"),
        ("convert", "Converting the model for this computer, once"),
    ],
)
def test_a_stage_without_a_share_shows_that_something_happens(running, stage, text):
    running.runner._pending = [Progress(stage, 0.0)]
    running.hear()
    assert (running.ui.progressBar.minimum, running.ui.progressBar.maximum) == (0, 0)
    assert running.ui.statusLabel.text == text


def test_cancel_leaves_the_scene_as_it_was(running):
    import slicer

    before = slicer.mrmlScene.GetNumberOfNodes()
    running.host.process_events(0.4)  # no double click
    start = time.monotonic()
    running.ui.segmentButton.click()
    assert time.monotonic() - start < 1
    running.settle()
    assert running.logic.jobs == ()
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert running.ui.segmentButton.text == "Segment"
    assert running.ui.statusLabel.text == "Cancelled. The scene is as it was."


def test_a_double_click_on_segment_does_not_cancel(panel, make_volume):
    make_volume()
    panel.settle()
    panel.runner.holds = True
    panel.ui.segmentButton.click()
    panel.ui.segmentButton.click()
    assert len(panel.logic.jobs) == 1


def test_escape_cancels_and_the_run_key_does_not_start_a_second_job(running):
    running.widget._onRunKey()
    assert len(running.logic.jobs) == 1
    running.widget._onCancelKey()
    running.settle()
    assert running.logic.jobs == ()


def test_another_volume_can_be_queued_and_the_same_one_cannot(running, make_volume):
    assert not running.shown("queueButton")
    running.choose(make_volume(name="second"))
    assert running.shown("queueButton")
    running.ui.queueButton.click()
    running.settle()
    assert len(running.logic.jobs) == 2
    assert not running.shown("queueButton")
    assert running.ui.statusLabel.text.endswith("1 more waiting")
    running.runner.holds = False
    running.host.wait_until(lambda: not running.logic.jobs)
    assert running.ui.resultLabel.text.startswith("second: segmented")


def seen_in_slices():
    """Return the names of the volumes in the slice views, and of the results over them."""
    import slicer

    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    volumes = [slicer.mrmlScene.GetNodeByID(each.GetBackgroundVolumeID()) for each in composites]
    results = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    visible = [node for node in results if node.GetDisplayNode().GetVisibility()]
    return {node.GetName() for node in volumes}, [node.GetName() for node in visible]


def test_a_result_is_seen_over_its_own_volume_only(panel, make_volume):
    """Its outlines would be judged over another patient's image, where that lies."""
    import slicer

    first, second = make_volume(name="first"), make_volume(name="second")
    slicer.util.setSliceViewerLayers(background=second)  # as it is after both were loaded
    panel.choose(first)
    panel.segment()
    assert seen_in_slices() == ({"first"}, ["first segmentation"])
    panel.choose(second)
    assert seen_in_slices() == ({"second"}, [])
    panel.segment()
    assert seen_in_slices() == ({"second"}, ["second segmentation"])
    panel.choose(first)
    assert seen_in_slices() == ({"first"}, ["first segmentation"])
    panel.ui.resultTable.setCurrentCell(0, 0)
    assert seen_in_slices() == ({"second"}, ["second segmentation"])


def test_a_result_of_a_queue_is_not_seen_over_the_chosen_volume(running, make_volume):
    second = make_volume(name="second")
    running.choose(second)
    running.runner.holds = False
    running.host.wait_until(lambda: not running.logic.jobs)
    assert running.ui.resultLabel.text.startswith("first: segmented")
    assert seen_in_slices() == ({"second"}, [])
    running.widget._onNextKey()
    assert seen_in_slices() == ({"first"}, ["first segmentation"])


def test_volumes_that_are_seen_together_keep_their_results(panel, make_volume):
    """Such as CT and MR of a patient."""
    import slicer

    first, second = make_volume(name="first"), make_volume(name="second")
    panel.choose(first)
    panel.segment()
    slicer.util.setSliceViewerLayers(foreground=second, foregroundOpacity=0.5)
    panel.choose(second)
    panel.segment()
    assert seen_in_slices() == ({"first"}, ["first segmentation", "second segmentation"])


def test_a_failure_in_a_queue_says_whose_it_is(running, make_volume):
    import slicer

    removed = make_volume(name="second")
    for volume in (removed, make_volume(name="third")):
        running.choose(volume)
        running.ui.queueButton.click()
        running.settle()
    slicer.mrmlScene.RemoveNode(removed)
    running.runner.holds = False
    running.host.wait_until(lambda: not running.logic.jobs)
    running.settle()
    assert running.ui.resultLabel.text.startswith("third: segmented")
    assert running.ui.failureLabel.text.startswith("second: hippocampus-mr: ")


def test_cancel_ends_the_waiting_jobs_too(running, make_volume):
    running.choose(make_volume(name="second"))
    running.ui.queueButton.click()
    running.widget._onCancelKey()
    running.settle()
    assert running.logic.jobs == ()
    assert [call for call, _ in running.runner.calls] == ["start", "cancel"]


def test_the_next_key_goes_through_the_volumes(panel, make_volume):
    volumes = [make_volume(name=name) for name in ("a", "b", "c")]
    panel.choose(volumes[1])
    for expected in (volumes[2], volumes[0]):
        panel.widget._onNextKey()
        panel.settle()
        assert panel.ui.volumeSelector.currentNode() is expected


# ------------------------------------------------------------------------------------------- done


def test_a_result_shows_names_and_volumes_and_what_can_be_done(panel, make_volume):
    make_volume(name="head", spacing_ijk=(1.0, 1.0, 1.0))
    panel.settle()
    panel.segment()
    table = panel.ui.resultTable
    assert panel.ui.resultLabel.text.startswith("head: segmented in")
    assert [table.item(row, 0).text() for row in range(3)] == [
        "left hippocampus",
        "spleen",
        "lesion",
    ]
    job = panel.widget.segmentTab._result.job
    assert table.item(0, 1).text() == f"{job.result.volumes[0].voxels / 1000:.2f}"
    assert table.item(2, 1).text() == "not found"
    assert all(panel.shown(name) for name in ("show3DButton", "editButton", "exportButton"))
    assert panel.ui.nextLabel.text.startswith("Check the outlines")


def test_zero_voxels_are_said_so(panel, make_volume):
    import slicer

    volume = make_volume(name="empty")
    slicer.util.arrayFromVolume(volume)[:] = 0
    panel.settle()
    panel.segment()
    assert panel.ui.resultLabel.text == "empty: nothing was found."
    assert "what the model segments?" in panel.ui.nextLabel.text
    assert not any(panel.shown(name) for name in ("resultTable", "show3DButton", "exportButton"))


def test_a_row_leads_to_its_segment(panel, make_volume):
    import slicer

    make_volume()
    panel.settle()
    panel.segment()
    panel.ui.resultTable.selectRow(0)
    segmentation = panel.widget.segmentTab._result.job.result.segmentation
    centre = [0.0] * 3
    segmentation.GetSegmentCenterRAS(segmentation.GetSegmentation().GetNthSegmentID(0), centre)
    offset = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed").GetSliceOffset()
    assert offset == pytest.approx(centre[2], abs=2.5)


def test_3d_is_shown_on_request_or_when_done(panel, make_volume):
    make_volume()
    panel.settle()
    panel.segment()

    def has_surface():
        segmentation = panel.widget.segmentTab._result.job.result.segmentation.GetSegmentation()
        return segmentation.ContainsRepresentation("Closed surface")

    assert not has_surface()
    panel.host.click(panel.ui.show3DButton)
    assert has_surface()
    panel.parameters.show3D = True
    panel.settle()
    panel.segment()
    assert has_surface()


def test_notices_of_the_library_stand_in_the_result(panel, make_volume):
    make_volume()
    panel.settle()
    panel.runner.holds = True
    panel.start()
    panel.runner._pending = [Notice("The GPU is too small; the CPU computes.")]
    panel.hear()
    panel.runner.holds = False
    panel.host.wait_until(lambda: not panel.logic.jobs)
    assert panel.ui.resultNoticeLabel.text == "The GPU is too small; the CPU computes."


def test_the_result_goes_when_its_segmentation_is_deleted(panel, make_volume):
    import slicer

    make_volume()
    panel.settle()
    panel.segment()
    slicer.mrmlScene.RemoveNode(panel.widget.segmentTab._result.job.result.segmentation)
    panel.settle()
    assert not panel.shown("resultFrame")


# ----------------------------------------------------------------------------------------- failed


def test_a_failure_is_one_message_with_cause_remedy_and_report(panel, make_volume):
    import slicer

    make_volume(name="Jane Doe")
    panel.settle()
    panel.runner.events = [
        Failed(
            "The program that segments crashed.",
            code="worker-crashed",
            remedy="Try again.",
            traceback='File "/Users/jane/slicer/job.py", line 3: Jane Doe',
        )
    ]
    panel.segment()
    assert panel.ui.failureLabel.text == "The program that segments crashed."
    assert panel.ui.remedyLabel.text == "Try again."
    panel.ui.copyReportButton.click()
    report = slicer.app.clipboard().text()
    assert panel.ui.copyReportButton.text == "Copied"
    for expected in ("MISFM 0.", "Slicer 5.", "hippocampus-mr", "worker-crashed", "job.py", "12"):
        assert expected in report
    assert "Jane" not in report
    assert "jane" not in report
    assert "what the worker wrote" in report


def test_a_failure_of_the_worker_leads_to_the_set_up(panel, make_volume):
    make_volume()
    panel.settle()
    panel.runner.events = [Failed("It did not start.", code="worker-not-started")]
    panel.segment()
    assert panel.shown("failureSetupButton")
    panel.ui.failureSetupButton.click()
    panel.settle()
    assert panel.shown("setup")


def test_a_failure_goes_when_something_else_is_chosen(panel, make_volume):
    make_volume()
    panel.settle()
    panel.runner.events = [Failed("No.", code="bad-volume")]
    panel.segment()
    assert not panel.shown("failureSetupButton")
    panel.choose(make_volume(name="other"))
    assert not panel.shown("failureFrame")


def test_an_error_in_a_slot_is_shown_and_not_swallowed(panel, make_volume, monkeypatch):
    make_volume()
    panel.settle()
    monkeypatch.setattr(panel.logic, "start", lambda request: 1 / 0)
    panel.ui.segmentButton.click()
    assert "ZeroDivisionError" in panel.ui.failureLabel.text
    panel.ui.copyReportButton.click()
    import slicer

    assert "Traceback" in slicer.app.clipboard().text()


def test_the_button_keeps_the_keyboard_while_the_panel_refreshes(panel, make_volume):
    make_volume()
    panel.settle()
    panel.ui.segmentButton.setFocus()
    panel.widget.segmentTab.refresh()
    panel.settle()
    assert panel.ui.segmentButton.window().focusWidget().objectName == "segmentButton"


@pytest.mark.slicer_only("the stand-in has not the scroll area around Slicer's panels")
def test_a_long_message_takes_its_height_and_slides_over_nothing(panel, make_volume):
    """A scroll area asks for the height of texts on one line only; see Panel/Heights.py."""
    make_volume()
    panel.settle()
    panel.segment()
    panel.runner.events = [
        Failed("The program that segments was ended. " * 6, code="x", remedy="Close it. " * 40)
    ]
    panel.segment()
    page, whole = panel.ui.segmentTab, panel.widget.parent
    assert panel.shown("failureFrame")
    panel.host.wait_until(lambda: page.height >= page.layout().heightForWidth(page.width))
    panel.host.wait_until(lambda: whole.minimumSizeHint.height() >= page.height)
