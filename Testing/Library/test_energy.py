"""The energy of a piece of work, from counters that go around, or none where there are none."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from MISFMLib.energy import measured

FULL = 262_143_328_850


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)


def package(folder, name, energy_uj):
    place = folder / name
    place.mkdir(exist_ok=True)
    (place / "energy_uj").write_text(f"{energy_uj}\n", "ascii")
    (place / "max_energy_range_uj").write_text(f"{FULL}\n", "ascii")


def test_packages_are_added_and_their_parts_are_not(tmp_path):
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        package(tmp_path, name, 1_000_000)
    with measured(tmp_path) as energy:
        package(tmp_path, "intel-rapl:0", 3_000_000)
        package(tmp_path, "intel-rapl:1", 1_500_000)
        package(tmp_path, "intel-rapl:0:0", 2_000_000)
    assert energy.joules == pytest.approx(2.5)


def test_a_counter_that_goes_around_counts_on(tmp_path):
    package(tmp_path, "intel-rapl:0", FULL - 4_000_000)
    with measured(tmp_path) as energy:
        package(tmp_path, "intel-rapl:0", 1_000_000)
    assert energy.joules == pytest.approx(5)


def test_without_counters_nothing_is_told(tmp_path):
    with measured(tmp_path / "none") as energy:
        pass
    assert energy.joules is None
    (tmp_path / "intel-rapl:0").mkdir()  # one that may not be read
    with measured(tmp_path) as energy:
        pass
    assert energy.joules is None


def test_gpus_count_in_millijoules(tmp_path, monkeypatch):
    readings = iter([1000, 4500])
    fake = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=lambda _handle: next(readings),
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    with measured(tmp_path) as energy:
        pass
    assert energy.joules == pytest.approx(3.5)
