"""Freezing parts of a network, adapting others by changes of low rank, and rates per level."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from MISFMLib.configs import NetworkConfig
from MISFMLib.networks import build_network
from MISFMLib.networks.low_rank import LowRankChange, add_low_rank_changes, merged
from MISFMLib.networks.trainable import choose_trainable, count_weights, level_rate

pytestmark = pytest.mark.usefixtures("one_thread", "seed")
ARCHITECTURES = ("pctnet", "fmunet", "unet3d")
IMAGE = torch.linspace(-1, 1, 8 * 16 * 16).view(1, 1, 8, 16, 16)


def a_network(architecture="pctnet"):
    return build_network(
        NetworkConfig(
            architecture=architecture,
            num_classes=3,
            level_channels=(2, 4, 6, 8, 12),
            num_heads=(2, 2, 3),
            window_sizes=(3, 2, 2),
            depths=(1, 1, 1),
        )
    )


def trained(network):
    return {name for name, weight in network.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decoder_and_head_are_trained_with_all_their_parameters_and_nothing_else(architecture):
    network = a_network(architecture)
    names = {name for name, _ in network.named_parameters()}

    choose_trainable(network, "head")
    head = trained(network)
    choose_trainable(network, "decoder")
    decoder = trained(network)
    choose_trainable(network, "all")

    assert head == {name for name in names if name.split(".")[0] == "heads"} != set()
    assert decoder == {name for name in names if name.split(".")[0] in ("heads", "decoder")}
    assert trained(network) == names > decoder > head


def test_what_has_no_trained_weights_is_trained_in_any_case():
    network = a_network()
    choose_trainable(network, "head", fresh=["project.weight"])
    assert "project.weight" in trained(network)
    assert "project.bias" not in trained(network)


# ------------------------------------------------------------------------------ changes of low rank


def test_lora_trains_heads_norms_and_changes_of_the_linear_layers():
    network = a_network()
    norms = {
        f"{layer}.{name}"
        for layer, module in network.named_modules()
        if "Norm" in type(module).__name__
        for name, _ in module.named_parameters()
    }
    linear = {name for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    heads = {name for name, _ in network.named_parameters() if name.startswith("heads.")}

    choose_trainable(network, "lora")

    changes = {
        f"{layer}.parametrizations.weight.0.{side}" for layer in linear for side in ("down", "up")
    }
    assert trained(network) == norms | heads | changes
    assert len(changes) == 2 * 4 * 5  # four layers in a block, three such levels down, two up


@pytest.mark.parametrize("architecture", ["fmunet", "unet3d"])
def test_lora_changes_the_convolutions_where_there_is_no_attention(architecture):
    network = a_network(architecture)
    convolutions = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv3d) and not name.startswith("heads.")
    }
    choose_trainable(network, "lora")
    changed = {
        name.split(".parametrizations")[0] for name in trained(network) if name.endswith(".up")
    }
    assert changed == convolutions


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_fresh_change_changes_nothing_and_a_trained_one_is_merged_exactly(architecture):
    network, plain = a_network(architecture).eval(), a_network(architecture).eval()
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        before = network(IMAGE)
        choose_trainable(network, "lora")
        assert torch.equal(network(IMAGE), before)
        for module in network.modules():
            if isinstance(module, LowRankChange):
                nn.init.normal_(module.up, std=0.1)
        changed = network(IMAGE)

        weights = merged(network.state_dict())
        plain.load_state_dict(weights)

        assert not torch.allclose(changed, before)
        torch.testing.assert_close(plain(IMAGE), changed)
    assert merged(weights) == weights


def test_a_change_has_the_rank_eight_or_what_the_weight_allows():
    layer = nn.Linear(20, 12).requires_grad_(False)
    add_low_rank_changes(nn.Sequential(layer))
    (change,) = layer.parametrizations.weight
    nn.init.normal_(change.up)
    assert torch.linalg.matrix_rank(layer.weight - layer.parametrizations.weight.original) == 8
    assert LowRankChange(torch.zeros(3, 2, 1, 1, 1)).down.shape == (2, 2)


def test_a_layer_that_is_trained_itself_gets_no_change():
    frozen, free = nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)
    add_low_rank_changes(nn.Sequential(frozen, free))
    assert hasattr(frozen, "parametrizations")
    assert not hasattr(free, "parametrizations")


def test_weights_are_counted():
    network = nn.Sequential(nn.Linear(2, 3).requires_grad_(False), nn.Linear(3, 1))
    assert count_weights(network) == (4, 13)


# ----------------------------------------------------------------------------------- rate per level


@pytest.mark.parametrize(
    ("name", "power"),
    [
        ("heads.0.conv.weight", 0),
        ("decoder.blocks.0.conv1.weight", 0),
        ("decoder.ups.3.up.conv.weight", 0),
        ("bottom.0.conv.weight", 1),
        ("encoder.blocks.4.conv.conv1.weight", 1),
        ("encoder.downs.3.conv.weight", 1),
        ("encoder.blocks.3.conv.conv1.weight", 2),
        ("encoder.downs.0.conv.weight", 4),
        ("encoder.blocks.0.conv1.weight", 5),
        ("project.weight", 5),
        ("encoder.blocks.2.transformer.0.attention.qkv.parametrizations.weight.0.up", 3),
    ],
)
def test_the_rate_falls_from_the_decoder_to_the_input(name, power):
    assert level_rate(name, 0.5) == 0.5**power
    assert level_rate(name, 1.0) == 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_part_of_a_network_has_a_level(architecture):
    rates = {name: level_rate(name, 0.5) for name, _ in a_network(architecture).named_parameters()}
    full = {name.split(".")[0] for name, rate in rates.items() if rate == 1}
    assert full == {"decoder", "heads"}
    assert set(rates.values()) == {0.5**power for power in range(6)}
