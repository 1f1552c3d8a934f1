"""Training sets that grow case by case: the folder, the table, the labels, and crashes."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from MISFMLib.annotation import training_set, turns
from MISFMLib.annotation.case_table import CaseRow, from_csv, to_csv
from MISFMLib.annotation.labels import match_labels, new_label
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.configs import LabelConfig
from MISFMLib.errors import DataError, OutputError
from MISFMLib.models.terminology import label_config

LABELS = (label_config(1, "left kidney"), label_config(2, "spleen"))


@pytest.fixture
def a_set(tmp_path):
    return TrainingSet.create(tmp_path / "organs", LABELS, channels=("CT",))


def write(text="x"):
    return lambda path: path.write_text(text)


def labelled(a_set, *names, **changes):
    for name in names:
        a_set.add_case(name, write())
        a_set.save_labels(name, write("labels"), **changes)


def test_a_new_set_is_a_decathlon_folder(a_set):
    a_set.add_case("b", write("image"))
    labelled(a_set, "a", status="checked")

    content = json.loads((a_set.folder / "dataset.json").read_text("utf-8"))
    assert content["labels"] == {"0": "background", "1": "left kidney", "2": "spleen"}
    assert content["modality"] == {"0": "CT"}
    assert content["training"] == [
        {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"},
    ]
    assert content["test"] == ["./imagesTs/b.nii.gz"]
    assert (content["numTraining"], content["numTest"]) == (1, 1)
    assert content["split"] == {"train": ["a"], "validation": []}
    for path in ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b.nii.gz"):
        assert (a_set.folder / path).exists()
    again = TrainingSet(a_set.folder)
    assert again.labels == LABELS
    assert (again.name, again.channels) == ("organs", ("CT",))
    assert [row.name for row in again.cases()] == ["b", "a"]
    assert again.case("a").when.endswith("+00:00")


def test_finetune_reads_the_set_with_its_split(a_set):
    pytest.importorskip("SimpleITK")
    from MISFMLib.data.cases import find_cases

    labelled(a_set, "a", "b", "c", "d")
    a_set.add_case("e", write())

    found = find_cases(a_set.folder)

    assert [case.name for case in found.cases] == ["a", "b", "c", "d"]
    assert found.split.train == ("a", "b", "d")
    assert found.split.validation == ("c",)
    assert dict(found.label_names) == {1: "left kidney", 2: "spleen"}
    assert found.modality == "CT"


def test_every_fourth_case_is_held_out_and_never_changes_sides(a_set):
    names = [f"case{number}" for number in range(12)]
    labelled(a_set, *names)
    sides = [row.split for row in a_set.cases()]
    assert sides[:3] == ["train", "train", "validation"]
    assert sides.count("validation") == 3

    a_set.set_status("case2", "left out")
    a_set.set_status("case2", "checked")
    assert [row.split for row in a_set.cases()] == sides


def test_a_case_that_is_left_out_is_in_no_list(a_set):
    labelled(a_set, "a", "b")
    a_set.set_status("a", "left out")
    content = json.loads((a_set.folder / "dataset.json").read_text("utf-8"))
    assert [entry["label"] for entry in content["training"]] == ["./labelsTr/b.nii.gz"]
    assert content["test"] == []


def test_labels_that_were_not_drawn_are_named_with_the_case(a_set):
    labelled(a_set, "a", not_drawn=("spleen",))
    content = json.loads((a_set.folder / "dataset.json").read_text("utf-8"))
    assert content["training"][0]["not_drawn"] == [2]
    assert a_set.case("a").not_drawn == ("spleen",)


def test_a_case_without_labels_cannot_be_learnt_from(a_set):
    a_set.add_case("a", write())
    with pytest.raises(DataError, match="no labels yet") as caught:
        a_set.set_status("a", "checked")
    assert caught.value.code == "case-unlabelled"


def test_what_cannot_be_written_changes_nothing(a_set):
    labelled(a_set, "a")

    def fail(path):
        path.write_text("half")
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError):
        a_set.save_labels("a", fail)
    assert a_set.label_map("a").read_text() == "labels"
    with pytest.raises(RuntimeError):
        a_set.add_case("b", fail)
    assert [row.name for row in a_set.cases()] == ["a"]
    assert list(a_set.folder.rglob(".misfm-*")) == []


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000], ids=["list", "half", "deep"])
def test_a_damaged_description_is_named(a_set, content):
    (a_set.folder / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=str(a_set.folder)):
        TrainingSet(a_set.folder)


def test_an_image_that_another_program_holds_open_keeps_its_labels_for_later(a_set, monkeypatch):
    a_set.add_case("a", write())

    def refuse(path, _target):
        raise PermissionError(errno.EACCES, "used by another process", str(path))

    with monkeypatch.context() as windows:
        windows.setattr(Path, "replace", refuse)
        with pytest.raises(OutputError, match=r"a\.nii\.gz cannot be written: used by another"):
            a_set.take_up("a")
    a_set.save_labels("a", write("labels"))
    assert a_set.case("a").status == "corrected"


@pytest.mark.parametrize("step", ["after the label map", "after the image", "after the table"])
def test_labels_are_not_lost_when_the_program_is_killed_while_it_saves(a_set, monkeypatch, step):
    a_set.add_case("a", write())

    def die(*_arguments, **_options):
        raise SystemExit

    if step == "after the label map":
        monkeypatch.setattr(TrainingSet, "images", die)
    elif step == "after the image":
        monkeypatch.setattr(training_set, "to_csv", die)
    else:
        monkeypatch.setattr(training_set, "write_description", die)
    with pytest.raises(SystemExit):
        a_set.save_labels("a", write("labels"))
    monkeypatch.undo()

    again = TrainingSet(a_set.folder)
    again.recover()
    assert again.case("a").status == "corrected"
    assert again.label_map("a").read_text() == "labels"
    content = json.loads((a_set.folder / "dataset.json").read_text("utf-8"))
    assert [(a_set.folder / entry["image"]).exists() for entry in content["training"]] == [True]


def test_two_programs_can_work_on_one_set(a_set):
    other = TrainingSet(a_set.folder)
    a_set.add_case("a", write())
    other.add_case("b", write())
    assert [row.name for row in a_set.cases()] == ["a", "b"]


def test_nothing_is_lost_when_two_programs_change_a_set_at_the_same_moment(a_set):
    """A case that one of them added, or its labels, were gone: each writes the table whole."""
    for index in range(20):
        a_set.add_case(f"old{index}", write())
    code = (
        "import sys; from pathlib import Path\n"
        "from MISFMLib.annotation.training_set import TrainingSet\n"
        "made, who = TrainingSet(Path(sys.argv[1])), sys.argv[2]\n"
        "for index in range(int(who), 20, 2):\n"
        "    made.update(f'old{index}', who=who)\n"
        "    made.add_case(f'new{index}', lambda path: path.write_text('x'))\n"
    )
    programs = [
        subprocess.Popen([sys.executable, "-c", code, str(a_set.folder), who]) for who in "01"
    ]
    assert [program.wait() for program in programs] == [0, 0]
    assert [row.who for row in a_set.cases()[:20]] == ["0", "1"] * 10
    assert {row.name for row in a_set.cases()[20:]} == {f"new{index}" for index in range(20)}


@pytest.mark.parametrize("fault", ["no locks", "never let go"])
def test_without_a_lock_a_set_is_changed_all_the_same(a_set, monkeypatch, fault):
    def refuse(_file):
        raise OSError(errno.ENOLCK, "No locks") if fault == "no locks" else BlockingIOError

    monkeypatch.setattr(turns, "take", refuse)
    monkeypatch.setattr(turns, "_LONGEST_S", 0.1)
    a_set.add_case("a", write())
    assert a_set.update("a", who="Ada") == a_set.case("a")


def test_a_label_that_another_program_has_added_meanwhile_is_not_replaced(a_set):
    """Both took the next number: the voxels of one label were called by the name of the other."""
    labelled(a_set, "a")
    a_set.add_case("b", write())
    mine = (*a_set.labels, new_label("tumour", a_set.labels))

    def write_slowly(path):
        path.write_text("b with a tumour")
        other = TrainingSet(a_set.folder)
        other.set_labels((*other.labels, new_label("liver", other.labels)))

    for writes in (write_slowly, write()):
        with pytest.raises(DataError, match="added liver to the labels") as caught:
            a_set.save_labels("b", writes, labels=mine)
    assert caught.value.code == "labels-changed"
    assert [label.name for label in a_set.labels] == ["left kidney", "spleen", "liver"]
    assert (a_set.case("b").status, a_set.label_map("b").exists()) == ("unlabelled", False)
    with pytest.raises(DataError, match="added liver"):
        a_set.take_up("a", labels=mine)
    a_set.save_labels("b", write(), labels=(*a_set.labels, new_label("tumour", a_set.labels)))
    assert [label.value for label in a_set.labels] == [1, 2, 3, 4]


def test_labels_that_are_renamed_or_taken_out_are_so_in_what_was_not_drawn(a_set):
    labelled(a_set, "a", not_drawn=("left kidney", "spleen"))
    a_set.set_labels((label_config(2, "milt"), label_config(3, "liver")))
    assert a_set.case("a").not_drawn == ("milt", "liver")


def test_names_of_cases_are_unique_and_can_be_file_names(a_set):
    assert a_set.free_name("CT 1/2: Müller") == "CT_1_2_Müller"
    assert a_set.free_name("..") == "case"
    a_set.add_case("a", write())
    assert a_set.free_name("A") == "A_2"
    with pytest.raises(DataError, match="has a case a already"):
        a_set.add_case("a", write())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(DataError) as caught:
        TrainingSet.create(tmp_path, LABELS)
    assert caught.value.code == "training-set-exists"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("dataset.json", "{"),
        ("dataset.json", "[]"),
        ("dataset.json", '{"label_details": [{"name": "x"}]}'),
        ("cases.csv", "name,status\na,wonderful\n"),
        ("cases.csv", "case\na\n"),
    ],
)
def test_a_damaged_set_says_what_is_wrong(a_set, file, content):
    (a_set.folder / file).write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json|cases\.csv|labels"):
        _ = TrainingSet(a_set.folder).labels


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        TrainingSet(tmp_path)
    assert caught.value.code == "no-training-set"


def test_the_table_keeps_everything_and_survives_a_spreadsheet():
    row = CaseRow(
        name="a, b",
        status="corrected",
        split="train",
        certainty=0.25,
        not_drawn=("left kidney", "spleen"),
        who="Ärztin",
        when="2026-11-28T20:00:00+00:00",
        model="ab12",
        dice=0.75,
        changed_voxels=120,
        minutes=2.5,
    )
    text = to_csv([row, CaseRow(name="b")])
    assert from_csv("\ufeff" + text, "t") == [row, CaseRow(name="b")]
    more = (
        text.replace("name,", "note,name,", 1)
        .replace('"a, b"', 'hm,"a, b"')
        .replace("\nb,", "\nhm,b,")
    )
    assert from_csv(more, "t") == [row, CaseRow(name="b")]


def test_labels_match_by_their_names_and_what_is_unknown_is_asked():
    found = match_labels(["Left_Kidney", "tumor"], LABELS)
    assert dict(found.values) == {"Left_Kidney": 1}
    assert found.unknown == ("tumor",)
    assert found.missing == ("spleen",)
    assert not found.is_certain
    assert match_labels(["SPLEEN", "left  kidney"], LABELS).is_certain
    assert match_labels(["kidney left"], LABELS).unknown == ("kidney left",)


def test_a_new_label_gets_the_next_number_and_its_code():
    label = new_label("liver", LABELS, (1, 2, 3))
    assert (label.value, label.color, label.type.value) == (3, (1, 2, 3), "10200004")
    assert new_label("liver", LABELS).color != (1, 2, 3)
    for name in ("Spleen", " "):
        with pytest.raises(DataError):
            new_label(name, LABELS)
    with pytest.raises(DataError, match="at most 255"):
        new_label("x", [LabelConfig(value=255, name="y")])


@pytest.mark.parametrize("name", ["abdomen" * 40, "腹部增强" * 20])
def test_a_long_name_is_shortened_to_what_a_file_can_have(a_set, name):
    for _ in range(2):
        a_set.add_case(a_set.free_name(name), write())
    first, second = (row.name for row in a_set.cases())
    assert name.startswith(first)
    assert second == f"{first}_2"


def test_labels_can_be_added_to_a_set_but_not_doubled(a_set):
    labelled(a_set, "before", not_drawn=("spleen",))
    a_set.add_case("waiting", write())
    a_set.set_labels([*LABELS, new_label("liver", LABELS)])
    assert a_set.case("before").not_drawn == ("spleen", "liver"), "its absence there says nothing"
    assert a_set.case("waiting").not_drawn == ()
    content = json.loads((a_set.folder / "dataset.json").read_text("utf-8"))
    assert content["training"][0]["not_drawn"] == [2, 3]
    assert [label.name for label in a_set.labels] == ["left kidney", "spleen", "liver"]
    with pytest.raises(DataError, match="same name or number"):
        a_set.set_labels([*LABELS, LabelConfig(value=1, name="other")])


# ----------------------------------------------------------------------------- several volumes


@pytest.fixture
def of_two(tmp_path):
    return TrainingSet.create(tmp_path / "heads", LABELS, channels=("T1", "T2"))


def test_a_case_of_several_volumes_is_named_as_nnunet_and_listed_as_monai_reads_it(of_two):
    of_two.add_case("b", write("t1"), write("t2"))
    of_two.add_case("a", write("t1"), write("t2"))
    of_two.save_labels("a", write("labels"))

    content = json.loads((of_two.folder / "dataset.json").read_text("utf-8"))
    assert content["modality"] == {"0": "T1", "1": "T2"}
    (entry,) = content["training"]
    assert entry["image"] == ["./imagesTr/a_0000.nii.gz", "./imagesTr/a_0001.nii.gz"]
    assert content["test"] == [["./imagesTs/b_0000.nii.gz", "./imagesTs/b_0001.nii.gz"]]
    assert [path.read_text() for path in of_two.images("a")] == ["t1", "t2"]
    assert TrainingSet(of_two.folder).channels == ("T1", "T2")


def test_finetune_reads_the_volumes_in_their_order(of_two):
    pytest.importorskip("SimpleITK")
    from MISFMLib.data.cases import find_cases

    of_two.add_case("a", write(), write())
    of_two.save_labels("a", write())
    found = find_cases(of_two.folder)
    assert found.channels == ("T1", "T2")
    assert found.cases[0].images == of_two.images("a")


def test_a_case_with_other_volumes_than_the_set_is_refused(of_two, a_set):
    with pytest.raises(DataError, match=r"has 2 volumes \(T1, T2\), this one has 1"):
        of_two.add_case("a", write())
    with pytest.raises(DataError, match=r"has 1 volumes \(CT\), this one has 2"):
        a_set.add_case("a", write(), write())


def test_of_a_case_all_volumes_are_there_or_none(of_two):
    def fail(path):
        path.write_text("half")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        of_two.add_case("a", write(), fail)
    assert list(of_two.folder.rglob("*.nii.gz")) == []
    assert of_two.add_case("a", write(), write()).name == "a"


def test_an_image_that_a_crash_left_without_a_case_is_in_no_new_cases_way(of_two, monkeypatch):
    def die(*_arguments, **_options):
        raise SystemExit

    monkeypatch.setattr(training_set, "to_csv", die)
    with pytest.raises(SystemExit):
        of_two.add_case("a", write(), write())
    monkeypatch.undo()
    name = of_two.free_name("a")
    assert name == "a_2"
    assert of_two.add_case(name, write(), write()).name == name


def test_what_a_case_consists_of_is_said_before_the_first_one(a_set):
    a_set.set_channels(("CT", "MR"))
    a_set.add_case("a", write(), write())
    assert len(a_set.images("a")) == 2
    with pytest.raises(DataError, match="before the first case"):
        a_set.set_channels(("CT",))
