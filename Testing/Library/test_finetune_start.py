"""Fine-tuning from a model: what is taken over, what is trained, and what comes out."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISFMLib.configs import (
    FinetuneConfig,
    IntensityConfig,
    LabelConfig,
    NetworkConfig,
    PreprocessingConfig,
    decode,
)
from MISFMLib.data.cases import find_cases
from MISFMLib.data.datasets import PatchSource
from MISFMLib.data.known_cases import known_cases
from MISFMLib.data.label_check import examine_cases
from MISFMLib.data.label_sides import LabelSide
from MISFMLib.data.plan import TrainingPlan
from MISFMLib.errors import ConfigError
from MISFMLib.events import Notice
from MISFMLib.jobs.combine import combine_models
from MISFMLib.jobs.train import planning
from MISFMLib.jobs.train import start as training_start
from MISFMLib.jobs.train.case_notices import tell_of_other_channels
from MISFMLib.jobs.train.finetune import run_finetune
from MISFMLib.jobs.train.validation import validate
from MISFMLib.models.bundle import read_bundle, read_weights, write_bundle
from MISFMLib.models.bundle_manifest import UNKNOWN_IMAGES, BundleManifest
from MISFMLib.models.store import find_model
from MISFMLib.networks import build_network, weights_to_numpy
from MISFMLib.resources import read_preset

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def beginning(monkeypatch):
    """Give a function that returns task and settings of a training when its steps would begin."""

    class SeenError(Exception):
        pass

    def begin(config, events=lambda _event: None):
        seen = []

        def fit(_fabric, task, settings, *_):
            seen.extend([task, settings])
            raise SeenError

        monkeypatch.setattr("MISFMLib.jobs.train.finetune.fit", fit)
        with pytest.raises(SeenError):
            run_finetune(config, events)
        return seen

    return begin


@pytest.fixture
def first_biases(beginning):
    """Give a function that returns the biases of all class outputs when a training begins."""

    def biases(config, events=lambda _event: None):
        task, _settings = beginning(config, events)
        state = task.network.state_dict()
        return [v for name, v in state.items() if "heads" in name and name.endswith("conv.bias")]

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


@pytest.mark.parametrize("labels", [("2=spleen", "5=left kidney"), ("2=nerve", "5=vessel")])
def test_class_outputs_of_other_labels_are_not_taken_over(config, a_source, first_biases, labels):
    """As many are not the same: swapped or other ones were learnt to Dice 0 at the low rate."""
    events = []
    for bias_K in first_biases(config(init=str(a_source.path), labels=labels), events.append):
        assert float(bias_K.exp().sum()) == pytest.approx(1, abs=1e-4)
    (told,) = [m for m in notices(events) if m.startswith("The labels of")]
    assert "are Left Kidney, Spleen: its class outputs are not taken over" in told


def test_class_outputs_of_a_published_pretraining_are_not_taken_over(
    config, published_fixtures, first_biases
):
    start = published_fixtures / "pct_mode0_single_c3.pt"
    for bias_K in first_biases(config(init=str(start), resolution_mode=0)):
        assert float(bias_K.exp().sum()) == pytest.approx(1, abs=1e-4)


def notices(events):
    return [event.message for event in events if isinstance(event, Notice)]


@pytest.fixture
def a_source(tmp_path, a_preset):
    """A model of the labels of the set, as MISFM writes it."""
    torch.manual_seed(3)
    settings = decode(NetworkConfig, a_preset["network"])
    network = build_network(replace(settings, num_classes=3, patch_size=(16, 16, 16)))
    manifest = BundleManifest(
        name="source",
        network=network.config,
        preprocessing=PreprocessingConfig(modality="MR", patch_size=(16, 16, 16)),
        labels=(
            LabelConfig(value=2, name="Left Kidney", color=(1, 2, 3), keep_largest=True),
            LabelConfig(value=5, name="Spleen"),
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
        ({"labels": ("2=Spleen", "5=left_kidney")}, (2, 5), 3e-3),
    ],
)
def test_a_model_that_knows_the_labels_is_trained_at_a_low_rate(
    config, a_source, beginning, tmp_path, write_case, options, values, rate
):
    for index, name in enumerate("abcd" if len(values) == 3 else ""):
        image = tmp_path / f"set/imagesTr/{name}.nii.gz"
        label = tmp_path / f"set/labelsTr/{name}.nii.gz"
        write_case(image, label, shape=(12 + index, 14, 16), values=values)
        description = json.loads((tmp_path / "set/dataset.json").read_text())
        description["labels"]["7"] = "liver"
        (tmp_path / "set/dataset.json").write_text(json.dumps(description))

    _task, settings = beginning(config(**{"init": str(a_source.path), **options}))
    assert settings.learning_rate == rate


@pytest.mark.parametrize(
    ("steps", "given", "every"),
    [(3, None, 1), (300, None, 75), (4000, None, 250), (300, 100, 100), (None, None, 187)],
)
def test_short_trainings_look_often_enough_which_labels_are_not_found(
    config, beginning, steps, given, every
):
    _task, settings = beginning(config(steps=steps, validate_every=given))
    assert settings.validate_every == every


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


@pytest.mark.parametrize(
    ("kind", "scheme"), [("segmentation", "mr-percentile"), ("pretrained", "mr-zscore")]
)
def test_a_model_brings_its_intensities_what_is_only_pretrained_does_not(
    config, a_set, a_source, kind, scheme
):
    ranged = IntensityConfig(scheme="mr-percentile", clip=(0.5, 99.5))
    space = replace(a_source.manifest.preprocessing, intensity=(ranged,))
    labels = a_source.manifest.labels if kind == "segmentation" else ()
    manifest = replace(a_source.manifest, kind=kind, labels=labels, preprocessing=space)
    start = write_bundle(a_source.path.with_name(kind), manifest, read_weights(a_source))
    job, found = config(init=str(start.path)), find_cases(a_set)
    facts = list(examine_cases(found, [case.name for case in found.cases]).values())

    plan = planning.make_plan(job, found, facts, training_start.find_start(job))

    assert [each.scheme for each in plan.preprocessing.intensity] == [scheme]


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


@pytest.mark.parametrize(
    ("names", "is_told"), [(("pet", "CT"), True), (("CT", "PET"), False), (("CT", "T1"), False)]
)
def test_channels_in_another_order_than_those_of_the_start_are_told(
    config, a_source, a_set, write_case, tmp_path, names, is_told
):
    for case in find_cases(a_set).cases:
        (image,) = case.images
        for number in (0, 1):
            to = tmp_path / "two" / "images" / f"{case.name}_000{number}.nii.gz"
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, to)
    shutil.copytree(find_cases(a_set).cases[0].label.parent, tmp_path / "two" / "labels")
    described = {"channel_names": {"0": names[0], "1": names[1]}}
    (tmp_path / "two" / "dataset.json").write_text(json.dumps(described), "utf-8")
    intensity = (
        IntensityConfig(scheme="ct-clip", clip=(-100.0, 300.0)),
        IntensityConfig(scheme="mr-zscore"),
    )
    space = PreprocessingConfig(channels=("CT", "PET"), intensity=intensity, patch_size=(16,) * 3)
    network = build_network(replace(a_source.manifest.network, in_channels=2))
    manifest = replace(a_source.manifest, network=network.config, preprocessing=space)
    source = write_bundle(tmp_path / "petct", manifest, weights_to_numpy(network))
    job = config(data=tmp_path / "two", init=str(source.path))
    start = training_start.find_start(job)
    found = find_cases(job.data)
    facts = list(examine_cases(found, [case.name for case in found.cases]).values())
    plan = planning.make_plan(job, found, facts, start)
    events = []
    tell_of_other_channels(plan, start, events.append)
    assert bool(events) == is_told
    assert (plan.preprocessing.intensity == intensity) != is_told


@pytest.mark.parametrize(("network", "is_told"), [("small", False), ("unet3d-small", True)])
def test_a_network_beside_a_start_of_another_is_told(
    config, a_source, monkeypatch, network, is_told
):
    monkeypatch.setattr(training_start, "read_preset", read_preset)
    events = []
    run_finetune(config(init=str(a_source.path), network=network, check_only=True), events.append)
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert any("--network unet3d-small has no effect" in each for each in notices) == is_told


@pytest.mark.parametrize("decision", ["highest", "regions"])
def test_training_starts_from_a_model_that_takes_volumes_as_they_are_stored(
    config, a_source, decision, tmp_path
):
    """As imports of nnU-Net do, whose outputs may be regions."""
    classes = 2 if decision == "regions" else 3
    network = build_network(replace(a_source.manifest.network, num_classes=classes))
    space = replace(a_source.manifest.preprocessing, orientation="", decision=decision)
    manifest = replace(a_source.manifest, network=network.config, preprocessing=space)
    source = write_bundle(tmp_path / "stored", manifest, weights_to_numpy(network))
    report = run_finetune(config(init=str(source.path)))
    trained = read_bundle(Path(report["bundle"])).manifest
    assert trained.preprocessing.orientation == ""
    assert trained.preprocessing.decision == "highest"
    assert trained.network.num_classes == 3


def test_a_start_whose_axes_are_turned_is_not_mirrored_from_left_to_right(
    config, a_source, tmp_path
):
    """Imports of MONAI have right and left along depth."""
    source = tmp_path / "turned"
    space = replace(a_source.manifest.preprocessing, orientation="RAS", transpose=(2, 1, 0))
    weights = read_weights(a_source)
    write_bundle(source, replace(a_source.manifest, preprocessing=space), weights)
    report = run_finetune(
        config(init=str(source), labels=("2=kidney left", "5=kidney right"), augmentation="light")
    )
    assert read_bundle(Path(report["bundle"])).manifest.preprocessing.mirror_axes == (2,)


def test_a_start_is_trained_and_judged_with_windows_and_padding_of_its_own(
    config, a_source, tmp_path, monkeypatch
):
    """nnU-Net's networks have zeros around small volumes."""
    space = replace(a_source.manifest.preprocessing, padding="zero", windows="even")
    source = tmp_path / "zeros"
    write_bundle(source, replace(a_source.manifest, preprocessing=space), read_weights(a_source))
    paddings, windows = [], []

    def patches(**given):
        paddings.append(given["padding"])
        return PatchSource(**given)

    def judge(*given):
        windows.append((given[3].padding, given[3].placing))
        return validate(*given)

    monkeypatch.setattr("MISFMLib.jobs.train.finetune.PatchSource", patches)
    monkeypatch.setattr("MISFMLib.jobs.train.finetune.validate", judge)
    run_finetune(config(init=str(source)))
    assert set(paddings) == {"zero"}
    assert set(windows) == {("zero", "even")}


