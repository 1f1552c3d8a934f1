"""Dropout of our own: what is dropped, how what stays is scaled, and where."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from MISFMLib.networks.dropout import Dropout, drop  # noqa: E402 torch first
from MISFMLib.networks.window_attention import AttentionSpec, WindowAttention  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_that_share_is_dropped_and_the_rest_keeps_the_mean(share, dtype):
    torch.manual_seed(0)
    dropped = drop(torch.ones(1_000_003, dtype=dtype), share)
    assert (dropped == 0).float().mean() == pytest.approx(share, abs=2e-3)
    assert set(dropped.unique().tolist()) == {
        0.0,
        torch.tensor(1 / (1 - share), dtype=dtype).item(),
    }


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    is_zero = drop(torch.ones(400_000), 0.5).eq(0).float() - 0.5
    for distance in (1, 2, 3, 4, 5, 16):
        correlation = 4 * (is_zero[:-distance] * is_zero[distance:]).mean()
        assert abs(correlation) < 0.01


@pytest.mark.parametrize("odd", [(5, 7), (2, 3, 4, 5, 6), (1, 1), (3,)])
def test_any_shape_and_layout_keeps_its_own(odd):
    x = torch.ones(odd)
    assert drop(x, 0.2).shape == x.shape
    assert drop(x.transpose(0, -1), 0.2).stride() == x.transpose(0, -1).stride()
    assert drop(torch.ones(1).expand(odd), 0.2).shape == x.shape
    assert drop(torch.ones(*odd, 2)[..., 0], 0.2).shape == x.shape


def test_the_layout_of_channels_last_survives():
    x = torch.ones(2, 8, 4, 4, 4).to(memory_format=torch.channels_last_3d)
    assert drop(x, 0.2).is_contiguous(memory_format=torch.channels_last_3d)


def test_a_seed_gives_the_same_again_and_the_gradient_is_that_of_what_stayed():
    x = torch.full((1000,), 3.0, requires_grad=True)
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(drop(x, 0.25))
    results[0].sum().backward()
    assert torch.equal(*results)
    assert torch.equal(x.grad * 3, results[0].detach())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_16_bits_of_the_drawn_numbers_decide_about_each_value(dtype):
    x = torch.randn(6, 8).to(dtype)
    torch.manual_seed(3)
    dropped = drop(x, 0.37)
    torch.manual_seed(3)
    bits = torch.empty(12, dtype=torch.int64).random_(-(2**63), None).view(torch.int16).view(6, 8)
    kept = bits >= round(0.37 * 2**16) - 2**15
    assert torch.equal(dropped, x * kept.to(dtype).mul_(1 / (1 - 0.37)))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_and_all_are_shares_too(share):
    assert drop(torch.ones(10), share).sum() == 10 * (1 - share)


def test_nothing_is_dropped_unless_training():
    assert torch.equal(Dropout(0.5).eval()(torch.ones(100)), torch.ones(100))
    assert Dropout(0.5)(torch.ones(100)).eq(0).any()


def test_attention_with_a_share_near_zero_is_attention():
    """The plain steps, taken for the sake of dropout, give what the fused attention gives."""
    spec = AttentionSpec(channels=16, heads=2, window=4, shift=2, dropout=1e-9)
    attention = WindowAttention(spec).train()
    tokens_BLC = torch.randn(2, 6 * 5 * 9, 16)
    plain = attention(tokens_BLC, (6, 5, 9))
    attention.spec = replace(spec, dropout=0.0)
    assert torch.allclose(plain, attention(tokens_BLC, (6, 5, 9)), atol=1e-6)
