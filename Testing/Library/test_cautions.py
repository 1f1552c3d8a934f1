"""A model card says how its results came about, and nothing that was not so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from MISFMLib.jobs.train.cautions import license_of, limitations


def a_job(train=8, validation=6, *, chosen="unknown", start=None):
    bundle = None if start is None else SimpleNamespace(manifest=SimpleNamespace(license=start))
    return SimpleNamespace(
        train=["c"] * train,
        validation=["c"] * validation,
        config=SimpleNamespace(license=chosen),
        start=SimpleNamespace(bundle=bundle),
    )


def a_result(score=0.9, missing=(), *, step=4, ended_early=""):
    return SimpleNamespace(
        score=score, missing=missing, step=step, steps=4, ended_early=ended_early
    )


def test_held_out_cases_without_labels_show_nothing():
    text = limitations(a_job(), a_result(score=None))
    assert "the 6 cases held out have no label, so that nothing is known" in text
    assert "highest Dice" not in text


@pytest.mark.parametrize("ended_early", ["", "minutes", "patience"])
def test_the_weights_at_the_end_of_a_training_were_not_chosen_by_the_held_out_cases(ended_early):
    text = limitations(a_job(), a_result(ended_early=ended_early))
    assert "6 cases of the same source. The weights are those of the last step." in text
    assert "highest Dice" not in text


@pytest.mark.parametrize(
    "chosen",
    [a_result(step=2), a_result(ended_early="request"), a_result(missing=["rib"])],
    ids=["the last were far worse", "asked to end", "a label is missing"],
)
def test_weights_that_the_held_out_cases_chose_make_the_results_optimistic(chosen):
    text = limitations(a_job(), chosen)
    assert "the highest Dice on these held-out cases, so that the results are slightly" in text


def test_labels_that_were_not_found_are_named():
    assert "Labels that it does not find: liver, rib." in limitations(
        a_job(), a_result(missing=("liver", "rib"))
    )


def test_without_held_out_cases_nothing_is_claimed():
    text = limitations(a_job(train=1, validation=0), a_result())
    assert "Trained on 1 case; none was held out" in text
    assert "highest Dice" not in text
    assert "evaluated" not in text


def test_few_held_out_cases_bring_a_caution():
    assert "So few held-out cases (4)" in limitations(a_job(validation=4), a_result())
    assert "So few" not in limitations(a_job(validation=5), a_result())


def test_a_start_that_may_know_the_held_out_cases_is_said_so():
    assert "its start was trained on the held-out cases" in limitations(
        a_job(start="MIT"), a_result()
    )
    assert "its start" not in limitations(a_job(), a_result())
    assert "its start" not in limitations(a_job(validation=0, start="MIT"), a_result())


@pytest.mark.parametrize(
    ("chosen", "start", "expected"),
    [
        ("unknown", "CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("CC-BY-SA-4.0", "CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("MIT", "Apache-2.0", "MIT"),
        ("unknown", "Apache-2.0", "unknown"),
        ("MIT", None, "MIT"),
    ],
)
def test_a_share_alike_licence_carries_over(chosen, start, expected):
    assert license_of(a_job(chosen=chosen, start=start)) == expected


def test_a_contradiction_of_licences_is_said():
    assert "CC-BY-SA-4.0 is share-alike" in license_of(a_job(chosen="MIT", start="CC-BY-SA-4.0"))
