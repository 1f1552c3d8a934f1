"""Dice and cross-entropy over the scales, against their definitions."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from MISFMLib.data.datasets import UNLABELLED, Batch
from MISFMLib.training.losses import SegmentationLoss

pytestmark = pytest.mark.usefixtures("one_thread")


def a_batch(classes=3, size=(4, 6, 8)):
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, classes, (2, *size), generator=generator)
    logits = torch.randn(2, classes, *size, generator=generator)
    return Batch(torch.zeros(2, 1, *size), label), logits


def by_definition(logits, target):
    """Half Dice of the foreground over the whole batch, half cross-entropy of all classes."""
    probabilities = logits.softmax(1)
    dice = []
    for index in range(1, logits.shape[1]):
        p, y = probabilities[:, index], target[:, index]
        dice.append((2 * (p * y).sum() + 1e-5) / (p.sum() + y.sum() + 1e-5))
    cross_entropy = -(target * logits.log_softmax(1)).sum(1).mean()
    return 0.5 * (1 - torch.stack(dice).mean()) + 0.5 * cross_entropy


def one_hot(label, classes):
    return torch.nn.functional.one_hot(label, classes).movedim(-1, 1).float()


def test_one_output_gives_half_dice_and_half_cross_entropy():
    batch, logits = a_batch()

    loss = SegmentationLoss()(logits, batch)

    assert loss.item() == pytest.approx(
        by_definition(logits, one_hot(batch.label_BDHW, 3)).item(), abs=1e-5
    )


def test_classes_that_are_missing_count_more_until_they_are_found():
    batch, logits = a_batch()
    shares = torch.tensor([0.9, 0.09, 0.01])
    loss = SegmentationLoss()
    plain = loss(logits, batch)

    loss.emphasise([2], shares)
    emphasised = loss(logits, batch)
    loss.emphasise([], shares)

    of_class_2 = one_hot(batch.label_BDHW, 3)[:, 2] * logits.log_softmax(1)[:, 2]
    more = 0.5 * (90**0.5 - 1) * float(-of_class_2.mean())
    assert float(emphasised) == pytest.approx(float(plain) + more, rel=1e-4)
    assert loss(logits, batch).equal(plain)


def test_coarser_outputs_count_half_each_and_see_averaged_labels():
    batch, fine = a_batch()
    coarse = torch.nn.functional.avg_pool3d(fine, 2)
    target = one_hot(batch.label_BDHW, 3)

    loss = SegmentationLoss()([fine, coarse], batch)

    averaged = torch.nn.functional.avg_pool3d(target, 2)
    expected = (by_definition(fine, target) + 0.5 * by_definition(coarse, averaged)) / 1.5
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_stays_finite():
    batch, _ = a_batch()
    perfect = (one_hot(batch.label_BDHW, 3) - 0.5) * 2e4

    assert SegmentationLoss()(perfect, batch).item() == pytest.approx(0, abs=1e-4)
    wrong = (-perfect).requires_grad_()
    loss = SegmentationLoss()(wrong, batch)
    loss.backward()
    assert loss.isfinite()
    assert wrong.grad.isfinite().all()


def test_a_class_that_is_absent_leaves_loss_and_gradient_finite():
    batch, logits = a_batch()
    absent = Batch(batch.image_BCDHW, torch.zeros_like(batch.label_BDHW))
    logits.requires_grad_()

    loss = SegmentationLoss()(logits, absent)
    loss.backward()

    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_the_background_does_not_enter_the_dice():
    batch, logits = a_batch()
    mostly_background = Batch(
        batch.image_BCDHW, (batch.label_BDHW == 1).long() * (logits[:, 0] > 1.5)
    )
    certain_background = torch.zeros_like(logits)
    certain_background[:, 0] = 20

    loss = SegmentationLoss()(certain_background, mostly_background)

    assert loss.item() > 0.5


def test_the_published_loss_is_met_with_the_background_included(published_fixtures):
    stored = np.load(published_fixtures / "extra_losses.npz")
    expected = json.loads(str(stored["expected"]))
    scales = [torch.from_numpy(stored[f"pred{level}"]) for level in range(4)]
    label = torch.from_numpy(stored["label"]).long()
    batch, loss = Batch(label[:, None].float(), label), SegmentationLoss(include_background=True)

    assert loss(scales[0], batch).item() == pytest.approx(expected["combined"], abs=1e-5)
    assert loss(scales, batch).item() == pytest.approx(expected["deep_sup_mode2"], abs=1e-5)


def test_half_precision_outputs_are_computed_in_float32():
    batch, logits = a_batch()

    half = SegmentationLoss()(logits.bfloat16(), batch)

    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(SegmentationLoss()(logits, batch).item(), abs=0.02)


def test_voxels_that_nobody_labelled_take_no_part_at_any_scale():
    batch, fine = a_batch()
    coarse = torch.nn.functional.avg_pool3d(fine, 2).requires_grad_()
    fine = fine.requires_grad_()
    known = torch.ones_like(batch.label_BDHW, dtype=torch.bool)
    known[:, :2] = False  # two slices, which are one of the coarse scale
    label = torch.where(known, batch.label_BDHW, UNLABELLED)

    loss = SegmentationLoss()([fine, coarse], Batch(batch.image_BCDHW, label))

    cut = one_hot(batch.label_BDHW[:, 2:], 3)
    averaged = torch.nn.functional.avg_pool3d(cut, 2)
    expected = by_definition(fine[:, :, 2:], cut) + 0.5 * by_definition(coarse[:, :, 1:], averaged)
    assert loss.item() == pytest.approx(expected.item() / 1.5, abs=1e-5)
    loss.backward()
    assert not fine.grad[:, :, :2].any()
    assert fine.grad[:, :, 2:].any()


def test_a_batch_that_nobody_labelled_gives_a_finite_loss_without_gradient():
    batch, logits = a_batch()
    label = torch.full_like(batch.label_BDHW, UNLABELLED)
    loss = SegmentationLoss()(logits.requires_grad_(), Batch(batch.image_BCDHW, label))
    assert torch.isfinite(loss)
