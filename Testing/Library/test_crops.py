"""Boxes are read from where they lie, and continued beyond the border of the volume."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from MISFMLib.data.crops import Shard, draw, random_box, random_flip, read_box


class OneVolume:
    """A crop source that refuses boxes beyond its volume."""

    def __init__(self, image_DHW):
        self.image_DHW = image_DHW

    def __len__(self):
        return 1

    def shape(self, index):
        return self.image_DHW.shape

    def crop(self, index, start, size):
        stop = np.add(start, size)
        assert min(start) >= 0
        assert (stop <= self.image_DHW.shape).all()
        return self.image_DHW[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]


@pytest.fixture
def a_volume(rng):
    return OneVolume(rng.random((7, 8, 9)).astype(np.float16))


def test_a_box_inside_is_that_part_of_the_volume(a_volume):
    box = read_box(a_volume, 0, (1, 2, 3), (2, 3, 4))
    assert box.dtype == torch.float32
    np.testing.assert_array_equal(box, a_volume.image_DHW[1:3, 2:5, 3:7])


@pytest.mark.parametrize(
    ("start", "size"),
    [((-2, 0, 0), (4, 8, 9)), ((5, 6, 7), (4, 4, 4)), ((-3, -3, -3), (14, 15, 16))],
)
def test_beyond_the_border_the_outermost_voxels_are_repeated(a_volume, start, size):
    padded = np.pad(a_volume.image_DHW, 20, mode="edge")
    expected = padded[tuple(slice(a + 20, a + 20 + b) for a, b in zip(start, size, strict=True))]
    np.testing.assert_array_equal(read_box(a_volume, 0, start, size), expected)


def test_a_box_does_not_change_its_volume(a_volume):
    before = a_volume.image_DHW.copy()
    read_box(a_volume, 0, (0, 0, 0), (7, 8, 9)).zero_()
    np.testing.assert_array_equal(a_volume.image_DHW, before)


def test_random_boxes_lie_inside_wherever_they_fit(rng):
    volume = OneVolume(np.arange(10 * 11 * 12, dtype=np.float32).reshape(10, 11, 12))
    starts = {float(random_box(volume, 0, (9, 9, 9), rng)[0, 0, 0]) for _ in range(200)}
    assert starts == {132.0 * z + 12 * y + x for z in range(2) for y in range(3) for x in range(4)}


def test_boxes_of_air_are_drawn_again(rng):
    image = np.full((8, 8, 80), -1.0, np.float32)
    image[..., :20] = 0.5
    boxes = [random_box(OneVolume(image), 0, (8, 8, 8), rng) for _ in range(200)]
    with_body = np.mean([bool((box > 0).any()) for box in boxes])
    once = 20 / 73  # the share of places at which a box holds some of the body
    assert with_body == pytest.approx(1 - (1 - once) ** 3, abs=0.1)


def test_of_boxes_with_little_body_the_fullest_is_taken(rng):
    image = np.full((16, 16, 16), -1.0, np.float32)
    image[0, 0, 0] = 0.5
    starts = []

    class Recorder(OneVolume):
        def crop(self, index, start, size):
            starts.append(start)
            return super().crop(index, start, size)

    for _ in range(100):
        starts.clear()
        box = random_box(Recorder(image), 0, (8, 8, 8), rng)
        assert len(starts) == 3
        assert bool((box > 0).any()) == ((0, 0, 0) in starts)


def test_shards_hold_every_volume_once():
    class Seven:
        def __len__(self):
            return 7

        def shape(self, index):
            return (index, 0, 0)

        def crop(self, index, start, size):
            return index, start, size

    shards = [Shard(Seven(), first, 3) for first in range(3)]
    assert [len(shard) for shard in shards] == [3, 2, 2]
    held = [[shard.shape(index)[0] for index in range(len(shard))] for shard in shards]
    assert held == [[0, 3, 6], [1, 4], [2, 5]]
    assert shards[1].crop(1, (0, 1, 2), (3, 4, 5)) == (4, (0, 1, 2), (3, 4, 5))


def test_a_random_box_larger_than_the_volume_contains_it(a_volume, rng):
    box = random_box(a_volume, 0, (9, 9, 9), rng)
    assert set(np.unique(a_volume.image_DHW)) == set(box.unique().numpy())


def test_flips_mirror_each_axis_independently(rng):
    box = torch.arange(8).reshape(2, 2, 2)
    assert len({tuple(random_flip(box, rng).flatten().tolist()) for _ in range(100)}) == 8
    assert torch.equal(random_flip(box, rng, 0.0), box)
    assert torch.equal(random_flip(box, rng, 1.0), box.flip(0, 1, 2))


def test_draws_include_both_bounds(rng):
    assert {draw((2, 4), rng) for _ in range(100)} == {2, 3, 4}
