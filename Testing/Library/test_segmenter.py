"""A model on a device: volumes in, label maps out, and what happens when memory runs out."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from MISFMLib.configs import IntensityConfig, LabelConfig, PreprocessingConfig
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.errors import BundleError, ConfigError, DataError, DeviceError, JobCancelled
from MISFMLib.events import Notice, Progress
from MISFMLib.inference.domain import domain_warnings
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.ladder import memory_ladder
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.inference.sliding_window import Placement, iterate_slabs
from MISFMLib.inference.windows import WindowConfig
from MISFMLib.volumes.volume import Geometry, Volume

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
RAW = IntensityConfig(scheme="ct-percentile")
CUDA = torch.device("cuda", 0)
ENGINES = "MISFMLib.inference.engines"
LABELS = (LabelConfig(value=4, name="grey"), LabelConfig(value=2, name="white"))


class Thresholds(nn.Module):
    """Class 1 above 100, class 2 above 300."""

    def forward(self, image):
        return torch.cat([torch.zeros_like(image), image - 100, 2 * image - 400], dim=1)


class OutOfMemoryUnless(Thresholds):
    """Runs out of memory on every batch that a rule does not accept."""

    def __init__(self, accepts):
        super().__init__()
        self.accepts = accepts

    def forward(self, image):
        if not self.accepts(tuple(image.shape)):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(image)


def a_volume(array, **settings):
    array_CDHW = array if array.ndim == 4 else array[None]
    spacing = settings.pop("spacing", (1.0, 1.0, 1.0))
    geometry = Geometry(array_CDHW.shape[1:], spacing, (1.0, 2.0, 3.0), IDENTITY)
    return Volume(array_CDHW, geometry, "case", **settings)


def a_segmenter(network=None, labels=LABELS, preprocessing=None, **options):
    preprocessing = preprocessing or PreprocessingConfig(intensity=(RAW,), patch_size=(8, 8, 8))
    options = SegmenterOptions(**{"device": "cpu", "precision": "fp32", **options})
    return Segmenter(Engines(network or Thresholds()), preprocessing, labels, options)


def expected_labels(array):
    return np.select([array > 300, array > 100], [2, 4], 0)


# ------------------------------------------------------------------------------------ one volume


def test_classes_of_the_network_become_the_values_of_the_labels(rng):
    array = rng.integers(0, 500, (10, 12, 14)).astype(np.int16)
    volume = a_volume(array)
    result = a_segmenter().segment(volume)
    np.testing.assert_array_equal(result.label_map.array_DHW, expected_labels(array))
    assert result.label_map.geometry == volume.geometry
    assert set(result.timings_s) == {"preprocess", "engine", "network", "restore", "postprocess"}
    assert (result.windows, result.model_shape_dhw) == (2 * 2 * 3, (10, 12, 14))
    assert (result.device, result.precision) == ("cpu", "float32")
    assert result.notices == ()


@pytest.mark.parametrize(
    "options",
    [{"overlap": 0.25}, {"mirroring": True}, {"precision": "fp32"}],
)
def test_options_do_not_change_what_is_right(rng, options):
    array = rng.integers(0, 500, (9, 9, 9)).astype(np.int16)
    result = a_segmenter(**options).segment(a_volume(array))
    np.testing.assert_array_equal(result.label_map.array_DHW, expected_labels(array))


@pytest.mark.parametrize(("batch_size", "largest"), [(1, 1), (3, 2), (None, 4)])
def test_windows_are_computed_together_as_asked_for_or_as_suits_the_patch(rng, batch_size, largest):
    """Four windows a plane: three at the most means two and two."""
    array = rng.integers(0, 500, (9, 9, 9)).astype(np.int16)
    sizes = set()
    network = OutOfMemoryUnless(lambda shape: sizes.add(shape[0]) or True)
    result = a_segmenter(network, batch_size=batch_size).segment(a_volume(array))
    np.testing.assert_array_equal(result.label_map.array_DHW, expected_labels(array))
    assert max(sizes) == largest


class GreyBesideWhite(nn.Module):
    """Finds grey where the network before it has found white, and white where that found grey."""

    def forward(self, image_and_labels):
        image, grey, white = image_and_labels.split(1, dim=1)
        return torch.cat([torch.full_like(image, 0.5), white, grey], dim=1)


def test_the_network_before_keeps_labels_that_nobody_asked_for(rng):
    """The network of a cascade has learnt to see all of them."""
    array = rng.integers(0, 500, (10, 12, 14)).astype(np.int16)
    space = PreprocessingConfig(intensity=(RAW,), patch_size=(8, 8, 8))
    engines = Engines(GreyBesideWhite())
    before = SimpleNamespace(preprocessing=space, labels=LABELS)
    engines.previous = Engines(Thresholds(), SimpleNamespace(manifest=before))
    options = SegmenterOptions(device="cpu", precision="fp32", engine="torch", only=frozenset([4]))
    cascade = Segmenter(engines, replace(space, previous_labels=(4, 2)), LABELS, options)
    labels = cascade.segment(a_volume(array)).label_map.array_DHW
    np.testing.assert_array_equal(labels, np.where(array > 300, 4, 0))


def test_half_precision_is_reported(rng):
    array = rng.integers(0, 500, (8, 8, 8)).astype(np.int16)
    assert a_segmenter(precision="bf16").segment(a_volume(array)).precision == "bfloat16"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("space", [{"windows": "even", "scores": "softmax"}, {"crop": "nonzero"}])
def test_summing_by_rows_changes_no_label_on_the_grid_of_the_volume(
    rng, monkeypatch, seed, precision, space
):
    array = rng.normal(size=(30, 44, 26)).astype(np.float32)
    array[:2], array[:, :3] = 0, 0
    network = nn.Conv3d(1, 9, 3, padding=1)
    preprocessing = PreprocessingConfig(
        intensity=(RAW,), patch_size=(10, 10, 10), overlap=0.3, spacing_dhw=(1.3, 0.9, 1.6), **space
    )
    labels = [LabelConfig(value=value, name=f"l{value}") for value in range(1, 9)]
    maps = []
    monkeypatch.setattr("MISFMLib.inference.logit_ring._LARGE", 1000)
    for is_saving in (True, False):
        monkeypatch.setattr(
            "MISFMLib.inference.logit_ring.LogitRing._saves_by_rows", lambda _, it=is_saving: it
        )
        segmenter = a_segmenter(network, labels, preprocessing, precision=precision)
        maps.append(segmenter.segment(a_volume(array)).label_map.array_DHW)
    assert len(np.unique(maps[0])) == 9
    np.testing.assert_array_equal(*maps)


@pytest.mark.parametrize("does_clean", [True, False])
def test_postprocessing_can_be_switched_off(does_clean):
    array = np.zeros((9, 9, 9), np.int16)
    array[1:4, 1:4, 1:4] = array[7, 7, 7] = 200
    labels = (LabelConfig(value=4, name="grey", keep_largest=True), LABELS[1])
    result = a_segmenter(labels=labels, postprocessing=does_clean).segment(a_volume(array))
    assert result.label_map.array_DHW[7, 7, 7] == (0 if does_clean else 4)
    assert ("postprocess" in result.timings_s) == does_clean


def test_a_result_without_any_label_is_announced():
    seen = []
    result = a_segmenter().segment(a_volume(np.indices((8, 8, 8)).sum(0)), seen.append)
    assert result.notices == ("No voxel of any label was found.",)
    assert Notice("No voxel of any label was found.") in seen


def test_progress_comes_between_windows_with_the_time_left(rng):
    seen = []
    a_segmenter(overlap=0).segment(a_volume(rng.normal(size=(16, 8, 8))), seen.append)
    first, last = (event for event in seen if isinstance(event, Progress))
    assert (first.stage, first.fraction, first.message) == ("segment", 0.5, "window 1 of 2")
    assert first.eta_s > 0
    assert (last.fraction, last.eta_s) == (1.0, 0.0)


def test_an_event_sink_can_stop_between_two_windows(rng):
    seen = []

    def stop(event):
        seen.append(event)
        raise JobCancelled

    with pytest.raises(JobCancelled):
        a_segmenter(overlap=0).segment(a_volume(rng.normal(size=(16, 8, 8)) + 1000), stop)
    assert len(seen) == 1


def test_a_volume_with_other_channels_is_refused(rng):
    with pytest.raises(DataError, match=r"2 channel\(s\)"):
        a_segmenter().segment(a_volume(rng.normal(size=(2, 8, 8, 8))))


def test_a_network_with_other_classes_is_refused(rng):
    with pytest.raises(BundleError, match="3 classes"):
        a_segmenter(labels=LABELS[:1]).segment(a_volume(rng.normal(size=(8, 8, 8))))


def test_impossible_options_are_refused_before_any_volume():
    with pytest.raises(ConfigError, match="overlap"):
        a_segmenter(overlap=1.0)
    with pytest.raises(ConfigError, match="device"):
        a_segmenter(device="abacus")
    with pytest.raises(DeviceError, match="fp16"):
        a_segmenter(precision="fp16")


# -------------------------------------------------------------------------------- out of memory


def test_a_smaller_batch_is_tried_when_memory_runs_out(rng):
    array = rng.integers(0, 500, (8, 20, 20)).astype(np.int16)
    seen = []
    segmenter = a_segmenter(OutOfMemoryUnless(lambda shape: shape[0] == 1), batch_size=4)
    result = segmenter.segment(a_volume(array), seen.append)
    np.testing.assert_array_equal(result.label_map.array_DHW, expected_labels(array))
    (notice,) = (event for event in seen if isinstance(event, Notice))
    assert "one window at a time" in notice.message
    assert result.notices == (notice.message,)


def test_memory_that_never_suffices_is_an_error(rng):
    segmenter = a_segmenter(OutOfMemoryUnless(lambda shape: False))
    with pytest.raises(DeviceError, match="too little memory"):
        segmenter.segment(a_volume(rng.normal(size=(8, 8, 8))))


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), ValueError("x")])
def test_any_other_error_passes_untouched(rng, error):
    class Broken(nn.Module):
        def forward(self, image):
            raise error

    with pytest.raises(type(error)) as caught:
        a_segmenter(Broken(), batch_size=2).segment(a_volume(rng.normal(size=(8, 8, 8))))
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 4.00 GiB for an array"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4294967296 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_too_little_memory_of_any_device_and_library_has_one_end(rng, error):
    class Hungry(nn.Module):
        def forward(self, image):
            raise error

    with pytest.raises(DeviceError) as caught:
        a_segmenter(Hungry(), batch_size=2).segment(a_volume(rng.normal(size=(8, 8, 8))))
    assert caught.value.code == "out-of-memory"


def test_the_ladder_leads_from_batch_to_sums_to_patch_to_cpu():
    cpu = torch.device("cpu")
    windows = WindowConfig(patch_size=(64, 128, 128), batch_size=4, overlap=0.25, mirroring=True)
    rungs = list(memory_ladder(windows, Placement(network=CUDA, sums=CUDA, precision="fp16")))
    assert [
        (rung.windows.batch_size, str(rung.placement.sums), rung.windows.patch_size)
        for rung in rungs
    ] == [
        (4, "cuda:0", (64, 128, 128)),
        (1, "cuda:0", (64, 128, 128)),
        (1, "cpu", (64, 128, 128)),
        (1, "cpu", (64, 64, 128)),
        (1, "cpu", (64, 64, 64)),
        (1, "cpu", (64, 128, 128)),
    ]
    assert [rung.placement.network for rung in rungs] == [CUDA] * 5 + [cpu]
    assert rungs[-1].placement.precision == "auto"
    assert [bool(rung.change) for rung in rungs] == [False] + [True] * 5
    assert all(rung.windows.overlap == 0.25 and rung.windows.mirroring for rung in rungs)


def test_the_ladder_of_the_cpu_leads_to_smaller_patches():
    windows = WindowConfig(patch_size=(64, 64, 64), batch_size=2)
    rungs = list(memory_ladder(windows, Placement()))
    assert [(rung.windows.batch_size, rung.windows.patch_size) for rung in rungs] == [
        (2, (64, 64, 64)),
        (1, (64, 64, 64)),
        (1, (32, 64, 64)),
        (1, (32, 32, 64)),
    ]


def test_the_ladder_leaves_small_patches_alone():
    small = WindowConfig(patch_size=(32, 48, 48))
    patches = {
        rung.windows.patch_size for rung in memory_ladder(small, Placement(network=CUDA, sums=CUDA))
    }
    assert patches == {(32, 48, 48)}
    assert len(list(memory_ladder(small, Placement()))) == 1


@pytest.mark.parametrize(
    ("suffices", "device", "patch", "changes"),
    [
        (lambda w, p: w.batch_size == 1, "cuda:0", (64, 32, 32), 1),
        (lambda w, p: p.sums.type == "cpu", "cuda:0", (64, 32, 32), 2),
        (lambda w, p: w.patch_size == (32, 32, 32), "cuda:0", (32, 32, 32), 3),
        (lambda w, p: p.network.type == "cpu", "cpu", (64, 32, 32), 4),
    ],
)
def test_a_gpu_without_memory_is_left_step_by_step(
    rng, monkeypatch, suffices, device, patch, changes
):
    """The GPU is a pretence: the windows are computed on the CPU once the memory suffices."""

    def slabs(network, image, windows, placement, on_window):
        if not suffices(windows, placement):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return iterate_slabs(network, image, windows, Placement(), on_window)

    module = "MISFMLib.inference.one_model"
    monkeypatch.setattr(f"{module}.select_device", lambda _name: CUDA)
    monkeypatch.setattr(f"{module}.resolve_precision", lambda _precision, _device: torch.float32)
    monkeypatch.setattr(f"{ENGINES}.inference_precisions", lambda _precision, _device: ("fp32",))
    monkeypatch.setattr(f"{module}.iterate_slabs", slabs)
    monkeypatch.setattr(Thresholds, "to", lambda network, *_, **__: network)
    preprocessing = PreprocessingConfig(intensity=(RAW,), patch_size=(64, 32, 32))
    array = rng.integers(0, 500, (64, 32, 40)).astype(np.int16)
    segmenter = a_segmenter(preprocessing=preprocessing, batch_size=2)
    result = segmenter.segment(a_volume(array))
    assert (result.device, result.patch_size, len(result.notices)) == (device, patch, changes)
    np.testing.assert_array_equal(result.label_map.array_DHW, expected_labels(array))


# ------------------------------------------------------------------------------------ warnings


def warnings_of(array, *, modality="", expected="other", spacing=(1.0, 1.0, 1.0), trained=None):
    volume = a_volume(array, modality=modality, spacing=spacing)
    settings = PreprocessingConfig(modality=expected, spacing_dhw=trained)
    return domain_warnings(volume, prepare_volume(volume, settings).record, settings)


AIR_AND_TISSUE = np.linspace(-1000, 400, 64).reshape(4, 4, 4)
TISSUE = np.linspace(0, 400, 64).reshape(4, 4, 4)


@pytest.mark.parametrize(
    ("array", "modality", "expected", "words"),
    [
        (AIR_AND_TISSUE, "", "CT", None),
        (AIR_AND_TISSUE, "CT", "CT", None),
        (AIR_AND_TISSUE, "MR", "CT", "file says MR"),
        (TISSUE, "", "CT", "Hounsfield"),
        (TISSUE, "", "MR", None),
        (TISSUE, "CT", "MR", "file says CT"),
        (AIR_AND_TISSUE, "", "MR", "looks like CT"),
        (AIR_AND_TISSUE, "MR", "other", None),
    ],
)
def test_a_volume_of_another_modality_gives_a_warning(array, modality, expected, words):
    warnings = warnings_of(array, modality=modality, expected=expected)
    assert len(warnings) == (words is not None)
    assert all(words in warning for warning in warnings)


def test_a_label_map_instead_of_a_scan_gives_a_warning():
    labels = np.zeros((8, 8, 8), np.int16)
    labels[2:6, 2:6, 2:6] = 3
    (warning,) = warnings_of(labels)
    assert "looks like a label map" in warning


@pytest.mark.parametrize(
    ("spacing", "trained", "warns"),
    [
        ((3.0, 1.0, 1.0), (1.0, 1.0, 1.0), False),
        ((3.1, 1.0, 1.0), (1.0, 1.0, 1.0), True),
        ((1.0, 0.3, 1.0), (1.0, 1.0, 1.0), True),
        ((9.0, 9.0, 9.0), None, False),
    ],
)
def test_voxels_more_than_three_times_as_large_give_a_warning(spacing, trained, warns):
    warnings = warnings_of(TISSUE, spacing=spacing, trained=trained)
    assert [("trained on 1 x 1 x 1 mm" in warning) for warning in warnings] == [True] * warns
