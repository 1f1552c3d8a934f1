"""Logits back on the input's grid: the arg max of their trilinear interpolation, slab by slab."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from MISFMLib.configs import IntensityConfig, LabelConfig, PreprocessingConfig
from MISFMLib.data import label_blocks
from MISFMLib.data.label_blocks import Decision
from MISFMLib.data.label_resampling import LabelResampler, Places
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.data.spatial import SpatialRecord
from MISFMLib.errors import BundleError, DeviceError
from MISFMLib.inference.restoration import LabelRestorer
from MISFMLib.inference.sliding_window import LogitSlab
from MISFMLib.volumes.volume import Geometry, Volume

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def in_slabs(logits, depth):
    for start in range(0, logits.shape[1], depth):
        yield LogitSlab(start, logits[:, start : start + depth])


def resampled(logits, shape, slab_depth, dtype=np.uint8, **settings):
    output = np.full(shape, 99, dtype)
    values = np.arange(len(logits) + 1, dtype=dtype)
    resampler = LabelResampler(tuple(logits.shape[1:]), output, values, **settings)
    for slab in in_slabs(logits, slab_depth):
        resampler.add(slab.logits_KDHW)
    return output


def assert_highest(labels, scores):
    """Every label has the highest score but for rounding, and nearly all are the arg max."""
    labels = torch.from_numpy(labels.astype(np.int64))
    chosen = scores.gather(0, labels[None])[0]
    torch.testing.assert_close(chosen, scores.amax(0), atol=1e-5, rtol=0)
    assert (labels == scores.argmax(0)).double().mean() > 0.999


@pytest.mark.parametrize("slab_depth", [1, 3, 100])
@pytest.mark.parametrize("edge", [1, 3, 16])
@pytest.mark.parametrize(
    ("model_shape", "shape"),
    [
        ((7, 8, 9), (15, 18, 11)),
        ((12, 13, 14), (5, 7, 9)),
        ((4, 20, 6), (11, 9, 6)),
        ((5, 6, 7), (5, 12, 5)),
        ((5, 6, 7), (9, 6, 7)),
        ((1, 1, 1), (3, 4, 5)),
        ((6, 5, 4), (1, 1, 1)),
    ],
)
def test_labels_are_the_arg_max_of_the_interpolated_logits(
    rng, monkeypatch, model_shape, shape, edge, slab_depth
):
    monkeypatch.setattr(label_blocks, "EDGE", edge)
    monkeypatch.setattr(label_blocks, "_FEW_SCORES", 0)
    logits = torch.from_numpy(rng.normal(size=(4, *model_shape)).astype(np.float32))
    scores = F.interpolate(logits[None], size=shape, mode="trilinear")[0]
    assert_highest(resampled(logits, shape, slab_depth), scores)


@pytest.mark.parametrize("rows", [1, 4, 5])
@pytest.mark.parametrize("slab_depth", [1, 3])
@pytest.mark.parametrize(
    ("shape", "orders"),
    [
        ((15, 30, 11), (1, 1, 1)),
        ((5, 7, 5), (1, 1, 1)),
        ((7, 13, 6), (1, 1, 1)),
        ((9, 13, 11), (1, 1, 1)),
        ((15, 30, 11), (1, 0, 1)),
        ((15, 30, 11), (0, 1, 0)),
    ],
)
def test_scores_by_rows_give_the_same_labels(rng, slab_depth, rows, shape, orders):
    logits = torch.from_numpy(rng.normal(size=(4, 7, 13, 6)).astype(np.float32))
    heard = {}
    outputs = []
    for height in (13, rows):
        output, tiles = np.full(shape, 99), np.full(shape, np.nan)
        heard[height] = tiles
        resampler = LabelResampler(
            (7, 13, 6),
            output,
            np.arange(4),
            lambda place, scores, _, tiles=tiles: tiles.__setitem__(place, scores.sum(0)),
            places=Places(orders),
        )
        for slab in in_slabs(logits, slab_depth):
            for part_KDHW in slab.logits_KDHW.split(height, dim=2):
                resampler.add(part_KDHW)
        outputs.append(output)
    np.testing.assert_array_equal(*outputs)
    np.testing.assert_allclose(*heard.values(), atol=1e-5)


@pytest.mark.parametrize("slab_depth", [1, 4, 9])
def test_nothing_is_interpolated_on_the_same_grid(rng, slab_depth):
    logits = torch.from_numpy(rng.normal(size=(5, 9, 8, 7)).astype(np.float32))
    np.testing.assert_array_equal(resampled(logits, (9, 8, 7), slab_depth), logits.argmax(0))


def lumps(rng, classes=12, size=24):
    """Scores of classes each of which is the highest somewhere, and equal in places."""
    centres = rng.uniform(0, size, (classes, 3))
    places = np.stack(np.indices((size,) * 3), -1)[None]
    distances = np.linalg.norm(places - centres[:, None, None, None], axis=-1)
    return torch.from_numpy((-distances).round(1).astype(np.float32))


def with_all_interpolated(monkeypatch, *arguments, **settings):
    """Labels as they are when no class is left out."""
    with monkeypatch.context() as patched:
        patched.setattr(Decision, "is_possible", every_label)
        return resampled(*arguments, **settings)


def every_label(decision, lowest, _):
    return torch.ones(len(lowest) + decision.is_by_regions, lowest.shape[1], dtype=torch.bool)


@pytest.mark.parametrize("decision", [Decision(), Decision(is_by_regions=True)])
@pytest.mark.parametrize("shape", [(48, 48, 48), (30, 47, 24), (17, 13, 60)])
def test_only_classes_that_can_win_are_interpolated(rng, monkeypatch, decision, shape):
    monkeypatch.setattr(label_blocks, "EDGE", 8)
    monkeypatch.setattr(label_blocks, "_FEW_SCORES", 0)
    logits = lumps(rng)
    logits += 6 * decision.is_by_regions
    logits[7] = logits[3]  # equal everywhere
    expected = with_all_interpolated(monkeypatch, logits, shape, 10, decision=decision)
    interpolated, decide = [], Decision.decide
    monkeypatch.setattr(
        Decision, "decide", lambda self, scores: interpolated.append(scores) or decide(self, scores)
    )
    labels = resampled(logits, shape, 10, decision=decision)
    np.testing.assert_array_equal(labels, expected)
    assert len(np.unique(labels)) > 8
    assert sum(scores.numel() for scores in interpolated) < 0.8 * labels.size * len(logits)


def test_one_class_wherever_scores_are_given_is_not_interpolated(rng, monkeypatch):
    monkeypatch.setattr(Decision, "decide", None)
    logits = torch.from_numpy(rng.uniform(size=(5, 9, 8, 7)).astype(np.float32))
    logits[2] += 1
    assert (resampled(logits, (20, 11, 30), 4) == 2).all()


def test_who_hears_scores_may_change_them_but_not_what_was_given(rng):
    logits = torch.from_numpy(rng.normal(size=(3, 4, 5, 6)).astype(np.float32))
    given = logits.clone()
    resampled(logits, (4, 5, 6), 4, on_block=lambda _place, scores, _classes: scores.zero_())
    assert torch.equal(logits, given)


def test_equal_logits_give_the_lowest_class():
    logits = torch.tensor([1.0, 3.0, 3.0, 2.0])[:, None, None, None].expand(4, 2, 3, 4)
    assert (resampled(logits, (2, 3, 4), 1) == 1).all()


def test_more_than_256_classes_are_told_apart(rng):
    logits = torch.from_numpy(rng.normal(size=(300, 2, 3, 4)).astype(np.float32))
    labels = resampled(logits, (2, 3, 4), 1, np.uint16)
    np.testing.assert_array_equal(labels, logits.argmax(0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error(rng, value):
    logits = torch.from_numpy(rng.normal(size=(3, 4, 5, 6)).astype(np.float32))
    logits[1, 2, 3, 4] = value
    with pytest.raises(DeviceError, match="not finite"):
        resampled(logits, (4, 5, 6), 2)


def a_record(**settings):
    values = {
        "input_geometry": Geometry((4, 5, 6), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY),
        "axes": (0, 1, 2),
        "flips": (False, False, False),
        "crop_start": (0, 0, 0),
        "crop_stop": (4, 5, 6),
        "model_shape_dhw": (4, 5, 6),
    }
    return SpatialRecord(**{**values, **settings})


def labels_of(*values):
    return [LabelConfig(value=value, name=f"label {value}") for value in values]


@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_classes_become_the_values_of_the_labels(rng, value, dtype):
    logits = torch.from_numpy(rng.normal(size=(3, 4, 5, 6)).astype(np.float32))
    restorer = LabelRestorer(a_record(), labels_of(7, value))
    for slab in in_slabs(logits, 3):
        restorer.add(slab)
    array = restorer.label_map().array_DHW
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.array([0, 7, value])[logits.argmax(0)])


def test_a_network_with_other_classes_than_the_model_is_an_error():
    restorer = LabelRestorer(a_record(), labels_of(1))
    with pytest.raises(BundleError, match="3 classes"):
        restorer.add(LogitSlab(0, torch.zeros(3, 4, 5, 6)))


def test_outside_the_crop_is_background():
    record = a_record(crop_start=(1, 2, 3), crop_stop=(3, 5, 5), model_shape_dhw=(4, 6, 2))
    restorer = LabelRestorer(record, labels_of(9))
    logits = torch.zeros(2, 4, 6, 2)
    logits[1] = 1
    restorer.add(LogitSlab(0, logits))
    expected = np.zeros((4, 5, 6))
    expected[1:3, 2:5, 3:5] = 9
    np.testing.assert_array_equal(restorer.label_map().array_DHW, expected)


@pytest.mark.parametrize("spacing_dhw", [None, (0.5, 1.0, 0.25)])
@pytest.mark.parametrize("seed", range(6))
def test_preparing_and_restoring_gives_back_the_labels_in_any_orientation(seed, spacing_dhw):
    """Labels as intensities; a finer whole multiple of the grid keeps every voxel's own label."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((3, 3))
    matrix[range(3), rng.permutation(3)] = rng.choice([-1.0, 1.0], 3)
    labels = np.zeros((9, 11, 13), np.uint8)
    labels[2:5, 3:8, 4:10] = rng.integers(0, 4, (3, 5, 6))
    geometry = Geometry(labels.shape, (1.0, 1.0, 1.0), (5.0, 6.0, 7.0), tuple(matrix.ravel()))
    settings = PreprocessingConfig(
        intensity=(IntensityConfig(scheme="ct-percentile"),), crop="nonzero", spacing_dhw=None
    )
    record = prepare_volume(Volume(labels[None], geometry, "case"), settings).record
    factors = (1, 1, 1) if spacing_dhw is None else (2, 1, 4)
    model_shape = tuple(np.multiply(record.crop_shape_dhw, factors).tolist())
    fine = SpatialRecord(
        geometry, record.axes, record.flips, record.crop_start, record.crop_stop, model_shape
    )
    cropped = torch.from_numpy(np.ascontiguousarray(record.crop_view(labels)))
    for axis, factor in enumerate(factors):
        cropped = cropped.repeat_interleave(factor, axis)
    logits = F.one_hot(cropped.long(), 4).movedim(-1, 0).float()
    restorer = LabelRestorer(fine, labels_of(1, 2, 3))
    for slab in in_slabs(logits, 2):
        restorer.add(slab)
    result = restorer.label_map()
    np.testing.assert_array_equal(result.array_DHW, labels)
    assert result.geometry == geometry


def test_threads_share_the_rows_and_none_of_them_has_threads_of_its_own(monkeypatch):
    seen, together = [], threading.Barrier(2, timeout=10)
    decide = Decision.decide

    def decide_together(decision, scores):
        together.wait()
        seen.append(torch.get_num_threads())
        return decide(decision, scores)

    monkeypatch.setattr(Decision, "decide", decide_together)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        output_DHW = np.zeros((2, 4, 4), np.uint8)
        resampler = LabelResampler((2, 4, 4), output_DHW, np.arange(2))
        resampler.add(torch.randn(2, 2, 4, 4))
        assert seen == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