def test_a_start_that_segments_sees_as_much_as_it_has_learnt_with(a_source):
    """What lay around 15 % of a volume was out of its sight; see `PATCH_COVERAGE`."""

    def patch(kind, volume):
        space = replace(a_source.manifest.preprocessing, patch_size=(64, 64, 64))
        manifest = replace(a_source.manifest, kind=kind, preprocessing=space)
        network = replace(manifest.network, architecture="pctnet")
        start = training_start.Start(network, 96**3, bundle=replace(a_source, manifest=manifest))
        facts = [SimpleNamespace(shape_dhw=(volume,) * 3, spacing_dhw=(1, 1, 1))]
        return planning._patch(facts, (1, 1, 1), network, start)

    assert patch("segmentation", 50) == (56, 64, 64)
    assert patch("segmentation", 40) == (40, 48, 48)
    assert patch("segmentation", 100) == (64, 64, 64)
    # What was pretrained is trained as fresh weights are.
    assert patch("pretrained", 50) == (48, 48, 48)
    assert patch("pretrained", 100) == (88, 96, 96)


def test_a_pretrained_start_has_the_budget_of_fresh_weights(tmp_path):
    """The patch of its pretext task was smaller than the left atrium, and cost 6 points."""

    def budget(init):
        config = FinetuneConfig(data=tmp_path, output=tmp_path / "model", init=str(init))
        start = training_start.find_start(config)
        return start.least_patch_voxels, start.max_patch_voxels

    pretrained = find_model("pretrained-general")
    network = replace(pretrained.manifest.network, level_channels=(9, 16, 32, 64, 128))
    other = replace(pretrained.manifest, network=network)
    write_bundle(tmp_path / "other", other, read_weights(pretrained))

    fresh = training_start.fresh_start("small")
    assert budget("pretrained-general") == (fresh.least_patch_voxels, fresh.max_patch_voxels)
    assert budget("hippocampus-mr") == (None, 32 * 48 * 32)
    assert budget(tmp_path / "other") == (None, math.prod(other.preprocessing.patch_size))


