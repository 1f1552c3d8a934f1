"""Data sets as people have them: layouts, lists of Excel, descriptions, segments, masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib.data.case_reading import plain, read_case
from MISFMLib.data.cases import find_cases, with_label_names
from MISFMLib.data.descriptions import read_split
from MISFMLib.data.label_check import check_parts, examine_case, examine_cases
from MISFMLib.data.labelled_set import Split
from MISFMLib.data.split import draw_split
from MISFMLib.errors import ConfigError, DataError

SHAPE = (6, 9, 8)


def image_of(array, fields=()):
    image = sitk.GetImageFromArray(array)
    for key, value in dict(fields).items():
        image.SetMetaData(key, value)
    return image


def write(path, array, fields=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(array, fields), str(path))
    return path


def scan(seed=0):
    return np.random.default_rng(seed).integers(0, 200, SHAPE).astype(np.int16)


def labels(*values, shift=0):
    array = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values):
        array[2:4, 1 + 3 * index : 3 + 3 * index, 1 + shift : 4 + shift] = value
    return array


def pairs(folder, names=("a", "b"), values=(1, 2), images="images", suffix=""):
    label_folder = images.replace("images", "labels")
    for index, name in enumerate(names):
        write(folder / images / f"{name}{suffix}.nii.gz", scan(index))
        write(folder / label_folder / f"{name}.nii.gz", labels(*values, shift=index))
    return folder


def describe(folder, **content):
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def refused(code, function, *arguments):
    with pytest.raises(DataError) as caught:
        function(*arguments)
    assert caught.value.code == code
    assert caught.value.remedy
    return str(caught.value)


# --------------------------------------------------------------------------------------- folders


def test_equal_names_below_each_patient_are_cases_of_their_own(tmp_path):
    for patient in ("s0", "s1"):
        for time in ("pre", "post"):
            write(tmp_path / "images" / patient / f"{time}.nii.gz", scan())
            write(tmp_path / "labels" / patient / f"{time}.nii.gz", labels(1))
    found = find_cases(tmp_path)
    assert [case.name for case in found.cases] == ["s0_post", "s0_pre", "s1_post", "s1_pre"]
    for case in found.cases:
        assert case.images[0].relative_to(tmp_path / "images") == case.label.relative_to(
            tmp_path / "labels"
        )
    assert found.channels == ("image",)


def test_a_backup_below_the_label_maps_replaces_nothing(tmp_path):
    pairs(tmp_path)
    write(tmp_path / "labels/old/a.nii.gz", labels(5))
    found = find_cases(tmp_path)
    assert found.cases[0].label == tmp_path / "labels/a.nii.gz"
    assert found.unpaired == (tmp_path / "labels/old/a.nii.gz",)


@pytest.mark.parametrize("part", ["images", "labels"])
def test_two_formats_of_one_file_are_refused_by_name(tmp_path, part):
    pairs(tmp_path)
    write(tmp_path / part / "a.nrrd", labels(1))
    message = refused("case-files-repeated", find_cases, tmp_path)
    assert "a.nii.gz" in message
    assert "a.nrrd" in message


def test_images_in_folders_of_patients_fit_label_maps_named_after_them(tmp_path):
    for patient in ("p1", "p2"):
        write(tmp_path / "images" / patient / "ct.nii.gz", scan())
        write(tmp_path / "labels" / f"{patient}.nii.gz", labels(1))
    assert [case.name for case in find_cases(tmp_path).cases] == ["p1", "p2"]


def test_linked_folders_are_followed_and_loops_are_not(tmp_path):
    pairs(tmp_path / "real")
    (tmp_path / "set").mkdir()
    for part in ("images", "labels"):
        (tmp_path / "set" / part).mkdir()
        (tmp_path / "set" / part / "more").symlink_to(tmp_path / "real" / part)
        (tmp_path / "set" / part / "loop").symlink_to(tmp_path / "set")
    assert [case.name for case in find_cases(tmp_path / "set").cases] == ["a", "b"]


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    pairs(tmp_path)
    for part in ("images", "labels"):
        (tmp_path / part / "gone.nii.gz").symlink_to(tmp_path / "nowhere")
    assert "gone.nii.gz" in refused("dataset-files-missing", find_cases, tmp_path)


def test_capital_letters_of_the_folders_do_not_matter(tmp_path):
    pairs(tmp_path)
    for part in ("images", "labels"):
        (tmp_path / part).rename(tmp_path / part.capitalize())
    assert len(find_cases(tmp_path).cases) == 2


# ----------------------------------------------------------------------------- one mask per class


def masks(folder, **arrays):
    for name, array in arrays.items():
        write(folder / f"{name}.nii.gz", array)


def test_subjects_with_a_folder_of_masks_are_cases(tmp_path):
    for index, subject in enumerate(("s1", "s2")):
        write(tmp_path / subject / "ct.nii.gz", scan(index))
        masks(tmp_path / subject / "segmentations", liver=labels(1), spleen=labels(0, 1))
    masks(tmp_path / "s2/segmentations", aorta=np.zeros(SHAPE, np.uint8))
    found = find_cases(tmp_path)
    assert found.label_names == {1: "aorta", 2: "liver", 3: "spleen"}
    volume, label_map = read_case(found.cases[0])
    np.testing.assert_array_equal(label_map.array_DHW, labels(2, 3))
    assert label_map.geometry == volume.geometry
    facts = examine_cases(found, ["s1", "s2"])
    check_parts(facts, found, Split(("s1", "s2"), ()))  # the aorta, empty everywhere, is no label


def test_label_maps_may_be_folders_of_masks_named_by_a_description(tmp_path):
    write(tmp_path / "images/a.nii.gz", scan())
    masks(tmp_path / "labels/a", Left_Kidney=labels(1), other=labels(0, 1))
    (tmp_path / "labels.json").write_text('{"left kidney": 4}')
    found = find_cases(tmp_path)
    assert found.label_names == {4: "left kidney"}
    assert "other" in found.notices[0]
    np.testing.assert_array_equal(read_case(found.cases[0])[1].array_DHW, labels(4))


def test_masks_that_overlap_are_refused_with_their_names(tmp_path):
    write(tmp_path / "images/a.nii.gz", scan())
    masks(tmp_path / "labels/a", liver=labels(1), tumour=labels(1))
    message = refused("overlapping-segments", read_case, find_cases(tmp_path).cases[0])
    assert "liver and tumour overlap in 12 voxels" in message


# ---------------------------------------------------------------------------------------- tables


TABLE = (
    "image,label,split\nimages/a.nii.gz,labels/a.nii.gz,{}\nimages/b.nii.gz,labels/b.nii.gz,{}\n"
)


@pytest.mark.parametrize("held_out", ["val", "Validation", "VALID", " validation "])
def test_other_words_for_the_parts_of_a_split_are_understood(tmp_path, held_out):
    pairs(tmp_path)
    (tmp_path / "list.csv").write_text(TABLE.format("Training", held_out))
    assert find_cases(tmp_path / "list.csv").split == Split(("a",), ("b",))


def test_an_unknown_word_in_the_split_is_refused_with_those_allowed(tmp_path):
    pairs(tmp_path)
    (tmp_path / "list.csv").write_text(TABLE.format("train", "hold"))
    assert "row 3" in refused("bad-split", find_cases, tmp_path / "list.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_read_as_excel_saves_it(tmp_path, encoding, separator):
    pairs(tmp_path, names=("Müller", "b"))
    rows = [
        ("Image", "Label ", "name"),
        *((f"images/{n}.nii.gz", f"labels/{n}.nii.gz", f"{n} 1") for n in ("Müller", "b")),
        ("", "", ""),
        (" ", "", ""),
    ]
    text = "\r\n".join(map(separator.join, rows)) + "\r\n"
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    assert [case.name for case in find_cases(tmp_path / "list.csv").cases] == ["Müller 1", "b 1"]
    (tmp_path / "list.csv").write_text(f"sep={separator}\n{text}", "utf-8")
    assert len(find_cases(tmp_path / "list.csv").cases) == 2


def test_folders_may_be_parted_as_on_windows(tmp_path):
    pairs(tmp_path, names=("a",))
    (tmp_path / "list.csv").write_text("image,label\nimages\\a.nii.gz,labels\\a.nii.gz\n")
    assert find_cases(tmp_path / "list.csv").cases[0].images[0].is_file()


def test_a_row_that_lacks_a_cell_is_named(tmp_path):
    pairs(tmp_path)
    (tmp_path / "list.csv").write_text("image,label\nimages/a.nii.gz,labels/a.nii.gz\nx.nii.gz,\n")
    assert "row 3 has no label" in refused("dataset-unreadable", find_cases, tmp_path / "list.csv")


def test_rows_whose_files_have_equal_names_are_told_apart_by_their_folders(tmp_path):
    for patient in ("p1", "p2"):
        write(tmp_path / patient / "ct.nii.gz", scan())
        write(tmp_path / patient / "seg.nii.gz", labels(1))
    rows = "".join(f"{patient}/ct.nii.gz,{patient}/seg.nii.gz\n" for patient in ("p1", "p2"))
    (tmp_path / "list.csv").write_text(f"image,label\n{rows}")
    assert [case.name for case in find_cases(tmp_path / "list.csv").cases] == ["p1_seg", "p2_seg"]


# ---------------------------------------------------------------------------------- descriptions


def test_a_description_with_a_byte_order_mark_is_read(tmp_path):
    pairs(tmp_path, images="imagesTr", suffix="_0000")
    text = json.dumps({"modality": "CT", "labels": {"background": 0, "a": 1, "b": 2}})
    (tmp_path / "dataset.json").write_text(text, "utf-8-sig")
    found = find_cases(tmp_path)
    assert (found.label_names, found.modality, found.channels) == ({1: "a", 2: "b"}, "CT", ("CT",))


def test_channels_beyond_ten_keep_the_order_of_their_numbers(tmp_path):
    for channel in range(11):
        write(tmp_path / "imagesTr" / f"a_{channel:04d}.nii.gz", scan(channel))
    write(tmp_path / "labelsTr/a.nii.gz", labels(1))
    describe(tmp_path, channel_names={str(c): f"ch{c}" for c in range(11)}, labels={"a": 1})
    found = find_cases(tmp_path)
    assert found.channels == tuple(f"ch{channel}" for channel in range(11))
    assert [file.name[2:6] for file in found.cases[0].images] == [f"{c:04d}" for c in range(11)]


def test_the_fourth_axis_of_the_decathlon_holds_the_channels(tmp_path):
    first = image_of(scan(1))
    (tmp_path / "imagesTr").mkdir()
    sitk.WriteImage(sitk.JoinSeries([first, first + 1000]), str(tmp_path / "imagesTr/a.nii.gz"))
    write(tmp_path / "labelsTr/a.nii.gz", labels(1, 2))
    entry = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    description = {"labels": {"0": "background", "1": "PZ", "2": "TZ"}, "training": [entry]}
    found = find_cases(describe(tmp_path, modality={"0": "T2", "1": "ADC"}, **description))
    assert found.channels == ("T2", "ADC")
    volume, _ = read_case(found.cases[0])
    np.testing.assert_array_equal(volume.array_CDHW, [scan(1), scan(1) + 1000])
    found = find_cases(describe(tmp_path, modality={"0": "T2"}, **description))
    refused("four-dimensional", read_case, found.cases[0])


def test_regions_of_nnunet_are_learnt_by_their_parts(tmp_path):
    regions = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    pairs(tmp_path, images="imagesTr", suffix="_0000", values=(1, 2, 3))
    describe(tmp_path, labels=regions, channel_names={"0": "T1"}, regions_class_order=[1, 2, 3])
    found = find_cases(tmp_path)
    assert found.label_names == {
        1: "whole without core",
        2: "core without enhancing",
        3: "enhancing",
    }
    assert "--labels" in found.notices[0]


def test_the_ignored_label_of_nnunet_is_no_structure(tmp_path):
    pairs(tmp_path, images="imagesTr", suffix="_0000", values=(1, 2))
    describe(tmp_path, labels={"background": 0, "liver": 1, "ignore": 2}, channel_names={"0": "CT"})
    found = find_cases(tmp_path)
    assert found.label_names == {1: "liver"}
    assert found.cases[0].unlabelled == 2
    assert examine_case(found.cases[0]).label_values == (1,)


def test_the_description_of_nnunet_stands_for_its_folder(tmp_path):
    pairs(tmp_path, images="imagesTr", suffix="_0000", values=(1,))
    describe(tmp_path, labels={"background": 0, "liver": 1}, channel_names={"0": "CT"})
    for path in (tmp_path, tmp_path / "dataset.json"):
        found = find_cases(path)
        assert [case.name for case in found.cases] == ["a", "b"]
        assert (found.modality, found.label_names) == ("CT", {1: "liver"})


def test_nnunet_may_list_its_files(tmp_path):
    pairs(tmp_path)
    entry = {"images": ["images/a.nii.gz", "images/b.nii.gz"], "label": "labels/a.nii.gz"}
    names = {"0": "T1", "1": "T2"}
    describe(tmp_path, dataset={"x": entry}, labels={"background": 0, "l": 1}, channel_names=names)
    (case,) = find_cases(tmp_path).cases
    assert (case.name, len(case.images), case.num_channels) == ("x", 2, 2)


def test_nnunet_1_leaves_the_channels_out_of_its_list(tmp_path):
    pairs(tmp_path, names=("a_0000", "a_0001"), images="imagesTr")
    write(tmp_path / "labelsTr/a.nii.gz", labels(1))
    entry = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    describe(
        tmp_path, training=[entry], labels={"0": "b", "1": "l"}, modality={"0": "T1", "1": "T2"}
    )
    (case,) = find_cases(tmp_path).cases
    assert [file.name for file in case.images] == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_a_split_of_nnunet_is_a_list_of_folds(tmp_path):
    folds = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    assert read_split(tmp_path / "splits_final.json") == Split(("a",), ("b",))
    refused("bad-split", read_split, tmp_path / "none.json")


# ------------------------------------------------------------------------------------------ names


def segments(*names):
    fields = {}
    for index, name in enumerate(names):
        fields |= {
            f"Segment{index}_ID": f"Segment_{index + 1}",
            f"Segment{index}_Name": name,
            f"Segment{index}_LabelValue": str(index + 1),
            f"Segment{index}_Layer": "0",
        }
    return fields


@pytest.fixture
def swapped(tmp_path):
    """Liver always at the rows 1 and 2, spleen at 4 and 5; its number changes."""
    for name in "ab":
        write(tmp_path / f"images/{name}.nrrd", scan())
    write(tmp_path / "labels/a.seg.nrrd", labels(1, 2), segments("liver", "spleen"))
    write(tmp_path / "labels/b.seg.nrrd", labels(2, 1), segments("Spleen", "liver"))
    return tmp_path


def test_segments_are_matched_by_name_when_their_numbers_differ(swapped):
    found = find_cases(swapped)
    assert found.label_names == {1: "liver", 2: "spleen"}
    assert "b" in found.notices[0]
    for case in found.cases:
        np.testing.assert_array_equal(read_case(case)[1].array_DHW, labels(1, 2))


@pytest.mark.parametrize("size", [0, 9, 200])
def test_a_damaged_segmentation_is_told_when_it_is_read_and_costs_no_other(swapped, size):
    damaged = swapped / "labels/b.seg.nrrd"
    damaged.write_bytes(damaged.read_bytes()[:size])
    found = find_cases(swapped)
    assert found.label_names == {1: "liver", 2: "spleen"}
    read_case(found.cases[0])
    with pytest.raises(DataError, match=r"b\.seg\.nrrd"):
        read_case(found.cases[1])


@pytest.mark.parametrize(("one", "other"), [("node+", "node-"), ("T2", "T2*"), ("> 5", "< 5")])
def test_labels_whose_names_differ_by_a_sign_are_two(tmp_path, one, other):
    for case in "ab":
        write(tmp_path / f"images/{case}.nrrd", scan())
        write(tmp_path / f"labels/{case}.seg.nrrd", labels(1, 2), segments(one, other))
    found = find_cases(tmp_path)
    assert found.label_names == {1: one, 2: other}
    np.testing.assert_array_equal(read_case(found.cases[1])[1].array_DHW, labels(1, 2))
    assert plain("Left_Kidney") == plain("left-kidney")


def test_names_of_the_data_set_number_the_segments(swapped):
    describe(swapped, labels={"0": "background", "7": "Spleen", "3": "LIVER"})
    for case in find_cases(swapped).cases:
        np.testing.assert_array_equal(read_case(case)[1].array_DHW, labels(3, 7))


def test_a_segment_with_another_name_is_refused(swapped):
    describe(swapped, labels={"0": "background", "1": "liver"})
    assert "spleen" in refused("unknown-label", read_case, find_cases(swapped).cases[0])


def test_label_maps_without_names_beside_renumbered_ones_are_refused(swapped):
    write(swapped / "images/c.nrrd", scan())
    write(swapped / "labels/c.nrrd", labels(1, 2))
    assert "c" in refused("ambiguous-labels", find_cases, swapped)
    found = with_label_names
    with pytest.raises(DataError):
        found(find_cases(swapped), ["1=liver"])


@pytest.mark.parametrize("layout", ["pairs", "table", "segments"])
def test_every_layout_can_be_given_names(tmp_path, layout, swapped):
    if layout == "segments":
        path, expected = swapped, {1: "spleen", 2: "liver"}
        found = with_label_names(find_cases(path), ["2=liver", "1=spleen"])
        np.testing.assert_array_equal(read_case(found.cases[0])[1].array_DHW, labels(2, 1))
    else:
        path, expected = pairs(tmp_path / "set"), {1: "left_kidney", 2: "right=kidney"}
        if layout == "table":
            (path / "list.csv").write_text("image,label\nimages/a.nii.gz,labels/a.nii.gz\n")
            path = path / "list.csv"
        found = with_label_names(find_cases(path), ["2=right=kidney", "1=left_kidney"])
    assert found.label_names == expected
    assert found.cases[0].label_names == expected


@pytest.mark.parametrize("names", [["liver"], ["0=liver"], ["1="], ["1=a", "01=b"], ["x=liver"]])
def test_names_in_another_form_are_refused(tmp_path, names):
    with pytest.raises(ConfigError) as caught:
        with_label_names(find_cases(pairs(tmp_path)), names)
    assert caught.value.code == "bad-label-names"


# ------------------------------------------------------------------------------- check and split


def test_an_empty_label_map_is_a_healthy_case(tmp_path):
    pairs(tmp_path)
    write(tmp_path / "labels/b.nii.gz", labels())
    found = find_cases(tmp_path)
    facts = examine_cases(found, ["a", "b"])
    assert facts["b"].label_values == ()
    check_parts(facts, found, Split(("a",), ("b",)))
    write(tmp_path / "labels/a.nii.gz", labels())
    facts = examine_cases(found, ["a", "b"])
    assert "none of the 2" in refused(
        "labels-unusable", check_parts, facts, found, Split(("a", "b"), ())
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_split_keeps_rare_labels_in_the_training_part(tmp_path, seed):
    names = [f"c{index}" for index in range(6)]
    found = find_cases(pairs(tmp_path, names=names))
    labels_of = dict.fromkeys(names, (1,)) | {"c2": (1, 2), "c4": (3,)}
    split = draw_split(found, 0.34, seed, labels_of)
    assert {"c2", "c4"} <= set(split.train)
    assert len(split.validation) == 2
    assert draw_split(found, 0.34, seed) == draw_split(found, 0.34, seed, dict.fromkeys(names, ()))


@pytest.mark.parametrize("seed", range(4))
def test_healthy_cases_alone_are_not_held_out_to_judge(tmp_path, seed):
    names = [f"c{index}" for index in range(6)]
    found = find_cases(pairs(tmp_path, names=names))
    split = draw_split(found, 0.34, seed, {"c2": (1,), "c5": (1,)})
    assert len({"c2", "c5"} & set(split.validation)) == 1
    assert (len(split.train), len(split.validation)) == (4, 2)
    assert "c2" in draw_split(found, 0.34, seed, {"c2": (1,)}).train


def test_one_case_cannot_be_split_and_the_message_says_what_to_do(tmp_path):
    found = find_cases(pairs(tmp_path, names=("a",)))
    message = refused("bad-split", draw_split, found, 0.2, 1)
    assert "--validation-fraction 0" in message
    assert draw_split(found, 0, 1) == Split(("a",), ())


def test_each_problem_comes_with_its_own_remedy_and_an_example(tmp_path):
    pairs(tmp_path, names=("a", "b", "c"))
    (tmp_path / "labels.json").write_text('{"1": "liver"}')
    image = image_of(labels(1))
    image.SetSpacing((2, 1, 1))
    sitk.WriteImage(image, str(tmp_path / "labels/b.nii.gz"))
    message = refused("labels-unusable", examine_cases, find_cases(tmp_path), ["a", "b", "c"])
    assert (
        "- a: the label map holds 2; the data set names 1 liver. For example 12 voxels hold 2, "
        in (message)
    )
    assert "one at (1, 4, 2) mm" in message
    assert "- b: The label map of b does not lie on the grid of its image: spacing" in message
    assert message.count("What to do: ") == 2
