"""Narrow convolutions are computed two voxels at a time where that pays, with the same results."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from MISFMLib.inference import openvino_network
from MISFMLib.inference.openvino_conversion import convert
from MISFMLib.inference.openvino_network import OpenVINONetwork
from MISFMLib.inference.voxel_pairs import pair_voxels

pytestmark = pytest.mark.usefixtures("one_thread", "seed")


@pytest.fixture(autouse=True)
def _openvino():
    problem = openvino_network.why_unavailable()
    if problem:
        pytest.skip(problem)


def some_convolutions(channels=24, kernel=(1, 3, 3), activation=None, **settings):
    padding = [edge // 2 for edge in kernel]
    return nn.Sequential(
        nn.Conv3d(2, channels, kernel, padding=padding, **settings),
        nn.BatchNorm3d(channels),
        activation or nn.PReLU(),
        nn.Conv3d(channels, channels, kernel, padding=padding, bias=False),
        nn.Conv3d(channels, 3, 1),
    ).eval()


class ReadTwice(nn.Module):
    """A convolution with two users, both of which want the channels of a voxel together."""

    def __init__(self):
        super().__init__()
        self.conv, self.first, self.second = (
            nn.Conv3d(channels, 8, 3, padding=1) for channels in (2, 8, 8)
        )

    def forward(self, x):
        """Return the users' outputs, channel after channel."""
        x = self.conv(x)
        return torch.cat([self.first(x), self.second(x)], 1)


def paired(network, image, lanes):
    """A conversion with pairs for a CPU with this many lanes."""
    model = convert(network, image)
    pair_voxels(model, lanes)
    return model


def pairs(model):
    strides = [
        node.get_attributes()["strides"]
        for node in model.get_ops()
        if node.get_type_name() == "Convolution"
    ]
    return strides.count([1, 1, 2])


@pytest.mark.parametrize("activation", [nn.PReLU(), nn.LeakyReLU(0.1), nn.Identity()])
@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 3, 3)])
@pytest.mark.parametrize("channels", [4, 8, 24])
def test_pairs_give_the_same_results(channels, kernel, activation):
    network, image = some_convolutions(channels, kernel, activation), torch.randn(1, 2, 4, 6, 10)
    network[1].running_mean.normal_()
    model = paired(network, image, 16)
    assert pairs(model) == 2
    logits = OpenVINONetwork(model, "fp32", 1)(image)
    with torch.inference_mode():
        np.testing.assert_allclose(logits, network(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "lanes", "count"),
    [(8, 16, 2), (16, 16, 0), (24, 16, 2), (32, 16, 0), (48, 16, 0), (4, 8, 2), (8, 8, 0)],
)
def test_only_channels_that_leave_lanes_empty_are_paired(channels, lanes, count):
    network, image = some_convolutions(channels), torch.randn(1, 2, 4, 6, 10)
    assert pairs(paired(network, image, lanes)) == count


@pytest.mark.parametrize(
    ("network", "width"),
    [
        (some_convolutions(), 9),
        (some_convolutions(kernel=(3, 3, 1)), 10),
        (some_convolutions(kernel=(3, 3, 5)), 10),
        (some_convolutions(stride=2)[:1], 10),
        (some_convolutions(dilation=2)[:1], 10),
        (nn.Sequential(some_convolutions()[0], nn.MaxPool3d(2)), 10),
        (ReadTwice(), 10),
    ],
    ids=["odd", "thin", "wide", "stride", "dilation", "pooled", "read twice"],
)
def test_other_convolutions_stay(network, width):
    image = torch.randn(1, 2, 8, 8, width)
    assert pairs(paired(network, image, 16)) == 0


def test_a_compiled_network_has_pairs_but_its_model_stays(monkeypatch):
    changed = []
    monkeypatch.setattr(
        openvino_network,
        "pair_voxels",
        lambda model, lanes: changed.append((lanes, pair_voxels(model, lanes), pairs(model))),
    )
    model = convert(some_convolutions(), torch.randn(1, 2, 4, 6, 10))
    for features in (("avx2", "avx512f"), ("avx2",)):
        monkeypatch.setattr(openvino_network, "cpu_features", lambda names=features: names)
        OpenVINONetwork(model, "fp32", 1)
    assert [(lanes, count) for lanes, _, count in changed] == [(16, 2), (8, 0)]
    assert pairs(model) == 0
