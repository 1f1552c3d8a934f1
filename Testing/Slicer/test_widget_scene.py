"""The panel through what happens to the scene and the application around it."""

import sys

import pytest

from MISFMLib.events import Progress


@pytest.fixture
def running(panel, make_volume):
    """A job that is under way and does not end by itself."""
    make_volume(name="first")
    panel.settle()
    panel.runner.holds = True
    panel.start()
    assert panel.logic.jobs
    return panel


def test_opening_the_panel_starts_nothing_and_imports_nothing_heavy(panel):
    assert panel.runner.calls == []
    assert not panel.runner.isWarm
    assert not {"torch", "safetensors", "MISFMLib.volumes.volume"} & set(sys.modules)


def test_the_worker_starts_when_the_panel_is_ready_once_for_a_choice(panel, make_volume):
    make_volume(name="first")
    panel.settle()
    assert panel.ui.segmentButton.enabled
    assert panel.runner.isWarm
    assert [config["model"] for config in panel.runner.loaded] == [panel.parameters.model]
    panel.runner.isWarm = False  # it ends when nothing is asked of it
    panel.ui.show3DBox.click()
    panel.settle()
    assert not panel.runner.isWarm
    panel.choose(make_volume(name="second"))
    assert panel.runner.isWarm
    assert len(panel.runner.loaded) == 2


def test_the_worker_does_not_start_before_its_packages_are_there(panel, make_volume, monkeypatch):
    from MISFMSlicer.Setup import Requirements

    torch = Requirements.Requirement("pytorch", "PyTorch", Requirements.Status.RED, "missing")
    monkeypatch.setattr(Requirements, "missingRequirements", lambda: [torch])
    panel.widget.enter()
    make_volume()
    panel.settle()
    assert panel.ui.segmentButton.enabled
    assert not panel.runner.isWarm


def test_a_saved_scene_restores_the_panel(panel, make_volume, tmp_path):
    import slicer

    make_volume(name="other")
    volume = make_volume(name="chosen")
    panel.choose(volume)
    panel.ui.bestButton.click()
    panel.parameters.marginMm = 25
    panel.parameters.show3D = True
    panel.settle()
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(False)
    panel.settle()
    assert panel.ui.volumeSelector.currentNode() is None
    assert panel.ui.normalButton.checked
    slicer.util.loadScene(path)
    panel.settle()
    assert panel.ui.volumeSelector.currentNode().GetName() == "chosen"
    assert panel.ui.bestButton.checked
    assert panel.ui.show3DBox.checked
    assert panel.ui.marginBox.value == 25


def test_selectors_that_change_by_themselves_while_a_scene_loads_do_not_count(panel, make_volume):
    import slicer

    volume = make_volume()
    panel.choose(volume)
    slicer.mrmlScene.StartState(slicer.mrmlScene.BatchProcessState)
    panel.ui.volumeSelector.setCurrentNode(None)
    panel.ui.marginBox.value = 99
    slicer.mrmlScene.EndState(slicer.mrmlScene.BatchProcessState)
    assert panel.parameters.volume() is volume
    assert panel.parameters.marginMm == 10


def test_volumes_that_come_while_another_module_is_open_are_left_alone(panel, host, make_volume):
    host.select_module("Data")
    make_volume()
    panel.settle()
    assert panel.parameters.volume() is None
    host.select_module("MISFM")
    panel.settle()
    assert panel.parameters.volume() is not None


def test_closing_the_scene_during_a_job_cancels_it_and_the_panel_goes_on(running, make_volume):
    import slicer

    slicer.mrmlScene.Clear(False)
    running.settle()
    assert running.logic.jobs == ()
    assert [call for call, _ in running.runner.calls] == ["start", "cancel"]
    assert running.ui.statusLabel.text.startswith(("Cancelled", "Load a volume"))
    running.runner.holds = False
    make_volume(name="next")
    running.settle()
    running.segment()
    assert running.ui.resultLabel.text.startswith("next: segmented")


def test_closing_the_scene_takes_the_result_away(panel, make_volume):
    import slicer

    make_volume()
    panel.settle()
    panel.segment()
    slicer.mrmlScene.Clear(False)
    panel.settle()
    assert not panel.shown("resultFrame")
    assert not panel.ui.segmentButton.enabled


def test_deleting_the_volume_during_a_job_is_told(running):
    import slicer

    slicer.mrmlScene.RemoveNode(slicer.util.getNode("first"))
    running.host.wait_until(lambda: not running.logic.jobs)
    running.settle()
    assert "removed from the scene" in running.ui.failureLabel.text


def test_deleting_the_parameter_node_is_survived(panel, make_volume):
    import slicer

    make_volume()
    panel.settle()
    slicer.mrmlScene.RemoveNode(panel.logic.getParameterNode())
    panel.widget.enter()
    panel.settle()
    panel.segment()
    assert panel.shown("resultFrame")


def test_a_job_goes_on_while_another_module_is_open(running, host):
    import slicer

    host.select_module("Data")
    host.process_events(0.15)
    assert len(running.logic.jobs) == 1
    running.runner._pending = [Progress("write", 0.0)]
    running.hear()
    assert slicer.util.mainWindow().statusBar().currentMessage() == "MISFM: Writing the result"
    running.runner.holds = False
    host.wait_until(lambda: not running.logic.jobs)
    host.select_module("MISFM")
    running.settle()
    assert running.ui.resultLabel.text.startswith("first: segmented")


@pytest.fixture
def reloadable(host, panel):
    """Forget the reloaded code afterwards: other tests hold classes of what was there before."""
    import slicer

    before = {name: module for name, module in sys.modules.items() if name.startswith("MISFM")}
    yield
    sys.modules.update(before)
    slicer.util.reloadScriptedModule("MISFM")


def test_reloading_the_module_during_a_job_ends_the_worker(reloadable, running):
    import slicer

    running.widget.onReload()
    assert running.runner.calls[-1][0] == "cancel"
    widget = slicer.modules.MISFMWidget
    assert widget is not running.widget
    assert widget.logic.jobs == ()
    widget.enter()
    running.settle()
    assert widget.ui.segmentButton.enabled


def test_quitting_during_a_job_ends_the_worker_and_the_panel_hears_nothing_more(running):
    running.widget.cleanup()
    assert running.runner.calls[-1][0] == "cancel"
    assert not running.runner.isWarm
    running.settle()


def test_the_panel_adds_only_its_parameter_node_to_the_scene(panel):
    import slicer

    slicer.mrmlScene.Clear(False)
    panel.settle()
    nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
    tags = [node.GetSingletonTag() for node in nodes]
    # Slicer's own, and the probe of the stand-in's tests, which may have been loaded before.
    assert sorted({*tags} - {"DataProbe", "ProbeMod"}) == ["MISFM"]
    assert tags.count("MISFM") == 1
