"""Weights go in and out of networks completely, or the report or an error says what did not."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from MISFMLib.configs import LabelConfig, NetworkConfig, PreprocessingConfig, StagesConfig
from MISFMLib.errors import BundleError
from MISFMLib.models.bundle import BundleManifest, write_bundle
from MISFMLib.networks import (
    build_network,
    initialise,
    load_published_checkpoint,
    load_weights,
    network_from_bundle,
    weights_to_numpy,
)

pytestmark = pytest.mark.usefixtures("one_thread", "seed")
IMAGE = torch.linspace(-1, 1, 8 * 16 * 16).view(1, 1, 8, 16, 16)


def a_config(architecture="pctnet", **changes):
    settings = {
        "architecture": architecture,
        "num_classes": 3,
        "level_channels": (2, 4, 6, 8, 12),
        "num_heads": (2, 2, 3),
        "window_sizes": (3, 2, 2),
    }
    return NetworkConfig(**{**settings, **changes})


def a_network(architecture="pctnet", **changes):
    """A network whose running statistics are not those of a fresh one."""
    network = build_network(a_config(architecture, **changes))
    for name, tensor in network.state_dict().items():
        if "running_" in name:
            tensor.uniform_(0.5, 1.5)
    return network


def a_bundle(folder, network, *, half=False):
    config = network.config
    names = [f"label {value}" for value in range(1, config.num_classes)]
    manifest = BundleManifest(
        name="tiny",
        network=config,
        preprocessing=PreprocessingConfig(),
        labels=tuple(LabelConfig(value=i, name=name) for i, name in enumerate(names, 1)),
    )
    return write_bundle(folder / "tiny", manifest, weights_to_numpy(network, half=half))


def differing(network, other):
    """Names of the tensors that two networks do not have in common."""
    ours, theirs = network.state_dict(), other.state_dict()
    return {
        name for name in ours if name not in theirs or not torch.equal(ours[name], theirs[name])
    }


# -------------------------------------------------------------------------------- arrays and back


@pytest.mark.parametrize("architecture", ["pctnet", "fmunet", "unet3d"])
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_a_network_survives_the_way_through_arrays(architecture, deep_supervision):
    network = a_network(architecture, deep_supervision=deep_supervision)
    other = build_network(network.config)
    assert differing(network, other)
    report = load_weights(other, weights_to_numpy(network, half=False))
    assert not differing(network, other)
    assert set(report.loaded) == set(network.state_dict())
    assert not report.newly_initialised
    assert not report.unused


def test_stored_weights_are_half_but_running_statistics_are_not():
    network = a_network()
    network.state_dict()["project.bias"][0] = 1e5  # more than float16 holds
    arrays = weights_to_numpy(network)
    for name, array in arrays.items():
        expected = np.float32 if "running_" in name or name == "project.bias" else np.float16
        assert array.dtype == (np.int64 if "num_batches" in name else expected), name
    assert np.isfinite(arrays["project.bias"]).all()


def test_arrays_do_not_follow_the_network():
    network = a_network()
    arrays = weights_to_numpy(network, half=False)
    before = arrays["project.bias"].copy()
    torch.nn.init.zeros_(network.project.bias)
    assert np.array_equal(arrays["project.bias"], before)


def test_half_weights_are_loaded_into_single_precision():
    network, other = a_network(), a_network()
    load_weights(other, weights_to_numpy(network))
    assert other.project.weight.dtype == torch.float32
    assert torch.allclose(other.project.weight, network.project.weight, atol=1e-3)


def test_weights_with_gaps_leave_the_network_unchanged():
    network = a_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weights = weights_to_numpy(a_network(), half=False)
    lost = weights.pop("project.bias")
    with pytest.raises(BundleError, match=r"1 tensors.*project.bias \(none given, 2 expected\)"):
        load_weights(network, weights)
    with pytest.raises(BundleError, match=r"project.bias \(1x2 given, 2 expected\)"):
        load_weights(network, {**weights, "project.bias": lost[None]})
    with pytest.raises(BundleError, match=r"extra \(scalar given, none expected\)"):
        load_weights(network, {**weights, "project.bias": lost, "extra": np.float32(1)})
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_what_is_allowed_to_differ_is_reported_with_its_reason():
    network = a_network()
    weights = weights_to_numpy(network, half=False)
    other = build_network(network.config)
    weights["project.weight"] = weights["project.weight"][:, :0]
    weights["extra"] = np.zeros(2)
    report = load_weights(
        other, weights, allow_new={"project.weight": "new"}, allow_unused={"extra": "old"}
    )
    assert report.newly_initialised == {"project.weight": "new"}
    assert report.unused == {"project.weight": "new", "extra": "old"}
    assert differing(network, other) == {"project.weight"}


# ----------------------------------------------------------------------------------------- bundles


@pytest.mark.parametrize("architecture", ["pctnet", "fmunet", "unet3d"])
def test_a_bundle_gives_the_logits_of_the_network_it_was_made_from(tmp_path, architecture):
    network = a_network(architecture).eval()
    restored = network_from_bundle(a_bundle(tmp_path, network))
    assert not restored.training
    with torch.no_grad():
        assert torch.equal(restored(IMAGE), network(IMAGE))


def test_deep_supervision_of_a_bundle_can_be_turned_off_and_on(tmp_path):
    network = a_network(deep_supervision=True).eval()
    bundle = a_bundle(tmp_path, network)
    with torch.no_grad():
        expected = network(IMAGE)
        single = network_from_bundle(bundle)(IMAGE)
        multi = network_from_bundle(bundle, deep_supervision=True)(IMAGE)
    assert torch.equal(single, expected[0])
    assert all(torch.equal(a, b) for a, b in zip(multi, expected, strict=True))


def test_auxiliary_heads_that_a_bundle_lacks_are_fresh(tmp_path):
    bundle = a_bundle(tmp_path, a_network())
    assert len(network_from_bundle(bundle, deep_supervision=True)(IMAGE)) == 4


class Drawn(TorchDispatchMode):
    """Counts the random numbers that PyTorch draws."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default):
            self.numbers += args[0].numel()
        return func(*args, **(kwargs or {}))


