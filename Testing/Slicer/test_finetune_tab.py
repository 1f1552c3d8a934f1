"""The tab Fine-tune: training set, corrections, trainings, and what becomes of them."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_worker import FakeCommand, segment_case
from tab_fixtures import LABELS

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.events import Failed, Finished
from MISFMLib.foreground import claimed, claims_folder, is_claimed
from MISFMLib.models import store
from MISFMLib.models.terminology import label_config

BETTER = {
    "evaluation": {
        "spleen": {"dice": 0.8, "dice_sd": 0.1},
        "mean Dice of the labels": 0.8,
        "held-out cases": 4,
    },
    "comparison": {
        "before": {"spleen": {"dice": 0.6}},
        "cases": [],
        "gain": 0.2,
        "gain_sd": 0.01,
        "needed": 0.012,
        "is_better": True,
    },
}
NO_BETTER = {
    "evaluation": BETTER["evaluation"],
    "comparison": {**BETTER["comparison"], "gain": 0.001, "is_better": False},
}


@pytest.fixture
def a_set(tab, make_volume, tmp_path):
    """A set with two labelled cases and two without."""
    import slicer
    from MISFMSlicer.Scene.Export import writeLabelMap
    from MISFMSlicer.Scene.GridBox import boxOf
    from MISFMSlicer.Scene.SceneIO import writeVolume
    from MISFMSlicer.Scene.TrainingCases import writeImage

    made = TrainingSet.create(tmp_path / "organs", LABELS)
    volume = make_volume()
    slicer.util.arrayFromVolume(volume)[0, 0, 0] = 7  # other volumes are none of its cases
    writeVolume(volume, boxOf(volume, None), tmp_path / "grid.nrrd")
    array = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    array[1:3, 2:5, 2:5] = 2
    for name in ("a", "b", "c", "d"):
        made.add_case(name, lambda path: writeImage(volume, path))
    for name in ("a", "b"):
        made.save_labels(name, lambda path: writeLabelMap(array, volume, path))
    tab.tab.setView._use(made)
    tab.panel.settle()
    return made


def test_without_a_set_the_tab_says_how_to_get_one(tab):
    assert not tab.ui.trainButton.enabled
    assert "press Add labels" in tab.ui.setLabel.text
    assert not tab.shown("casesTable")


def test_a_segmented_volume_is_added_by_one_click_and_brings_its_labels(tab, make_volume):
    tab.segment_and_add(make_volume)
    trainingSet = tab.tab.setView.current
    assert [label.name for label in trainingSet.labels] == ["left hippocampus"]
    (row,) = trainingSet.cases()
    assert (row.name, row.status, row.split, row.not_drawn) == ("ct", "corrected", "train", ())
    assert trainingSet.label_map("ct").exists()
    assert tab.ui.casesTable.rowCount == 1
    assert tab.panel.ui.tabs.currentWidget() is not tab.panel.ui.segmentTab
    assert tab.ui.trainButton.enabled


def a_loaded_segmentation(volume, first_slice, path):
    """Save a segmentation of a volume, and load it as from a data set: it names no volume."""
    import slicer

    drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    drawn.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    array = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    array[first_slice : first_slice + 2, 2:5, 2:5] = 1
    key = drawn.GetSegmentation().AddEmptySegment("", "spleen")
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, drawn, key, volume)
    assert slicer.util.saveNode(drawn, str(path))
    slicer.mrmlScene.RemoveNode(drawn)
    return slicer.util.loadSegmentation(str(path))


def test_the_chosen_volume_is_added_with_the_segmentation_that_was_loaded(
    tab, make_volume, tmp_path, host
):
    import slicer

    tab.segment_and_add(make_volume, "segmented before")
    volume = make_volume(name="annotated")
    slicer.util.arrayFromVolume(volume)[0] += 7
    loaded = [a_loaded_segmentation(volume, at, tmp_path / f"{at}.seg.nrrd") for at in (3, 6)]
    tab.panel.choose(volume)
    tab.ui.addSegmentationButton.click()
    assert "hide all others" in tab.ui.finetuneRemedyLabel.text
    loaded[0].GetDisplayNode().SetVisibility(False)
    tab.ui.addSegmentationButton.click()
    tab.ui.mappingTable.cellWidget(0, 1).setCurrentText("a new label")
    tab.ui.mappingAddButton.click()
    trainingSet = tab.tab.setView.current
    assert [row.name for row in trainingSet.cases()] == ["segmented_before", "annotated"]
    tab.tab.loop.open("annotated")
    assert np.flatnonzero(tab.tab.loop.case.before.any(axis=(1, 2))).tolist() == [6, 7]
    host.dialogs.answer("No")
    tab.panel.ui.addToSetButton.click()  # of the result, which is still that of the other volume
    assert "segmented_before" in host.dialogs.shown[-1].text


@pytest.mark.parametrize("direction", ["oblique", "left-handed"])
def test_labels_of_a_volume_that_is_in_the_set_are_replaced_when_the_user_says_so(
    tab, make_volume, host, direction
):
    """A second case would be learnt from with the old labels, or held out from itself."""
    import slicer
    from MISFMSlicer.Scene.Transforms import ijkToRas

    volume = make_volume(direction, name="ct")
    tab.panel.choose(volume)
    tab.panel.segment()
    tab.ui.addSegmentationButton.click()
    trainingSet = tab.tab.setView.current
    before, row = trainingSet.label_map("ct").read_bytes(), trainingSet.case("ct")
    segmentation = tab.panel.widget.segmentTab.shownCase()[1]
    key = segmentation.GetSegmentation().GetNthSegmentID(0)
    drawn = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    drawn[2:5, 3:8, 4:9] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, segmentation, key, volume)
    volume.SetName("renamed")

    host.dialogs.answer("No")
    tab.ui.addSegmentationButton.click()
    assert "renamed is in the training set already, as ct" in host.dialogs.shown[-1].text
    assert trainingSet.label_map("ct").read_bytes() == before
    assert trainingSet.cases() == [row]

    host.dialogs.answer("Yes")
    tab.ui.addSegmentationButton.click()
    assert [(each.name, each.split) for each in trainingSet.cases()] == [("ct", row.split)]
    assert not tab.shown("finetuneNoticeFrame")
    tab.tab.loop.open("ct")
    case = tab.tab.loop.case
    labels = slicer.util.arrayFromSegmentBinaryLabelmap(case.segmentation, "Segment_1", case.volume)
    there, wanted = (
        {tuple(np.round(ijkToRas(node)[:3] @ [i, j, k, 1], 3)) for k, j, i in np.argwhere(array)}
        for node, array in ((case.volume, labels), (volume, drawn))
    )
    assert there == wanted


def test_a_volume_whose_file_waits_for_labels_becomes_no_second_case(tab, a_set, make_volume, host):
    import slicer

    volume = make_volume(name="from its own file")
    slicer.util.arrayFromVolume(volume)[2] += 7
    a_set.add_case("e", lambda path: slicer.util.saveNode(volume, str(path)))
    tab.tab._onSetChanged()
    asked = len(host.dialogs.shown)
    tab.panel.choose(volume)
    tab.panel.segment()
    tab.ui.addSegmentationButton.click()
    assert len(host.dialogs.shown) == asked, "there are no labels to be lost"
    assert [row.name for row in a_set.cases()] == ["a", "b", "c", "d", "e"]
    assert a_set.case("e").is_labelled


def test_a_training_yields_while_a_volume_is_segmented(tab, make_volume):
    folder = claims_folder(store.home())
    tab.panel.choose(make_volume())
    tab.panel.runner.holds = True
    tab.panel.start()
    assert is_claimed(folder)
    tab.panel.runner.holds = False
    tab.wait(lambda: not tab.panel.logic.jobs)
    assert not is_claimed(folder)


def test_unknown_names_are_asked_for_and_nothing_is_written_before(tab, a_set, make_volume):
    a_set.set_labels([label_config(1, "liver"), label_config(2, "milt")])
    tab.segment_and_add(make_volume)
    assert tab.shown("mappingFrame")
    assert not tab.ui.mappingAddButton.enabled
    assert len(a_set.cases()) == 4

    combo = tab.ui.mappingTable.cellWidget(0, 1)
    combo.setCurrentIndex(combo.findData(2))
    assert tab.ui.mappingAddButton.enabled
    tab.ui.mappingAddButton.click()

    assert not tab.shown("mappingFrame")
    row = a_set.case("ct")
    assert row.is_labelled
    assert row.not_drawn == ("liver",)
    assert [label.name for label in a_set.labels] == ["liver", "milt"]


def coarse_volume(volume):
    """Return a volume of the same place with voxels of twice the size."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    grid = slicer.util.arrayFromVTKMatrix(matrix)
    grid = grid @ np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]])
    voxels = slicer.util.arrayFromVolume(volume)[::2, ::2, ::2].copy()
    return slicer.util.addVolumeFromArray(voxels, ijkToRAS=grid)


