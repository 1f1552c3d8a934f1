"""Plans derived from facts about the cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from MISFMLib.configs import IntensityConfig, LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.data.label_check import CaseFacts
from MISFMLib.data.label_sides import LabelSide
from MISFMLib.data.plan import (
    TrainingPlan,
    along,
    patch_budget,
    plan_intensity,
    plan_modality,
    plan_orientation,
    plan_patch,
    plan_spacing,
    plan_steps,
)


def fact(
    shape=(36, 50, 35), spacing=(1.0, 1.0, 1.0), modality="", intensities=(0.0, 900.0), samples=None
):
    return CaseFacts(
        name="a",
        shape_dhw=shape,
        spacing_dhw=spacing,
        modality=modality,
        intensity_range=intensities,
        label_values=(1,),
        foreground_samples=np.zeros((1, 3), np.float32) if samples is None else samples,
        image_digest="",
        label_digest="",
    )


def test_nearly_equal_spacings_are_kept_exactly():
    facts = [
        fact(spacing=(2.5, 0.8, 0.8)),
        fact(spacing=(2.504, 0.801, 0.8)),
        fact(spacing=(5, 1, 1)),
    ]

    assert plan_spacing(facts) == (2.5, 0.8, 0.8)


def test_spacings_that_differ_give_their_median():
    facts = [fact(spacing=(1, 1, 1)), fact(spacing=(2, 0.7, 0.8)), fact(spacing=(3, 0.9, 0.5))]

    assert plan_spacing(facts) == (2, 0.9, 0.8)


@pytest.mark.parametrize(
    ("spacing", "orientation"),
    [
        ((1, 1, 1), "LPS"),
        ((5, 1, 1), "LPS"),
        ((1, 5, 1), "LSP"),
        ((1, 1, 5), "PSL"),
        ((2.5, 3.9, 3.9), "LPS"),
    ],
)
def test_slices_are_stacked_along_depth(spacing, orientation):
    facts = [fact(shape=(10, 20, 30), spacing=spacing)]

    assert plan_orientation(facts) == orientation
    turned = along(facts[0], PreprocessingConfig(orientation=orientation))
    assert turned.spacing_dhw[0] == (max(spacing) if orientation != "LPS" else spacing[0])
    assert sorted(zip(turned.shape_dhw, turned.spacing_dhw, strict=True)) == sorted(
        zip((10, 20, 30), spacing, strict=True)
    )


def test_orientation_letters_name_the_axes_from_width_to_depth():
    for orientation, shape in {
        "PSL": (30, 10, 20),
        "LSP": (20, 10, 30),
        "RAI": (10, 20, 30),
    }.items():
        space = PreprocessingConfig(orientation=orientation)
        assert along(fact(shape=(10, 20, 30)), space).shape_dhw == shape


def test_imported_models_may_turn_the_axes_of_the_body_or_those_of_the_file():
    space = PreprocessingConfig(orientation="RAS", transpose=(2, 1, 0))
    assert along(fact(shape=(10, 20, 30)), space).shape_dhw == (30, 20, 10)
    # A sagittal series, whose slices are stacked from right to left in its file.
    sagittal = replace(fact(shape=(10, 20, 30)), stored_axes=(2, 0, 1))
    stored = PreprocessingConfig(orientation="")
    assert along(sagittal, stored).shape_dhw == (30, 10, 20)
    turned = replace(stored, transpose=(1, 0, 2))
    assert along(sagittal, turned).shape_dhw == (10, 30, 20)


def test_the_patch_covers_most_of_small_volumes_in_whole_strides():
    assert plan_patch([fact()], (1, 1, 1), (16, 16, 16), 500_000) == (32, 48, 32)
    assert plan_patch([fact(shape=(10, 10, 10))], (1, 1, 1), (16, 16, 16), 500_000) == (16, 16, 16)


@pytest.mark.parametrize(
    ("boxes_mm", "budget"),
    [
        ([[(20, 20, 20), (60, 10, 10)]], 20_000),  # the larger of two labels, 8000 mm^3
        ([[(20, 20, 20)], [(20, 20, 40)], [(90, 90, 90)], []], 40_000),  # the median case with one
        ([[(4, 4, 4)]], 10_000),
        ([[(90, 90, 90)]], 50_000),
        ([[], []], 50_000),
    ],
)
def test_the_budget_of_the_patch_follows_the_largest_label(boxes_mm, budget):
    def sides(boxes):
        empty = np.zeros((10,) * 3, bool)
        return {value: LabelSide((0, 0, 0), box, 9, empty) for value, box in enumerate(boxes, 1)}

    facts = [replace(fact(), sides=sides(boxes)) for boxes in boxes_mm]

    assert patch_budget(facts, (1, 1, 1), 10_000, 50_000) == budget
    assert patch_budget(facts, (2, 1, 1), 5_000, 25_000) == budget / 2


@pytest.mark.parametrize("stride", [(16, 16, 16), (8, 16, 16), (4, 16, 16)])
def test_the_patch_of_large_volumes_stays_in_the_budget_and_is_about_cubic_in_mm(stride):
    spacing = (2.5, 0.8, 0.8)

    patch = plan_patch(
        [fact(shape=(120, 512, 512), spacing=spacing)], spacing, stride, 64 * 128 * 128
    )

    assert np.prod(patch) <= 64 * 128 * 128
    assert np.prod(patch) > 0.6 * 64 * 128 * 128
    assert not np.mod(patch, stride).any()
    edges = np.multiply(patch, spacing)
    assert edges.max() / edges.min() < 1.7


def test_a_budget_below_one_stride_gives_one_stride():
    assert plan_patch([fact()], (1, 1, 1), (16, 16, 16), 10) == (16, 16, 16)


def test_the_patch_counts_voxels_at_the_planned_spacing():
    at_2_mm = plan_patch([fact(shape=(64, 64, 64))], (2, 2, 2), (16, 16, 16), 10**6)

    assert at_2_mm == (32, 32, 32)


@pytest.mark.parametrize(
    ("cases", "labels", "steps"),
    [(1, 1, 500), (5, 4, 1000), (16, 4, 1750), (100, 4, 4500), (100, 60, 8750), (10**6, 9, 20000)],
)
def test_the_length_of_a_training_follows_cases_and_labels(cases, labels, steps):
    assert plan_steps(cases, labels) == steps


@pytest.mark.parametrize(
    ("facts", "described", "modality"),
    [
        ([fact()], "CT", "CT"),
        ([fact(modality="MR"), fact(modality="MR"), fact()], "", "MR"),
        ([fact(intensities=(-1024, 3000)), fact(intensities=(-1000, 900)), fact()], "", "CT"),
        ([fact(), fact(modality="CT")], "", "other"),
        ([fact(modality="CT")], "MR", "MR"),
        ([fact()], "other", "other"),
    ],
)
def test_the_modality_is_told_or_guessed(facts, described, modality):
    assert plan_modality(facts, described) == modality


def test_a_modality_that_was_set_to_other_is_not_guessed_again():
    assert plan_modality([fact(intensities=(-1024, 3000))], "other") == "other"


@pytest.mark.parametrize(
    ("modality", "asked", "scheme", "clip"),
    [
        ("CT", "auto", "ct-clip", (-1000, 1000)),
        ("MR", "auto", "mr-zscore", None),
        ("other", "auto", "mr-zscore", None),
        ("MR", "mr-percentile", "mr-percentile", (0.5, 99.5)),
    ],
)
def test_the_intensity_scheme_follows_the_modality_or_the_user(modality, asked, scheme, clip):
    two_channels = fact(samples=np.zeros((2, 3), np.float32))

    assert plan_intensity([two_channels], modality, asked) == (
        IntensityConfig(scheme=scheme, clip=clip),
        IntensityConfig(scheme=scheme, clip=clip),
    )


def test_percentiles_of_ct_come_from_the_labelled_voxels_of_every_channel():
    samples = np.stack([np.linspace(0, 1000, 10001), np.full(10001, 7.0)]).astype(np.float32)

    first, second = plan_intensity([fact(samples=samples)], "CT", "ct-percentile")

    assert first.clip == pytest.approx((5, 995))
    assert first.mean == pytest.approx(500)
    assert first.std == pytest.approx(np.clip(samples[0], 5, 995).std(), rel=1e-3)
    assert (second.mean, second.std) == (7, 1)


def test_a_plan_is_told_by_topic():
    plan = TrainingPlan(
        network=NetworkConfig(),
        preprocessing=PreprocessingConfig(modality="MR", patch_size=(32, 48, 32)),
        labels=(LabelConfig(value=3, name="left atrium"),),
        batch_size=4,
    )

    summary = plan.summary()

    assert summary["patch"] == "32 x 48 x 32 voxels, 4 a step"
    assert summary["labels"] == "3 left atrium"
    assert summary["voxel size"] == "as scanned"
    assert "mr-zscore" in summary["intensities"]
