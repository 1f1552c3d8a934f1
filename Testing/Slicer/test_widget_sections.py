"""What is one click away in the panel: Options, Set-up, Export."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from panel_fixtures import plain_text

from MISFMLib.events import Failed, Finished


@pytest.fixture
def volume(panel, make_volume):
    """A volume that is chosen."""
    volume = make_volume(name="head", spacing_ijk=(1.0, 1.0, 1.0))
    panel.settle()
    return volume


def clipboard():
    import slicer

    return slicer.app.clipboard().text()


def config(panel):
    return panel.runner.jobs[-1]["config"]


# ---------------------------------------------------------------------------------------- options


def choose_device(panel, device):
    panel.ui.deviceSelector.setCurrentIndex(panel.ui.deviceSelector.findData(device))


def test_device_and_threads_are_kept_for_the_machine_and_go_to_the_library(panel, volume, settings):
    choose_device(panel, "cpu")
    panel.ui.threadsBox.value = 3
    panel.segment()
    assert (config(panel)["device"], config(panel)["threads"]) == ("cpu", 3)
    assert settings.value("MISFM/device") == "cpu"
    assert panel.parameters.node.GetParameter("device") == ""


def open_options(panel):
    panel.ui.optionsSection.collapsed = False
    panel.settle()


def test_devices_are_looked_for_once_and_only_when_the_options_open(panel):
    assert panel.commands == []
    for _ in range(2):
        open_options(panel)
        panel.ui.optionsSection.collapsed = True
    assert [command.words for command in panel.commands] == [("doctor",)]


def device(name, description, gigabytes, problem=""):
    size = gigabytes * 2**30
    return {
        "name": name,
        "description": description,
        "total_bytes": size,
        "free_bytes": size,
        "works": not problem,
        "problem": problem,
    }


def devices_in(panel):
    selector = panel.ui.deviceSelector
    return {selector.itemData(row): selector.itemText(row) for row in range(selector.count)}


def test_devices_are_listed_by_name_and_memory_and_remembered(panel, settings):
    choose_device(panel, "cuda:0")
    open_options(panel)
    found = [
        device("cuda:0", "NVIDIA RTX A6000", 48),
        device("cuda:1", "NVIDIA T4", 16, problem="no kernel image"),
        device("cpu", "AMD EPYC", 64),
    ]
    panel.commands[0].ended.emit(Finished({"devices": found}))
    expected = {"auto": "Automatic", "cuda:0": "NVIDIA RTX A6000 (48 GB)", "cpu": "CPU"}
    assert devices_in(panel) == expected
    assert panel.ui.deviceSelector.currentData == "cuda:0"
    assert "NVIDIA T4: no kernel image" in panel.ui.deviceSelector.toolTip
    slicer_reload(panel)
    assert devices_in(panel) == expected


def slicer_reload(panel):
    import slicer

    slicer.util.reloadScriptedModule("MISFM")
    panel.widget = slicer.modules.MISFMWidget
    panel.ui = panel.widget.ui


def test_two_gpus_of_one_kind_can_be_told_apart(panel):
    open_options(panel)
    found = [device(f"cuda:{index}", "NVIDIA T4", 16) for index in range(2)]
    panel.commands[0].ended.emit(Finished({"devices": found}))
    assert list(devices_in(panel).values())[1:] == [
        "NVIDIA T4 (16 GB), cuda:0",
        "NVIDIA T4 (16 GB), cuda:1",
    ]


def test_a_chosen_device_that_is_gone_stays_chosen_and_visible(panel, settings):
    settings.setValue("MISFM/device", "cuda:3")
    settings.setValue("MISFM/devices", "somebody has edited this")
    slicer_reload(panel)
    open_options(panel)
    panel.commands[-1].ended.emit(Finished({"devices": [device("cpu", "AMD EPYC", 64)]}))
    assert panel.ui.deviceSelector.currentData == "cuda:3"


def test_a_search_for_devices_that_fails_changes_nothing(panel):
    before = devices_in(panel)
    open_options(panel)
    panel.commands[0].ended.emit(Failed("No Python.", code="worker-not-started"))
    assert devices_in(panel) == before
    assert not panel.shown("failureFrame")


def test_nothing_is_looked_for_before_the_requirements_are_there(panel, requirements):
    open_options(panel)
    assert panel.commands == []


def test_the_region_choices_show_what_they_need_and_nothing_else(panel, volume):
    panel.ui.optionsSection.collapsed = False
    panel.settle()
    needed = {
        "": set(),
        "roi": {"roiSelector", "newRoiButton", "marginBox"},
        "segment": {"regionSegmentSelector", "marginBox"},
    }
    for kind, names in needed.items():
        panel.ui.regionSelector.setCurrentIndex(panel.ui.regionSelector.findData(kind))
        panel.settle()
        shown = {name for name in {"allFramesBox"}.union(*needed.values()) if panel.shown(name)}
        assert shown == names


def test_a_new_roi_is_as_large_as_the_volume(panel, volume):
    panel.ui.newRoiButton.click()
    panel.settle()
    roi = panel.ui.roiSelector.currentNode()
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    size = np.subtract(bounds[1::2], bounds[::2])
    np.testing.assert_allclose(roi.GetSize(), size)
    assert panel.parameters.roi is roi


def test_only_the_region_is_segmented(panel, volume):
    import slicer

    panel.ui.regionSelector.setCurrentIndex(1)
    panel.ui.newRoiButton.click()
    panel.parameters.roi.SetSize([6.0, 6.0, 6.0])
    panel.ui.marginBox.value = 0
    panel.settle()
    panel.segment()
    segmentation = panel.widget.segmentTab._result.job.result.segmentation
    segment_id = segmentation.GetSegmentation().GetNthSegmentID(0)
    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, volume)
    assert 0 < array.sum() <= 7**3


def test_a_run_inside_a_segment_is_forecast_as_the_whole_volume_and_not_learned_from(
    panel, volume, settings
):
    panel.segment()
    segmentation = panel.widget.segmentTab._result.job.result.segmentation
    with panel.parameters.changing():
        panel.parameters.regionKind = "segment"
        panel.parameters.regionSegmentation = segmentation
        panel.parameters.regionSegment = segmentation.GetSegmentation().GetNthSegmentID(0)
    panel.settle()
    tab = panel.widget.segmentTab
    request = tab._choices.request(tab._choices.model)
    work = tab._outlook.workload(request, tab._choices.model)
    assert work.voxels == volume.GetImageData().GetNumberOfPoints()
    learned = settings.value("MISFM/Forecast/rest@cpu")
    panel.segment()
    assert panel.shown("resultFrame")
    assert settings.value("MISFM/Forecast/rest@cpu") == learned


def test_an_existing_segmentation_is_updated_and_can_be_restored(panel, volume):
    panel.segment()
    first = panel.widget.segmentTab._result.job.result.segmentation
    first.GetSegmentation().GetNthSegment(0).SetName("mine")
    panel.ui.optionsSection.collapsed = False
    panel.ui.outputSelector.setCurrentNode(first)
    panel.settle()
    assert not panel.shown("restoreButton")
    panel.segment()
    assert "Restore previous" in panel.ui.nextLabel.text
    count = first.GetSegmentation().GetNumberOfSegments()
    assert panel.shown("restoreButton")
    panel.ui.restoreButton.click()
    assert first.GetSegmentation().GetNumberOfSegments() == count - 1


def test_what_is_deleted_is_not_replaced_by_another_node(panel, volume):
    """Else the next result would go into the segmentation of another patient, without a word."""
    import slicer

    def add(kind):
        nodes = [slicer.mrmlScene.AddNewNodeByClass(kind) for _ in range(3)]
        panel.settle()
        return nodes[1]

    ui, parameters = panel.ui, panel.parameters
    output, inside = add("vtkMRMLSegmentationNode"), add("vtkMRMLSegmentationNode")
    inside.GetSegmentation().AddEmptySegment("a")
    roi = add("vtkMRMLMarkupsROINode")
    ui.outputSelector.setCurrentNode(output)
    ui.roiSelector.setCurrentNode(roi)
    ui.regionSegmentSelector.setCurrentNode(inside)
    panel.settle()
    assert (parameters.output, parameters.roi) == (output, roi)
    assert parameters.regionSegmentation is inside
    for node, selector, name in (
        (output, ui.outputSelector, "output"),
        (roi, ui.roiSelector, "roi"),
        (inside, ui.regionSegmentSelector, "regionSegmentation"),
    ):
        slicer.mrmlScene.RemoveNode(node)
        panel.settle()
        assert getattr(parameters, name) is None
        assert selector.currentNode() is None
    other = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0]
    ui.outputSelector.setCurrentNode(other)
    panel.settle()
    assert parameters.output is other


def test_no_other_segment_is_chosen_in_place_of_one_that_is_deleted(panel, volume):
    import slicer

    ui, parameters = panel.ui, panel.parameters
    ui.optionsSection.collapsed = False
    panel.choose(volume)
    ui.regionSelector.setCurrentIndex(ui.regionSelector.findData("segment"))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    inside = node.GetSegmentation()
    first, second, third = (inside.AddEmptySegment("", name) for name in ("a", "b", "c"))
    ui.regionSegmentSelector.setCurrentNode(node)
    ui.regionSegmentSelector.setCurrentSegmentID(second)
    panel.settle()
    inside.RemoveSegment(first)
    panel.settle()
    assert (parameters.regionSegment, ui.segmentButton.enabled) == (second, True)
    inside.RemoveSegment(second)
    panel.settle()
    assert (parameters.regionSegmentation, parameters.regionSegment) == (node, "")
    assert ui.regionSegmentSelector.currentSegmentID() == ""
    assert not ui.segmentButton.enabled
    assert ui.statusLabel.text == "Select the segment in Options."
    ui.regionSegmentSelector.setCurrentSegmentID(third)
    panel.settle()
    assert (parameters.regionSegment, ui.segmentButton.enabled) == (third, True)


def test_frames_are_offered_for_sequences_only(panel, volume):
    import slicer

    panel.ui.optionsSection.collapsed = False
    panel.settle()
    assert not panel.shown("allFramesBox")
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    for index in range(2):
        sequence.SetDataNodeAtValue(volume, str(index))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(volume, sequence, False)
    panel.widget.segmentTab.refresh()
    assert panel.shown("allFramesBox")
    panel.ui.allFramesBox.click()
    panel.settle()
    panel.segment()
    assert len(config(panel)["images"]) == 2
    assert panel.ui.resultLabel.text.startswith("head: 2 frames segmented")


@pytest.mark.skipif(sys.platform == "win32", reason="quotes differ")
def test_the_command_does_what_is_chosen(panel, volume):
    volume.SetName("it's a head")
    choose_device(panel, "cpu")
    panel.ui.bestButton.click()
    panel.settle()
    panel.ui.copyCommandButton.click()
    assert clipboard() == (
        "misfm segment 'it'\"'\"'s a head.nii.gz' --model hippocampus-mr "
        "--output segmentation.seg.nrrd --mirroring --device cpu"
    )
    expected = "The command is in the clipboard, but save the volume as it's a head.nii.gz first."
    assert panel.ui.statusLabel.text == expected


def test_the_command_names_the_file_that_a_volume_was_loaded_from(panel, volume, tmp_path):
    import slicer

    path = tmp_path / "scan.nrrd"
    slicer.util.saveNode(volume, str(path), {})
    panel.ui.copyCommandButton.click()
    assert str(path) in clipboard()
    assert panel.ui.statusLabel.text == "The command is in the clipboard."
    slicer.util.arrayFromVolume(volume)[0] = 0
    slicer.util.arrayFromVolumeModified(volume)
    panel.ui.copyCommandButton.click()
    assert str(path) not in clipboard()


def test_the_command_names_the_folder_of_a_volume_in_several_files(panel, tmp_path):
    from MISFMSlicer.Job import SegmentRequest
    from MISFMSlicer.Jobs.CommandLine import leftOut, segmentCommand

    first = tmp_path / "1.dcm"
    first.touch()
    storage = SimpleNamespace(
        GetFullNameFromFileName=lambda: str(first), GetNumberOfFileNames=lambda: 2
    )
    volume = SimpleNamespace(GetStorageNode=lambda: storage, GetModifiedSinceRead=lambda: False)
    request = SegmentRequest((volume,), "lung-ct")
    assert f"segment {tmp_path} --model lung-ct" in segmentCommand(request)
    assert leftOut(request) == ""


def test_what_the_command_leaves_out_is_told(panel, volume):
    panel.ui.regionSelector.setCurrentIndex(1)
    panel.ui.newRoiButton.click()
    panel.ui.uncertaintyBox.click()
    panel.parameters.allFrames = True
    panel.settle()
    panel.ui.copyCommandButton.click()
    assert panel.ui.statusLabel.text == (
        "The command is in the clipboard, but it segments the whole volume, not the region; it"
        " segments one frame, not the sequence; save the volume as head.nii.gz first."
    )
    assert "--uncertainty segmentation-uncertainty.nrrd" in clipboard()


# ----------------------------------------------------------------------------------------- set-up


@pytest.fixture
def requirements(panel, monkeypatch):
    """Requirements of which one is missing; the list of what was installed."""
    from MISFMSlicer.Setup import Requirements

    Status, Requirement = Requirements.Status, Requirements.Requirement
    installed = []

    def check():
        lines = [
            Requirement("library", "Library", Status.GREEN, "0.1.0"),
            Requirement("priority", "Priority", Status.AMBER, "low"),
        ]
        if not installed:
            lines.append(
                Requirement("pytorch", "PyTorch", Status.RED, "missing", lambda: fix(), "pip x")
            )
        return lines

    def fix():
        installed.append("pytorch")

    monkeypatch.setattr(Requirements, "checkRequirements", check)
    monkeypatch.setattr(
        Requirements,
        "missingRequirements",
        lambda: [line for line in check() if line.status is Status.RED],
    )
    return installed


def rows(panel):
    """Return status and text of each line, and whether it has a button."""
    layout = panel.ui.requirements.layout()
    lines = []
    for row in range(layout.rowCount()):
        items = [layout.itemAtPosition(row, column) for column in range(3)]
        if items[0] is not None:
            icon, text, button = (item.widget() if item is not None else None for item in items)
            lines.append((plain_text(icon.toolTip), text.text, button is not None))
    return lines


def test_each_requirement_has_a_colour_and_what_is_missing_a_button(panel, requirements):
    panel.ui.setupSection.collapsed = False
    panel.settle()
    assert rows(panel) == [
        ("in order", "Library: 0.1.0", False),
        ("works, but could be better", "Priority: low", False),
        ("missing", "PyTorch: missing", True),
    ]
    button = panel.ui.requirements.layout().itemAtPosition(2, 2).widget()
    assert plain_text(button.toolTip) == "pip x"
    button.click()
    panel.settle()
    assert requirements == ["pytorch"]
    assert len(rows(panel)) == 2


def test_the_first_segment_asks_once_and_installs(panel, volume, requirements, host):
    host.dialogs.answer("Ok")
    panel.segment()
    (asked,) = host.dialogs.shown
    assert "PyTorch" in asked.text
    assert requirements == ["pytorch"]
    assert panel.shown("resultFrame")
    panel.segment()
    assert len(host.dialogs.shown) == 1


def test_the_line_says_before_the_click_that_something_will_be_installed(
    panel, volume, requirements
):
    panel.widget.enter()
    panel.settle()
    assert panel.ui.statusLabel.text == "Before the first run Segment will ask to install PyTorch."
    assert panel.ui.segmentButton.enabled


def test_who_does_not_want_to_install_is_left_alone(panel, volume, requirements, host):
    host.dialogs.answer("Cancel")
    panel.ui.segmentButton.click()
    panel.settle()
    assert requirements == []
    assert panel.logic.jobs == ()
    assert panel.ui.segmentButton.enabled


def test_an_installation_that_fails_is_told_with_the_command(panel, volume, host, monkeypatch):
    from MISFMSlicer.Setup import Requirements

    from MISFMLib.errors import DependencyError

    def fail(missing):
        raise DependencyError("PyTorch: no network.", code="install", remedy="Run pip x.")

    missing = [Requirements.Requirement("pytorch", "PyTorch", Requirements.Status.RED, "missing")]
    monkeypatch.setattr(Requirements, "missingRequirements", lambda: missing)
    monkeypatch.setattr(Requirements, "installRequirements", fail)
    host.dialogs.answer("Ok")
    panel.ui.segmentButton.click()
    assert panel.ui.failureLabel.text == "PyTorch: no network."
    assert panel.ui.remedyLabel.text == "Run pip x."


@pytest.fixture
def fake_python(monkeypatch, tmp_path):
    """Let the self-check talk to a shell script that prints one line."""

    def install(line, code=0):
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\necho '{json.dumps(line)}'\nexit {code}\n")
        script.chmod(0o755)
        monkeypatch.setenv("MISFM_PYTHON", str(script))

    return install


def check(panel):
    panel.ui.setupSection.collapsed = False
    panel.ui.selfCheckButton.click()
    assert not panel.ui.selfCheckButton.enabled
    panel.host.wait_until(lambda: panel.ui.selfCheckButton.enabled)
    return panel.ui.selfCheckLabel.text


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for Python")
def test_the_self_check_says_that_it_works(panel, fake_python):
    report = {"seconds": 3.2, "device": "cpu", "dice": {"a": 0.9, "b": 0.8}}
    fake_python({"event": "Finished", "report": report})
    text = check(panel)
    assert text == "Works: a sample was segmented in 3 s on the CPU, mean Dice 0.85."


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for Python")
def test_a_self_check_with_a_wrong_result_fails(panel, fake_python):
    report = {"seconds": 3.2, "device": "cpu", "dice": {"a": 0.1, "b": 0.2}}
    fake_python({"event": "Finished", "report": report})
    assert "segmented wrongly (mean Dice 0.15)" in check(panel)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for Python")
def test_a_self_check_whose_program_ends_at_once_fails(panel, fake_python):
    fake_python({"hello": "world"}, code=3)
    assert check(panel).startswith("The self-check failed.")


def test_memory_can_be_freed_while_a_worker_waits(panel, make_volume):
    panel.ui.setupSection.collapsed = False
    panel.settle()
    assert not panel.ui.releaseButton.enabled
    make_volume()
    panel.settle()
    panel.segment()
    panel.widget.segmentTab._setup.refresh()
    panel.ui.releaseButton.click()
    assert panel.runner.calls[-1] == ("release", None)


def test_open_logs_shows_the_folder_of_the_runs_logs(panel, monkeypatch, tmp_path):
    from MISFMSlicer.Panel import SetupView

    opened = []
    fake = SimpleNamespace(
        QDesktopServices=SimpleNamespace(openUrl=opened.append),
        QUrl=SimpleNamespace(fromLocalFile=lambda path: path),
    )
    monkeypatch.setattr(SetupView, "qt", fake)
    panel.ui.logButton.click()
    assert opened == [str(tmp_path / "home" / "logs")]
    assert Path(opened[0]).is_dir()


# ----------------------------------------------------------------------------- edit and export


def test_edit_opens_the_segment_editor_on_the_result_and_its_volume(panel, volume, monkeypatch):
    import slicer

    heard = []
    editor = SimpleNamespace(
        setSegmentationNode=lambda node: heard.append(node),
        setSourceVolumeNode=lambda node: heard.append(node),
    )
    monkeypatch.setattr(slicer.util, "selectModule", heard.append)
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: SimpleNamespace(editor=editor))
    panel.segment()
    panel.ui.editButton.click()
    segmentation = panel.widget.segmentTab._result.job.result.segmentation
    assert heard == ["SegmentEditor", segmentation, volume]


@pytest.fixture
def exported(monkeypatch):
    """Stand-ins for the exports; what they were called with."""
    from MISFMSlicer.Scene import DicomSeg, Export

    calls = []

    def stand_in(name):
        def export(*arguments):
            calls.append((name, arguments))
            return [Path(arguments[-1]) / "file"]

        return export

    for module, name in (
        (Export, "exportNifti"),
        (Export, "exportStl"),
        (DicomSeg, "exportDicomSeg"),
    ):
        monkeypatch.setattr(module, name, stand_in(name))
    return calls


def test_each_export_asks_where_and_says_what_was_written(panel, volume, host, exported, tmp_path):
    volume.SetAttribute("DICOM.instanceUIDs", "1.2")
    panel.segment()
    result = panel.widget.segmentTab._result
    for slot in (result._onExportNifti, result._onExportStl, result._onExportDicom):
        host.dialogs.answer(str(tmp_path))
        slot()
        assert panel.ui.nextLabel.text.startswith(f"Written to {tmp_path}: file")
    assert panel.ui.nextLabel.text.endswith("DICOM database too.")
    segmentation = result.job.result.segmentation
    assert [name for name, _ in exported] == ["exportNifti", "exportStl", "exportDicomSeg"]
    assert all(arguments[0] is segmentation for _, arguments in exported)


def test_dicom_is_offered_only_for_volumes_from_dicom(panel, volume):
    panel.segment()
    assert not panel.widget.segmentTab._result._dicomAction.enabled
    volume.SetAttribute("DICOM.instanceUIDs", "1.2")
    panel.segment()
    assert panel.widget.segmentTab._result._dicomAction.enabled


def test_structures_that_the_3d_view_shrinks_are_named(panel, volume):
    panel.segment()
    assert not panel.shown("resultNoticeLabel")
    panel.host.click(panel.ui.show3DButton)
    panel.settle()
    segmentation = panel.widget.segmentTab._result.job.result.segmentation
    segmentation.CreateClosedSurfaceRepresentation()
    panel.widget.segmentTab._result._on3DToggled(True)
    assert "left hippocampus" in panel.ui.resultNoticeLabel.text
    assert "%" in panel.ui.resultNoticeLabel.text


def test_a_missing_converter_is_offered_and_installed(panel, volume, host, monkeypatch, tmp_path):
    from MISFMSlicer.Scene import DicomSeg
    from MISFMSlicer.Setup import Installer

    from MISFMLib.errors import DependencyError

    installed = []

    def export(*_arguments):
        if not installed:
            raise DependencyError("dcmqi is missing.", code="missing-package", remedy="Install it.")
        return [tmp_path / "file"]

    monkeypatch.setattr(DicomSeg, "exportDicomSeg", export)
    monkeypatch.setattr(
        Installer, "installPackages", lambda names, _command: installed.extend(names)
    )
    volume.SetAttribute("DICOM.instanceUIDs", "1.2")
    panel.segment()
    result = panel.widget.segmentTab._result
    host.dialogs.answer(str(tmp_path))
    host.dialogs.answer("Cancel")
    result._onExportDicom()
    assert panel.ui.failureLabel.text == "dcmqi is missing."
    assert installed == []
    host.dialogs.answer(str(tmp_path))
    host.dialogs.answer("Ok")
    result._onExportDicom()
    assert installed == ["dcmqi"]
    assert panel.ui.nextLabel.text.startswith("Written")
