"""Dice and surface distances against brute force, and what empty masks give."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from MISFMLib.metrics import agreement, compare_label_maps, dice

SPACING = (3.0, 1.0, 0.5)


def two_masks(seed):
    rng = np.random.default_rng(seed)
    masks = np.zeros((2, 8, 9, 10), bool)
    for mask in masks:
        low, high = rng.integers(0, 4, 3), rng.integers(5, 9, 3)
        mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
        mask &= rng.random(mask.shape) < 0.9
    return masks


def surface(mask):
    """List the voxels of a mask that have one of their six neighbours outside it."""
    padded = np.pad(mask, 1)
    voxels = []
    for voxel in zip(*np.nonzero(padded), strict=True):
        steps = [(axis, sign) for axis, sign in itertools.product(range(3), (-1, 1))]
        neighbours = [
            tuple(v + (sign if index == axis else 0) for index, v in enumerate(voxel))
            for axis, sign in steps
        ]
        if not all(padded[neighbour] for neighbour in neighbours):
            voxels.append(np.subtract(voxel, 1) * SPACING)
    return np.array(voxels)


def nearest(points, others):
    return np.array([min(math.dist(point, other) for other in others) for point in points])


@pytest.mark.parametrize("seed", range(3))
def test_distances_and_overlap_agree_with_brute_force_on_long_voxels(seed):
    prediction, reference = two_masks(seed)
    to_reference = nearest(surface(prediction), surface(reference))
    to_prediction = nearest(surface(reference), surface(prediction))

    found = agreement(prediction, reference, SPACING, tolerance_mm=1.0)

    overlap = 2 * (prediction & reference).sum() / (prediction.sum() + reference.sum())
    distances = np.concatenate([to_reference, to_prediction])
    assert found.dice == pytest.approx(overlap, abs=1e-6)
    assert found.hausdorff95_mm == pytest.approx(
        max(np.percentile(to_reference, 95), np.percentile(to_prediction, 95)), abs=1e-5
    )
    assert found.surface_dice == pytest.approx((distances <= 1.0).mean(), abs=1e-6)


def test_equal_masks_agree_fully():
    mask, _ = two_masks(0)
    found = agreement(mask, mask, SPACING)
    assert (found.dice, found.hausdorff95_mm, found.surface_dice) == (1, 0, 1)


def test_a_shift_is_measured_in_mm():
    mask = np.zeros((12, 6, 6), bool)
    mask[2:5, 1:5, 1:5] = True
    shifted = np.roll(mask, 2, axis=0)

    assert agreement(mask, shifted, SPACING).hausdorff95_mm == pytest.approx(6)
    assert agreement(mask, shifted, SPACING, tolerance_mm=6).surface_dice == 1


def test_masks_that_touch_the_border_have_a_surface_there():
    mask = np.ones((4, 4, 4), bool)
    smaller = mask.copy()
    smaller[0] = False

    found = agreement(mask, smaller, (1.0, 1.0, 1.0), tolerance_mm=0.5)

    assert found.hausdorff95_mm == pytest.approx(1)
    assert 0 < found.surface_dice < 1


def test_a_label_in_neither_has_no_score():
    empty = np.zeros((3, 3, 3), bool)
    found = agreement(empty, empty, SPACING)
    assert np.isnan([found.dice, found.hausdorff95_mm, found.surface_dice]).all()
    assert np.isnan(dice(empty, empty))


@pytest.mark.parametrize("swap", [False, True])
def test_a_label_in_only_one_scores_zero_and_has_no_distance(swap):
    mask, empty = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    pair = (empty, mask) if swap else (mask, empty)
    found = agreement(*pair, SPACING)
    assert (found.dice, found.surface_dice) == (0, 0)
    assert np.isnan(found.hausdorff95_mm)
    assert dice(*pair) == 0


def test_label_maps_are_compared_label_by_label():
    prediction, reference = two_masks(1)
    first, second = prediction * 1 + 0, reference * 1
    first[0], second[0] = 4, 4

    found = compare_label_maps(first, second, (1, 4, 9), SPACING)

    assert found[4].dice == 1
    assert found[1] == agreement(first == 1, second == 1, SPACING)
    assert np.isnan(found[9].dice)