def test_segments_on_another_grid_are_resampled_only_when_the_user_agrees(tab, make_volume):
    import slicer

    volume = make_volume(name="fine")
    coarse = coarse_volume(volume)
    mask = np.zeros(slicer.util.arrayFromVolume(coarse).shape, np.uint8)
    mask[1, 1, 1] = 1
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    key = segmentation.GetSegmentation().AddEmptySegment("liver", "liver")
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, key, coarse)
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    slicer.mrmlScene.RemoveNode(coarse)
    tab.panel.choose(volume)

    tab.ui.addSegmentationButton.click()
    assert tab.shown("mappingFrame")
    assert "another grid" in tab.ui.mappingLabel.text
    assert tab.tab.setView.current.cases() == []

    tab.ui.mappingAddButton.click()
    made = tab.tab.setView.current
    (row,) = made.cases()
    assert row.is_labelled
    assert np.count_nonzero(label_array(made, row.name)) == 8


def test_a_label_map_on_another_grid_is_resampled_by_mend(tab, a_set, make_volume, monkeypatch):
    import slicer
    from MISFMSlicer.Panel import CaseCheck
    from MISFMSlicer.Scene.Export import writeLabelMap

    monkeypatch.setattr(CaseCheck, "Command", FakeCommand)
    coarse = coarse_volume(make_volume())
    mask = np.zeros(slicer.util.arrayFromVolume(coarse).shape, np.uint8)
    mask[1, 2, 1] = 2
    a_set.save_labels("a", lambda path: writeLabelMap(mask, coarse, path))
    problem = {"case": "a", "code": "grid-mismatch", "message": ""}
    tab.ui.checkButton.click()
    failed = Failed("Bad:\n- a", "labels-unusable", "", details=(problem,))
    tab.panel.commands[-1].ended.emit(failed)
    tab.ui.problemsList.setCurrentRow(0)

    mend(tab, "Resample the labels to the image")

    labels = label_array(a_set, "a")
    assert labels.shape == label_array(a_set, "b").shape
    assert np.argwhere(labels == 2).min(axis=0).tolist() == [2, 4, 2]
    assert np.count_nonzero(labels == 2) == 8
    tab.tab.loop.open("a")
    assert tab.tab.loop.case.name == "a"


def test_labels_on_another_grid_are_shown_where_they_are(tab, a_set, make_volume):
    from MISFMSlicer.Scene.Export import writeLabelMap

    coarse = coarse_volume(make_volume())
    mask = np.zeros(slicer_shape(coarse), np.uint8)
    mask[1, 2, 1] = 2
    a_set.save_labels("a", lambda path: writeLabelMap(mask, coarse, path))
    tab.tab.loop.open("a")
    before = tab.tab.loop.case.before
    assert np.argwhere(before == 2).min(axis=0).tolist() == [2, 4, 2]
    assert np.count_nonzero(before == 2) == 8


def slicer_shape(volume):
    return volume.GetImageData().GetDimensions()[::-1]


@pytest.mark.parametrize("folder", ["imagesTr", "labelsTr"])
def test_a_case_whose_file_cannot_be_read_says_which(tab, a_set, folder):
    (a_set.folder / folder / "a.nii.gz").write_bytes(b"cut short")
    tab.ui.casesTable.cellDoubleClicked.emit(0, 0)
    text = tab.ui.finetuneNoticeLabel.text
    assert text.endswith("a.nii.gz cannot be read.")
    assert folder in text
    assert tab.tab.loop.case is None


def test_a_new_label_can_come_with_a_case_and_a_cancelled_one_leaves_nothing(
    tab, a_set, make_volume
):
    a_set.set_labels([label_config(1, "liver")])
    tab.segment_and_add(make_volume)
    tab.ui.mappingCancelButton.click()
    assert not tab.shown("mappingFrame")
    assert len(a_set.cases()) == 4

    tab.panel.ui.addToSetButton.click()
    combo = tab.ui.mappingTable.cellWidget(0, 1)
    combo.setCurrentIndex(combo.findData("new"))
    tab.ui.mappingAddButton.click()
    assert [label.name for label in a_set.labels] == ["liver", "left hippocampus"]
    assert a_set.case("ct").is_labelled


def test_segments_that_changed_while_they_were_asked_for_are_asked_for_again(
    tab, a_set, make_volume, host
):
    """The question is what tells many that a name is wrong: they go and mend it, and press Add."""
    import slicer

    a_set.set_labels([label_config(1, "liver"), label_config(2, "milt")])
    tab.segment_and_add(make_volume)
    segmentation = tab.panel.widget.segmentTab.shownCase()[1]
    combo = tab.ui.mappingTable.cellWidget(0, 1)
    combo.setCurrentIndex(combo.findData(2))
    segmentation.GetSegmentation().GetNthSegment(0).SetName("spleen?")
    tab.ui.mappingAddButton.click()
    assert len(a_set.cases()) == 4
    assert tab.ui.mappingTable.item(0, 0).text() == "spleen?"
    segmentation.GetSegmentation().GetNthSegment(0).SetName("milt")
    tab.ui.mappingTable.cellWidget(0, 1).setCurrentIndex(1)
    tab.ui.mappingAddButton.click()
    assert a_set.case("ct").not_drawn == ("liver",), "its name is known now: nothing to ask"

    segmentation.GetSegmentation().GetNthSegment(0).SetName("spleen?")
    host.dialogs.answer("Yes")  # its labels are replaced
    tab.panel.ui.addToSetButton.click()
    tab.ui.mappingTable.cellWidget(0, 1).setCurrentIndex(1)
    slicer.mrmlScene.RemoveNode(segmentation)
    tab.ui.mappingAddButton.click()
    assert tab.ui.finetuneNoticeLabel.text == "The segmentation was removed from the scene."
    assert not tab.shown("mappingFrame")
    assert len(a_set.cases()) == 5


@pytest.mark.parametrize("refused", ["writeChannel", "writeLabelMap"])
def test_a_full_disk_leaves_nothing_of_a_case_in_the_set(
    tab, a_set, make_volume, monkeypatch, refused
):
    """Else a new label stays that no case has, and the next try adds the volume twice."""
    from MISFMSlicer.Scene import SceneCases

    def refuse(*arguments):
        raise OSError(28, "No space left on device", str(arguments[-1]))

    a_set.set_labels([label_config(1, "liver")])
    tab.segment_and_add(make_volume)
    combo = tab.ui.mappingTable.cellWidget(0, 1)
    combo.setCurrentIndex(combo.findData("new"))
    with monkeypatch.context() as full:
        full.setattr(SceneCases, refused, refuse)
        tab.ui.mappingAddButton.click()
    assert "ct" in tab.ui.finetuneNoticeLabel.text
    assert ([label.name for label in a_set.labels], len(a_set.cases())) == (["liver"], 4)
    tab.ui.mappingAddButton.click()
    assert a_set.case("ct").is_labelled
    assert [label.name for label in a_set.labels] == ["liver", "left hippocampus"]
    assert not tab.shown("finetuneNoticeFrame")


def test_a_message_ends_with_the_next_try(tab, a_set, make_volume):
    """Else what was refused at first seems to be refused still."""
    import slicer

    tab.ui.addSegmentationButton.click()
    assert tab.shown("finetuneNoticeFrame")
    tab.panel.choose(make_volume(name="ct"))
    tab.panel.segment()
    tab.ui.addSegmentationButton.click()
    assert a_set.case("ct").is_labelled
    assert not tab.shown("finetuneNoticeFrame")
    tab.tab.loop.open("a")
    segmentation = tab.tab.loop.case.segmentation
    copy = slicer.vtkSegment()
    copy.DeepCopy(segmentation.GetSegmentation().GetSegment("Segment_2"))
    segmentation.GetSegmentation().RemoveSegment("Segment_1")
    copy.SetName(LABELS[0].name)
    segmentation.GetSegmentation().AddSegment(copy, "Segment_1")
    tab.ui.doneButton.click()
    assert "overlap" in tab.ui.finetuneNoticeLabel.text
    segmentation.GetSegmentation().RemoveSegment("Segment_1")
    tab.ui.doneButton.click()
    assert not tab.shown("finetuneNoticeFrame")


