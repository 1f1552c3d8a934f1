"""The pretraining job as a whole, on volumes and networks that train in a second."""

from __future__ import annotations

import itertools
import json
import pickle
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import MISFMLib.jobs.pretrain.pretrain as pretrain_job
from MISFMLib import cli
from MISFMLib.commands.jobs import FinetunePreset, PretrainPreset
from MISFMLib.configs import (
    FinetuneConfig,
    IntensityConfig,
    NetworkConfig,
    PretrainConfig,
    decode,
    encode,
)
from MISFMLib.data.volume_fusion import BlockGrid, RandomBoxes
from MISFMLib.errors import ConfigError, DataError, DependencyError, OutputError
from MISFMLib.events import Metric, Notice
from MISFMLib.jobs.pretrain import plan as pretrain_plan
from MISFMLib.jobs.pretrain import validation as pretrain_validation
from MISFMLib.jobs.pretrain.methods import build_method, fusion_score
from MISFMLib.jobs.pretrain.pretrain import run_pretrain
from MISFMLib.jobs.train import start as training_start
from MISFMLib.jobs.train.run_folder import RunFolder
from MISFMLib.models.bundle import read_bundle, read_card, read_weights
from MISFMLib.networks import build_network, initialise
from MISFMLib.resources import read_preset

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS = (
    "volume-fusion",
    "fusion-masking",
    "model-genesis",
    "patch-swapping",
    "masked-modelling",
    "rotation",
    "contrastive",
)
ENCODER_ONLY = ("rotation", "contrastive")


def a_tiny_preset(name):
    """Stand in for the network presets; any of them is tiny."""
    network = NetworkConfig(
        architecture=name if name in ("fmunet", "unet3d") else "pctnet",
        level_channels=(4, 4, 8, 8, 8),
        num_heads=(1, 1, 1),
        depths=(1, 1, 1),
        window_sizes=(2, 2, 2),
        dropout=(0.0, 0.0, 0.2, 0.2, 0.2),
    )
    return {"max_patch_voxels": 4096, "network": encode(network)}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(training_start, "read_preset", a_tiny_preset)
    monkeypatch.setattr(pretrain_validation, "_JUDGED_SAMPLES", 2)
    monkeypatch.setattr(pretrain_validation, "_SHOWN_SAMPLES", 2)


@pytest.fixture
def volumes(tmp_path, rng):
    """Four small scans."""
    (tmp_path / "scans").mkdir()
    for name in "abcd":
        array = rng.integers(0, 1000, (18, 20, 22)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"scans/{name}.nii.gz"))
    return tmp_path / "scans"


@pytest.fixture
def config(volumes, tmp_path):
    def make(**options):
        defaults = {
            "data": (volumes,),
            "output": tmp_path / "model",
            "patch_size": (16, 16, 16),
            "resolution_mode": 0,
            "steps": 2,
            "batch_size": 2,
            "validate_every": 2,
            "device": "cpu",
            "threads": 1,
        }
        return PretrainConfig(**defaults | options)

    return make


def planned(config):
    """Plan a pretraining without training."""
    return pretrain_plan.plan_pretraining(config, RunFolder.open(config), lambda _event: None)


# --------------------------------------------------------------------------------------- methods


@pytest.fixture
def shown(monkeypatch):
    """Keep the captions of the volumes in a preview."""
    captions, write = [], pretrain_validation.write_pretext_preview

    def keep(rows, path):
        captions.extend(row[0].caption for row in rows)
        write(rows, path)

    monkeypatch.setattr(pretrain_validation, "write_pretext_preview", keep)
    return captions


def assert_a_picture_of_held_out_volumes(folder, captions):
    from matplotlib.image import imread

    picture = imread(folder / "preview.png")
    assert picture.shape[0] > 300
    assert picture.std() > 0.1
    split = json.loads((folder / "model.run/split.json").read_text())
    files = {place.split("-")[1] for place in split["validation"]}
    assert set(captions) == files, "a volume is called what its file is"


