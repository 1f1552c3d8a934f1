"""The sliding window: every voxel once, the published logits, memory that does not grow."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import nn

from MISFMLib.configs import IntensityConfig, PreprocessingConfig
from MISFMLib.data.ahead import ahead
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.errors import ConfigError, JobCancelled
from MISFMLib.inference import logit_ring, window_predictor
from MISFMLib.inference.sliding_window import Placement, iterate_slabs, predict_logits
from MISFMLib.inference.windows import (
    WindowConfig,
    axis_windows,
    count_windows,
    gaussian_weights,
    suitable_batch_size,
    window_starts,
)
from MISFMLib.volumes.volume import Geometry, Volume, read_volume


def a_volume(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))


def a_network(num_classes=3):
    """Position-dependent near patch borders through its zero padding, as real networks are."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv3d(4, num_classes, 3, padding=1)
    ).eval()


class CountingIdentity(nn.Module):
    """Returns its input and remembers the sizes of its batches."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, image):
        self.batches.append(tuple(image.shape))
        return image


# ------------------------------------------------------------------------------------- identity


@pytest.mark.parametrize(
    ("overlap", "mirroring"),
    [(0.0, False), (0.25, False), (0.5, False), (0.5, True), (0.7, False), (0.9, False)],
)
@pytest.mark.parametrize(
    ("shape", "patch"),
    [
        ((2, 7, 9, 11), (4, 4, 4)),
        ((1, 8, 8, 8), (8, 8, 8)),
        ((1, 20, 5, 6), (3, 5, 2)),
        ((2, 3, 4, 5), (8, 7, 6)),
        ((1, 1, 1, 1), (4, 4, 4)),
        ((1, 9, 2, 30), (4, 5, 16)),
    ],
)
def test_an_identity_network_gives_back_its_input(rng, shape, patch, overlap, mirroring):
    image = a_volume(rng, *shape)
    config = WindowConfig(patch_size=patch, overlap=overlap, mirroring=mirroring)
    logits = predict_logits(nn.Identity(), image, config)
    torch.testing.assert_close(logits, image, atol=1e-6, rtol=1e-6)


def test_slabs_hold_every_slice_once_and_in_order(rng):
    image = a_volume(rng, 1, 23, 6, 6)
    config = WindowConfig(patch_size=(8, 4, 4), overlap=0.6)
    stop = 0
    for slab in iterate_slabs(nn.Identity(), image, config):
        assert slab.start == stop
        stop += slab.logits_KDHW.shape[1]
        torch.testing.assert_close(slab.logits_KDHW, image[:, slab.start : stop])
    assert stop == 23


@pytest.mark.parametrize("mirror_axes", [(0, 1, 2), (2,), (0, 2), ()])
def test_mirroring_averages_the_logits_of_all_mirror_images(rng, mirror_axes):
    image = a_volume(rng, 1, 6, 7, 8)
    network = a_network()
    config = WindowConfig(patch_size=(6, 7, 8), mirroring=True, mirror_axes=mirror_axes)
    expected = torch.zeros(3, 6, 7, 8)
    with torch.no_grad():
        for flips in itertools.product([False, True], repeat=len(mirror_axes)):
            axes = [axis + 2 for axis, flip in zip(mirror_axes, flips, strict=True) if flip]
            expected += network(image[None].flip(axes)).flip(axes)[0] / 2 ** len(mirror_axes)
    torch.testing.assert_close(predict_logits(network, image, config), expected)


# ------------------------------------------------------------------------- the published driver


def published_starts(size, window, stride):
    return [min(start, size - window) for start in range(0, size, stride)]


def published_logits(network, image, patch, strides):
    """Restate the published driver plainly: every listed window, float64 weights, one division."""
    impulse = np.zeros(patch)
    impulse[tuple(edge // 2 for edge in patch)] = 1
    weight = scipy.ndimage.gaussian_filter(
        impulse, [edge / 8 for edge in patch], mode="constant", truncate=4
    )
    sums, weights = 0, 0
    starts = [published_starts(*axis) for axis in zip(image.shape[1:], patch, strides, strict=True)]
    for corner in itertools.product(*starts):
        cut = (slice(None), *(slice(s, s + p) for s, p in zip(corner, patch, strict=True)))
        with torch.no_grad():
            logits = network(image[cut][None])[0].double().numpy()
        if isinstance(sums, int):
            sums = np.zeros((len(logits), *image.shape[1:]))
            weights = np.zeros(image.shape[1:])
        sums[cut] += logits * weight
        weights[cut[1:]] += weight
    return sums / weights


@pytest.mark.parametrize(
    ("shape", "patch", "overlap"),
    [
        ((21, 17, 30), (8, 8, 16), 0.5),
        ((16, 16, 16), (8, 8, 8), 0.5),
        ((11, 13, 9), (5, 7, 9), 0.5),
        ((19, 10, 12), (6, 4, 12), 0.25),
        ((14, 9, 11), (6, 6, 6), 0.75),
    ],
)
def test_logits_equal_those_of_the_published_driver(rng, shape, patch, overlap):
    image = a_volume(rng, 1, *shape)
    network = a_network()
    strides = [max(1, int(edge * (1 - overlap))) for edge in patch]
    expected = published_logits(network, image, patch, strides)
    logits = predict_logits(network, image, WindowConfig(patch_size=patch, overlap=overlap))
    np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=0)


def test_every_distinct_window_is_computed_once(rng):
    network = CountingIdentity()
    config = WindowConfig(patch_size=(64, 128, 128))
    # 36 windows in the published list of this volume, 12 of them distinct.
    predict_logits(network, torch.rand(1, 88, 160, 256), config)
    assert len(network.batches) == count_windows((88, 160, 256), config) == 12


def test_window_starts_are_the_published_ones():
    assert window_starts(88, 64, 0.5) == [0, 24, 24]
    assert window_starts(10, 4, 0.0) == [0, 4, 6]
    assert window_starts(5, 4, 0.99) == [0, 1, 1, 1, 1]
    assert window_starts(200, 100, 0.9)[:3] == [0, 10, 20]


@pytest.mark.parametrize("patch", [1, 2, 3, 5, 8, 16, 31, 64, 128])
def test_weights_equal_scipys_gaussian_filter(patch):
    impulse = np.zeros(patch)
    impulse[patch // 2] = 1
    expected = scipy.ndimage.gaussian_filter1d(impulse, patch / 8, mode="constant", truncate=4)
    weights = gaussian_weights(patch)
    assert weights.shape == (patch,)
    np.testing.assert_allclose(weights, expected, rtol=1e-12)
    assert (weights > 0).all()


def test_weights_along_an_axis_sum_to_one():
    sums = torch.zeros(37)
    for window in axis_windows(gaussian_weights(16), window_starts(37, 16, 0.5), 37):
        sums[window.start : window.start + 16] += window.weight
    torch.testing.assert_close(sums, torch.ones(37))


# ---------------------------------------------------------------------------- batches, placement


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_batch_size_does_not_change_the_logits(rng, batch_size):
    image = a_volume(rng, 1, 12, 13, 14)
    network = a_network()
    one = predict_logits(network, image, WindowConfig(patch_size=(6, 6, 6)))
    many = predict_logits(network, image, WindowConfig(patch_size=(6, 6, 6), batch_size=batch_size))
    torch.testing.assert_close(many, one, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("batch_size", "batches"), [(1, [1] * 8), (3, [2] * 4), (4, [4, 4]), (9, [4, 4])]
)
def test_batches_are_at_most_as_large_as_asked_for_and_even(batch_size, batches):
    network = CountingIdentity()
    config = WindowConfig(patch_size=(4, 4, 4), overlap=0, batch_size=batch_size)
    predict_logits(network, torch.rand(2, 8, 8, 8), config)
    assert [batch[0] for batch in network.batches] == batches
    assert {batch[1:] for batch in network.batches} == {(2, 4, 4, 4)}


def test_half_precision_computes_near_the_full_logits(rng):
    image = a_volume(rng, 1, 9, 9, 9)
    network = a_network()
    config = WindowConfig(patch_size=(8, 8, 8))
    exact = predict_logits(network, image, config)
    rough = predict_logits(network, image, config, Placement(precision="bf16"))
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=0.03, rtol=0.03)


def test_the_logits_of_a_single_window_are_handed_on_without_a_sum(rng):
    """A sum would be as large again, and most of a gigabyte with a hundred classes."""
    answers = []

    def network(image):
        answers.append(image.expand(-1, 3, -1, -1, -1).bfloat16())
        return answers[-1]

    image = torch.from_numpy(rng.normal(size=(1, 5, 8, 7)).astype(np.float32))
    (slab,) = iterate_slabs(network, image, WindowConfig(patch_size=(6, 8, 9)))
    (answer,) = answers
    assert slab.logits_KDHW.untyped_storage().data_ptr() == answer.untyped_storage().data_ptr()
    assert torch.equal(slab.logits_KDHW, answer[0, :, :5, :, 1:8])


def test_the_buffer_is_as_deep_as_the_patch_however_long_the_scan():
    config = WindowConfig(patch_size=(4, 4, 4))
    slabs = iterate_slabs(nn.Identity(), torch.zeros(1, 200, 4, 4), config)
    sizes = {slab.logits_KDHW.untyped_storage().nbytes() for slab in slabs}
    assert sizes == {4 * 4 * 4 * 4}


def test_the_window_counter_hears_of_every_batch_and_may_stop(rng):
    image = a_volume(rng, 1, 8, 8, 8)
    config = WindowConfig(patch_size=(4, 4, 4), overlap=0)
    heard = []

    def stop_at_five(done, total):
        heard.append((done, total))
        if done == 5:
            raise JobCancelled

    network = CountingIdentity()
    with pytest.raises(JobCancelled):
        predict_logits(network, image, config, on_window=stop_at_five)
    assert heard == [(done, 8) for done in range(1, 6)]
    assert len(network.batches) == 5


def test_a_network_that_changes_the_size_is_an_error():
    with pytest.raises(ConfigError, match=r"\(2, 2, 2\)"):
        predict_logits(nn.MaxPool3d(2), torch.zeros(1, 4, 4, 4), WindowConfig(patch_size=(4, 4, 4)))


@pytest.mark.parametrize(
    "settings",
    [{"patch_size": (0, 4, 4)}, {"overlap": 1.0}, {"overlap": -0.1}, {"batch_size": 0}],
)
def test_impossible_windows_are_an_error(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        WindowConfig(**{"patch_size": (4, 4, 4), **settings})


@pytest.mark.parametrize(
    ("patch_size", "batch_size"),
    [((32, 48, 32), 8), ((48, 96, 96), 2), ((64, 128, 128), 1), ((128, 256, 256), 1)],
)
def test_small_windows_are_computed_together(patch_size, batch_size):
    assert suitable_batch_size(patch_size) == batch_size


# -------------------------------------------------------------------------------- air, slices


def a_body_in_air(rng, channels=1):
    """Air of one value around a small body, and padding of another value below."""
    image = torch.full((channels, 24, 20, 22), -1.0)
    image[:, :8] = 0.25
    image[:, 14:20, 10:15, 12:16] = a_volume(rng, channels, 6, 5, 4)
    return image


@pytest.mark.parametrize("mirroring", [False, True])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_windows_of_one_intensity_are_computed_once_to_the_same_bit(
    rng, monkeypatch, overlap, mirroring
):
    image, network = a_body_in_air(rng), a_network()
    counted = nn.Sequential(CountingIdentity(), network)
    config = WindowConfig(patch_size=(6, 5, 7), overlap=overlap, mirroring=mirroring)
    with_shortcut = predict_logits(counted, image, config)
    computed = sum(batch[0] for batch in counted[0].batches)
    with monkeypatch.context() as patch:
        patch.setattr(window_predictor, "_uniform_intensities", lambda _patch: None)
        without = predict_logits(network, image, config)
    assert torch.equal(with_shortcut, without)
    assert computed < 0.6 * count_windows(image.shape[1:], config) * (8 if mirroring else 1)


def test_answers_of_a_hundred_classes_are_not_kept(rng, monkeypatch):
    image, network = a_body_in_air(rng), a_network()
    config = WindowConfig(patch_size=(6, 5, 7))
    expected = predict_logits(network, image, config)
    monkeypatch.setattr(window_predictor, "_MOST_KEPT", 100)
    counted = nn.Sequential(CountingIdentity(), network)
    assert torch.equal(predict_logits(counted, image, config), expected)
    computed = sum(batch[0] for batch in counted[0].batches)
    assert computed == count_windows(image.shape[1:], config)


@pytest.mark.parametrize("batch_size", [3, 8])
def test_windows_of_one_intensity_find_their_place_in_a_batch(rng, monkeypatch, batch_size):
    image, network = a_body_in_air(rng), a_network()
    alone = predict_logits(network, image, WindowConfig(patch_size=(6, 5, 7)))
    together = WindowConfig(patch_size=(6, 5, 7), batch_size=batch_size)
    torch.testing.assert_close(predict_logits(network, image, together), alone)


def test_one_channel_of_one_intensity_is_not_enough(rng):
    image = a_body_in_air(rng, channels=2)
    image[1] = a_volume(rng, *image.shape[1:])
    network = CountingIdentity()
    config = WindowConfig(patch_size=(6, 5, 7))
    assert torch.allclose(predict_logits(network, image, config), image, atol=1e-6)
    assert sum(batch[0] for batch in network.batches) == count_windows(image.shape[1:], config)


@pytest.mark.parametrize("spacing_dhw", [None, (1.5, 0.7, 1.1), (0.4, 2.0, 3.0)])
@pytest.mark.parametrize("patch_size", [(6, 7, 5), (30, 8, 40)])
def test_slices_prepared_on_the_way_give_the_logits_of_the_whole_prepared_volume(
    rng, spacing_dhw, patch_size
):
    settings = PreprocessingConfig(
        channels=("T1", "T2"),
        intensity=(IntensityConfig(scheme="mr-zscore"), IntensityConfig(scheme="mr-percentile")),
        orientation="RAS",
        crop="nonzero",
        spacing_dhw=spacing_dhw,
    )
    array = np.zeros((2, 16, 18, 20), np.float32)
    array[:, 2:15, 1:14, 3:19] = rng.normal(100, 20, (2, 13, 13, 16))
    direction = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0)
    geometry = Geometry((16, 18, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), direction)
    prepared = prepare_volume(Volume(array, geometry, "case"), settings)
    config = WindowConfig(patch_size=patch_size)
    logits = predict_logits(nn.Identity(), prepared, config)
    assert "image_CDHW" not in vars(prepared)
    assert torch.equal(logits, predict_logits(nn.Identity(), prepared.image_CDHW, config))
    assert tuple(prepared.image_CDHW.shape) == prepared.shape


def test_real_ct_with_masked_air_gives_the_same_bits(shared_data, monkeypatch):
    scan = sorted((shared_data / "headneck_ct" / "imagesTr").glob("*.nii.gz"))[0]
    preprocessing = PreprocessingConfig(modality="CT", crop="none")
    prepared = prepare_volume(read_volume(scan), preprocessing)
    counted = nn.Sequential(CountingIdentity(), a_network())
    config = WindowConfig(patch_size=(16, 24, 24))
    with_shortcut = predict_logits(counted, prepared, config)
    computed = sum(batch[0] for batch in counted[0].batches)
    monkeypatch.setattr(window_predictor, "_uniform_intensities", lambda _patch: None)
    assert torch.equal(with_shortcut, predict_logits(counted, prepared, config))
    assert computed < count_windows(prepared.shape[1:], config)


def a_ct(rng, noise=8.0):
    """A body with a lung in air, all of it with noise, in HU: where each is, and the volume."""
    depth, height, width = np.ogrid[:20, -1:1:96j, -1:1:96j]
    body = (height / 0.4) ** 2 + ((width - 0.4) / 0.5) ** 2 + 0 * depth < 1
    lung = (height / 0.35) ** 2 + ((width - 0.4) / 0.42) ** 2 + 0 * depth < 1
    array = np.select([lung, body], [-850, 40], -1000) + rng.normal(0, noise, body.shape)
    direction = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    geometry = Geometry(body.shape, (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), direction)
    return body, lung, Volume(array.astype(np.int16)[None], geometry, "case")


class Intensities(nn.Module):
    """Finds lung and tissue by intensity alone, and what it is told to find in the air."""

    def __init__(self, in_air=-1.0):
        super().__init__()
        self.in_air = in_air
        self.windows = 0

    def forward(self, image):
        self.windows += len(image)
        hu = 1000 * image
        of_lung = 100 - (hu + 850).abs()
        in_air = torch.full_like(image, self.in_air).where(hu < -900, -1.0)
        return torch.cat([torch.zeros_like(image), of_lung, hu, in_air], dim=1)


CT = PreprocessingConfig(modality="CT", intensity=(IntensityConfig(scheme="ct-clip"),))
WITHOUT_AIR = "MISFMLib.data.preprocessing.find_outside_air"


@pytest.mark.parametrize("spacing_dhw", [None, (1.5, 1.4, 1.3), (3.0, 0.8, 0.9)])
def test_windows_in_the_air_around_a_patient_are_not_computed_and_no_label_changes(
    rng, monkeypatch, spacing_dhw
):
    _, _, volume = a_ct(rng)
    settings = dataclasses.replace(CT, spacing_dhw=spacing_dhw)
    config, network = WindowConfig(patch_size=(10, 12, 12)), Intensities()
    quick = predict_logits(network, prepare_volume(volume, settings), config).argmax(0)
    computed, network.windows = network.windows, 0
    monkeypatch.setattr(WITHOUT_AIR, lambda _channels: None)
    prepared = prepare_volume(volume, settings)
    assert torch.equal(predict_logits(network, prepared, config).argmax(0), quick)
    assert network.windows == count_windows(prepared.shape[1:], config)
    assert computed < 0.75 * network.windows


def test_the_air_in_a_lung_is_computed(rng):
    """All of a window may be air, noise apart, as in emphysema."""
    _, lung, volume = a_ct(rng, noise=0.0)
    config = WindowConfig(patch_size=(10, 12, 12))
    found = predict_logits(Intensities(), prepare_volume(volume, CT), config).argmax(0)
    assert torch.equal(found == 1, torch.from_numpy(lung))


def test_a_model_that_finds_something_in_the_air_gets_all_windows(rng):
    _, _, volume = a_ct(rng)
    network, config = Intensities(in_air=1.0), WindowConfig(patch_size=(10, 12, 12))
    prepared = prepare_volume(volume, CT)
    found = predict_logits(network, prepared, config).argmax(0)
    assert torch.equal(found == 3, prepared.image_CDHW[0] < -0.9)
    assert network.windows == count_windows(prepared.shape[1:], config)


def test_only_a_ct_has_air_of_minus_1000(rng):
    _, _, volume = a_ct(rng)
    network, config = Intensities(), WindowConfig(patch_size=(10, 12, 12))
    prepared = prepare_volume(volume, dataclasses.replace(CT, modality="other"))
    predict_logits(network, prepared, config)
    assert network.windows == count_windows(prepared.shape[1:], config)


def test_the_next_slices_are_prepared_while_a_gpu_computes(rng, monkeypatch):
    """The GPU is a pretence; what is prepared ahead is what is prepared on demand."""
    _, _, volume = a_ct(rng)
    config, prepared = WindowConfig(patch_size=(6, 12, 12)), prepare_volume(volume, CT)
    expected = predict_logits(Intensities(), prepared, config)
    counts = []

    def seen_ahead(make, items, count):
        counts.append(count)
        return ahead(make, items, count)

    monkeypatch.setattr(window_predictor, "ahead", seen_ahead)
    gpu = Placement(network=torch.device("mps"), precision="fp32")
    move = torch.Tensor.to

    def stay(tensor, device, **options):
        return move(tensor, "cpu" if device == gpu.network else device, **options)

    monkeypatch.setattr(torch.Tensor, "to", stay)
    monkeypatch.setattr(window_predictor, "autocast", lambda *_: contextlib.nullcontext())
    assert torch.equal(predict_logits(Intensities(), prepared, config, gpu), expected)
    assert counts == [1]


def test_many_logits_of_16_bits_are_summed_in_half_precision(monkeypatch, seed):
    network = nn.Conv3d(1, 7, 3, padding=1)
    image = torch.randn(1, 20, 24, 22)
    config = WindowConfig(patch_size=(8, 12, 12))
    exact = predict_logits(network, image, config)
    monkeypatch.setattr("MISFMLib.inference.logit_ring._LARGE", 1000)
    slabs = list(iterate_slabs(network, image, config, Placement(precision="bf16")))
    assert {slab.logits_KDHW.dtype for slab in slabs} == {torch.float16}
    rounded = predict_logits(network, image, config, Placement(precision="bf16"))
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.03, rtol=0.02)
    assert not torch.equal(rounded, exact)
    # Those that were computed in float32 keep all their digits.
    torch.testing.assert_close(predict_logits(network, image, config), exact, atol=0, rtol=0)


BY_ROWS = [
    # volume, patch, overlap, windows: even, clamped, one row of windows only, smaller than a patch
    ((40, 44, 26), (16, 12, 12), 0.2, "even"),
    ((40, 44, 26), (16, 12, 12), 0.5, "stepped"),
    ((24, 45, 12), (8, 10, 12), 0.75, "distinct"),
    ((11, 50, 13), (8, 10, 12), 0.3, "stepped"),
    ((5, 41, 7), (8, 12, 12), 0.5, "even"),
    ((30, 12, 26), (16, 12, 12), 0.5, "even"),
]


@pytest.mark.parametrize(("shape", "patch", "overlap", "placing"), BY_ROWS)
@pytest.mark.parametrize(
    ("precision", "weights"), [("fp32", "gaussian"), ("bf16", "gaussian"), ("fp32", "gaussian-cut")]
)
def test_many_logits_are_summed_by_rows_to_the_same_bits(
    monkeypatch, seed, shape, patch, overlap, placing, precision, weights
):
    network = nn.Conv3d(1, 5, 3, padding=1)
    image = torch.randn(1, *shape)
    config = WindowConfig(
        patch_size=patch, overlap=overlap, placing=placing, weights=weights, batch_size=3
    )
    placement = Placement(precision=precision)
    monkeypatch.setattr(logit_ring, "_LARGE", 1000)
    by_rows = predict_logits(network, image, config, placement)
    fewer = max(slab.logits_KDHW.shape[2] for slab in iterate_slabs(network, image, config))
    monkeypatch.setattr(logit_ring.LogitRing, "_saves_by_rows", lambda _: False)
    at_once = predict_logits(network, image, config, placement)
    assert torch.equal(by_rows, at_once)
    assert fewer <= patch[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_half", [False, True])
def test_classes_that_lie_side_by_side_give_the_same_sums(monkeypatch, seed, dtype, is_half):
    monkeypatch.setattr(logit_ring, "_LARGE", 0 if is_half else 2**30)
    shape, patch = (8, 8, 12), (8, 8, 12)
    windows = [
        WindowConfig(patch_size=patch).axis_windows(n, axis)[0] for axis, n in enumerate(shape)
    ]
    logits = torch.randn(1, 6, *patch).to(dtype)
    sums = []
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        ring = logit_ring.LogitRing(shape, patch, None, plane_starts=[0], may_be_half=True)
        for _ in range(2):
            ring.add(logits.contiguous(memory_format=layout)[0], tuple(windows))
        (slab,) = ring.take(slice(0, 8), slice(0, 8))
        sums.append(slab.logits_KDHW.clone())
    assert torch.equal(*sums)


def test_summing_by_rows_holds_the_overlap_only(monkeypatch, seed):
    """Three windows of rows, slices that overlap by a quarter: a third, and a quarter of all."""
    made = []
    zeros, empty = torch.zeros, torch.empty
    monkeypatch.setattr(torch, "zeros", lambda *a, **k: made.append(zeros(*a, **k)) or made[-1])
    monkeypatch.setattr(torch, "empty", lambda *a, **k: made.append(empty(*a, **k)) or made[-1])
    monkeypatch.setattr(logit_ring, "_LARGE", 1000)
    config = WindowConfig(patch_size=(16, 12, 12), overlap=0.25, placing="even")
    for _ in iterate_slabs(nn.Conv3d(1, 5, 1), torch.zeros(1, 52, 36, 24), config):
        pass
    sizes = sorted(tuple(tensor.shape) for tensor in made if tensor.ndim == 4)
    assert sizes[-2:] == [(5, 4, 36, 24), (5, 16, 12, 24)]
