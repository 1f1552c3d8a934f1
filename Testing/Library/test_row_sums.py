"""Instance norms over large windows are as exact in OpenVINO as in PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from MISFMLib.inference import openvino_network
from MISFMLib.inference.openvino_conversion import convert
from MISFMLib.inference.openvino_network import OpenVINONetwork

pytestmark = pytest.mark.usefixtures("one_thread", "seed")


@pytest.fixture(autouse=True)
def _openvino():
    problem = openvino_network.why_unavailable()
    if problem:
        pytest.skip(problem)


def error_of(network: nn.Module, image: torch.Tensor) -> float:
    """Return the root mean square error of OpenVINO in float32, relative to float64."""
    with torch.inference_mode():
        converted = OpenVINONetwork(convert(network.eval(), image), "fp32", 1)(image)
        exact = network.double()(image.double())
    return float((converted - exact).square().mean().sqrt() / exact.square().mean().sqrt())


@pytest.mark.parametrize("size", [(64, 64, 64), (1, 512, 512)], ids=str)
def test_instance_norms_over_many_voxels_are_exact(size):
    kernel = (3 if size[0] > 1 else 1, 3, 3)
    network = nn.Sequential(
        nn.Conv3d(1, 16, kernel, padding=[edge // 2 for edge in kernel]),
        nn.InstanceNorm3d(16, affine=True),
        nn.LeakyReLU(0.01),
        nn.Conv3d(16, 2, 1),
    )
    nn.init.normal_(network[1].weight, 1.0, 0.3)
    # OpenVINO's own norm: 3e-5.
    assert error_of(network, torch.randn(1, 1, *size)) < 2e-6
