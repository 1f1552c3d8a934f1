"""Cases of existing data sets in a training set."""

from __future__ import annotations

import json
import shutil

import pytest
import SimpleITK as sitk

from MISFMLib import cli
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.configs import CollectConfig
from MISFMLib.data.cases import find_cases
from MISFMLib.errors import DataError
from MISFMLib.events import Notice
from MISFMLib.jobs.collect import run_collect
from MISFMLib.volumes.volume import read_label_map, read_volume


@pytest.fixture
def a_data_set(tmp_path, write_case):
    def make(name="data", labels=None, values=(2, 5), cases="abc"):
        for index, case in enumerate(cases):
            write_case(
                tmp_path / f"{name}/imagesTr/{case}.nii.gz",
                tmp_path / f"{name}/labelsTr/{case}.nii.gz",
                shape=(10 + index, 12, 14),
                values=values,
            )
        described = labels or {"0": "background", "2": "left kidney", "5": "spleen"}
        content = {"labels": described, "modality": {"0": "CT"}}
        (tmp_path / name / "dataset.json").write_text(json.dumps(content))
        return tmp_path / name

    return make


def test_a_data_set_becomes_a_training_set_with_its_names_and_numbers(a_data_set, tmp_path):
    source = a_data_set()
    (source / "imagesTs").mkdir()
    (source / "imagesTs/x.nii.gz").write_bytes((source / "imagesTr/a.nii.gz").read_bytes())
    report = run_collect(CollectConfig(data=source, output=tmp_path / "set"))

    made = TrainingSet(tmp_path / "set")
    assert [(label.value, label.name) for label in made.labels] == [
        (2, "left kidney"),
        (5, "spleen"),
    ]
    assert made.channels == ("CT",)
    assert [(row.name, row.status) for row in made.cases()] == [
        ("a", "checked"),
        ("b", "checked"),
        ("c", "checked"),
        ("x", "unlabelled"),
    ]
    assert (report["labelled"], report["unlabelled"], report["refused"]) == (3, 1, {})
    before = read_label_map(source / "labelsTr/b.nii.gz").array_DHW
    assert (read_label_map(made.label_map("b")).array_DHW == before).all()
    assert (
        read_volume(made.images("b")).array_CDHW
        == read_volume(source / "imagesTr/b.nii.gz").array_CDHW
    ).all()


def test_a_data_set_that_is_collected_again_brings_what_is_new_alone(a_data_set, tmp_path):
    data = a_data_set()
    (data / "imagesTs").mkdir()
    shutil.copy(data / "imagesTr/a.nii.gz", data / "imagesTs/x.nii.gz")
    late = [data / f"{folder}/c.nii.gz" for folder in ("imagesTr", "labelsTr")]
    for path in late:
        path.rename(tmp_path / path.parent.name)
    config = CollectConfig(data=data, output=tmp_path / "set")
    run_collect(config)
    made = TrainingSet(config.output)
    made.update("b", status="left out")
    for path in late:
        (tmp_path / path.parent.name).rename(path)
    for folder in ("imagesTr", "labelsTr"):
        shutil.copy(data / folder / "a.nii.gz", data / folder / "x.nii.gz")
    events = []
    report = run_collect(config, events.append)

    assert [(row.name, row.status) for row in made.cases()] == [
        ("a", "checked"),
        ("b", "left out"),
        ("x", "checked"),
        ("c", "checked"),
    ]
    assert (report["kept"], report["exit_code"]) == (["a", "b", "x.nii.gz"], 0)
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert notices == ["In the training set already, and left as they are there: a, b, x.nii.gz."]


def test_a_set_is_extended_by_names_not_by_numbers(a_data_set, tmp_path):
    run_collect(CollectConfig(data=a_data_set(), output=tmp_path / "set"))
    other = a_data_set(
        "other", {"0": "background", "1": "Spleen", "2": "liver"}, values=(1, 2), cases="az"
    )
    events = []
    run_collect(CollectConfig(data=other, output=tmp_path / "set"), events.append)

    made = TrainingSet(tmp_path / "set")
    assert [label.name for label in made.labels] == ["left kidney", "spleen", "liver"]
    assert [row.name for row in made.cases()] == ["a", "b", "c", "a_2", "z"]
    assert made.case("b").not_drawn == ("liver",), "one data set does not know the other's labels"
    assert made.case("z").not_drawn == ("left kidney",)
    theirs = read_label_map(other / "labelsTr/z.nii.gz").array_DHW
    ours = read_label_map(made.label_map("z")).array_DHW
    assert (ours[theirs == 1] == 5).all()
    assert (ours[theirs == 2] == 6).all()
    assert any(isinstance(each, Notice) and "new label" in each.message for each in events)


