"""Volumes of no use for pretraining are told from scans; equal scans have equal hashes."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib.data.volume_checks import (
    Limits,
    check_hounsfield,
    check_series,
    check_volume,
    hash_voxels,
    is_label_map,
)
from MISFMLib.errors import DataError
from MISFMLib.volumes.volume import Geometry, Volume, find_volumes, read_volume

LIMITS = Limits(min_edge=8, max_spacing_mm=5.0)
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def a_volume(array_DHW, spacing_dhw=(1.0, 1.0, 1.0), direction=IDENTITY):
    array = np.asarray(array_DHW)
    return Volume(array[None], Geometry(array.shape, spacing_dhw, (0.0, 0.0, 0.0), direction), "a")


def a_scan(rng, shape=(10, 12, 14)):
    return rng.normal(50, 30, shape).astype(np.int16)


def code_of(check, *arguments):
    with pytest.raises(DataError) as caught:
        check(*arguments)
    return caught.value.code


def test_a_scan_is_of_use(rng):
    check_volume(a_volume(a_scan(rng)), LIMITS)


@pytest.mark.parametrize("shape", [(7, 12, 14), (10, 12, 7)])
def test_a_localizer_has_too_few_slices(shape, rng):
    assert code_of(check_volume, a_volume(a_scan(rng, shape)), LIMITS) == "too-few-slices"


def test_long_voxels_are_of_no_use(rng):
    check_volume(a_volume(a_scan(rng), (5.0, 1.0, 1.0)), LIMITS)
    volume = a_volume(a_scan(rng), (5.1, 1.0, 1.0))
    assert code_of(check_volume, volume, LIMITS) == "coarse-voxels"


def test_blank_slices_between_others_are_missing_ones(rng):
    array = a_scan(rng)
    array[:2] = array[-1:] = 0
    check_volume(a_volume(array), LIMITS)
    array[5] = 7
    assert code_of(check_volume, a_volume(array), LIMITS) == "missing-slices"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_label_maps_are_told_from_scans(dtype, rng):
    labels = np.zeros((10, 12, 14), dtype)
    labels[2:8, 2:9, 3:8], labels[2:8, 2:9, 8:12] = 1, 2
    assert is_label_map(labels)
    assert code_of(check_volume, a_volume(labels), LIMITS) == "label-map"
    assert not is_label_map(abs(a_scan(rng)).astype(dtype))
    assert not is_label_map(labels * 0.5)


@pytest.mark.parametrize("lowest", [-2000, 0])
def test_backgrounds_of_one_value_make_no_label_map(lowest, rng):
    # As in a CT with air set to one value, and another one outside the field of view.
    array = np.full((12, 24, 24), lowest + 1000, np.int16)
    array[:, 0] = lowest
    array[2:10, 3:11, 3:11] = rng.integers(lowest + 1500, lowest + 3500, (8, 8, 8))
    assert not is_label_map(array)


@pytest.mark.parametrize(("lowest", "is_hu"), [(-200, True), (-1, True), (0, False), (24, False)])
def test_a_ct_has_something_lighter_than_water(lowest, is_hu, rng):
    volume = a_volume(rng.integers(lowest, 2000, (10, 12, 14)))
    volume.array_CDHW[0, 0, 0, 0] = lowest
    if is_hu:
        check_hounsfield(volume)
    else:
        assert code_of(check_hounsfield, volume) == "not-hounsfield"


# ------------------------------------------------------------------------------------------- DICOM


def write_dicom(path, image_type="ORIGINAL\\PRIMARY\\AXIAL"):
    image = sitk.GetImageFromArray(np.arange(12, dtype=np.int16).reshape(1, 3, 4))
    for key, value in {"0008|0060": "CT", "0008|0008": image_type}.items():
        image.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    writer.Execute(image)
    return path


def test_localizers_say_so_in_their_header(tmp_path):
    check_series("CT", [write_dicom(tmp_path / "a.dcm")])
    localizer = write_dicom(tmp_path / "b.dcm", "ORIGINAL\\PRIMARY\\LOCALIZER")
    assert code_of(check_series, "CT", [localizer]) == "localizer"


def test_other_modalities_are_refused_before_reading(tmp_path):
    assert code_of(check_series, "PT", [tmp_path / "missing.dcm"]) == "other-modality"


# ---------------------------------------------------------------------------------------- equality


def test_a_copy_in_another_type_or_order_has_the_same_hash(rng):
    array = a_scan(rng)
    array[0, 0, 0] = 0
    expected = hash_voxels(a_volume(array))
    as_float = array.astype(np.float32)
    as_float[0, 0, 0] = -0.0
    assert hash_voxels(a_volume(as_float)) == expected
    # The same patient with rows and columns running the other way, as NIfTI has them.
    flipped = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
    assert hash_voxels(a_volume(array[:, ::-1, ::-1], direction=flipped)) == expected


def test_other_voxels_or_another_shape_have_another_hash(rng):
    array = a_scan(rng)
    expected = hash_voxels(a_volume(array))
    assert hash_voxels(a_volume(array.reshape(10, 14, 12))) != expected
    array[3, 4, 5] += 1
    assert hash_voxels(a_volume(array)) != expected


def test_real_label_maps_are_told_from_real_scans(shared_data):
    # Those of the samples; over all 400 files labels had 98 % equal neighbours, scans 10 %.
    for path in find_volumes(shared_data / "samples"):
        is_label = "label" in path.name or "_seg" in path.name
        assert is_label_map(read_volume(path).array_CDHW[0]) == is_label