def test_a_training_runs_to_its_table_and_is_kept(tab, a_set, monkeypatch):
    tab.behave(**BETTER)
    tab.train()
    tab.wait(lambda: tab.shown("outcomeFrame"))

    assert tab.ui.outcomeLabel.text.startswith("Better than before: Dice +0.200 on 4")
    table = tab.ui.outcomeTable
    cells = [table.item(0, column).text() for column in range(4)]
    assert cells == ["spleen", "0.60", "0.80", "0.10"]
    assert tab.ui.keepButton.default
    job = tab.tab.train.training.job["config"]
    assert job["data"] == str(a_set.folder)
    assert job["augmentation"] == "strong"

    tab.ui.keepButton.click()
    tab.panel.settle()
    assert not tab.shown("outcomeFrame")
    (mine,) = (entry for entry in store.list_models() if entry.origin == "mine")
    assert mine.name == "organs"
    assert tab.panel.widget.segmentTab._models.model("organs").isMine
    assert tab.tab.train.training is None
    assert tab.tab.form.start == "organs"
    assert "About 300 steps" in tab.tab.form.forecast(str(a_set.folder))


def test_a_model_about_which_nobody_has_decided_is_not_trained_over(tab, a_set):
    tab.behave(**BETTER)
    tab.train()
    tab.wait(lambda: tab.shown("outcomeFrame"))
    assert not tab.ui.trainButton.enabled
    assert "Keep or discard" in tab.ui.trainButton.toolTip
    tab.ui.discardButton.click()
    tab.panel.settle()
    assert tab.ui.trainButton.enabled


def test_a_model_waits_for_its_decision_while_cases_are_corrected(tab, a_set):
    """One that was no better was removed with all its files by the first Done after it."""
    tab.ui.afterBox.value = 1
    worse = {**NO_BETTER["comparison"], "gain": -0.01}
    tab.behave(**{**NO_BETTER, "comparison": worse})
    tab.train()
    tab.wait(lambda: tab.shown("outcomeFrame"))
    model = tab.tab.train.training.output
    tab.tab.loop.open("c")
    tab.tab.done()
    assert (a_set.case("c").is_labelled, model.exists()) == (True, True)
    assert tab.shown("outcomeFrame")
    assert tab.ui.trainLabel.text == "Keep or discard the new model first."


def test_what_is_not_better_is_discarded_by_default_and_nothing_is_lost(tab, a_set):
    tab.behave(**NO_BETTER)
    tab.train()
    tab.wait(lambda: tab.shown("outcomeFrame"))
    assert tab.ui.outcomeLabel.text.startswith("Not better than before")
    assert tab.ui.discardButton.default
    before = store.list_models()
    tab.ui.discardButton.click()
    tab.panel.settle()
    assert store.list_models() == before
    assert list((store.home() / "trainings").glob("finetune-*")) == []
    assert tab.ui.trainButton.enabled


def test_a_model_that_waits_to_be_kept_stays_when_an_earlier_version_is_brought_back(tab, a_set):
    keep_a_model(tab, a_set)
    keep_a_model(tab, a_set)
    tab.train()
    tab.wait(lambda: tab.shown("outcomeFrame"))
    waiting = tab.tab.train.training.output
    tab.ui.versionsButton.menu().aboutToShow.emit()
    (earlier,) = tab.ui.versionsButton.menu().actions()
    earlier.trigger()
    tab.panel.settle()
    assert waiting.exists()
    assert tab.shown("outcomeFrame")
    tab.ui.keepButton.click()
    tab.panel.settle()
    assert not tab.shown("finetuneNoticeFrame")
    assert (tab.shown("outcomeFrame"), tab.tab.train.training) == (False, None)


@pytest.mark.parametrize("by_itself", [False, True])
def test_the_model_of_a_set_proposes_for_that_set_also_when_another_is_open(
    tab, a_set, tmp_path, by_itself
):
    """Trainings go on while another set is corrected, which may name its labels alike."""
    other = TrainingSet(Path(shutil.copytree(a_set.folder, tmp_path / "another")))
    tab.behave(wait=True)
    tab.tab._start(isByItself=by_itself)
    tab.wait(lambda: "Labels found" in tab.ui.trainLabel.text)
    tab.tab.setView._use(other)
    start = tab.tab.form.start
    tab.tab.train._onFinish()
    if by_itself:
        tab.wait(lambda: tab.tab.train.training is None)
    else:
        tab.wait(lambda: tab.shown("outcomeFrame"))
        tab.ui.keepButton.click()
    tab.panel.settle()
    models = tab.tab._models
    assert (models.of(a_set, ""), models.of(other, "")) == ("organs", "")
    assert tab.tab.form.start == start


def test_a_training_is_paused_and_goes_on(tab, a_set):
    tab.behave(wait=True)
    tab.train()
    tab.wait(lambda: "Labels found: 1 of 2" in tab.ui.trainLabel.text)
    assert not tab.shown("trainButton")
    tab.ui.pauseButton.click()
    tab.wait(lambda: "Paused after step 10" in tab.ui.trainLabel.text)
    assert (tab.ui.trainButton.text, tab.ui.trainButton.enabled) == ("Go on", True)

    tab.behave()
    tab.train()
    tab.wait(lambda: tab.shown("outcomeFrame"))
    assert tab.ui.outcomeLabel.text.startswith("No case is held out yet")


def test_stop_keeps_the_best_or_discards_all(tab, a_set):
    tab.behave(wait=True)
    tab.train()
    tab.wait(lambda: "Labels found" in tab.ui.trainLabel.text)
    keep, _discard = tab.ui.stopButton.menu().actions()
    keep.trigger()
    tab.wait(lambda: tab.shown("outcomeFrame"))
    tab.ui.discardButton.click()

    tab.train()
    tab.wait(lambda: "Labels found" in tab.ui.trainLabel.text)
    _keep, discard = tab.ui.stopButton.menu().actions()
    discard.trigger()
    tab.panel.settle()
    assert tab.tab.train.training is None
    assert tab.ui.trainButton.text == "Fine-tune"


def test_a_paused_training_can_still_be_ended_with_its_best(tab, a_set):
    tab.behave(wait=True)
    tab.train()
    tab.wait(lambda: "Labels found" in tab.ui.trainLabel.text)
    tab.ui.pauseButton.click()
    tab.wait(lambda: "Paused" in tab.ui.trainLabel.text)
    assert tab.ui.stopButton.enabled
    keep, _discard = tab.ui.stopButton.menu().actions()
    keep.trigger()
    tab.wait(lambda: tab.shown("outcomeFrame"))


def test_a_killed_training_is_found_again_after_a_restart(tab, a_set, host):
    import slicer

    tab.behave(wait=True)
    tab.train()
    tab.wait(lambda: "Labels found" in tab.ui.trainLabel.text)
    training = tab.tab.train.training
    slicer.util.reloadScriptedModule("MISFM")
    assert training.isRunning, "a reload does not end it"
    again = slicer.modules.MISFMWidget.finetuneTab
    assert again.train.training.folder == training.folder
    assert "Labels found" in again._ui.trainLabel.text

    again.train.training.kill()
    again.train.poll()
    assert "interrupted" in again._ui.trainLabel.text
    assert again._ui.trainButton.text == "Go on"
    tab.panel.widget = slicer.modules.MISFMWidget


def test_a_set_whose_files_are_gone_keeps_nothing_else_from_working(tab, a_set, tmp_path):
    """As on a drive that is not there, whose folder is."""
    import slicer

    keep_a_model(tab, a_set)  # proposals are looked after all the time
    (a_set.folder / "cases.csv").unlink()
    tab.wait(lambda: "is no training set" in tab.ui.finetuneNoticeLabel.text)
    tab.ui.finetuneNoticeLabel.text = ""
    tab.panel.host.process_events(0.7)
    assert tab.ui.finetuneNoticeLabel.text == "", "it is told once"
    slicer.util.reloadScriptedModule("MISFM")
    again = slicer.modules.MISFMWidget.finetuneTab
    assert "is no training set" in again._ui.finetuneNoticeLabel.text
    assert again._timer.isActive()
    again.setView._use(TrainingSet.create(tmp_path / "another", LABELS))
    assert again._ui.setSelector.currentText == "another"


def test_a_set_on_a_drive_that_is_not_connected_is_offered_again_afterwards(tab, a_set, tmp_path):
    a_set.folder.rename(tmp_path / "not connected")
    tab.tab.setView._set = None
    tab.tab.setView._use(TrainingSet.create(tmp_path / "another", LABELS))
    selector = tab.ui.setSelector
    assert [selector.itemText(row) for row in range(selector.count)] == ["another"]
    (tmp_path / "not connected").rename(a_set.folder)
    tab.tab.lookAround()
    assert [selector.itemText(row) for row in range(selector.count)] == ["another", "organs"]


def test_closing_slicer_asks_once_what_becomes_of_a_training(tab, a_set, host):
    from MISFMSlicer.Jobs.TrainingProcess import TrainingState
    from MISFMSlicer.Panel.Closing import settleTrainings

    tab.behave(wait=True)
    tab.train()
    tab.wait(lambda: "Labels found" in tab.ui.trainLabel.text)
    training = tab.tab.train.training
    asked = len(host.dialogs.shown)
    settleTrainings([])
    assert len(host.dialogs.shown) == asked, "nothing runs: nothing to ask"
    host.dialogs.answer("Yes")
    settleTrainings([training])
    tab.panel.host.process_events(0.3)
    assert training.isRunning
    host.dialogs.answer("No")
    settleTrainings([training])
    tab.wait(lambda: not training.isRunning)
    training.poll()
    assert training.state is TrainingState.PAUSED
    assert len(host.dialogs.shown) == asked + 2


