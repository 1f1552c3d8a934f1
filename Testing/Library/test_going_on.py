"""`misfm finetune --resume` after the data set was changed: the training stays the same one."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import SimpleITK as sitk

from MISFMLib.configs import LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.data.cases import Split
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.errors import ConfigError, DataError
from MISFMLib.events import Notice
from MISFMLib.jobs.train.finetune import run_finetune
from MISFMLib.jobs.train.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")


OPTIONS = {"checkpoint_every": 1, "validate_every": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What is trained once for all tests."""
    return tmp_path_factory.mktemp("going_on")


@pytest.fixture
def tmp_path(place):
    """Empty the same folder for every test: a training goes on only where it was begun."""
    shutil.rmtree(place / "test", ignore_errors=True)
    (place / "test").mkdir()
    return place / "test"


@pytest.fixture
def stopped(config, stop_training, place, tmp_path):
    """Stop a training after its first step, and return what goes on with it."""
    kept = place / "stopped"
    if not kept.exists():
        stop_training(config(**OPTIONS))
        shutil.copytree(tmp_path, kept)
    else:
        shutil.rmtree(tmp_path)
        shutil.copytree(kept, tmp_path)

    def go_on(**settings):
        heard = []
        report = run_finetune(config(**OPTIONS, **settings, resume=True), heard.append)
        notices = [event.message for event in heard if isinstance(event, Notice)]
        return report["weights_sha256"], notices

    return go_on


@pytest.fixture
def whole(stopped, config, place):
    """Train without a stop; returns the checksum of the weights."""
    kept = place / "whole.txt"
    if not kept.exists():
        report = run_finetune(config(**OPTIONS, output=place / "whole"))
        kept.write_text(report["weights_sha256"])
    return kept.read_text()


def written(folder):
    return {name: json.loads((folder / name).read_text()) for name in ("plan.json", "split.json")}


def relabel(path, change):
    label = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(label)
    change(array)
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(label)
    sitk.WriteImage(changed, str(path))


def test_cases_that_were_added_take_no_part(whole, stopped, a_set, tmp_path, write_case):
    """With another draw of the split, cases that were learnt from would judge the model."""
    before = written(tmp_path / "model.run")
    for name in ("e", "f", "g"):
        write_case(
            a_set / f"imagesTr/{name}.nii.gz",
            a_set / f"labelsTr/{name}.nii.gz",
            shape=(20, 30, 16),
            spacing_xyz=(2.0, 2.0, 4.0),
            values=(2, 5),
        )
    os.utime(a_set / "labelsTr/a.nii.gz", ns=(10**18, 10**18))  # the same again
    weights, notices = stopped()
    assert any("leaves 3 cases out: e, f, g" in notice for notice in notices)
    assert any(notice.endswith("read anew: a.") for notice in notices)
    assert written(tmp_path / "model.run") == before
    assert weights == whole


def test_a_label_map_that_was_corrected_is_read_anew(whole, stopped, a_set, tmp_path):
    names = written(tmp_path / "model.run")["split.json"]["train"]
    for name in names:
        relabel(a_set / f"labelsTr/{name}.nii.gz", lambda array: array.__setitem__(array == 2, 5))
        relabel(a_set / f"labelsTr/{name}.nii.gz", lambda array: array.__setitem__((0, 0, 0), 2))
    weights, notices = stopped()
    assert any(notice.endswith(f"read anew: {', '.join(names)}.") for notice in notices)
    assert weights != whole


def test_a_training_goes_on_where_it_and_its_data_were_moved_to(whole, stopped, a_set, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in (a_set, tmp_path / "model.run"):
        shutil.move(folder, elsewhere / folder.name)
    weights, notices = stopped(data=elsewhere / a_set.name, output=elsewhere / "model")
    assert any(f"read from {elsewhere / a_set.name} now" in notice for notice in notices)
    assert weights == whole


def test_a_training_does_not_go_on_with_other_cases_of_the_same_names(stopped, a_set, tmp_path):
    (name,) = written(tmp_path / "model.run")["split.json"]["validation"]
    other = shutil.copytree(a_set, tmp_path / "other")
    relabel(other / f"labelsTr/{name}.nii.gz", lambda array: array.__setitem__((0, 0, 0), 2))
    with pytest.raises(ConfigError, match=f"its cases {name} are others in .*other than") as caught:
        stopped(data=other)
    assert caught.value.code == "resume-data"


def test_without_its_cases_a_training_does_not_go_on(stopped, a_set, tmp_path):
    (name,) = written(tmp_path / "model.run")["split.json"]["validation"]
    (a_set / f"imagesTr/{name}.nii.gz").rename(tmp_path / "away.nii.gz")
    with pytest.raises(ConfigError, match=f"its cases {name} are not") as caught:
        stopped()
    assert caught.value.code == "resume-data"


def test_a_new_label_is_not_learnt_as_background(stopped, a_set, tmp_path):
    description = json.loads((a_set / "dataset.json").read_text())
    description["labels"]["7"] = "liver"
    (a_set / "dataset.json").write_text(json.dumps(description))
    name = written(tmp_path / "model.run")["split.json"]["train"][0]
    relabel(a_set / f"labelsTr/{name}.nii.gz", lambda array: array.__setitem__((0, 0, 0), 7))
    with pytest.raises(ConfigError, match="the labels 7, which it does not know") as caught:
        stopped()
    assert caught.value.code == "resume-data"


def test_a_damaged_plan_is_named(stopped, tmp_path):
    (tmp_path / "model.run" / "plan.json").write_text('{"network": 3}')
    with pytest.raises(DataError) as caught:
        stopped()
    assert caught.value.code == "run-damaged"


def test_cases_of_another_plan_are_prepared_anew(tmp_path):
    """A training that was killed before its first checkpoint is planned anew."""
    labels = (LabelConfig(value=1, name="spleen"),)
    spaces = [PreprocessingConfig(spacing_dhw=(edge, 1.0, 1.0)) for edge in (1.0, 1.0, 2.0)]
    there = []
    for space in spaces:
        plan = TrainingPlan(
            network=NetworkConfig(), preprocessing=space, labels=labels, batch_size=1
        )
        RunFolder(tmp_path).write_plan(plan, Split(("a",), ()))
        there.append((tmp_path / "cases" / "a").exists())
        (tmp_path / "cases" / "a").mkdir(parents=True, exist_ok=True)
    assert there == [False, True, False]
