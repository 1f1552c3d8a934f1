"""Cost of the network beside the published code, alone and end to end, and of starting up.

The benchmarks also refuse logits, gradients and labels that are not the published ones.
"""

from __future__ import annotations

import statistics

import pytest

from MISFMLib.device import inference_precisions
from MISFMLib.inference import deviation, openvino_network

torch = pytest.importorskip("torch")


def openvino_precisions():
    is_there = not openvino_network.why_unavailable()
    return inference_precisions("auto", torch.device("cpu")) if is_there else ()


@pytest.mark.slow
def test_every_engine_computes_the_published_logits_and_none_is_slower(results_of):
    rows = {row["variant"]: row for row in results_of("forward.py", "--quick")["rows"]}
    assert all(row["passed"] for name, row in rows.items() if name != "published")
    assert rows["PyTorch fp32"]["ratio"] > 1.0
    assert all(rows[f"OpenVINO {name}"]["ratio"] > 2.0 for name in openvino_precisions())
    # Nothing beats the machine's own rate, which is up to twice as high while a core's other thread
    # rests.
    assert all(0 < row["share_of_peak"] < 2 for row in rows.values())


@pytest.mark.slow
def test_a_training_step_has_the_published_gradient_and_costs_less(results_of):
    rows = {row["variant"]: row for row in results_of("training.py", "--quick")["rows"]}
    assert all(row["passed"] for row in rows.values())
    seconds = {name: statistics.median(row["cpu_s"]) for name, row in rows.items()}
    best = inference_precisions("auto", torch.device("cpu"))[0]
    assert seconds[f"MISFM {best}"] < seconds["published *"]
    if best == "bf16":
        assert 1.5 * seconds["MISFM bf16"] < seconds["published *"]


@pytest.mark.slow
def test_a_whole_segmentation_costs_less_than_with_the_others(results_of, monkeypatch):
    pytest.importorskip("monai")
    monkeypatch.setattr(deviation, "BOUNDS", dict(deviation.BOUNDS))  # the script changes them
    rows = results_of("end_to_end.py", "--quick")["rows"]
    seconds = {row["name"]: statistics.median(row["cpu_s"]) for row in rows}
    assert seconds["MISFM, PyTorch fp32"] < seconds["MONAI"]
    for name in openvino_precisions():
        assert 2 * seconds[f"MISFM, OpenVINO {name}"] < seconds["MONAI"]
        assert 4 * seconds[f"MISFM, OpenVINO {name}"] < seconds["published driver"]


@pytest.mark.slow
def test_the_benchmark_of_gpus_is_ready_for_one(results_of):
    """On a CPU, since it also refuses other logits and labels there."""
    options = ("--quick", "--device", "cpu", "--network", "small", "--rounds", "1")
    found = results_of("gpu.py", *options)
    plain = [name for name in found["forward"] if name.startswith("MISFM plain")]
    formats = len(inference_precisions("auto", torch.device("cpu")))
    assert len(plain) == formats
    assert set(found["segment"]) >= {"MONAI fp32", "MISFM"}
    assert len(found["memory"]) == 1
    assert len(found["train"]) == 2 + formats


@pytest.mark.slow
def test_the_published_code_spends_on_copies_and_sums_what_ours_does_not(results_of):
    seconds = results_of("time_shares.py", "--network", "small", "--quick")["seconds"]
    aside = {name: kinds["add, multiply"] / sum(kinds.values()) for name, kinds in seconds.items()}
    assert 2 * aside["PyTorch fp32"] < aside["published"]
    assert all(kinds["other"] < 0.2 * sum(kinds.values()) for kinds in seconds.values())


@pytest.mark.slow
def test_a_later_process_finds_the_converted_model(results_of):
    if openvino_network.why_unavailable():
        pytest.skip("without OpenVINO nothing is converted")
    rows = results_of("start_up.py", "--rounds", "1", "--engines", "openvino")["rows"]
    first, later = (rows[name][0] for name in ("OpenVINO, model not yet converted", "OpenVINO"))
    assert 2 * later["first window"] < first["first window"]
