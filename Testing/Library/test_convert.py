"""A converted checkpoint computes what the checkpoint computed, and says where it came from."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
import torch

from MISFMLib.configs import NetworkConfig
from MISFMLib.errors import BundleError, ConfigError, OutputError
from MISFMLib.jobs import convert
from MISFMLib.jobs.convert import convert_checkpoint
from MISFMLib.models.bundle import read_bundle, read_card, verify_bundle
from MISFMLib.models.catalogue import read_catalogue
from MISFMLib.networks import build_network, network_from_bundle
from MISFMLib.networks.published_names import fmunet_modules

CONFIG = NetworkConfig(
    architecture="fmunet",
    num_classes=3,
    level_channels=(2, 2, 3, 3, 4),
    deep_supervision=True,
    depths=(1, 1, 1),
)


def save_checkpoint(path, config=CONFIG):
    """Write a network as PyMIC would; return it in evaluation mode."""
    torch.manual_seed(3)
    network = build_network(config).eval()
    theirs = {ours: published for published, ours in fmunet_modules(config).items()}
    state = {
        f"{theirs[module]}.{tensor}": value
        for name, value in network.state_dict().items()
        for module, _, tensor in [name.rpartition(".")]
    }
    content = {"iteration": 700, "valid_pred": np.float32(0.5), "model_state_dict": state}
    torch.save(content, path)
    return network


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "trained.pt"
    save_checkpoint(path)
    return path


@pytest.fixture
def volume():
    return torch.from_numpy(np.random.default_rng(2).normal(size=(1, 1, 16, 32, 32))).float()


def test_the_bundle_computes_the_same_logits_bit_for_bit(tmp_path, volume):
    network = save_checkpoint(tmp_path / "trained.pt")
    bundle, report = convert_checkpoint(tmp_path / "trained.pt", tmp_path / "made")
    verify_bundle(bundle)
    converted = network_from_bundle(bundle, deep_supervision=True)
    with torch.no_grad():
        for ours, theirs in zip(converted(volume), network(volume), strict=True):
            assert torch.equal(ours, theirs)
    assert len(report.loaded) == len(network.state_dict())
    assert not report.newly_initialised
    assert not report.unused


def test_a_published_network_gives_its_published_output(published_fixtures, tmp_path):
    name = "pct_mode0_single_c3"
    recorded = np.load(published_fixtures / f"{name}_io.npz")
    volume = torch.from_numpy(recorded["input"])
    patch_size = tuple(volume.shape[2:])
    bundle, _ = convert_checkpoint(
        published_fixtures / f"{name}.pt",
        tmp_path / name,
        resolution_mode=0,
        patch_size=patch_size,
    )
    assert bundle.manifest.preprocessing.patch_size == patch_size
    with torch.no_grad():
        logits = network_from_bundle(bundle)(volume)
    np.testing.assert_allclose(logits.numpy(), recorded["output0"], rtol=0, atol=2e-4)


def test_without_labels_it_is_a_start_for_fine_tuning_prepared_like_the_released_weights(
    checkpoint, tmp_path
):
    bundle, _ = convert_checkpoint(checkpoint, tmp_path / "start")
    manifest = read_bundle(bundle.path).manifest
    assert (manifest.name, manifest.kind, manifest.labels) == ("start", "pretrained", ())
    assert manifest.network.deep_supervision
    assert manifest.preprocessing.modality == "CT"
    assert manifest.preprocessing.patch_size == (64, 128, 128)
    (intensity,) = manifest.preprocessing.intensity
    assert (intensity.scheme, intensity.clip) == ("ct-clip", (-1000, 1000))


def test_the_origin_is_written_down(checkpoint, tmp_path):
    bundle, _ = convert_checkpoint(checkpoint, tmp_path / "start")
    provenance = bundle.manifest.provenance
    assert provenance["file"] == "trained.pt"
    assert provenance["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert provenance["iteration"] == 700
    assert str(tmp_path) not in json.dumps(provenance) + read_card(bundle)
    assert bundle.manifest.license == "unknown"


def test_a_plain_state_dictionary_tells_no_iteration(checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=False)["model_state_dict"]
    torch.save(state, tmp_path / "plain.pt")
    bundle, _ = convert_checkpoint(tmp_path / "plain.pt", tmp_path / "start")
    assert "iteration" not in bundle.manifest.provenance


def test_with_labels_it_segments_and_leaves_the_auxiliary_heads_behind(checkpoint, tmp_path):
    labels = ("left atrium", "vein")
    bundle, report = convert_checkpoint(checkpoint, tmp_path / "atrium", labels=labels)
    manifest = bundle.manifest
    assert manifest.kind == "segmentation"
    assert [(label.value, label.name) for label in manifest.labels] == [
        (1, "left atrium"),
        (2, "vein"),
    ]
    assert not manifest.network.deep_supervision
    assert report.unused
    assert all(re.match(r"out_layers\.[123]\.", name) for name in report.unused)


def test_a_network_without_auxiliary_heads_is_not_given_random_ones(tmp_path):
    config = NetworkConfig(**{**vars(CONFIG), "deep_supervision": False})
    save_checkpoint(tmp_path / "single.pt", config)
    bundle, report = convert_checkpoint(tmp_path / "single.pt", tmp_path / "single")
    assert not bundle.manifest.network.deep_supervision
    assert not report.newly_initialised


def test_several_channels_are_all_named_and_scaled(tmp_path):
    save_checkpoint(tmp_path / "two.pt", NetworkConfig(**{**vars(CONFIG), "in_channels": 2}))
    bundle, _ = convert_checkpoint(tmp_path / "two.pt", tmp_path / "two")
    assert bundle.manifest.preprocessing.channels == ("image1", "image2")
    assert len(bundle.manifest.preprocessing.intensity) == 2


def test_a_published_file_gets_the_catalogues_texts(checkpoint, tmp_path):
    entry = next(entry for entry in read_catalogue() if entry.kind == "checkpoint")
    published = checkpoint.rename(tmp_path / entry.file)
    bundle, _ = convert_checkpoint(published, tmp_path / entry.name)
    assert bundle.manifest.title == entry.title
    assert bundle.manifest.license == entry.license
    assert entry.paper in read_card(bundle)
    assert entry.page in read_card(bundle)


def test_labels_that_do_not_fit_the_network_are_refused(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="1 labels do not fit a network of 3 classes"):
        convert_checkpoint(checkpoint, tmp_path / "made", labels=("one",))
    assert not (tmp_path / "made").exists()


def test_an_existing_bundle_is_not_replaced_unless_asked(checkpoint, tmp_path, monkeypatch):
    convert_checkpoint(checkpoint, tmp_path / "made")
    convert_checkpoint(checkpoint, tmp_path / "made", overwrite=True)
    monkeypatch.setattr(convert, "load_published_checkpoint", None)  # refused before any work
    with pytest.raises(OutputError):
        convert_checkpoint(checkpoint, tmp_path / "made")


class Malicious:
    def __reduce__(self):
        return print, ("this code must not run",)


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    torch.save({"model_state_dict": {"project.weight": Malicious()}}, tmp_path / "evil.pt")
    with pytest.raises(BundleError) as caught:
        convert_checkpoint(tmp_path / "evil.pt", tmp_path / "made")
    assert caught.value.code == "checkpoint-unsafe"
    assert "must not run" not in capsys.readouterr().out
    assert not (tmp_path / "made").exists()
