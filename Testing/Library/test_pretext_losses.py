"""Losses of the pretext tasks against their definitions, voxel by voxel."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from MISFMLib.data.datasets import Batch
from MISFMLib.training.losses import SegmentationLoss
from MISFMLib.training.pretext_losses import (
    FusionMaskingLoss,
    contrastive_loss,
    nt_xent,
    restoration_loss,
    restored,
    rotation_loss,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(3)


def a_batch(target, size=(4, 4, 4)):
    return Batch(torch.zeros(len(target), 1, *size), target)


def test_restored_intensities_lie_in_the_range_of_model_space():
    outputs = torch.tensor([-100.0, 0.0, 100.0]).reshape(1, 1, 1, 1, 3)
    assert restored(outputs).flatten().tolist() == [-1, 0, 1]


def test_fusion_masking_is_both_losses_each_on_its_outputs():
    scales = [torch.randn(2, 4, 4, 4, 4), torch.randn(2, 4, 2, 2, 2)]
    level, intensity = torch.randint(0, 3, (2, 4, 4, 4)), torch.rand(2, 4, 4, 4)
    intensity[:, :2] = torch.nan
    batch = a_batch(torch.stack([level.float(), intensity], dim=1))

    fusion = SegmentationLoss()([logits[:, :3] for logits in scales], a_batch(level))
    restoration = (scales[0][:, 3, 2:].tanh() - intensity[:, 2:]).abs().mean()

    torch.testing.assert_close(FusionMaskingLoss()(scales, batch), fusion + restoration)
    finest_alone = FusionMaskingLoss()(scales[0], batch)
    fusion = SegmentationLoss()(scales[0][:, :3], a_batch(level))
    torch.testing.assert_close(finest_alone, fusion + restoration)


def test_restoration_counts_every_voxel_of_a_full_target():
    outputs, target = torch.randn(2, 1, 4, 4, 4), torch.rand(2, 4, 4, 4)
    expected = (outputs[:, 0].tanh() - target).abs().mean()
    torch.testing.assert_close(restoration_loss(outputs, a_batch(target)), expected)


def test_restoration_counts_only_voxels_that_were_hidden():
    outputs = torch.randn(1, 1, 4, 4, 4, requires_grad=True)
    target = torch.full((1, 4, 4, 4), torch.nan)
    target[0, 1, 2, 3], target[0, 0, 0, 0] = 0.5, -0.25
    loss = restoration_loss(outputs, a_batch(target))
    said = outputs.detach()[0, 0].tanh()
    torch.testing.assert_close(
        loss.detach(), ((said[1, 2, 3] - 0.5).abs() + (said[0, 0, 0] + 0.25).abs()) / 2
    )
    loss.backward()
    assert outputs.grad.isfinite().all()
    assert (outputs.grad[0, 0] != 0).nonzero().tolist() == [[0, 0, 0], [1, 2, 3]]


def test_rotation_is_a_classification_of_the_turns():
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    batch = a_batch(torch.tensor([0, 3]))
    expected = -(2 - math.log(math.exp(2) + 3) + 0 - math.log(math.e + 3)) / 2
    assert float(rotation_loss(logits, batch)) == pytest.approx(expected, rel=1e-6)


def brute_force_nt_xent(first, second, temperature):
    """The formula of the SimCLR paper, one embedding at a time."""
    all_of_them, count = [*first, *second], len(first)
    losses = []
    for index, embedding in enumerate(all_of_them):
        scores = [
            math.exp(F.cosine_similarity(embedding, other, dim=0) / temperature)
            for other in all_of_them
        ]
        partner = (index + count) % (2 * count)
        losses.append(-math.log(scores[partner] / (sum(scores) - scores[index])))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_is_the_formula_of_the_paper(temperature):
    first, second = torch.randn(2, 5, 7)
    expected = brute_force_nt_xent(first, second, temperature)
    assert float(nt_xent(first, second, temperature)) == pytest.approx(expected, rel=1e-5)


def test_nt_xent_is_small_for_equal_partners_and_large_for_swapped_ones():
    embeddings = torch.eye(6)
    assert nt_xent(embeddings, embeddings) < 0.01
    assert nt_xent(embeddings, embeddings.roll(1, dims=0)) > 5


def test_the_contrastive_loss_compares_the_cells_in_which_the_voxels_lie():
    embeddings = torch.randn(4, 6, 2, 3, 4)  # two pairs of views, cells of 4 x 4 x 2 voxels
    voxels = torch.stack(
        [torch.randint(8, (4, 5)), torch.randint(12, (4, 5)), torch.randint(8, (4, 5))], dim=-1
    )
    views = [
        torch.stack([embeddings[view, :, d // 4, h // 4, w // 2] for d, h, w in voxels[view]])
        for view in range(4)
    ]
    expected = nt_xent(torch.cat([views[0], views[2]]), torch.cat([views[1], views[3]]))
    loss = contrastive_loss(embeddings, a_batch(voxels, size=(8, 12, 8)))
    torch.testing.assert_close(loss, expected)
