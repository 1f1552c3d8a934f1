"""What a user changes in a result is known: to the box, to the table, to DICOM SEG and to Undo."""

import time

import numpy as np
import pytest
import vtk


@pytest.fixture
def segmented(panel, make_volume):
    """A finished result of two segments."""
    panel.choose(make_volume("oblique"))
    panel.segment()
    return panel.widget.segmentTab._result.job.result


def kinds(node):
    """What DICOM calls each segment."""
    from MISFMSlicer.Scene.Segmentations import segments

    found = {}
    for _, segment in segments(node.GetSegmentation()):
        kind, name = vtk.mutable(""), vtk.mutable("")
        segment.GetTag("DICOM.SegmentAlgorithmType", kind)
        segment.GetTag("DICOM.SegmentAlgorithmName", name)
        found[segment.GetName()] = (str(kind), str(name))
    return found


def first(node):
    return node.GetSegmentation().GetNthSegmentID(0)


def erase(node, slices=np.s_[:6]):
    """Erase some slices as a script does: without naming the segment."""
    import slicer

    volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, first(node), volume)
    array[slices] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, first(node), volume)
    return int(array.sum())


def test_a_result_is_automatic_and_names_model_and_version(segmented):
    assert set(kinds(segmented.segmentation).values()) == {("AUTOMATIC", "MISFM fake 1.2.3")}


def test_an_edited_result_is_measured_again_and_says_so(panel, segmented):
    import slicer

    before = {item.name: item for item in segmented.volumes}
    voxels = erase(segmented.segmentation)
    panel.widget.enter()
    panel.settle()
    after = {item.name: item for item in segmented.volumes}
    name = segmented.segmentation.GetSegmentation().GetNthSegment(0).GetName()
    assert after[name].voxels == voxels < before[name].voxels
    ratio = after[name].volumeMl / before[name].volumeMl
    assert ratio == pytest.approx(voxels / before[name].voxels, rel=1e-6)
    assert panel.ui.resultLabel.text.endswith("Edited since.")
    assert panel.ui.resultTable.item(0, 1).text() == f"{after[name].volumeMl:.2f}"
    column = slicer.util.arrayFromTableColumn(segmented.table, "Voxels")
    assert column[0] == voxels
    panel.segment()
    assert "Edited" not in panel.ui.resultLabel.text


def test_segments_of_one_name_have_a_row_and_a_volume_each(panel, segmented):
    """As after a copy from another segmentation in the module Segmentations: it keeps its name."""
    import slicer

    node = segmented.segmentation
    name = node.GetSegmentation().GetSegment(first(node)).GetName()
    copy = node.GetSegmentation().AddEmptySegment("copy", name)
    volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    corner = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    corner[:2, :2, :2] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(corner, node, copy, volume)
    names = [each.name for each in segmented.volumes]
    voxels = segmented.volumes[0].voxels
    panel.widget.enter()
    panel.settle()
    result, table = panel.widget.segmentTab._result, panel.ui.resultTable
    assert [each.name for each in segmented.volumes] == [name, *names]
    assert [each.voxels for each in segmented.volumes][:2] == [voxels, 8]
    assert list(slicer.util.arrayFromTableColumn(segmented.table, "Voxels"))[:2] == [voxels, 8]
    assert [table.item(row, 0).text() for row in range(2)] == [name, name]
    assert table.item(1, 1).toolTip() == "8 voxels"
    for row, segment_id in enumerate([first(node), copy]):
        table.selectRow(row)
        assert result._table.chosen(node.GetSegmentation()) == segment_id


def test_a_segment_that_is_copied_renamed_or_deleted_is_so_in_the_table(panel, segmented):
    """As in the modules Segmentations and Segment Editor, which change no voxel for it."""
    import slicer

    inside, other = segmented.segmentation.GetSegmentation(), slicer.vtkSegmentation()
    other.DeepCopy(inside)
    name, voxels = inside.GetNthSegment(0).GetName(), segmented.volumes[0].voxels
    rest = [(each.name, each.voxels) for each in segmented.volumes[1:]]

    def shown():
        panel.widget.enter()
        panel.settle()
        return [(each.name, each.voxels) for each in segmented.volumes]

    inside.CopySegmentFromSegmentation(other, other.GetNthSegmentID(0))
    assert shown() == [(name, voxels), (name, voxels), *rest]
    assert panel.ui.resultTable.rowCount == 2 + len(rest)
    inside.GetNthSegment(1).SetName("mine")
    assert shown() == [(name, voxels), *rest, ("mine", voxels)]
    inside.RemoveSegment(inside.GetNthSegmentID(0))
    assert shown() == [(name, 0), *rest, ("mine", voxels)]
    assert {kind for kind, _ in kinds(segmented.segmentation).values()} == {"AUTOMATIC"}


