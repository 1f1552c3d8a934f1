"""Interpolation axis by axis against scipy, which nnU-Net resamples with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from MISFMLib.configs import InterpolationConfig
from MISFMLib.data.interpolation import SlabInterpolation, axis_orders, separate_axis
from MISFMLib.data.preprocessing import filled_foreground

SHAPES = [((12, 17, 9), (20, 11, 9)), ((30, 8, 5), (7, 8, 16)), ((4, 3, 40), (9, 1, 23))]


def interpolated(volume, shape, orders, apart=None):
    def read(start, stop):
        return torch.from_numpy(volume[start:stop])

    slabs = SlabInterpolation(read, volume.shape, shape, orders, apart)
    result = torch.empty(shape)
    middle = shape[0] // 2
    slabs.fill(0, result[:middle]) if middle else None
    slabs.fill(middle, result[middle:])
    return result.numpy()


def zoomed(volume, shape, order):
    ndimage = pytest.importorskip("scipy.ndimage")
    factors = np.divide(shape, volume.shape)
    values = volume.astype(float)
    return ndimage.zoom(values, factors, order=order, mode="nearest", grid_mode=True)


@pytest.mark.parametrize(("given", "wanted"), SHAPES)
def test_cubic_is_that_of_scipy_cut_to_the_range_of_the_volume(given, wanted, rng):
    volume = rng.normal(size=given).astype(np.float32)
    expected = zoomed(volume, wanted, 3).clip(volume.min(), volume.max())
    np.testing.assert_allclose(interpolated(volume, wanted, (3, 3, 3)), expected, atol=2e-5)


@pytest.mark.parametrize("across", [0, 1])
@pytest.mark.parametrize("apart", [0, 1, 2])
def test_slices_apart_are_cut_to_their_own_range(apart, across, rng):
    volume = (rng.normal(size=(6, 7, 8)) * rng.random((6, 7, 8))).astype(np.float32)
    wanted = [9, 12, 5]
    slices = np.moveaxis(volume, apart, 0)
    plane = [edge for axis, edge in enumerate(wanted) if axis != apart]
    planes = np.stack([zoomed(s, plane, 3).clip(s.min(), s.max()) for s in slices])
    # Between slices it is the slices as they were cut that are interpolated.
    expected = zoomed(np.moveaxis(planes, 0, apart), wanted, across)
    orders = axis_orders(InterpolationConfig(order=3, order_across=across), apart)
    result = interpolated(volume, tuple(wanted), orders, apart)
    np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("before", "after", "axis"),
    [
        ((5, 1, 1), (1, 1, 1), 0),  # the grid before decides
        ((1, 1, 1), (1, 4, 1), 1),  # else the one after
        ((3, 1, 1), (1, 1, 1), None),  # three times as long is not more
        ((1, 5, 5), (6, 1, 1), None),  # two are the longest
    ],
)
def test_which_axis_is_treated_apart(before, after, axis):
    assert separate_axis(InterpolationConfig(separate="anisotropic"), before, after) == axis


def test_holes_of_the_foreground_belong_to_it(rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    volume = (rng.random((9, 10, 11)) > 0.35).astype(np.int16)
    expected = ndimage.binary_fill_holes(volume != 0)
    assert expected.sum() > (volume != 0).sum()
    np.testing.assert_array_equal(filled_foreground([volume]), expected)