def test_a_held_out_case_is_watched_while_the_network_learns(tab, a_set, tmp_path, monkeypatch):
    import slicer

    a_set.update("b", split="validation")
    tab.tab.setView.update()
    tab.behave(wait=True)
    tab.train()
    tab.wait(lambda: tab.shown("watchButton") and tab.tab.train.training.metrics)
    tab.ui.watchButton.menu().aboutToShow.emit()
    (action,) = tab.ui.watchButton.menu().actions()
    assert action.text == "b"

    action.trigger()
    view, training = tab.tab.watch, tab.tab.train.training
    assert (training.watched.parent / "watch").read_text() == "b"
    assert "next" in tab.ui.watchLabel.text
    assert view.case.found.GetSegmentation().GetNumberOfSegments() == 0

    segment_case([tmp_path / "grid.nrrd"], training.watched, LABELS)
    tab.wait(lambda: view.case.found.GetSegmentation().GetNumberOfSegments() > 0)
    assert "outlined" in tab.ui.watchLabel.text
    display = view.case.found.GetDisplayNode()
    assert (display.GetVisibility2DOutline(), display.GetVisibility2DFill()) == (True, False)

    def refuse(_path, missing_ok=False):
        raise PermissionError  # as Windows, while somebody has the file open

    with monkeypatch.context() as windows:
        windows.setattr(type(training.watched), "unlink", refuse)
        view._onWatch("b")
    tab.panel.settle()
    assert training.watched.exists()
    assert "next" in tab.ui.watchLabel.text  # what is left there is not taken for new

    tab.ui.nextCaseButton.click()  # a correction needs the views
    tab.wait(lambda: view.case is None and tab.tab.loop.case is not None)
    assert not (training.watched.parent / "watch").exists()
    assert not tab.ui.watchButton.enabled
    assert not slicer.mrmlScene.GetNodesByName("b, network").GetNumberOfItems()


def test_problems_of_the_cases_are_a_list_that_leads_to_them(tab, a_set):
    problems = "- a: the label map is empty\n- label 3 occurs in no training case\n"
    message = f"The data set cannot be trained on:\n{problems}"
    tab.behave(fail={"message": message, "code": "labels-unusable", "remedy": "Correct them."})
    tab.train()
    tab.wait(lambda: tab.shown("problemsList"))
    assert tab.ui.problemsList.count == 2
    tab.ui.problemsList.setCurrentRow(0)
    tab.panel.settle()
    assert tab.tab.loop.case.name == "a"
    assert np.count_nonzero(tab.tab.loop.case.before) == 18


def test_the_check_runs_in_a_child_process_and_lists_what_is_wrong(tab, a_set, monkeypatch):
    from MISFMSlicer.Panel import CaseCheck

    monkeypatch.setattr(CaseCheck, "Command", FakeCommand)
    tab.ui.checkButton.click()
    (command,) = tab.panel.commands
    job = json.loads(Path(command.words[1]).read_text())
    assert job["config"]["check_only"] is True
    assert not tab.ui.checkButton.enabled
    command.ended.emit(Failed("Bad:\n- a: empty", "labels-unusable", "Correct it."))
    assert tab.ui.problemsList.count == 1
    assert not Path(command.words[1]).exists()

    tab.ui.checkButton.click()
    tab.panel.commands[-1].ended.emit(Finished({}))
    assert tab.ui.trainLabel.text == "No problem was found in the cases with labels."
    assert not tab.shown("problemsList")


def mend(tab, text):
    """Choose a way to mend the chosen line."""
    actions = {action.text: action for action in tab.ui.mendButton.menu().actions()}
    actions[text].trigger()
    tab.panel.settle()


def label_array(a_set, name):
    import slicer

    node = slicer.util.loadLabelVolume(str(a_set.label_map(name)), {"show": False})
    array = slicer.util.arrayFromVolume(node).copy()
    slicer.mrmlScene.RemoveNode(node)
    return array


def place_of(a_set, name, voxel):
    """Return where a voxel (k, j, i) of a case is, in mm, LPS, as the library tells it."""
    import slicer
    import vtk

    node = slicer.util.loadLabelVolume(str(a_set.label_map(name)), {"show": False})
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    right, anterior, superior, _ = matrix.MultiplyPoint([*map(float, voxel[::-1]), 1.0])
    slicer.mrmlScene.RemoveNode(node)
    return (-right, -anterior, superior)


def test_what_the_check_of_a_set_found_is_not_mended_in_another(tab, a_set, tmp_path, monkeypatch):
    """Copies of a set, and sets of one study, have cases of the same names."""
    from MISFMSlicer.Panel import CaseCheck

    monkeypatch.setattr(CaseCheck, "Command", FakeCommand)
    shutil.copytree(a_set.folder, tmp_path / "a copy")
    problem = {"case": "a", "code": "label-values", "message": "", "values": [9]}
    tab.ui.checkButton.click()
    tab.panel.commands[-1].ended.emit(Finished({"doubts": [problem]}))
    assert tab.shown("problemsList")
    assert "Look at what is listed" in tab.ui.trainLabel.text
    tab.tab.setView._open(tmp_path / "a copy")
    tab.panel.settle()
    assert not tab.shown("problemsList")
    assert "Look at what is listed" not in tab.ui.trainLabel.text

    tab.ui.checkButton.click()
    assert not tab.ui.checkButton.enabled
    tab.tab.setView._open(a_set.folder)
    tab.panel.settle()
    assert tab.panel.commands[-1].isClosed
    assert tab.ui.checkButton.enabled


def test_what_ended_the_training_of_a_set_is_not_mended_in_another(tab, a_set, tmp_path):
    shutil.copytree(a_set.folder, tmp_path / "a copy")
    tab.behave(wait=True)
    tab.train()
    tab.wait(lambda: "Labels found" in tab.ui.trainLabel.text)
    tab.tab.setView._open(tmp_path / "a copy")
    message = "The data set cannot be trained on:\n- a: the label map is empty"
    failure = Failed(message, "labels-unusable", "Correct them.")
    tab.tab.train.training.end = failure
    tab.tab._onFailed(tab.tab.train.training)
    assert tab.ui.finetuneNoticeLabel.text == "organs: The data set cannot be trained on:"
    assert not tab.shown("problemsList")


def test_each_line_of_the_check_offers_what_can_be_done(tab, a_set, monkeypatch):
    from MISFMSlicer.Panel import CaseCheck

    monkeypatch.setattr(CaseCheck, "Command", FakeCommand)
    voxel = tuple(np.argwhere(label_array(a_set, "a") == 2)[0])
    islands = {
        "case": "a",
        "code": "label-islands",
        "message": "",
        "values": [2],
        "positions_xyz": [place_of(a_set, "a", voxel)],
    }
    empty = {"case": "b", "code": "label-map-empty", "message": ""}
    tab.ui.checkButton.click()
    tab.panel.commands[-1].ended.emit(Finished({"doubts": [islands, empty]}))
    texts = [str(tab.ui.problemsList.item(row).text()) for row in range(2)]
    assert texts == ["a: 1 stray voxels of spleen", "b: no label at all, as in a healthy patient"]
    assert not tab.shown("mendButton")

    tab.ui.problemsList.setCurrentRow(0)
    tab.panel.settle()
    assert tab.tab.loop.case.name == "a"
    mend(tab, "Remove the stray voxels")
    kept = label_array(a_set, "a")
    assert kept[voxel] == 0
    assert np.count_nonzero(kept) == 17
    assert a_set.case("a").status == "corrected"
    assert np.count_nonzero(tab.tab.loop.case.before) == 17, "the open case shows it too"
    assert tab.ui.problemsList.count == 1

    tab.ui.problemsList.setCurrentRow(0)
    tab.panel.settle()
    mend(tab, "It is right: there is nothing")
    assert a_set.case("b").status == "checked"
    assert not tab.shown("problemsList")
    tab.ui.checkButton.click()
    tab.panel.commands[-1].ended.emit(Finished({"doubts": [empty]}))
    assert not tab.shown("problemsList"), "what was said once is not asked again"


