"""Image and label map are compared by place: order and sense of the axes may differ."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib.errors import DataError
from MISFMLib.volumes.volume import (
    Geometry,
    LabelMap,
    Volume,
    on_grid,
    read_label_map,
    read_volume,
)

OBLIQUE = (0.8, 0.36, 0.48, 0.6, -0.48, -0.64, 0.0, 0.8, -0.6)
GEOMETRY = Geometry((4, 5, 6), (3.3, 0.8, 0.7), (-100.125, 55.5, 1000.25), OBLIQUE)


@pytest.fixture
def labels_DHW(rng):
    return rng.integers(0, 4, GEOMETRY.shape_dhw).astype(np.uint8)


def a_volume(geometry=GEOMETRY):
    return Volume(np.zeros((1, *geometry.shape_dhw), np.int16), geometry, "case")


def with_axes(image, order, flips):
    """The same voxels at the same places, stored in another order."""
    return sitk.Flip(sitk.PermuteAxes(image, order), [bool(flip) for flip in flips], False)


def image_of(array, geometry=GEOMETRY):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing_dhw[::-1])
    image.SetOrigin(geometry.origin_xyz)
    image.SetDirection(geometry.direction)
    return image


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product((0, 1), repeat=3)))
def test_axes_in_another_order_or_sense_are_the_same_grid(tmp_path, labels_DHW, order, flips):
    stored = with_axes(image_of(labels_DHW), list(order), flips)
    sitk.WriteImage(stored, str(tmp_path / "labels.nrrd"))

    label_map = on_grid(read_label_map(tmp_path / "labels.nrrd"), a_volume())

    np.testing.assert_array_equal(label_map.array_DHW, labels_DHW)
    assert label_map.geometry == GEOMETRY
    assert label_map.array_DHW.flags.c_contiguous


def test_channels_in_another_order_are_joined_by_place(tmp_path, labels_DHW):
    first = image_of(labels_DHW.astype(np.int16))
    sitk.WriteImage(first, str(tmp_path / "a.nrrd"))
    sitk.WriteImage(with_axes(first, [2, 0, 1], (0, 1, 1)), str(tmp_path / "b.nrrd"))

    channels = read_volume([tmp_path / "a.nrrd", tmp_path / "b.nrrd"]).array_CDHW

    np.testing.assert_array_equal(channels[0], channels[1])


def rounded(spacing):
    return Geometry((40, 5, 256), (2.5, 0.9765625, spacing), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def test_rounding_within_a_tenth_of_a_voxel_is_accepted_and_its_size_said(caplog):
    geometry, exact = rounded(0.9766), rounded(0.9765625)
    label_map = LabelMap(np.ones(geometry.shape_dhw, np.uint8), geometry)
    with caplog.at_level(logging.WARNING):
        assert on_grid(label_map, a_volume(exact)).geometry == exact
    assert "up to 0.0096 mm (0.98 % of a voxel)" not in caplog.text  # below 1 % is silent
    geometry = rounded(0.9767)
    label_map = LabelMap(np.ones(geometry.shape_dhw, np.uint8), geometry)
    with caplog.at_level(logging.WARNING):
        on_grid(label_map, a_volume(exact))
    assert "up to 0.035 mm (3.6 % of a voxel)" in caplog.text


def test_more_than_a_tenth_of_a_voxel_is_refused_with_the_numbers_that_differ():
    geometry = rounded(0.9771)
    label_map = LabelMap(np.ones(geometry.shape_dhw, np.uint8), geometry)
    with pytest.raises(DataError, match=r"case .*spacing \(2.5, 0.976562, 0.9771\) instead of"):
        on_grid(label_map, a_volume(rounded(0.9765625)))


@pytest.mark.parametrize("degrees", [1.0, 44.0])
def test_turned_axes_are_another_grid(labels_DHW, degrees):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = np.reshape(OBLIQUE, (3, 3)) @ [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]
    geometry = Geometry(
        GEOMETRY.shape_dhw, GEOMETRY.spacing_dhw, GEOMETRY.origin_xyz, tuple(turned.ravel())
    )
    with pytest.raises(DataError) as caught:
        on_grid(LabelMap(labels_DHW, geometry), a_volume())
    assert caught.value.code == "grid-mismatch"


def test_a_segmentation_saved_as_the_box_of_its_segments_is_put_back(tmp_path, labels_DHW):
    box = (slice(1, 3), slice(2, 5), slice(1, 4))
    corner = GEOMETRY.position_xyz((1, 2, 1))
    part = Geometry((2, 3, 3), GEOMETRY.spacing_dhw, tuple(corner), OBLIQUE)
    stored = with_axes(image_of(labels_DHW[box], part), [1, 0, 2], (0, 0, 1))
    label_map = LabelMap(*_read(stored, tmp_path), {1: "a", 2: "b", 3: "c"})
    expected = np.zeros_like(labels_DHW)
    expected[box] = labels_DHW[box]
    found = on_grid(label_map, a_volume())
    np.testing.assert_array_equal(found.array_DHW, expected)
    assert (found.geometry, found.names) == (GEOMETRY, label_map.names)
    with pytest.raises(DataError) as caught:  # other files say nothing of what they leave out
        on_grid(LabelMap(label_map.array_DHW, label_map.geometry), a_volume())
    assert caught.value.code == "grid-mismatch"


def _read(image, folder):
    sitk.WriteImage(image, str(folder / "labels.nrrd"))
    label_map = read_label_map(folder / "labels.nrrd")
    return label_map.array_DHW, label_map.geometry
