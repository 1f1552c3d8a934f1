"""What is chosen in the panel: saved with the scene, or for the machine."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MISFM"))


@pytest.fixture
def parameters(host):
    import slicer
    from MISFMSlicer.Panel.Parameters import Parameters

    return Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "MISFM"))


def test_defaults_are_there_without_anything_in_the_scene(parameters):
    assert parameters.model == ""
    assert parameters.speed == "normal"
    assert parameters.output is None
    assert parameters.roi is None
    assert parameters.marginMm == 10.0
    assert parameters.allFrames is False
    assert parameters.volume() is None
    assert parameters.region() is None
    assert parameters.node.GetParameterNames() == ()


def test_what_is_set_is_there_again_after_saving_and_loading(
    host, parameters, make_volume, tmp_path
):
    import slicer
    from MISFMSlicer.Panel.Parameters import Parameters

    parameters.setVolume(make_volume(name="T1"))
    parameters.setVolume(make_volume(name="FLAIR é"), 1)
    parameters.output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    parameters.model = "D:\\Modelle\\mein; Modell|名"
    parameters.speed = "best"
    parameters.marginMm = 2.5
    parameters.allFrames = True
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path), {})
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(path), {})
    loaded = Parameters(slicer.util.getNode("MISFM"))
    assert loaded.volume().GetName() == "T1"
    assert loaded.volume(1).GetName() == "FLAIR é"
    assert loaded.output.GetName() == "mine"
    assert loaded.model == "D:\\Modelle\\mein; Modell|名"
    assert (loaded.speed, loaded.marginMm, loaded.allFrames) == ("best", 2.5, True)


def test_each_change_is_told_once_and_no_change_not_at_all(parameters, make_volume):
    import vtk

    told = []
    parameters.node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: told.append(1))
    parameters.model = "a"
    parameters.model = "a"
    assert len(told) == 1
    with parameters.changing():
        parameters.model = "b"
        parameters.speed = "fast"
        parameters.setVolume(make_volume())
    assert len(told) == 2


def test_a_deleted_node_is_no_longer_chosen(parameters, make_volume):
    import slicer

    volume = make_volume()
    parameters.setVolume(volume)
    slicer.mrmlScene.RemoveNode(volume)
    assert parameters.volume() is None
    parameters.setVolume(make_volume())
    parameters.setVolume(None)
    assert parameters.volume() is None


def test_a_request_has_all_that_is_chosen(parameters, make_volume):
    import slicer

    first, second = make_volume(), make_volume()
    parameters.setVolume(first)
    parameters.setVolume(second, 1)
    parameters.model = "a model"
    parameters.allFrames = True
    parameters.output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    request = parameters.request(channels=2, device="cpu")
    assert request.volumes == (first, second)
    assert request.model == "a model"
    assert request.output is parameters.output
    assert request.allFrames
    assert request.region is None
    assert request.options == {"device": "cpu"}
    assert parameters.request().volumes == (first,)


@pytest.mark.parametrize(
    ("speed", "options"),
    [("fast", {"overlap": 0.25}), ("normal", {}), ("best", {"mirroring": True}), ("other", {})],
)
def test_the_speed_stands_for_options_of_the_library(parameters, speed, options):
    from MISFMLib.configs import SegmentConfig, decode

    parameters.speed = speed
    request = parameters.request()
    assert request.options == options
    job = {"images": ["a"], "model": "m", "output": "o", **request.options}
    assert decode(SegmentConfig, job)


def test_fast_takes_the_version_in_8_bit_integers_where_there_is_one(parameters):
    parameters.speed = "fast"
    request = parameters.request(hasInt8=True)
    assert request.options == {"overlap": 0.25, "precision": "int8"}
    parameters.speed = "normal"
    assert parameters.request(hasInt8=True).options == {}


def test_a_model_has_such_a_version_after_it_was_quantised(parameters, tmp_path, monkeypatch):
    from MISFMSlicer.Setup.Models import segmentationModels

    from MISFMLib.models import store

    monkeypatch.setenv("MISFM_HOME", str(tmp_path))
    (model,) = segmentationModels(store.list_models())[:1]
    assert not model.hasInt8
    kept = store.engines_folder(model.manifest.weights_sha256) / "1x16x16x16-int8"
    kept.mkdir(parents=True)
    (kept / "record.json").write_text("{}")
    assert not model.hasInt8, "it was refused"
    (kept / "network.bin").touch()
    assert model.hasInt8


def test_the_region_is_what_its_kind_says(parameters):
    import slicer

    parameters.roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    parameters.regionSegmentation = segmentation
    parameters.regionSegment = "Segment_1"
    parameters.marginMm = 3
    assert parameters.region() is None
    parameters.regionKind = "roi"
    region = parameters.region()
    assert (region.node, region.segmentId, region.marginMm) == (parameters.roi, "", 3.0)
    parameters.regionKind = "segment"
    region = parameters.region()
    assert (region.node, region.segmentId, region.marginMm) == (segmentation, "Segment_1", 3.0)
    slicer.mrmlScene.RemoveNode(segmentation)
    assert parameters.region() is None


class Store(dict):
    """Has what is used of a QSettings."""

    def value(self, key, default):
        return self.get(key, default)

    def setValue(self, key, value):
        self[key] = str(value)


def test_settings_are_kept_for_the_machine(host):
    from MISFMSlicer.Setup.Settings import Settings

    assert (Settings().device, Settings().threads) == ("auto", 0)
    settings = Settings(Store())
    assert settings.options() == {"device": "auto"}
    settings.device = "cuda:1"
    settings.threads = 4
    assert settings.options() == {"device": "cuda:1", "threads": 4}


@pytest.mark.parametrize("value", ["many", None, "-3"])
def test_a_damaged_setting_counts_as_the_default(host, value):
    from MISFMSlicer.Setup.Settings import Settings

    assert Settings(Store({"MISFM/threads": value})).threads == 0


def test_a_signal_calls_its_slots_in_order_and_survives_changes_meanwhile():
    from MISFMSlicer.Signal import Signal

    signal, heard = Signal(), []

    def first(value):
        heard.append(("first", value))
        signal.disconnect(first)
        signal.connect(third)

    def second(value):
        heard.append(("second", value))

    def third(value):
        heard.append(("third", value))

    signal.connect(first)
    signal.connect(second)
    signal.connect(second)
    signal.emit(1)
    assert heard == [("first", 1), ("second", 1)]
    signal.emit(2)
    assert heard[2:] == [("second", 2), ("third", 2)]
    signal.disconnect(first)
