"""The networks take volumes of any size, train, and keep nothing stale."""

from __future__ import annotations

import copy
import dataclasses
import warnings

import pytest
import torch
import torch.nn.functional as F

from MISFMLib.configs import NetworkConfig, encode
from MISFMLib.errors import ConfigError
from MISFMLib.networks import build_network, choose_resolution_mode, stride_dhw
from MISFMLib.networks.blocks import Conv3d
from MISFMLib.networks.fmunet import FMUNet
from MISFMLib.networks.pct_net import attention_specs
from MISFMLib.networks.window_attention import (
    AttentionSpec,
    TransformerBlock,
    WindowAttention,
)
from MISFMLib.networks.window_layout import shift_mask, window_layout

pytestmark = pytest.mark.usefixtures("one_thread", "seed")
NORM_PARTS = ("running_mean", "running_var", "weight", "bias")
ARCHITECTURES = ("pctnet", "fmunet", "unet3d")
SCALES = {
    0: [(1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8), (16, 16, 16)],
    1: [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8), (8, 16, 16)],
    2: [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8), (4, 16, 16)],
}


def a_config(architecture="pctnet", **changes):
    settings = {
        "architecture": architecture,
        "num_classes": 3,
        "level_channels": (2, 4, 6, 8, 12),
        "num_heads": (2, 2, 3),
        "window_sizes": (3, 3, 2),
    }
    return NetworkConfig(**{**settings, **changes})


def a_network(architecture="pctnet", **changes):
    return build_network(a_config(architecture, **changes))


