"""Entropy of the class probabilities on the input's grid, and the list of where to look."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from MISFMLib.configs import IntensityConfig, LabelConfig, PreprocessingConfig
from MISFMLib.data.spatial import SpatialRecord
from MISFMLib.inference import where_to_look
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.restoration import LabelRestorer
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.inference.sliding_window import LogitSlab
from MISFMLib.inference.uncertainty import Uncertainty, percent_entropy
from MISFMLib.inference.where_to_look import find_uncertain_places
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def labels_of(*values):
    return [LabelConfig(value=value, name=f"label {value}") for value in values]


def restored(logits, shape, *, values=(1, 2), **settings):
    geometry = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY)
    places = {"crop_start": (0, 0, 0), "crop_stop": shape, **settings}
    record = SpatialRecord(
        geometry, (0, 1, 2), (False,) * 3, model_shape_dhw=tuple(logits.shape[1:]), **places
    )
    restorer = LabelRestorer(record, labels_of(*values), with_uncertainty=True)
    for start in range(0, logits.shape[1], 2):
        restorer.add(LogitSlab(start, logits[:, start : start + 2].clone()))
    return restorer.label_map(), restorer.uncertainty()


# ---------------------------------------------------------------------------------- every voxel


@pytest.mark.parametrize(
    ("probabilities", "percent"),
    [((1, 0, 0), 0), ((0.5, 0.5, 0), 63), ((1 / 3, 1 / 3, 1 / 3), 100), ((0.9, 0.1, 0), 30)],
)
def test_the_entropy_is_in_percent_of_that_of_equally_likely_classes(probabilities, percent):
    logits = torch.tensor(probabilities).log().reshape(3, 1, 1)
    assert percent_entropy(logits).item() == percent


@pytest.mark.parametrize("shape", [(5, 6, 7), (9, 11, 8), (3, 6, 5)])
def test_uncertainty_comes_from_the_same_interpolated_logits_as_the_label(rng, shape):
    logits = torch.from_numpy(rng.normal(0, 2, (3, 5, 6, 7)).astype(np.float32))
    label_map, uncertainty = restored(logits, shape, values=(4, 300))
    scores = F.interpolate(logits[None], size=shape, mode="trilinear")[0]
    probabilities = scores.double().softmax(0)
    entropy = -(probabilities * probabilities.log()).sum(0) / math.log(3)
    assert np.abs(uncertainty.percent_DHW - 100 * entropy.numpy()).max() < 0.51
    order = scores.argsort(0, descending=True).numpy()
    values = np.array([0, 4, 300])
    assert (label_map.array_DHW == values[order[0]]).mean() > 0.99
    assert (uncertainty.rival_DHW == values[order[1]]).mean() > 0.99
    assert uncertainty.geometry == label_map.geometry


def test_uncertainty_does_not_change_the_labels(rng):
    logits = torch.from_numpy(rng.normal(size=(3, 5, 6, 7)).astype(np.float32))
    label_map, _ = restored(logits, (5, 6, 7))
    np.testing.assert_array_equal(label_map.array_DHW, logits.argmax(0))


def test_outside_the_crop_everything_is_sure():
    crop = {"crop_start": (1, 2, 3), "crop_stop": (3, 5, 5)}
    _, uncertainty = restored(torch.zeros(3, 2, 3, 2), (4, 5, 6), **crop)
    expected = np.zeros((4, 5, 6))
    expected[1:3, 2:5, 3:5] = 100
    np.testing.assert_array_equal(uncertainty.percent_DHW, expected)


def test_nothing_is_kept_unless_asked_for():
    record = SpatialRecord(
        Geometry((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY),
        (0, 1, 2),
        (False,) * 3,
        (0, 0, 0),
        (2, 2, 2),
        (2, 2, 2),
    )
    assert LabelRestorer(record, labels_of(1)).uncertainty() is None


class OneSided(nn.Module):
    """Sure of label 1 in the half of every patch that has the lower index along the width."""

    def forward(self, image):
        logits = torch.zeros(image.shape[0], 2, *image.shape[2:])
        logits[:, 1] = torch.linspace(9, -9, image.shape[-1])
        return logits


@pytest.mark.parametrize(("mirroring", "lowest"), [(False, 0), (True, 100)])
def test_mirror_images_that_contradict_each_other_are_uncertain(mirroring, lowest):
    preprocessing = PreprocessingConfig(
        intensity=(IntensityConfig(scheme="ct-percentile"),), patch_size=(8, 8, 8), mirror_axes=(2,)
    )
    options = SegmenterOptions(
        device="cpu", precision="fp32", mirroring=mirroring, uncertainty=True
    )
    volume = Volume(
        np.arange(512, dtype=np.int16).reshape(1, 8, 8, 8),
        Geometry((8, 8, 8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY),
        "case",
    )
    segmenter = Segmenter(Engines(OneSided()), preprocessing, labels_of(1), options)
    result = segmenter.segment(volume)
    assert result.uncertainty.array_CDHW.min() == lowest
    assert result.uncertainty.geometry == volume.geometry


# -------------------------------------------------------------------------------- where to look


def a_ball(shape, centre, radius):
    index = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
    return np.sqrt((index**2).sum(0)) <= radius


def an_organ(shape=(40, 44, 48), spacing=(1.0, 1.0, 1.0), direction=IDENTITY):
    """Labels with a ball, and the uncertain rim of one voxel that a network gives its surface."""
    inside, core, cover = (a_ball(shape, (20, 22, 24), radius) for radius in (12, 11.5, 12.5))
    labels = inside.astype(np.uint8)
    percent = np.where(cover & ~core, 45, 0).astype(np.uint8)
    geometry = Geometry(shape, spacing, (10.0, 20.0, 30.0), direction)
    return LabelMap(labels, geometry), Uncertainty(percent, 1 - labels, geometry)


def places_of(label_map, uncertainty, values=(1, 2)):
    return find_uncertain_places(uncertainty, label_map, labels_of(*values))


def test_the_rim_of_an_organ_is_no_place():
    label_map, uncertainty = an_organ()
    assert uncertainty.percent_DHW.any()
    assert places_of(label_map, uncertainty) == ()


def test_a_blurred_part_of_the_rim_is_found_with_its_size_and_labels():
    label_map, uncertainty = an_organ()
    blob = a_ball(label_map.array_DHW.shape, (20, 34, 24), 3)
    uncertainty.percent_DHW[blob] = 63
    first, *others = places_of(label_map, uncertainty)
    assert np.abs(np.subtract(first.index_ijk, (24, 34, 20))).max() <= 1
    assert set(first.labels) == {"background", "label 1"}
    assert first.peak_entropy == 0.63
    assert 0.3 < first.mean_entropy < 0.63
    assert first.volume_ml == pytest.approx(blob.sum() / 1000, rel=0.5)
    assert not others


def test_a_place_holds_what_the_network_nearly_found():
    """The label map alone shows nothing there: the second most likely label counts too."""
    label_map, uncertainty = an_organ()
    blob = a_ball(label_map.array_DHW.shape, (6, 6, 6), 4)
    uncertainty.percent_DHW[blob] = 55
    uncertainty.rival_DHW[blob] = 2
    (place,) = places_of(label_map, uncertainty)
    assert set(place.labels) == {"background", "label 2"}


def test_places_are_ranked_by_how_much_uncertainty_comes_together():
    label_map, uncertainty = an_organ()
    for centre, radius in (((8, 8, 8), 2), ((30, 36, 40), 4), ((8, 36, 40), 3)):
        uncertainty.percent_DHW[a_ball(label_map.array_DHW.shape, centre, radius)] = 63
    found = places_of(label_map, uncertainty)
    assert [place.index_ijk for place in found] == [(40, 36, 30), (40, 36, 8), (8, 8, 8)]
    scores = [place.local_entropy for place in found]
    assert scores == sorted(scores, reverse=True)


def test_at_most_ten_places_are_listed_and_none_twice():
    label_map, uncertainty = an_organ(shape=(60, 60, 60))
    uncertainty.percent_DHW[...] = 50
    found = places_of(label_map, uncertainty)
    assert len(found) == 10
    assert len({place.index_ijk for place in found}) == 10


def test_positions_follow_the_grid_in_lps():
    direction = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    label_map, uncertainty = an_organ(spacing=(3.0, 2.0, 1.0), direction=direction)
    uncertainty.percent_DHW[a_ball(label_map.array_DHW.shape, (6, 8, 10), 4)] = 63
    first = places_of(label_map, uncertainty)[0]
    i, j, k = first.index_ijk
    assert np.abs(np.subtract((i, j, k), (10, 8, 6))).max() <= 1
    assert first.position_xyz == pytest.approx((10 - 2.0 * j, 20 + 1.0 * i, 30 + 3.0 * k))


def test_large_volumes_are_searched_in_blocks_with_the_same_places(monkeypatch):
    label_map, uncertainty = an_organ(shape=(41, 45, 47), spacing=(2.0, 0.5, 0.5))
    for centre in ((8, 10, 10), (32, 36, 38)):
        uncertainty.percent_DHW[a_ball(label_map.array_DHW.shape, centre, 5)] = 63
    exact = places_of(label_map, uncertainty)[:2]
    monkeypatch.setattr(where_to_look, "_LARGEST_MAP", 12_000)
    rough = places_of(label_map, uncertainty)[:2]
    for one, other in zip(exact, rough, strict=True):
        assert np.abs(np.subtract(one.index_ijk, other.index_ijk)).max() <= 3
        assert one.volume_ml == pytest.approx(other.volume_ml, rel=0.5)
        assert one.labels == other.labels


@pytest.mark.parametrize("shape", [(40, 50, 60), (2, 3, 200), (100, 2, 2)])
def test_blocks_are_nearly_cubic_and_few_enough(monkeypatch, shape):
    monkeypatch.setattr(where_to_look, "_LARGEST_MAP", 100)
    block = where_to_look._block_size(shape, (4.0, 1.0, 1.0))
    assert math.prod(-(-size // edge) for size, edge in zip(shape, block, strict=True)) <= 100
    means = where_to_look._block_means(np.full(shape, 7, np.uint8), block)
    assert (means == 7).all()


def test_a_thin_volume_is_no_problem():
    percent = np.full((2, 20, 20), 60, np.uint8)
    labels = np.zeros_like(percent)
    geometry = Geometry(percent.shape, (5.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY)
    assert places_of(LabelMap(labels, geometry), Uncertainty(percent, labels + 1, geometry))
