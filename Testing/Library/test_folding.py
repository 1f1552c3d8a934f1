"""Folded norms: the same logits from fewer layers."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402 torch first

from MISFMLib.configs import NetworkConfig  # noqa: E402
from MISFMLib.networks import build_network  # noqa: E402
from MISFMLib.networks.folding import fold_norms  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread", "seed")


def a_network(architecture="pctnet", **changes):
    """A network whose norms do something."""
    settings = {
        "architecture": architecture,
        "num_classes": 3,
        "level_channels": (2, 4, 6, 8, 12),
        "num_heads": (2, 2, 3),
        "window_sizes": (3, 3, 2),
    }
    network = build_network(NetworkConfig(**{**settings, **changes})).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            for tensor in (module.running_mean, module.weight, module.bias):
                nn.init.normal_(tensor)
    return network


def count_norms(network):
    return sum(isinstance(module, nn.BatchNorm3d) for module in network.modules())


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize("architecture", ["pctnet", "unet3d", "fmunet"])
def test_the_logits_stay_the_same(architecture, deep_supervision, mode):
    network = a_network(architecture, deep_supervision=deep_supervision, resolution_mode=mode)
    folded = copy.deepcopy(network)
    count = fold_norms(folded)
    assert count_norms(folded) == count_norms(network) - count
    image = torch.randn(2, 1, 20, 34, 32)
    with torch.inference_mode():
        for logits, reference in zip(folded(image), network(image), strict=True):
            torch.testing.assert_close(logits, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "deep_supervision", "folded", "left"),
    [
        # Of PCT-Net 9 inside its blocks, and 6 behind the stem and between blocks (5 where the
        # head of level 1 needs the features before); left are those after a sum, pool or joint.
        ("pctnet", False, 15, 16),
        ("pctnet", True, 14, 20),
        ("unet3d", False, 18, 0),
        ("fmunet", False, 0, 0),  # instance norms depend on the volume
    ],
)
def test_every_norm_that_follows_a_convolution_alone_is_folded(
    architecture, deep_supervision, folded, left
):
    network = a_network(architecture, deep_supervision=deep_supervision)
    assert (fold_norms(network), count_norms(network)) == (folded, left)
    assert fold_norms(network) == 0
