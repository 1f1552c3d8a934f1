"""Model space: axes, crop, intensities, voxel size, and the record of the way back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torch.nn.functional as F

from MISFMLib.configs import IntensityConfig, PreprocessingConfig
from MISFMLib.data import resampling
from MISFMLib.data.intensity import intensity_map
from MISFMLib.data.preprocessing import prepare_label_map, prepare_volume
from MISFMLib.data.resampling import linear_positions, slab_ranges
from MISFMLib.data.spatial import canonical_axes
from MISFMLib.errors import ConfigError, DataError, DeviceError
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
RAW_CT = IntensityConfig(scheme="ct-percentile")  # mean 0, deviation 1, no limits: values stay


def a_volume(array, *, spacing=(1.0, 1.0, 1.0), direction=IDENTITY):
    array_CDHW = array if array.ndim == 4 else array[None]
    geometry = Geometry(array_CDHW.shape[1:], spacing, (10.0, -20.0, 30.0), direction)
    return Volume(array_CDHW, geometry, "case")


def unchanged_intensities(**settings):
    return PreprocessingConfig(intensity=(RAW_CT,), **settings)


def signed_axes():
    """All 48 directions of a volume that is not oblique, left-handed ones too."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            yield tuple(matrix.ravel().tolist())


# ----------------------------------------------------------------------------------- orientation


def test_a_volume_that_would_become_a_giant_is_refused_with_the_numbers(monkeypatch):
    monkeypatch.setattr("MISFMLib.memory.free_bytes", lambda: 2**30)
    geometry = Geometry((9, 10, 11), (200.0, 300.0, 300.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    volume = Volume(np.ones((1, 9, 10, 11), np.int16), geometry, "micrometres")
    preprocessing = PreprocessingConfig(spacing_dhw=(1.0, 1.0, 1.0))
    with pytest.raises(DeviceError, match="become 1800 x 3000 x 3300 voxels") as caught:
        prepare_volume(volume, preprocessing)
    assert caught.value.code == "out-of-memory"


def test_canonical_axes_agree_with_simpleitk_for_every_right_angled_direction(rng):
    array = rng.normal(size=(3, 4, 5)).astype(np.float32)
    for direction, target in itertools.product(signed_axes(), ("LPS", "RAS", "PIR")):
        image = sitk.GetImageFromArray(array)
        image.SetDirection(direction)
        expected = sitk.GetArrayFromImage(sitk.DICOMOrient(image, target))
        volume = a_volume(array, direction=direction)
        prepared = prepare_volume(volume, unchanged_intensities(orientation=target))
        np.testing.assert_array_equal(prepared.image_CDHW[0], expected)


def test_an_oblique_volume_goes_to_its_nearest_axes_without_resampling():
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.4, -0.3, 0.5)
    sagittal = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], dtype=float)
    straight = canonical_axes(tuple(sagittal.ravel().tolist()), "LPS")
    oblique = np.reshape(turn.GetMatrix(), (3, 3)) @ sagittal
    assert canonical_axes(tuple(oblique.ravel().tolist()), "LPS") == straight


def test_a_volume_at_45_degrees_keeps_its_order_of_axes():
    half = np.sqrt(0.5)
    more = half + 1e-9  # as rounding of a header leaves it
    axes, _ = canonical_axes((half, -more, 0.0, more, half, 0.0, 0.0, 0.0, 1.0), "LPS")
    assert axes == (0, 1, 2)


@pytest.mark.parametrize("orientation", ["LPX", "LLS", "LP", "LRS"])
def test_an_impossible_orientation_is_an_error(orientation):
    with pytest.raises(ConfigError, match="orientation"):
        canonical_axes(IDENTITY, orientation)


# ------------------------------------------------------------------------------------------ crop


@pytest.mark.parametrize(
    ("crop", "outside", "inside"), [("nonzero", 0, 7), ("body", -1000, -400), ("body", -500, 40)]
)
def test_the_crop_keeps_the_foreground_with_a_margin(crop, outside, inside):
    array = np.full((20, 24, 28), outside, np.int16)
    array[5:9, 8:10, 1:15] = inside
    record = prepare_volume(a_volume(array), unchanged_intensities(crop=crop)).record
    assert record.crop_start == (2, 5, 0)
    assert record.crop_stop == (12, 13, 18)


