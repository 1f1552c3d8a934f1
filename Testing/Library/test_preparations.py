"""A volume for several models: the same input as for each alone, computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from MISFMLib.configs import IntensityConfig, InterpolationConfig, PreprocessingConfig
from MISFMLib.data import preparations, preprocessing
from MISFMLib.data.interpolation import SlabInterpolation
from MISFMLib.data.preparations import Preparations
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume

CT = PreprocessingConfig(
    modality="CT",
    intensity=(IntensityConfig(scheme="ct-percentile", clip=(-50, 60), mean=5, std=20),),
    spacing_dhw=(2.0, 2.0, 2.0),
    crop="nonzero",
    resampling=InterpolationConfig(order=3),
    skips_air=False,
)


@pytest.fixture
def volume(rng):
    array_CDHW = rng.normal(0, 40, (1, 20, 26, 24)).astype(np.float32)
    array_CDHW[:, :3] = 0
    geometry = Geometry((20, 26, 24), (1.5, 1.2, 1.2), (0, 0, 0), tuple(np.eye(3).ravel()))
    return Volume(array_CDHW, geometry, "scan")


@pytest.fixture
def calls(monkeypatch):
    """Count what takes time."""
    made = []
    place, fill = preprocessing.spatial_record, SlabInterpolation.fill
    monkeypatch.setattr(
        preprocessing, "spatial_record", lambda *words: made.append("crop") or place(*words)
    )
    monkeypatch.setattr(
        SlabInterpolation, "fill", lambda *words: made.append("resample") or fill(*words)
    )
    return made


def in_windows(prepared):
    return torch.cat([prepared.slices(start, start + 2) for start in range(0, 8, 2)], dim=1)


def test_models_with_the_same_preprocessing_share_their_input(volume, calls):
    wanted = [CT, replace(CT, overlap=0.2), replace(CT, patch_size=(8, 8, 8), windows="even")]
    expected = in_windows(prepare_volume(volume, CT))
    calls.clear()
    prepare = Preparations(volume, wanted)
    for each in wanted:  # products of other numbers of slices are rounded otherwise on some CPUs
        found = in_windows(prepare.prepare(each, None))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert calls == ["crop", "resample"]
    assert not prepare._kept  # nothing is held while the labels are cleaned


def test_models_that_differ_in_their_intensities_share_the_crop(volume, calls):
    other = replace(CT, intensity=(replace(CT.intensity[0], clip=(-80, 20), mean=-3),))
    expected = [in_windows(prepare_volume(volume, each)) for each in (CT, other)]
    calls.clear()
    prepare = Preparations(volume, [CT, other])
    found = [in_windows(prepare.prepare(each, None)) for each in (CT, other)]
    assert all(map(torch.equal, found, expected))
    assert calls.count("crop") == 1


@pytest.mark.parametrize("change", [{"spacing_dhw": (3.0, 3.0, 3.0)}, {"crop": "none"}])
def test_models_on_other_grids_share_nothing(volume, change):
    other = replace(CT, **change)
    prepare = Preparations(volume, [CT, other])
    for each in (CT, other):
        found, alone = prepare.prepare(each, None), prepare_volume(volume, each)
        assert found.record == alone.record
        assert torch.equal(found.image_CDHW, alone.image_CDHW)


def test_labels_of_a_model_before_belong_to_one_model_only(volume):
    cascade = replace(CT, previous_labels=(1,))
    prepare = Preparations(volume, [cascade, cascade])
    for value in (0, 1):
        labels = LabelMap(np.full((20, 26, 24), value, np.uint8), volume.geometry)
        channel = prepare.prepare(cascade, labels).image_CDHW[1]
        assert float(channel.mean()) == pytest.approx(value, abs=0.01)


def test_a_large_input_is_computed_slice_by_slice_all_the_same(volume, calls, monkeypatch):
    monkeypatch.setattr(preparations, "_LARGEST_KEPT", 100)
    prepare = Preparations(volume, [CT, CT])
    first, second = prepare.prepare(CT, None), prepare.prepare(CT, None)
    assert second.computed_CDHW is None
    assert torch.equal(in_windows(first), in_windows(second))
    assert calls.count("crop") == 1
