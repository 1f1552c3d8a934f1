"""How often a training visits its cases."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from MISFMLib.data.visits import visited


def a_case(name, *classes):
    return SimpleNamespace(name=name, classes=lambda: set(classes))


def share_of(label, visits):
    return sum(label in case.classes() for case in visits) / len(visits)


def test_a_label_in_one_of_many_cases_is_in_a_tenth_of_the_visits():
    cases = [a_case(str(index), *([1, 2] if index == 40 else [1])) for index in range(90)]

    visits = visited(cases)

    assert visits[:90] == cases
    assert {case.name for case in visits[90:]} == {"40"}
    assert 0.1 <= share_of(2, visits) < 0.11


def test_cases_that_have_a_rare_label_take_turns():
    cases = [a_case(str(index), *([1] if index < 2 else [])) for index in range(60)]
    assert [case.name for case in visited(cases)[60:]] == ["0", "1", "0", "1", "0"]


@pytest.mark.parametrize("having", [9, 90])
def test_labels_that_are_in_a_tenth_of_the_cases_change_nothing(having):
    cases = [a_case(str(index), *([1, 2] if index < having else [1])) for index in range(90)]
    assert visited(cases) == cases


def test_many_rare_labels_share_the_visits():
    cases = [a_case(str(index), 0, *([1 + index] if index < 60 else [])) for index in range(200)]

    visits = visited(cases)

    assert len(visits) < 400
    assert all(share_of(label, visits) > 0.005 for label in range(61))
    assert visited([a_case("healthy")])[0].name == "healthy"