def test_the_crop_covers_the_foreground_of_every_channel():
    array = np.zeros((2, 12, 12, 12), np.int16)
    array[0, 4, 4, 4] = array[1, 8, 8, 8] = 1
    settings = PreprocessingConfig(channels=("a", "b"), intensity=(RAW_CT, RAW_CT), crop="nonzero")
    record = prepare_volume(a_volume(array), settings).record
    assert (record.crop_start, record.crop_stop) == ((1, 1, 1), (12, 12, 12))


def test_a_volume_without_foreground_is_kept_whole():
    record = prepare_volume(
        a_volume(np.full((4, 5, 6), -1000, np.int16)), unchanged_intensities(crop="body")
    ).record
    assert (record.crop_start, record.crop_stop) == ((0, 0, 0), (4, 5, 6))


def test_the_crop_is_found_on_flipped_and_permuted_axes(rng):
    array = np.zeros((14, 17, 21), np.int16)
    array[6:8, 4:6, 15:18] = rng.integers(1, 9, (2, 2, 3))
    for direction in signed_axes():
        prepared = prepare_volume(
            a_volume(array, direction=direction), unchanged_intensities(crop="nonzero")
        )
        np.testing.assert_array_equal(
            prepared.image_CDHW[0], prepared.record.crop_view(array).astype(np.float32)
        )
        assert sorted(prepared.record.crop_shape_dhw) == [8, 8, 9]
        assert prepared.image_CDHW.sum() == array.sum()


# ----------------------------------------------------------------------------------- intensities


def test_ct_clip_maps_its_limits_to_plus_and_minus_one():
    values = np.array([[[-3000, -200, 50, 300, 5000]]], np.int16)
    mapping = intensity_map(values, IntensityConfig(scheme="ct-clip", clip=(-200, 300)))
    np.testing.assert_allclose(mapping.apply(values), [[[-1, -1, 0, 1, 1]]])


def test_ct_clip_takes_the_published_limits_when_none_are_given():
    values = np.array([[[-2000, 0, 500, 3000]]], np.int16)
    mapping = intensity_map(values, IntensityConfig(scheme="ct-clip"))
    np.testing.assert_allclose(mapping.apply(values), [[[-1, 0, 0.5, 1]]])


def test_ct_percentile_uses_the_numbers_of_the_training_foreground():
    values = np.array([[[-500, 0, 100, 900]]], np.int16)
    config = IntensityConfig(scheme="ct-percentile", clip=(-100, 300), mean=100, std=50)
    mapped = intensity_map(values, config).apply(values)
    np.testing.assert_allclose(mapped, [[[-4, -2, 0, 4]]])


def test_mr_zscore_gives_mean_zero_and_deviation_one(rng):
    values = rng.normal(1.7e6, 3e5, (9, 10, 11))
    mapped = intensity_map(values, IntensityConfig(scheme="mr-zscore")).apply(values)
    assert abs(mapped.mean()) < 1e-5
    assert mapped.std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("scheme", ["mr-zscore", "mr-percentile"])
def test_mr_statistics_ignore_a_background_of_zeros(rng, scheme):
    brain = rng.uniform(50, 200, (8, 9, 10)).astype(np.float32)
    padded = np.zeros((20, 20, 20), np.float32)
    padded[5:13, 5:14, 5:15] = brain
    config = IntensityConfig(scheme=scheme)
    expected, found = intensity_map(brain, config), intensity_map(padded, config)
    assert found.shift == pytest.approx(expected.shift, rel=1e-6)
    assert found.scale == pytest.approx(expected.scale, rel=1e-6)


def test_few_zeros_count_as_signal(rng):
    values = rng.uniform(50, 200, (10, 10, 10))
    values[0, 0, :4] = 0
    mapping = intensity_map(values, IntensityConfig(scheme="mr-zscore"))
    assert mapping.shift == pytest.approx(values.mean())
    assert mapping.scale == pytest.approx(values.std())


def test_mr_percentile_maps_its_percentiles_to_plus_and_minus_one():
    values = np.arange(1.0, 1002.0).reshape(7, 11, 13)
    config = IntensityConfig(scheme="mr-percentile", clip=(10, 90))
    mapped = intensity_map(values, config).apply(values)
    assert (mapped.min(), mapped.max()) == (-1, 1)
    assert mapped.ravel()[100] == pytest.approx(-1, abs=1e-6)
    assert mapped.ravel()[900] == pytest.approx(1, abs=1e-6)


