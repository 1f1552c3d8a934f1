"""Volumes without labels are found, prepared once, and left out with a reason when of no use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib.data.unlabelled import (
    Preparation,
    PreparedVolumes,
    UnlabelledFile,
    find_unlabelled,
    prepare_file,
)
from MISFMLib.errors import DataError


def write(path, array_DHW, spacing_dhw=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array_DHW)
    image.SetSpacing(spacing_dhw[::-1])
    sitk.WriteImage(image, str(path))
    return path


def a_scan(rng, shape=(10, 12, 14), low=0, high=1000):
    return rng.integers(low, high, shape).astype(np.int16)


def names(paths):
    return [file.path.name for file in find_unlabelled(paths)]


# ---------------------------------------------------------------------------------------- finding


def test_files_and_folders_are_found_once_in_the_order_of_their_names(tmp_path, rng):
    for name in ("b.nii.gz", "a.nrrd", "deeper/c.mha"):
        write(tmp_path / name, a_scan(rng))
    assert names([tmp_path]) == ["a.nrrd", "b.nii.gz", "c.mha"]
    assert names([tmp_path / "b.nii.gz", tmp_path]) == ["a.nrrd", "b.nii.gz", "c.mha"]


def test_label_maps_are_no_volumes_to_learn_from(tmp_path, rng):
    for name in ("a.nii.gz", "a.seg.nrrd", "labels/a.nii.gz", "set/labelsTr/b.nii.gz"):
        write(tmp_path / name, a_scan(rng))
    write(tmp_path / "set/imagesTr/b.nii.gz", a_scan(rng))
    assert names([tmp_path]) == ["a.nii.gz", "b.nii.gz"]


def test_masks_and_held_out_cases_of_data_sets_below_a_folder_are_left_out(tmp_path, rng):
    for name in ("ts/s1/ct.nii.gz", "ts/s1/segmentations/liver.nii.gz", "b/masks/c.nii.gz"):
        write(tmp_path / name, a_scan(rng))
    for case in "de":
        for folder in ("imagesTr", "labelsTr", "labelsTs"):
            write(tmp_path / "set" / folder / f"{case}.nii.gz", a_scan(rng))
    content = {"modality": {"0": "MRI"}, "split": {"train": ["d"], "validation": ["e"]}}
    (tmp_path / "set" / "dataset.json").write_text(json.dumps(content))
    found = [(file.path.name, file.modality) for file in find_unlabelled([tmp_path])]
    assert found == [("d.nii.gz", "MR"), ("ct.nii.gz", "")]


def test_a_label_map_beside_a_scan_is_left_out(tmp_path, rng):
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15] = 1
    facts, _ = prepared(write(tmp_path / "BraTS_1_seg.nii.gz", labels), tmp_path)
    assert "label map" in facts.problem


def test_ct_that_is_not_in_hounsfield_units_is_left_out_where_it_would_be_clipped(tmp_path, rng):
    path = write(tmp_path / "a.nii.gz", a_scan(rng, high=4000))
    facts, folder = prepared(path, tmp_path, modality="CT")
    assert "fat and air are below 0" in facts.problem
    assert not (folder / "image.npy").exists()


def test_of_a_data_set_the_images_are_taken_with_its_modality(tmp_path, rng):
    for name in ("images/a.nii.gz", "images/b.nii.gz", "labels/a.nii.gz", "images/c.nii.gz"):
        write(tmp_path / name, a_scan(rng))
    write(tmp_path / "labels/b.nii.gz", a_scan(rng))
    (tmp_path / "dataset.json").write_text(json.dumps({"modality": {"0": "T1 MRI"}}))
    files = find_unlabelled([tmp_path])
    assert [(file.path.name, file.modality) for file in files] == [
        ("a.nii.gz", "MR"),
        ("b.nii.gz", "MR"),
    ]


def test_validation_cases_of_a_data_set_stay_unseen(tmp_path, rng):
    entries = []
    for name in ("a", "b", "c"):
        write(tmp_path / f"imagesTr/{name}.nii.gz", a_scan(rng))
        write(tmp_path / f"labelsTr/{name}.nii.gz", a_scan(rng))
        entries.append({"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"})
    content = {"training": entries, "split": {"train": ["a", "c"], "validation": ["b"]}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert names([tmp_path]) == ["a.nii.gz", "c.nii.gz"]
    assert names([tmp_path / "dataset.json"]) == ["a.nii.gz", "c.nii.gz"]


def test_every_channel_of_a_file_is_a_volume(tmp_path, rng):
    frames = [sitk.GetImageFromArray(a_scan(rng)) for _ in range(2)]
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / "imagesTr/a.nii.gz"))
    write(tmp_path / "labelsTr/a.nii.gz", a_scan(rng))
    (tmp_path / "dataset.json").write_text(json.dumps({"modality": {"0": "T2", "1": "ADC"}}))
    files = find_unlabelled([tmp_path])
    assert [file.channel for file in files] == [0, 1]
    facts = [prepare_file(file, Preparation(), tmp_path / str(file.channel)) for file in files]
    assert not any(each.problem for each in facts)
    images = PreparedVolumes([tmp_path / "0", tmp_path / "1"])
    boxes = [images.crop(index, (0, 0, 0), facts[0].shape_dhw) for index in (0, 1)]
    assert not np.array_equal(*boxes)


@pytest.mark.parametrize(("name", "code"), [("empty", "no-volume"), ("missing", "file-missing")])
def test_nothing_to_learn_from_is_an_error(name, code, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        find_unlabelled([tmp_path / name])
    assert caught.value.code == code


# -------------------------------------------------------------------------------------- preparing


def prepared(path, tmp_path, modality="", **preparation):
    folder = tmp_path / "prepared" / path.name
    return prepare_file(UnlabelledFile(path, modality), Preparation(**preparation), folder), folder


@pytest.mark.parametrize(
    ("low", "high", "described", "expected"),
    [
        (-1024, 2000, "", "CT"),
        (0, 1000, "", "other"),
        (0, 1000, "MR", "MR"),
        (-1024, 1000, "MR", "MR"),
    ],
)
def test_intensities_come_to_lie_between_minus_1_and_1(
    low, high, described, expected, tmp_path, rng
):
    path = write(tmp_path / "a.nii.gz", a_scan(rng, low=low, high=high))
    facts, folder = prepared(path, tmp_path, described)
    image = PreparedVolumes([folder]).crop(0, (0, 0, 0), facts.shape_dhw)
    assert facts.modality == expected
    assert image.dtype == np.float16
    assert image.min() == -1
    assert image.max() == 1
    if expected == "CT":
        hu = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        np.testing.assert_allclose(image, np.clip(hu / 1000, -1, 1), atol=1e-3)


def test_the_modality_and_the_scheme_can_be_given(tmp_path, rng):
    path = write(tmp_path / "a.nii.gz", a_scan(rng))
    facts, folder = prepared(path, tmp_path, modality="CT", scheme="mr-percentile")
    assert facts.modality == "CT"
    image = PreparedVolumes([folder]).crop(0, (0, 0, 0), facts.shape_dhw)
    assert np.mean(image == 1) > 0.002  # the scheme clips half a percent on either side


def test_a_volume_keeps_its_voxels_unless_a_size_is_asked_for(tmp_path, rng):
    path = write(tmp_path / "a.nii.gz", a_scan(rng), spacing_dhw=(2.0, 1.0, 1.0))
    own, _ = prepared(path, tmp_path)
    assert (own.shape_dhw, own.spacing_dhw) == ((10, 12, 14), (2.0, 1.0, 1.0))
    again = write(tmp_path / "b.nii.gz", a_scan(rng), spacing_dhw=(2.0, 1.0, 1.0))
    resampled, _ = prepared(again, tmp_path, spacing_dhw=(1.0, 1.0, 1.0))
    assert resampled.shape_dhw == (20, 12, 14)


def test_slices_are_stacked_along_depth(tmp_path, rng):
    path = write(tmp_path / "a.nii.gz", a_scan(rng), spacing_dhw=(1.0, 1.0, 3.0))
    facts, _ = prepared(path, tmp_path)
    assert facts.spacing_dhw[0] == 3
    assert facts.shape_dhw[0] == 14
    assert facts.orientation != "LPS"


def test_a_volume_is_prepared_once(tmp_path, rng):
    path = write(tmp_path / "a.nii.gz", a_scan(rng))
    first, _ = prepared(path, tmp_path)
    path.unlink()
    again, _ = prepared(path, tmp_path)
    assert first == again


def broken_files(folder, rng):
    write(folder / "constant.nii.gz", np.zeros((10, 10, 10), np.int16))
    write(folder / "thin.nii.gz", a_scan(rng, (3, 40, 40)))
    write(folder / "air.nii.gz", rng.integers(-3000, -1500, (10, 10, 10)).astype(np.int16))
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "text.nrrd").write_text("no volume")
    whole = write(folder / "cut.nii", a_scan(rng)).read_bytes()
    (folder / "cut.nii").write_bytes(whole[: len(whole) // 2])
    return sorted(path for path in folder.iterdir() if path.is_file())


def test_volumes_of_no_use_are_left_out_with_their_reason(tmp_path, rng):
    (tmp_path / "broken").mkdir()
    for path in broken_files(tmp_path / "broken", rng):
        facts, folder = prepared(path, tmp_path)
        assert facts.problem, path.name
        assert not (folder / "image.npy").exists()
        path.unlink()
        assert prepared(path, tmp_path)[0] == facts


def test_a_volume_that_does_not_fit_into_the_memory_is_left_out(tmp_path, rng, monkeypatch):
    def read(_path, num_channels):
        raise MemoryError

    monkeypatch.setattr("MISFMLib.data.unlabelled.read_volume", read)
    facts, _ = prepared(write(tmp_path / "a.nii.gz", a_scan(rng)), tmp_path)
    assert "memory" in facts.problem


def test_crops_are_read_without_the_volume(tmp_path, rng):
    path = write(tmp_path / "a.nii.gz", a_scan(rng))
    _, folder = prepared(path, tmp_path)
    volumes = PreparedVolumes([folder])
    crop = volumes.crop(0, (1, 2, 3), (4, 5, 6))
    assert isinstance(crop, np.memmap)
    assert (len(volumes), volumes.shape(0), crop.shape) == (1, (10, 12, 14), (4, 5, 6))
    np.testing.assert_array_equal(crop, np.load(folder / "image.npy")[1:5, 2:7, 3:9])


def test_more_volumes_than_files_can_be_open_are_no_problem(tmp_path):
    resource = pytest.importorskip("resource")
    np.save(tmp_path / "image.npy", np.zeros((3, 4, 5), np.float16))
    volumes = PreparedVolumes([tmp_path] * 300)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        assert {volumes.shape(index) for index in range(len(volumes))} == {(3, 4, 5)}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_real_ct_and_its_label_map_folder_are_told_apart(shared_data):
    files = find_unlabelled([shared_data / "headneck_ct"])
    assert {file.modality for file in files} == {"CT"}
    assert all("labels" not in Path(file.path).parent.name for file in files)