def ceil_sizes(size, mode, levels):
    return [
        tuple(-(-n // s) for n, s in zip(size, scale, strict=True))
        for scale in SCALES[mode][:levels]
    ]


# --------------------------------------------------------------------------------- resolution modes


@pytest.mark.parametrize(
    ("spacing_dhw", "mode"),
    [
        ((1.0, 1.0, 1.0), 0),
        ((0.5, 1.0, 1.0), 0),
        ((1.49, 1.0, 1.0), 0),
        ((1.5, 1.0, 1.2), 1),
        ((2.99, 1.0, 1.0), 1),
        ((3.0, 1.0, 1.0), 2),
        ((5.0, 1.2, 0.7), 2),
    ],
)
def test_the_mode_follows_the_ratio_of_slice_distance_to_pixel_size(spacing_dhw, mode):
    assert choose_resolution_mode(spacing_dhw) == mode


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_the_stride_belongs_to_the_mode(mode):
    assert stride_dhw(a_config(resolution_mode=mode)) == SCALES[mode][-1]


# ----------------------------------------------------------------------------------------- building


@pytest.mark.parametrize(
    ("mode", "single", "multi"),
    [(0, 44_262_337, 44_264_074), (1, 44_195_089, 44_196_826), (2, 43_900_945, 43_902_682)],
)
def test_pctnet_has_the_parameters_that_the_published_forward_reaches(mode, single, multi):
    for deep_supervision, count in ((False, single), (True, multi)):
        config = NetworkConfig(resolution_mode=mode, deep_supervision=deep_supervision)
        with torch.device("meta"):
            network = build_network(config)
        assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(("mode", "count"), [(0, 47_371_572), (1, 47_220_660), (2, 46_625_076)])
def test_fmunet_has_the_published_number_of_parameters(mode, count):
    config = NetworkConfig(
        architecture="fmunet",
        level_channels=(32, 64, 128, 256, 512),
        num_classes=5,
        resolution_mode=mode,
        deep_supervision=True,
    )
    with torch.device("meta"):
        network = build_network(config)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_settings_from_json_build_the_same_network(architecture):
    config = a_config(architecture)
    shapes = [
        {name: tensor.shape for name, tensor in build_network(c).state_dict().items()}
        for c in (config, encode(config))
    ]
    assert shapes[0] == shapes[1]
    assert build_network(encode(config)).config == config


def test_unknown_settings_are_refused():
    with pytest.raises(ConfigError, match="windows"):
        build_network({"windows": 6})


def test_fresh_weights_are_drawn_as_published():
    table = WindowAttention(AttentionSpec(8, heads=4, window=6, shift=0, dropout=0)).bias_table
    assert table.std().item() == pytest.approx(0.02, rel=0.05)
    network = FMUNet(a_config("fmunet", level_channels=(2, 4, 6, 8, 32)))
    conv = network.bottom[0].conv
    assert not conv.bias.any()
    assert conv.weight.std().item() == pytest.approx((2 / 1.0001 / (32 * 27)) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("patch_size", "windows", "shifts"),
    [
        (None, (6, 5, 4), (3, 2, 2)),
        ((64, 128, 128), (6, 5, 4), (3, 2, 2)),
        ((48, 128, 128), (6, 5, 4), (3, 2, 2)),
        ((32, 128, 128), (6, 5, 4), (3, 2, 0)),  # level 4 has 4 tokens along the depth
        ((24, 96, 80), (6, 5, 3), (3, 2, 0)),
        ((12, 48, 48), (6, 3, 2), (0, 0, 0)),  # sizes are rounded up as the padding does
    ],
)
def test_windows_that_span_the_patch_shrink_to_it_and_stay_put(patch_size, windows, shifts):
    config = a_config(window_sizes=(6, 5, 4), patch_size=patch_size)
    network = build_network(config)
    assert network.config.window_sizes == windows
    for level in (2, 3, 4):
        specs = attention_specs(network.config, level)
        assert specs == attention_specs(config, level)
        assert [spec.shift for spec in specs] == [0, shifts[level - 2]]


# --------------------------------------------------------------------------------------- any size


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1, 1), (5, 7, 9), (18, 33, 16)])
def test_logits_have_the_size_of_the_volume(architecture, mode, size):
    network = a_network(architecture, resolution_mode=mode, deep_supervision=True, in_channels=2)
    sizes = ceil_sizes(size, mode, 4)
    for batch, training in ((1, True), (2, False)):
        network.train(training)
        logits = network(torch.randn(batch, 2, *size))
        assert [level.shape for level in logits] == [(batch, 3, *expected) for expected in sizes]
        assert all(level.isfinite().all() for level in logits)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_without_deep_supervision_there_is_one_tensor(architecture):
    assert a_network(architecture)(torch.randn(2, 1, 8, 16, 16)).shape == (2, 3, 8, 16, 16)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_small_volumes_are_continued_by_their_last_voxels(architecture):
    network = a_network(architecture).eval()
    image = torch.randn(1, 1, 5, 20, 16)
    padded = F.pad(image, (0, 0, 0, 12, 0, 3), mode="replicate")
    with torch.no_grad():
        assert torch.equal(network(image), network(padded)[:, :, :5, :20])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_volumes_of_a_batch_do_not_mix(architecture):
    network = a_network(architecture).eval()
    images = torch.randn(3, 1, 9, 24, 40)
    with torch.no_grad():
        one_by_one = torch.cat([network(image[None]) for image in images])
        assert torch.allclose(network(images), one_by_one, atol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_features_are_the_pyramid_that_the_heads_read(architecture):
    network = a_network(architecture, deep_supervision=True).eval()
    image = torch.randn(2, 1, 16, 32, 48)
    with torch.no_grad():
        features, logits = network.features(image), network(image)
    assert [f.shape[1] for f in features] == list(network.config.level_channels)
    assert [tuple(f.shape[2:]) for f in features] == ceil_sizes((16, 32, 48), 1, 5)
    for head, level, expected in zip(network.heads, features, logits, strict=False):
        assert torch.equal(head(level), expected)
    assert [tuple(f.shape[2:]) for f in network.features(image[..., :5])] == ceil_sizes(
        (16, 32, 5), 1, 5
    )


def test_unet3d_computes_the_formulas_of_pymic():
    network = a_network("unet3d", resolution_mode=0).eval()
    state = network.state_dict()
    for name in state:
        if name.rpartition(".")[2] in ("running_mean", "running_var"):
            state[name].uniform_(0.5, 1.5)

    def conv(x, name):
        weight = state[f"{name}.weight"]
        return F.conv3d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def block(x, name):
        for i in (1, 2):
            norm = [state[f"{name}.norm{i}.{part}"] for part in NORM_PARTS]
            x = F.leaky_relu(F.batch_norm(conv(x, f"{name}.conv{i}"), *norm), 0.01)
        return x

    image = torch.randn(1, 1, 16, 32, 16)
    levels = [block(image, "encoder.blocks.0")]
    for i in range(1, 5):
        levels.append(block(F.max_pool3d(levels[-1], 2), f"encoder.blocks.{i}"))
    x = levels.pop()
    for i in (3, 2, 1, 0):
        x = conv(x, f"decoder.ups.{i}.up.conv")
        x = F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
        x = block(torch.cat([levels[i], x], 1), f"decoder.blocks.{i}")
    with torch.no_grad():
        assert torch.allclose(network(image), conv(x, "heads.0.conv"), atol=1e-5)


# ----------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_every_parameter_gets_a_gradient(architecture, deep_supervision):
    network = a_network(architecture, deep_supervision=deep_supervision, dropout=(0.0,) * 5)
    for module in network.modules():
        if isinstance(module, TransformerBlock):
            module.eval()  # without drop path, which may skip a branch
    logits = network(torch.randn(2, 1, 16, 48, 32))
    sum(level.square().mean() for level in (logits if deep_supervision else [logits])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any() or name.endswith("bias"), name  # norms cancel some biases


def test_gradients_are_the_same_bit_for_bit():
    gradients = []
    for _ in range(2):
        torch.manual_seed(3)
        network = a_network()
        network(torch.randn(2, 1, 16, 48, 32)).square().mean().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_drop_path_skips_a_fifth_of_the_samples_and_scales_the_rest():
    block = TransformerBlock(AttentionSpec(4, heads=1, window=2, shift=0, dropout=0.0))
    kept = block._drop_path(torch.ones(4000, 1, 1))
    assert set(kept.unique().tolist()) == {0.0, 1.25}
    assert kept.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(block.eval()._drop_path(torch.ones(9, 1, 1)), torch.ones(9, 1, 1))


def test_dropout_acts_on_the_attention_matrix_in_training_only():
    attention = WindowAttention(AttentionSpec(4, heads=1, window=2, shift=0, dropout=0.5))
    attention.project_dropout = torch.nn.Identity()
    tokens = torch.randn(1, 8, 4)
    assert not torch.equal(attention(tokens, (2, 2, 2)), attention(tokens, (2, 2, 2)))
    attention.eval()
    assert torch.equal(attention(tokens, (2, 2, 2)), attention(tokens, (2, 2, 2)))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_of_the_settings_is_used_on_its_level(architecture):
    network = a_network(architecture, dropout=(0.1, 0.2, 0.3, 0.4, 0.5))
    for level in range(5):
        rates = {m.p for m in network.encoder.blocks[level].modules() if hasattr(m, "p")}
        assert rates == {(0.1, 0.2, 0.3, 0.4, 0.5)[level]}


def test_half_precision_is_close_to_single():
    network = a_network().eval()
    image = torch.randn(1, 1, 16, 32, 32)
    with torch.no_grad():
        expected = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(image)
    assert (logits.float() - expected).abs().max() < 0.1 * expected.std()


# ------------------------------------------------------------------------------------------ windows


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("grid", [(3, 4, 5), (6, 3, 9), (1, 2, 7), (8, 8, 8)])
def test_merged_padding_changes_no_result(grid, shift):
    attention = WindowAttention(AttentionSpec(8, heads=2, window=3, shift=shift, dropout=0.0))
    torch.nn.init.normal_(attention.bias_table)
    torch.nn.init.normal_(attention.qkv.bias)
    tokens = torch.randn(2, grid[0] * grid[1] * grid[2], 8)
    results = []
    for is_training in (True, False):  # training keeps the padding
        attention.train(is_training).zero_grad()
        out = attention(tokens, grid)
        out.square().sum().backward()
        results.append([out.detach(), *(parameter.grad for parameter in attention.parameters())])
    for kept, merged in zip(*results, strict=True):
        assert (merged - kept).abs().max() < 1e-5 * kept.abs().max()


@pytest.mark.parametrize("shift", [0, 2])
def test_merged_padding_is_not_computed(shift):
    cpu = torch.device("cpu")
    merged = window_layout(2, (7, 5, 10), 5, shift, True, cpu)
    kept = window_layout(2, (7, 5, 10), 5, shift, False, cpu)
    q, k, _v = merged.gather
    token = torch.arange(2)[:, None] * 351 + torch.arange(350)
    assert torch.equal(q.sort()[0], 3 * token.flatten())
    windows = 2 * 2 * 1 * 2
    assert len(kept.gather[0]) == len(kept.gather[1]) == windows * 125
    assert len(q) <= len(k) <= len(q) + windows


# ------------------------------------------------------------------------------------------- caches


def an_attention(shift=1):
    return WindowAttention(AttentionSpec(4, heads=2, window=3, shift=shift, dropout=0.0)).eval()


@torch.no_grad()
def attend(attention):
    return attention(torch.linspace(-1, 1, 2 * 60 * 4).view(2, 60, 4), (3, 4, 5))


def test_the_spread_bias_and_the_layout_are_made_once(monkeypatch):
    attention = an_attention()
    first = attend(attention)
    layouts, masks = window_layout.cache_info().misses, shift_mask.cache_info().misses
    monkeypatch.setattr(attention, "_gather_bias", lambda: pytest.fail("spread again"))
    assert torch.equal(attend(attention), first)
    assert window_layout.cache_info().misses == layouts
    assert shift_mask.cache_info().misses == masks


def test_what_the_mask_blocks_has_no_weight_at_all():
    mask = shift_mask(4, 2, (True, False, True), torch.device("cpu"))
    weights = (torch.linspace(-5, 5, mask.numel()).view_as(mask) + mask).softmax(-1)
    assert (weights[mask < 0] == 0).all()  # a number below 1e-38 makes the softmax slow
    assert (weights[mask == 0] > 0).all()


def load_other_table(attention):
    attention.load_state_dict({**attention.state_dict(), "bias_table": torch.randn(125, 2)})


def assign_other_table(attention):
    state = {**attention.state_dict(), "bias_table": torch.randn(125, 2)}
    attention.load_state_dict(state, assign=True)


def train_by_fused_optimizer(attention):
    optimizer = torch.optim.AdamW([attention.bias_table], lr=1.0, fused=True)
    attention(torch.randn(2, 60, 4), (3, 4, 5)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    "change",
    [load_other_table, assign_other_table, train_by_fused_optimizer],
)
def test_a_changed_table_is_noticed(change):
    attention = an_attention()
    attend(attention)
    change(attention)
    attention.float()
    fresh = an_attention()
    fresh.load_state_dict(attention.state_dict())
    assert torch.equal(attend(attention), attend(fresh))


def test_a_copy_does_not_share_the_spread_bias():
    attention = an_attention()
    before = attend(attention)
    duplicate = copy.deepcopy(attention)
    load_other_table(duplicate)
    assert not torch.equal(attend(duplicate), before)
    assert torch.equal(attend(attention), before)


def test_training_goes_on_after_validation_in_inference_mode():
    attention = an_attention()
    window_layout.cache_clear()
    shift_mask.cache_clear()
    with torch.inference_mode():
        validated = attend(attention)
    trained = attention(torch.linspace(-1, 1, 480).view(2, 60, 4), (3, 4, 5))
    trained.sum().backward()
    assert attention.bias_table.grad.any()
    assert torch.allclose(trained, validated)
    assert torch.allclose(attend(attention), validated)


def test_a_network_made_in_inference_mode_works():
    with torch.inference_mode():
        attention = an_attention()
        first = attend(attention)
        attention.bias_table.normal_()
        assert not torch.equal(attend(attention), first)


def test_a_network_that_ran_once_can_be_traced():
    network = a_network().eval()
    image = torch.randn(1, 1, 8, 32, 32)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes become constants, as wanted
        expected = network(image)
        traced = torch.jit.trace(network, torch.zeros_like(image), check_trace=False)
        torch.testing.assert_close(traced(image), expected)


def test_the_settings_of_a_network_rebuild_it():
    network = a_network(patch_size=(16, 32, 32), window_sizes=(4, 4, 4))
    again = build_network(dataclasses.replace(network.config))
    assert again.config == network.config
    again.load_state_dict(network.state_dict())


# ------------------------------------------------------------------------------- number formats


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(2, 6, 6), (2, 1, 3), (2, 2, 2), (3, 1, 1)])
def test_thin_volumes_get_right_gradients_in_bfloat16(size, stride):
    conv = Conv3d(16, 32, 3, stride, padding=1)
    image_BCDHW = torch.randn(2, 16, *size)
    (exact,) = torch.autograd.grad(conv(image_BCDHW).square().sum(), conv.weight)
    with torch.autocast("cpu", torch.bfloat16):
        loss = conv(image_BCDHW.bfloat16()).float().square().sum()
    (gradient,) = torch.autograd.grad(loss, conv.weight)
    assert (gradient - exact).norm() < 0.01 * exact.norm()


