"""`misfm models combine`: models of the same labels averaged, their disagreement as uncertainty."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from MISFMLib.configs import IntensityConfig, LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.errors import ConfigError, OutputError
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.jobs.combine import combine_models
from MISFMLib.models.bundle import read_bundle, read_weights, write_bundle
from MISFMLib.models.bundle_manifest import BundleManifest
from MISFMLib.networks import build_network, network_from_bundle, weights_to_numpy
from MISFMLib.volumes.volume import Geometry, Volume

pytestmark = pytest.mark.usefixtures("one_thread", "seed")

PATCH = (16, 16, 16)
UNET = NetworkConfig(
    architecture="unet3d", num_classes=3, level_channels=(2,) * 5, resolution_mode=0
)
SEGRESNET = NetworkConfig(
    architecture="segresnet", num_classes=3, level_channels=(8,), depths=(1, 1, 1, 1)
)
LABELS = (LabelConfig(value=1, name="left"), LabelConfig(value=5, name="right"))
SPACE = PreprocessingConfig(intensity=(IntensityConfig(scheme="mr-zscore"),), patch_size=PATCH)


def a_model(folder, network=UNET, *, sure_of=None, **changes):
    """A model with fresh weights, or one that is sure of one class everywhere."""
    built = build_network(network)
    if sure_of is not None:
        head = built.heads[0].conv
        with torch.no_grad():
            head.weight.zero_()
            head.bias.zero_()
            head.bias[sure_of] = 20
    manifest = BundleManifest(
        **{
            "name": folder.name,
            "network": network,
            "preprocessing": SPACE,
            "labels": LABELS,
            "license": "CC0-1.0",
            **changes,
        }
    )
    return write_bundle(folder, manifest, weights_to_numpy(built, half=False))


def combined(tmp_path, *models, **options):
    paths = [str(model.path) for model in models]
    return combine_models(paths, tmp_path / "together", **options)


def trained_on(folder, model):
    """A model that was trained on for a while: its weights have moved."""
    weights = {
        name: array
        + (0.5 * array.std() * np.random.default_rng(1).normal(size=array.shape)).astype(
            array.dtype
        )
        if array.ndim > 1
        else array + array.dtype.type(1)
        for name, array in read_weights(model).items()
    }
    return write_bundle(folder, replace(model.manifest, name=folder.name), weights)


def test_the_mean_is_that_of_the_probabilities(tmp_path):
    models = [a_model(tmp_path / name) for name in "abc"]
    bundle = combined(tmp_path, *models)
    assert bundle.manifest.network.members == 3
    image = torch.randn(1, 1, *PATCH)
    with torch.no_grad():
        expected = sum(network_from_bundle(model)(image).softmax(1) for model in models) / 3
        found = network_from_bundle(read_bundle(bundle.path))(image)
    assert torch.allclose(found.exp(), expected, atol=1e-6)


def test_the_mean_of_weights_is_one_network(tmp_path):
    first = a_model(tmp_path / "first")
    second = trained_on(tmp_path / "second", first)
    bundle = combined(tmp_path, first, second, mean_of="weights")
    assert bundle.manifest.network == UNET
    assert bundle.manifest.provenance.keys() == {"member 1", "member 2"}
    one, other, mean = (read_weights(model) for model in (first, second, bundle))
    assert mean.keys() == one.keys()
    for name, array in mean.items():
        is_counter = array.dtype == np.int64
        expected = one[name] if is_counter else (one[name] + other[name]) / 2
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-7)
    assert network_from_bundle(bundle)(torch.randn(1, 1, *PATCH)).shape[1] == 3


@pytest.mark.parametrize(
    ("network", "code"), [(UNET, "weights-unrelated"), (SEGRESNET, "networks-differ")]
)
def test_weights_that_have_nothing_in_common_are_not_averaged(tmp_path, network, code):
    models = a_model(tmp_path / "first"), a_model(tmp_path / "second", network)
    with pytest.raises(ConfigError) as refused:
        combined(tmp_path, *models, mean_of="weights")
    assert refused.value.code == code
    assert not (tmp_path / "together").exists()


def test_networks_of_different_kinds_are_averaged(tmp_path):
    models = [a_model(tmp_path / "a"), a_model(tmp_path / "b", SEGRESNET)]
    bundle = combined(tmp_path, *models)
    image = torch.randn(1, 1, *PATCH)
    with torch.no_grad():
        expected = sum(network_from_bundle(model)(image).softmax(1) for model in models) / 2
        found = network_from_bundle(read_bundle(bundle.path))(image)
    assert torch.allclose(found.exp(), expected, atol=1e-6)


def test_members_that_disagree_are_unsure_together(tmp_path):
    sure = [a_model(tmp_path / f"sure{k}", sure_of=k) for k in (1, 2)]
    alone = uncertainty_of(sure[0])
    together = uncertainty_of(combined(tmp_path, *sure))
    assert alone.max() == 0
    # Two equally likely classes of three.
    assert np.all(together == round(100 * math.log(2) / math.log(3)))


def uncertainty_of(bundle):
    options = SegmenterOptions(device="cpu", precision="fp32", uncertainty=True)
    geometry = Geometry(PATCH, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    volume = Volume(torch.randn(1, *PATCH).numpy(), geometry, "case")
    return Segmenter.from_bundle(bundle, options).segment(volume).uncertainty.array_CDHW


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"labels": (LABELS[0], replace(LABELS[1], name="top"))}, "labels-differ", "5 top"),
        ({"labels": LABELS[::-1]}, "labels-differ", "5 right, 1 left"),
        (
            {"preprocessing": replace(SPACE, spacing_dhw=(2.0, 1.0, 1.0))},
            "model-space-differs",
            "spacing_dhw",
        ),
        ({"kind": "pretrained"}, "bad-ensemble", "no segmentation model"),
    ],
)
def test_models_that_do_not_belong_together_are_refused(tmp_path, changes, code, words):
    models = [a_model(tmp_path / "a"), a_model(tmp_path / "b", **changes)]
    with pytest.raises(ConfigError, match=words) as caught:
        combined(tmp_path, *models)
    assert caught.value.code == code
    assert not (tmp_path / "together").exists()


def test_one_model_or_twice_the_same_an_ensemble_and_a_bundle_that_is_there_are_refused(tmp_path):
    models = [a_model(tmp_path / name) for name in "ab"]
    with pytest.raises(ConfigError, match="no ensemble"):
        combined(tmp_path, models[0])
    with pytest.raises(ConfigError, match="are the same model"):
        combined(tmp_path, *models, models[0])
    bundle = combined(tmp_path, *models)
    with pytest.raises(OutputError):
        combined(tmp_path, *models)
    with pytest.raises(ConfigError, match="ensemble already"):
        combine_models([str(bundle.path), str(models[0].path)], tmp_path / "more")


def test_it_has_learnt_from_what_its_members_have(tmp_path):
    first = a_model(tmp_path / "a", training_images=("1", "2"), held_out_images=("3",))
    second = a_model(tmp_path / "b", training_images=("3", "2"), held_out_images=("4", "1"))
    manifest = combined(tmp_path, first, second).manifest
    assert manifest.training_images == ("1", "2", "3")
    assert manifest.held_out_images == ("4",)


def test_licences_and_members_are_told(tmp_path):
    first = a_model(tmp_path / "a")
    second = a_model(tmp_path / "b", license="CC-BY-4.0")
    manifest = combined(tmp_path, first, second).manifest
    assert manifest.license == "CC0-1.0 AND CC-BY-4.0"
    assert first.manifest.weights_sha256 in manifest.provenance["member 1"]
