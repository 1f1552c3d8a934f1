"""Samples of pretext tasks: the target is what was done to the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from MISFMLib.data.corruption import ModelGenesis, PatchSwapping
from MISFMLib.data.pretext import (
    FusionMasking,
    MaskedModelling,
    OverlappingViews,
    PretextSource,
    Restoration,
    Rotation,
    VolumeFusion,
)
from MISFMLib.data.volume_fusion import (
    BlockGrid,
    ContrastAugmentation,
    CropsOfOneVolume,
    CropsOfTwoVolumes,
    RandomBoxes,
    fuse,
)

PATCH = (8, 12, 16)
TASKS = {
    "fusion of one volume": VolumeFusion(
        crops=CropsOfOneVolume(PATCH), blocks=BlockGrid(0.7, (2, 2, 2), (4, 4, 4)), num_levels=4
    ),
    "fusion of two volumes": VolumeFusion(
        crops=CropsOfTwoVolumes(PATCH),
        blocks=RandomBoxes((3, 6), (2, 2, 2), (5, 8, 8)),
        num_levels=2,
    ),
    "model genesis": Restoration(patch_size=PATCH, damage=ModelGenesis()),
    "patch swapping": Restoration(patch_size=PATCH, damage=PatchSwapping()),
    "fusion and masking": FusionMasking(
        fusion=VolumeFusion(
            crops=CropsOfOneVolume(PATCH), blocks=BlockGrid(0.7, (2, 2, 2), (4, 4, 4)), num_levels=4
        )
    ),
    "masked modelling": MaskedModelling(patch_size=PATCH),
    "rotation": Rotation(patch_size=PATCH),
    "contrastive": OverlappingViews(patch_size=PATCH, num_voxels=20),
}


class Volumes:
    """A crop source of random volumes with values from -1 to 1."""

    def __init__(self, *shapes):
        rng = np.random.default_rng(0)
        self.images_DHW = [rng.uniform(-1, 1, shape).astype(np.float16) for shape in shapes]

    def __len__(self):
        return len(self.images_DHW)

    def shape(self, index):
        return self.images_DHW[index].shape

    def crop(self, index, start, size):
        box = tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))
        return self.images_DHW[index][box]


@pytest.fixture
def volumes():
    return Volumes((20, 24, 28), (10, 9, 40), (16, 16, 16))


def a_source(volumes, task, seed=1, batch_size=2):
    return PretextSource(source=volumes, pretext=task, batch_size=batch_size, seed=seed)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_sample_depends_on_seed_step_and_index_alone(task):
    volumes = Volumes((20, 24, 28))
    samples = [a_source(volumes, task).sample(7, 1) for _ in range(2)]
    assert torch.equal(samples[0].image_BCDHW, samples[1].image_BCDHW)
    assert torch.equal(samples[0].target.nan_to_num(9), samples[1].target.nan_to_num(9))
    for seed, step, index in ((2, 7, 1), (1, 8, 1), (1, 7, 0)):
        other = a_source(volumes, task, seed).sample(step, index)
        assert not torch.equal(samples[0].image_BCDHW, other.image_BCDHW)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_batch_joins_its_samples(task, volumes):
    source = a_source(volumes, task)
    batch = source.batch(3, [0, 1])
    samples = [source.sample(3, index) for index in range(2)]
    assert torch.equal(batch.image_BCDHW, torch.cat([sample.image_BCDHW for sample in samples]))
    assert len(batch.label_BDHW) == len(batch.image_BCDHW)
    assert batch.image_BCDHW.dtype == torch.float32


def test_every_volume_is_visited_equally_often(volumes):
    source = a_source(volumes, TASKS["rotation"])
    visits = [source.volume(step, index) for step in range(6) for index in range(2)]
    assert np.bincount(visits).tolist() == [4, 4, 4]
    assert visits[:3] != visits[3:6] or visits[3:6] != visits[6:9]


class Recorder(Volumes):
    """Remembers which volumes were read."""

    def __init__(self, count):
        super().__init__(*[PATCH] * count)
        self.read = set()

    def crop(self, index, start, size):
        self.read.add(index)
        return super().crop(index, start, size)


@pytest.mark.parametrize("processes", [2, 4])
def test_each_of_several_processes_reads_volumes_of_its_own(processes):
    count, batch_size = 67, 4
    for rank in range(processes):
        volumes = Recorder(count)
        source = a_source(volumes, TASKS["fusion of two volumes"], batch_size=batch_size)
        for step in range(40):
            source.batch(step, range(rank, batch_size, processes))
        assert volumes.read == set(range(rank, count, processes))


def test_the_volumes_of_one_position_are_visited_equally_often():
    source = a_source(Recorder(66), TASKS["rotation"], batch_size=4)
    visits = np.bincount([source.volume(step, index) for step in range(34) for index in range(4)])
    assert visits[0::4].tolist() == [2] * 17
    assert visits[1::4].tolist() == [2] * 17
    assert set(visits[2::4]) | set(visits[3::4]) == {2, 3}


@pytest.mark.parametrize("name", ["fusion of one volume", "fusion of two volumes"])
def test_the_fused_crop_is_made_of_the_crops_by_its_target(name, volumes, rng):
    task = TASKS[name]
    sample = task(volumes, 0, rng)
    crops = [sample.origin[part] for part in ("foreground crop", "background crop")]
    expected = fuse(*crops, sample.target[0], task.num_levels)
    assert torch.equal(sample.image_BCDHW[0, 0], expected)
    assert sample.image_BCDHW.abs().max() <= 1
    assert sample.target.dtype == torch.int64
    assert set(sample.target.unique().tolist()) <= set(range(task.num_levels + 1))


def test_fused_crops_use_the_range_of_model_space(volumes):
    source = a_source(volumes, TASKS["fusion of one volume"])
    images = source.batch(0, range(8)).image_BCDHW
    assert images.min() < -0.8
    assert images.max() > 0.8


def test_a_restoration_has_the_undamaged_crop_as_target(volumes, rng):
    sample = TASKS["patch swapping"](volumes, 0, rng)
    image, target = sample.image_BCDHW[0, 0], sample.target[0]
    assert torch.equal(image.flatten().sort().values, target.flatten().sort().values)
    assert not torch.equal(image, target)
    assert set(target.flatten().tolist()) <= set(volumes.images_DHW[0].ravel().tolist())


def test_only_hidden_voxels_have_a_target(volumes, rng):
    sample = TASKS["masked modelling"](volumes, 0, rng)
    image, target, crop = sample.image_BCDHW[0, 0], sample.target[0], sample.origin["crop"]
    hidden = target.isfinite()
    assert torch.equal(target[hidden], crop[hidden])
    assert (image[hidden] == 0).all()
    assert torch.equal(image[~hidden], crop[~hidden])
    assert 0 < hidden.float().mean() < 1


def test_fused_crops_are_hidden_in_part_and_both_are_asked_for(volumes):
    task = TASKS["fusion and masking"]
    plain = task.fusion(volumes, 0, np.random.default_rng(5))
    sample = task(volumes, 0, np.random.default_rng(5))

    level, restored = sample.target[0]
    assert level.equal(plain.target[0].float())
    hidden = restored.isfinite()
    assert 0.3 < hidden.float().mean() < 0.6
    seen, fused = sample.image_BCDHW[0, 0], plain.image_BCDHW[0, 0]
    assert restored[hidden].equal(fused[hidden])
    assert seen[~hidden].equal(fused[~hidden])
    assert not seen[hidden].any()


def test_turning_back_gives_the_crop(volumes, rng):
    turns = set()
    for _ in range(30):
        sample = TASKS["rotation"](volumes, 0, rng)
        (turn,) = sample.target.tolist()
        assert sample.image_BCDHW.shape == (1, 1, 8, 12, 12)
        back = sample.image_BCDHW[0, 0].rot90(-turn, (1, 2))
        assert torch.equal(back, sample.origin["crop"])
        turns.add(turn)
    assert turns == {0, 1, 2, 3}


def test_a_quarter_turn_moves_the_last_column_to_the_first_row(volumes):
    source = a_source(volumes, TASKS["rotation"])
    samples = [source.sample(step, 0) for step in range(20)]
    sample = next(sample for sample in samples if sample.target == 1)
    turned, crop = sample.image_BCDHW[0, 0], sample.origin["crop"]
    assert torch.equal(turned[:, 0, :], crop[:, :, -1])


def test_both_views_show_the_same_voxels_at_the_listed_places(rng):
    unchanged = ContrastAugmentation((0, 0), (0, 0), (1, 1), invert_probability=0)
    task = OverlappingViews(
        patch_size=PATCH, num_voxels=50, contrast=unchanged, noise_probability=0
    )
    ramp = Volumes((12, 18, 24))
    ramp.images_DHW[0] = np.arange(12 * 18 * 24, dtype=np.float32).reshape(12, 18, 24)
    shifts = set()
    for _ in range(20):
        sample = task(ramp, 0, rng)
        first, second = sample.target
        assert (sample.target >= 0).all()
        assert (sample.target < torch.tensor(PATCH)).all()
        shift = (first - second).unique(dim=0)
        assert len(shift) == 1
        assert (shift.abs() <= torch.tensor(PATCH) // 4).all()
        shifts.add(tuple(shift[0].tolist()))
        values = [
            view[voxels.unbind(1)]
            for view, voxels in zip(sample.image_BCDHW[:, 0], sample.target, strict=True)
        ]
        # Both views are stretched to -1 to 1, which keeps differences of a ramp in proportion.
        ratios = [value.diff().sort().values for value in values]
        torch.testing.assert_close(
            ratios[0] / ratios[0].abs().max(), ratios[1] / ratios[1].abs().max(), atol=0.01, rtol=0
        )
    assert len(shifts) > 5


def test_views_differ_in_contrast_and_noise(volumes, rng):
    task = OverlappingViews(patch_size=PATCH, num_voxels=20, noise_probability=1.0)
    sample = task(volumes, 0, rng)
    first, second = (
        view[voxels.unbind(1)]
        for view, voxels in zip(sample.image_BCDHW[:, 0], sample.target, strict=True)
    )
    assert (first != second).all()
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() > 0.7
