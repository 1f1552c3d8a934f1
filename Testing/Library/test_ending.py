"""A score that has stopped rising ends a training, its noise does not."""

from __future__ import annotations

import numpy as np
import pytest

from MISFMLib.training.ending import has_stalled


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], False),
        ([0.5], False),
        ([0.5, 0.5], False),
        ([0.5, 0.5, 0.5], True),
        ([0.1, 0.2, 0.3, 0.4, 0.5], False),
        # Means of three: 0.8, 0.7, 0.667, 0.633
        ([0.8, 0.6, 0.6, 0.7], True),
        # Means of three: 0.5, 0.5, 0.5, 0.6
        ([0.5, 0.5, 0.5, 0.8], False),
        # A single score above all others, 0.5, 0.51, 0.507, 0.507
        ([0.5, 0.52, 0.5, 0.5], True),
        # Less than 0.001 each
        ([0.5, 0.5004, 0.5008, 0.5012], True),
        ([0.5, 0.503, 0.506, 0.509], False),
        ([-0.9, -0.5, -0.3], False),
        ([-0.5, -0.5, -0.5], True),
    ],
)
def test_two_validations_without_a_rise_of_the_mean_are_a_stall(scores, expected):
    assert has_stalled(scores, 2) is expected


def test_a_rising_score_with_noise_goes_on_and_a_flat_one_ends():
    noise = np.random.default_rng(0).normal(0, 0.004, 60)
    rising, flat = np.linspace(0.5, 0.8, 60) + noise, np.full(60, 0.8) + noise
    assert not any(has_stalled(rising[:count].tolist(), 5) for count in range(61))
    assert has_stalled(flat[:30].tolist(), 5)


def test_more_patience_waits_longer():
    scores = [0.5] * 4
    assert [has_stalled(scores, patience) for patience in (2, 3, 4)] == [True, True, False]
