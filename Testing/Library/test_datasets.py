"""Prepared cases on disk, and patches that depend on seed, step and index alone."""

from __future__ import annotations

import os

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISFMLib.configs import IntensityConfig, PreprocessingConfig
from MISFMLib.data.augmentation import Augmentation
from MISFMLib.data.cases import Case
from MISFMLib.data.crops import crop
from MISFMLib.data.datasets import (
    Batch,
    PatchSource,
    PreparedCase,
    drop_changed,
    prepare_case,
)
from MISFMLib.errors import DataError

pytestmark = pytest.mark.usefixtures("one_thread")
PATCH = (4, 6, 8)


@pytest.fixture
def a_case(tmp_path, write_case):
    write_case(tmp_path / "i.nii.gz", tmp_path / "l.nii.gz", values=(3, 7))
    return Case("a", (tmp_path / "i.nii.gz",), tmp_path / "l.nii.gz")


@pytest.fixture
def a_prepared_case(a_case, tmp_path):
    return prepare_case(a_case, PreprocessingConfig(), (3, 7), tmp_path / "cases")


def write_prepared(folder, image, label):
    """Write a prepared case directly."""
    folder.mkdir(parents=True)
    np.save(folder / "image.npy", image.astype(np.float16))
    np.save(folder / "label.npy", label.astype(np.uint8))
    centres = [np.argwhere(label == value) for value in np.unique(label[label > 0])]
    np.savez(folder / "centres.npz", *centres)
    return PreparedCase(folder.name, folder)


def source(cases, augmentation="none", share=0.5, seed=1, batch_size=2, padding="edge"):
    return PatchSource(
        cases=cases,
        patch_size=PATCH,
        batch_size=batch_size,
        foreground_share=share,
        augmentation=Augmentation(augmentation, PATCH),
        seed=seed,
        padding=padding,
    )


# ---------------------------------------------------------------------------------- prepared cases


def test_a_prepared_case_holds_classes_instead_of_label_values(a_case, a_prepared_case):
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(a_case.label)))

    assert a_prepared_case.image().shape == (1, 10, 12, 14)
    assert a_prepared_case.image().dtype == np.float16
    assert (
        np.asarray(a_prepared_case.label()) == np.select([values == 3, values == 7], [1, 2])
    ).all()


def test_centres_are_voxels_of_their_class(a_prepared_case):
    label = np.asarray(a_prepared_case.label())
    for class_index, voxels in enumerate(a_prepared_case.centres(), start=1):
        assert len(voxels) == (label == class_index).sum()
        assert (label[tuple(voxels.T)] == class_index).all()


def test_large_classes_keep_a_thousand_centres_spread_over_them(tmp_path):
    label = sitk.GetImageFromArray(np.ones((20, 20, 20), np.uint8))
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((20, 20, 20)))
    sitk.WriteImage(label, str(tmp_path / "l.nii.gz"))
    sitk.WriteImage(image, str(tmp_path / "i.nii.gz"))
    case = Case("a", (tmp_path / "i.nii.gz",), tmp_path / "l.nii.gz")

    (voxels,) = prepare_case(case, PreprocessingConfig(), (1,), tmp_path / "cases").centres()

    assert len(voxels) == 1000
    assert np.ptp(voxels, axis=0).min() > 15


def test_a_case_is_prepared_once(a_case, a_prepared_case, tmp_path):
    a_case.label.unlink()

    again = prepare_case(a_case, PreprocessingConfig(), (3, 7), tmp_path / "cases")

    assert again == a_prepared_case


def test_voxels_beside_a_header_that_has_not_changed_are_read_anew(tmp_path, write_case):
    case = Case("a", (tmp_path / "i.mhd",), tmp_path / "l.nii.gz")
    write_case(case.images[0], case.label)
    prepare_case(case, PreprocessingConfig(), (1,), tmp_path / "cases")
    assert drop_changed([case], tmp_path / "cases") == []
    os.utime(tmp_path / "i.raw", ns=(10**18, 10**18))
    assert drop_changed([case], tmp_path / "cases") == ["a"]


def test_a_label_that_vanishes_at_the_voxel_size_is_an_error(tmp_path, write_case):
    write_case(tmp_path / "i.nii.gz", tmp_path / "l.nii.gz")
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nii.gz")))
    lone = np.zeros_like(label)
    lone[0, 0, 0] = 1
    sitk.WriteImage(sitk.GetImageFromArray(lone), str(tmp_path / "l.nii.gz"))
    case = Case("a", (tmp_path / "i.nii.gz",), tmp_path / "l.nii.gz")

    with pytest.raises(DataError, match="no labelled voxel left"):
        prepare_case(case, PreprocessingConfig(spacing_dhw=(4, 4, 4)), (1,), tmp_path / "cases")
    assert not (tmp_path / "cases").exists()


# ----------------------------------------------------------------------------------------- patches