def test_a_case_in_which_nothing_was_drawn_is_asked_about(tab, a_set, monkeypatch):
    """Done on an empty case said that there is nothing, and Check did not ask any more."""
    from MISFMSlicer.Panel import CaseCheck

    monkeypatch.setattr(CaseCheck, "Command", FakeCommand)
    tab.tab.loop.open("c")
    tab.tab.done()
    empty = {"case": "c", "code": "label-map-empty", "message": ""}
    tab.ui.checkButton.click()
    tab.panel.commands[-1].ended.emit(Finished({"doubts": [empty]}))
    tab.ui.problemsList.setCurrentRow(0)
    mend(tab, "It is right: there is nothing")
    assert a_set.case("c").status == "checked"
    tab.tab.loop.open("c")
    tab.tab.done()
    assert a_set.case("c").status == "checked", "that was said"


def test_a_label_that_no_case_has_is_taken_out_of_the_set(tab, a_set, monkeypatch):
    """One of an empty segment, say: no training began, and nothing in Slicer took it away."""
    from MISFMSlicer.Panel import CaseCheck

    monkeypatch.setattr(CaseCheck, "Command", FakeCommand)
    a_set.set_labels([*LABELS, label_config(3, "Segment_1")])
    a_set.set_status("b", "left out")
    tab.tab._onSetChanged()

    def check(value):
        nowhere = {"code": "label-not-trained", "message": "", "cases": [], "values": [value]}
        tab.ui.checkButton.click()
        ended = Failed("Bad:\n- it", "labels-unusable", "", details=(nowhere,))
        tab.panel.commands[-1].ended.emit(ended)
        tab.ui.problemsList.setCurrentRow(0)

    check(2)
    mend(tab, "Take spleen out of the set")
    assert tab.ui.finetuneNoticeLabel.text == "a has voxels of this label."
    a_set.save_labels("a", a_set_without_voxels(a_set, "a"))
    tab.ui.finetuneNoticeFrame.visible = False
    mend(tab, "Take spleen out of the set")
    assert tab.ui.finetuneNoticeLabel.text == "b has voxels of this label.", "it is left out"

    check(3)
    mend(tab, "Take Segment_1 out of the set")
    assert a_set.labels == LABELS
    assert [row.not_drawn for row in a_set.cases()] == [(), (), (), ()]
    assert not tab.shown("problemsList")


def a_set_without_voxels(a_set, name):
    """Return what writes the label map of a case without labels."""
    import slicer
    from MISFMSlicer.Scene.Export import writeLabelMap

    node = slicer.util.loadLabelVolume(str(a_set.label_map(name)), {"show": False})
    return lambda path: writeLabelMap(0 * slicer.util.arrayFromVolume(node), node, path)


def test_unknown_values_are_given_a_label_and_cases_a_side(tab, a_set, monkeypatch):
    from MISFMSlicer.Panel import CaseCheck

    monkeypatch.setattr(CaseCheck, "Command", FakeCommand)
    unknown = {"case": "a", "code": "label-values", "message": "", "values": [2]}
    twins = {"code": "case-on-both-sides", "message": "", "cases": ["b", "a"]}
    unjudged = {"code": "label-not-judged", "message": "", "cases": ["a"], "values": [1]}
    failed = Failed("Bad:\n- a", "labels-unusable", "", details=(unknown, twins, unjudged))
    tab.ui.checkButton.click()
    tab.panel.commands[-1].ended.emit(failed)
    tab.ui.problemsList.setCurrentRow(0)
    mend(tab, "They are left hippocampus")
    assert np.count_nonzero(label_array(a_set, "a") == 1) == 18
    tab.ui.problemsList.setCurrentRow(1)
    mend(tab, "Hold a out")
    assert a_set.case("a").split == "validation"
    tab.ui.problemsList.setCurrentRow(0)
    mend(tab, "Leave b out")
    assert a_set.case("b").status == "left out"
    assert tab.tab.loop.case is None


def draw_all_over(case):
    """Give all voxels of an open case to the first label."""
    import slicer

    labels = np.ones(case.before.shape, np.uint8)
    key = next(iter(case.values(LABELS)))
    slicer.util.updateSegmentBinaryLabelmapFromArray(labels, case.segmentation, key, case.volume)


def test_edits_are_lost_only_when_the_user_says_so(tab, a_set, host):
    loop, asked = tab.tab.loop, len(host.dialogs.shown)
    loop.open("a")
    draw_all_over(loop.case)
    tab.tab._onOpenCase("a")  # as from the next line of Check about the same case
    assert loop.unsaved() == "a"
    assert len(host.dialogs.shown) == asked
    host.dialogs.answer("No")
    tab.ui.casesTable.cellDoubleClicked.emit(1, 0)
    assert loop.unsaved() == "a"
    host.dialogs.answer("No")
    tab.ui.nextCaseButton.click()
    assert loop.unsaved() == "a"
    host.dialogs.answer("Yes")
    tab.ui.nextCaseButton.click()
    assert loop.case.name == "c"
    loop.open("b")
    assert loop.case.name == "b", "nothing was changed: nothing to ask"
    assert len(host.dialogs.shown) == asked + 3


def test_a_key_that_is_held_is_pressed_once(tab):
    """Ctrl+D said Done to the next cases too, which opened meanwhile and nobody had seen."""
    shortcuts = tab.panel.widget._shortcuts
    assert "Ctrl+D" in [each.key.toString() for each in shortcuts]
    assert [each.autoRepeat for each in shortcuts] == [False] * len(shortcuts)


def test_ticks_are_lost_only_when_the_user_says_so(tab, a_set, host):
    loop, asked = tab.tab.loop, len(host.dialogs.shown)
    a_set.update("a", not_drawn=("spleen", "a label of earlier"))
    tab.tab._onSetChanged()
    loop.open("a")
    loop.open("b")
    assert (loop.case.name, len(host.dialogs.shown)) == ("b", asked), "nothing was ticked"
    tab.ui.notDrawnList.item(0).setCheckState(2)
    host.dialogs.answer("No")
    tab.ui.nextCaseButton.click()
    assert (loop.case.name, len(host.dialogs.shown)) == ("b", asked + 1)
    tab.tab.done()
    assert a_set.case("b").not_drawn == ("left hippocampus",)


def test_leave_out_asks_before_edits_are_lost(tab, a_set, host):
    tab.tab.loop.open("a")
    draw_all_over(tab.tab.loop.case)
    host.dialogs.answer("No")
    tab.ui.leaveOutButton.click()
    assert tab.tab.loop.unsaved() == "a"
    assert a_set.case("a").is_labelled
    host.dialogs.answer("Yes")
    tab.ui.leaveOutButton.click()
    assert (tab.tab.loop.case, a_set.case("a").status) == (None, "left out")


@pytest.mark.parametrize("has_model", [False, True])
def test_a_case_that_was_left_out_is_taken_back_with_its_labels(tab, a_set, has_model):
    """It opened without them, and Done put the empty ones in their place; or it never opened."""
    tab.ui.afterBox.value = 0
    if has_model:
        keep_a_model(tab, a_set)
    before = label_array(a_set, "a")
    for name in ("a", "c"):
        a_set.set_status(name, "left out")
    tab.tab._onSetChanged()
    tab.ui.casesTable.cellDoubleClicked.emit(0, 0)
    case = tab.tab.loop.case
    assert np.count_nonzero(case.before) == np.count_nonzero(before) > 0
    tab.tab.done()
    assert a_set.case("a").status == "checked"
    np.testing.assert_array_equal(label_array(a_set, "a"), before)
    tab.tab.loop.open("c")
    assert not tab.shown("cancelProposalButton"), "nobody computes a proposal for it"
    assert not tab.tab.loop.case.before.any()


def test_the_results_of_other_patients_are_not_seen_over_the_open_case(tab, a_set, make_volume):
    tab.panel.choose(make_volume(name="another patient"))
    tab.panel.segment()
    result = tab.panel.widget.segmentTab.shownCase()[1]
    tab.tab.loop.open("a")
    assert not result.GetDisplayNode().GetVisibility()
    assert tab.tab.loop.case.segmentation.GetDisplayNode().GetVisibility()
    tab.tab.loop.open("b")
    tab.tab.loop.leave()
    assert result.GetDisplayNode().GetVisibility()


def test_a_result_that_comes_while_a_case_is_open_is_not_seen_over_it(tab, a_set, make_volume):
    tab.panel.choose(make_volume(name="another patient"))
    tab.panel.runner.holds = True
    tab.panel.start()
    tab.tab.loop.open("a")
    tab.panel.runner.holds = False
    tab.wait(lambda: not tab.panel.logic.jobs)
    result = tab.panel.widget.segmentTab.shownCase()[1]
    assert not result.GetDisplayNode().GetVisibility()
    assert tab.tab.loop.case.segmentation.GetDisplayNode().GetVisibility()
    tab.panel.choose(tab.tab.loop.case.volume)
    tab.panel.segment()
    own = tab.panel.widget.segmentTab.shownCase()[1]
    assert own.GetDisplayNode().GetVisibility(), "it was asked for"
    tab.tab.loop.leave()
    assert result.GetDisplayNode().GetVisibility()


