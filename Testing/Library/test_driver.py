"""Cost of the sliding-window driver beside others, measured by the benchmark."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "Benchmarks" / "driver.py"


@pytest.mark.slow
def test_our_driver_costs_less_than_monais_and_the_published_one(tmp_path):
    """The benchmark also refuses drivers that find other labels."""
    pytest.importorskip("monai")
    subprocess.run(
        [sys.executable, str(BENCHMARK), "--quick", "--json", str(tmp_path / "driver.json")],
        check=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    rows = json.loads((tmp_path / "driver.json").read_text("utf-8"))["rows"]
    seconds = {(row["driver"], row["classes"]): statistics.median(row["cpu_s"]) for row in rows}
    for num_classes in (2, 14):
        assert seconds["ours", num_classes] < seconds["MONAI", num_classes]
        assert 2 * seconds["ours", num_classes] < seconds["published", num_classes]