def test_a_sample_depends_on_seed_step_and_index_alone(a_prepared_case):
    one, other = source([a_prepared_case], "strong"), source([a_prepared_case], "strong")
    for step in (5, 0, 3):
        other.batch(step, range(2))

    for first, second in zip(one.sample(3, 1), other.sample(3, 1), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(one.sample(3, 1)[0], one.sample(3, 0)[0])
    assert not torch.equal(one.sample(3, 1)[0], one.sample(4, 1)[0])
    assert not torch.equal(
        one.sample(3, 1)[0], source([a_prepared_case], "strong", seed=2).sample(3, 1)[0]
    )


def test_a_batch_is_its_samples(a_prepared_case):
    patches = source([a_prepared_case], "light")

    batch = patches.batch(7, (1, 0))

    assert batch.image_BCDHW.shape == (2, 1, *PATCH)
    assert torch.equal(batch.label_BDHW[0], patches.sample(7, 1)[1])
    assert torch.equal(batch.image_BCDHW[1], patches.sample(7, 0)[0])
    assert isinstance(batch.to(torch.device("cpu")), Batch)


@pytest.mark.parametrize("strength", ["none", "light", "strong"])
def test_labels_alone_are_those_of_the_samples(a_prepared_case, strength):
    patches = source([a_prepared_case], strength)
    for step in range(8):
        assert torch.equal(patches.labels(step, [1, 0]), patches.batch(step, [1, 0]).label_BDHW)


def test_image_and_label_patches_come_from_the_same_place(tmp_path):
    voxels = np.arange(10 * 12 * 14).reshape(10, 12, 14) % 200
    case = write_prepared(tmp_path / "a", voxels[None], voxels)

    for step in range(10):
        image, label = source([case]).sample(step, 0)
        assert torch.equal(image[0].long(), label)


def test_every_case_is_drawn_once_in_each_round(tmp_path):
    cases = [
        write_prepared(tmp_path / str(index), np.full((1, 5, 7, 9), index), np.ones((5, 7, 9)))
        for index in range(5)
    ]
    patches = source(cases, batch_size=2)
    drawn = [int(patches.sample(step, index)[0].max()) for step in range(10) for index in range(2)]

    rounds = [drawn[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(one_round) == [0, 1, 2, 3, 4] for one_round in rounds)
    assert len(set(map(tuple, rounds))) > 1


def test_the_foreground_share_centres_patches_on_every_class_equally(tmp_path):
    label = np.zeros((20, 30, 40))
    label[5:15, 5:25, 5:20] = 1
    label[10, 15, 30] = 2
    case = write_prepared(tmp_path / "a", label[None], label)
    half = [edge // 2 for edge in PATCH]

    centres = [int(source([case], share=1.0).sample(step, 0)[1][tuple(half)]) for step in range(60)]
    anywhere = [
        int(source([case], share=0.0).sample(step, 0)[1][tuple(half)]) for step in range(60)
    ]

    assert 15 < centres.count(1) < 45
    assert centres.count(1) + centres.count(2) == 60
    assert anywhere.count(0) > 30


def test_patches_never_leave_a_volume_that_is_large_enough(tmp_path):
    label = np.zeros((6, 8, 10))
    label[0, 0, 0], label[5, 7, 9] = 1, 2
    voxels = np.arange(480.0).reshape(1, 6, 8, 10)
    case = write_prepared(tmp_path / "a", voxels, label)

    for step in range(20):
        image = source([case], share=step % 2).sample(step, 0)[0][0]
        assert len(image.unique()) == image.numel()


def test_a_volume_smaller_than_the_patch_lies_wholly_inside_it(tmp_path):
    voxels = np.arange(1, 28).reshape(3, 3, 3)
    case = write_prepared(tmp_path / "a", voxels[None], voxels)

    positions = set()
    for step in range(30):
        image, label = source([case]).sample(step, 0)
        assert set(range(1, 28)) <= set(image.unique().tolist())
        positions.add(tuple(np.argwhere(label.numpy() == 14)[0]))
    assert len(positions) > 5


def test_zeros_lie_around_a_volume_where_the_model_has_learnt_so(tmp_path):
    voxels = np.arange(1, 28).reshape(3, 3, 3)
    case = write_prepared(tmp_path / "a", voxels[None], voxels)
    image, label = source([case], padding="zero").sample(0, 0)
    for array in (image, label):
        assert sorted(array[array > 0].tolist()) == list(range(1, 28))


def test_a_crop_repeats_the_border():
    array = np.arange(24).reshape(2, 3, 4)

    assert (crop(array, np.array([0, 1, 2]), np.array([2, 2, 2])) == array[:, 1:, 2:]).all()
    assert crop(array, np.array([-2, 0, 0]), np.array([3, 1, 1])).ravel().tolist() == [0, 0, 0]
    assert crop(array, np.array([0, 0, 3]), np.array([1, 1, 3])).ravel().tolist() == [3, 3, 3]
    assert crop(array[None], np.array([0, 0, -1]), np.array([1, 1, 6])).shape == (1, 1, 1, 6)


def test_native_intensities_beyond_float16_stay_finite(a_case, tmp_path):
    """Some networks want them as they are, and uptake in Bq/ml has six digits."""
    bright = sitk.ReadImage(str(a_case.images[0])) * 1e4
    sitk.WriteImage(bright, str(a_case.images[0]))
    native = PreprocessingConfig(intensity=(IntensityConfig(scheme="none"),))
    image_CDHW = prepare_case(a_case, native, (3, 7), tmp_path / "cases").image()
    assert np.isfinite(image_CDHW).all()
    assert image_CDHW.max() == np.finfo(np.float16).max
