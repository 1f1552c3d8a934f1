"""Patches are mirrored along no axis that tells two labels apart, whatever these are called."""

from __future__ import annotations

import numpy as np
import pytest

from MISFMLib.data.label_sides import label_sides, mirror_axes
from MISFMLib.volumes.volume import Geometry, LabelMap

LPS = (1, 0, 0, 0, 1, 0, 0, 0, 1)
RAS = (-1, 0, 0, 0, -1, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("names", "orientation", "axes"),
    [
        (["liver", "spleen"], "LPS", (0, 1, 2)),
        (["left kidney", "right kidney"], "LPS", (0, 1)),
        (["Kidney_L", "Kidney_R"], "RAI", (0, 1)),
        (["left kidney", "right lung"], "LPS", (0, 1, 2)),
        (["anterior hippocampus", "posterior hippocampus"], "LPS", (0, 2)),
        (["anterior hippocampus", "posterior hippocampus"], "SPL", (0, 2)),
        (["upper lobe left", "lower lobe left", "upper lobe right"], "LPS", (1,)),
        (["left kidney", "right kidney"], "PSL", (1, 2)),
    ],
)
def test_volumes_are_mirrored_along_axes_that_tell_no_labels_apart(names, orientation, axes):
    assert mirror_axes(names, [], orientation[::-1]) == axes


def sides(array_DHW, direction=LPS):
    geometry = Geometry(array_DHW.shape, (2.0, 1.0, 1.0), (0, 0, 0), direction)
    values = [int(value) for value in np.unique(array_DHW) if value]
    return label_sides(LabelMap(array_DHW, geometry), values)


def boxes(*places):
    """A label map with boxes of 4 x 4 x 4 voxels, label 1, 2, ... at each place."""
    array = np.zeros((24, 24, 24), np.uint8)
    for label, (d, h, w) in enumerate(places, start=1):
        array[d : d + 4, h : h + 4, w : w + 4] = label
    return array


def unnamed(*cases, orientation="LPS"):
    return mirror_axes(["label 1", "label 2"], [sides(case) for case in cases], orientation[::-1])


def test_labels_without_names_that_lie_left_and_right_are_not_swapped():
    assert unnamed(boxes((9, 9, 3), (9, 9, 15)), boxes((8, 9, 2), (9, 8, 17))) == (0, 1)


def test_labels_above_each_other_are_not_swapped():
    assert unnamed(boxes((2, 9, 9), (14, 9, 9))) == (1, 2)


def test_an_axis_of_model_space_is_that_of_the_patient():
    assert unnamed(boxes((9, 9, 3), (9, 9, 15)), orientation="PSL") == (1, 2)


def test_places_are_those_in_the_patient_whatever_the_order_of_the_voxels():
    stored = np.ascontiguousarray(boxes((9, 9, 3), (9, 9, 15))[:, ::-1, ::-1])
    cases = [sides(boxes((9, 9, 3), (9, 9, 15))), sides(stored, RAS)]
    assert mirror_axes(["a", "b"], cases, "SPL") == (0, 1)
    cases = [sides(boxes((9, 9, 3), (9, 9, 15))), sides(stored, LPS)]
    assert mirror_axes(["a", "b"], cases, "SPL") == (0, 1, 2)


def test_labels_that_change_sides_from_case_to_case_may_be_mirrored():
    assert unnamed(boxes((9, 9, 3), (9, 9, 15)), boxes((9, 9, 15), (9, 9, 3))) == (0, 1, 2)


def test_a_label_inside_another_may_be_mirrored():
    array = np.zeros((24, 24, 24), np.uint8)
    array[4:20, 4:20, 4:20] = 1
    array[9:12, 12:15, 10:14] = 2
    assert unnamed(array) == (0, 1, 2)


def test_one_label_may_be_mirrored():
    assert unnamed(boxes((2, 9, 9))) == (0, 1, 2)


def a_hook(label, *, mirrored):
    """A shape like an L in the plane across the body, left or right-handed."""
    array = np.zeros((24, 24, 24), np.uint8)
    array[8:14, 4:16, 8:11] = label
    array[8:14, 13:16, 8:18] = label
    return np.ascontiguousarray(array[:, :, ::-1]) if mirrored else array


def test_mirror_images_that_never_meet_in_one_case_are_not_swapped():
    # The left hip in some cases, the right hip in others.
    cases = [a_hook(1, mirrored=False), a_hook(2, mirrored=True)]
    assert unnamed(*cases, *cases) == (0, 1)


def test_equal_shapes_that_never_meet_may_be_mirrored():
    assert unnamed(a_hook(1, mirrored=False), a_hook(2, mirrored=False)) == (0, 1, 2)