def test_voxels_that_nobody_labelled_stay_that(a_data_set, tmp_path):
    """As nnU-Net 2 has them."""
    source = a_data_set(labels={"background": 0, "left kidney": 2, "ignore": 5})
    report = run_collect(CollectConfig(data=source, output=tmp_path / "set"))
    assert (report["labelled"], report["refused"]) == (3, {})
    found = find_cases(tmp_path / "set")
    assert (found.label_names, found.cases[0].unlabelled) == ({2: "left kidney"}, 5)
    ours = read_label_map(tmp_path / "set/labelsTr/a.nii.gz").array_DHW
    assert (ours == read_label_map(source / "labelsTr/a.nii.gz").array_DHW).all()


def test_labels_whose_names_differ_by_a_sign_stay_two(a_data_set, tmp_path):
    source = a_data_set(labels={"0": "background", "2": "node+", "5": "node-"})
    run_collect(CollectConfig(data=source, output=tmp_path / "set"))
    ours = read_label_map(TrainingSet(tmp_path / "set").label_map("a")).array_DHW
    assert (ours == read_label_map(source / "labelsTr/a.nii.gz").array_DHW).all()


def test_cases_that_cannot_be_used_are_named_and_left_out(a_data_set, tmp_path, capsys):
    source = a_data_set()
    (source / "labelsTr/b.nii.gz").write_bytes(b"no")
    assert cli.main(["collect", str(source), "-o", str(tmp_path / "set")]) == 8
    assert "b is left out" in capsys.readouterr().err
    assert [row.name for row in TrainingSet(tmp_path / "set").cases()] == ["a", "c"]


@pytest.mark.parametrize(
    ("labels", "names"),
    [((), ["label 2", "label 5"]), (("5=spleen", "2=liver"), ["liver", "spleen"])],
)
def test_labels_that_nothing_names_are_taken(a_data_set, tmp_path, labels, names):
    source = a_data_set()
    (source / "dataset.json").unlink()
    report = run_collect(CollectConfig(data=source, output=tmp_path / "set", labels=labels))

    made = TrainingSet(tmp_path / "set")
    assert [(label.value, label.name) for label in made.labels] == [
        *zip((2, 5), names, strict=True)
    ]
    assert (report["labelled"], report["refused"]) == (3, {})
    assert all(row.not_drawn == () for row in made.cases())


def test_a_folder_that_is_in_the_way_is_left_alone(a_data_set, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/thesis.tex").touch()
    with pytest.raises(DataError, match="not empty"):
        run_collect(CollectConfig(data=a_data_set(), output=tmp_path / "set"))


@pytest.mark.parametrize("kind", ["one file each", "four axes"])
def test_cases_of_several_channels_keep_them(a_data_set, tmp_path, kind):
    source = a_data_set()
    for path in sorted((source / "imagesTr").iterdir()):
        image = sitk.ReadImage(str(path))
        if kind == "four axes":
            sitk.WriteImage(sitk.JoinSeries([image, image + 1000]), str(path))
            continue
        name = path.name.removesuffix(".nii.gz")
        sitk.WriteImage(image + 1000, str(path.with_name(f"{name}_0001.nii.gz")))
        path.rename(path.with_name(f"{name}_0000.nii.gz"))
    (source / "imagesTs").mkdir()
    for path in (source / "imagesTr").glob("a*"):
        (source / "imagesTs" / path.name.replace("a", "x", 1)).write_bytes(path.read_bytes())
    content = json.loads((source / "dataset.json").read_text())
    content["modality"] = {"0": "T1", "1": "T2"}
    (source / "dataset.json").write_text(json.dumps(content))

    report = run_collect(CollectConfig(data=source, output=tmp_path / "set"))

    made = TrainingSet(tmp_path / "set")
    assert made.channels == ("T1", "T2")
    assert (report["labelled"], report["unlabelled"], report["refused"]) == (3, 1, {})
    for name in ("b", "x"):
        first, second = read_volume(made.images(name)).array_CDHW
        assert (second == first + 1000).all()

    other = TrainingSet.create(tmp_path / "other", channels=("t2", "t1"))
    run_collect(CollectConfig(data=source, output=other.folder))
    for name in ("b", "x"):
        second, first = read_volume(other.images(name)).array_CDHW
        assert (second == first + 1000).all()


def test_a_data_set_with_other_channels_than_the_set_is_refused(a_data_set, tmp_path):
    TrainingSet.create(tmp_path / "set", channels=("T1", "T2"))
    with pytest.raises(DataError, match=r"1 channels .*training set 2") as caught:
        run_collect(CollectConfig(data=a_data_set(), output=tmp_path / "set"))
    assert caught.value.code == "channels-differ"
