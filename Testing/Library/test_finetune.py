"""The fine-tuning job as a whole, on data sets and networks that train in a second."""

from __future__ import annotations

import csv
import errno
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISFMLib.configs import (
    encode,
)
from MISFMLib.data.cases import Split
from MISFMLib.errors import ConfigError, DataError, OutputError, TrainingError
from MISFMLib.events import Metric, Notice, Progress
from MISFMLib.jobs.train import trained_bundle, validation, watching
from MISFMLib.jobs.train.finetune import run_finetune
from MISFMLib.jobs.train.run_folder import RunFolder
from MISFMLib.models.bundle import read_bundle, read_card, read_weights
from MISFMLib.networks import network_from_bundle
from MISFMLib.training.losses import SegmentationLoss
from MISFMLib.training.schedules import polynomial_decay

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_training_ends_in_a_bundle_that_says_how_it_was_made(config, tmp_path):
    events = []
    options = {"name": "My kidneys", "license": "CC0-1.0", "authors": "A", "training_data": "Noise"}

    report = run_finetune(config(**options), events.append)

    bundle = read_bundle(tmp_path / "model")
    manifest = bundle.manifest
    assert report["bundle"] == str(tmp_path / "model")
    assert (manifest.name, manifest.title) == ("model", "My kidneys")
    assert [(label.value, label.name) for label in manifest.labels] == [
        (2, "left kidney"),
        (5, "spleen"),
    ]
    assert manifest.labels[0].modifier.meaning == "Left"
    assert manifest.network.num_classes == 3
    assert manifest.network.deep_supervision is False
    assert (manifest.license, manifest.authors) == ("CC0-1.0", "A")
    assert manifest.preprocessing.modality == "MR"
    assert manifest.preprocessing.spacing_dhw == (1, 1, 1)
    assert 0 <= manifest.evaluation["spleen"]["dice"] <= 1
    assert manifest.evaluation == report["evaluation"]
    assert manifest.evaluation["held-out cases"] == 1
    assert manifest.provenance["training cases"] == 3
    assert "--name 'My kidneys'" in manifest.provenance["command"]
    assert str(tmp_path) not in json.dumps(manifest.provenance)
    assert "Noise" in read_card(bundle)
    assert network_from_bundle(bundle)(torch.zeros(1, 1, 8, 9, 10)).shape == (1, 3, 8, 9, 10)
    dtypes = {array.dtype.name for array in read_weights(bundle).values()}
    assert dtypes <= {"float16", "float32", "int64"}

    assert any(isinstance(event, Notice) and "voxel size" in event.message for event in events)
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert list(dict.fromkeys(stages)) == ["check", "prepare", "train", "evaluate"]
    assert all(event.eta_s is not None for event in events if isinstance(event, Progress))


def test_ct_that_is_not_in_hounsfield_units_is_told_before_its_tissue_is_cut_off(config, a_set):
    def notices(**options):
        heard = []
        run_finetune(config(check_only=True, **options), heard.append)
        return [event.message for event in heard if isinstance(event, Notice)]

    def are_told(texts):
        return any("Hounsfield units, and all above 1000 is cut off" in text for text in texts)

    assert not are_told(notices(modality="CT"))
    for path in (a_set / "imagesTr").iterdir():
        sitk.WriteImage(sitk.ReadImage(str(path)) + 1024, str(path))
    assert are_told(notices(modality="CT"))
    assert not are_told(notices(modality="CT", intensity="ct-percentile"))
    assert not are_told(notices(modality="other"))


