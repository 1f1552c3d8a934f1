"""Cases of several volumes: which belong together, one grid, one answer."""

import json

import numpy as np
import pytest
from tab_fixtures import LABELS

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import DataError


def a_segmentation(volume, name="spleen"):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    key = node.GetSegmentation().AddEmptySegment(name, name)
    mask = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    mask[2:5, 3:6, 4:8] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, key, volume)
    return node


def voxels(path):
    import slicer

    node = slicer.util.loadVolume(str(path), {"show": False})
    array = slicer.util.arrayFromVolume(node).copy()
    slicer.mrmlScene.RemoveNode(node)
    return array


def a_ramp(shape_kji, spacing_mm, origin=(0.0, 0.0, 0.0), name="ramp"):
    """A volume whose values are R + 10 A + 100 S of each voxel's centre."""
    import slicer

    grid = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    grid[:3, 3] = origin
    k, j, i = np.meshgrid(*map(np.arange, shape_kji), indexing="ij")
    ras = np.stack([i, j, k, np.ones_like(i)], -1) @ grid.T
    array = (ras @ [1, 10, 100, 0]).astype(np.float32)
    return slicer.util.addVolumeFromArray(array, ijkToRAS=grid, name=name)


def moved(node, *, right=0.0):
    import slicer

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[0, 3] = right
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())


def test_the_first_case_settles_what_all_consist_of_and_the_next_are_found_by_name(
    tab,
    make_volume,
):
    """Volumes of the first patient stay in the scene; names tell the two apart."""
    import slicer

    first, second = make_volume(name="p1_T1w"), make_volume(name="p1_FLAIR")
    slicer.util.arrayFromVolume(second)[:] += 1000
    a_segmentation(first)
    tab.panel.choose(first)
    tab.ui.addSegmentationButton.click()

    assert tab.shown("channelsFrame")
    table = tab.ui.channelsTable
    assert [table.cellWidget(row, 1).text for row in (0, 1)] == ["T1W", "FLAIR"]
    assert tab.tab.setView.current.cases() == []
    table.cellWidget(1, 0).checked = True
    tab.ui.channelsAddButton.click()

    made = tab.tab.setView.current
    assert not tab.shown("channelsFrame")
    assert made.channels == ("T1W", "FLAIR")
    assert [(row.name, row.is_labelled) for row in made.cases()] == [("p1", True)]
    t1, flair = map(voxels, made.images("p1"))
    assert np.array_equal(flair, t1 + 1000)

    for name in ("p2_flair", "p2_t1w"):
        slicer.util.arrayFromVolume(make_volume(name=name))[:] += 500
    a_segmentation(slicer.util.getNode("p2_flair"))
    tab.panel.choose(slicer.util.getNode("p2_flair"))
    tab.ui.addSegmentationButton.click()
    names = [tab.ui.channelsTable.cellWidget(row, 1).currentText for row in (0, 1)]
    assert names == ["p2_t1w", "p2_flair"]
    tab.ui.channelsAddButton.click()
    assert [row.name for row in made.cases()] == ["p1", "p2"]


def test_who_ticks_nothing_gets_cases_of_one_volume_and_is_not_asked_again(
    tab,
    make_volume,
):
    import slicer

    first, other = make_volume(name="a"), make_volume(name="b")
    slicer.util.arrayFromVolume(other)[:] += 1000
    a_segmentation(first)
    tab.panel.choose(first)
    tab.ui.addSegmentationButton.click()
    tab.ui.channelsAddButton.click()
    assert len(tab.tab.setView.current.channels) == 1
    a_segmentation(other)
    tab.panel.choose(other)
    tab.ui.addSegmentationButton.click()
    assert not tab.shown("channelsFrame")
    assert [row.name for row in tab.tab.setView.current.cases()] == ["a", "b"]


def test_what_is_not_decided_or_double_or_gone_cannot_be_added(tab, make_volume, tmp_path):
    import slicer

    first, second = make_volume(name="x"), make_volume(name="y")
    tab.tab.setView._use(TrainingSet.create(tmp_path / "of-two", channels=("T1", "T2")))
    a_segmentation(first)
    tab.panel.choose(first)
    tab.ui.addSegmentationButton.click()
    combos = [tab.ui.channelsTable.cellWidget(row, 1) for row in (0, 1)]
    button = tab.ui.channelsAddButton
    assert not button.enabled
    for combo in combos:
        combo.setCurrentIndex(combo.findData(first.GetID()))
    assert not button.enabled
    assert "twice" in button.toolTip
    combos[1].setCurrentIndex(combos[1].findData(second.GetID()))
    assert button.enabled
    slicer.mrmlScene.RemoveNode(second)
    button.click()
    assert "removed from the scene" in button.toolTip
    slicer.mrmlScene.Clear()
    assert not tab.shown("channelsFrame")
    assert tab.tab.setView.current.cases() == []


