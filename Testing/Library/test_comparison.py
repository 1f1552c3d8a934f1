"""Before and after a fine-tuning: what counts as better, and what the tables say."""

from __future__ import annotations

import pytest

from MISFMLib.jobs.train.comparison import _bound, compare_tables, judge


def table(path, rows):
    lines = ["case,label,dice", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_cases_are_compared_by_the_labels_that_both_models_know(tmp_path):
    before = table(tmp_path / "b.csv", [("p", "liver", 0.5), ("q", "liver", 0.6)])
    after = table(
        tmp_path / "a.csv",
        [("p", "liver", 0.9), ("p", "spleen", 0.1), ("q", "liver", 0.8), ("q", "spleen", "nan")],
    )

    found = compare_tables(before, after)

    assert found["cases"] == [
        {"case": "q", "before": 0.6, "after": 0.8},
        {"case": "p", "before": 0.5, "after": 0.9},
    ]
    assert found["gain"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("gains", "is_better"),
    [
        ([0.1, 0.12, 0.09, 0.11], True),
        ([0.3, -0.2, 0.2, -0.1], False),
        ([-0.1, -0.1, -0.1], False),
        ([0.5], False),
        ([], False),
        ([0.0, 0.0, 0.0], False),
    ],
)
def test_a_gain_counts_when_it_is_more_than_its_spread_lets_chance_do(gains, is_better):
    assert judge(gains)["is_better"] is is_better


def test_the_bounds_are_those_of_students_t():
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 5, 13, 14, 20, 40, 200):
        assert _bound(freedom) == pytest.approx(stats.t.ppf(0.95, freedom), abs=0.011)