@pytest.mark.parametrize(
    ("method", "network"),
    [
        *((method, "small") for method in METHODS),
        *(
            (method, network)
            for method in ("volume-fusion", *ENCODER_ONLY)
            for network in ("fmunet", "unet3d")
        ),
    ],
)
def test_every_method_ends_in_a_bundle_from_which_all_but_the_head_is_taken(
    method, network, config, shown, tmp_path
):
    events = []
    options = {"method": method, "network": network, "preview": tmp_path / "preview.png"}
    report = run_pretrain(config(**options), events.append)

    assert_a_picture_of_held_out_volumes(tmp_path, shown)
    bundle = read_bundle(Path(report["bundle"]))
    assert bundle.manifest.kind == "pretrained"
    outputs = {"volume-fusion": 5, "fusion-masking": 6}
    assert bundle.manifest.network.num_classes == outputs.get(method, 1)
    assert np.isfinite(report["score"])
    scores = [event.values["score"] for event in events if "score" in getattr(event, "values", ())]
    assert scores == [report["score"]]
    score = {"mean Dice of the fusion levels": report["score"]}
    loss = {"loss of the pretext task": -report["score"]}
    assert bundle.manifest.evaluation == {
        **(score if method in outputs else loss),
        "held-out volumes": 1,
    }
    assert ("levels above background" in bundle.manifest.provenance) == (method in outputs)
    for classes in (3, 5):
        target = decode(NetworkConfig, encode(bundle.manifest.network) | {"num_classes": classes})
        fresh = build_network(target)
        new = initialise(fresh, bundle).newly_initialised
        if method in ENCODER_ONLY:
            assert {name.split(".")[0] for name in new} == {"decoder", "heads"}
            assert set(new.values()) == {
                "the source brings no decoder",
                "the source was trained for another task",
            }
        else:
            head = {name for name in fresh.state_dict() if re.match(r"heads\.\d\.conv", name)}
            assert set(new) == head
            assert len(head) == (8 if method in outputs else 2)


@pytest.mark.parametrize("method", ["volume-fusion", "contrastive"])
def test_weights_that_are_taken_over_are_those_of_the_bundle(method, config):
    bundle = read_bundle(Path(run_pretrain(config(method=method))["bundle"]))
    network = build_network(bundle.manifest.network)
    report = initialise(network, bundle)
    weights, state = read_weights(bundle), network.state_dict()
    assert set(report.loaded) <= set(weights)
    assert len(report.loaded) > 20
    for name in report.loaded:
        np.testing.assert_array_equal(state[name].numpy(), weights[name].astype(np.float32))


def test_a_finetuning_starts_from_the_bundle(config, tmp_path):
    run_pretrain(config())
    start = training_start.find_start(
        FinetuneConfig(data=tmp_path, output=tmp_path / "x", init=str(tmp_path / "model"))
    )
    assert start.network.level_channels == (4, 4, 8, 8, 8)
    assert start.source == read_bundle(tmp_path / "model")


def test_the_bundle_says_how_it_was_made(config, tmp_path):
    options = {"name": "My start", "license": "CC0-1.0", "authors": "A", "training_data": "Noise"}
    report = run_pretrain(config(num_levels=3, sampler="boxes", **options))
    bundle = read_bundle(tmp_path / "model")
    card = read_card(bundle)
    for text in (
        "My start",
        "CC0-1.0",
        "Noise",
        "pretrained without labels on 3 volumes",
        "mean Dice of the fusion levels",
        "held-out volumes: 1",
        "misfm pretrain scans -o model --name 'My start'",
        "--sampler boxes --num-levels 3",
        "misfm finetune FOLDER -o NEW_MODEL --init model",
        "levels above background: 3",
    ):
        assert text in card, text
    assert str(tmp_path) not in card
    assert bundle.manifest.evaluation["mean Dice of the fusion levels"] == report["score"]
    assert bundle.manifest.network.num_classes == 4
    assert not (tmp_path / "model.run/checkpoint.pt").exists()


def test_fine_tuning_learns_of_the_range_of_the_pretraining(config):
    (intensity,) = planned(config(modality="MR")).preprocessing.intensity
    assert intensity == IntensityConfig(scheme="mr-percentile", clip=(0.5, 99.5))
    job = planned(config(intensity="ct-clip", overwrite=True))
    assert job.preprocessing.intensity[0].scheme == "ct-clip"


def test_the_fusion_score_is_the_mean_dice_of_the_levels_over_all_batches():
    label = torch.tensor([[0, 1, 1, 2], [2, 2, 0, 1]]).reshape(2, 1, 2, 2)
    said = torch.tensor([[0, 1, 2, 2], [2, 0, 1, 1]]).reshape(2, 1, 2, 2)
    logits = torch.nn.functional.one_hot(said, 3).movedim(-1, 1).float()
    answers = [
        (logits[:1], pretrain_batch(label[:1])),
        ([logits[1:], None], pretrain_batch(label[1:])),
    ]
    validation = fusion_score(answers, 2)
    level_1, level_2 = 2 * 2 / (3 + 3), 2 * 2 / (3 + 3)
    assert validation.values == pytest.approx({"dice/level 1": level_1, "dice/level 2": level_2})
    assert validation.score == pytest.approx((level_1 + level_2) / 2)