@pytest.mark.slicer_only("the stand-in has no effects")
def test_the_tools_are_put_away_when_another_module_is_opened(tab, a_set):
    """Else Paint in the module Segment Editor would go on drawing in the open case."""
    import qt
    import slicer

    tab.tab.loop.open("a")
    editor = tab.ui.editorBox.findChild(qt.QWidget, "qMRMLSegmentEditorWidget")
    editor.setActiveEffectByName("Paint")
    assert editor.activeEffect() is not None
    slicer.util.selectModule("Data")
    slicer.util.selectModule("MISFM")
    assert editor.activeEffect() is None
    assert tab.tab.loop.case.name == "a"
    keys = [each.key.toString() for each in tab.ui.editorBox.findChildren(qt.QShortcut)]
    assert "Ctrl+Z" in keys


def test_people_who_share_a_set_are_led_to_cases_of_their_own(tab, a_set, monkeypatch):
    import getpass

    row = a_set.case("c")
    tab.tab.loop._rows = [dataclasses.replace(row, name=f"c{number}") for number in range(1000)]
    tab.ui.orderSelector.setCurrentIndex(tab.ui.orderSelector.findData("random"))
    following = []
    for who in ("Ada", "Ben", "Ada"):
        monkeypatch.setattr(getpass, "getuser", lambda who=who: who)
        following.append(tab.tab.loop._following()[0].name)
    assert following[0] == following[2], "after a restart it is the same again"
    assert following[0] != following[1]


@pytest.mark.parametrize("order", ["least sure", "in order"])
def test_a_case_that_somebody_else_has_open_comes_last(tab, a_set, order):
    from MISFMSlicer.Jobs.Order import claimOf

    tab.ui.orderSelector.setCurrentIndex(tab.ui.orderSelector.findData(order))
    theirs = claimOf(a_set, "c")
    theirs.renew()
    tab.ui.nextCaseButton.click()
    assert tab.tab.loop.case.name == "d"
    assert "somebody else" not in tab.ui.caseLabel.text
    tab.wait(lambda: sorted(claimed(a_set.folder / "open")) == ["c", "d"])
    tab.ui.leaveOutButton.click()
    assert claimed(a_set.folder / "open") == ["c"]
    tab.ui.nextCaseButton.click()
    assert tab.tab.loop.case.name == "c", "there is no other one"
    assert tab.ui.caseLabel.text.startswith("c is open, and somebody else has it open, too")
    theirs.release()
    tab.tab.loop.reopen()
    assert "somebody else" not in tab.ui.caseLabel.text, "no longer, nor is it we ourselves"


def test_labels_that_somebody_else_saved_are_replaced_only_when_the_user_says_so(tab, a_set, host):
    """Two annotators share a set on a network drive and are led to the same case."""
    loop = tab.tab.loop
    loop.open("c")
    draw_all_over(loop.case)
    theirs = a_set.label_map("a").read_bytes()
    a_set.save_labels("c", lambda path: path.write_bytes(theirs), who="Ada")
    host.dialogs.answer("No")
    tab.tab.done()
    assert "Ada" in host.dialogs.shown[-1].text
    assert (a_set.label_map("c").read_bytes(), loop.unsaved()) == (theirs, "c")
    host.dialogs.answer("Yes")
    tab.tab.done()
    assert a_set.label_map("c").read_bytes() != theirs
    loop.open("c")
    tab.tab.done()
    assert a_set.case("c").status == "checked", "nobody else was there: nothing to ask"


def test_what_is_copied_meanwhile_leaves_the_open_case(tab, a_set, host, tmp_path, monkeypatch):
    from MISFMSlicer.Panel import CollectView

    monkeypatch.setattr(CollectView, "Command", FakeCommand)
    TrainingSet.create(tmp_path / "new", LABELS)
    tab.tab.loop.open("a")
    draw_all_over(tab.tab.loop.case)
    view = tab.tab.setView
    for folder in (a_set.folder, tmp_path / "new"):  # a study for this set; another data set
        view._collecting.begin(tmp_path / "source", folder)
        if folder != a_set.folder:
            host.dialogs.answer("No")
        tab.panel.commands[-1].ended.emit(Finished({"set": str(folder)}))
        assert tab.tab.loop.unsaved() == "a"
        assert view.current == a_set
    selector = tab.ui.setSelector
    assert [selector.itemText(row) for row in (0, 1)] == ["organs", "new"]


def test_nothing_is_mended_behind_edits_that_are_not_kept(tab, a_set):
    tab.tab.loop.open("a")
    draw_all_over(tab.tab.loop.case)
    twins = {"code": "case-on-both-sides", "message": "", "cases": ["a", "b"]}
    tab.tab._problems.showList([twins])
    tab.tab._problems._offer(twins)
    mend(tab, "Leave b out")
    assert "changes that are not in the set yet" in tab.ui.finetuneNoticeLabel.text
    assert a_set.case("b").status == "corrected"


def keep_a_model(tab, a_set):
    """Give the set a model that proposes, as a training does."""
    tab.behave()
    tab.train()
    tab.wait(lambda: tab.shown("outcomeFrame"))
    tab.ui.keepButton.click()
    tab.panel.settle()


def test_the_loop_goes_from_case_to_case(tab, a_set, monkeypatch):
    tab.ui.afterBox.value = 0
    keep_a_model(tab, a_set)
    tab.wait(lambda: a_set.case("d").status == "proposed")
    assert a_set.case("c").model

    tab.ui.nextCaseButton.click()
    tab.panel.settle()
    assert tab.tab.loop.case.name == "c"
    assert tab.shown("doneButton")
    tab.ui.doneButton.click()
    tab.panel.settle()

    row = a_set.case("c")
    assert (row.status, row.split, row.changed_voxels, row.dice) == (
        "checked",
        "validation",
        0,
        1.0,
    )
    assert row.minutes is not None
    assert tab.tab.loop.case.name == "d", "the next proposal is on the screen at once"
    assert tab.shown("worthButton")
    tab.ui.leaveOutButton.click()
    tab.panel.settle()
    assert a_set.case("d").status == "left out"
    assert tab.ui.caseLabel.text == "All cases have labels."


def test_nobody_has_to_wait_for_a_proposal_to_the_end(tab, a_set):
    runner = tab.tab._proposals._runner
    runner.holds = True
    keep_a_model(tab, a_set)
    tab.ui.nextCaseButton.click()
    assert tab.ui.caseLabel.text == "Computing the proposal for c"
    tab.ui.cancelProposalButton.click()
    assert not tab.shown("cancelProposalButton")
    assert not tab.shown("proposalProgress")
    assert (tab.ui.caseLabel.text, tab.ui.nextCaseButton.enabled) == ("", True)
    runner.holds = False
    tab.wait(lambda: a_set.case("d").status == "proposed")
    assert tab.tab.loop.case is None
    assert not tab.shown("cancelProposalButton")
    tab.ui.nextCaseButton.click()
    assert tab.tab.loop.case.name == "c"


def draw_a_tumour(case):
    """Draw a structure that the set does not know into an open case; return where."""
    import slicer

    key = case.segmentation.GetSegmentation().AddEmptySegment("", "tumour")
    drawn = np.zeros(case.before.shape, np.uint8)
    drawn[1, 1, 1] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, case.segmentation, key, case.volume)
    return drawn


def test_a_structure_that_is_new_is_asked_for_and_then_a_label_of_the_set(tab, a_set, host):
    import slicer

    tab.tab.loop.open("c")
    drawn = draw_a_tumour(tab.tab.loop.case)
    host.dialogs.answer("No")
    tab.tab.done()
    assert "tumour" in host.dialogs.shown[-1].text
    assert (tab.tab.loop.unsaved(), a_set.labels) == ("c", LABELS)
    host.dialogs.answer("Yes")
    tab.tab.done()
    assert [label.name for label in a_set.labels] == [*(each.name for each in LABELS), "tumour"]
    assert (a_set.case("c").is_labelled, a_set.case("c").not_drawn) == (True, ())
    assert a_set.case("a").not_drawn == ("tumour",)
    node = slicer.util.loadLabelVolume(str(a_set.label_map("c")))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node) == 3, drawn)


@pytest.mark.parametrize("is_ticked", [False, True])
def test_the_label_of_a_renamed_segment_counts_as_not_drawn(tab, a_set, host, is_ticked):
    """Its voxels became another label, and the network learnt that it is not there."""
    tab.tab.loop.open("a")
    case = tab.tab.loop.case
    case.segmentation.GetSegmentation().GetSegment("Segment_2").SetName("upper spleen")
    case.segmentation.GetSegmentation().GetSegment("Segment_1").SetName("Left_Hippocampus")
    if is_ticked:
        tab.ui.notDrawnList.item(1).setCheckState(2)
    host.dialogs.answer("Yes")
    tab.tab.done()
    assert [label.name for label in a_set.labels[2:]] == ["upper spleen"]
    assert a_set.case("a").not_drawn == ("spleen",)

    tab.tab.loop.open("b")
    tab.tab.loop.case.segmentation.GetSegmentation().RemoveSegment("Segment_1")
    segment = tab.tab.loop.case.segmentation.GetSegmentation().GetSegment("Segment_2")
    segment.SetName("left hippocampus")
    tab.tab.done()
    assert "spleen" not in a_set.case("b").not_drawn, "it was called so by mistake: there is none"


