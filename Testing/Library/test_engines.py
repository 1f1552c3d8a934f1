"""PyTorch or OpenVINO: which one computes, the same logits from both, and what is kept on disk."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from MISFMLib.configs import (
    IntensityConfig,
    LabelConfig,
    NetworkConfig,
    PreprocessingConfig,
    StagesConfig,
)
from MISFMLib.data.phantom import draw_phantom
from MISFMLib.device import inference_precisions
from MISFMLib.errors import DeviceError, JobCancelled
from MISFMLib.events import Progress
from MISFMLib.inference import engines as engines_module
from MISFMLib.inference import kept_conversions, openvino_conversion, openvino_network
from MISFMLib.inference.deviation import (
    BOUNDS,
    Deviation,
    RefusedError,
    measure_deviation,
    reference_logits,
)
from MISFMLib.inference.engine import Work
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.kept_conversions import Recipe
from MISFMLib.inference.openvino_network import OpenVINONetwork
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.inference.settled import Settled
from MISFMLib.metrics import dice
from MISFMLib.models.bundle import BundleManifest, read_weights, write_bundle
from MISFMLib.models.store import engines_folder, find_model
from MISFMLib.networks import build_network, weights_to_numpy
from MISFMLib.volumes.volume import Geometry, Volume

pytestmark = pytest.mark.usefixtures("one_thread")

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
PATCH = (16, 32, 32)
WINDOW = (1, *PATCH)
MANY = 9 * 2**20 // (16 * 32 * 32)
"""Windows that are worth a conversion."""
LABELS = (LabelConfig(value=1, name="grey"), LabelConfig(value=2, name="white"))
NETWORKS = {
    "pctnet": NetworkConfig(
        num_classes=3,
        level_channels=(4, 4, 8, 8, 8),
        depths=(2, 1, 1),
        num_heads=(2, 2, 2),
        window_sizes=(3, 3, 2),
        patch_size=PATCH,
    ),
    "fmunet": NetworkConfig(
        architecture="fmunet", num_classes=3, level_channels=(4, 4, 4, 4, 4), depths=(1, 1, 1)
    ),
    "unet3d": NetworkConfig(
        architecture="unet3d", num_classes=3, level_channels=(4, 4, 4, 4, 4), resolution_mode=0
    ),
}


def a_bundle(folder, architecture="unet3d", provenance=None):
    """A bundle whose norms have statistics, and whose classes are all found."""
    torch.manual_seed(0)
    config = NETWORKS[architecture]
    network = build_network(config)
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(2, 1, *PATCH))
        network.heads[0].conv.bias -= network.eval()(an_image()).mean((0, 2, 3, 4))
    manifest = BundleManifest(
        name="tiny",
        network=config,
        preprocessing=PreprocessingConfig(
            intensity=(IntensityConfig(scheme="mr-zscore"),), patch_size=PATCH
        ),
        labels=LABELS,
        provenance=provenance or {},
    )
    return write_bundle(folder, manifest, weights_to_numpy(network))


@pytest.fixture
def bundle(tmp_path):
    return a_bundle(tmp_path / "tiny")


def an_image(seed=0, batch_size=1):
    """A bright ball in noise."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in PATCH), indexing="ij")
    ball = (sum(axis**2 for axis in axes) < 0.4).astype(np.float32)
    noise = np.random.default_rng(seed).normal(0, 0.3, (batch_size, 1, *PATCH))
    return torch.from_numpy((3 * ball + noise).astype(np.float32))


def some_work(device=CPU, windows=1):
    return Work(device=device, windows=windows, window_shape=WINDOW, sample=an_image)


