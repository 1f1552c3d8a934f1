"""Finding, pairing, splitting and checking the cases of a data set."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib.data.cases import Split, find_cases
from MISFMLib.data.label_check import check_parts, examine_case, examine_cases
from MISFMLib.data.split import choose_split
from MISFMLib.errors import DataError


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_dataset_json(folder, names, **extra):
    entries = [{"image": f"./i/{name}.nii.gz", "label": f"./l/{name}.nii.gz"} for name in names]
    touch(*(folder / part / f"{name}.nii.gz" for name in names for part in "il"))
    content = {"labels": {"0": "background", "1": "liver"}, "training": entries, **extra}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder / "dataset.json"


@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), ("imagesTr", "labelsTr")])
def test_a_folder_pairs_images_and_label_maps_by_name(tmp_path, images, labels):
    touch(tmp_path / images / "b.nii.gz", tmp_path / labels / "b.nrrd")
    touch(tmp_path / images / "a.nii.gz", tmp_path / labels / "a.nii.gz")

    found = find_cases(tmp_path)

    assert [case.name for case in found.cases] == ["a", "b"]
    assert found.cases[1].images == (tmp_path / images / "b.nii.gz",)
    assert found.cases[1].label == tmp_path / labels / "b.nrrd"
    assert found.unpaired == ()
    assert found.label_names == {}


def test_files_without_counterpart_are_named(tmp_path):
    touch(tmp_path / "images/a.nii.gz", tmp_path / "labels/a.nii.gz")
    touch(tmp_path / "images/only.nii.gz", tmp_path / "labels/lonely.nii.gz")

    found = find_cases(tmp_path)

    assert [path.name for path in found.unpaired] == ["only.nii.gz", "lonely.nii.gz"]


def test_channel_suffixes_join_the_channels_of_a_case_in_order(tmp_path):
    touch(tmp_path / "imagesTr/a_0001.nii.gz", tmp_path / "imagesTr/a_0000.nii.gz")
    touch(tmp_path / "labelsTr/a.nii.gz")
    description = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "gtv": 1},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))

    found = find_cases(tmp_path)

    assert [path.name for path in found.cases[0].images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert found.channels == ("T1", "FLAIR")
    assert found.modality == "MR"
    assert found.label_names == {1: "gtv"}


def test_a_decathlon_description_gives_names_modality_and_split(tmp_path):
    split = {"train": ["a"], "validation": ["b"]}
    path = write_dataset_json(tmp_path, ["a", "b"], modality={"0": "CT"}, split=split)

    found = find_cases(path)

    assert find_cases(tmp_path) == found
    assert found.label_names == {1: "liver"}
    assert (found.modality, found.channels) == ("CT", ("CT",))
    assert found.split == Split(("a",), ("b",))
    assert found.cases[0].images[0].samefile(tmp_path / "i" / "a.nii.gz")


def test_a_table_gives_channels_names_and_split(tmp_path):
    touch(*(tmp_path / name for name in ("t1.nii.gz", "t2.nii.gz", "seg.nii.gz", "x.nii.gz")))
    (tmp_path / "set.csv").write_text(
        "name,image_1,image_0,label,split\n"
        "p,t2.nii.gz,t1.nii.gz,seg.nii.gz,train\nq,x.nii.gz,x.nii.gz,x.nii.gz,validation\n"
    )

    found = find_cases(tmp_path / "set.csv")

    assert found.cases[0].name == "p"
    assert found.cases[0].images == (tmp_path / "t1.nii.gz", tmp_path / "t2.nii.gz")
    assert found.channels == ("image_0", "image_1")
    assert found.split == Split(("p",), ("q",))


def test_a_table_may_join_channels_by_commas(tmp_path):
    touch(*(tmp_path / name for name in ("t1.nii.gz", "t2.nii.gz", "seg.nii.gz")))
    (tmp_path / "set.csv").write_text('image,label\n"t1.nii.gz,t2.nii.gz",seg.nii.gz\n')

    case = find_cases(tmp_path / "set.csv").cases[0]

    assert case.name == "seg"
    assert [path.name for path in case.images] == ["t1.nii.gz", "t2.nii.gz"]


def bad_json(folder):
    (folder / "set.json").write_text("{")
    return folder / "set.json"


def json_without_cases(folder):
    (folder / "set.json").write_text('{"training": [{"image": "a"}]}')
    return folder / "set.json"


def json_with_odd_labels(folder):
    return write_dataset_json(folder, ["a"], labels={"one": "liver"})


def table_without_labels(folder):
    (folder / "set.csv").write_text("image\na.nii.gz\n")
    return folder / "set.csv"


def table_with_missing_files(folder):
    (folder / "set.csv").write_text("image,label\na.nii.gz,b.nii.gz\n")
    return folder / "set.csv"


def table_with_repeated_names(folder):
    touch(folder / "a.nii.gz")
    (folder / "set.csv").write_text("image,label\na.nii.gz,a.nii.gz\na.nii.gz,a.nii.gz\n")
    return folder / "set.csv"


def table_with_a_path_as_name(folder):
    touch(folder / "a.nii.gz")
    (folder / "set.csv").write_text("name,image,label\n../a,a.nii.gz,a.nii.gz\n")
    return folder / "set.csv"


def channels_that_differ(folder):
    touch(folder / "imagesTr/a_0000.nii.gz", folder / "imagesTr/a_0001.nii.gz")
    touch(
        folder / "labelsTr/a.nii.gz",
        folder / "imagesTr/b_0000.nii.gz",
        folder / "labelsTr/b.nii.gz",
    )
    return folder


def nothing_paired(folder):
    touch(folder / "images/a.nii.gz", folder / "labels/b.nii.gz")
    return folder


def empty_folder(folder):
    return folder


def missing_folder(folder):
    return folder / "nowhere"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (bad_json, "dataset-unreadable"),
        (json_without_cases, "dataset-unreadable"),
        (json_with_odd_labels, "dataset-unreadable"),
        (table_without_labels, "dataset-unreadable"),
        (table_with_missing_files, "dataset-files-missing"),
        (table_with_repeated_names, "case-name-repeated"),
        (table_with_a_path_as_name, "case-name-unusable"),
        (channels_that_differ, "channels-differ"),
        (nothing_paired, "dataset-empty"),
        (empty_folder, "dataset-not-found"),
        (missing_folder, "dataset-not-found"),
    ],
)
def test_an_unusable_data_set_is_refused_with_its_cause(tmp_path, make, code):
    with pytest.raises(DataError) as error:
        find_cases(make(tmp_path))
    assert error.value.code == code


# --------------------------------------------------------------------------------------- the split


@pytest.fixture
def ten_cases(tmp_path):
    return find_cases(write_dataset_json(tmp_path, [f"c{index}" for index in range(10)]))


def test_a_drawn_split_is_fixed_by_the_seed_and_covers_every_case_once(ten_cases):
    first = choose_split(ten_cases, None, validation_fraction=0.3, seed=1)

    assert first == choose_split(ten_cases, None, validation_fraction=0.3, seed=1)
    assert first != choose_split(ten_cases, None, validation_fraction=0.3, seed=2)
    assert len(first.validation) == 3
    assert sorted((*first.train, *first.validation)) == [case.name for case in ten_cases.cases]


def test_a_small_fraction_still_holds_out_one_case_and_none_holds_out_nothing(ten_cases):
    assert len(choose_split(ten_cases, None, validation_fraction=0.01, seed=1).validation) == 1
    assert choose_split(ten_cases, None, validation_fraction=0.0, seed=1).validation == ()


def test_a_split_file_goes_before_the_data_sets_own_split(tmp_path):
    own = {"train": ["a"], "validation": ["b"]}
    found = find_cases(write_dataset_json(tmp_path, ["a", "b"], split=own))
    (tmp_path / "split.json").write_text('{"train": ["b"], "validation": ["a"]}')

    chosen = choose_split(found, tmp_path / "split.json", validation_fraction=0.2, seed=1)

    assert chosen == Split(("b",), ("a",))
    assert choose_split(found, None, validation_fraction=0.2, seed=1) == found.split


@pytest.mark.parametrize("content", ["", "image,label\n"])
def test_a_table_without_cases_is_told(tmp_path, content):
    (tmp_path / "cases.csv").write_text(content)
    with pytest.raises(DataError, match="lists no case"):
        find_cases(tmp_path / "cases.csv")


def test_all_faults_of_a_split_are_named_together(ten_cases, tmp_path):
    (tmp_path / "split.json").write_text('{"train": ["c1", "x"], "validation": ["c1"]}')

    with pytest.raises(DataError, match=r"do not exist: x; .*both parts: c1"):
        choose_split(ten_cases, tmp_path / "split.json", validation_fraction=0.2, seed=1)


def test_a_split_without_training_cases_is_refused(ten_cases):
    with pytest.raises(DataError, match="no case to learn from"):
        choose_split(ten_cases, None, validation_fraction=1.0, seed=1)


# --------------------------------------------------------------------------------- the label check


@pytest.fixture
def a_set(tmp_path, write_case):
    for name in ("a", "b", "c"):
        write_case(
            tmp_path / f"images/{name}.nii.gz", tmp_path / f"labels/{name}.nii.gz", values=(1, 2)
        )
    rewrite(tmp_path / "labels/b.nii.gz", lambda array: np.roll(array, 1, axis=0))
    rewrite(tmp_path / "labels/c.nii.gz", lambda array: np.roll(array, 2, axis=0))
    description = {"labels": {"0": "background", "1": "one", "2": "two"}}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    return tmp_path


def examine(folder, on_case=lambda done: None):
    found = find_cases(folder)
    facts = examine_cases(found, ["a", "b", "c"], on_case)
    check_parts(facts, found, Split(("a", "b"), ("c",)))
    return facts


def rewrite(path, change):
    image = sitk.ReadImage(str(path))
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(path))


def test_a_sound_data_set_gives_the_facts_of_every_case(a_set):
    done = []

    facts = examine(a_set, done.append)

    assert list(facts) == ["a", "b", "c"]
    assert done == [1, 2, 3]
    assert facts["a"].label_values == (1, 2)
    assert facts["a"].shape_dhw == (10, 12, 14)
    assert 50 < facts["a"].foreground_samples.mean() < 250
    assert facts["a"].foreground_samples.shape[0] == 1


def test_facts_follow_the_axes_of_the_patient(tmp_path, write_case):
    write_case(tmp_path / "i.nii.gz", tmp_path / "l.nii.gz", spacing_xyz=(3.0, 1.0, 2.0))
    for name in ("i.nii.gz", "l.nii.gz"):
        image = sitk.ReadImage(str(tmp_path / name))
        image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))  # x to the back, y up, z to the left
        sitk.WriteImage(image, str(tmp_path / name))
    (tmp_path / "set.csv").write_text("image,label\ni.nii.gz,l.nii.gz\n")

    fact = examine_case(find_cases(tmp_path / "set.csv").cases[0])

    assert fact.spacing_dhw == (1.0, 3.0, 2.0)
    assert fact.shape_dhw == (12, 14, 10)


def unknown_value(folder):
    rewrite(folder / "labels/b.nii.gz", lambda array: array + np.uint8(1) * (array == 2))
    return "b: .*3"


def fractional_value(folder):
    rewrite(folder / "labels/b.nii.gz", lambda array: array * np.float32(0.5))
    return "b: .*"


def other_grid(folder):
    label = sitk.ReadImage(str(folder / "labels/b.nii.gz"))
    label.SetOrigin((0, 0, 7))
    sitk.WriteImage(label, str(folder / "labels/b.nii.gz"))
    return "b: .*grid"


def truncated_image(folder):
    data = (folder / "images/b.nii.gz").read_bytes()
    (folder / "images/b.nii.gz").write_bytes(data[: len(data) // 2])
    return "b: "


def class_missing_in_training(folder):
    for name in "ab":
        rewrite(folder / f"labels/{name}.nii.gz", lambda array: array * np.uint8(1) % 2)
    return r"label 2 \(two\) occurs in no training case"


def same_image_twice(folder):
    shutil.copy(folder / "images/a.nii.gz", folder / "images/c.nii.gz")
    return r"c \(validation\) has the same image as a \(train\)"


def same_label_map_twice(folder):
    shutil.copy(folder / "labels/a.nii.gz", folder / "labels/c.nii.gz")
    return r"c \(validation\) has the same label map as a \(train\)"


def one_name_for_two_labels(folder):
    (folder / "labels.json").write_text(json.dumps({"1": "tumour", "2": "tumour "}))
    return "the labels 1, 2 are all named tumour"


def a_label_without_name(folder):
    (folder / "labels.json").write_text(json.dumps({"1": "tumour", "2": ""}))
    return "the label 2 has no name"


def a_label_named_like_a_line_of_the_results(folder):
    (folder / "labels.json").write_text(json.dumps({"1": "tumour", "2": "held-out cases"}))
    return "the label 2 is named held-out cases, as a line of the results is"


@pytest.mark.parametrize(
    "spoil",
    [
        a_label_named_like_a_line_of_the_results,
        one_name_for_two_labels,
        a_label_without_name,
        unknown_value,
        fractional_value,
        other_grid,
        truncated_image,
        class_missing_in_training,
        same_image_twice,
        same_label_map_twice,
    ],
)
def test_whatever_spoils_a_training_is_found_before_it(a_set, spoil):
    expected = spoil(a_set)

    with pytest.raises(DataError, match=expected) as error:
        examine(a_set)
    assert error.value.code == "labels-unusable"


def test_values_above_255_are_refused(tmp_path, write_case):
    write_case(tmp_path / "images/a.nii.gz", tmp_path / "labels/a.nii.gz")
    rewrite(tmp_path / "labels/a.nii.gz", lambda array: array.astype(np.uint16) * 300)

    with pytest.raises(DataError, match="300"):
        examine_case(find_cases(tmp_path).cases[0])


def test_all_problems_come_in_one_error_up_to_twenty(a_set):
    fractional_value(a_set)
    truncated_image(a_set)
    rewrite(a_set / "labels/a.nii.gz", lambda array: array * np.float32(0.5))
    with pytest.raises(DataError, match=r"(?s)- a: .*- b: "):
        examine(a_set)

    found = find_cases(a_set)
    many = ["a"] * 25
    with pytest.raises(DataError, match="and 5 more"):
        examine_cases(found, many)