def test_a_label_that_somebody_adds_meanwhile_keeps_its_number(tab, a_set, monkeypatch):
    """The question about a new label is open, and somebody else gives the set one."""
    from MISFMSlicer.Panel import Closing

    def ask(*_arguments, **_options):
        liver = label_config(3, "liver")
        a_set.set_labels([*LABELS, liver])
        return True

    tab.tab.loop.open("c")
    drawn = draw_a_tumour(tab.tab.loop.case)
    with monkeypatch.context() as asked:
        asked.setattr(Closing, "_ask", ask)
        tab.tab.done()
    assert "added liver" in tab.ui.finetuneNoticeLabel.text
    assert (tab.tab.loop.unsaved(), a_set.case("c").status) == ("c", "unlabelled")
    monkeypatch.setattr(Closing, "_ask", lambda *_arguments, **_options: True)
    tab.tab.done()
    names = [(label.value, label.name) for label in a_set.labels[2:]]
    assert names == [(3, "liver"), (4, "tumour")]
    np.testing.assert_array_equal(label_array(a_set, "c") == 4, drawn)


def test_what_is_drawn_later_counts_as_drawn(tab, a_set):
    """The tick that the case came with was kept, for which a training takes no voxel of it."""
    import slicer

    a_set.set_labels([*LABELS, label_config(3, "tumour")])
    assert a_set.case("a").not_drawn == ("tumour",)
    tab.tab._onSetChanged()
    tab.tab.loop.open("a")
    case = tab.tab.loop.case
    case.segmentation.GetSegmentation().RemoveSegment("Segment_3")
    drawn = draw_a_tumour(case)
    tab.tab.done()
    assert (label_array(a_set, "a") == 3).sum() == drawn.sum()
    assert a_set.case("a").not_drawn == ()

    tab.tab.loop.open("a")
    case = tab.tab.loop.case
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        np.roll(drawn, 3), case.segmentation, "Segment_1", case.volume
    )
    tab.ui.notDrawnList.item(0).setCheckState(2)
    tab.tab.done()
    assert a_set.case("a").not_drawn == (LABELS[0].name,), "who says so now is heard"


def test_a_full_disk_leaves_no_new_label_without_its_case(tab, a_set, host, monkeypatch):
    from MISFMSlicer.Scene import TrainingCases

    def refuse(*arguments):
        raise OSError(28, "No space left on device", str(arguments[-1]))

    tab.tab.loop.open("c")
    draw_a_tumour(tab.tab.loop.case)
    host.dialogs.answer("Yes")
    with monkeypatch.context() as full:
        full.setattr(TrainingCases, "writeLabelMap", refuse)
        tab.tab.done()
    assert "c.nii.gz" in tab.ui.finetuneNoticeLabel.text
    assert (a_set.labels, a_set.case("a").not_drawn) == (LABELS, ())
    host.dialogs.answer("Yes")
    tab.tab.done()
    assert [label.name for label in a_set.labels] == [*(each.name for each in LABELS), "tumour"]
    assert (a_set.case("c").is_labelled, a_set.case("c").not_drawn) == (True, ())


def test_the_labels_of_the_open_case_do_not_become_a_second_case(tab, a_set):
    """Add labels stands nearer than Done; the copy may be trained on and the case held out."""
    tab.tab.loop.open("c")
    tab.panel.choose(tab.tab.loop.case.volume)
    tab.ui.addSegmentationButton.click()
    assert tab.ui.finetuneNoticeLabel.text == "c is a case of this training set already."
    assert [row.name for row in a_set.cases()] == ["a", "b", "c", "d"]
    tab.tab.done()
    assert a_set.case("c").is_labelled
    assert not tab.shown("finetuneNoticeFrame")


def test_what_was_drawn_in_an_open_case_and_saved_with_the_scene_becomes_its_labels(
    tab, a_set, host, tmp_path
):
    """It was refused, and the case opened without what was drawn; nor may it be a second case."""
    import slicer

    tab.tab.loop.open("c")
    slicer.util.arrayFromVolume(tab.tab.loop.case.volume)[0, 0, 0] = 9
    slicer.util.saveNode(tab.tab.loop.case.volume, str(a_set.images("c")[0]))  # its image alone
    drawn = draw_a_tumour(tab.tab.loop.case)
    scene = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(scene)
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(scene)
    tab.panel.choose(slicer.util.getNode("c"))
    tab.ui.addSegmentationButton.click()
    table = tab.ui.mappingTable
    table.cellWidget(table.rowCount - 1, 1).setCurrentText("a new label")
    tab.ui.mappingAddButton.click()
    assert not tab.shown("finetuneNoticeFrame")
    assert [row.name for row in a_set.cases()] == ["a", "b", "c", "d"]
    assert a_set.case("c").is_labelled
    np.testing.assert_array_equal(label_array(a_set, "c") == 3, drawn)

    host.dialogs.answer("No")
    tab.ui.addSegmentationButton.click()
    assert "Its labels there can be replaced" in host.dialogs.shown[-1].text
    slicer.util.arrayFromVolume(slicer.util.getNode("c"))[1] += 1  # as by a filter
    tab.ui.addSegmentationButton.click()
    assert tab.ui.finetuneNoticeLabel.text == "c is a case of this training set already."


def test_a_correction_is_measured_and_saved(tab, a_set):
    import slicer

    tab.ui.afterBox.value = 0
    keep_a_model(tab, a_set)
    tab.wait(lambda: a_set.case("d").status == "proposed")
    tab.ui.nextCaseButton.click()
    case = tab.tab.loop.case
    array = (case.before == 2).astype(np.uint8)
    array[-1, -2:, -2:] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        array, case.segmentation, "Segment_2", case.volume
    )
    expected = case.array(LABELS)
    tab.ui.notDrawnList.item(0).setCheckState(2)
    tab.tab.done()

    row = a_set.case("c")
    assert row.status == "corrected"
    assert row.changed_voxels > 0
    assert row.not_drawn == ("left hippocampus",)
    node = slicer.util.loadLabelVolume(str(a_set.label_map("c")))
    assert np.array_equal(slicer.util.arrayFromVolume(node), expected)


def test_a_label_that_came_while_a_case_was_open_is_not_drawn_in_it(tab, a_set):
    """Else the network would learn that it is not there, as in all cases labelled before."""
    tab.tab.loop.open("a")
    a_set.set_labels([*LABELS, label_config(3, "liver")])
    tab.tab.done()
    assert [a_set.case(name).not_drawn for name in "ab"] == [("liver",), ("liver",)]


def test_after_some_corrections_the_training_goes_on_by_itself(tab, a_set):
    keep_a_model(tab, a_set)
    tab.ui.afterBox.value = 1
    tab.behave(**BETTER)
    tab.wait(lambda: a_set.case("d").status == "proposed")
    tab.ui.nextCaseButton.click()
    tab.ui.doneButton.click()
    assert tab.tab.train.training.job["config"]["init"] == "organs"
    tab.wait(lambda: "The proposals come from the new model now" in tab.ui.trainLabel.text)
    assert not tab.shown("outcomeFrame")
    assert tab.tab.loop.case.name == "d", "the open case is left alone"
    from MISFMLib.models.versions import list_versions

    assert len(list_versions("organs")) == 1
    tab.tab.outcome.showVersions()
    assert tab.shown("versionsButton")
    tab.ui.versionsButton.menu().aboutToShow.emit()
    (action,) = tab.ui.versionsButton.menu().actions()
    action.trigger()
    assert len(list_versions("organs")) == 2


def test_of_few_cases_the_better_mean_is_enough_for_proposals(tab):
    from MISFMSlicer.Panel.OutcomeView import gainText, isBetter, shallKeep

    assert isBetter(NO_BETTER)
    assert not shallKeep(NO_BETTER)
    assert gainText(NO_BETTER) == "Dice +0.001 on 4 held-out cases."
    worse = {**NO_BETTER, "comparison": {**NO_BETTER["comparison"], "gain": -0.01}}
    assert not isBetter(worse)
    assert isBetter({})


def test_a_case_without_a_proposal_opens_empty_when_there_is_no_model(tab, a_set):
    tab.ui.nextCaseButton.click()
    tab.panel.settle()
    assert tab.tab.loop.case.before.max() == 0
    assert "no model" in tab.ui.caseLabel.text or "open" in tab.ui.caseLabel.text