def test_the_patch_of_the_small_network_is_no_larger_than_its_labels_ask_for():
    """Head and neck took two and a half times as long as with the patch that its labels need."""
    start = training_start.fresh_start("small")

    def patch(edge_mm):
        box = LabelSide((0, 0, 0), (edge_mm,) * 3, 1, np.zeros((10,) * 3, bool))
        facts = [SimpleNamespace(shape_dhw=(160,) * 3, spacing_dhw=(1, 1, 1), sides={1: box})]
        return planning._patch(facts, (1, 1, 1), start.network, start)

    assert (patch(10), patch(45), patch(80)) == ((56, 48, 48), (56, 48, 64), (72, 64, 80))


def test_a_network_of_monai_keeps_the_patch_it_was_made_for(a_source):
    network = replace(a_source.manifest.network, architecture="monai", monai="{}")
    kept = planning._patch(
        [], (1, 1, 1), network, training_start.Start(network, 1, bundle=a_source)
    )
    assert kept == a_source.manifest.preprocessing.patch_size


def test_a_network_of_monai_is_trained_on_with_its_own_labels_only(a_source):
    network = replace(a_source.manifest.network, architecture="monai", monai="{}")
    start = training_start.Start(network, 1, bundle=a_source)
    labels = a_source.manifest.labels
    training_start.check_whole(start, labels, 1)
    for others, channels in ((labels[:1], 1), (labels[::-1], 1), (labels, 2)):
        with pytest.raises(ConfigError) as caught:
            training_start.check_whole(start, others, channels)
        assert caught.value.code == "start-labels"