def pretrain_batch(label):
    from MISFMLib.data.datasets import Batch

    return Batch(torch.zeros(len(label), 1, *label.shape[1:]), label)


def blocks(patch, **options):
    config = PretrainConfig(data=(Path("a"),), output=Path("b"), **options)
    network = decode(NetworkConfig, a_tiny_preset("small")["network"])
    network = NetworkConfig(**{**vars(network), "patch_size": patch, "num_classes": 5})
    return build_method(config, network).pretext.blocks


def test_blocks_are_the_published_ones_where_the_patch_is():
    assert blocks((64, 128, 128)) == BlockGrid()
    assert blocks((64, 128, 128), sampler="boxes") == RandomBoxes()


def test_smaller_patches_have_smaller_blocks():
    assert blocks((12, 32, 48)) == BlockGrid(0.7, (6, 8, 8), (6, 16, 24))
    expected = RandomBoxes(smallest=(6, 8, 8), largest=(7, 20, 30))
    assert blocks((12, 32, 48), sampler="boxes") == expected


def test_blocks_and_their_share_can_be_chosen():
    options = {"smallest_block": (2, 3, 4), "largest_block": (5, 6, 7), "foreground_share": 0.5}
    assert blocks((16, 32, 48), **options) == BlockGrid(0.5, (2, 3, 4), (5, 6, 7))
    one_given = blocks((16, 32, 48), largest_block=(2, 2, 40))
    assert (one_given.smallest, one_given.largest) == ((2, 2, 8), (2, 2, 40))
    one_given = blocks((16, 32, 48), smallest_block=(12, 2, 30))
    assert (one_given.smallest, one_given.largest) == ((12, 2, 30), (12, 16, 30))


# --------------------------------------------------------------------------------- stop and resume


def test_a_training_that_was_killed_goes_on_bit_for_bit(config, tmp_path):
    options = {"steps": 4, "checkpoint_every": 2, "validate_every": 3}
    whole = read_weights(
        read_bundle(Path(run_pretrain(config(output=tmp_path / "whole", **options))["bundle"]))
    )

    def kill(event):
        if isinstance(event, Metric) and event.step == 3:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run_pretrain(config(**options), kill)
    checkpoint = torch.load(tmp_path / "model.run/checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 2
    report = run_pretrain(config(resume=True, **options))
    resumed = read_weights(read_bundle(Path(report["bundle"])))
    assert whole.keys() == resumed.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name])


def test_a_run_that_goes_on_keeps_its_volumes(config, volumes):
    first = planned(config())
    (volumes / "0.nii.gz").write_bytes((volumes / "a.nii.gz").read_bytes())
    again = planned(config(resume=True))
    assert again.train == first.train
    assert len(planned(config(overwrite=True)).train) == len(first.train) + 1


def test_a_job_can_be_sent_to_other_processes(config):
    job = planned(config())
    assert pickle.loads(pickle.dumps(job)) == job


# ----------------------------------------------------------------------------------- the volumes


def test_a_broken_volume_is_left_out_and_named(config, volumes):
    (volumes / "broken.nii.gz").write_bytes(b"not a volume")
    events = []
    report = run_pretrain(config(), events.append)
    (skipped,) = report["skipped"]
    assert skipped["path"].endswith("broken.nii.gz")
    assert skipped["reason"]
    assert any(isinstance(event, Notice) and "broken.nii.gz" in event.message for event in events)
    assert (report["volumes"], report["held_out_volumes"]) == (3, 1)


def test_many_broken_volumes_make_a_short_notice(config, tmp_path, volumes):
    for index in range(25):
        (volumes / f"broken{index}.nii.gz").write_bytes(b"not a volume")
    events = []
    job = pretrain_plan.plan_pretraining(config(), RunFolder.open(config()), events.append)
    assert len(job.skipped) == 25
    (notice,) = (
        event for event in events if isinstance(event, Notice) and "left out" in event.message
    )
    assert notice.message.startswith("25 of 29 volumes are left out")
    assert notice.message.endswith("and 5 more")


def test_no_usable_volume_is_an_error(config, tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"not a volume")
    with pytest.raises(DataError) as caught:
        planned(config(data=(tmp_path / "broken.nii.gz",)))
    assert caught.value.code == "no-usable-volume"