def test_percentiles_of_a_large_volume_come_from_a_regular_sample(rng, monkeypatch):
    values = rng.normal(size=(30, 30, 30))
    config = IntensityConfig(scheme="mr-percentile")
    exact = intensity_map(values, config)
    monkeypatch.setattr("MISFMLib.data.intensity._SAMPLE_VOXELS", 4000)
    assert intensity_map(values, config).scale == pytest.approx(exact.scale, rel=0.1)


@pytest.mark.parametrize("scheme", ["ct-clip", "ct-percentile", "mr-zscore", "mr-percentile"])
@pytest.mark.parametrize("value", [0, 0.1, 1 / 3, 1.7e6, -1e5 / 7])
def test_a_constant_volume_gives_finite_input(scheme, value):
    values = np.full((7, 11, 13), value)
    mapping = intensity_map(values, IntensityConfig(scheme=scheme))
    mapped = mapping.apply(values)
    assert np.isfinite(mapped).all()
    assert mapping.scale >= 1
    if scheme.startswith("mr"):
        np.testing.assert_allclose(mapped, 0, atol=1e-2)


def test_each_channel_has_its_own_scheme(rng):
    array = rng.uniform(-900, 900, (2, 4, 5, 6))
    settings = PreprocessingConfig(
        channels=("CT", "MR"),
        intensity=(IntensityConfig(scheme="ct-clip"), IntensityConfig(scheme="mr-zscore")),
    )
    image = prepare_volume(a_volume(array), settings).image_CDHW.numpy()
    np.testing.assert_allclose(image[0], array[0] / 1000, rtol=1e-5)
    np.testing.assert_allclose(image[1], (array[1] - array[1].mean()) / array[1].std(), rtol=1e-3)


def test_in_a_cascade_what_the_first_network_labels_counts_as_foreground():
    # nnU-Net's mask is `seg >= 0`, and only voxels without a label become -1 outside.
    array, labels = np.zeros((1, 3, 4, 5), np.float32), np.zeros((3, 4, 5), np.uint8)
    array[0, 1], array[0, :, 1], labels[0, 0, 0], labels[1, 2, 3] = 5, 9, 1, 2
    volume = a_volume(array)
    preprocessing = PreprocessingConfig(
        intensity=(IntensityConfig(scheme="zscore-inside"),), previous_labels=(1, 2)
    )
    prepared = prepare_volume(volume, preprocessing, LabelMap(labels, volume.geometry))
    inside = (array[0] != 0) | (labels > 0)
    values = array[0][inside]
    expected = np.where(inside, (array[0] - values.mean()) / values.std(), array[0])
    np.testing.assert_allclose(prepared.image_CDHW[0], expected, atol=1e-6)
    np.testing.assert_array_equal(prepared.image_CDHW[1:], [labels == 1, labels == 2])


def test_a_wrong_number_of_channels_is_an_error():
    with pytest.raises(DataError, match=r"2 channel\(s\), the model expects 1: image"):
        prepare_volume(a_volume(np.zeros((2, 3, 3, 3))), PreprocessingConfig())


# ------------------------------------------------------------------------------------ resampling


