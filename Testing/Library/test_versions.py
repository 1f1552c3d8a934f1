"""Earlier versions of the user's own models."""

from __future__ import annotations

import numpy as np
import pytest

from MISFMLib.configs import LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.errors import BundleError
from MISFMLib.models import store
from MISFMLib.models.bundle import write_bundle
from MISFMLib.models.bundle_manifest import BundleManifest
from MISFMLib.models.versions import bring_back, keep_model, list_versions


@pytest.fixture
def make(tmp_path):
    def write(value, dice=None):
        manifest = BundleManifest(
            name="kidneys",
            network=NetworkConfig(num_classes=2),
            preprocessing=PreprocessingConfig(),
            labels=(LabelConfig(value=1, name="kidney"),),
            evaluation={} if dice is None else {"mean Dice of the labels": dice},
        )
        weights = {"a.weight": np.full((2, 2), value, np.float32)}
        return write_bundle(tmp_path / f"made{value}", manifest, weights).path

    return write


def sha(name):
    return store.find_model(name).manifest.weights_sha256


def test_what_a_kept_model_replaces_can_be_brought_back(make):
    keep_model(make(1, 0.5), "mine")
    first = sha("mine")
    keep_model(make(2, 0.75), "mine")
    second = sha("mine")
    assert [(each.number, each.mean_dice) for each in list_versions("mine")] == [(1, 0.5)]

    bring_back("mine", 1)

    assert sha("mine") == first != second
    assert [(each.number, each.mean_dice) for each in list_versions("mine")] == [
        (2, 0.75),
        (1, 0.5),
    ]
    assert [entry.name for entry in store.list_models() if entry.origin == "mine"] == ["mine"]


def test_a_model_that_nobody_evaluated_has_no_dice(make):
    for value in (1, 2):
        keep_model(make(value), "mine")
    assert list_versions("mine")[0].mean_dice is None


def test_a_damaged_model_replaces_nothing(make):
    keep_model(make(1), "mine")
    before = sha("mine")
    damaged = make(2)
    (damaged / "models/model.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError):
        keep_model(damaged, "mine")
    assert sha("mine") == before
    assert list_versions("mine") == []


@pytest.mark.parametrize("name", ["hippocampus-mr", "a b", "../x"])
def test_names_that_bundled_models_have_or_no_model_can_have_are_refused(make, name):
    with pytest.raises(BundleError) as caught:
        keep_model(make(1), name)
    assert caught.value.code == "model-name"


def test_a_version_that_is_not_there_is_named(make):
    keep_model(make(1), "mine")
    with pytest.raises(BundleError, match="no earlier version 7"):
        bring_back("mine", 7)
