"""Cleaning up label maps: components, minimum volumes and holes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from MISFMLib.configs import LabelConfig
from MISFMLib.inference.postprocessing import clean_labels
from MISFMLib.volumes.volume import Geometry, LabelMap

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def cleaned(array, *labels, spacing=(1.0, 1.0, 1.0)):
    label_map = LabelMap(array, Geometry(array.shape, spacing, (0.0, 0.0, 0.0), IDENTITY))
    return clean_labels(label_map, labels).array_DHW


def a_label(value=1, **settings):
    return LabelConfig(value=value, name=f"label {value}", **settings)


def two_components():
    array = np.zeros((9, 10, 11), np.uint8)
    array[1:3, 1:3, 1:3] = 1
    array[5:8, 5:8, 5:8] = 1
    return array


def test_nothing_changes_when_nothing_is_asked_for(rng):
    array = rng.integers(0, 4, (6, 7, 8)).astype(np.uint16)
    result = cleaned(array, a_label(1), a_label(2), a_label(3))
    np.testing.assert_array_equal(result, array)
    assert result.dtype == array.dtype


def test_the_given_label_map_stays_as_it_is():
    array = two_components()
    cleaned(array, a_label(keep_largest=True))
    np.testing.assert_array_equal(array, two_components())


def test_only_the_largest_component_is_kept():
    result = cleaned(two_components(), a_label(keep_largest=True))
    expected = two_components()
    expected[:4] = 0
    np.testing.assert_array_equal(result, expected)


def test_the_largest_component_agrees_with_scipy_on_noise(rng):
    array = (rng.random((12, 13, 14)) < 0.12).astype(np.uint8) * 5
    result = cleaned(array, a_label(5, keep_largest=True))
    numbers, _ = scipy.ndimage.label(array == 5, np.ones((3, 3, 3)))
    largest = np.bincount(numbers.ravel())[1:].argmax() + 1
    np.testing.assert_array_equal(result == 5, numbers == largest)


def test_voxels_that_touch_by_a_corner_are_one_component():
    array = np.zeros((4, 4, 4), np.uint8)
    array[0, 0, 0] = array[1, 1, 1] = 1
    np.testing.assert_array_equal(cleaned(array, a_label(keep_largest=True)), array)


@pytest.mark.parametrize(
    ("min_volume_mm3", "kept_voxels"), [(15.9, 35), (16.0, 35), (16.1, 27), (54.0, 27), (54.1, 0)]
)
def test_components_below_the_minimum_volume_are_removed(min_volume_mm3, kept_voxels):
    label = a_label(min_volume_mm3=min_volume_mm3)
    result = cleaned(two_components(), label, spacing=(2.0, 1.0, 1.0))
    assert np.count_nonzero(result) == kept_voxels


def test_a_component_of_exactly_the_minimum_volume_stays():
    array = two_components()
    array[5:8] = 0
    label = a_label(min_volume_mm3=0.392)  # 8 voxels, but the quotient is above 8
    assert np.count_nonzero(cleaned(array, label, spacing=(0.7, 0.7, 0.1))) == 8


def test_the_largest_component_goes_too_when_it_is_below_the_minimum():
    label = a_label(keep_largest=True, min_volume_mm3=28)
    assert not cleaned(two_components(), label).any()


def a_shell(value=1):
    array = np.zeros((7, 7, 7), np.uint8)
    array[1:6, 1:6, 1:6] = value
    array[2:5, 2:5, 2:5] = 0
    return array


def test_an_enclosed_cavity_is_filled():
    result = cleaned(a_shell(), a_label(fill_holes=True))
    assert np.count_nonzero(result) == 125


def test_a_cavity_that_opens_through_a_face_is_not_filled():
    array = a_shell()
    array[1, 3, 3] = 0
    np.testing.assert_array_equal(cleaned(array, a_label(fill_holes=True)), array)


def test_a_wall_that_only_leaks_by_an_edge_still_encloses():
    array = a_shell()
    array[1, 1, 1:6] = 0
    result = cleaned(array, a_label(fill_holes=True))
    assert (result[2:5, 2:5, 2:5] == 1).all()


def test_a_cavity_at_the_border_of_the_volume_is_not_filled():
    array = a_shell()[3:]
    np.testing.assert_array_equal(cleaned(array, a_label(fill_holes=True)), array)


def test_another_label_in_the_cavity_is_kept():
    array = a_shell()
    array[3, 3, 3] = 2
    result = cleaned(array, a_label(1, fill_holes=True), a_label(2))
    assert result[3, 3, 3] == 2
    assert np.count_nonzero(result == 1) == 124


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_holes_are_filled_after_the_components_of_all_labels_were_removed(order):
    array = np.zeros((12, 12, 12), np.uint8)
    array[1:6, 1:6, 1:6] = 1
    array[3, 3, 3] = 2
    array[8:11, 8:11, 8:11] = 2
    labels = {1: a_label(1, fill_holes=True), 2: a_label(2, keep_largest=True)}
    result = cleaned(array, *(labels[value] for value in order))
    assert result[3, 3, 3] == 1


def test_an_absent_label_is_no_problem():
    array = two_components()
    label = a_label(7, keep_largest=True, fill_holes=True, min_volume_mm3=5)
    np.testing.assert_array_equal(cleaned(array, label), array)
