"""Peak memory of the segment command, measured by the benchmark in fresh processes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "Benchmarks" / "segment_memory.py"


@pytest.mark.slow
def test_a_longer_scan_costs_the_memory_of_the_scan_and_its_labels_only(tmp_path):
    """Two bytes are the scan's, one the label's; the network's input would take four more.

    Peaks of one setting differ by up to 30 MiB. Both scans are long enough to fill what is bounded.
    """
    subprocess.run(
        [sys.executable, str(BENCHMARK), "--quick", "--json", str(tmp_path / "memory.json")],
        check=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    short, long = json.loads((tmp_path / "memory.json").read_text("utf-8"))["rows"]
    voxels = [math.prod(row["setting"]["shape_dhw"]) for row in (short, long)]
    more_bytes = (long["peak_mib"] - short["peak_mib"]) * 2**20
    assert more_bytes / (voxels[1] - voxels[0]) < 6
