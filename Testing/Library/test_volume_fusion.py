"""The fused crop and its label obey their definition; label statistics are the published ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from MISFMLib.data.volume_fusion import (
    BlockGrid,
    ContrastAugmentation,
    CropsOfOneVolume,
    CropsOfTwoVolumes,
    RandomBoxes,
    fuse,
)

SHAPE = (64, 128, 128)
PATCH = (16, 24, 24)


class Arrays:
    """A crop source of arrays in memory."""

    def __init__(self, *volumes):
        self.volumes = volumes

    def __len__(self):
        return len(self.volumes)

    def shape(self, index):
        return self.volumes[index].shape

    def crop(self, index, start, size):
        return self.volumes[index][tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))]


def shares(sampler, rng, num_levels=4, count=150):
    """Mean and deviation of the share of every level, over many labels."""
    drawn = [
        np.bincount(sampler(SHAPE, num_levels, rng).numpy().ravel(), minlength=num_levels + 1)
        for _ in range(count)
    ]
    drawn = np.array(drawn) / np.prod(SHAPE)
    return drawn.mean(0), drawn.std(0)


def test_constant_crops_mix_by_the_coefficient():
    label = torch.tensor([0, 1, 2, 3, 4]).reshape(5, 1, 1)
    fused = fuse(torch.full((5, 2, 2), 8.0), torch.full((5, 2, 2), -4.0), label, 4)
    assert torch.equal(fused[:, 0, 0], torch.tensor([-4.0, -1.0, 2.0, 5.0, 8.0]))


@pytest.mark.parametrize("num_levels", [1, 2, 4, 6, 8])
def test_label_0_is_the_background_and_label_k_is_the_foreground(num_levels, rng):
    foreground, background = torch.rand(2, 16, 24, 24)
    label = BlockGrid(smallest=(2, 2, 2), largest=(5, 5, 5))((16, 24, 24), num_levels, rng)
    fused = fuse(foreground, background, label, num_levels)
    assert label.max() == num_levels
    assert torch.equal(fused[label == 0], background[label == 0])
    torch.testing.assert_close(fused[label == num_levels], foreground[label == num_levels])


def test_the_published_transform_gives_the_same_fused_volume(published_fixtures):
    published = np.load(published_fixtures / "extra_volf.npz")
    foreground, background, label = (
        torch.from_numpy(published[name]) for name in ("patch_fg", "patch_bg", "label")
    )
    fused = fuse(foreground, background, label, 4)
    np.testing.assert_allclose(fused.numpy(), published["fused"], atol=1e-6)


@pytest.mark.parametrize(
    ("sampler", "background", "deviation"),
    [
        (RandomBoxes(), 0.47, 0.13),
        (BlockGrid(smallest=(5, 8, 8), largest=(20, 32, 32)), 0.44, 0.06),
        (BlockGrid(), 0.46, 0.06),
    ],
)
def test_levels_are_as_frequent_as_published(sampler, background, deviation, rng):
    mean, spread = shares(sampler, rng)
    assert mean[0] == pytest.approx(background, abs=0.03)
    assert spread[0] == pytest.approx(deviation, abs=0.025)
    np.testing.assert_allclose(mean[1:], (1 - mean[0]) / 4, atol=0.025)


@pytest.mark.parametrize("sampler", [RandomBoxes(), BlockGrid()])
@pytest.mark.parametrize("num_levels", [1, 2, 6, 8])
def test_all_levels_above_background_are_equally_frequent(sampler, num_levels, rng):
    mean, _ = shares(sampler, rng, num_levels, count=40)
    np.testing.assert_allclose(mean[1:], (1 - mean[0]) / num_levels, atol=0.05)


def test_more_foreground_share_leaves_less_background(rng):
    few, many = (shares(BlockGrid(share), rng, count=20)[0][0] for share in (0.3, 0.9))
    assert few > many + 0.3


def test_grid_blocks_have_one_level_each(rng):
    label = BlockGrid(smallest=(8, 8, 8), largest=(8, 8, 8))((32, 32, 32), 4, rng).numpy()
    blocks = label.reshape(4, 8, 4, 8, 4, 8).transpose(0, 2, 4, 1, 3, 5).reshape(64, -1)
    assert np.array_equal(blocks.min(1), blocks.max(1))


def test_blocks_larger_than_the_crop_still_give_a_label(rng):
    sampler = BlockGrid(foreground_share=1.0, smallest=(40, 40, 40), largest=(50, 50, 50))
    assert sampler((16, 16, 16), 4, rng).min() >= 1


def test_boxes_larger_than_the_crop_are_cut_at_its_borders(rng):
    label = RandomBoxes((1, 1), smallest=(40, 40, 40), largest=(50, 50, 50))((16, 16, 16), 4, rng)
    assert label.shape == (16, 16, 16)
    assert len(label.unique()) == 1


def test_boxes_keep_to_their_sizes(rng):
    sampler = RandomBoxes(num_boxes=(1, 1), smallest=(2, 3, 4), largest=(2, 5, 4))
    for _ in range(20):
        occupied = np.argwhere(sampler((40, 40, 40), 1, rng).numpy())
        edges = np.ptp(occupied, axis=0) + 1
        assert (edges <= (2, 5, 4)).all()
        if (occupied.min(0) > 0).all() and (occupied.max(0) < 39).all():
            assert (edges >= (2, 3, 4)).all()


# ------------------------------------------------------------------------------------------ crops


@pytest.mark.parametrize("cropper", [CropsOfOneVolume(PATCH), CropsOfTwoVolumes(PATCH)])
def test_the_same_seed_gives_the_same_crops(cropper):
    volumes = Arrays(*np.random.default_rng(1).random((2, 40, 50, 60)))
    first, second = (cropper(volumes, 0, np.random.default_rng(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(*first)


@pytest.mark.parametrize("cropper", [CropsOfOneVolume(PATCH), CropsOfTwoVolumes(PATCH)])
def test_crops_have_the_patch_size_also_when_the_volume_is_smaller(cropper, rng):
    for crop in cropper(Arrays(rng.random((9, 30, 11))), 0, rng):
        assert crop.shape == PATCH


def test_crops_of_two_volumes_are_of_two_volumes(rng):
    volumes = Arrays(*(np.full(PATCH, value, np.float16) for value in (0, 1, 2)))
    others = set()
    for _ in range(20):
        foreground, background = CropsOfTwoVolumes(PATCH)(volumes, 1, rng)
        assert (foreground == 1).all()
        others.add(float(background[0, 0, 0]))
    assert others == {0, 2}


def test_a_crop_without_zoom_and_flip_is_a_part_of_the_volume(rng):
    volume = np.arange(20.0**3, dtype=np.float32).reshape(20, 20, 20)
    contrast = ContrastAugmentation((0, 0), (100, 100), (1, 1), invert_probability=0)
    cropper = CropsOfOneVolume((6, 7, 8), (1.0, 1.0), 0.0, contrast)
    crop, _ = cropper(Arrays(volume), 0, rng)
    steps = crop.diff(dim=2)
    torch.testing.assert_close(
        steps, torch.full_like(steps, float(steps.mean())), atol=0.01, rtol=0
    )
    assert float(crop[0, 0, 0]) == -1
    assert float(crop[-1, -1, -1]) == 1


def test_zooming_out_shows_more_of_the_volume(rng):
    ramp = np.broadcast_to(np.arange(100, dtype=np.float32), (100, 100, 100))
    contrast = ContrastAugmentation((0, 0), (100, 100), (1, 1), invert_probability=0)
    seen = []

    class Recorder(Arrays):
        def crop(self, index, start, size):
            seen.append(size)
            return super().crop(index, start, size)

    CropsOfOneVolume(PATCH, zoom=(1.5, 1.5), contrast=contrast)(Recorder(ramp), 0, rng)
    assert seen == [(24, 36, 36)] * 2


# --------------------------------------------------------------------------------------- contrast


def test_contrast_maps_the_percentiles_to_a_tenth_and_nine_tenths(rng):
    ramp = torch.linspace(-1000, 3000, 32**3)[torch.from_numpy(rng.permutation(32**3))]
    augment = ContrastAugmentation((2.0, 2.0), (98.0, 98.0), (1.0, 1.0), invert_probability=0.0)
    crop = ramp.reshape(32, 32, 32)
    values = augment(crop, crop, rng)[0].flatten().sort().values
    assert values[0] == -1
    assert values[-1] == pytest.approx(1)
    assert values[int(0.02 * 32**3)] == pytest.approx(-0.8, abs=0.05)
    assert values[int(0.98 * 32**3)] == pytest.approx(0.8, abs=0.05)


def test_contrast_follows_its_formula(rng):
    crop = torch.from_numpy(rng.normal(size=(16, 16, 16)).astype(np.float32))
    augment = ContrastAugmentation((5, 5), (95, 95), (1.4, 1.4), invert_probability=0)
    changed, _ = augment(crop, crop, rng)
    low, high = np.percentile(crop[::2, ::2, ::2], (5, 95))
    knots = [crop.min(), low, high, crop.max()]
    expected = 2 * np.interp(crop, knots, [0, 0.1, 0.9, 1]) ** 1.4 - 1
    np.testing.assert_allclose(changed, expected, atol=2e-3)


def test_inversion_concerns_both_crops(rng):
    augment = ContrastAugmentation(gamma=(1.0, 1.0), invert_probability=1.0)
    ramp = torch.linspace(0, 1, 4096).reshape(16, 16, 16)
    for crop in augment(ramp, 2 * ramp, rng):
        assert crop.flatten()[0] > crop.flatten()[-1]


@pytest.mark.parametrize(
    "crop",
    [
        torch.full((8, 8, 8), -1000.0),
        torch.cat([torch.full((8, 8, 7), -1000.0), torch.full((8, 8, 1), 50.0)], 2),
        torch.nn.functional.pad(torch.ones(1, 1, 1), (0, 7, 0, 7, 0, 7)),
        torch.full((8, 8, 8), -1.0).index_put((torch.tensor(3),), torch.tensor(-1 + 2**-23)),
        torch.full((8, 8, 8), 0.0).index_put((torch.tensor(3),), torch.tensor(2.0**-140)),
    ],
    ids=["constant", "two values", "one voxel", "one step of a float", "a step near zero"],
)
def test_air_never_gives_nan(crop, rng):
    for _ in range(20):
        for augmented in ContrastAugmentation()(crop, crop, rng):
            assert augmented.isfinite().all()
            assert augmented.min() >= -1
            assert augmented.max() <= 1