def test_a_volume_on_another_grid_is_resampled_onto_the_first(host, tmp_path):
    from MISFMSlicer.Scene.Channels import covered, isOnGridOf, writeChannel

    fine = a_ramp((12, 14, 16), 1.0)
    coarse = a_ramp((10, 10, 10), 2.0, origin=(-2.0, -2.0, -2.0))
    moved(coarse, right=4.0)
    assert not isOnGridOf(coarse, fine)
    assert covered(fine, coarse) == pytest.approx(1 - 0.15, abs=0.1)

    writeChannel(fine, fine, tmp_path / "a.nii.gz")
    writeChannel(coarse, fine, tmp_path / "b.nii.gz")

    expected, written = map(voxels, (tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"))
    assert written.dtype == expected.dtype
    # The other volume was moved by 4 mm to the right, its values with it.
    assert np.abs(written - (expected - 4.0))[:, :, 2:].max() < 1e-3
    assert (written[:, :, 0] == voxels_lowest(coarse)).all()


def voxels_lowest(volume):
    import slicer

    return slicer.util.arrayFromVolume(volume).min()


def test_the_same_places_under_other_transforms_keep_their_voxels(host, tmp_path):
    from MISFMSlicer.Scene.Channels import isOnGridOf, writeChannel

    first = a_ramp((5, 6, 7), 1.0)
    other = a_ramp((5, 6, 7), 1.0, origin=(3.0, 0.0, 0.0))
    moved(other, right=-3.0)
    assert isOnGridOf(other, first)
    for name, volume in (("a", first), ("b", other)):
        writeChannel(volume, first, tmp_path / f"{name}.nii.gz")
    assert np.array_equal(voxels(tmp_path / "b.nii.gz"), voxels(tmp_path / "a.nii.gz") + 3)


def test_the_question_tells_how_much_of_the_first_volume_is_covered(tab):
    first = a_ramp((12, 14, 16), 1.0, name="ct")
    a_ramp((12, 14, 10), 1.0, origin=(0.5, 0.0, 0.0), name="mr")
    a_segmentation(first)
    tab.panel.choose(first)
    tab.ui.addSegmentationButton.click()
    assert "another grid" not in tab.ui.channelsLabel.text
    tab.ui.channelsTable.cellWidget(1, 0).checked = True
    assert "mr lies on another grid than ct and covers" in tab.ui.channelsLabel.text

    view = tab.tab.setView
    view._use(TrainingSet.create(view.current.folder.with_name("another")))
    assert not tab.shown("channelsFrame")  # else the case would go into the set before


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["12: AX T2 FLAIR", "7: SAG T1 post"], ["T2 FLAIR", "T1"]),
        (["pat_dixon_in", "pat_dixon_opp"], ["in", "opp"]),
        (["a_0000", "a_0001"], ["image 1", "image 2"]),
        (["CT", "CT"], ["image 1", "image 2"]),
    ],
)
def test_what_a_volume_is_is_guessed_from_its_name(host, names, kinds):
    from MISFMSlicer.Scene.Channels import kindsOf

    assert kindsOf(names) == kinds


def test_the_case_is_named_by_what_its_volumes_share(host):
    from MISFMSlicer.Scene.Channels import caseName

    assert caseName(["p1_T1", "p1_T2"]) == "p1"
    assert caseName(["T1", "FLAIR"]) == "T1"
    assert caseName(["p1_T1"]) == "p1_T1"


def test_a_bent_volume_is_no_case(host, make_volume, tmp_path):
    import slicer
    from MISFMSlicer.Scene.SceneCases import addCase

    volume = make_volume()
    bent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    volume.SetAndObserveTransformNodeID(bent.GetID())
    made = TrainingSet.create(tmp_path / "set", LABELS)
    with pytest.raises(DataError, match="non-linear") as caught:
        addCase(made, [volume], a_segmentation(volume), {})
    assert caught.value.code == "volume-bent"
    assert made.cases() == []


