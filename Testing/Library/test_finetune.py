"""The fine-tuning job as a whole, on data sets and networks that train in a second."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import re
import sys
import typing
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

from MISFMLib import cli
from MISFMLib.commands.jobs import FinetunePreset
from MISFMLib.configs import (
    FinetuneConfig,
    LabelConfig,
    NetworkConfig,
    PreprocessingConfig,
    decode,
    encode,
)
from MISFMLib.data.cases import Split
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.errors import ConfigError, DataError, OutputError
from MISFMLib.events import Metric, Notice, Progress
from MISFMLib.jobs.train import start as training_start
from MISFMLib.jobs.train import trained_bundle, validation, watching
from MISFMLib.jobs.train.finetune import run_finetune
from MISFMLib.jobs.train.run_folder import RunFolder
from MISFMLib.models.bundle import read_bundle, read_card, read_weights, write_bundle
from MISFMLib.models.bundle_manifest import BundleManifest
from MISFMLib.networks import build_network, network_from_bundle, weights_to_numpy
from MISFMLib.resources import read_preset
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


def test_a_stopped_training_resumes_to_the_same_weights(config, tmp_path):
    class Stopped(Exception):
        pass

    def stop_at_first_score(event):
        if isinstance(event, Metric) and "score" in event.values:
            raise Stopped

    options = {"checkpoint_every": 1, "validate_every": 2}
    whole = run_finetune(config(output=tmp_path / "whole", **options))
    with pytest.raises(Stopped):
        run_finetune(config(**options), stop_at_first_score)
    assert (tmp_path / "model.run" / "checkpoint.pt").exists()

    with pytest.raises(OutputError, match="unfinished training"):
        run_finetune(config(**options))
    with pytest.raises(ConfigError, match=r"learning_rate was None and is 0\.1"):
        run_finetune(config(**options, learning_rate=0.1, resume=True))
    resumed = run_finetune(config(**options, resume=True))

    assert resumed["weights_sha256"] == whole["weights_sha256"]


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


@pytest.fixture
def first_biases(monkeypatch):
    """Give a function that returns the biases of all class outputs when a training begins."""

    class SeenError(Exception):
        pass

    def biases(config):
        seen = {}

        def fit(_fabric, task, *_):
            state = task.network.state_dict()
            seen.update({name: value for name, value in state.items() if "heads" in name})
            raise SeenError

        monkeypatch.setattr("MISFMLib.jobs.train.finetune.fit", fit)
        with pytest.raises(SeenError):
            run_finetune(config)
        return [value for name, value in seen.items() if name.endswith("conv.bias")]

    return biases


def test_fresh_class_outputs_begin_at_the_shares_of_the_classes(config, first_biases):
    biases = first_biases(config())
    assert len(biases) == 4
    for bias_K in biases:
        assert float(bias_K.exp().sum()) == pytest.approx(1, abs=1e-4)
        assert bias_K.equal(biases[0])
    again = first_biases(config(overwrite=True))
    assert again[0].equal(biases[0])


def test_only_the_class_outputs_that_a_start_lacks_begin_at_the_shares(
    config, a_source, first_biases
):
    finest, *coarser = first_biases(config(init=str(a_source.path)))
    assert finest.tolist() == read_weights(a_source)["heads.0.conv.bias"].tolist()
    for bias_K in coarser:
        assert float(bias_K.exp().sum()) == pytest.approx(1, abs=1e-4)


def test_a_training_ends_when_its_time_is_over_and_is_evaluated(config):
    events = []
    report = run_finetune(config(steps=50, validate_every=50, minutes=1e-6), events.append)
    assert (report["steps"], report["best_step"], report["ended_by"]) == (1, 1, "minutes")
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
        "Not found after 2 steps",
        "Not found in 2 steps",
    ]
    found = [
        e.values["labels found"] for e in events if isinstance(e, Metric) and "score" in e.values
    ]
    assert found == [0, 0]


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
    assert report["best_step"] == 2


@pytest.fixture
def a_source(tmp_path, a_preset):
    """A model of labels 2 and 5, as MISFM writes it."""
    torch.manual_seed(3)
    settings = decode(NetworkConfig, a_preset["network"])
    network = build_network(replace(settings, num_classes=3, patch_size=(16, 16, 16)))
    manifest = BundleManifest(
        name="source",
        network=network.config,
        preprocessing=PreprocessingConfig(modality="MR", patch_size=(16, 16, 16)),
        labels=(
            LabelConfig(value=2, name="Nerve", color=(1, 2, 3), keep_largest=True),
            LabelConfig(value=5, name="Vessel"),
        ),
    )
    return write_bundle(tmp_path / "source", manifest, weights_to_numpy(network))


@pytest.mark.parametrize(
    ("options", "values", "rate"),
    [
        ({}, (2, 5), 3e-4),
        ({"learning_rate": 0.1}, (2, 5), 0.1),
        ({"init_parts": "encoder"}, (2, 5), 3e-3),
        ({"init": None}, (2, 5), 3e-3),
        ({}, (2, 5, 7), 3e-3),
    ],
)
def test_a_model_that_knows_the_labels_is_trained_at_a_low_rate(
    config, a_source, monkeypatch, tmp_path, write_case, options, values, rate
):
    for index, name in enumerate("abcd" if len(values) == 3 else ""):
        image = tmp_path / f"set/imagesTr/{name}.nii.gz"
        label = tmp_path / f"set/labelsTr/{name}.nii.gz"
        write_case(image, label, shape=(12 + index, 14, 16), values=values)
        description = json.loads((tmp_path / "set/dataset.json").read_text())
        description["labels"]["7"] = "liver"
        (tmp_path / "set/dataset.json").write_text(json.dumps(description))

    class SeenError(Exception):
        pass

    def fit(_fabric, _task, settings, *_):
        assert settings.learning_rate == rate
        raise SeenError

    monkeypatch.setattr("MISFMLib.jobs.train.finetune.fit", fit)
    with pytest.raises(SeenError):
        run_finetune(config(**{"init": str(a_source.path), **options}))


@pytest.mark.parametrize(
    ("trainable", "same", "changed"),
    [
        ("head", ("project", "encoder", "bottom", "decoder"), ("heads.0",)),
        ("decoder", ("project", "encoder", "bottom"), ("decoder", "heads.0")),
    ],
)
def test_frozen_parts_reach_the_bundle_as_they_were(config, a_source, trainable, same, changed):
    events = []
    options = {"init": str(a_source.path), "trainable": trainable, "learning_rate": 0.1}
    report = run_finetune(config(**options), events.append)

    before, after = read_weights(a_source), read_weights(read_bundle(Path(report["bundle"])))
    differing = {name for name in before if (before[name] != after[name]).any()}
    assert before.keys() == after.keys()
    assert not [name for name in differing if name.startswith(same)]
    for part in changed:
        assert any(name.startswith(part) for name in differing)
    (start,) = [message for message in notices(events) if message.startswith("Start")]
    assert re.search(r"(\d+) of \d+ weights are trained", start)


def test_the_encoder_alone_can_be_taken_over(config, a_source):
    events = []
    run_finetune(config(init=str(a_source.path), init_parts="encoder", steps=1), events.append)
    (start,) = [message for message in notices(events) if message.startswith("Start")]
    assert "the source brings no decoder" in start


def test_lora_ends_in_a_plain_network(config, a_source):
    options = {"init": str(a_source.path), "trainable": "lora", "learning_rate": 0.1, "steps": 3}
    report = run_finetune(config(**options))

    before, after = read_weights(a_source), read_weights(read_bundle(Path(report["bundle"])))
    assert before.keys() == after.keys()
    differing = {name for name in before if (before[name] != after[name]).any()}
    assert "encoder.blocks.2.transformer.0.attention.qkv.weight" in differing
    assert "encoder.blocks.2.transformer.0.attention.qkv.bias" not in differing
    assert "encoder.blocks.0.norm1.weight" in differing
    assert "encoder.blocks.0.conv1.weight" not in differing


def test_the_encoder_learns_at_its_own_rates(config, a_source):
    options = {"init": str(a_source.path), "steps": 1, "optimizer": "adam", "learning_rate": 0.1}
    report = run_finetune(config(**options, layer_decay=0.5, gradient_clip=1e9))

    before, after = read_weights(a_source), read_weights(read_bundle(Path(report["bundle"])))
    moved = {
        name: float(abs(before[name].astype(float) - after[name]).max())
        for name in ("project.weight", "encoder.blocks.4.conv.conv1.weight", "heads.0.conv.weight")
    }
    # The first step of Adam moves every number by its rate.
    assert list(moved.values()) == pytest.approx([0.1 / 32, 0.05, 0.1], rel=0.05)


def test_a_start_without_a_decoder_gets_one_even_if_only_the_head_is_trained(config, a_source):
    weights = read_weights(a_source)
    encoder = {name: weights[name] for name in weights if name.startswith(("encoder", "project"))}
    manifest = replace(a_source.manifest, kind="pretrained", labels=())
    start = write_bundle(a_source.path.with_name("start"), manifest, encoder)
    settings = config(init=str(start.path), trainable="head")
    plan = TrainingPlan(
        network=manifest.network, preprocessing=manifest.preprocessing, labels=(), batch_size=1
    )

    network, _ = training_start.start_network(settings, plan, training_start.find_start(settings))

    trained = {name.split(".")[0] for name, w in network.named_parameters() if w.requires_grad}
    assert trained == {"decoder", "heads"}


def test_labels_take_the_names_of_the_start_only_when_they_are_said_to_be_the_same(
    config, a_set, a_source
):
    (a_set / "dataset.json").unlink()
    start = {"init": str(a_source.path), "modality": "MR", "steps": 1}
    report = run_finetune(config(**start, same_labels=True))
    assert read_bundle(Path(report["bundle"])).manifest.labels == a_source.manifest.labels
    report = run_finetune(config(**start, overwrite=True))
    labels = read_bundle(Path(report["bundle"])).manifest.labels
    assert [label.name for label in labels] == ["label 2", "label 5"]  # equal values prove nothing
    assert {label.type.meaning for label in labels} == {"Tissue"}


def test_a_label_of_one_name_keeps_the_codes_and_colour_of_the_start(config, a_source):
    (first, second) = a_source.manifest.labels
    labels = (replace(first, name="Spleen", color=(1, 2, 3)), replace(second, name="x"))
    manifest = replace(a_source.manifest, labels=labels)
    write_bundle(a_source.path, manifest, read_weights(a_source), overwrite=True)
    report = run_finetune(config(init=str(a_source.path), modality="MR", steps=1))
    kidney, spleen = read_bundle(Path(report["bundle"])).manifest.labels
    assert (kidney.name, spleen.name) == ("left kidney", "spleen")
    assert (spleen.value, spleen.color) == (5, (1, 2, 3))


def test_labels_with_other_values_are_not_the_same(config, a_source):
    labels = tuple(replace(label, value=label.value + 1) for label in a_source.manifest.labels)
    manifest = replace(a_source.manifest, labels=labels)
    write_bundle(a_source.path, manifest, read_weights(a_source), overwrite=True)
    with pytest.raises(ConfigError) as caught:
        run_finetune(config(init=str(a_source.path), modality="MR", same_labels=True))
    assert caught.value.code == "labels-differ"


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


def test_training_starts_from_a_bundle_and_takes_over_its_model_space(config, tmp_path):
    first = run_finetune(config(output=tmp_path / "first", spacing_dhw=(1.5, 1.0, 1.0)))
    events = []

    run_finetune(config(init=str(tmp_path / "first"), learning_rate=1e-9), events.append)

    second = read_bundle(tmp_path / "model")
    assert second.manifest.preprocessing == read_bundle(tmp_path / "first").manifest.preprocessing
    assert second.manifest.provenance["SHA-256 of the start"] == first["weights_sha256"]
    assert second.manifest.provenance["start"] == "first"
    assert any("tensors loaded" in event.message for event in events if isinstance(event, Notice))
    before, after = (read_weights(read_bundle(tmp_path / name)) for name in ("first", "model"))
    moved = [
        abs(before[name].astype(float) - after[name]).max() for name in before if "weight" in name
    ]
    assert max(moved) < 1e-2


def test_the_report_compares_with_the_model_it_started_from(config, tmp_path):
    first = run_finetune(config(output=tmp_path / "first"))
    same = {"init": str(tmp_path / "first"), "learning_rate": 1e-12, "precision": "fp32"}

    comparison = run_finetune(config(validation_fraction=0.5, **same))["comparison"]

    assert "comparison" not in first
    assert len(comparison["cases"]) == 2
    assert comparison["before"]["held-out cases"] == 2
    assert comparison["gain"] == pytest.approx(0, abs=0.02)
    assert comparison["is_better"] is False
    assert (tmp_path / "model.run/before.csv").exists()


def test_a_word_for_an_earlier_process_does_not_stop_the_next(config, tmp_path):
    RunFolder.open(config()).control.write_text("pause")
    RunFolder.open(config(resume=True))
    assert not (tmp_path / "model.run/control").exists()


def test_training_starts_from_a_published_checkpoint(config, published_fixtures, tmp_path):
    checkpoint = published_fixtures / "pct_mode1_multi_c5.pt"

    run_finetune(config(init=str(checkpoint), steps=1))

    manifest = read_bundle(tmp_path / "model").manifest
    assert manifest.network.resolution_mode == 1
    assert manifest.network.num_classes == 3
    assert manifest.provenance["start"] == checkpoint.name
    assert (
        manifest.provenance["SHA-256 of the start"]
        == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    )


def test_a_source_of_another_modality_gives_weights_but_no_intensities(config, tmp_path):
    run_finetune(config(output=tmp_path / "first", modality="CT", spacing_dhw=(2.0, 1.0, 1.0)))

    run_finetune(config(init=str(tmp_path / "first")))

    preprocessing = read_bundle(tmp_path / "model").manifest.preprocessing
    assert preprocessing.modality == "MR"
    assert preprocessing.intensity[0].scheme == "mr-zscore"
    assert preprocessing.spacing_dhw == (1, 1, 1)


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


@pytest.fixture
def a_job(monkeypatch):
    """Catch the config that the command line gives to the job."""
    configs = []

    def run_job(_name, config, _events):
        configs.append(config)
        return {}

    monkeypatch.setattr("MISFMLib.commands.jobs.run_job", run_job)
    return configs


@pytest.mark.parametrize("name", typing.get_args(FinetunePreset))
def test_a_preset_takes_the_place_of_the_defaults_but_not_of_own_options(name, a_job):
    words = ["finetune", "data", "-o", "model", "--init", "start"]
    assert cli.main([*words, "--preset", name]) == 0
    assert cli.main([*words, f"--preset={name}", "--steps", "7", "--augmentation", "none"]) == 0
    assert cli.main(words) == 0

    preset, own, plain = a_job
    assert (preset.data, preset.output, preset.init) == (Path("data"), Path("model"), "start")
    assert preset.augmentation == "strong"
    assert preset.steps is not None
    assert plain.steps is None
    assert own == replace(preset, steps=7, augmentation="none")
    assert plain == FinetuneConfig(data=Path("data"), output=Path("model"), init="start")


def test_one_shot_learns_from_all_cases_and_few_shot_ends_early(a_job):
    for name in ("one-shot", "few-shot"):
        cli.main(["finetune", "data", "-o", "model", "--preset", name])
    one, few = a_job
    assert (one.validation_fraction, one.patience) == (0, None)
    assert few.validation_fraction > 0
    assert few.patience * few.validate_every < few.steps


def test_a_preset_of_another_command_is_refused(a_job, capsys):
    with pytest.raises(SystemExit):
        cli.main(["finetune", "data", "-o", "model", "--preset", "laptop"])
    assert "few-shot" in capsys.readouterr().err
    assert not a_job


def test_one_case_is_enough_for_one_shot(config, a_set, a_job):
    for name in "bcd":
        (a_set / f"labelsTr/{name}.nii.gz").unlink()
        (a_set / f"imagesTr/{name}.nii.gz").unlink()
    cli.main(["finetune", str(a_set), "-o", "model", "--preset", "one-shot"])
    preset = {name: getattr(a_job[0], name) for name in read_preset("finetune-one-shot")}

    report = run_finetune(config(**preset | {"steps": 1}))

    assert (report["steps"], report["evaluation"]) == (1, {})


@pytest.mark.parametrize("network", ["small", "full", "fmunet", "unet3d"])
def test_every_preset_builds_its_network(network):
    start = training_start.find_start(FinetuneConfig(data="x", output="y", network=network))

    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in build_network(start.network).parameters())

    assert start.source is None
    largest = {"small": 3.9e6, "full": 45e6}.get(network, 12e6)
    assert 0.6 * largest * (network in ("small", "full")) < weights <= largest


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
