"""Random changes of patches: repeatable, together for image and label, within their bounds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from MISFMLib.data.augmentation import Augmentation

PATCH = (10, 12, 14)
pytestmark = pytest.mark.usefixtures("one_thread")


def a_patch(augmentation, make=torch.rand):
    size = [edge + 2 * margin for edge, margin in zip(PATCH, augmentation.margin, strict=True)]
    return make(1, *size)


def with_label(augmentation, image, seed=0):
    return augmentation(image, (image[0] > 0.5).to(torch.uint8), seed)


def test_none_changes_nothing_and_needs_no_margin():
    augmentation = Augmentation("none", PATCH)
    image = a_patch(augmentation)

    changed, label = with_label(augmentation, image)

    assert augmentation.margin == (0, 0, 0)
    assert torch.equal(changed, image)
    assert label.dtype == torch.int64


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_a_seed_decides_everything(strength):
    augmentation = Augmentation(strength, PATCH)
    image = a_patch(augmentation)
    first = [with_label(augmentation, image, seed) for seed in range(4)]
    again = [with_label(augmentation, image, seed) for seed in reversed(range(4))][::-1]

    for (image_1, label_1), (image_2, label_2) in zip(first, again, strict=True):
        assert torch.equal(image_1, image_2)
        assert torch.equal(label_1, label_2)
        assert image_1.shape == (1, *PATCH)
        assert label_1.shape == PATCH
        assert (image_1.dtype, label_1.dtype) == (torch.float32, torch.int64)
        assert type(image_1) is torch.Tensor
    assert not torch.equal(first[0][0], first[1][0])


def test_global_random_numbers_are_neither_used_nor_changed():
    augmentation = Augmentation("strong", PATCH)
    image = a_patch(augmentation)
    torch.manual_seed(1)
    np.random.seed(1)
    state = (torch.get_rng_state(), np.random.get_state()[1].copy())
    first = with_label(augmentation, image, 3)[0]

    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()
    torch.manual_seed(2)
    assert torch.equal(with_label(augmentation, image, 3)[0], first)


def test_several_threads_get_what_one_gets():
    augmentation = Augmentation("strong", PATCH)
    image = a_patch(augmentation)

    def change(seed):
        return with_label(augmentation, image, seed)[0]

    alone = [change(seed) for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(change, range(16)))

    assert all(map(torch.equal, together, alone))


def test_image_and_label_move_together():
    augmentation = Augmentation("strong", PATCH)
    block = a_patch(augmentation, torch.zeros)
    centre = [slice(edge // 4, 3 * edge // 4) for edge in block.shape[1:]]
    block[(0, *centre)] = 10.0

    for seed in range(12):
        image, label = augmentation(block, (block[0] > 5).to(torch.uint8), seed)
        inside, outside = image[0][label == 1], image[0][label == 0]
        assert inside.median() > outside.median() + 2
        assert ((image[0] > image.mean()) == (label == 1)).float().mean() > 0.8


def test_labels_stay_whole_numbers_of_the_patch():
    augmentation = Augmentation("strong", PATCH)
    image = a_patch(augmentation)
    label = torch.randint(0, 2, image.shape[1:], dtype=torch.uint8) * 7

    values = {
        value
        for seed in range(8)
        for value in augmentation(image, label, seed)[1].unique().tolist()
    }

    assert values == {0, 7}


def mirrored_axes(mirror_axes):
    """Find along which axes a ramp may come back turned round."""
    augmentation = Augmentation("light", PATCH, mirror_axes=mirror_axes)
    turned = set()
    for axis in range(3):
        ramp = a_patch(augmentation, torch.zeros)
        steps = torch.arange(ramp.shape[axis + 1], dtype=torch.float32)
        ramp += steps.reshape([-1 if index == axis else 1 for index in range(3)])
        for seed in range(12):
            image = augmentation(ramp, ramp[0] > 3, seed)[0][0].movedim(axis, 0)
            if image[0].mean() > image[-1].mean():
                turned.add(axis)
    return turned


@pytest.mark.parametrize("axes", [(), (2,), (0, 1, 2)])
def test_only_the_chosen_axes_are_mirrored(axes):
    assert mirrored_axes(axes) == set(axes)


@pytest.mark.parametrize(("mode", "largest_tilt"), [(0, 30.0), (1, 15.0), (2, 0.0)])
def test_patches_with_long_voxels_are_turned_less_out_of_the_plane(mode, largest_tilt):
    augmentation = Augmentation("strong", PATCH, mirror_axes=(), resolution_mode=mode)
    ramp = a_patch(augmentation, torch.zeros)
    ramp += torch.arange(ramp.shape[1], dtype=torch.float32)[:, None, None]

    tilts = []
    for seed in range(30):
        slices = augmentation(ramp, ramp[0], seed)[1].double()
        along_depth = float((slices[6:] - slices[:-6]).mean()) / 6
        across = float((slices[:, 6:] - slices[:, :-6]).mean()) / 6
        tilts.append(abs(np.degrees(np.arctan2(across, along_depth))))

    assert max(tilts) <= largest_tilt + 6
    assert max(tilts) >= 0.6 * largest_tilt


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_the_margin_feeds_the_corners_of_turned_patches(strength):
    augmentation = Augmentation(strength, PATCH, mirror_axes=())
    image = a_patch(augmentation)
    is_border = torch.ones(image.shape[1:], dtype=torch.uint8)
    is_border[1:-1, 1:-1, 1:-1] = 0

    for seed in range(30):
        reached = augmentation(image, is_border, seed)[1]
        assert reached.float().mean() < 0.02