def test_an_ensemble_is_no_start(config, a_source, tmp_path):
    weights = {name: 2 * array for name, array in read_weights(a_source).items()}
    other = write_bundle(tmp_path / "other", a_source.manifest, weights)
    output = tmp_path / "ensemble"
    combine_models([str(a_source.path), str(other.path)], output)
    with pytest.raises(ConfigError, match="an ensemble of 2 networks") as caught:
        run_finetune(config(init=str(output)))
    assert caught.value.code == "start-ensemble"


def test_the_report_compares_with_the_model_it_started_from(config, tmp_path):
    first = run_finetune(config(output=tmp_path / "first"))
    same = {"init": str(tmp_path / "first"), "learning_rate": 1e-12, "precision": "fp32"}

    events = []
    comparison = run_finetune(config(validation_fraction=0.5, **same), events.append)["comparison"]

    assert "comparison" not in first
    assert len(comparison["cases"]) == 2
    assert comparison["before"]["held-out cases"] == 2
    assert comparison["gain"] == pytest.approx(0, abs=0.02)
    assert comparison["is_better"] is False
    assert (tmp_path / "model.run/before.csv").exists()
    last = notices(events)[-1].splitlines()[-1]
    assert re.fullmatch(r"Against .*first on the 2 held-out cases: [+-]0.0\d\d of Dice, .*", last)


def test_what_a_start_has_learnt_from_is_not_held_out(config, tmp_path):
    def check(**options):
        events = []
        report = run_finetune(config(check_only=True, **options), events.append)
        rate = re.search(r"learning rate (\S+)", "\n".join(notices(events)))[1]
        told = [m for m in notices(events) if m.startswith("The start was trained on cases")]
        return set(report["validation"]), rate, told

    run_finetune(config(output=tmp_path / "first", validation_fraction=0.5, steps=1))
    first = json.loads((tmp_path / "first.run/split.json").read_text())
    shutil.rmtree(tmp_path / "first.run")
    (tmp_path / "first").rename(tmp_path / "kept")  # as in Slicer, when the model is kept
    from_first = {"init": str(tmp_path / "kept")}
    for seed in range(1, 5):
        held_out, rate, told = check(**from_first, seed=seed)
        assert (held_out < set(first["validation"]), rate, told) == (True, "0.003", [])

    (tmp_path / "own.json").write_text(
        json.dumps({"train": first["validation"], "validation": first["train"]})
    )
    _, rate, (told,) = check(**from_first, split=tmp_path / "own.json")
    assert rate == "0.0003"  # it learns from none of the cases that its start knows
    assert f"held out now: {', '.join(sorted(first['train']))}. Their scores will be" in told


def test_cases_are_known_by_their_images_and_not_by_their_names(config, tmp_path):
    run_finetune(config(output=tmp_path / "first", validation_fraction=0.5, steps=1))
    manifest = read_bundle(tmp_path / "first").manifest
    split = json.loads((tmp_path / "first.run/split.json").read_text())
    facts = facts_of(tmp_path / "set/dataset.json")
    known = known_cases({f"other {name}": fact for name, fact in facts.items()}, manifest)
    assert known.train == {f"other {name}" for name in split["train"]}
    assert known.validation == {f"other {name}" for name in split["validation"]}
    assert known.is_whole

    (image,) = (tmp_path / "set/imagesTr").glob(f"{split['train'][0]}*")
    sitk.WriteImage(sitk.ReadImage(str(image)) + 1, str(image))
    known = known_cases(facts_of(tmp_path / "set/dataset.json"), manifest)
    assert known.train == set(split["train"][1:])
    assert not known.is_whole


def facts_of(data):
    found = find_cases(data)
    return examine_cases(found, [case.name for case in found.cases])


@pytest.mark.parametrize("parts", ["all", "encoder"])
def test_a_model_that_was_trained_on_has_learnt_from_all_cases_of_its_start_too(
    config, a_source, tmp_path, parts
):
    """Those of this start are not known, and only its encoder has not learnt the labels there."""
    run_finetune(config(init=str(a_source.path), modality="MR", init_parts=parts, steps=1))
    first = read_bundle(tmp_path / "model").manifest
    assert (UNKNOWN_IMAGES in first.training_images) == (parts == "all")
    facts = facts_of(tmp_path / "set/dataset.json")
    assert known_cases(facts, first).is_whole == (parts == "encoder")

    (tmp_path / "model").rename(tmp_path / "first")
    again = config(init=str(tmp_path / "first"), validation_fraction=0.5, steps=1, overwrite=True)
    run_finetune(again)
    second = read_bundle(tmp_path / "model").manifest
    assert set(first.training_images) <= set(second.training_images)
    assert not set(second.held_out_images) & set(second.training_images)


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
