"""The networks that PCT-Net is compared with: one test for all, and checks of each block."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from MISFMLib.configs import (
    FinetuneConfig,
    IntensityConfig,
    LabelConfig,
    NetworkConfig,
    PreprocessingConfig,
    PretrainConfig,
)
from MISFMLib.data.cases import LabelledSet
from MISFMLib.data.datasets import Batch
from MISFMLib.data.label_check import CaseFacts
from MISFMLib.data.nnunet_rules import StageRules, nnunet_spacing, plan_stages
from MISFMLib.errors import BundleError, ConfigError
from MISFMLib.events import ignore_events
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.jobs import networks
from MISFMLib.jobs.networks import list_networks
from MISFMLib.jobs.pretrain.methods import build_method, with_outputs
from MISFMLib.jobs.train.planning import make_plan
from MISFMLib.jobs.train.start import check_levels, find_start, preset_network
from MISFMLib.models.bundle import write_bundle
from MISFMLib.models.bundle_manifest import BundleManifest
from MISFMLib.networks import build_network, initialise, weights_to_numpy
from MISFMLib.networks.build import build_shapes
from MISFMLib.networks.nnformer import CrossWindowAttention
from MISFMLib.networks.resolution import check_patch
from MISFMLib.networks.transunet import VisionTransformer
from MISFMLib.networks.unetrpp import AttentionBlock, PairedAttention
from MISFMLib.networks.weights import load_trained
from MISFMLib.networks.window_attention import AttentionSpec
from MISFMLib.training.prior import set_class_prior
from MISFMLib.volumes.volume import Geometry, Volume

pytestmark = pytest.mark.usefixtures("one_thread", "seed")

PATCH = (32, 32, 32)
STAGES = {
    "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    "blocks": (1, 1, 1),
    "decoder_blocks": (1, 1),
}
TINY = {
    "nnunet-small": {"level_channels": (2, 4, 6)},
    "resenc-small": {"level_channels": (2, 4, 6)},
    "transunet-small": {"level_channels": (2, 4, 6), "depths": (1,), "num_heads": (1,)},
    "segresnet-small": {"level_channels": (8,), "depths": (1, 1, 1, 1)},
    "swinunetr-small": {"level_channels": (12,), "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)},
    "unetr-small": {"level_channels": (2,), "num_heads": (1,)},
    "nnformer-small": {"level_channels": (4,), "num_heads": (1, 1, 2, 2)},
    "unetrpp-small": {"level_channels": (2, 4, 4, 8, 8), "num_heads": (2,)},
}


def tiny(name, **changes):
    """Make a network of a preset small enough for a test."""
    network, _, rules = preset_network(name)
    if rules is not None:
        changes["stages"] = replace(network.stages, **STAGES)
        if name == "transunet-small":
            changes["stages"] = replace(
                changes["stages"], strides=((1, 1, 1), (4, 4, 4), (4, 4, 4))
            )
    settings = {"patch_size": PATCH, "num_classes": 3, **TINY[name], **changes}
    return replace(network, **settings)


# ------------------------------------------------------------------------------ all, through it all


@pytest.mark.parametrize("name", TINY)
def test_every_network_trains_travels_in_a_bundle_and_segments(name, tmp_path):
    config = tiny(name, deep_supervision=True)
    network = build_network(config)
    shares = torch.tensor([0.7, 0.2, 0.1])
    assert len(set_class_prior(network, shares)) == len(network.heads)
    logits = network(torch.randn(2, 1, *PATCH))
    assert logits[0].shape == (2, 3, *PATCH)
    assert all(level.shape[3] < PATCH[1] for level in logits[1:])
    sum(level.square().mean() for level in logits).backward()
    for parameter in network.parameters():  # one without a gradient stops training on several GPUs
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    bundle = as_bundle(network, tmp_path / name)
    segmenter = Segmenter.from_bundle(bundle, SegmenterOptions(device="cpu", precision="fp32"))
    geometry = Geometry((20, 32, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    image = torch.randn(1, 20, 32, 40).numpy()
    label_map = segmenter.segment(Volume(image, geometry, "case")).label_map
    assert label_map.array_DHW.shape == (20, 32, 40)


def as_bundle(network, folder, kind="segmentation"):
    plain = build_network(replace(network.config, deep_supervision=False))
    given = network.state_dict()
    plain.load_state_dict({key: given[key] for key in plain.state_dict()})
    labels = tuple(
        LabelConfig(value=value, name=f"label {value}")
        for value in range(1, plain.config.num_classes)
    )
    manifest = BundleManifest(
        name="tiny",
        kind=kind,
        network=plain.config,
        preprocessing=PreprocessingConfig(
            intensity=(IntensityConfig(scheme="mr-zscore"),), patch_size=PATCH
        ),
        labels=() if kind == "pretrained" else labels,
    )
    return write_bundle(folder, manifest, weights_to_numpy(plain))


@pytest.mark.parametrize("name", TINY)
def test_volume_fusion_pretrains_every_network_and_a_training_starts_from_it(name, tmp_path):
    task = PretrainConfig(data=(tmp_path,), output=tmp_path / "out", method="volume-fusion")
    config = with_outputs(task, tiny(name))
    method = build_method(task, config)
    sample = method.pretext(OneVolume(), 0, np.random.default_rng(0))
    batch = Batch(sample.image_BCDHW, sample.target)
    loss = method.loss(method.network(torch.cat([batch.image_BCDHW] * 2)), doubled(batch))
    loss.backward()
    assert loss.isfinite()
    source = as_bundle(method.network, tmp_path / name, kind="pretrained")
    network = build_network(tiny(name))
    report = initialise(network, source)
    assert all(key.startswith("heads.") for key in report.newly_initialised)
    only_encoder = initialise(build_network(tiny(name)), source, encoder_only=True)
    assert any(not key.startswith("heads.") for key in only_encoder.newly_initialised)
    assert only_encoder.loaded


class OneVolume:
    """A volume of noise to crop from."""

    def __len__(self):
        return 1

    def shape(self, _index):
        return (40, 48, 70)

    def crop(self, _index, _start, size):
        return np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)


def doubled(batch):
    return Batch(torch.cat([batch.image_BCDHW] * 2), torch.cat([batch.label_BDHW] * 2))


def test_input_layers_stay_fresh_for_other_channels():
    for name in TINY:
        source = build_network(tiny(name))
        target = build_network(tiny(name, in_channels=3))
        report = load_trained(target, source.config, source.state_dict())
        reasons = set(report.newly_initialised.values())
        assert reasons == {"the source has 1 channels, 3 are wanted"}, name


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["transunet-small", "swinunetr-small", "unetr-small", "nnformer-small", "unetrpp-small"]
)
def test_openvino_computes_what_pytorch_computes(name):
    openvino = pytest.importorskip("openvino")
    assert openvino
    from MISFMLib.inference.openvino_conversion import convert

    network = build_network(tiny(name)).eval()
    image = torch.randn(1, 1, *PATCH)
    if name == "swinunetr-small":  # OpenVINO 2026.4 pads its windows wrongly; PyTorch computes then
        with pytest.raises(RuntimeError, match="Reshape"):
            convert(network, image)
        return
    with torch.no_grad():
        expected = network(image)
        converted = openvino.compile_model(
            convert(network, image), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
    found = torch.from_numpy(next(iter(converted(image.numpy()).values())))
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max().clamp(min=1)


# -------------------------------------------------------------------------------------- their sizes

# Weights of the full presets in millions, for one channel and 14 classes unless told, and whose
# number it is.
COUNTS = [
    # 31.2 M, 25 classes, 128^3: nnU-Net's PlainConvUNet 32..320 of dynamic-network-architectures
    ("nnunet", {"num_classes": 25}, 31.2, 0.1),
    ("resenc", {"num_classes": 25}, 102.4, 0.1),  # and its ResidualEncoderUNet (1, 3, 4, 6, 6, 6)
    ("swinunetr", {}, 62.19, 0.01),  # research-contributions, SwinUNETR/BTCV; 61.98 in the paper
    # 92.58 in the paper; MONAI's has 92.8: with norms that are never used, which are left out here
    ("unetr", {"patch_size": (96, 96, 96)}, 92.78, 0.05),
    ("nnformer", {"patch_size": (64, 128, 128)}, 150.5, 0.5),  # UNETR++'s table 1
    ("unetrpp", {"patch_size": (64, 128, 128)}, 42.96, 0.01),  # arXiv 2212.04497, table 1
    # 4.7 M: MONAI's bundle brats_mri_segmentation has 16 filters, 4 channels, 3 classes
    ("segresnet", {"level_channels": (16,), "in_channels": 4, "num_classes": 3}, 4.70, 0.01),
    # nnU-Net's plain network, and 12 layers of ViT-B (85.05 M) with projections and 128 places
    ("transunet", {"patch_size": (64, 128, 128)}, 31.19 + 85.05 + 0.49 + 0.05, 0.02),
]


@pytest.mark.parametrize(("name", "changes", "millions", "tolerance"), COUNTS)
def test_full_presets_have_the_published_weights(name, changes, millions, tolerance):
    network, _, _ = preset_network(name)
    changes = {"num_classes": 14, "resolution_mode": 1, "deep_supervision": True, **changes}
    built = build_shapes(replace(network, **changes))
    count = sum(parameter.numel() for parameter in built.parameters()) / 1e6
    if name in ("nnunet", "resenc", "transunet"):  # published without the heads of coarse levels
        count -= sum(p.numel() for p in built.heads[1:].parameters()) / 1e6
    assert count == pytest.approx(millions, abs=tolerance)


# ------------------------------------------------------------------------------------------ patches


@pytest.mark.parametrize(
    ("name", "patch", "fitting"),
    [
        ("unetr", (40, 32, 32), "32 32 32"),
        ("unetrpp", (32, 48, 64), "32 64 64"),
        ("unetrpp", (16, 32, 32), "16 32 64"),
        ("transunet", (30, 64, 64), "32 64 64"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused_with_one_that_does(name, patch, fitting):
    config, _, _ = preset_network(name)
    config = replace(config, patch_size=patch, resolution_mode=1)
    with pytest.raises(ConfigError, match="multiples of") as caught:
        build_network(config)
    assert caught.value.code == "patch-size"
    assert fitting in caught.value.remedy
    check_patch(replace(config, patch_size=tuple(map(int, fitting.split()))))


def test_a_planned_patch_always_fits(tmp_path):
    """Of volumes that are smaller than one voxel of the coarsest level too."""
    fact = CaseFacts(
        name="a",
        shape_dhw=(20, 20, 20),
        spacing_dhw=(1.0, 1.0, 1.0),
        modality="MR",
        intensity_range=(0.0, 1.0),
        label_values=(1,),
        foreground_samples=np.ones((1, 9)),
        image_digest="",
        label_digest="",
    )
    found = LabelledSet(cases=(), label_names={}, channels=("MR",), modality="MR")
    for name in TINY:
        config = FinetuneConfig(data=tmp_path, output=tmp_path / "out", network=name)
        plan = make_plan(config, found, [fact], find_start(config))
        check_patch(plan.network)
        assert plan.preprocessing.patch_size == plan.network.patch_size


def test_networks_of_one_size_need_it_and_take_no_larger_volume():
    with pytest.raises(ConfigError, match="no patch_size"):
        build_network(tiny("unetr-small", patch_size=None))
    network = build_network(tiny("unetr-small"))
    with pytest.raises(ConfigError, match="was given"):
        network(torch.zeros(1, 1, 32, 32, 80))


@pytest.mark.parametrize("name", ["unetr-small", "unetrpp-small", "transunet-small"])
def test_weights_of_places_stay_fresh_for_another_patch(name):
    source = build_network(tiny(name))
    other = build_network(tiny(name, patch_size=(32, 64, 64)))
    report = load_trained(other, source.config, source.state_dict())
    assert report.newly_initialised
    assert all("patch" in reason for reason in report.newly_initialised.values())


def test_another_depth_is_another_network(tmp_path):
    source = as_bundle(build_network(tiny("unetrpp-small", depths=(1, 1, 1, 2))), tmp_path / "a")
    with pytest.raises(BundleError, match="depths"):
        initialise(build_network(tiny("unetrpp-small", depths=(1, 1, 1, 1))), source)


@pytest.mark.parametrize("setting", [{"layer_decay": 0.5}, {"recompute_levels": 1}])
def test_settings_of_levels_are_refused_where_there_are_none(tmp_path, setting):
    config = FinetuneConfig(data=tmp_path, output=tmp_path / "out", **setting)
    check_levels(config, build_network(tiny("nnunet-small")))
    with pytest.raises(ConfigError, match=next(iter(setting))):
        check_levels(config, build_network(tiny("unetr-small")))


def test_pretraining_that_needs_levels_is_refused_where_there_are_none(tmp_path):
    task = PretrainConfig(data=(tmp_path,), output=tmp_path / "out", method="rotation")
    with pytest.raises(ConfigError, match="levels"):
        build_method(task, with_outputs(task, tiny("unetr-small")))


# ------------------------------------------------------------------------------- nnU-Net's planning


@dataclass
class Shape:
    """A volume for the planner."""

    shape_dhw: tuple[int, int, int]
    spacing_dhw: tuple[float, float, float]


# Answers of nnunetv2 2.8.1: ExperimentPlanner and nnUNetPlannerResEncM.get_plans_for_configuration
# with 3 classes and 8 GB.
PLANS = [
    ((36, 50, 35), (1, 1, 1), (40, 56, 40), (40, 56, 40), 4),
    ((138, 169, 138), (1, 1, 1), (128, 128, 128), (128, 128, 128), 6),
    ((20, 320, 320), (3.6, 0.62, 0.62), (20, 320, 256), (20, 256, 256), 7),
    ((115, 320, 232), (1.37, 1.25, 1.25), (80, 192, 160), (80, 192, 160), 6),
    ((150, 512, 512), (3.0, 0.78, 0.78), (56, 192, 192), (56, 192, 160), 6),
    ((187, 512, 512), (1.6, 0.79, 0.79), (64, 192, 160), (64, 160, 160), 6),
]


@pytest.mark.parametrize(("shape", "spacing", "plain", "residual", "stages"), PLANS)
def test_patch_and_stages_are_those_that_nnunet_plans(shape, spacing, plain, residual, stages):
    facts = [Shape(shape, spacing)]
    for name, patch in (("nnunet", plain), ("resenc", residual)):
        network, _, rules = preset_network(name)
        planned, found = plan_stages(replace(network, num_classes=3), rules, facts, spacing)
        assert found == patch
        if name == "nnunet":
            assert len(planned.stages.strides) == stages
        assert planned.level_channels[:5] == (32, 64, 128, 256, 320)[: len(planned.level_channels)]


def test_slices_far_apart_are_neither_halved_nor_convolved_at_first():
    network, _, rules = preset_network("nnunet")
    planned, _ = plan_stages(
        network, rules, [Shape((20, 320, 320), (3.6, 0.62, 0.62))], (3.6, 0.62, 0.62)
    )
    assert planned.stages.strides[:4] == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert planned.stages.kernels[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))


def test_a_patch_of_the_user_stays_and_gets_its_stages():
    network, _, rules = preset_network("resenc-small")
    planned, patch = plan_stages(
        network, rules, [Shape((90, 90, 90), (1, 1, 1))], (1.0, 1.0, 1.0), (32, 32, 32)
    )
    assert patch == (32, 32, 32)
    assert planned.level_channels == (8, 16, 32, 64)
    assert build_network(planned)(torch.zeros(2, 1, *patch)).shape[2:] == patch


def test_the_voxel_size_is_finer_along_an_axis_of_few_long_voxels():
    facts = [Shape((10, 200, 200), (length, 1.0, 1.0)) for length in (5, 6, 10, 10, 10)]
    assert nnunet_spacing(facts) == (5.4, 1.0, 1.0)
    assert nnunet_spacing([Shape((90, 90, 90), (3.5, 1, 1))] * 3) == (3.5, 1.0, 1.0)


def test_a_budget_that_nothing_meets_ends():
    network, _, _ = preset_network("nnunet")
    rules = StageRules(base_channels=32, most_channels=320, feature_values=1)
    plan_stages(network, rules, [Shape((40, 40, 40), (1, 1, 1))], (1.0, 1.0, 1.0))


# ---------------------------------------------------------------------------------------- by hand


def test_paired_attention_by_hand():
    layer = PairedAttention(channels=4, places=6, projected=3, heads=2).eval()
    with torch.no_grad():
        layer.channel_temperature.fill_(2.0)
        layer.place_temperature.fill_(3.0)
    x = torch.randn(1, 6, 4)
    found = layer(x)
    q, k, vc, vp = (x @ layer.qkvv.weight.T)[0].view(6, 4, 4).permute(1, 0, 2)  # (6, 4) each
    of_channels, scrambled = torch.zeros(6, 4), torch.zeros(2, 2, 6)
    for head in range(2):
        part = slice(2 * head, 2 * head + 2)
        query, key = F.normalize(q[:, part], dim=0), F.normalize(k[:, part], dim=0)
        among = (2 * query.T @ key).softmax(-1)  # channels ask channels
        of_channels[:, part] = vc[:, part] @ among.T
        few_keys = layer.project_places(k[:, part].T)  # (2, 3)
        few_values = layer.project_places(vp[:, part].T)
        answer = (3 * query @ few_keys).softmax(-1) @ few_values.T  # (6, 2)
        scrambled[:, head] = answer.T
    expected = torch.cat(
        [layer.join_places(scrambled.reshape(6, 4)), layer.join_channels(of_channels)], -1
    )
    assert torch.allclose(found[0], expected, atol=1e-6)


def test_the_block_of_unetrpp_is_almost_its_convolutions_at_first():
    block = AttentionBlock(channels=4, places=8, projected=2, heads=2).eval()
    x = torch.randn(1, 4, 2, 2, 2)
    assert torch.allclose(block(x), x + block.mix(block.convs(x)), atol=1e-4)


def test_queries_of_nnformer_ask_the_skipped_tokens():
    layer = CrossWindowAttention(AttentionSpec(4, heads=2, window=2, shift=0, dropout=0)).eval()
    query, tokens = torch.randn(1, 8, 4), torch.randn(1, 8, 4)
    found = layer(query, tokens, (2, 2, 2))
    key, value = layer.kv(tokens[0]).chunk(2, -1)
    heads = []
    for head, bias in enumerate(layer._gather_bias()[0]):
        part = slice(2 * head, 2 * head + 2)
        scores = query[0][:, part] @ key[:, part].T / 2**0.5 + bias
        heads.append(scores.softmax(-1) @ value[:, part])
    assert torch.allclose(found[0], layer.project(torch.cat(heads, -1)), atol=1e-6)


def test_nnformer_cuts_its_windows_to_the_patch():
    config = build_network(tiny("nnformer-small", resolution_mode=1)).config
    assert config.window_sizes == (
        4,
        4,
        2,
        1,
    )  # 16 x 8 x 8, 8 x 4 x 4, 4 x 2 x 2, 2 x 1 x 1 tokens


def test_the_transformer_of_transunet_is_that_of_pytorch():
    ours = VisionTransformer(channels=6, places=8, depth=1, heads=2).eval()
    theirs = torch.nn.TransformerEncoderLayer(
        128, 2, 512, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True
    ).eval()
    layer = ours.layers[0]
    pairs = {
        "self_attn.in_proj_weight": layer.qkv.weight,
        "self_attn.in_proj_bias": layer.qkv.bias,
        "self_attn.out_proj.weight": layer.project.weight,
        "self_attn.out_proj.bias": layer.project.bias,
        "linear1.weight": layer.mlp.expand.weight,
        "linear1.bias": layer.mlp.expand.bias,
        "linear2.weight": layer.mlp.shrink.weight,
        "linear2.bias": layer.mlp.shrink.bias,
    }
    theirs.load_state_dict({**theirs.state_dict(), **pairs})
    tokens = torch.randn(2, 8, 128)
    assert torch.allclose(layer(tokens), theirs(tokens), atol=1e-5)


def test_fresh_residual_blocks_change_nothing():
    network = build_network(tiny("resenc-small"))
    block = network.encoder.blocks[0][0]
    x = torch.rand(1, 2, 4, 4, 4)
    assert torch.allclose(block(x), x)


def test_settings_that_a_network_cannot_have_are_named():
    with pytest.raises(ConfigError, match=r"depths needs 4 values.*num_heads needs 4"):
        NetworkConfig(architecture="nnformer", level_channels=(24,), window_sizes=(4,) * 4)
    with pytest.raises(ConfigError, match="12 channels cannot be shared by 5"):
        NetworkConfig(
            architecture="swinunetr",
            level_channels=(12,),
            depths=(1,) * 4,
            num_heads=(5, 1, 1, 1),
        )


# ------------------------------------------------------------------------------------- the listing


def test_the_listing_counts_weights_and_operations():
    report = list_networks(
        ("nnunet-small", "unetrpp-small"), (32, 32, 64), ignore_events, is_measured=False
    )
    first, second = report["networks"]
    network, _, _ = preset_network("nnunet-small")
    assert first["weights"] == sum(p.numel() for p in build_network(network).parameters())
    # The first convolution alone: 27 products for each voxel and each of its 8 outputs.
    assert first["multiply_adds"] > 27 * 8 * 32 * 32 * 64
    assert second["architecture"] == "unetrpp"
    assert "unetrpp-small" in report["text"]


def test_a_busy_moment_is_not_taken_for_the_networks_time():
    pauses = iter((0.0, 0.3, 0.0, 0.0))
    assert networks._quickest(lambda: time.sleep(next(pauses))) < 0.1
    assert next(pauses, None) is None


@pytest.mark.slow
def test_the_listing_measures_in_a_process_of_its_own():
    report = list_networks(
        ("nnunet-small",), (32, 32, 32), ignore_events, is_measured=True, threads=1
    )
    (row,) = report["networks"]
    assert 0 < row["seconds"] < row["step_seconds"]
    assert row["step_bytes"] > 10 * 2**20
    assert "GB a step" in report["text"]
