"""Cost of the sliding-window driver beside others, measured by the benchmark."""

from __future__ import annotations

import statistics

import pytest


@pytest.mark.slow
def test_our_driver_costs_less_than_monais_and_the_published_one(results_of):
    """The benchmark also refuses drivers that find other labels."""
    pytest.importorskip("monai")
    rows = results_of("driver.py", "--quick")["rows"]
    seconds = {(row["driver"], row["classes"]): statistics.median(row["cpu_s"]) for row in rows}
    for num_classes in (2, 14):
        assert seconds["ours", num_classes] < seconds["MONAI", num_classes]
        assert 2 * seconds["ours", num_classes] < seconds["published", num_classes]
