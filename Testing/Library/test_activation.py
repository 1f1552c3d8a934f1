"""The quicker PReLU is PReLU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from MISFMLib.networks.activation import PReLU, _OneSlope

pytestmark = pytest.mark.usefixtures("one_thread", "seed")


@pytest.mark.parametrize("slope", [0.25, 0.0, -0.5, 1.5])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_values_and_gradients_are_those_of_torch(slope, memory_format):
    image = torch.randn(2, 4, 3, 5, 6).to(memory_format=memory_format)
    image[0, 0, 0, 0, :2] = torch.tensor([0.0, -0.0])
    weights = torch.randn(image.shape)
    results = []
    for layer in (nn.PReLU(), PReLU()):
        nn.init.constant_(layer.weight, slope)
        x = image.clone().requires_grad_()
        answer = layer(x)
        (answer * weights).sum().backward()
        results.append((answer, x.grad, layer.weight.grad))
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_gradients_are_those_of_finite_differences():
    x = torch.randn(2, 1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    slope = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    # The slope's gradient is summed in single precision.
    assert torch.autograd.gradcheck(_OneSlope.apply, (x, slope), atol=1e-4)


def test_a_frozen_slope_gets_no_gradient_and_a_frozen_input_neither():
    layer, x = PReLU(), torch.randn(2, 3)
    layer(x).sum().backward()
    assert x.grad is None
    assert layer.weight.grad is not None
    layer = PReLU().requires_grad_(False)
    layer(x.requires_grad_()).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None


def test_half_precision_comes_out_as_it_went_in():
    layer, x = PReLU(), torch.randn(4096).bfloat16().requires_grad_()
    answer = layer(x)
    answer.sum().backward()
    assert answer.dtype == x.grad.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == torch.float32
    expected = x.detach().float().clamp(max=0).sum()
    torch.testing.assert_close(layer.weight.grad[0], expected, rtol=1e-4, atol=0)


def test_a_traced_or_compiled_network_holds_torchs_own(monkeypatch):
    layer, x = PReLU(), torch.randn(2, 3)
    assert "aten::prelu" in str(torch.jit.trace(layer, x).inlined_graph)
    assert "OneSlope" in layer(x).grad_fn.name()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert "OneSlope" not in layer(x).grad_fn.name()


def test_without_gradients_it_is_torchs_own():
    layer, x = PReLU(), torch.randn(2, 3)
    with torch.no_grad():
        assert torch.equal(layer(x), nn.PReLU()(x))
    assert list(layer.state_dict()) == ["weight"]
