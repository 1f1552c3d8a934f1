"""The bookkeeping that tells whether the network waits for its samples."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from MISFMLib.training.speed import Speed


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr("MISFMLib.training.speed.time", SimpleNamespace(perf_counter=lambda: now.s))
    return now


def test_loader_and_network_are_timed_apart(clock):
    speed = Speed()

    def batches():
        for _ in range(2):
            with speed.making(4):
                clock.s += 2
            yield "batch"

    for _ in speed.waiting(batches()):
        with speed.computing(4):
            clock.s += 8
        clock.s += 1000  # a validation, which counts for neither

    assert speed == Speed(steps=2, made=8, seen=8, making_s=4, waiting_s=4, computing_s=16)
    assert speed.summary() == {
        "loader_samples_per_s": 2,
        "network_samples_per_s": 0.5,
        "network_steps_per_s": 0.125,
        "share_waited": 0.2,
    }


def test_several_makers_make_side_by_side(clock):
    speed = Speed(makers=3, steps=1, seen=4, computing_s=1.0)
    with speed.making(4):
        clock.s += 2
    assert speed.summary()["loader_samples_per_s"] == 6


def test_without_a_step_there_is_nothing_to_say():
    assert Speed().summary() == {}


def test_a_failing_loader_is_not_hidden():
    def broken():
        yield "batch"
        raise ValueError("broken")

    items = Speed().waiting(broken())
    assert next(items) == "batch"
    with pytest.raises(ValueError, match="broken"):
        next(items)
