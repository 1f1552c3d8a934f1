"""Labels of the model before in a cascade, as nnU-Net 2.8.1 resamples them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from MISFMLib.data.model_labels import (
    PreviousRule,
    labels_in_model_space,
    previous_in_model_space,
)

RECORD = SimpleNamespace(model_shape_dhw=(2, 2, 5), orders=(3, 3, 3))
"""Four voxels of 1.25 mm become five of 1 mm, the third of which lies between two."""


def row(*values: int) -> np.ndarray:
    return np.broadcast_to(np.array(values, np.int16), (2, 2, len(values))).copy()


def test_halfway_between_labels_the_nearest_voxel_decides():
    labels = row(0, 0, 1, 1)
    inside = np.ones(labels.shape, bool)
    previous = previous_in_model_space(labels, inside, RECORD).numpy()
    np.testing.assert_array_equal(previous, row(0, 0, 1, 1, 1))
    np.testing.assert_array_equal(labels_in_model_space(labels, RECORD), row(0, 0, 0, 1, 1))


def test_the_outside_is_a_label_of_its_own():
    labels = row(0, 0, 0, 1)
    inside = row(0, 0, 1, 1).astype(bool)
    previous = previous_in_model_space(labels, inside, RECORD).numpy()
    np.testing.assert_array_equal(previous, row(-1, -1, 0, 0, 1))
    same = SimpleNamespace(model_shape_dhw=labels.shape, orders=(3, 3, 3))
    np.testing.assert_array_equal(previous_in_model_space(labels, inside, same), row(-1, -1, 0, 1))


@pytest.mark.parametrize(
    ("choice", "orders", "expected"),
    [
        ("nearest", (1, 1, 1), row(0, 7, 300, 300, 300)),
        ("lowest", (1, 1, 1), row(0, 7, 7, 300, 300)),
        ("above-half", (1, 1, 1), row(0, 7, 0, 300, 300)),
        ("lowest", (1, 1, 0), row(0, 7, 300, 300, 300)),
    ],
)
def test_each_resampling_of_nnunet_has_its_own_rule(choice, orders, expected):
    labels = row(0, 7, 300, 300)
    inside = np.ones(labels.shape, bool)
    previous = previous_in_model_space(labels, inside, RECORD, PreviousRule(orders, choice))
    np.testing.assert_array_equal(previous.numpy(), expected)


def test_halves_that_half_precision_cannot_tell_apart_give_the_lowest_label():
    record = SimpleNamespace(model_shape_dhw=(2, 2, 20_000), orders=(3, 3, 3))
    labels = row(3, 2)
    inside = np.ones(labels.shape, bool)
    given = previous_in_model_space(labels, inside, record, PreviousRule(choice="lowest"))
    exact = previous_in_model_space(labels, inside, record)
    assert (given == 2).sum() > (exact == 2).sum()
