"""Checkpoints in the published format give the published outputs, and nothing in them is executed.

The published networks are written down here a second time, slowly and straight from their formulas,
with the published names; they are the oracle for every configuration that has no stored output.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
import pickle
import pickletools
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from MISFMLib.errors import BundleError
from MISFMLib.networks import load_published_checkpoint
from MISFMLib.networks.window_attention import (
    AttentionSpec,
    WindowAttention,
)
from MISFMLib.networks.window_layout import relative_position_index

pytestmark = pytest.mark.usefixtures("one_thread")
TOLERANCE = 2e-4
CUBE, PLANE = (3, 3, 3), (1, 3, 3)


# ------------------------------------------------------------------ the published networks, slowly


class Published:
    """Shared parts of both networks; a tensor is drawn when it is used for the first time."""

    def __init__(self, seed=0):
        self.state = {}
        self.generator = torch.Generator().manual_seed(seed)

    def tensor(self, name, *shape, scale=1.0, offset=0.0):
        if name not in self.state:
            self.state[name] = offset + scale * torch.randn(shape, generator=self.generator)
        return self.state[name]

    def scale_and_shift(self, name, channels):
        return (
            self.tensor(f"{name}.weight", channels, scale=0.2, offset=1.0),
            self.tensor(f"{name}.bias", channels, scale=0.2),
        )

    def conv(self, x, name, out_channels, kernel, stride=1):
        fan_in = x.shape[1] * np.prod(kernel)
        weight = self.tensor(
            f"{name}.weight", out_channels, x.shape[1], *kernel, scale=fan_in**-0.5
        )
        bias = self.tensor(f"{name}.bias", out_channels, scale=0.2)
        return F.conv3d(x, weight, bias, stride, padding=[k // 2 for k in kernel])


class PublishedPCTNet(Published):
    """One mode of the published network; stems and heads of the others only see a corner."""

    def __init__(self, *, channels, heads, windows, depths, patch, mode, num_classes=3):
        super().__init__()
        self.channels, self.heads, self.windows = channels, heads, windows
        self.depths, self.patch, self.mode, self.num_classes = depths, patch, mode, num_classes

    def __call__(self, x):
        levels = [self.run(x, mode) for mode in (0, 1, 2)]  # all three are in a checkpoint
        return levels[self.mode]

    def run(self, x, mode):
        c = self.channels
        kinds = [(CUBE, CUBE), (PLANE, CUBE), (PLANE, PLANE)][mode]
        strides = [(2 if kind == CUBE else 1, 2, 2) for kind in kinds]
        stem, head, mid = f"embeddings.{mode}", f"pred_heads.{mode}", "pyramid_ct"
        x0 = self.conv(x, f"{stem}.proj", c[0], kinds[0])
        x0 = self.conv_block(x0, f"{stem}.conv0", c[0], kinds[0])
        x1 = self.down(x0, f"{stem}.down1", c[1], strides[0], kinds[1])
        x1 = self.conv_block(x1, f"{stem}.conv1", c[1], kinds[1])
        x2 = self.down(x1, f"{stem}.down2", c[2], strides[1], CUBE)
        if mode != self.mode:
            x2 = x2[:, :, :1, :1, :1]  # the middle belongs to the built mode
            up2 = self.up(
                x1[:, :, : strides[1][0], :2, :2], x2, f"{head}.up2", strides[1], kinds[1]
            )
        else:
            x2, d3, d2 = self.middle(x2, mid)
            up2 = self.up(x1, d2, f"{head}.up2", strides[1], kinds[1])
        d1 = self.conv_block(up2, f"{head}.conv1", c[1], kinds[1])
        skip = x0[:, :, : d1.shape[2] * strides[0][0], : 2 * d1.shape[3], : 2 * d1.shape[4]]
        d0 = self.up(skip, d1, f"{head}.up1", strides[0], kinds[0])
        d0 = self.conv_block(d0, f"{head}.conv0", c[0], kinds[0])
        outputs = [self.logits(d0, f"{head}.out_conv0"), self.logits(d1, f"{head}.out_conv1")]
        if mode == self.mode:
            outputs += [self.logits(d2, f"{mid}.out_conv2"), self.logits(d3, f"{mid}.out_conv3")]
        return outputs

    def middle(self, x2, name):
        c = self.channels
        x2 = self.pct_block(x2, f"{name}.convtrans_e2", 0)
        x3 = self.down(x2, f"{name}.down3", c[3], (2, 2, 2), CUBE)
        x3 = self.pct_block(x3, f"{name}.convtrans_e3", 1)
        x4 = self.down(x3, f"{name}.down4", c[4], (2, 2, 2), CUBE)
        x4 = self.pct_block(x4, f"{name}.convtrans_e4", 2)
        d3 = self.up(x3, x4, f"{name}.up4", (2, 2, 2), CUBE)
        d3 = self.pct_block(d3, f"{name}.convtrans_d3", 1)
        d2 = self.up(x2, d3, f"{name}.up3", (2, 2, 2), CUBE)
        return x2, d3, self.pct_block(d2, f"{name}.convtrans_d2", 0)

    def norm(self, x, name):
        weight, bias = self.scale_and_shift(name, x.shape[1])
        mean = self.tensor(f"{name}.running_mean", x.shape[1], scale=0.2)
        var = self.state.setdefault(f"{name}.running_var", mean.abs() + 0.5)
        self.state.setdefault(f"{name}.num_batches_tracked", torch.tensor(7))
        return F.batch_norm(x, mean, var, weight, bias, training=False)

    def normed(self, x, name, first=0):
        x = self.norm(x, f"{name}.{first}")
        return F.prelu(x, self.tensor(f"{name}.{first + 1}.weight", 1, scale=0.1, offset=0.25))

    def conv_block(self, x, name, channels, kind):
        x = self.conv(self.normed(x, f"{name}.conv_conv"), f"{name}.conv_conv.2", channels, kind)
        x = self.normed(x, f"{name}.conv_conv", first=3)
        return self.conv(x, f"{name}.conv_conv.6", channels, kind)

    def down(self, x, name, channels, stride, kind):
        x = F.max_pool3d(x, stride)
        return self.conv(self.normed(x, f"{name}.conv"), f"{name}.conv.2", channels, kind)

    def up(self, low, high, name, stride, kind):
        channels = low.shape[1]
        shape = (high.shape[1], channels, *stride)
        weight = self.tensor(f"{name}.up.2.weight", *shape, scale=high.shape[1] ** -0.5)
        bias = self.tensor(f"{name}.up.2.bias", channels, scale=0.2)
        high = F.conv_transpose3d(self.normed(high, f"{name}.up"), weight, bias, stride)
        x = torch.cat([low, high], 1)
        return self.conv(self.normed(x, f"{name}.conv"), f"{name}.conv.2", channels, kind)

    def logits(self, x, name):
        return self.conv(
            self.normed(x, f"{name}.conv"), f"{name}.conv.2", self.num_classes, (1, 1, 1)
        )

    def linear(self, x, name, width):
        weight = self.tensor(f"{name}.weight", width, x.shape[-1], scale=x.shape[-1] ** -0.5)
        return x @ weight.T + self.tensor(f"{name}.bias", width, scale=0.3)

    def layer_norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], *self.scale_and_shift(name, x.shape[-1]))

    def pct_block(self, x, name, position):
        channels = x.shape[1]
        self.scale_and_shift(f"{name}.norm_layer", channels)
        grid = x.shape[2:]
        window = min(self.windows[position], *grid)
        shifted = min(grid) > self.windows[position]
        t = x.permute(0, 2, 3, 4, 1)
        for i in range(self.depths[position]):
            block = f"{name}.trans.blocks.{i}"
            shift = window // 2 if shifted and i % 2 else 0
            heads = self.heads[position]
            table = self.tensor(
                f"{block}.attn.relative_position_bias_table", (2 * window - 1) ** 3, heads
            )
            index = published_index(window)
            self.state[f"{block}.attn.relative_position_index"] = index
            qkv = functools.partial(self.linear, name=f"{block}.attn.qkv", width=3 * channels)
            u = self.layer_norm(t, f"{block}.norm1")
            u = slow_attention(u, qkv, table[index], window=window, shift=shift, heads=heads)
            t = t + self.linear(u, f"{block}.attn.proj", channels)
            u = self.linear(self.layer_norm(t, f"{block}.norm2"), f"{block}.mlp.fc1", 4 * channels)
            t = t + self.linear(F.gelu(u), f"{block}.mlp.fc2", channels)
        return self.conv_block(x, f"{name}.conv", channels, CUBE) + t.permute(0, 4, 1, 2, 3)


def published_index(window):
    z, y, x = np.indices((window,) * 3).reshape(3, -1)
    differences = [p[:, None] - p + window - 1 for p in (z, y, x)]
    return torch.tensor(np.tensordot([3 * window - 1, 2 * window - 1, 1], differences, 1))


def slow_attention(u, qkv, bias, *, window, shift, heads):
    """Attend window by window: u (B,S,H,W,C) after the norm; bias (n,n,heads)."""
    size = u.shape[1:4]
    channels = u.shape[-1]
    padded = [int(np.ceil(n / window)) * window for n in size]
    u = F.pad(u, (0, 0, 0, padded[2] - size[2], 0, padded[1] - size[1], 0, padded[0] - size[0]))
    u = torch.roll(u, (-shift,) * 3, (1, 2, 3))
    region = torch.zeros(padded)
    for axis, n in enumerate(padded):
        ids = [0 if i < n - window else 1 if i < n - shift else 2 for i in range(n)]
        region = 3 * region + torch.tensor(ids).view([-1 if a == axis else 1 for a in range(3)])
    out = torch.zeros_like(u)
    for corner in itertools.product(*(range(0, n, window) for n in padded)):
        box = tuple(slice(start, start + window) for start in corner)
        r = region[box].flatten()
        mask = torch.where(r[:, None] == r, 0.0, -100.0) if shift else 0.0
        for b in range(len(u)):
            q, k, v = qkv(u[b][box].reshape(-1, channels)).chunk(3, -1)
            width = channels // heads
            for part in (slice(h * width, (h + 1) * width) for h in range(heads)):
                scores = q[:, part] @ k[:, part].T / width**0.5
                scores = scores + bias[:, :, part.start // width] + mask
                piece = scores.softmax(-1) @ v[:, part]
                out[b][box][..., part] = piece.view(window, window, window, width)
    out = torch.roll(out, (shift,) * 3, (1, 2, 3))
    return out[:, : size[0], : size[1], : size[2]]


class PublishedFMUNet(Published):
    def __init__(self, *, channels, depth, mode, num_classes=3):
        super().__init__()
        self.channels, self.depth, self.num_classes = channels, depth, num_classes
        kinds = [(CUBE, CUBE), (PLANE, CUBE), (PLANE, PLANE)][mode]
        self.kinds = [*kinds, CUBE, CUBE, CUBE]
        self.strides = [(2 if kind == CUBE else 1, 2, 2) for kind in self.kinds]

    def __call__(self, x):
        c, kinds = self.channels, self.kinds
        x = self.residual(self.conv(x, "project", c[0], kinds[0]), "encoder.en_conv0", 0)
        levels = [x]
        for i in range(4):
            x = self.normed(x, f"encoder.down{i}.down.0")
            x = self.conv(x, f"encoder.down{i}.down.2", c[i + 1], kinds[i], self.strides[i])
            x = self.residual(x, f"encoder.en_conv{i + 1}", i + 1)
            levels.append(x)
        x = self.residual(x, "decoder.de_conv4", 4)
        outputs = []
        for i in (3, 2, 1, 0):
            name = f"decoder.upcat{i}"
            x = self.conv(self.normed(x, f"{name}.up.0"), f"{name}.up.2", c[i], (1, 1, 1))
            size = levels[i].shape[2:]
            x = F.interpolate(x, size=size, mode="trilinear", align_corners=True)
            x = torch.cat([levels[i], x], 1)
            x = self.conv(self.normed(x, f"{name}.conv.0"), f"{name}.conv.2", c[i], kinds[i])
            x = self.residual(x, f"decoder.de_conv{i}", i)
            out = self.normed(x, f"out_layers.{i}.0")
            outputs.insert(0, self.conv(out, f"out_layers.{i}.2", self.num_classes, kinds[i]))
        return outputs

    def normed(self, x, name):
        weight, bias = self.scale_and_shift(name, x.shape[1])
        return F.leaky_relu(F.instance_norm(x, weight=weight, bias=bias), 0.01)

    def residual(self, x, name, level):
        for j in range(self.depth):
            step = f"{name}.conv_list.{j}"
            y = self.normed(x, f"{step}.0")
            x = x + self.conv(y, f"{step}.3", self.channels[level], self.kinds[level])
        return x


# ------------------------------------------------------------------------------------------ helpers


def a_pct_net(**changes):
    settings = {
        "channels": (2, 4, 6, 8, 12),
        "heads": (2, 2, 3),
        "windows": (3, 2, 1),
        "depths": (2, 2, 2),
        "patch": (16, 32, 32),
        "mode": 1,
    }
    return PublishedPCTNet(**{**settings, **changes})


def save(folder, state, **extra):
    path = folder / "net_best.pt"
    content = {"iteration": 10, "valid_pred": np.float32(0.9), "model_state_dict": state, **extra}
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def a_state():
    """Published tensors of a tiny PCT-Net in mode 1 with 3 classes."""
    network = a_pct_net()
    network(torch.zeros(1, 1, 16, 32, 32))
    return network.state


def check_same(outputs, expected):
    assert len(outputs) == len(expected)
    for ours, theirs in zip(outputs, expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < TOLERANCE


# ------------------------------------------------------------------------------------------- parity


@pytest.mark.parametrize(
    "name", ["pct_mode0_single_c3", "pct_mode1_multi_c5", "fmunet_mode1_multi_c3"]
)
def test_stored_outputs_of_the_published_networks_are_met(published_fixtures, name):
    stored = np.load(published_fixtures / f"{name}_io.npz")
    settings = json.loads(str(stored["config"]))["params"]
    network, report = load_published_checkpoint(
        published_fixtures / f"{name}.pt",
        resolution_mode=settings.get("resolution_mode", 1),
        patch_size=settings.get("input_size"),
        deep_supervision=settings["multiscale_pred"],
    )
    with torch.no_grad():
        outputs = network(torch.from_numpy(stored["input"]))
    outputs = outputs if settings["multiscale_pred"] else [outputs]
    expected = [torch.from_numpy(stored[f"output{i}"]) for i in range(len(outputs))]
    assert f"output{len(outputs)}" not in stored
    check_same(outputs, expected)
    assert not report.newly_initialised


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        pytest.param((8, 48, 32), {"mode": 2, "windows": (5, 7, 3), "depths": (1, 2, 3)}, id="odd"),
        pytest.param((8, 32, 48), {"mode": 1, "windows": (4, 3, 1)}, id="window equals grid"),
        pytest.param((32, 48, 32), {"mode": 0, "windows": (7, 2, 1), "heads": (1, 4, 2)}, id="iso"),
    ],
)
def test_other_configurations_match_the_formulas(tmp_path, size, settings):
    reference = a_pct_net(patch=size, **settings)
    image = torch.randn(2, 2, *size)
    expected = reference(image)
    network, report = load_published_checkpoint(
        save(tmp_path, reference.state),
        resolution_mode=reference.mode,
        patch_size=size,
        deep_supervision=True,
    )
    with torch.no_grad():
        check_same(network(image), expected)
    assert network.config.in_channels == 2
    assert network.config.depths == reference.depths
    assert network.config.num_heads == reference.heads
    assert not report.newly_initialised


def test_without_patch_size_no_window_is_cut(tmp_path):
    size = (16, 32, 32)  # levels 2 to 4 have 8, 4 and 2 tokens or more, the windows fewer
    reference = a_pct_net(patch=size, windows=(3, 3, 1))
    image = torch.randn(1, 1, *size)
    expected = reference(image)
    network, _ = load_published_checkpoint(save(tmp_path, reference.state))
    with torch.no_grad():
        check_same([network(image)], expected[:1])


@pytest.mark.parametrize(("mode", "depth"), [(0, 1), (1, 2), (2, 3)])
def test_fmunet_tells_its_mode_depth_and_channels(tmp_path, mode, depth):
    reference = PublishedFMUNet(channels=(2, 3, 4, 5, 6), depth=depth, mode=mode)
    image = torch.randn(2, 2, 16, 16, 32)
    expected = reference(image)
    network, report = load_published_checkpoint(
        save(tmp_path, reference.state), deep_supervision=True
    )
    with torch.no_grad():
        check_same(network(image), expected)
    assert network.config.resolution_mode == mode
    assert network.config.depths[0] == depth
    assert set(report.loaded) == set(network.state_dict())
    assert not report.unused


@pytest.mark.parametrize("grid", [(4, 4, 4), (5, 7, 6), (2, 3, 9)])
@pytest.mark.parametrize(("window", "shift"), [(4, 0), (4, 2), (5, 2), (3, 1), (1, 0)])
def test_attention_of_any_grid_matches_the_formulas(grid, window, shift):
    attention = WindowAttention(AttentionSpec(6, heads=2, window=window, shift=shift, dropout=0.0))
    torch.nn.init.normal_(attention.bias_table)
    attention.project = torch.nn.Identity()
    u = torch.randn(2, *grid, 6)
    bias = attention.bias_table[published_index(window)]
    expected = slow_attention(u, attention.qkv, bias, window=window, shift=shift, heads=2)
    for _ in range(2):  # the second time from the caches
        with torch.no_grad():
            ours = attention.eval()(u.flatten(1, 3), grid)
        assert torch.allclose(ours.view(expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize(("window", "rows"), [(2, 19), (3, 57), (4, 115), (5, 193), (6, 291)])
def test_the_relative_position_index_collides_as_published(window, rows):
    index = relative_position_index(window, torch.device("cpu"))
    assert torch.equal(index, published_index(window))
    assert index.unique().tolist() == list(range(rows))


# ------------------------------------------------------------------------------------------- report


def test_every_tensor_of_the_file_is_accounted_for(tmp_path, a_state):
    network, report = load_published_checkpoint(save(tmp_path, a_state))
    assert len(report.loaded) + len(report.unused) == len(a_state)
    assert set(report.loaded) == set(network.state_dict())
    assert set(report.unused) <= set(a_state)
    reasons = {name: report.unused[name] for name in report.unused}
    assert reasons["embeddings.0.proj.weight"] == "it belongs to resolution mode 0"
    assert reasons["pred_heads.1.out_conv1.conv.2.bias"] == "deep supervision is off"
    assert reasons["pyramid_ct.convtrans_e2.norm_layer.bias"].endswith("never applies it")
    assert (
        "recomputed"
        in reasons["pyramid_ct.convtrans_e4.trans.blocks.1.attn.relative_position_index"]
    )
    assert "embeddings.1.proj.weight" not in reasons


def test_the_formulas_above_have_exactly_the_published_tensors(published_fixtures, a_state):
    fmunet = PublishedFMUNet(channels=(2, 3, 4, 5, 6), depth=2, mode=0)
    fmunet(torch.zeros(1, 1, 32, 32, 32))
    for file, state in (("pctnet_keys.txt", a_state), ("fmunet_keys.txt", fmunet.state)):
        lines = (published_fixtures.parent / file).read_text().splitlines()
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
        axes = {row[0]: sum(part.strip() != "" for part in row[1][1:-1].split(",")) for row in rows}
        assert {name: tensor.ndim for name, tensor in state.items()} == axes


@pytest.mark.parametrize("deep_supervision", [False, True])
def test_other_classes_leave_only_the_class_convolutions_fresh(tmp_path, a_state, deep_supervision):
    network, report = load_published_checkpoint(
        save(tmp_path, a_state), num_classes=7, deep_supervision=deep_supervision
    )
    levels = range(4 if deep_supervision else 1)
    fresh = {f"heads.{i}.conv.{kind}" for i in levels for kind in ("weight", "bias")}
    assert set(report.newly_initialised) == fresh
    assert (
        report.unused["pred_heads.1.out_conv0.conv.2.weight"]
        == "the source has 3 classes, 7 are wanted"
    )
    norm = a_state["pred_heads.1.out_conv0.conv.0.weight"]
    assert torch.equal(network.state_dict()["heads.0.norm.weight"], norm)
    assert network(torch.zeros(1, 1, 8, 16, 16))[0].shape[0 if not deep_supervision else 1] == 7


def test_the_summary_groups_tensors_by_reason(tmp_path, a_state):
    _, report = load_published_checkpoint(save(tmp_path, a_state), num_classes=7)
    lines = report.summary().splitlines()
    assert lines[0] == f"{len(report.loaded)} tensors loaded"
    fresh = "2 newly initialised, the source has 3 classes, 7 are wanted: "
    assert lines[1] == fresh + "heads.0.conv.weight, heads.0.conv.bias"
    assert any(line.startswith("10 not used, it is recomputed") for line in lines)
    assert lines[-1].endswith(", embeddings.2.conv0.conv_conv.0.bias and 126 more")


def test_windows_that_differ_are_pointed_out(tmp_path, a_state, caplog):
    with caplog.at_level(logging.WARNING):
        load_published_checkpoint(save(tmp_path, a_state))
        assert "differ between levels" in caplog.text
        caplog.clear()
        load_published_checkpoint(save(tmp_path, a_state), patch_size=(16, 48, 48))
        assert not caplog.text


# ------------------------------------------------------------------------ files of different origin


def test_plain_state_dictionaries_with_a_wrapper_prefix_are_read(tmp_path, a_state):
    path = tmp_path / "plain.pt"
    torch.save({f"module.{name}": tensor for name, tensor in a_state.items()}, path)
    _, report = load_published_checkpoint(path)
    assert len(report.loaded) + len(report.unused) == len(a_state)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpy_scalars_of_both_numpy_generations_are_read(tmp_path, a_state, module):
    path = save(tmp_path, a_state)
    rewritten = tmp_path / "other_numpy.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(rewritten, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("data.pkl"):
                content = content.replace(b"numpy._core.multiarray", module.encode())
                content = content.replace(b"numpy.core.multiarray", module.encode())
                names = [arg for op, arg, _ in pickletools.genops(content) if op.name == "GLOBAL"]
                assert f"{module} scalar" in names
            new.writestr(info, content)
    assert load_published_checkpoint(rewritten)[1].loaded


class _Bomb:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, a_state, zipped):
    path, trace = tmp_path / "bomb.pt", tmp_path / "exploded"
    content = {"model_state_dict": a_state, "valid_pred": _Bomb(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(BundleError, match="mkdir") as caught:
        load_published_checkpoint(path)
    assert caught.value.code == "checkpoint-unsafe"
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), "the bomb was none"


def test_damaged_files_are_refused(tmp_path, a_state):
    good = save(tmp_path, a_state).read_bytes()
    contents = {
        "half": good[: len(good) // 2],
        "empty": b"",
        "text": b"this is no checkpoint",
        "zeros": bytes(1000),
        "pickle": pickle.dumps({"a": 1}, protocol=2),
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.pt"
        path.write_bytes(content)
        with pytest.raises(BundleError) as caught:
            load_published_checkpoint(path)
        assert caught.value.code in ("checkpoint-damaged", "checkpoint-no-weights"), name
        assert caught.value.remedy


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path, code in (
        (tmp_path / "none.pt", "checkpoint-missing"),
        (tmp_path, "checkpoint-damaged"),
    ):
        with pytest.raises(BundleError) as caught:
            load_published_checkpoint(path)
        assert caught.value.code == code


# ------------------------------------------------------------------------- tensors that do not fit


def without(state, fragment):
    return {name: tensor for name, tensor in state.items() if fragment not in name}


def with_changed(state, name, change):
    return {**state, name: change(state[name])}


TABLE = "pyramid_ct.convtrans_e2.trans.blocks.0.attn.relative_position_bias_table"
INDEX = "pyramid_ct.convtrans_e2.trans.blocks.0.attn.relative_position_index"
CONV = "pyramid_ct.down3.conv.2.weight"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: {}, "checkpoint-no-weights"),
        (lambda s: {"fc.weight": torch.zeros(2)}, "checkpoint-unknown-network"),
        (lambda s: {**s, "pyramid_ct.extra.weight": torch.zeros(2)}, "checkpoint-unknown-tensors"),
        (lambda s: without(s, "embeddings.1."), "checkpoint-incomplete"),
        (lambda s: with_changed(s, CONV, torch.flatten), "checkpoint-incomplete"),
        (lambda s: without(s, "convtrans_d3.conv.conv_conv.4"), "weights-mismatch"),
        (lambda s: with_changed(s, CONV, lambda t: t[:, :-1]), "weights-mismatch"),
        (lambda s: with_changed(s, CONV, lambda t: t * torch.nan), "checkpoint-not-finite"),
        (lambda s: with_changed(s, TABLE, lambda t: t[:-1]), "checkpoint-bad-table"),
        (lambda s: with_changed(s, INDEX, lambda t: t.T.contiguous()), "checkpoint-other-index"),
        (lambda s: with_changed(s, INDEX, torch.flatten), "checkpoint-other-index"),
    ],
)
def test_what_the_report_cannot_explain_is_an_error(tmp_path, a_state, change, code):
    with pytest.raises(BundleError) as caught:
        load_published_checkpoint(save(tmp_path, change(a_state)))
    assert caught.value.code == code


def test_a_patch_that_needs_other_tables_is_refused(tmp_path, a_state):
    with pytest.raises(BundleError, match=r"\(3, 2, 1\).*4x32x32") as caught:
        load_published_checkpoint(save(tmp_path, a_state), patch_size=(4, 32, 32))
    assert caught.value.code == "patch-does-not-fit"
