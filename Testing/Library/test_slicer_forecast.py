"""The panel's forecast counts windows as the library does, and learns from past runs."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from MISFMLib.configs import IntensityConfig, PreprocessingConfig
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.events import Measured
from MISFMLib.inference import logit_ring
from MISFMLib.inference.windows import WindowConfig, count_windows
from MISFMLib.volumes.volume import Geometry, Volume

REPOSITORY = Path(__file__).resolve().parents[2]
PREPROCESSING = PreprocessingConfig(patch_size=(10, 20, 20), spacing_dhw=(2.0, 1.0, 1.0))
MEASURED = Measured("m", "cpu", "PyTorch 2.13.0", 0.5, 400_000_000, can_convert=True)


@pytest.fixture
def panel(monkeypatch):
    """MISFMSlicer.Panel, of which the forecast needs nothing of Slicer."""
    monkeypatch.syspath_prepend(REPOSITORY / "MISFM")
    return lambda name: importlib.import_module(f"MISFMSlicer.Panel.{name}")


@pytest.fixture
def work(panel):
    """Counts the work of a volume."""
    module = panel("Workload")

    def count(shape, spacing=(1.0, 1.0, 1.0), preprocessing=PREPROCESSING, occupied=None, **more):
        grid = module.Grid(shape, spacing, isOccupied=occupied)
        return module.workload(grid, preprocessing, more, classes=3)

    return count


class FakeSettings(dict):
    """What a QSettings does here."""

    def value(self, key):
        return self.get(key)

    def setValue(self, key, value):
        self[key] = value


@pytest.fixture
def history(panel):
    return panel("Forecast").History(FakeSettings())


@pytest.fixture
def a_run(panel):
    """Makes a finished run: seconds of all, the network's for a window, and the rest's rule."""

    def make(work, *, window_s=0.5, engine="PyTorch 2.13.0", rest_s=None, memory=0.5e9, **more):
        flags = {"wasCold": False, "wasFirst": True, **more}
        network = window_s * work.windows
        rest = 0.2 + 0.05e-6 * work.voxels if rest_s is None else rest_s
        report = {
            "timings_s": {"network": network, "engine": 0.1},
            "computed_windows": work.windows,
            "peak_memory_bytes": memory,
            "device_peak_bytes": 0,
            "device": "cpu",
            "engine": engine,
        }
        return panel("Forecast").Run(report, network + 0.1 + rest, work, **flags)

    return make


# ------------------------------------------------------------------------------------- how much


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_windows_are_counted_as_in_the_library(panel, overlap):
    config = WindowConfig(patch_size=(7, 10, 16), overlap=overlap)
    for shape in itertools.product((1, 7, 8, 31), (10, 95), (16, 33)):
        product = 1
        for size, patch in zip(shape, config.patch_size, strict=True):
            product *= len(panel("Workload").windowStarts(size, patch, overlap))
        assert product == count_windows(shape, config)


def test_the_workload_follows_spacing_overlap_and_mirroring(work):
    shape = (20, 40, 20)
    assert work(shape, (2.0, 1.0, 1.0), overlap=0.0).windows == 2 * 2 * 1
    assert work(shape, (1.0, 1.0, 1.0), overlap=0.0).windows == 1 * 2 * 1
    assert work(shape, (2.0, 1.0, 1.0)).windows == 3 * 3 * 1
    assert work(shape, (2.0, 1.0, 1.0), overlap=0.0, mirroring=True).windows == 8 * 4


def test_only_the_mirror_images_that_the_model_knows_are_counted(work):
    known = PreprocessingConfig(patch_size=(20, 20, 20), mirror_axes=(2,))
    assert work((20, 20, 20), preprocessing=known, mirroring=True).windows == 2


def test_the_workload_counts_the_voxels_of_all_channels(work):
    two = PreprocessingConfig(channels=("T1", "T2"), intensity=PREPROCESSING.intensity * 2)
    assert work((2, 3, 4), preprocessing=two).voxels == 48


@pytest.mark.parametrize("crop", ["none", "nonzero", "body"])
def test_borders_that_the_library_crops_are_not_counted(work, crop):
    array = np.full((40, 120, 160), -1000 if crop == "body" else 0, np.int16)
    array[5:33, 40:88, 30:130] = 100
    preprocessing = PreprocessingConfig(
        patch_size=(8, 16, 16),
        crop=crop,
        modality="other",
        intensity=(IntensityConfig(scheme="mr-zscore"),),
    )
    geometry = Geometry(array.shape, (1.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))
    prepared = prepare_volume(Volume(array[None], geometry, "a"), preprocessing)
    expected = count_windows(prepared.shape[1:], WindowConfig(patch_size=(8, 16, 16)))
    samples = array[::2, ::3, ::4] > array.min()
    counted = work(array.shape, preprocessing=preprocessing, occupied=samples).windows
    if crop == "none":  # the windows in air count once
        assert 0.2 * expected < counted < 0.6 * expected
    else:
        assert counted == pytest.approx(expected, rel=0.15)


def test_the_buffers_grow_with_the_slices_but_not_with_the_length_of_a_scan(work):
    short, long, wide = (work(shape) for shape in ((50, 64, 64), (500, 64, 64), (50, 640, 64)))
    assert long.bufferBytes - short.bufferBytes == 450 * 64 * 64 * 3
    assert wide.deviceBufferBytes == pytest.approx(10 * long.deviceBufferBytes)


@pytest.mark.parametrize("classes", [3, 40])
@pytest.mark.parametrize(
    ("shape", "overlap"), [((30, 60, 24), 0.2), ((30, 60, 24), 0.5), ((13, 60, 24), 0.5)]
)
def test_the_sums_of_scores_are_counted_as_the_library_keeps_them(
    panel, monkeypatch, classes, shape, overlap
):
    module, patch = panel("Workload"), (12, 12, 12)
    monkeypatch.setattr(module, "MUCH", 2**18)
    monkeypatch.setattr(logit_ring, "_LARGE", 2**18)
    config = WindowConfig(patch_size=patch, overlap=overlap)
    starts = [window.start for window in config.axis_windows(shape[0], 0)]
    ring = logit_ring.LogitRing(shape, patch, None, plane_starts=starts, may_be_half=False)
    windows = [config.axis_windows(size, axis)[0] for axis, size in enumerate(shape)]
    ring.add(torch.zeros(classes, *patch), tuple(windows))
    kept = [ring._sums_KdHW, *([ring._left_KdHW] if ring._left_KdHW is not None else [])]
    counted = module.sumsPerClass(shape, patch, starts, classes)
    assert classes * counted == sum(tensor.numel() for tensor in kept)


# ------------------------------------------------------------------------------------- how long


def test_without_a_measurement_there_is_no_forecast(history, work):
    assert history.forecast("m", work((8, 8, 8)), isWarm=False) is None
    assert not history.knows("m")
    history.keep("m", MEASURED)
    assert history.knows("m")
    assert history.forecast("m", work((8, 8, 8)), isWarm=False) is not None
    assert history.forecast("other", work((8, 8, 8)), isWarm=False) is None


def test_the_first_forecast_is_windows_times_the_measured_seconds(history, work):
    history.keep("m", MEASURED)
    some = work((20, 60, 60))
    told = history.forecast("m", some, isWarm=True)
    assert told.seconds == pytest.approx(some.windows * 0.5 + 0.3, abs=0.1)
    assert told.memoryBytes == pytest.approx(0.4e9 + some.bufferBytes)
    assert told.device == "cpu"


def test_a_tiny_run_does_not_mislead_about_a_large_volume(history, work, a_run):
    """A CT was announced as 13 minutes and 48 GB after a sample of 60 000 voxels."""
    history.keep("m", MEASURED)
    tiny, large = work((34, 52, 34)), work((300, 512, 512), (2.0, 20.0, 20.0))
    before = history.forecast("m", large, isWarm=True)
    for _ in range(3):
        history.learn("m", a_run(tiny, rest_s=1.5, memory=0.46e9))
    after = history.forecast("m", large, isWarm=True)
    assert before.seconds / 1.5 < after.seconds < before.seconds * 1.5
    assert after.memoryBytes < 1.2 * before.memoryBytes


def test_few_windows_tell_nothing_about_many(history, work, a_run):
    """PyTorch takes up to five times as long for a small window alone as for one of eight."""
    history.keep("m", replace(MEASURED, can_convert=False))
    few, many = work((10, 20, 30)), work((100, 200, 200))
    before = history.forecast("m", many, isWarm=True).seconds
    history.learn("m", a_run(few, window_s=2.5))
    assert history.forecast("m", many, isWarm=True).seconds == pytest.approx(before, rel=0.1)
    assert history.forecast("m", few, isWarm=True).seconds > 4


def test_a_window_is_measured_although_few_were_computed(history, work, a_run):
    history.learn("m", a_run(work((10, 20, 20))))
    assert not history.knows("m")
    assert history.forecast("m", work((100, 200, 200)), isWarm=True) is not None


@pytest.mark.parametrize("slower", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(40, 40, 40), (100, 256, 256), (600, 512, 512)])
def test_the_second_forecast_of_any_size_is_within_30_percent(history, work, a_run, shape, slower):
    history.keep("m", replace(MEASURED, can_convert=False))
    some = work(shape)
    run = a_run(some, window_s=0.5 * slower, rest_s=slower * (0.3 + 0.02e-6 * some.voxels))
    history.learn("m", run)
    assert run.seconds / 1.3 < history.forecast("m", some, isWarm=True).seconds < run.seconds * 1.3


def test_a_large_volume_is_announced_with_the_faster_program_and_its_conversion(
    history, work, a_run
):
    history.keep("m", MEASURED)
    large = work((600, 512, 512))
    plain = large.windows * 0.5
    first = history.forecast("m", large, isWarm=True).seconds
    assert 0.4 * plain < first < 0.9 * plain
    run = a_run(large, window_s=0.3, engine="OpenVINO 2026.4.1")
    history.learn("m", run)
    assert history.forecast("m", large, isWarm=True).seconds == pytest.approx(run.seconds, rel=0.1)
    small = work((10, 20, 20))  # now that it is converted, small ones are computed by it, too
    assert history.forecast("m", small, isWarm=True).seconds < 1.0


def test_a_program_that_is_no_longer_used_is_forgotten(history, work, a_run):
    history.keep("m", MEASURED)
    large = work((600, 512, 512))
    history.learn("m", a_run(large, window_s=0.3, engine="OpenVINO 2026.4.1"))
    run = a_run(large, window_s=0.5)
    history.learn("m", run)
    assert history.forecast("m", large, isWarm=True).seconds == pytest.approx(run.seconds, rel=0.1)


def test_a_cold_worker_takes_longer(history, work):
    history.keep("m", MEASURED)
    warm, cold = (history.forecast("m", work((8, 8, 8)), isWarm=warm) for warm in (True, False))
    assert cold.seconds > warm.seconds + 1


def test_what_other_work_takes_is_learned_for_all_models(history, work, a_run):
    large = work((300, 512, 512))
    history.keep("other", replace(MEASURED, can_convert=False))
    before = history.forecast("other", large, isWarm=True).seconds
    history.keep("m", MEASURED)
    history.learn("m", a_run(large, rest_s=40.0))
    assert history.forecast("other", large, isWarm=True).seconds > before + 20


def test_memory_is_learned_from_a_worker_that_held_nothing_before(history, work, a_run):
    history.keep("m", MEASURED)
    some = work((10, 20, 20))
    history.learn("m", a_run(some, memory=0.9e9))
    history.learn("m", a_run(some, memory=5e9, wasFirst=False))
    assert history.forecast("m", some, isWarm=True).memoryBytes == pytest.approx(0.9e9)


def test_the_memory_of_a_gpu_goes_before_the_main_memory(history, work, a_run):
    past = a_run(work((10, 20, 20)), engine="PyTorch 2.13.0, CUDA graph")
    past.report.update(device="cuda:0", device_peak_bytes=3e9)
    history.learn("m", past)
    told = history.forecast("m", past.workload, isWarm=True)
    assert (told.memoryBytes, told.device) == (pytest.approx(3e9), "cuda:0")


def test_newer_runs_weigh_more(history, work, a_run):
    some = work((40, 200, 200))
    for seconds in (0.5, 0.25):
        history.learn("m", a_run(some, window_s=seconds))
    told = history.forecast("m", some, isWarm=True).seconds
    assert some.windows * 0.25 < told < some.windows * 0.33 + 1


@pytest.mark.parametrize("entry", ["", "no JSON", "[1]", '{"old": 1}'])
def test_an_unreadable_entry_counts_as_none(history, work, entry):
    for key in ("m", "rest@cpu"):
        history._settings.setValue(f"MISFM/Forecast/{key}", entry)
    assert history.forecast("m", work((8, 8, 8)), isWarm=False) is None
    history.keep("m", MEASURED)
    assert history.forecast("m", work((8, 8, 8)), isWarm=False) is not None


@pytest.mark.slow
def test_the_benchmark_forecasts_real_runs(tmp_path):
    script = REPOSITORY / "Testing" / "Benchmarks" / "forecast.py"
    command = [sys.executable, str(script), "--quick", "--json", str(tmp_path / "forecast.json")]
    subprocess.run(command, check=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for row in json.loads((tmp_path / "forecast.json").read_text("utf-8"))["rows"]:
        for run in (row["first"], row["second"]):
            assert 0.7 < run["mb"] / run["forecast_mb"] < 1.3
        seconds, forecast_s = row["second"]["seconds"], row["second"]["forecast_s"]
        # Of runs of some hundredths of a second the ratio says nothing.
        assert 0.5 < seconds / forecast_s < 2 or abs(seconds - forecast_s) < 0.3