def of_two(tab, make_volume, folder):
    """Make a set of T1 and T2 with a labelled case and one without."""
    from MISFMSlicer.Scene.Export import writeLabelMap
    from MISFMSlicer.Scene.TrainingCases import writeImage

    made = TrainingSet.create(folder, LABELS, channels=("T1", "T2"))
    volume = make_volume()
    writes = [lambda path: writeImage(volume, path)] * 2
    array = np.zeros((12, 16, 20), np.uint8)
    array[1:3, 2:5, 2:5] = 2
    for name in ("a", "b"):
        made.add_case(name, *writes)
    made.save_labels("a", lambda path: writeLabelMap(array, volume, path))
    tab.tab.setView._use(made)
    return made


def test_a_case_of_two_volumes_opens_with_both_and_is_corrected(
    tab,
    make_volume,
    tmp_path,
):
    import slicer

    made = of_two(tab, make_volume, tmp_path / "set")
    tab.tab.loop.open("a")
    case = tab.tab.loop.case
    assert [volume.GetName() for volume in case.volumes] == ["a T1", "a T2"]
    assert (case.before == 2).sum() == 2 * 3 * 3
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {each.GetForegroundVolumeID() for each in composites} == {case.volumes[1].GetID()}
    assert {each.GetForegroundOpacity() for each in composites} == {0.0}
    tab.ui.doneButton.click()
    assert made.case("a").status == "checked"
    assert not slicer.mrmlScene.IsNodePresent(case.volumes[1])


def test_the_model_that_proposes_sees_all_volumes(tab, make_volume, tmp_path):
    made = of_two(tab, make_volume, tmp_path / "set")
    proposals = tab.tab._proposals
    proposals._set, proposals._sha = made, "x"
    jobs = []
    proposals._runner.start = lambda path: jobs.append(json.loads(path.read_text()))
    proposals._start("b")
    assert jobs[0]["config"]["images"] == [",".join(map(str, made.images("b")))]
    proposals._stop()


def test_files_are_put_together_by_their_names_and_shown_before(
    tab,
    make_volume,
    tmp_path,
):
    import slicer

    made = of_two(tab, make_volume, tmp_path / "set")
    other = make_volume(name="other")
    slicer.util.arrayFromVolume(other)[:] += 5000
    for name in ("c_T1", "c_T2", "d_T1"):
        assert slicer.util.saveNode(other, str(tmp_path / f"{name}.nii.gz"))
    paths = sorted(tmp_path.glob("*.nii.gz"))
    files = tab.tab.setView._files

    tab.panel.host.dialogs.answer("Cancel")
    files.add(made, paths)
    assert [row.name for row in made.cases()] == ["a", "b"]

    tab.panel.host.dialogs.answer("Ok")
    with pytest.raises(DataError, match=r"d_T1\.nii\.gz: the other volumes") as caught:
        files.add(made, paths)
    assert "T1, T2" in caught.value.remedy
    assert [row.name for row in made.cases()] == ["a", "b", "c"]
    assert len([path for path in made.images("c") if path.exists()]) == 2


def test_segment_gets_all_channels_on_the_grid_of_the_first(host, tmp_path):
    from MISFMSlicer.Job import SegmentRequest
    from MISFMSlicer.Jobs.SegmentTask import SegmentTask, checkRequest
    from MISFMSlicer.Scene.Channels import gridTexts

    fine, coarse = a_ramp((12, 14, 16), 1.0, name="ct"), a_ramp((8, 9, 10), 2.0, name="mr")
    request = SegmentRequest((fine, coarse), "two-channels")
    checkRequest(request)
    (text,) = gridTexts(request.volumes)
    assert text == "mr lies on another grid than ct: it is resampled to that."
    task = SegmentTask(request)
    list(task.write())
    first, second = (voxels(task.folder / f"frame0000-{channel}.nrrd") for channel in (0, 1))
    task.remove()
    assert np.abs(second - first).max() < 1e-3


def test_only_a_model_for_as_many_volumes_proposes(tab, monkeypatch, tmp_path):
    from types import SimpleNamespace

    from MISFMSlicer.Setup import ProposingModels

    made = TrainingSet.create(tmp_path / "of-two", LABELS, channels=("T1", "T2"))
    preprocessing = SimpleNamespace(channels=("image",))
    manifest = SimpleNamespace(labels=LABELS, preprocessing=preprocessing)
    found = SimpleNamespace(manifest=manifest)
    monkeypatch.setattr(ProposingModels.store, "find_model", lambda _name: found)
    models = ProposingModels.ProposingModels()
    assert models.of(made, "one-volume") == ""
    preprocessing.channels = ("T1", "T2")
    assert models.of(made, "two-volumes") == "two-volumes"