def a_volume():
    geometry = Geometry((20, 40, 36), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    array = np.zeros((1, 20, 40, 36), np.float32)
    array[:, 2:18, 4:36, 2:34] = an_image()[0].numpy()
    return Volume(array, geometry, "case")


# ---------------------------------------------------------------------------------- which engine


class FakeOpenVINO:
    """Stands in for the conversion; remembers what was asked of it."""

    def __init__(self, monkeypatch):
        self.kept, self.refused, self.calls = set(), set(), []
        self.mean_dice = {}
        self.error = None
        monkeypatch.setattr(openvino_network, "why_unavailable", lambda: "")
        monkeypatch.setattr(openvino_network, "version", lambda: "1.0")
        monkeypatch.setattr(kept_conversions, "load", self.load)
        monkeypatch.setattr(kept_conversions, "build", self.build)
        monkeypatch.setattr(Recipe, "is_kept", lambda recipe: recipe.precision in self.kept)
        monkeypatch.setattr(
            engines_module,
            "inference_precisions",
            lambda precision, _device: ("bf16", "fp32") if precision == "auto" else (precision,),
        )

    def load(self, recipe, threads):
        self.calls.append(("load", recipe.precision, threads))
        if recipe.precision in self.kept & self.refused:
            raise RefusedError("not accurate")
        return self.converted(recipe) if recipe.precision in self.kept else None

    def converted(self, recipe):
        network = nn.Identity()
        network.mean_dice = self.mean_dice.get(recipe.precision, 1.0)
        return network

    def build(self, recipe, threads, network, image_BCDHW, is_regional):
        self.calls.append(("build", recipe.precision, threads))
        assert isinstance(network, nn.Module)
        assert tuple(image_BCDHW.shape) == (1, *recipe.window_shape)
        if self.error is not None:
            raise self.error
        self.kept.add(recipe.precision)
        if recipe.precision in self.refused:
            raise RefusedError("not accurate")
        return self.converted(recipe)

    @property
    def built(self):
        return [precision for verb, precision, _ in self.calls if verb == "build"]


@pytest.fixture
def fake(monkeypatch):
    return FakeOpenVINO(monkeypatch)


def test_a_few_windows_are_left_to_pytorch(fake, bundle):
    engine = Engines.from_bundle(bundle).choose("auto", "auto", some_work())
    assert engine.name == f"PyTorch {torch.__version__}"
    assert engine.precision == "bf16"
    assert "does not pay" in engine.reason
    assert fake.calls == []


def test_many_windows_are_converted_for_once(fake, bundle):
    engines = Engines.from_bundle(bundle)
    heard = []
    for _ in range(2):
        engine = engines.choose(
            "auto", "auto", some_work(windows=MANY), lambda: heard.append(fake.built)
        )
        assert (engine.name, engine.precision, engine.reason) == ("OpenVINO 1.0", "bf16", "")
    assert fake.built == ["bf16"]
    assert heard == [[]], "the listener hears of the conversion before it is made"


@pytest.mark.parametrize(
    ("wanted", "mean_dice", "precision"),
    [("auto", 0.998, "bf16"), ("auto", 0.996, "fp32"), ("bf16", 0.9, "bf16")],
)
def test_a_number_format_that_changes_labels_has_to_be_asked_for(
    fake, bundle, wanted, mean_dice, precision
):
    fake.mean_dice["bf16"] = mean_dice
    engines = Engines.from_bundle(bundle)
    for _ in range(2):
        engine = engines.choose("auto", wanted, some_work(windows=MANY))
        assert (engine.name, engine.precision) == ("OpenVINO 1.0", precision)


@pytest.mark.parametrize(("noise", "precision"), [(0.0, "bf16"), (0.5, "fp32")])
def test_pytorch_computes_imported_models_in_float32_until_their_labels_stay(
    fake, tmp_path, noise, precision, monkeypatch
):
    def logits(_self, image_BCDHW):
        error = noise if torch.is_autocast_enabled("cpu") else 0.0
        return torch.cat([0.5 + error - image_BCDHW, image_BCDHW, torch.zeros_like(image_BCDHW)], 1)

    bundle = a_bundle(tmp_path / "imported", provenance={"imported_by": "MISFM"})
    engines = Engines.from_bundle(bundle)
    monkeypatch.setattr(type(engines.network), "forward", logits)
    few, many = (
        engines.choose("torch", "auto", some_work(windows=windows)) for windows in (1, MANY)
    )
    assert (few.precision, many.precision) == ("fp32", precision)
    assert engines.choose("torch", "auto", some_work()).precision == precision
    assert engines.choose("torch", "bf16", some_work()).precision == "bf16"


def test_the_windows_of_earlier_volumes_count(fake, bundle):
    engines = Engines.from_bundle(bundle)
    names = [engines.choose("auto", "auto", some_work(windows=MANY // 3)).name for _ in range(5)]
    assert [name.split()[0] for name in names] == ["PyTorch"] * 2 + ["OpenVINO"] * 3
    assert fake.built == ["bf16"]


def test_the_engine_of_a_batch_is_had_again_for_one_window_or_refused(fake, bundle):
    engines = Engines.from_bundle(bundle)
    first = engines.choose("auto", "auto", some_work(windows=MANY))
    settled = Settled.from_engine(first, torch.device("cpu"))
    assert Settled.parse(str(settled)) == settled
    again = Engines.from_bundle(bundle).again(settled, some_work())
    assert (again.name, again.precision) == (first.name, first.precision)

    torch_settled = Settled("PyTorch", "fp32", "cpu")
    assert engines.again(torch_settled, some_work(windows=MANY)).name.startswith("PyTorch")
    fake.kept.clear()
    fake.error = RuntimeError("no converter")
    with pytest.raises(DeviceError, match="OpenVINO in bf16 on cpu") as caught:
        Engines.from_bundle(bundle).again(settled, some_work())
    assert caught.value.code == "other-engine"


@pytest.mark.parametrize("text", ["", "OpenVINO", "Magic in fp32 on cpu", "PyTorch in fp8 on cpu"])
def test_what_is_no_engine_is_none(text):
    assert Settled.parse(text) is None


def test_what_was_converted_in_another_process_serves_even_one_window(fake, bundle):
    fake.kept.add("bf16")
    heard = []
    engine = Engines.from_bundle(bundle).choose(
        "auto", "auto", some_work(), lambda: heard.append(1)
    )
    assert engine.name == "OpenVINO 1.0"
    assert (fake.built, heard) == ([], [])


def test_what_is_kept_is_loaded_ahead_and_nothing_is_converted(fake, bundle):
    for name in ("auto", "openvino"):
        Engines.from_bundle(bundle).load_kept(name, "bf16", WINDOW, torch.device("cpu"))
    fake.kept.add("bf16")
    engines = Engines.from_bundle(bundle)
    engines.load_kept("auto", "auto", WINDOW, torch.device("cpu"))
    loaded = ("load", "bf16", 1)
    assert fake.calls == [loaded, loaded]  # whoever asks for OpenVINO has it looked up
    assert engines.choose("auto", "auto", some_work()).name == "OpenVINO 1.0"
    assert fake.calls == [loaded, loaded]


def test_who_asks_for_openvino_gets_it_for_one_window(fake, bundle):
    engine = Engines.from_bundle(bundle).choose("openvino", "fp32", some_work())
    assert (engine.name, engine.precision) == ("OpenVINO 1.0", "fp32")


def test_who_asks_for_pytorch_gets_it(fake, bundle):
    fake.kept.add("bf16")
    engine = Engines.from_bundle(bundle).choose("torch", "auto", some_work(windows=MANY))
    assert engine.name.startswith("PyTorch")
    assert fake.calls == []


def test_a_more_exact_number_format_is_taken_when_bfloat16_is_refused(fake, bundle):
    fake.refused.add("bf16")
    engines = Engines.from_bundle(bundle)
    for _ in range(2):
        engine = engines.choose("auto", "auto", some_work(windows=MANY))
        assert (engine.name, engine.precision) == ("OpenVINO 1.0", "fp32")
    assert fake.built == ["bf16", "fp32"]
    again = Engines.from_bundle(bundle).choose("auto", "auto", some_work())
    assert again.precision == "fp32"
    assert fake.built == ["bf16", "fp32"], "a refusal is remembered on disk"


def test_pytorch_computes_in_float32_when_openvino_refused_both(fake, bundle):
    fake.refused |= {"bf16", "fp32"}
    engine = Engines.from_bundle(bundle).choose("openvino", "auto", some_work())
    assert engine.name.startswith("PyTorch")
    assert (engine.precision, engine.reason) == ("fp32", "not accurate")


def test_the_number_format_that_was_asked_for_stays_when_openvino_refuses_it(fake, bundle):
    fake.refused.add("bf16")
    engine = Engines.from_bundle(bundle).choose("auto", "bf16", some_work(windows=MANY))
    assert engine.name.startswith("PyTorch")
    assert engine.precision == "bf16"


def test_a_failure_is_logged_and_not_repeated(fake, bundle, caplog):
    fake.error = RuntimeError("unknown operation")
    engines = Engines.from_bundle(bundle)
    for _ in range(2):
        engine = engines.choose("openvino", "auto", some_work())
        assert engine.name.startswith("PyTorch")
        assert "unknown operation" in engine.reason
    assert fake.built == ["bf16"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_cancel_before_the_conversion_passes(fake, bundle):
    def cancel():
        raise JobCancelled

    engines = Engines.from_bundle(bundle)
    with pytest.raises(JobCancelled):
        engines.choose("auto", "auto", some_work(windows=MANY), cancel)
    assert engines.choose("auto", "auto", some_work()).name == "OpenVINO 1.0"


def test_another_number_of_threads_compiles_anew_without_converting(fake, bundle):
    engines = Engines.from_bundle(bundle)
    threads = []
    for count in (1, 2, 2, 1):
        torch.set_num_threads(count)
        engines.choose("openvino", "fp32", some_work())
        threads.append(fake.calls[-1])
    torch.set_num_threads(1)
    assert threads == [
        ("build", "fp32", 1),
        ("load", "fp32", 2),
        ("load", "fp32", 2),
        ("load", "fp32", 1),  # that of the first time was let go, since it is large
    ]
    assert fake.calls.count(("load", "fp32", 2)) == 1


def test_gpus_and_networks_without_bundle_are_left_to_pytorch(fake, bundle, monkeypatch):
    network = nn.Conv3d(1, 2, 1)
    engine = Engines(network).choose("openvino", "fp32", some_work())
    assert engine.network is network
    assert "bundles" in engine.reason
    monkeypatch.setattr(nn.Module, "to", lambda module, *_, **__: module)
    engine = Engines.from_bundle(bundle).choose("openvino", "bf16", some_work(CUDA))
    assert "not on cuda:0" in engine.reason
    assert engine.precision == "bf16"


@pytest.mark.parametrize(
    ("machine", "is_installed", "words"),
    [("arm64", True, "x86"), ("AMD64", False, "misfm[cpu]"), ("x86_64", True, "")],
)
def test_openvino_needs_an_x86_cpu_and_its_package(monkeypatch, machine, is_installed, words):
    monkeypatch.setattr(openvino_network.platform, "machine", lambda: machine)
    monkeypatch.setattr(
        openvino_network.importlib.util, "find_spec", lambda name: is_installed or None
    )
    assert words in openvino_network.why_unavailable()
    assert bool(openvino_network.why_unavailable()) == bool(words)


# ------------------------------------------------------------------------------- how far it is off


def test_a_deviation_is_relative_to_the_reference():
    reference = torch.tensor([[3.0, -4.0], [0.0, 0.0]]).view(1, 2, 1, 1, 2)
    logits = reference.clone()
    logits[0, 1] += 2.0
    deviation = measure_deviation(logits, reference)
    assert deviation.max_error == pytest.approx(2 / 4)
    assert deviation.rms_error == pytest.approx((8 / 25) ** 0.5)
    assert deviation.agreement == 1.0
    logits[0, 1, 0, 0, 0] = 9.0
    assert measure_deviation(logits, reference).agreement == 0.5
    assert "50.0000%" in str(measure_deviation(logits, reference))


@pytest.mark.parametrize(("is_regional", "dice"), [(False, 2 / 3), (True, (1 + 2 / 3) / 2)])
def test_dice_is_the_mean_of_the_classes_that_are_large_enough(is_regional, dice):
    reference = torch.full((1, 4, 1, 20, 40), -2.0)
    reference[0, 0] = 0.0  # the background, a region where the channels are regions
    reference[0, 1, 0, :, :15] = 5.0
    reference[0, 2, 0, :2, 20:30] = 5.0  # 20 voxels say nothing
    logits = reference.clone()
    logits[0, 1, 0, :, 15:30] = 5.0  # twice as large
    if is_regional:
        reference[0, 0], logits[0, 0] = 1.0, 1.0
    deviation = measure_deviation(logits, reference, is_regional=is_regional)
    assert deviation.mean_dice == pytest.approx(dice)
    assert measure_deviation(reference, reference, is_regional=is_regional).mean_dice == 1.0


@pytest.mark.parametrize(
    ("changes", "exceeds"),
    [
        ({}, False),
        ({"max_error": 0.2}, True),
        ({"rms_error": 0.02}, True),
        ({"agreement": 0.98}, True),
        ({"rms_error": float("nan")}, True),
    ],
)
def test_each_number_of_a_deviation_has_its_bound(changes, exceeds):
    bound = Deviation(0.1, 0.01, 0.99)
    assert dataclasses.replace(bound, **changes).exceeds(bound) == exceeds


# --------------------------------------------------------------------------------- with OpenVINO


@pytest.fixture
def openvino():
    problem = openvino_network.why_unavailable()
    if problem:
        pytest.skip(problem)


def a_recipe(bundle, precision="fp32"):
    manifest = bundle.manifest
    return Recipe(manifest.weights_sha256, manifest.network, WINDOW, precision)


def converted(bundle, **settings):
    recipe = a_recipe(bundle, **settings)
    network = engines_module.network_from_bundle(bundle)
    return recipe, network, kept_conversions.build(recipe, 1, network, an_image())


@pytest.mark.parametrize("architecture", NETWORKS)
def test_openvino_gives_the_logits_of_pytorch(openvino, tmp_path, architecture):
    bundle = a_bundle(tmp_path / "tiny", architecture)
    recipe, network, first = converted(bundle)
    images = an_image(seed=1, batch_size=2)
    with torch.inference_mode():
        expected = network(images)
    assert not measure_deviation(first(images), expected).exceeds(Deviation(5e-5, 5e-5, 0.9999))
    again = kept_conversions.load(recipe, 1)
    assert torch.equal(again(images), first(images))


def test_each_of_several_models_gives_back_the_memory_it_computed_in(
    openvino, bundle, tmp_path, monkeypatch
):
    other = dataclasses.replace(
        bundle.manifest,
        labels=tuple(
            dataclasses.replace(label, value=label.value + 2, name=f"other {label.name}")
            for label in LABELS
        ),
    )
    weights = read_weights(bundle)
    whole = dataclasses.replace(bundle.manifest, labels=(*LABELS, *other.labels), parts=("other",))
    several = write_bundle(tmp_path / "whole", whole, weights, parts={"other": (other, weights)})
    released, release = [], OpenVINONetwork.release
    monkeypatch.setattr(
        OpenVINONetwork, "release", lambda network: released.append(network) or release(network)
    )
    options = SegmenterOptions(device="cpu", engine="openvino", precision="fp32")
    alone = Segmenter.from_bundle(bundle, options).segment(a_volume()).label_map.array_DHW
    assert not released
    segmenter = Segmenter.from_bundle(several, options)
    for _ in range(2):
        found = segmenter.segment(a_volume()).label_map.array_DHW
        np.testing.assert_array_equal(found, np.where(alone > 0, alone + 2, 0))
        assert all(network._request is None for network in released)
    assert len(np.unique(alone)) > 2
    assert len(released) == 4
    assert len(set(released)) == 2


def a_staged_network(channels=(4, 8)):
    config = NetworkConfig(
        architecture="plainconvunet",
        num_classes=5,
        level_channels=channels,
        stages=StagesConfig(
            kernels=((3, 3, 3),) * 2,
            strides=((1, 1, 1), (2, 2, 2)),
            blocks=(2, 2),
            decoder_blocks=(2,),
        ),
    )
    torch.manual_seed(0)
    network = build_network(config).eval()
    # Without, and with fewer channels, OpenVINO computes the last layer in float32.
    nn.init.normal_(network.heads[0].conv.bias)
    return network


def test_many_logits_in_bfloat16_stay_so(openvino, bundle, monkeypatch):
    recipe = a_recipe(bundle, "bf16")
    if "bf16" not in inference_precisions("auto", CPU):
        pytest.skip("this CPU does not compute in bfloat16")
    monkeypatch.setitem(BOUNDS, "bf16", Deviation(0.1, 0.1, 0.5))  # with random weights
    network = a_staged_network((16, 32))
    wide = kept_conversions.build(recipe, 1, network, an_image())(an_image(seed=1))
    assert wide.dtype == torch.float32
    monkeypatch.setattr(kept_conversions, "_MANY_LOGITS", 1000)
    narrow = kept_conversions.build(recipe, 1, network, an_image())
    assert narrow(an_image(seed=1)).dtype == torch.bfloat16
    for made in (narrow, kept_conversions.load(recipe, 1)):
        assert torch.equal(made(an_image(seed=1)).float(), wide)


def test_logits_of_more_digits_than_bfloat16_are_told():
    assert openvino_conversion.is_bfloat16(torch.tensor([[1.0, -0.5, 257 / 256 - 1 / 256]]))
    assert not openvino_conversion.is_bfloat16(torch.tensor([[1.0, 513 / 512]]))


def test_the_reference_keeps_features_and_gives_the_logits_by_slices():
    network, image = a_staged_network(), an_image()
    with torch.inference_mode():
        logits, slices = network(image), reference_logits(network, image)
        torch.testing.assert_close(slices(slice(3, 9)), logits[:, :, 3:9], atol=1e-6, rtol=1e-6)
        noise = logits + 0.01 * torch.randn_like(logits)
        by_slices, at_once = (measure_deviation(noise, given) for given in (slices, logits))
    assert dataclasses.astuple(by_slices) == pytest.approx(dataclasses.astuple(at_once), rel=1e-3)


@pytest.mark.parametrize("damage", ["bits", "gone", "record", "version"])
def test_a_damaged_or_outdated_conversion_is_not_used(openvino, bundle, damage, monkeypatch):
    recipe, _, _ = converted(bundle)
    weights, record = recipe.folder / "network.bin", recipe.folder / "record.json"
    if damage == "bits":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif damage == "gone":
        weights.unlink()
    elif damage == "record":
        record.write_text(record.read_text("utf-8")[:-9], "utf-8")
    else:
        monkeypatch.setattr(openvino_network, "version", lambda: "another")
    assert kept_conversions.load(recipe, 1) is None
    assert recipe.is_kept() == (damage in ("bits", "gone"))


def test_a_damaged_conversion_is_made_again(openvino, bundle):
    recipe, _, _ = converted(bundle)
    (recipe.folder / "network.xml").write_text("<net/>", "utf-8")
    engine = Engines.from_bundle(bundle).choose("openvino", "fp32", some_work())
    assert engine.name == f"OpenVINO {openvino_network.version()}"
    assert kept_conversions.load(recipe, 1) is not None


def test_a_failed_conversion_leaves_the_warnings_of_others_audible(openvino, caplog):
    class Unknown(torch.nn.Module):
        def forward(self, image_BCDHW):
            return torch.special.bessel_j0(image_BCDHW)

    with pytest.raises(Exception, match="bessel"):
        openvino_conversion.convert(Unknown(), torch.zeros(1, 1, 2, 2, 2))
    logging.getLogger("MISFMLib.volumes").warning("The slices are unevenly spaced.")
    assert "unevenly" in caplog.text


def test_a_network_off_the_reference_is_refused_and_not_tried_again(openvino, bundle, monkeypatch):
    monkeypatch.setitem(BOUNDS, "fp32", Deviation(0.0, 0.0, 1.0))
    with pytest.raises(RefusedError, match="rms error"):
        converted(bundle)
    recipe = a_recipe(bundle)
    assert [path.name for path in recipe.folder.iterdir()] == ["record.json"]
    with pytest.raises(RefusedError, match="not accurate enough"):
        kept_conversions.load(recipe, 1)
    engine = Engines.from_bundle(bundle).choose("openvino", "fp32", some_work())
    assert engine.name.startswith("PyTorch")


def test_a_conversion_that_cannot_be_kept_serves_all_the_same(
    openvino, bundle, tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MISFM_HOME", str(tmp_path / "file"))
    _, network, made = converted(bundle)
    with torch.inference_mode():
        torch.testing.assert_close(made(an_image()), network(an_image()), atol=1e-4, rtol=1e-4)
    assert "is not kept" in caplog.text


def test_the_conversions_of_the_models_used_last_are_kept(openvino, bundle):
    most = kept_conversions._MOST_MODELS
    others = [engines_folder(str(number)) for number in range(most + 2)]
    for age, folder in enumerate(others):
        (folder / "x").mkdir(parents=True)
        os.utime(folder, (1000 - age, 1000 - age))
    recipe, _, _ = converted(bundle)
    assert set(recipe.folder.parents[1].iterdir()) == {
        recipe.folder.parent,
        *others[: most - 1],
    }
    os.utime(recipe.folder.parent, (1000, 1000))
    kept_conversions.load(recipe, 1)
    assert recipe.folder.parent.stat().st_mtime > 1000


def test_another_model_patch_or_format_has_a_conversion_of_its_own(bundle):
    recipe = a_recipe(bundle)
    changes = (
        {"weights_sha256": "0" * 64},
        {"window_shape": (1, 8, 8, 8)},
        {"precision": "bf16"},
    )
    folders = {dataclasses.replace(recipe, **change).folder for change in changes}
    assert len(folders | {recipe.folder}) == 4
    other = dataclasses.replace(recipe, network=NETWORKS["pctnet"])
    assert other.made_from() != recipe.made_from()


def test_a_manifest_cannot_lead_out_of_the_folder_of_the_conversions(tmp_path):
    assert engines_folder("../../x").parent == engines_folder("y").parent


def test_openvino_tells_nobody_that_it_runs(openvino, tmp_path):
    """Its telemetry would report to the network and leave an identity in the home folder."""
    program = textwrap.dedent(
        """
        import sys
        from MISFMLib.inference import openvino_conversion
        openvino_conversion.import_openvino().Core()
        print(sys.modules["openvino_telemetry"], "openvino_telemetry.main" in sys.modules)
        """
    )
    home = {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **home},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["None", "False"]
    assert not (tmp_path / "intel").exists()
    assert not (tmp_path / "Intel Corporation").exists()


# -------------------------------------------------------------------------------- whole volumes


def segmented(bundle, events=None, **options):
    options = SegmenterOptions(device="cpu", postprocessing=False, **options)
    segmenter = Segmenter.from_bundle(bundle, options)
    return segmenter.segment(a_volume(), events.append if events is not None else print)


def test_both_engines_give_the_same_labels(openvino, bundle):
    events = []
    ours = segmented(bundle, engine="torch", precision="fp32")
    theirs = segmented(bundle, engine="openvino", precision="fp32", events=events)
    assert (ours.engine[:7], theirs.engine[:8]) == ("PyTorch", "OpenVINO")
    assert len(np.unique(ours.label_map.array_DHW)) > 1
    agreement = (ours.label_map.array_DHW == theirs.label_map.array_DHW).mean()
    assert agreement > 0.9999
    assert events[0] == Progress("convert", 0.0, "for this computer, once")
    assert theirs.notices == ours.notices


def test_the_user_who_asked_for_openvino_is_told_when_it_is_not_there(bundle, monkeypatch):
    monkeypatch.setattr(openvino_network, "why_unavailable", lambda: "It is not there.")
    result = segmented(bundle, engine="openvino")
    assert result.notices[0] == "PyTorch computes the network. It is not there."
    assert segmented(bundle, engine="auto").notices == result.notices[1:]


def test_a_volume_smaller_than_the_window_is_checked_with_its_padding(openvino, bundle):
    volume = a_volume()
    geometry = dataclasses.replace(volume.geometry, shape_dhw=(10, 30, 36))
    small = Volume(volume.array_CDHW[:, :10, :30], geometry, "small")
    options = SegmenterOptions(device="cpu", engine="openvino", precision="fp32")
    assert Segmenter.from_bundle(bundle, options).segment(small).engine.startswith("OpenVINO")


@pytest.mark.slow
def test_bfloat16_changes_few_labels_of_a_trained_model(openvino):
    """A drawn hippocampus, segmented by the model that comes with the program."""
    if "bf16" not in inference_precisions("auto", CPU):
        pytest.skip("this CPU does not compute in bfloat16")
    model, (sample, _) = find_model("hippocampus-mr"), draw_phantom(seed=0)
    labels = {}
    for engine, precision in (("torch", "fp32"), ("torch", "bf16"), ("openvino", "bf16")):
        options = SegmenterOptions(device="cpu", engine=engine, precision=precision)
        result = Segmenter.from_bundle(model, options).segment(sample)
        assert result.engine.startswith("OpenVINO" if engine == "openvino" else "PyTorch")
        labels[engine, precision] = result.label_map.array_DHW
    exact = labels.pop(("torch", "fp32"))
    for found in labels.values():
        assert all(dice(found == value, exact == value) > 0.998 for value in (1, 2))


def test_the_record_tells_how_far_the_conversion_is_off(openvino, bundle):
    recipe, network, made = converted(bundle)
    record = json.loads((recipe.folder / "record.json").read_text("utf-8"))
    with torch.inference_mode():
        deviation = measure_deviation(made(an_image()), network(an_image()))
    assert record["deviation"] == pytest.approx(dataclasses.asdict(deviation))
    assert record["refused"] == ""