def test_many_segments_are_measured_as_fast_as_one_label_map_is_read(host, make_volume):
    import slicer
    from MISFMSlicer.Scene.Edits import measureAgain, voxelCount
    from MISFMSlicer.Scene.Masks import labelMapOf

    volume = make_volume(shape_kji=(64, 96, 96))
    slabs = np.zeros((64, 96, 96), np.uint8)
    for index in range(60):
        slabs[index, : index + 2] = index + 1
    labels = slicer.util.addVolumeFromArray(slabs, nodeClassName="vtkMRMLLabelMapVolumeNode")
    labels.CopyOrientation(volume)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, node)
    for index in range(60):
        node.GetSegmentation().GetNthSegment(index).SetName(f"slab {index}")
    over = node.GetSegmentation().AddEmptySegment("over all")  # in a label map of its own
    whole = np.ones_like(slabs)
    slicer.util.updateSegmentBinaryLabelmapFromArray(whole, node, over, volume)
    node.GetSegmentation().AddEmptySegment("empty")
    assert node.GetSegmentation().GetNumberOfLayers("Binary labelmap") == 2
    start = time.process_time()
    sizes = {each.name: each.voxels for each in measureAgain(node, ())}
    middle = time.process_time()
    ids = node.GetSegmentation().GetSegmentIDs()
    one_by_one = [voxelCount(labelMapOf(node, segment_id)) for segment_id in ids]
    end = time.process_time()
    assert list(sizes.values()) == one_by_one
    assert one_by_one == [96 * (index + 2) for index in range(60)] + [whole.size, 0]
    assert middle - start < (end - middle) / 3


def test_segment_editor_names_the_segment_and_undo_does_not(segmented):
    from MISFMSlicer.Scene.Edits import findEdits

    node = segmented.segmentation
    event = type(node.GetSegmentation()).SourceRepresentationModified
    erase(node)
    findEdits(node)
    types = [kind for kind, _ in kinds(node).values()]
    assert types[0] == "SEMIAUTOMATIC"
    assert set(types[1:]) <= {"AUTOMATIC"}
    assert event


def test_segmenting_again_makes_it_automatic_again(panel, segmented):
    from MISFMSlicer.Scene.Edits import findEdits

    node = segmented.segmentation
    erase(node)
    findEdits(node)
    panel.parameters.output = node
    panel.settle()
    panel.segment()
    assert {kind for kind, _ in kinds(node).values()} == {"AUTOMATIC"}
    panel.logic.restorePrevious(node)
    assert "SEMIAUTOMATIC" in {kind for kind, _ in kinds(node).values()}


def test_undo_in_segment_editor_takes_back_what_a_job_did(panel, segmented, monkeypatch):
    import types

    import slicer

    saved = []
    editor = types.SimpleNamespace(
        segmentationNode=lambda: segmented.segmentation, saveStateForUndo=lambda: saved.append(1)
    )
    widget = types.SimpleNamespace(editor=editor)
    monkeypatch.setattr(slicer.modules, "SegmentEditorWidget", widget, raising=False)
    panel.segment()
    assert saved == []  # into a segmentation of its own
    panel.parameters.output = segmented.segmentation
    panel.settle()
    panel.segment()
    assert saved == [1]
    panel.logic.restorePrevious(segmented.segmentation)
    assert saved == [1, 1]


def test_an_edited_result_with_surfaces_can_be_deleted_and_segmented_again(panel, make_volume):
    import slicer

    make_volume()
    panel.settle()
    for _ in range(2):
        panel.segment()
        node = panel.widget.segmentTab._result.job.result.segmentation
        panel.host.click(panel.ui.show3DButton)
        panel.settle()
        panel.widget.segmentTab._result.onEdited(node)
        slicer.mrmlScene.RemoveNode(node)
        panel.settle()
        panel.widget.segmentTab.refresh()
        panel.settle()
        assert not panel.shown("failureFrame"), panel.ui.failureLabel.text
