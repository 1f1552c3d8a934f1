"""Learning rate as a function of the step."""

from __future__ import annotations

import pytest

from MISFMLib.training.schedules import (
    linear_rise,
    polynomial_decay,
    repeated_halving,
    step_by_the_clock,
)


def test_the_rate_falls_from_one_to_zero():
    rates = [polynomial_decay(step, 10) for step in range(11)]

    assert rates[0] == 1
    assert rates[10] == 0
    assert rates == sorted(rates, reverse=True)


def test_the_power_bends_the_curve():
    assert polynomial_decay(5, 10, power=1) == pytest.approx(0.5)
    assert polynomial_decay(5, 10) == pytest.approx(0.5**0.9)


def test_beyond_the_end_the_rate_stays_zero():
    assert polynomial_decay(11, 10) == 0


def test_the_rate_rises_in_the_first_steps_when_asked_to():
    assert [linear_rise(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert [linear_rise(step, 0) for step in range(2)] == [1, 1]


def test_the_rate_is_halved_again_and_again():
    assert [repeated_halving(step, 3) for step in range(8)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_the_clock_decides_where_it_runs_faster_than_the_steps():
    assert step_by_the_clock(2, 10, seconds=30, budget_s=60) == 5
    assert step_by_the_clock(7, 10, seconds=30, budget_s=60) == 7
    assert step_by_the_clock(2, 10, seconds=90, budget_s=60) == 10


def test_without_a_limit_the_step_stays_what_it_is():
    step = step_by_the_clock(3, 10, seconds=1e9, budget_s=float("inf"))
    assert (step, type(step)) == (3, int)
    assert repeated_halving(step_by_the_clock(2, 10, 30, 60), 3) == 0.5