def kernels(forward, weight, image_BCDHW):
    """Return what PyTorch calls in a step of training, and the output with both gradients."""
    with torch.autograd.profiler.profile() as profile:
        output_BCDHW = forward(image_BCDHW)
        gradients = torch.autograd.grad(output_BCDHW.square().sum(), (weight, image_BCDHW))
    return {event.name for event in profile.function_events}, (output_BCDHW, *gradients)


@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 3, 3)])
def test_one_small_volume_is_convolved_as_fast_as_several(kernel):
    padding = tuple(edge // 2 for edge in kernel)
    conv = Conv3d(8, 16, kernel, (1, 2, 2), padding)
    image_BCDHW = torch.randn(1, 8, 10, 12, 14).requires_grad_()
    called, values = kernels(conv, conv.weight, image_BCDHW)
    alone, expected = kernels(super(Conv3d, conv).forward, conv.weight, image_BCDHW)
    assert "aten::slow_conv3d_forward" in alone - called
    for value, right in zip(values, expected, strict=True):
        assert (value - right).abs().max() < 1e-5 * right.abs().max()


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_convolution_that_sees_neighbours_is_safe_when_thin(architecture, mode):
    network = a_network(architecture, resolution_mode=mode)
    wide = [
        module
        for module in network.modules()
        if isinstance(module, torch.nn.Conv3d) and max(module.kernel_size) > 1
    ]
    assert wide
    assert all(isinstance(module, Conv3d) for module in wide)