def test_smaller_fractions_are_part_of_larger_ones_and_judged_on_the_same_volumes(config):
    jobs = [planned(config(fraction=part, overwrite=True)) for part in (0.34, 0.67, 1.0)]
    assert [len(job.train) for job in jobs] == [1, 2, 3]
    for smaller, larger in itertools.pairwise(jobs):
        assert set(smaller.train) < set(larger.train)
        assert smaller.validation == larger.validation
    assert not set(jobs[-1].train) & set(jobs[-1].validation)


def test_only_the_volumes_of_the_fraction_are_prepared(config):
    job = planned(config(fraction=0.34))
    prepared = [place for place in job.folder.cases.iterdir() if place.is_dir()]
    assert sorted(prepared) == sorted((*job.train, *job.validation))
    assert len(prepared) == 2


@pytest.mark.parametrize(
    ("broken", "learnt", "judged"), [("a", 2, 1), ("ab", 1, 1), ("abc", 1, 0), ("bcd", 1, 0)]
)
def test_whatever_is_broken_there_is_something_to_learn_from(
    broken, learnt, judged, config, volumes
):
    for name in broken:
        (volumes / f"{name}.nii.gz").write_bytes(b"not a volume")
    for seed in range(4):
        job = planned(config(seed=seed, validation_fraction=0.5, overwrite=True))
        assert (len(job.train), len(job.validation)) in {(learnt, judged), (judged, learnt)}
        assert len(job.train) >= 1


def test_a_single_volume_can_be_learnt_from(config, volumes):
    events = []
    report = run_pretrain(config(data=(volumes / "a.nii.gz",), sampler="boxes"), events.append)
    assert (report["volumes"], report["held_out_volumes"], report["score"]) == (1, 0, None)
    assert any("held out" in getattr(event, "message", "") for event in events)


def test_patch_and_mode_are_planned_from_the_volumes(config):
    job = planned(config(patch_size=None, resolution_mode=None))
    assert job.network.resolution_mode == 0
    assert job.preprocessing.patch_size == (16, 16, 16)  # the budget; 32 would cover the volumes
    assert job.network.patch_size == (16, 16, 16)


def test_volumes_of_several_modalities_give_a_start_for_any(config, volumes, rng):
    ct = rng.integers(-1024, 1000, (18, 20, 22)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(ct), str(volumes / "ct.nii.gz"))
    assert planned(config()).preprocessing.modality == "other"
    assert planned(config(modality="CT", overwrite=True)).preprocessing.modality == "CT"


# ---------------------------------------------------------------------------------------- preview


@pytest.mark.parametrize(
    ("name", "missing", "error"),
    [
        ("preview.jpg", "nothing", ConfigError),
        ("exists.png", "nothing", OutputError),
        ("preview.png", "matplotlib", DependencyError),
    ],
)
def test_a_preview_that_cannot_be_written_is_refused_before_the_training(
    name, missing, error, config, tmp_path, monkeypatch
):
    (tmp_path / "exists.png").write_bytes(b"")
    find_spec = pretrain_job.importlib.util.find_spec
    monkeypatch.setattr(
        pretrain_job.importlib.util,
        "find_spec",
        lambda package: None if package == missing else find_spec(package),
    )
    with pytest.raises(error):
        run_pretrain(config(preview=tmp_path / name))
    assert not (tmp_path / "model.run").exists()


# ---------------------------------------------------------------------------- settings and presets


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"data": ()}, "no volume"),
        ({"steps": 0}, "steps"),
        ({"halve_every": 0}, "halve_every"),
        ({"num_levels": 0}, "num_levels"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"fraction": 0.0}, "fraction"),
        ({"foreground_share": 1.5}, "foreground_share"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"smallest_block": (0, 4, 4)}, "smallest_block"),
        ({"smallest_block": (4, 4, 4), "largest_block": (8, 3, 8)}, "blocks"),
        ({"method": "rotation", "num_levels": 2}, "num_levels does nothing"),
        ({"sampler": "boxes", "foreground_share": 0.5}, "foreground_share does nothing"),
    ],
)
def test_impossible_settings_are_refused(options, problem, config):
    with pytest.raises(ConfigError, match=problem):
        config(**options)


def test_a_training_ends_when_its_score_has_stopped_rising(config):
    options = {"steps": 20, "validate_every": 1, "patience": 2, "learning_rate": 1e-9}
    report = run_pretrain(config(**options))
    # Stalled after the third; the rate falls to zero within one validation's steps.
    assert (report["steps"], report["ended_by"]) == (4, "patience")
    assert read_bundle(Path(report["bundle"])).manifest.provenance["steps"] == 4