STAGES = StagesConfig(
    kernels=((3, 3, 3),) * 2, strides=((1, 1, 1), (2, 2, 2)), blocks=(1, 1), decoder_blocks=(1,)
)
NNUNET = {"architecture": "plainconvunet", "level_channels": (2, 4), "stages": STAGES}


@pytest.mark.parametrize("changes", [{}, NNUNET])
def test_a_network_whose_weights_are_all_there_draws_none(tmp_path, changes):
    """Drawn on the meta device, normal numbers would import PyTorch's compiler."""
    bundle = a_bundle(tmp_path, a_network(**changes))
    with Drawn() as drawn:
        network_from_bundle(bundle)
    assert drawn.numbers == 0
    with Drawn() as drawn:
        network = network_from_bundle(bundle, deep_supervision=True)
    fresh = sum(weight.numel() for weight in network.heads[1:].parameters())
    assert (drawn.numbers >= fresh) if fresh else (drawn.numbers == 0)


def test_a_manifest_of_a_giant_is_compared_before_it_takes_memory(tmp_path, monkeypatch):
    bundle = a_bundle(tmp_path, a_network())
    giant = dataclasses.replace(
        bundle.manifest.network, level_channels=(2**14,) * 5, num_heads=(1, 1, 1)
    )
    manifest = dataclasses.replace(bundle.manifest, network=giant)
    started = time.monotonic()
    with pytest.raises(BundleError, match="do not fit the network") as caught:
        network_from_bundle(dataclasses.replace(bundle, manifest=manifest))
    assert caught.value.code == "weights-mismatch"
    assert time.monotonic() - started < 20


def test_a_bundle_whose_weights_belong_to_other_settings_is_refused(tmp_path):
    bundle = a_bundle(tmp_path, a_network())
    config = dataclasses.replace(bundle.manifest.network, level_channels=(2, 4, 6, 8, 24))
    wrong = dataclasses.replace(
        bundle, manifest=dataclasses.replace(bundle.manifest, network=config)
    )
    with pytest.raises(BundleError) as caught:
        network_from_bundle(wrong)
    assert caught.value.code == "weights-mismatch"


# ------------------------------------------------------------------------------------- fine-tuning


def class_convolutions(levels):
    return {f"heads.{i}.conv.{kind}" for i in range(levels) for kind in ("weight", "bias")}


@pytest.mark.parametrize("architecture", ["pctnet", "fmunet", "unet3d"])
def test_other_classes_leave_exactly_the_class_convolutions_fresh(tmp_path, architecture):
    source = a_network(architecture, num_classes=5, deep_supervision=True)
    network = a_network(architecture, deep_supervision=True)
    report = initialise(network, a_bundle(tmp_path, source))
    assert set(report.newly_initialised) == class_convolutions(4) == differing(network, source)
    assert set(report.newly_initialised.values()) == {"the source has 5 classes, 3 are wanted"}


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("pctnet", "project.weight"),
        ("fmunet", "project.weight"),
        ("unet3d", "encoder.blocks.0.conv1.weight"),
    ],
)
def test_other_channels_leave_only_the_input_convolution_fresh(tmp_path, architecture, name):
    source, network = a_network(architecture), a_network(architecture, in_channels=2)
    report = initialise(network, a_bundle(tmp_path, source))
    assert set(report.newly_initialised) == {name} == differing(network, source)
    assert report.newly_initialised[name] == "the source has 1 channels, 2 are wanted"


def test_other_windows_leave_only_their_bias_tables_fresh(tmp_path):
    source, network = a_network(), a_network(window_sizes=(3, 2, 1))
    report = initialise(network, a_bundle(tmp_path, source))
    tables = {f"encoder.blocks.4.transformer.{i}.attention.bias_table" for i in (0, 1)}
    assert set(report.newly_initialised) == tables == differing(network, source)
    assert set(report.unused) == tables
    assert set(report.newly_initialised.values()) == {
        "the source's windows have edge 2, 1 is wanted"
    }