def test_a_case_whose_segmentation_is_deleted_is_closed_and_stays_as_it_was(tab, a_set):
    import slicer

    tab.tab.loop.open("a")
    case = tab.tab.loop.case
    slicer.mrmlScene.RemoveNode(case.segmentation)
    tab.wait(lambda: tab.tab.loop.case is None)
    assert "a was taken out of the scene" in tab.ui.caseLabel.text
    assert not tab.shown("doneButton")
    assert not slicer.mrmlScene.IsNodePresent(case.volume)
    assert a_set.case("a").status == "corrected"
    tab.tab.loop.open("a")
    assert (tab.tab.loop.case.before == case.before).all()


def test_what_was_drawn_stays_when_the_volume_of_its_case_is_deleted(tab, a_set):
    import slicer

    tab.tab.loop.open("a")
    case = tab.tab.loop.case
    slicer.mrmlScene.RemoveNode(case.volume)
    tab.wait(lambda: tab.tab.loop.case is None)
    assert slicer.mrmlScene.IsNodePresent(case.segmentation)
    assert case.segmentation.GetSegmentation().GetNumberOfSegments() == len(a_set.labels)
    assert "still in the scene, as a labels" in tab.ui.caseLabel.text
    tab.tab.loop.open("a")
    assert not case.segmentation.GetDisplayNode().GetVisibility()


def test_closing_the_scene_keeps_the_set(tab, a_set):
    import slicer

    keep_a_model(tab, a_set)
    tab.wait(lambda: a_set.case("c").status == "proposed")
    tab.ui.nextCaseButton.click()
    parts = ("notDrawnBox", "casePlacesBox", "editorBox", "doneButton")
    assert all(map(tab.shown, parts))
    tab.wait(lambda: claimed(a_set.folder / "open") == ["c"])
    slicer.mrmlScene.Clear(False)
    tab.panel.settle()
    assert tab.tab.loop.case is None
    assert claimed(a_set.folder / "open") == [], "who shares the set can be led to it"
    assert not any(map(tab.shown, parts))
    assert a_set.case("c").status == "proposed"
    tab.ui.nextCaseButton.click()
    assert tab.tab.loop.case.name == "c"


def test_volumes_are_added_and_those_that_cannot_be_read_are_named(
    tab, a_set, make_volume, tmp_path
):
    from MISFMLib.errors import DataError

    good, bad = a_file(make_volume, tmp_path / "good.nii.gz", 5), tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no")
    with pytest.raises(DataError, match=r"bad\.nii\.gz"):
        tab.tab.setView._files.add(a_set, [bad, good])
    assert a_set.case("good").status == "unlabelled"


def a_file(make_volume, path, value):
    """Write a volume that is told from others by a value; return the path."""
    import slicer

    volume = make_volume()
    slicer.util.arrayFromVolume(volume)[1] += value
    assert slicer.util.saveNode(volume, str(path))
    return path


def test_a_folder_that_has_grown_brings_its_new_volumes_alone(tab, a_set, make_volume, tmp_path):
    """All of them were chosen again, and each that had been added became a case once more."""
    from MISFMLib.errors import DataError

    paths = [a_file(make_volume, tmp_path / f"{index}.nii.gz", index) for index in range(1, 4)]
    tab.tab.setView._files.add(a_set, paths[:2])
    a_set.set_status("2", "left out")
    with pytest.raises(DataError, match="In the training set already: 1, 2 The other"):
        tab.tab.setView._files.add(a_set, paths)
    assert [row.name for row in a_set.cases()] == ["a", "b", "c", "d", "1", "2", "3"]


def test_a_data_set_from_elsewhere_is_copied_into_a_training_set(tab, a_set, tmp_path, monkeypatch):
    from MISFMSlicer.Panel import CollectView

    monkeypatch.setattr(CollectView, "Command", FakeCommand)
    tab.tab.setView._collecting.begin(tmp_path / "nnunet", tmp_path / "new")
    (command,) = tab.panel.commands
    assert command.words == ("collect", str(tmp_path / "nnunet"), "-o", str(tmp_path / "new"))
    assert "Copying the cases of nnunet" in tab.ui.setLabel.text
    TrainingSet.create(tmp_path / "new", LABELS)
    command.ended.emit(Finished({"set": str(tmp_path / "new"), "refused": {"x": "it is empty"}}))
    assert tab.tab.setView.current.name == "new"
    assert "x: it is empty" in tab.ui.finetuneNoticeLabel.text


def test_a_copy_that_fails_leaves_the_summary_of_the_set(tab, a_set, tmp_path, monkeypatch):
    from MISFMSlicer.Panel import CollectView

    monkeypatch.setattr(CollectView, "Command", FakeCommand)
    before = tab.ui.setLabel.text
    tab.tab.setView._collecting.begin(tmp_path / "nnunet", tmp_path / "new")
    (command,) = tab.panel.commands
    command.ended.emit(Failed("There is no label map.", "no-labels"))
    assert before
    assert tab.ui.setLabel.text == before
    assert "There is no label map." in tab.ui.finetuneNoticeLabel.text


def test_the_names_of_starts_fit_into_the_tab(tab, a_set):
    tab.panel.ui.tabs.setCurrentIndex(1)
    tab.panel.settle()
    selector = tab.ui.startSelector
    texts = [selector.itemText(index) for index in range(selector.count)]
    assert texts[0] == "General start (pretrained)"
    tip = selector.itemData(0, 3)
    assert tip == "General start, pretrained with Volume Fusion and masking"
    sizes = [selector.fontMetrics().boundingRect(text).width() for text in texts]
    assert max(sizes) < selector.width - selector.height  # with the arrow


def test_the_tab_is_narrow_enough(tab, a_set):
    assert tab.panel.widget.parent.minimumSizeHint.width() <= 400


def test_long_texts_make_the_tab_taller_and_not_wider(tab, a_set):
    tabs = tab.panel.ui.tabs
    tabs.setCurrentIndex(1)
    tab.panel.settle()
    page = tabs.currentWidget()
    before = page.sizeHint.width()
    for frame, label in (
        (tab.ui.channelsFrame, tab.ui.channelsLabel),
        (tab.ui.mappingFrame, tab.ui.mappingLabel),
    ):
        label.text = "These volumes show the same place. " * 20
        frame.visible = True
    tab.panel.settle()
    assert page.sizeHint.width() == before
    tab.wait(lambda: page.minimumHeight == page.layout().heightForWidth(page.width) > 0)


def test_the_forecast_tells_steps_and_memory_of_earlier_trainings(tab, a_set, monkeypatch):
    from MISFMSlicer.Panel import TrainingForm

    monkeypatch.setattr(TrainingForm, "free_bytes", lambda: 4e9)  # without psutil nobody knows
    form, folder = tab.tab.form, str(a_set.folder)
    assert "will tell how many steps" in tab.ui.trainLabel.text
    report = {"steps": 100, "training_seconds": 50.0, "peak_memory_bytes": 1.2e9}
    about = {"set": folder, "start": form.start, "name": "organs"}
    form.learn(about, report)
    assert "About 1200 steps" in form.forecast(folder)
    assert form.forecast(folder).endswith("It needs about 1.2 GB of memory.")
    form.learn(about, {"peak_memory_bytes": 9e9})
    assert form.forecast(folder).endswith("about 9.0 GB of memory, and only 4.0 GB are free.")


def test_how_fast_a_training_was_says_nothing_about_other_sets(tab, a_set, make_volume, tmp_path):
    """Left atria after hippocampi: steps were ten times as long, and none was a checkpoint."""
    form = tab.tab.form
    about = {"set": str(a_set.folder), "start": form.start, "name": "organs"}
    form.learn(about, {"steps": 6000, "training_seconds": 600.0})
    assert form.config(a_set, a_set.cases())["checkpoint_every"] == 600
    shutil.copytree(a_set.folder, tmp_path / "atria")
    tab.tab.setView._open(tmp_path / "atria")
    assert "will tell how many steps" in tab.ui.trainLabel.text
    other = tab.tab.setView.current
    assert form.config(other, other.cases())["checkpoint_every"] == 25


def test_what_is_new_is_scrolled_to(host):
    import qt
    from MISFMSlicer.Panel.Scrolling import bringIntoView

    area, page, button = qt.QScrollArea(), qt.QWidget(), qt.QPushButton("Keep")
    layout = qt.QVBoxLayout(page)
    space = qt.QWidget()
    space.setFixedHeight(2000)
    layout.addWidget(space)
    layout.addWidget(button)
    area.setWidget(page)
    area.resize(200, 200)
    area.show()
    bringIntoView(button)
    host.wait_until(lambda: area.verticalScrollBar().value > 1000)
    area.hide()
