"""The panel's forecast counts windows as the library does, and learns from past runs."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path

import pytest

from MISFMLib.configs import PreprocessingConfig
from MISFMLib.inference.windows import WindowConfig, count_windows

REPOSITORY = Path(__file__).resolve().parents[2]
PREPROCESSING = PreprocessingConfig(patch_size=(10, 20, 20), spacing_dhw=(2.0, 1.0, 1.0))


@pytest.fixture
def forecast(monkeypatch):
    """MISFMSlicer.Panel.Forecast, which needs nothing of Slicer."""
    monkeypatch.syspath_prepend(REPOSITORY / "MISFM")
    return importlib.import_module("MISFMSlicer.Panel.Forecast")


class FakeSettings(dict):
    """What a QSettings does here."""

    def value(self, key):
        return self.get(key)

    def setValue(self, key, value):
        self[key] = value


@pytest.fixture
def history(forecast):
    return forecast.History(FakeSettings())


def run(forecast, *, seconds=10.0, cold=True, windows=8, voxels=1000, network=4.0, in_library=6.0):
    report = {
        "timings_s": {"network": network},
        "seconds": in_library,
        "peak_memory_bytes": 1.4e9,
        "device_peak_bytes": 0,
        "device": "cpu",
    }
    return forecast.Run(report, seconds, forecast.Workload(windows, voxels), cold)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_windows_are_counted_as_in_the_library(forecast, overlap):
    config = WindowConfig(patch_size=(7, 10, 16), overlap=overlap)
    for shape in itertools.product((1, 7, 8, 31), (10, 95), (16, 33)):
        edges = zip(shape, config.patch_size, strict=True)
        product = 1
        for size, patch in edges:
            product *= forecast.countWindows(size, patch, overlap)
        assert product == count_windows(shape, config)


def test_the_workload_follows_spacing_overlap_and_mirroring(forecast):
    def windows(spacing, **options):
        return forecast.workload((20, 40, 20), spacing, PREPROCESSING, options).windows

    assert windows((2.0, 1.0, 1.0), overlap=0.0) == 2 * 2 * 1
    assert windows((1.0, 1.0, 1.0), overlap=0.0) == 1 * 2 * 1
    assert windows((2.0, 1.0, 1.0)) == 3 * 3 * 1
    assert windows((2.0, 1.0, 1.0), overlap=0.0, mirroring=True) == 8 * 4


def test_only_the_mirror_images_that_the_model_knows_are_counted(forecast):
    known = PreprocessingConfig(patch_size=(20, 20, 20), mirror_axes=(2,))
    work = forecast.workload((20, 20, 20), (1.0, 1.0, 1.0), known, {"mirroring": True})
    assert work.windows == 2


def test_the_workload_counts_the_voxels_of_all_channels(forecast):
    two = PreprocessingConfig(channels=("T1", "T2"), intensity=PREPROCESSING.intensity * 2)
    assert forecast.workload((2, 3, 4), (1.0, 1.0, 1.0), two, {}).voxels == 48


def test_without_a_past_run_there_is_no_forecast(forecast, history):
    work = forecast.Workload(8, 1000)
    assert history.forecast("m", "auto", work, isWarm=False) is None
    history.learn("m", "cpu", run(forecast))
    assert history.forecast("m", "auto", work, isWarm=False) is None
    assert history.forecast("other", "cpu", work, isWarm=False) is None


def test_the_same_run_again_is_forecast_exactly(forecast, history):
    history.learn("m", "auto", run(forecast))
    told = history.forecast("m", "auto", forecast.Workload(8, 1000), isWarm=False)
    assert told.seconds == pytest.approx(10.0)
    assert told.memoryBytes == pytest.approx(1.4e9)
    assert told.device == "cpu"


def test_a_larger_volume_takes_more_time_and_memory(forecast, history):
    history.learn("m", "auto", run(forecast))
    told = history.forecast("m", "auto", forecast.Workload(16, 3000), isWarm=False)
    assert told.seconds == pytest.approx(2 * 4.0 + 3 * 2.0 + 4.0)
    assert told.memoryBytes == pytest.approx(0.4e9 + 3 * 1.0e9)


def test_a_warm_worker_is_quicker(forecast, history):
    work = forecast.Workload(8, 1000)
    history.learn("m", "auto", run(forecast))
    assert history.forecast("m", "auto", work, isWarm=True).seconds == pytest.approx(6.5)
    history.learn("m", "auto", run(forecast, seconds=6.2, cold=False))
    assert history.forecast("m", "auto", work, isWarm=True).seconds == pytest.approx(6.2)
    assert history.forecast("m", "auto", work, isWarm=False).seconds == pytest.approx(10.0)


def test_memory_is_learned_from_a_worker_that_held_nothing_before(forecast, history):
    history.learn("m", "auto", run(forecast))
    history.learn("m", "auto", run(forecast, cold=False, voxels=10))
    told = history.forecast("m", "auto", forecast.Workload(8, 1000), isWarm=True)
    assert told.memoryBytes == pytest.approx(1.4e9)


def test_the_memory_of_a_gpu_goes_before_the_main_memory(forecast, history):
    past = run(forecast)
    past.report["device_peak_bytes"] = 3e9
    history.learn("m", "cuda", past)
    told = history.forecast("m", "cuda", past.workload, isWarm=False)
    assert told.memoryBytes == pytest.approx(3e9)


def test_newer_runs_weigh_more(forecast, history):
    history.learn("m", "auto", run(forecast, network=4.0))
    history.learn("m", "auto", run(forecast, network=2.0, in_library=4.0, seconds=8.0))
    told = history.forecast("m", "auto", forecast.Workload(8, 1000), isWarm=False)
    assert told.seconds == pytest.approx(3.0 + 2.0 + 4.0)


@pytest.mark.parametrize("entry", ["", "no JSON", "[1]", '{"old": 1}'])
def test_an_unreadable_entry_counts_as_none(forecast, history, entry):
    history._settings.setValue("MISFM/History/m@auto", entry)
    assert history.forecast("m", "auto", forecast.Workload(1, 1), isWarm=False) is None