def test_auxiliary_heads_that_the_source_lacks_stay_fresh(tmp_path):
    source, network = a_network(), a_network(deep_supervision=True)
    report = initialise(network, a_bundle(tmp_path, source))
    fresh = {name for name in network.state_dict() if name.startswith("heads.")}
    fresh = {name for name in fresh if not name.startswith("heads.0.")}
    assert set(report.newly_initialised) == fresh
    assert set(report.newly_initialised.values()) == {"the source has no such output"}


def pretrained(bundle, weights):
    """The same bundle as the outcome of a pretext task, with these weights."""
    manifest = dataclasses.replace(bundle.manifest, kind="pretrained", labels=())
    return write_bundle(bundle.path, manifest, weights, overwrite=True)


def test_classes_of_a_pretext_task_are_not_taken_over_even_if_they_fit(tmp_path):
    source, network = a_network(), a_network()
    bundle = pretrained(a_bundle(tmp_path, source), weights_to_numpy(source, half=False))
    report = initialise(network, bundle)
    assert set(report.newly_initialised) == class_convolutions(1) == differing(network, source)
    assert set(report.unused) == class_convolutions(1)
    assert set(report.newly_initialised.values()) == {"the source was trained for another task"}


def test_an_encoder_starts_a_fine_tuning_without_its_decoder(tmp_path):
    source, network = a_network(), a_network()
    arrays = weights_to_numpy(source, half=False)
    encoder = {
        name: array for name, array in arrays.items() if not name.startswith(("decoder.", "heads."))
    }
    bundle = a_bundle(tmp_path, source)
    report = initialise(network, pretrained(bundle, encoder))
    assert set(report.loaded) == set(encoder)
    assert set(report.newly_initialised) == set(arrays) - set(encoder)
    assert report.newly_initialised["decoder.ups.0.up.conv.bias"] == (
        "the source brings no decoder"
    )
    assert not report.unused
    segmenting = write_bundle(bundle.path, bundle.manifest, encoder, overwrite=True)
    with pytest.raises(BundleError, match="do not fit"):
        initialise(network, segmenting)


def test_of_a_whole_network_the_encoder_alone_can_be_taken_over(tmp_path):
    source, network = a_network(), a_network()
    report = initialise(network, a_bundle(tmp_path, source), encoder_only=True)
    names = network.state_dict()
    encoder = {name for name in names if name.startswith(("project.", "encoder.", "bottom."))}
    assert set(report.loaded) == encoder
    assert set(report.newly_initialised) == set(names) - encoder
    assert not encoder & differing(network, source)


@pytest.mark.parametrize(
    ("change", "mentioned"),
    [
        ({"architecture": "unet3d"}, "architecture"),
        ({"level_channels": (2, 4, 6, 8, 24)}, "level_channels"),
        ({"resolution_mode": 2}, "resolution_mode"),
        ({"depths": (2, 2, 1)}, "depths"),
        ({"num_heads": (2, 2, 6)}, "num_heads"),
    ],
)
def test_a_start_from_another_network_is_refused(tmp_path, change, mentioned):
    bundle = a_bundle(tmp_path, a_network())
    with pytest.raises(BundleError, match=mentioned) as caught:
        initialise(a_network(**change), bundle)
    assert caught.value.code == "other-network"


def test_a_start_from_residual_blocks_of_another_depth_is_refused(tmp_path):
    bundle = a_bundle(tmp_path, a_network("fmunet"))
    with pytest.raises(BundleError, match="depth is 2, the network has 3"):
        initialise(a_network("fmunet", depths=(3, 3, 3)), bundle)


def test_a_published_checkpoint_starts_a_fine_tuning(published_fixtures):
    path = published_fixtures / "pct_mode1_multi_c5.pt"
    published, _ = load_published_checkpoint(path, patch_size=(16, 48, 48), deep_supervision=True)
    network = build_network(
        dataclasses.replace(
            published.config, num_classes=2, window_sizes=(6, 6, 6), patch_size=(64, 128, 128)
        )
    )
    report = initialise(network, path)
    fresh = set(report.newly_initialised)
    assert fresh - class_convolutions(4) == {
        n for n in network.state_dict() if "bias_table" in n
    } - {
        f"{side}.blocks.2.transformer.{i}.attention.bias_table"
        for side in ("encoder", "decoder")
        for i in (0, 1)
    }
    assert class_convolutions(4) <= fresh
    assert "pred_heads.1.out_conv0.conv.2.weight" in report.unused
    assert len(report.loaded) + len(report.unused) == 684
    assert differing(network, published) == fresh


def test_a_published_checkpoint_of_another_mode_is_refused(published_fixtures):
    network = build_network(
        a_config("fmunet", level_channels=(4, 8, 12, 16, 20), resolution_mode=0)
    )
    with pytest.raises(BundleError, match="resolution_mode is 1, the network has 0"):
        initialise(network, published_fixtures / "fmunet_mode1_multi_c3.pt")