@pytest.mark.parametrize("slab_voxels", [1, 100, 2**22])
@pytest.mark.parametrize(
    "target", [(1.0, 1.0, 1.0), (4.0, 0.7, 1.1), (0.5, 2.5, 0.8), (50.0, 50.0, 50.0)]
)
def test_resampling_equals_torch_interpolation_of_the_whole_volume(
    rng, monkeypatch, slab_voxels, target
):
    monkeypatch.setattr(resampling, "_SLAB_VOXELS", slab_voxels)
    array = rng.normal(size=(9, 11, 13)).astype(np.float32)
    prepared = prepare_volume(
        a_volume(array, spacing=(2.0, 1.0, 1.0)), unchanged_intensities(spacing_dhw=target)
    )
    shape = tuple(
        max(1, round(size * old / new))
        for size, old, new in zip(array.shape, (2.0, 1.0, 1.0), target, strict=True)
    )
    assert prepared.record.model_shape_dhw == shape
    expected = F.interpolate(torch.from_numpy(array)[None, None], size=shape, mode="trilinear")
    torch.testing.assert_close(prepared.image_CDHW[None], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("target", [None, (4.0, 0.7, 1.1), (0.5, 2.5, 0.8)])
def test_some_slices_are_those_of_the_whole_volume(rng, target):
    volume = a_volume(rng.normal(size=(9, 11, 13)), direction=next(signed_axes()))
    prepared = prepare_volume(volume, unchanged_intensities(spacing_dhw=target))
    depth = prepared.shape[1]
    for start, stop in ((0, 1), (1, depth), (depth - 1, depth), (0, depth)):
        expected = prepared.image_CDHW[:, start:stop]
        assert torch.equal(prepared.slices(start, stop), expected)


def test_model_spacing_keeps_the_extent_of_the_crop():
    prepared = prepare_volume(
        a_volume(np.ones((7, 8, 9)), spacing=(3.0, 0.5, 0.6), direction=next(signed_axes())),
        unchanged_intensities(spacing_dhw=(1.0, 1.0, 1.0)),
    )
    extent = np.multiply(prepared.record.model_spacing_dhw, prepared.record.model_shape_dhw)
    np.testing.assert_allclose(extent, (21.0, 4.0, 5.4))


def test_voxels_map_to_the_same_place_of_the_extent():
    lower, upper, weight = linear_positions(4, 8)
    assert lower.tolist() == [0, 0, 0, 1, 1, 2, 2, 3]
    assert upper.tolist() == [1, 1, 1, 2, 2, 3, 3, 3]
    np.testing.assert_allclose(weight, [0, 0.25, 0.75, 0.25, 0.75, 0.25, 0.75, 0])


def test_slab_ranges_cover_every_slice_once(monkeypatch):
    monkeypatch.setattr(resampling, "_SLAB_VOXELS", 100)
    assert list(slab_ranges(7, 30)) == [(0, 3), (3, 6), (6, 7)]
    assert list(slab_ranges(2, 1000)) == [(0, 1), (1, 2)]


# -------------------------------------------------------------------------------- label maps, pad


def test_a_label_map_follows_its_volume_into_model_space(rng):
    array = np.zeros((10, 12, 14), np.int16)
    array[3:7, 4:9, 5:11] = rng.integers(1, 6, (4, 5, 6))
    direction = tuple(np.diag([-1.0, 1.0, -1.0]).ravel().tolist())
    volume = a_volume(array, direction=direction)
    prepared = prepare_volume(volume, unchanged_intensities(crop="nonzero"))
    labels = prepare_label_map(LabelMap(array.astype(np.uint8), volume.geometry), prepared.record)
    assert labels.dtype == torch.uint8
    torch.testing.assert_close(labels.float(), prepared.image_CDHW[0])


def test_a_label_map_is_resampled_label_by_label(rng):
    array = rng.integers(0, 4, (6, 7, 8)).astype(np.uint16) * 50
    volume = a_volume(array.astype(np.float32))
    prepared = prepare_volume(volume, unchanged_intensities(spacing_dhw=(2.0, 0.6, 1.3)))
    labels = prepare_label_map(LabelMap(array, volume.geometry), prepared.record)
    one_hot = F.one_hot(torch.from_numpy(array.astype(np.int64)) // 50).movedim(-1, 0)[None]
    expected = F.interpolate(
        one_hot.double(), size=prepared.record.model_shape_dhw, mode="trilinear"
    )[0]
    chosen = expected.gather(0, labels[None].long() // 50)[0]
    torch.testing.assert_close(chosen, expected.amax(0), atol=1e-6, rtol=0)


def test_a_label_value_above_255_is_refused():
    volume = a_volume(np.ones((4, 5, 6)))
    record = prepare_volume(volume, unchanged_intensities()).record
    labels = LabelMap(np.full((4, 5, 6), 256, np.uint16), volume.geometry)
    with pytest.raises(DataError, match="256"):
        prepare_label_map(labels, record)


def test_a_label_map_on_another_grid_is_refused():
    volume = a_volume(np.ones((4, 5, 6)))
    other = a_volume(np.ones((4, 5, 6)), spacing=(2.0, 1.0, 1.0))
    record = prepare_volume(volume, unchanged_intensities()).record
    with pytest.raises(DataError, match="another grid"):
        prepare_label_map(LabelMap(np.ones((4, 5, 6), np.uint8), other.geometry), record)


def test_real_volumes_come_out_finite(shared_data):
    from MISFMLib.volumes.volume import read_volume

    settings = PreprocessingConfig(crop="nonzero", spacing_dhw=(3.0, 3.0, 3.0))
    paths = sorted((shared_data / "samples").rglob("*.nii.gz"))[:6]
    for path in paths:
        assert prepare_volume(read_volume(path), settings).image_CDHW.isfinite().all()
