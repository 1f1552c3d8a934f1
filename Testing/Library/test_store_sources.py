"""Everything that may be a volume is found once, with what data sets say of it."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib.data.store_sources import find_sources
from MISFMLib.errors import ConfigError, DataError


@pytest.fixture
def write(tmp_path):
    """Write a small file of a volume; nothing here reads its voxels."""

    def write_one(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"volume")
        return path

    return write_one


def names(*paths):
    return [source.name for source in find_sources(paths)]


def test_volumes_at_any_depth_are_found_in_the_order_of_their_names(write, tmp_path):
    for name in (
        "set/b.nii.gz",
        "set/deep/er/a.mha",
        "set/c.NRRD",
        "set/.hidden/d.nii",
        "set/e.txt",
    ):
        write(name)
    assert names(tmp_path / "set") == ["set/b.nii.gz", "set/c.NRRD", "set/deep/er/a.mha"]


def test_a_dicom_folder_is_one_source(tmp_path):
    (tmp_path / "set/scan").mkdir(parents=True)
    for index in range(2):
        image = sitk.GetImageFromArray(np.zeros((1, 2, 2), np.int16))
        sitk.WriteImage(image, str(tmp_path / f"set/scan/{index}.dcm"))
    assert names(tmp_path / "set") == ["set/scan"]
    (source,) = find_sources([tmp_path / "set/scan"])
    assert source.name == "scan"
    assert source.signature.startswith("2:")


def test_folders_inside_others_are_not_searched_twice(write, tmp_path):
    write("set/a.nii")
    write("set/deep/b.nii")
    expected = ["set/a.nii", "set/deep/b.nii"]
    assert names(tmp_path / "set", tmp_path / "set/deep", tmp_path / "set/a.nii") == expected
    assert names(tmp_path / "set", tmp_path / "set" / ".") == expected


def test_a_single_file_is_a_source(write):
    assert names(write("set/a.nii")) == ["a.nii"]


def test_folders_of_the_same_name_could_be_confused(write, tmp_path):
    write("one/set/a.nii")
    write("two/set/a.nii")
    with pytest.raises(ConfigError) as caught:
        names(tmp_path / "one/set", tmp_path / "two/set")
    assert caught.value.code == "folder-name-repeated"


@pytest.mark.parametrize("folder", ["labelsTr", "labels", "segmentations", "masks"])
def test_folders_of_label_maps_are_passed_over(folder, write, tmp_path):
    write("set/a.nii")
    write("set/b.seg.nrrd")
    write(f"set/{folder}/deep/a.nii")
    assert names(tmp_path / "set") == ["set/a.nii"]


def test_nothing_to_prepare_is_an_error(tmp_path):
    for path, code in ((tmp_path, "no-volume"), (tmp_path / "missing", "file-missing")):
        with pytest.raises(DataError) as caught:
            names(path)
        assert caught.value.code == code


def test_data_sets_anywhere_tell_modality_and_held_out_cases(write, tmp_path):
    entries = []
    for name in ("a", "b"):
        write(f"all/ct/imagesTr/{name}.nii")
        write(f"all/ct/labelsTr/{name}.nii")
        entries.append({"image": f"imagesTr/{name}.nii", "label": f"labelsTr/{name}.nii"})
    write("all/ct/imagesTs/c.nii")
    write("all/d.nii")
    content = {
        "modality": {"0": "CT"},
        "training": entries,
        "split": {"train": ["a"], "validation": ["b"]},
    }
    (tmp_path / "all/ct/dataset.json").write_text(json.dumps(content))
    found = {source.name: source for source in find_sources([tmp_path / "all"])}
    assert {name: (source.modality, source.is_held_out) for name, source in found.items()} == {
        "all/ct/imagesTr/a.nii": ("CT", False),
        "all/ct/imagesTr/b.nii": ("CT", True),
        "all/ct/imagesTs/c.nii": ("CT", False),
        "all/d.nii": ("", False),
    }


def test_a_data_set_that_cannot_be_read_says_nothing(write, tmp_path):
    write("set/a.nii")
    (tmp_path / "set/dataset.json").write_text("{")
    assert names(tmp_path / "set") == ["set/a.nii"]


def test_a_source_that_changes_changes_its_signature(write, tmp_path):
    path = write("set/a.nii")

    def signature():
        return find_sources([tmp_path / "set"])[0].signature

    first = signature()
    assert signature() == first
    os.utime(path, ns=(1, 1))
    second = signature()
    path.write_bytes(b"another volume")
    os.utime(path, ns=(1, 1))
    third = signature()
    entry = {"image": "a.nii", "label": "labels/a.nii"}
    write("set/labels/a.nii")
    content = {"training": [entry], "split": {"train": [], "validation": ["a"]}}
    (tmp_path / "set/dataset.json").write_text(json.dumps(content))
    assert len({first, second, third, signature()}) == 4


def test_voxels_beside_a_header_change_its_signature(write, tmp_path):
    write("set/a.mhd").write_text("ObjectType = Image\nElementDataFile = a.raw\n")
    raw = write("set/a.raw")
    signatures = set()
    for _ in range(2):
        signatures.add(find_sources([tmp_path / "set"])[0].signature)
        raw.write_bytes(b"other voxels")
        os.utime(raw, ns=(1, 1))
    assert len(signatures) == 2


def test_names_that_are_no_text_are_spelt_out(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.nii")).write_bytes(b"volume")
    except OSError:
        pytest.skip("this disk takes only names that are text")
    assert names(tmp_path) == [f"{tmp_path.name}/caf\\udce9.nii"]