def test_the_run_folder_keeps_the_record_and_drops_the_rest(config, tmp_path):
    events = []
    run_finetune(config(), events.append)

    folder = tmp_path / "model.run"
    kept = {path.name for path in folder.iterdir()}
    assert kept == {
        "lock",
        "log.jsonl",
        "plan.json",
        "settings.json",
        "split.json",
        "tensorboard",
        "validation.csv",
    }
    split = json.loads((folder / "split.json").read_text())
    assert sorted(split["train"] + split["validation"]) == ["a", "b", "c", "d"]
    rows = list(csv.DictReader((folder / "validation.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == ["left kidney", "spleen"]
    assert rows[0]["case"] == split["validation"][0]
    logged = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    metrics = [event for event in events if isinstance(event, Metric)]
    assert [line["values"] for line in logged if line["event"] == "Metric"] == [
        event.values for event in metrics
    ]
    assert list((folder / "tensorboard").iterdir())


def test_a_training_learns_to_find_bright_boxes(config):
    report = run_finetune(
        config(steps=40, batch_size=2, learning_rate=1e-2, validate_every=20, augmentation="none")
    )

    assert report["evaluation"]["mean Dice of the labels"] > 0.6


def test_a_stopped_training_resumes_to_the_same_weights(config, stop_training, tmp_path):
    options = {"checkpoint_every": 1, "validate_every": 2}
    whole = run_finetune(config(output=tmp_path / "whole", **options))
    stop_training(config(**options))
    assert (tmp_path / "model.run" / "checkpoint.pt").exists()

    with pytest.raises(OutputError, match="unfinished training"):
        run_finetune(config(**options))
    with pytest.raises(ConfigError, match=r"learning_rate was not given and is 0\.1"):
        run_finetune(config(**options, learning_rate=0.1, resume=True))
    resumed = run_finetune(config(**options, resume=True))

    assert resumed["weights_sha256"] == whole["weights_sha256"]


def test_a_run_is_resumed_with_its_data_written_in_another_way(config, a_set, monkeypatch):
    monkeypatch.chdir(a_set.parent)
    RunFolder.open(config(data=Path(a_set.name)))
    folder = RunFolder.open(config(data=a_set, resume=True))
    assert folder.other_place(config(data=a_set)) == ""
    assert folder.other_place(config(data=Path("nowhere"))) == a_set.name


def test_a_training_that_only_lacks_its_evaluation_resumes_there(config, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise DataError("A held-out volume is gone.", code="gone", remedy="")

    with monkeypatch.context() as broken:
        broken.setattr(trained_bundle, "evaluate", fail)
        with pytest.raises(DataError, match="is gone"):
            run_finetune(config())
    assert not (tmp_path / "model").exists()
    (tmp_path / "model.run" / ".misfm-01234567.pt").touch()  # as a kill leaves it
    events = []

    run_finetune(config(resume=True), events.append)

    assert "train" not in {event.stage for event in events if isinstance(event, Progress)}
    assert read_bundle(tmp_path / "model").manifest.evaluation
    assert not list((tmp_path / "model.run").glob(".*"))


@pytest.mark.parametrize("settings", [{}, {"resume": True}, {"overwrite": True}])
def test_a_second_training_to_the_same_output_is_refused_and_harms_nothing(
    config, tmp_path, settings
):
    RunFolder.open(config())
    before = {path.name: path.read_bytes() for path in (tmp_path / "model.run").iterdir()}
    with RunFolder.of(config()).alone(lambda _event: None):
        with pytest.raises(OutputError, match=r"model\.run") as caught:
            run_finetune(config(**settings))
        after = {path.name: path.read_bytes() for path in (tmp_path / "model.run").iterdir()}
    assert caught.value.code == "run-busy"
    assert after == before


def test_a_file_system_without_locks_gets_a_notice(config, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    events = []
    with RunFolder.of(config()).alone(events.append):
        pass
    assert "No locks available" in notices(events)[0]


def test_a_run_folder_of_somebody_else_is_never_emptied(config, tmp_path):
    (tmp_path / "model.run").mkdir()
    (tmp_path / "model.run" / "settings.json").write_text("{}")
    (tmp_path / "model.run" / "thesis.tex").write_text("much work")
    with pytest.raises(OutputError) as caught:
        run_finetune(config(overwrite=True))
    assert caught.value.code == "run-folder-taken"
    assert (tmp_path / "model.run" / "thesis.tex").read_text() == "much work"


def test_what_others_put_into_a_run_stays(config, tmp_path):
    RunFolder.open(config())
    (tmp_path / "model.run" / "notes.txt").write_text("mine")
    RunFolder.open(config(overwrite=True))
    assert (tmp_path / "model.run" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_damaged_settings_of_a_run_are_named(config, tmp_path, content):
    RunFolder.open(config())
    (tmp_path / "model.run" / "settings.json").write_bytes(content)
    with pytest.raises(DataError, match=r"settings\.json") as caught:
        RunFolder.open(config(resume=True))
    assert caught.value.code == "run-damaged"
    RunFolder.open(config(overwrite=True))


def notices(events):
    return [event.message for event in events if isinstance(event, Notice)]


def test_resume_without_a_run_starts_one_and_says_so(config, tmp_path):
    events = []
    run_finetune(config(resume=True), events.append)
    assert (tmp_path / "model").is_dir()
    assert any("no checkpoint to resume" in message for message in notices(events))
    again = []
    run_finetune(config(overwrite=True), again.append)
    assert not any("no checkpoint" in message for message in notices(again))


def test_a_run_of_an_earlier_version_can_be_resumed(config, tmp_path):
    folder = RunFolder.open(config())
    settings = json.loads((folder.path / "settings.json").read_text())
    for name in ("accumulate", "trainable", "layer_decay"):
        del settings[name]
    (folder.path / "settings.json").write_text(json.dumps(settings))

    RunFolder.open(config(resume=True))

    with pytest.raises(ConfigError, match=r"layer_decay was 1\.0 and is 0\.5"):
        RunFolder.open(config(resume=True, layer_decay=0.5))


def test_when_to_end_can_be_changed_in_a_run_that_goes_on(config):
    RunFolder.open(config())
    RunFolder.open(config(resume=True, minutes=5.0, patience=3))


@pytest.mark.parametrize(("asked", "rising"), [(None, 4), (2, 2), (0, 0)])
def test_the_learning_rate_rises_over_the_first_steps_and_a_fifth_of_them_at_most(
    config, monkeypatch, asked, rising
):
    class SeenError(Exception):
        pass

    def fit(_fabric, task, *_):
        assert task.schedule(7) == polynomial_decay(7, 20)
        rates.extend(task.rise(step) for step in range(20))
        raise SeenError

    rates = []
    monkeypatch.setattr("MISFMLib.jobs.train.finetune.fit", fit)
    options = {} if asked is None else {"warm_up_steps": asked}
    with pytest.raises(SeenError):
        run_finetune(config(steps=20, **options))
    assert rates == pytest.approx([min(1, (step + 1) / max(1, rising)) for step in range(20)])


def test_a_training_ends_when_its_time_is_over_and_is_evaluated(config):
    events = []
    report = run_finetune(config(steps=50, validate_every=50, minutes=1e-6), events.append)
    assert (report["steps"], report["weights_step"], report["ended_by"]) == (1, 1, "minutes")
    assert report["evaluation"]["held-out cases"] == 1
    assert any("after 1 steps: the time was over" in message for message in notices(events))


def test_a_training_ends_when_its_score_has_stopped_rising(config, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "_FOUND_DICE", 0.0)  # fresh weights find nothing
    events = []
    options = {"steps": 50, "patience": 2, "learning_rate": 1e-9}
    report = run_finetune(config(**options), events.append)
    # After three steps it stands still; the way down to a rate of zero is one step long.
    assert (report["steps"], report["ended_by"]) == (4, "patience")
    assert read_bundle(tmp_path / "model").manifest.provenance["ended early by"] == "patience"
    assert any("the score had stopped rising" in message for message in notices(events))


def test_a_training_goes_on_while_labels_have_not_been_found(config, monkeypatch):
    monkeypatch.setattr(validation, "_FOUND_DICE", 1.0)
    report = run_finetune(config(steps=6, patience=2, learning_rate=1e-9))
    assert (report["steps"], report["ended_by"]) == (6, "steps")


def test_labels_that_are_not_found_are_told_and_count_more(config, monkeypatch):
    monkeypatch.setattr(validation, "_FOUND_DICE", 1.1)
    attended, emphasise = [], SegmentationLoss.emphasise

    def seen(loss, classes, shares_K):
        attended.append(list(classes))
        emphasise(loss, classes, shares_K)

    monkeypatch.setattr(SegmentationLoss, "emphasise", seen)
    events = []
    report = run_finetune(config(steps=2), events.append)

    assert attended == [[1, 2]] * 2
    assert report["not_found"] == ["left kidney", "spleen"]
    told = [message for message in notices(events) if message.startswith("Not found")]
    assert [message.split(":")[0] for message in told] == [
        "Not found after 1 steps",
        "Not found in 2 steps",
    ]
    found = [
        e.values["labels found"] for e in events if isinstance(e, Metric) and "score" in e.values
    ]
    assert found == [0, 0]


def test_a_training_that_is_stopped_says_how_it_goes_on(config, tmp_path):
    def pause(event):
        events.append(event)
        if isinstance(event, Progress) and event.stage == "train":
            (tmp_path / "model.run/control").write_text("pause")

    events = []
    with pytest.raises(KeyboardInterrupt):
        run_finetune(config(steps=12), pause)
    assert notices(events)[-1].endswith("model.run: --resume goes on with it.")


def test_the_best_weights_of_a_training_that_broke_down_become_a_model(config, monkeypatch):
    """As the message says that tells of a loss that is no number."""
    options = {"steps": 4, "checkpoint_every": 1, "precision": "fp32"}
    forward = SegmentationLoss.forward
    with monkeypatch.context() as broken:
        broken.setattr(
            SegmentationLoss,
            "forward",
            lambda loss, *arguments: forward(loss, *arguments) * (1 if calls.pop() else math.nan),
        )
        calls = [False, True, True]
        with pytest.raises(TrainingError, match="Step 3 ") as error:
            run_finetune(config(**options))
    assert "--minutes 0.01" in error.value.remedy
    report = run_finetune(config(**options, resume=True, minutes=1e-9))
    assert (report["steps"], report["ended_by"]) == (3, "minutes")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full_when_the_log_is_written_is_said_so(config, tmp_path):
    def fill(event):
        if isinstance(event, Progress) and event.stage == "train":
            log.unlink(missing_ok=True)
            log.symlink_to("/dev/full")

    log = tmp_path / "model.run/log.jsonl"
    with pytest.raises(OutputError) as caught:
        run_finetune(config(), fill)
    assert caught.value.code == "disk-full"
    log.unlink()
    assert run_finetune(config(resume=True))["steps"] == 2


def leave_spleen_in(folder, names):
    """Remove the label 5 from the other cases."""
    for path in sorted((folder / "labelsTr").iterdir()):
        if path.name[0] not in names:
            image = sitk.ReadImage(str(path))
            sitk.WriteImage(sitk.ChangeLabel(image, {5: 0}), str(path))


def test_a_label_that_no_held_out_case_has_is_looked_for_in_a_training_case(
    a_set, config, monkeypatch
):
    leave_spleen_in(a_set, "b")
    monkeypatch.setattr("MISFMLib.data.visits._SMALLEST_SHARE", 0.5)
    monkeypatch.setattr("MISFMLib.data.visits._SHARED", 1)
    events = []
    report = run_finetune(config(steps=2, learning_rate=1e-9), events.append)

    told = notices(events)
    assert any(message.startswith("No held-out case has spleen: how well") for message in told)
    assert any(
        message.startswith("Not found after 1 steps: left kidney, spleen") for message in told
    )
    assert "Cases with rare labels are visited more often: a round of all has 4 visits." in told
    assert report["not_found"] == ["left kidney", "spleen"]
    scores = [e.values for e in events if isinstance(e, Metric) and "score" in e.values]
    assert scores[0]["labels"] == 2
    assert "dice/spleen" not in scores[0]  # nobody knows how well it is found elsewhere


def test_labels_that_are_not_found_are_told_where_nothing_is_held_out(config):
    events = []
    report = run_finetune(config(learning_rate=1e-9, validation_fraction=0.0), events.append)
    assert "No case is held out, so the model will not be evaluated." in notices(events)
    assert (report["not_found"], report["weights_step"]) == (["left kidney", "spleen"], 2)
    card = read_bundle(Path(report["bundle"])).manifest.limitations
    assert "Labels that it does not find: left kidney, spleen." in card


def test_why_nothing_can_be_held_out_is_told(a_set, config):
    for number, name in enumerate("abcd", start=1):
        path = str(a_set / f"labelsTr/{name}.nii.gz")
        values = sitk.ChangeLabel(sitk.ReadImage(path), {2: 0, 5: number})
        sitk.WriteImage(values, path)
    (a_set / "dataset.json").unlink()
    events = []
    run_finetune(config(check_only=True), events.append)
    assert any(
        m.startswith("Each case has a label that no other has: No case") for m in notices(events)
    )


def test_a_label_too_small_for_the_voxel_size_is_told_before_the_training(a_set, config):
    for path in sorted((a_set / "labelsTr").iterdir()):
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        array[array == 5] = 0
        array[9, 12, 14] = 5
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    events = []
    run_finetune(config(steps=1, spacing_dhw=(2.0, 2.0, 2.0)), events.append)
    told = "At the voxel size of the training, 2 x 2 x 2 mm, no voxel is left of spleen in 4 of 4"
    assert any(message.startswith(told) for message in notices(events))


def test_labels_that_are_found_count_as_always(config, monkeypatch):
    monkeypatch.setattr(validation, "_FOUND_DICE", 0.0)
    attended = []
    monkeypatch.setattr(
        SegmentationLoss, "emphasise", lambda _, classes, __: attended.append(classes)
    )
    report = run_finetune(config(steps=2))
    assert attended == [[]] * 2
    assert "not_found" not in report


@pytest.mark.parametrize(
    ("options", "patience"), [({}, 4), ({"patience": 2}, 2), ({"validation_fraction": 0.0}, None)]
)
def test_the_length_is_planned_when_it_is_not_given(
    config, tmp_path, monkeypatch, options, patience
):
    class SeenError(Exception):
        pass

    def fit(_fabric, _task, settings, *_):
        seen.append((settings.steps, settings.patience))
        raise SeenError

    seen, events = [], []
    monkeypatch.setattr("MISFMLib.jobs.train.finetune.fit", fit)
    with pytest.raises(SeenError):
        run_finetune(config(steps=None, **options), events.append)
    assert seen == [(750, patience)]
    assert any(
        "length      750 steps at most, learning rate 0.003" in message
        for message in notices(events)
    )
    # The settings that a resumed run is compared with are the user's.
    settings = json.loads((tmp_path / "model.run/settings.json").read_text())
    assert (settings["steps"], settings["patience"]) == (None, options.get("patience"))


def test_patience_without_held_out_cases_is_refused_before_the_training(config, tmp_path):
    with pytest.raises(ConfigError) as caught:
        run_finetune(config(patience=2, validation_fraction=0.0))
    assert caught.value.code == "nothing-held-out"
    assert not (tmp_path / "model.run/cases").exists()


def test_the_report_tells_steps_speed_and_results(config, tmp_path):
    events = []
    report = run_finetune(config(), events.append)
    assert (report["steps"], report["ended_by"]) == (2, "steps")
    assert set(report["speed"]) == {
        "loader_samples_per_s",
        "network_samples_per_s",
        "network_steps_per_s",
        "share_waited",
    }
    dice = report["evaluation"]["spleen"]["dice"]
    assert f"The model is in {tmp_path / 'model'}" in notices(events)[-1]
    assert f"spleen: Dice {dice:.3f}" in notices(events)[-1]
    assert "ended early by" not in read_bundle(tmp_path / "model").manifest.provenance


def test_an_existing_bundle_is_refused_before_anything_is_done(config, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        run_finetune(config())
    assert not (tmp_path / "model.run").exists()

    run_finetune(config(overwrite=True))
    assert read_bundle(tmp_path / "model").manifest.name == "model"


def test_a_folder_that_is_no_run_is_left_alone(config, tmp_path):
    (tmp_path / "model.run").mkdir()
    (tmp_path / "model.run" / "precious.txt").touch()
    with pytest.raises(OutputError, match="in the way"):
        run_finetune(config(overwrite=True))
    assert (tmp_path / "model.run" / "precious.txt").exists()


def test_more_labels_than_a_network_learns_are_refused_before_the_training(config, tmp_path):
    """The last class index means that nobody labelled a voxel."""
    volume = sitk.GetImageFromArray(np.resize(np.arange(256, dtype=np.uint8), (8, 8, 8)))
    for folder in (tmp_path / "many/images", tmp_path / "many/labels"):
        folder.mkdir(parents=True)
        sitk.WriteImage(volume, str(folder / "a.nii.gz"))
    with pytest.raises(ConfigError, match="hold 255 labels, a network learns up to 254") as caught:
        run_finetune(config(data=tmp_path / "many", validation_fraction=0.0))
    assert caught.value.code == "too-many-labels"


def test_a_bad_data_set_leaves_no_bundle(config, a_set, tmp_path):
    (a_set / "labelsTr/b.nii.gz").write_bytes(b"cut off")
    with pytest.raises(DataError, match="- b: "):
        run_finetune(config())
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({"devices": 2}, "2 processes, each in 1 parts"),
        ({"accumulate": 2}, "1 processes, each in 2 parts"),
    ],
)
def test_the_batch_must_be_a_multiple_of_processes_and_parts(config, options, shares):
    with pytest.raises(ConfigError, match=f"A batch of 3 cannot be shared by {shares}"):
        run_finetune(config(batch_size=3, **options))


def test_files_without_counterpart_and_a_missing_validation_are_told(config, a_set):
    (a_set / "imagesTr/lonely.nii.gz").write_bytes((a_set / "imagesTr/a.nii.gz").read_bytes())
    events = []

    report = run_finetune(config(validation_fraction=0.0), events.append)

    messages = [event.message for event in events if isinstance(event, Notice)]
    assert any("lonely.nii.gz" in message for message in messages)
    assert any("not be evaluated" in message for message in messages)
    assert report["evaluation"] == {}
    assert report["weights_step"] == 2


def test_a_check_trains_nothing_and_leaves_nothing(config, tmp_path):
    events = []
    report = run_finetune(config(check_only=True, labels=("2=a", "5=b")), events.append)
    assert report["plan"]["labels"] == "2 a, 5 b"
    assert (len(report["train"]), len(report["validation"])) == (3, 1)
    assert not list(tmp_path.glob("model*"))
    with pytest.raises(DataError) as caught:
        run_finetune(config(check_only=True, labels=("2=a",)), events.append)
    assert caught.value.code == "labels-unusable"
    assert "name the label (--labels" in str(caught.value)


def test_voxels_that_nobody_labelled_are_neither_learnt_nor_scored(config, a_set, tmp_path):
    names = {"background": 0, "left kidney": 2, "ignore": 5}
    (a_set / "dataset.json").write_text(json.dumps({"labels": names}))
    report = run_finetune(config())
    manifest = read_bundle(tmp_path / "model").manifest
    assert [label.name for label in manifest.labels] == ["left kidney"]
    assert manifest.network.num_classes == 2
    assert set(report["evaluation"]) >= {"left kidney"}


def test_a_word_for_an_earlier_process_does_not_stop_the_next(config, tmp_path):
    RunFolder.open(config()).control.write_text("pause")
    RunFolder.open(config(resume=True))
    assert not (tmp_path / "model.run/control").exists()


def test_the_users_wishes_go_before_the_plan(config, tmp_path):
    run_finetune(
        config(
            spacing_dhw=(1.0, 1.2, 1.2),
            patch_size=(8, 16, 16),
            resolution_mode=2,
            modality="CT",
            intensity="ct-percentile",
            deep_supervision=False,
            optimizer="adam",
            augmentation="strong",
        )
    )

    manifest = read_bundle(tmp_path / "model").manifest
    assert manifest.preprocessing.spacing_dhw == (1.0, 1.2, 1.2)
    assert manifest.preprocessing.patch_size == manifest.network.patch_size == (8, 16, 16)
    assert manifest.network.resolution_mode == 2
    assert manifest.preprocessing.modality == "CT"
    assert manifest.preprocessing.intensity[0].scheme == "ct-percentile"
    assert manifest.preprocessing.intensity[0].mean > 50


@pytest.mark.parametrize(
    ("axes", "augmentation", "advice"),
    [((0, 1, 2), "light", "--mirror-axes 0 "), ((0,), "light", ""), ((2,), "none", "")],
)
def test_mirroring_left_and_right_labels_is_warned_of(config, a_set, axes, augmentation, advice):
    names = {"0": "background", "2": "left kidney", "5": "right kidney"}
    (a_set / "dataset.json").write_text(json.dumps({"labels": names}))
    events = []

    run_finetune(config(steps=1, mirror_axes=axes, augmentation=augmentation), events.append)

    warnings = [
        event.message for event in events if isinstance(event, Notice) and "side" in event.message
    ]
    assert len(warnings) == bool(advice)
    assert all(advice in warning for warning in warnings)


def test_patches_are_not_mirrored_where_labels_differ(config, a_set, tmp_path):
    names = {"0": "background", "2": "left kidney", "5": "right kidney"}
    (a_set / "dataset.json").write_text(json.dumps({"labels": names}))
    run_finetune(config(steps=1))
    # The names tell width apart, the places of the labels height.
    assert read_bundle(tmp_path / "model").manifest.preprocessing.mirror_axes == (0,)


@pytest.mark.parametrize(
    ("augmentation", "known"), [("light", (0, 2)), ("none", ())], ids=["mirrored", "as they are"]
)
def test_the_bundle_says_along_which_axes_it_knows_mirrored_volumes(
    config, tmp_path, augmentation, known
):
    run_finetune(config(steps=1, mirror_axes=(0, 2), augmentation=augmentation))
    assert read_bundle(tmp_path / "model").manifest.preprocessing.mirror_axes == known


def test_a_split_file_decides_who_is_held_out(config, tmp_path):
    (tmp_path / "split.json").write_text('{"train": ["a", "b"], "validation": ["c"]}')
    run_finetune(config(split=tmp_path / "split.json"))
    assert json.loads((tmp_path / "model.run/split.json").read_text()) == encode(
        Split(("a", "b"), ("c",))
    )


def test_several_channels_reach_the_network_in_order(config, a_set, tmp_path):
    rows = ["image_0,image_1,label,split"]
    for name, part in zip("abcd", ("train", "train", "train", "validation"), strict=True):
        image = sitk.ReadImage(str(a_set / f"imagesTr/{name}.nii.gz"))
        sitk.WriteImage(image * -1, str(a_set / f"imagesTr/{name}_inverted.nii.gz"))
        files = (
            f"imagesTr/{name}.nii.gz",
            f"imagesTr/{name}_inverted.nii.gz",
            f"labelsTr/{name}.nii.gz",
        )
        rows.append(",".join((*files, part)))
    (a_set / "set.csv").write_text("\n".join(rows))

    run_finetune(config(data=a_set / "set.csv"))

    manifest = read_bundle(tmp_path / "model").manifest
    assert manifest.preprocessing.channels == ("image_0", "image_1")
    assert manifest.network.in_channels == 2
    assert [label.name for label in manifest.labels] == ["left kidney", "spleen"]


def test_training_works_without_tensorboard(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run_finetune(config())
    assert not (tmp_path / "model.run" / "tensorboard").exists()


def watch_held_out(run):
    """Ask to see the held-out case of a training that runs; return its name."""
    (name,) = json.loads((run.path / "split.json").read_text())["validation"]
    (run.path / "watch").write_text(name)
    return name


def test_a_held_out_case_that_is_watched_is_seen_as_the_network_sees_it(config, a_set, tmp_path):
    run, names, seen = RunFolder(tmp_path / "model.run"), [], []

    def hear(event):
        if isinstance(event, Progress) and event.stage == "prepare":
            names.append(watch_held_out(run))
        if run.watched.exists():
            seen.append(sitk.ReadImage(str(run.watched)))

    run_finetune(config(), hear)

    image = sitk.ReadImage(str(a_set / f"imagesTr/{names[0]}.nii.gz"))
    assert seen[0].GetSize() == image.GetSize()
    assert seen[0].GetMetaData("Segment0_Name") == "left kidney"
    assert not run.watched.exists()


def test_a_case_that_cannot_be_shown_ends_no_training(config, tmp_path, monkeypatch):
    notices = []

    def refuse(*_arguments, **_options):
        raise OutputError("The disk is full.", code="disk-full", remedy="Make room.")

    def hear(event):
        if isinstance(event, Progress) and event.stage == "prepare":
            watch_held_out(RunFolder(tmp_path / "model.run"))
        if isinstance(event, Notice):
            notices.append(event.message)

    monkeypatch.setattr(watching, "write_label_map", refuse)
    run_finetune(config(steps=1), hear)

    assert any("cannot be shown: The disk is full." in message for message in notices)
