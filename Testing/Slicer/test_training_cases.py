"""Cases of a training set in the scene, corrections, and curves."""

import math

import numpy as np
import pytest
from panel_fixtures import MODULE

from MISFMLib.errors import DataError
from MISFMLib.models.terminology import label_config

LABELS = (label_config(1, "left kidney"), label_config(2, "spleen"))


@pytest.fixture
def scene(host, load_module, make_volume):
    import slicer

    load_module(MODULE)
    slicer.mrmlScene.Clear(False)
    return slicer


def a_segmentation(slicer, volume, **boxes):
    """Make a segmentation with a segment for each slice range along k."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, (start, stop) in boxes.items():
        name = name.replace("_", " ")
        key = node.GetSegmentation().AddEmptySegment("", name)
        array = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
        array[start:stop, 2:5, 2:5] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, key, volume)
    return node


def test_image_and_labels_come_back_as_they_were_written(scene, make_volume, tmp_path):
    from MISFMSlicer.Scene.Export import writeLabelMap
    from MISFMSlicer.Scene.TrainingCases import labelArray, openCase, segmentNames, writeImage

    volume = make_volume()
    node = a_segmentation(scene, volume, left_kidney=(1, 3), spleen=(4, 6))
    values = {key: 1 if name == "left kidney" else 2 for key, name in segmentNames(node).items()}
    image, labels = tmp_path / "a.nii.gz", tmp_path / "l.nii.gz"
    writeImage(volume, image)
    array = labelArray(node, volume, values)
    writeLabelMap(array, volume, labels)

    case = openCase("a", [image], labels, LABELS)

    assert np.array_equal(case.before, array)
    assert np.array_equal(
        scene.util.arrayFromVolume(case.volume), scene.util.arrayFromVolume(volume)
    )
    assert case.volume.GetSpacing() == pytest.approx(volume.GetSpacing())
    assert case.volume.GetOrigin() == pytest.approx(volume.GetOrigin())
    assert list(segmentNames(case.segmentation).values()) == ["left kidney", "spleen"]
    case.close()
    assert not scene.mrmlScene.IsNodePresent(case.volume)


def test_many_labels_share_one_label_map_and_are_read_at_once(
    scene, make_volume, tmp_path, monkeypatch
):
    """One by one, a hundred labels of a trunk CT took minutes to open."""
    from MISFMSlicer.Scene import Masks
    from MISFMSlicer.Scene.Export import writeLabelMap
    from MISFMSlicer.Scene.TrainingCases import openCase, writeImage

    volume = make_volume()
    labels = tuple(label_config(value, f"organ {value}") for value in range(1, 101))
    array = np.zeros(scene.util.arrayFromVolume(volume).shape, np.uint8)
    array.ravel()[::7] = np.arange(array.ravel()[::7].size) % 99 + 1
    array[0, 0, 0] = 200  # which is no label of the set
    writeImage(volume, tmp_path / "a.nii.gz")
    writeLabelMap(array, volume, tmp_path / "l.nii.gz")
    monkeypatch.setattr(Masks, "maskOn", None)
    case = openCase("a", [tmp_path / "a.nii.gz"], tmp_path / "l.nii.gz", labels)
    array[0, 0, 0] = 0
    assert np.array_equal(case.before, array)
    assert len(case.values(labels)) == 100
    assert case.segmentation.GetSegmentation().GetNumberOfLayers("Binary labelmap") == 1
    key = list(case.values(labels))[41]
    drawn = np.zeros(array.shape, np.uint8)
    drawn[2, :4, :4] = 1
    scene.util.updateSegmentBinaryLabelmapFromArray(drawn, case.segmentation, key, case.volume)
    kept = np.where(array == 42, 0, array)
    with pytest.raises(DataError, match="overlap"):
        case.array(labels)
    drawn[kept != 0] = 0
    scene.util.updateSegmentBinaryLabelmapFromArray(drawn, case.segmentation, key, case.volume)
    assert np.array_equal(case.array(labels), np.where(drawn == 1, 42, kept))
    case.close()


def test_a_case_without_labels_has_an_empty_segment_for_each(scene, make_volume, tmp_path):
    from MISFMSlicer.Scene.TrainingCases import openCase, writeImage

    writeImage(make_volume(), tmp_path / "a.nii.gz")
    case = openCase("a", [tmp_path / "a.nii.gz"], None, LABELS)
    assert case.before.max() == 0
    assert len(case.values(LABELS)) == 2


def test_a_case_that_was_moved_in_the_scene_fits_its_file(scene, make_volume, tmp_path):
    """Someone hardens a transform of the volume and its segmentation to look at them."""
    from MISFMSlicer.Scene.Export import writeLabelMap
    from MISFMSlicer.Scene.TrainingCases import openCase, writeImage
    from MISFMSlicer.Scene.Transforms import ijkToRas

    image, labels, again = (tmp_path / f"{name}.nii.gz" for name in "ila")
    volume = make_volume()
    array = np.zeros(scene.util.arrayFromVolume(volume).shape, np.uint8)
    array[1:3, 2:5, 2:5] = 2
    writeImage(volume, image)
    writeLabelMap(array, volume, labels)
    case = openCase("a", [image], labels, LABELS)
    moved = np.eye(4)
    moved[0, 3] = 50.0
    transform = scene.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(scene.util.vtkMatrixFromArray(moved))
    for node in (case.volume, case.segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
        node.HardenTransform()

    case.write(case.array(LABELS), again)

    written = scene.util.loadLabelVolume(str(again))
    assert ijkToRas(written) == pytest.approx(ijkToRas(scene.util.loadVolume(str(image))))
    assert np.array_equal(scene.util.arrayFromVolume(written), array)
    scene.util.updateVolumeFromArray(case.volume, array[1:].astype(np.int16))
    with pytest.raises(DataError, match="another number of voxels"):
        case.array(LABELS)


def test_segments_that_overlap_are_refused_by_name(scene, make_volume):
    from MISFMSlicer.Scene.TrainingCases import labelArray, segmentNames

    volume = make_volume()
    node = a_segmentation(scene, volume, left_kidney=(1, 4), spleen=(3, 6))
    with pytest.raises(DataError, match="left kidney and spleen overlap"):
        labelArray(node, volume, dict(zip(segmentNames(node), (1, 2), strict=True)))


def test_a_segment_that_the_set_does_not_know_is_named(scene, make_volume, tmp_path):
    from MISFMSlicer.Scene.TrainingCases import OpenCase

    volume = make_volume()
    node = a_segmentation(scene, volume, left_kidney=(1, 3), lesion=(4, 6))
    case = OpenCase("a", (volume,), node, np.empty(0))
    with pytest.raises(DataError, match="no label lesion"):
        case.array(LABELS)


def test_a_case_whose_new_label_somebody_else_has_numbered_leaves_nothing(
    scene, make_volume, tmp_path, monkeypatch
):
    from MISFMSlicer.Scene import SceneCases

    from MISFMLib.annotation.training_set import TrainingSet

    made = TrainingSet.create(tmp_path / "set", LABELS)
    volume = make_volume(name="ct")
    node = a_segmentation(scene, volume, tumour=(1, 3))
    chosen = {node.GetSegmentation().GetNthSegmentID(0): SceneCases.NEW}
    write = SceneCases.writeLabelMap

    def write_slowly(*arguments):
        write(*arguments)
        made.set_labels([*LABELS, label_config(3, "liver")])

    monkeypatch.setattr(SceneCases, "writeLabelMap", write_slowly)
    with pytest.raises(DataError, match="added liver"):
        SceneCases.addCase(made, [volume], node, chosen)
    assert made.cases() == []
    assert list(made.folder.rglob("*.nii.gz")) == []
    monkeypatch.setattr(SceneCases, "writeLabelMap", write)
    row = SceneCases.addCase(made, [volume], node, chosen)
    assert (row.name, made.labels[-1].value) == ("ct", 4)


def test_a_correction_is_measured(scene):
    from MISFMSlicer.Scene.Corrections import compare

    before, after = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    assert compare(before, after).dice is None
    before[:2], after[:1] = 1, 1
    found = compare(before, after)
    assert found.changedVoxels == 16
    assert found.dice == pytest.approx(2 / 3)
    after[3] = 2
    assert compare(before, after).dice == pytest.approx(1 / 3)


def test_curves_are_a_table_series_and_a_chart(scene):
    from MISFMSlicer.Scene.PlotViews import Curves, curvesOf

    metrics = {10: {"loss": 1.0}, 20: {"loss": 0.5, "dice/liver": 0.25}}
    curves = Curves("Dice", "Step", "Dice")
    curves.update({}, [])
    assert curves.chart is None
    steps, columns = curvesOf(metrics, "dice/")
    assert (steps, columns) == ([20], {"liver": [0.25]})
    curves.update(columns, steps)
    curves.update({"liver": [0.25, math.nan], "spleen": [0.1, 0.2]}, [20, 30])

    assert curves.chart.GetNumberOfPlotSeriesNodes() == 2
    table = curves.table.GetTable()
    assert [table.GetColumnName(index) for index in range(3)] == ["Step", "liver", "spleen"]
    assert table.GetValueByName(1, "spleen").ToDouble() == 0.2
    curves.show()
    scene.mrmlScene.Clear(False)
    curves.update(columns, steps)
    assert curves.chart.GetNumberOfPlotSeriesNodes() == 1
    curves.remove()
    assert scene.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 0


def test_the_loss_keeps_its_name(scene):
    from MISFMSlicer.Scene.PlotViews import curvesOf

    assert curvesOf({1: {"loss": 2.0}}, "loss") == ([1], {"loss": [2.0]})


def test_a_case_that_is_read_from_an_unpacked_copy_belongs_to_its_own_file(
    scene, make_volume, tmp_path
):
    """The copy goes away; a scene that is saved meanwhile must not name it."""
    from MISFMSlicer.Scene.TrainingCases import openCase, writeImage

    image, copy = tmp_path / "a.nii.gz", tmp_path / "copy.nii"
    for path in (image, copy):
        writeImage(make_volume(), path)
    case = openCase("a", [image], None, LABELS, readFrom=lambda _path: copy)
    assert case.volume.GetName() == "a"
    assert case.volume.GetStorageNode().GetFileName() == image.as_posix()


@pytest.mark.parametrize("fix", ["resample", "remove"])
def test_mending_keeps_values_beyond_a_byte(scene, make_volume, tmp_path, fix):
    from MISFMSlicer.Scene.Export import writeLabelMap
    from MISFMSlicer.Scene.LabelFiles import removeVoxels, resampleToImage
    from MISFMSlicer.Scene.TrainingCases import writeImage

    from MISFMLib.annotation.training_set import TrainingSet

    a_set, volume = TrainingSet.create(tmp_path / "set", LABELS), make_volume()
    labels = np.zeros(scene.util.arrayFromVolume(volume).shape, np.int16)
    labels[1, 2, 3] = 300  # in a byte that is 44
    a_set.add_case("a", lambda path: writeImage(volume, path))
    a_set.save_labels("a", lambda path: writeLabelMap(labels, volume, path))

    if fix == "resample":
        resampleToImage(a_set, "a")
    else:
        removeVoxels(a_set, "a", [[1e6, 1e6, 1e6]])

    node = scene.util.loadLabelVolume(str(a_set.label_map("a")), {"show": False})
    assert np.array_equal(scene.util.arrayFromVolume(node), labels)
