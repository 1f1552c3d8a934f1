"""Damaged crops are damaged in the way that their name says, and only there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from MISFMLib.data.corruption import BlockMask, ModelGenesis, PatchSwapping, block_size

METHODS = [PatchSwapping(), ModelGenesis(), lambda crop, rng: BlockMask()(crop, rng)[0]]
SHUFFLE_ONLY = ModelGenesis(curve_probability=0, paint_probability=0)
CURVE_ONLY = ModelGenesis(shuffle_probability=0, curve_probability=1, paint_probability=0)
INPAINT_ONLY = ModelGenesis(
    shuffle_probability=0, curve_probability=0, paint_probability=1, inpaint_probability=1
)
OUTPAINT_ONLY = ModelGenesis(
    shuffle_probability=0, curve_probability=0, paint_probability=1, inpaint_probability=0
)


@pytest.fixture
def a_crop(rng):
    return torch.from_numpy(rng.uniform(-1, 1, (16, 24, 32)).astype(np.float32))


@pytest.mark.parametrize("method", METHODS, ids=["swapping", "genesis", "mask"])
def test_the_same_seed_gives_the_same_damage_and_the_crop_is_kept(method, a_crop):
    before = a_crop.clone()
    first, second = (method(a_crop, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(a_crop, before)
    assert not torch.equal(first, a_crop)


@pytest.mark.parametrize("method", METHODS, ids=["swapping", "genesis", "mask"])
@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 3, 3)])
def test_small_and_constant_crops_can_be_damaged(method, shape, rng):
    damaged = method(torch.full(shape, -1.0), rng)
    assert damaged.shape == shape
    assert damaged.isfinite().all()
    assert damaged.abs().max() <= 1


def test_blocks_are_the_published_ones_for_the_published_patch():
    assert block_size(torch.empty(64, 128, 128)) == (8, 16, 16)


def test_swapping_moves_voxels_and_loses_none(a_crop, rng):
    swapped = PatchSwapping()(a_crop, rng)
    assert torch.equal(swapped.flatten().sort().values, a_crop.flatten().sort().values)
    moved = (swapped != a_crop).float().mean()
    assert 0.03 < moved < 0.2


def test_one_swap_exchanges_two_blocks(a_crop, rng):
    swapped = PatchSwapping(num_swaps=(1, 1))(a_crop, rng)
    assert int((swapped != a_crop).sum()) in (0, 2 * 2 * 3 * 4)


def test_shuffling_keeps_the_voxels_of_a_crop(a_crop, rng):
    shuffled = SHUFFLE_ONLY(a_crop, rng)
    assert torch.equal(shuffled.flatten().sort().values, a_crop.flatten().sort().values)


def test_curves_rise_or_fall_but_never_both(a_crop, rng):
    directions = set()
    for _ in range(20):
        changed = CURVE_ONLY(a_crop, rng).flatten()[a_crop.flatten().argsort()]
        assert changed.abs().max() <= 1
        steps = changed.diff()
        assert (steps >= 0).all() or (steps <= 0).all()
        directions.add(bool(changed[0] < changed[-1]))
    assert directions == {True, False}


def test_inpainting_replaces_blocks_and_outpainting_what_is_around_windows(a_crop, rng):
    kept = [
        float((method(a_crop, rng) == a_crop).float().mean())
        for method in (INPAINT_ONLY, OUTPAINT_ONLY)
        for _ in range(10)
    ]
    assert all(0.8 < share < 1 for share in kept[:10])
    assert all(0.4 < share < 1 for share in kept[10:])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.45, 1.0])
def test_the_mask_hides_its_share_of_the_blocks_and_nothing_else(share, a_crop, rng):
    masked, hidden = BlockMask(share)(a_crop, rng)
    assert torch.equal(masked[~hidden], a_crop[~hidden])
    assert (masked[hidden] == 0).all()
    assert hidden.float().mean() == pytest.approx(share, abs=1 / 512)
    blocks = hidden.reshape(8, 2, 8, 3, 8, 4).permute(0, 2, 4, 1, 3, 5).reshape(512, -1)
    assert (blocks.all(1) | ~blocks.any(1)).all()


def test_a_crop_that_the_blocks_do_not_divide_is_masked_up_to_its_border(rng):
    _, hidden = BlockMask(1.0)(torch.zeros(17, 19, 30), rng)
    assert hidden.all()
