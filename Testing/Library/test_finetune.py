"""The fine-tuning job as a whole, on data sets and networks that train in a second."""

from __future__ import annotations

import csv
import hashlib
import json
import sys

import pytest
import SimpleITK as sitk
import torch

from MISFMLib.bundle import read_bundle, read_card, read_weights
from MISFMLib.configs import FinetuneConfig, NetworkConfig, encode
from MISFMLib.data.cases import Split
from MISFMLib.errors import ConfigError, DataError, OutputError
from MISFMLib.events import Metric, Notice, Progress
from MISFMLib.jobs import planning, trained_bundle
from MISFMLib.jobs.finetune import run_finetune
from MISFMLib.networks import build_network, network_from_bundle

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = {
    "max_patch_voxels": 4096,
    "network": encode(
        NetworkConfig(
            level_channels=(4, 4, 8, 8, 8),
            num_heads=(1, 1, 1),
            depths=(1, 1, 1),
            window_sizes=(2, 2, 2),
            dropout=(0.0,) * 5,
        )
    ),
}


@pytest.fixture
def a_preset(tmp_path, monkeypatch):
    """Replace the network presets by a tiny one."""
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "small.json").write_text(json.dumps(TINY))
    monkeypatch.setattr(planning, "_PRESETS", folder)


@pytest.fixture
def a_set(tmp_path, write_case, a_preset):
    for index, name in enumerate(("a", "b", "c", "d")):
        write_case(
            tmp_path / f"set/imagesTr/{name}.nii.gz",
            tmp_path / f"set/labelsTr/{name}.nii.gz",
            shape=(12 + index, 14, 16),
            values=(2, 5),
        )
    names = {"0": "background", "2": "left kidney", "5": "spleen"}
    description = {"labels": names, "modality": {"0": "MR"}}
    (tmp_path / "set/dataset.json").write_text(json.dumps(description))
    return tmp_path / "set"


@pytest.fixture
def config(a_set, tmp_path):
    def make(**options):
        defaults = {
            "data": a_set,
            "output": tmp_path / "model",
            "steps": 2,
            "batch_size": 1,
            "validate_every": 1,
            "device": "cpu",
            "threads": 1,
        }
        return FinetuneConfig(**defaults | options)

    return make


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
    with pytest.raises(ConfigError, match=r"learning_rate was 0\.001 and is 0\.1"):
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
    (tmp_path / "model.run" / ".misfm-01234567-checkpoint.pt").touch()  # as a kill leaves it
    events = []

    run_finetune(config(resume=True), events.append)

    assert "train" not in {event.stage for event in events if isinstance(event, Progress)}
    assert read_bundle(tmp_path / "model").manifest.evaluation
    assert not list((tmp_path / "model.run").glob(".*"))


def test_resume_without_a_run_starts_one(config, tmp_path):
    run_finetune(config(resume=True))
    assert (tmp_path / "model").is_dir()


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


def test_the_batch_must_be_a_multiple_of_the_devices(config):
    with pytest.raises(ConfigError, match="batch_size 3 cannot be shared by 2 devices"):
        run_finetune(config(batch_size=3, devices=2))


def test_files_without_counterpart_and_a_missing_validation_are_told(config, a_set):
    (a_set / "imagesTr/lonely.nii.gz").write_bytes((a_set / "imagesTr/a.nii.gz").read_bytes())
    events = []

    report = run_finetune(config(validation_fraction=0.0), events.append)

    messages = [event.message for event in events if isinstance(event, Notice)]
    assert any("lonely.nii.gz" in message for message in messages)
    assert any("not be evaluated" in message for message in messages)
    assert report["evaluation"] == {}
    assert report["best_step"] == 2


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
    [((0, 1, 2), "light", "--mirror-axes 0 1 "), ((0, 1), "light", ""), ((2,), "none", "")],
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
    assert [label.name for label in manifest.labels] == ["label 2", "label 5"]


def test_training_works_without_tensorboard(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run_finetune(config())
    assert not (tmp_path / "model.run" / "tensorboard").exists()


@pytest.mark.parametrize("network", ["small", "full", "fmunet", "unet3d"])
def test_every_preset_builds_its_network(network):
    start = planning.find_start(FinetuneConfig(data="x", output="y", network=network))

    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in build_network(start.network).parameters())

    assert start.source is None
    largest = {"small": 3.9e6, "full": 45e6}.get(network, 12e6)
    assert 0.6 * largest * (network in ("small", "full")) < weights <= largest
