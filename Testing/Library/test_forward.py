"""Cost of the network beside the published code, alone and end to end, and of starting up."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from MISFMLib.device import inference_precisions
from MISFMLib.inference import openvino_network

torch = pytest.importorskip("torch")
BENCHMARKS = Path(__file__).resolve().parents[1] / "Benchmarks"


def result_of(script, tmp_path, *options):
    """Run a benchmark, which also refuses logits or labels that are not the published ones."""
    result = tmp_path / "result.json"
    subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options, "--json", str(result)],
        check=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(result.read_text("utf-8"))


def rows_of(script, tmp_path):
    return result_of(script, tmp_path, "--quick")["rows"]


def openvino_precisions():
    is_there = not openvino_network.why_unavailable()
    return inference_precisions("auto", torch.device("cpu")) if is_there else ()


@pytest.mark.slow
def test_every_engine_computes_the_published_logits_and_none_is_slower(tmp_path):
    rows = {row["variant"]: row for row in rows_of("forward.py", tmp_path)}
    assert all(row["passed"] for name, row in rows.items() if name != "published")
    assert rows["PyTorch fp32"]["ratio"] > 1.0
    assert all(rows[f"OpenVINO {name}"]["ratio"] > 2.0 for name in openvino_precisions())
    # Nothing beats the machine's own rate, but for the noise of measuring both.
    assert all(0 < row["share_of_peak"] < 1.2 for row in rows.values())


@pytest.mark.slow
def test_a_training_step_has_the_published_gradient_and_costs_less(tmp_path):
    rows = {row["variant"]: row for row in rows_of("training.py", tmp_path)}
    assert all(row["passed"] for row in rows.values())
    seconds = {name: statistics.median(row["cpu_s"]) for name, row in rows.items()}
    best = inference_precisions("auto", torch.device("cpu"))[0]
    assert seconds[f"MISFM {best}"] < seconds["published *"]
    if best == "bf16":
        assert 1.5 * seconds["MISFM bf16"] < seconds["published *"]


@pytest.mark.slow
def test_a_whole_segmentation_costs_less_than_with_the_others(tmp_path):
    pytest.importorskip("monai")
    rows = rows_of("end_to_end.py", tmp_path)
    seconds = {row["name"]: statistics.median(row["cpu_s"]) for row in rows}
    assert seconds["MISFM, PyTorch fp32"] < seconds["MONAI"]
    for name in openvino_precisions():
        assert 2 * seconds[f"MISFM, OpenVINO {name}"] < seconds["MONAI"]
        assert 4 * seconds[f"MISFM, OpenVINO {name}"] < seconds["published driver"]


@pytest.mark.slow
def test_the_benchmark_of_gpus_is_ready_for_one(tmp_path):
    """On a CPU, since it also refuses other logits and labels there."""
    options = ("--quick", "--device", "cpu", "--network", "small", "--rounds", "1")
    found = result_of("gpu.py", tmp_path, *options)
    plain = [name for name in found["forward"] if name.startswith("MISFM plain")]
    formats = len(inference_precisions("auto", torch.device("cpu")))
    assert len(plain) == formats
    assert set(found["segment"]) >= {"MONAI fp32", "MISFM"}
    assert len(found["memory"]) == 1
    assert len(found["train"]) == 2 + formats


@pytest.mark.slow
def test_the_published_code_spends_on_copies_and_sums_what_ours_does_not(tmp_path):
    seconds = result_of("time_shares.py", tmp_path, "--network", "small", "--quick")["seconds"]
    aside = {name: kinds["add, multiply"] / sum(kinds.values()) for name, kinds in seconds.items()}
    assert 2 * aside["PyTorch fp32"] < aside["published"]
    assert all(kinds["other"] < 0.2 * sum(kinds.values()) for kinds in seconds.values())


@pytest.mark.slow
def test_a_later_process_finds_the_converted_model(tmp_path):
    if openvino_network.why_unavailable():
        pytest.skip("without OpenVINO nothing is converted")
    rows = result_of("start_up.py", tmp_path, "--rounds", "1")["rows"]
    first, later = (rows[name][0] for name in ("OpenVINO, model not yet converted", "OpenVINO"))
    assert 2 * later["first window"] < first["first window"]
