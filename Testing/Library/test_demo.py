"""``misfm demo`` with a tiny model: files, table, Dice, and the user's own volume."""

from __future__ import annotations

import importlib.util
import json
import math

import numpy as np
import pytest
import torch

from MISFMLib.configs import LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.data.phantom import draw_phantom
from MISFMLib.errors import BundleError, ConfigError, OutputError
from MISFMLib.events import Progress
from MISFMLib.jobs import demo
from MISFMLib.jobs.demo import format_report, run_demo
from MISFMLib.models.bundle import BundleManifest, write_bundle
from MISFMLib.networks import build_network, weights_to_numpy
from MISFMLib.volumes.volume import read_label_map, read_volume, write_label_map, write_volume

pytest.importorskip("matplotlib")

RESULTS = {"overview.png", "segmentation.seg.nrrd", "volumes.csv", "report.json"}
SAMPLE = {"sample.nii.gz", "sample-labels.seg.nrrd"}


def without_matplotlib(name, find_spec=importlib.util.find_spec):
    return None if name == "matplotlib" else find_spec(name)


@pytest.fixture
def a_model(tmp_path):
    """Bundle with random weights for the labels of the sample."""
    torch.manual_seed(0)
    network = NetworkConfig(
        architecture="unet3d", num_classes=3, level_channels=(2, 2, 2, 2, 2), dropout=(0.0,) * 5
    )
    manifest = BundleManifest(
        name="tiny",
        network=network,
        preprocessing=PreprocessingConfig(modality="MR", patch_size=(48, 64, 48)),
        labels=(
            LabelConfig(value=1, name="anterior hippocampus"),
            LabelConfig(value=2, name="posterior hippocampus"),
        ),
    )
    weights = weights_to_numpy(build_network(network))
    return str(write_bundle(tmp_path / "tiny", manifest, weights).path)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_the_demo_draws_a_sample_segments_it_and_compares_with_the_known_labels(tmp_path, a_model):
    events = []
    output = tmp_path / "demo"
    report = run_demo(output, model=a_model, seed=4, device="cpu", events=events.append)
    assert names(output) == RESULTS | SAMPLE == set(report["files"])
    volume, known = draw_phantom(4)
    np.testing.assert_array_equal(
        read_volume(output / "sample.nii.gz").array_CDHW, volume.array_CDHW
    )
    np.testing.assert_array_equal(
        read_label_map(output / "sample-labels.seg.nrrd").array_DHW, known.array_DHW
    )
    assert read_label_map(output / "segmentation.seg.nrrd").geometry.same_grid(volume.geometry)
    assert report["dice"].keys() == {"anterior hippocampus", "posterior hippocampus"}
    assert all(0 <= value <= 1 for value in report["dice"].values())
    assert any(isinstance(event, Progress) for event in events)
    assert json.loads(json.dumps(report)) == report
    assert json.loads((output / "report.json").read_text("utf-8"))["model"]["name"] == "tiny"


def test_without_matplotlib_the_demo_leaves_out_the_picture(tmp_path, a_model, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", without_matplotlib)
    report = run_demo(tmp_path / "demo", model=a_model, device="cpu")
    assert names(tmp_path / "demo") == (RESULTS | SAMPLE) - {"overview.png"}
    assert "overview.png" not in report["files"]


def test_a_perfect_model_would_get_a_dice_of_one(tmp_path, a_model, monkeypatch):
    def copy_the_known_labels(config, events):
        known = read_label_map(config.output.with_name("sample-labels.seg.nrrd"))
        write_label_map(known, config.output)
        return {}

    monkeypatch.setattr(demo, "run_segment", copy_the_known_labels)
    report = run_demo(tmp_path / "demo", model=a_model)
    assert report["dice"] == {"anterior hippocampus": 1.0, "posterior hippocampus": 1.0}


def test_half_of_a_label_gets_two_thirds_and_nothing_gets_zero(tmp_path, a_model, monkeypatch):
    def answer_half(config, events):
        known = read_label_map(config.output.with_name("sample-labels.seg.nrrd"))
        flat = known.array_DHW.reshape(-1)
        places = np.flatnonzero(flat == 1)
        flat[places[: len(places) // 2]] = 0
        flat[flat == 2] = 0
        write_label_map(known, config.output)
        return {}

    monkeypatch.setattr(demo, "run_segment", answer_half)
    dice = run_demo(tmp_path / "demo", model=a_model)["dice"]
    assert dice["anterior hippocampus"] == pytest.approx(2 / 3, abs=1e-3)
    assert dice["posterior hippocampus"] == 0


def test_a_given_volume_is_segmented_without_a_sample(tmp_path, a_model):
    image = tmp_path / "scan.nii.gz"
    write_volume(draw_phantom(2)[0], image)
    report = run_demo(tmp_path / "demo", image=image, model=a_model, device="cpu")
    assert names(tmp_path / "demo") == RESULTS
    assert "dice" not in report
    assert report["case"] == "scan"
    assert "Dice" not in format_report(report)


def test_the_table_names_labels_volumes_dice_and_files():
    text = format_report(
        {
            "labels": [
                {"label": 1, "name": "anterior", "voxels": 1234, "volume_ml": 1.234},
                {"label": 2, "name": "back", "voxels": 0, "volume_ml": 0.0},
            ],
            "dice": {"anterior": 0.9123, "back": 0.0},
            "folder": "out",
            "files": ["overview.png", "sample.nii.gz"],
        }
    )
    table, files = text.split("\n\n")
    assert table.splitlines() == [
        "label         volume  Dice",
        "anterior     1.23 ml  0.912",
        "back         0.00 ml  0.000",
    ]
    assert files.splitlines()[0] == "Written to out:"
    assert [line.split()[0] for line in files.splitlines()[1:]] == ["overview.png", "sample.nii.gz"]


def test_files_are_only_replaced_when_that_was_asked_for(tmp_path, a_model):
    run_demo(tmp_path / "demo", model=a_model, device="cpu")
    with pytest.raises(OutputError, match="exists already"):
        run_demo(tmp_path / "demo", model=a_model, seed=2, device="cpu")
    report = run_demo(tmp_path / "demo", model=a_model, seed=2, device="cpu", overwrite=True)
    written = read_volume(tmp_path / "demo" / "sample.nii.gz")
    np.testing.assert_array_equal(written.array_CDHW, draw_phantom(2)[0].array_CDHW)
    assert not any(math.isnan(value) for value in report["dice"].values())


def test_a_missing_model_or_a_bad_seed_leaves_no_folder(tmp_path, a_model):
    with pytest.raises(BundleError):
        run_demo(tmp_path / "demo", model="no-such-model")
    with pytest.raises(ConfigError, match="seed"):
        run_demo(tmp_path / "demo", model=a_model, seed=-1)
    assert not (tmp_path / "demo").exists()