def test_patience_without_held_out_volumes_is_refused(config):
    with pytest.raises(ConfigError) as caught:
        planned(config(patience=2, validation_fraction=0.0))
    assert caught.value.code == "nothing-held-out"


def test_the_learning_rate_is_halved_when_asked_for(config):
    events = []
    run_pretrain(config(steps=20, halve_every=5, method="rotation"), events.append)
    rates = [event.values.get("learning_rate") for event in events if isinstance(event, Metric)]
    assert [rate for rate in rates if rate] == [5e-4, 1.25e-4]


@pytest.mark.parametrize(
    ("method", "beyond"), [("volume-fusion", 0), ("fusion-masking", 1), ("model-genesis", None)]
)
def test_outputs_that_tell_levels_begin_at_their_shares(method, beyond, config, monkeypatch):
    tasks = []
    monkeypatch.setattr(pretrain_job, "fit", lambda _fabric, task, *_: tasks.append(task))
    job = planned(config(method=method))
    pretrain_job.train(SimpleNamespace(device=torch.device("cpu")), job, lambda _event: None)

    biases = [head.conv.bias.detach() for head in tasks[0].network.heads]
    if beyond is None:  # restores intensities, tells no classes
        assert all(float(bias.abs().max()) < 1 for bias in biases)
        return
    assert len(biases) == 4
    for bias in biases:
        assert float(bias[:5].exp().sum()) == pytest.approx(1)  # shares of five levels
        assert float(bias[0].exp()) == pytest.approx(0.3, abs=0.1)
        assert (bias[5:].abs() < 1).tolist() == [True] * beyond


@pytest.mark.parametrize(
    ("preset", "steps", "halve_every"),
    [("1k", 100_000, 20_000), ("10k", 200_000, 40_000), ("110k", 400_000, 50_000)],
)
def test_the_pdata_presets_are_those_of_the_paper(preset, steps, halve_every, a_job):
    assert cli.main(["pretrain", "scans", "-o", "model", "--preset", f"pdata-{preset}"]) == 0
    (config,) = a_job
    assert (config.steps, config.halve_every) == (steps, halve_every)
    assert (config.patch_size, config.batch_size) == ((64, 128, 128), 4)
    assert (config.optimizer, config.learning_rate, config.weight_decay) == ("adam", 1e-3, 1e-5)
    assert (config.network, config.sampler) == ("full", "boxes")


def test_own_options_come_before_those_of_a_preset(a_job):
    words = ["pretrain", "a", "b", "-o", "model", "--preset=laptop", "--steps", "10000"]
    assert cli.main(words) == 0
    (config,) = a_job
    assert config.steps == 10000
    assert config.method == "fusion-masking"
    assert config.patch_size == tuple(read_preset("pretrain-laptop")["patch_size"])
    assert config.data == (Path("a"), Path("b"))


def test_without_a_preset_the_defaults_hold(a_job):
    assert cli.main(["pretrain", "a", "-o", "model"]) == 0
    assert a_job == [PretrainConfig(data=(Path("a"),), output=Path("model"))]


def test_an_unknown_preset_is_refused(a_job, capsys):
    with pytest.raises(SystemExit):
        cli.main(["pretrain", "a", "-o", "model", "--preset", "huge"])
    assert "pdata-110k" in capsys.readouterr().err


def test_an_unknown_setting_in_a_preset_is_an_error(a_job, monkeypatch, capsys):
    monkeypatch.setattr("MISFMLib.commands.jobs.read_preset", lambda _name: {"stepz": 1})
    assert cli.main(["pretrain", "a", "-o", "model", "--preset", "laptop"]) == 2
    assert "stepz" in capsys.readouterr().err


def test_every_preset_file_can_be_chosen():
    presets = Path(sys.modules["MISFMLib"].__file__).parent / "presets"
    for verb, names in (("pretrain", PretrainPreset), ("finetune", FinetunePreset)):
        files = {path.stem.removeprefix(f"{verb}-") for path in presets.glob(f"{verb}-*.json")}
        assert files == set(names.__args__)


def test_a_job_file_can_ask_for_a_pretraining(a_job, tmp_path):
    content = {"job": "pretrain", "config": {"data": ["scans"], "output": "model", "steps": 7}}
    (tmp_path / "job.json").write_text(json.dumps(content))
    assert cli.main(["run", str(tmp_path / "job.json")]) == 0
    assert a_job == [PretrainConfig(data=(Path("scans"),), output=Path("model"), steps=7)]
