"""The doctor finds what is wrong and says what to do about it."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from MISFMLib import device
from MISFMLib.configs import LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.device import DeviceInfo
from MISFMLib.inference import openvino_network
from MISFMLib.jobs import doctor
from MISFMLib.jobs.doctor import Check, DoctorReport, format_report, run_doctor
from MISFMLib.models import store
from MISFMLib.models.bundle import BundleManifest, write_bundle

REPOSITORY = Path(__file__).resolve().parents[2]


def find(name: str) -> Check:
    return {check.name: check for check in run_doctor().checks}[name]


def make_model(name: str) -> Path:
    manifest = BundleManifest(
        name=name,
        network=NetworkConfig(),
        preprocessing=PreprocessingConfig(),
        labels=(LabelConfig(value=1, name="thing"),),
    )
    weights = {"weight": np.ones(3, np.float32)}
    return write_bundle(store.models_folder() / name, manifest, weights).path


def test_every_check_that_does_not_pass_says_what_to_do():
    report = run_doctor()
    assert {"MISFM", "Python", "torch", "cpu", "memory", "model store", "priority"} <= {
        check.name for check in report.checks
    }
    for check in report.checks:
        assert bool(check.remedy) == (check.status != "ok"), check


def test_versions_are_those_that_the_project_requires():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert {f"{name}>={lowest}" for name, _, lowest in doctor.REQUIRED} == set(
        project["dependencies"]
    )
    for extra, _, distributions in doctor.EXTRAS:
        names = {re.split("[>=]", line)[0] for line in project["optional-dependencies"][extra]}
        assert set(distributions) == names


def test_a_missing_required_package_fails_with_the_command_to_install_it():
    check = doctor._package_check("no-such-package-here", "json", "2.4")
    assert (check.status, check.detail) == ("fail", "is not installed")
    assert 'pip install "no-such-package-here>=2.4"' in check.remedy


def test_a_package_that_is_too_old_or_cannot_be_imported_fails(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: "2.3.1+cpu")
    assert doctor._package_check("torch", "json", "2.4").status == "fail"
    assert doctor._package_check("torch", "json", "2.3").status == "ok"
    assert doctor._package_check("torch", "json", "2.3.2").status == "fail"
    check = doctor._package_check("torch", "no_such_module_here", "2.3")
    assert "cannot be imported: No module named" in check.detail


def test_versions_compare_as_numbers(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: "2.10.0")
    assert doctor._package_check("torch", "json", "2.4").status == "ok"


def test_a_missing_extra_tells_what_it_is_for(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name == "highdicom" else "9.9")
    check = find("for writing DICOM SEG")
    assert (check.status, check.detail) == ("warn", "highdicom not installed")
    assert 'pip install "misfm[dicom]"' in check.remedy
    assert find("for overview pictures").detail == "matplotlib 9.9, scipy 9.9"


@pytest.mark.parametrize(
    ("problem", "is_x86", "status", "words"),
    [
        ("", True, "ok", "OpenVINO 1.2 once it pays, until then PyTorch; bf16"),
        ("not installed", True, "warn", "PyTorch, bf16; OpenVINO would be faster"),
        ("not x86", False, "ok", "PyTorch, bf16"),
    ],
)
def test_the_engine_of_the_cpu_is_told(monkeypatch, problem, is_x86, status, words):
    monkeypatch.setattr(openvino_network, "why_unavailable", lambda: problem)
    monkeypatch.setattr(openvino_network, "is_x86", lambda: is_x86)
    monkeypatch.setattr(openvino_network, "version", lambda: "1.2")
    monkeypatch.setattr(device, "cpu_features", lambda: ("avx512_bf16",))
    check = find("CPU engine")
    assert (check.status, check.detail) == (status, words)
    assert ("misfm[cpu]" in check.remedy) == (status == "warn")


def test_the_doctor_works_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "MISFMLib.device")
    monkeypatch.delattr("MISFMLib.device")
    names = {check.name: check for check in run_doctor().checks}
    assert names["torch"].status == "fail"
    assert "cpu" not in names
    assert "priority" in names


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("CUDA error: no kernel image is available", "build of torch for this GPU"),
        ("CUDA out of memory", "Close other programs"),
        ("CUDA driver version is insufficient", "Update the driver"),
    ],
)
def test_a_gpu_that_does_not_compute_fails_with_its_reason(monkeypatch, problem, remedy):
    broken = DeviceInfo("cuda:0", "Some GPU", 8 << 30, 0, works=False, problem=problem)
    monkeypatch.setattr(device, "list_devices", lambda: [broken])
    check = find("cuda:0")
    assert check.status == "fail"
    assert problem in check.detail
    assert remedy in check.remedy


def test_a_gpu_that_computes_shows_its_free_memory(monkeypatch):
    good = DeviceInfo("cuda:0", "Some GPU", 8 << 30, 3 << 30, works=True)
    monkeypatch.setattr(device, "list_devices", lambda: [good])
    assert find("cuda:0") == Check("cuda:0", "ok", "Some GPU, 3.0 GB of 8.0 GB free, computes")
    assert run_doctor().devices == (good,)


@pytest.mark.parametrize(("cuda", "text"), [(None, "built without CUDA"), ("12.4", "CUDA 12.4")])
def test_an_nvidia_gpu_that_torch_does_not_use_is_noted(monkeypatch, tmp_path, cuda, text):
    import torch

    cpu = DeviceInfo("cpu", "Some CPU", 8 << 30, 3 << 30, works=True)
    monkeypatch.setattr(device, "list_devices", lambda: [cpu])
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(doctor, "_NVIDIA_DRIVER", tmp_path)
    check = find("NVIDIA GPU")
    assert check.status == "warn"
    assert text in check.detail


def test_a_limit_on_threads_is_noted(monkeypatch):
    monkeypatch.setattr(doctor.psutil, "cpu_count", lambda logical: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    check = find("CPU threads")
    assert (check.status, check.detail) == ("warn", "2 used, 64 cores")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert find("CPU threads").status == "ok"


def test_little_memory_is_noted(monkeypatch):
    memory = SimpleNamespace(available=1 << 30, total=8 << 30)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: memory)
    assert find("memory").status == "warn"


def test_the_store_may_be_a_folder_that_does_not_exist_yet():
    assert not store.home().exists()
    assert find("model store").status == "ok"
    assert not store.home().exists()


def test_a_store_that_is_full_or_read_only_is_told(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    assert find("model store").status == "warn"
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    check = find("model store")
    assert check.status == "fail"
    assert "MISFM_HOME" in check.remedy


def test_every_model_is_verified(monkeypatch):
    make_model("whole")
    path = make_model("damaged") / "models" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert find("model whole").status == "ok"
    check = find("model damaged")
    assert check.status == "fail"
    assert "misfm models remove damaged" in check.remedy
    entry = dataclasses.replace(store.list_models()[0], origin="bundled")
    monkeypatch.setattr(store, "list_models", lambda: [entry])
    assert find(f"model {entry.name}").remedy == "Reinstall MISFM."
    shutil.rmtree(store.models_folder())
    monkeypatch.setattr(store, "list_models", list)
    assert find("models").status == "warn"


def test_a_low_priority_as_slicer_gives_it_is_noted(monkeypatch):
    monkeypatch.setattr(os, "getpriority", lambda which, who: 19, raising=False)
    monkeypatch.setattr(os, "PRIO_PROCESS", 0, raising=False)
    check = find("priority")
    assert check.status == "warn"
    assert "SLICER_BACKGROUND_THREAD_PRIORITY=0" in check.remedy
    monkeypatch.delattr(os, "getpriority")
    assert find("priority").status == "ok"


def test_the_text_puts_the_remedy_below_the_problem_and_counts():
    checks = (
        Check("a", "ok", "fine"),
        Check("longer", "warn", "slow", "Buy more."),
        Check("b", "fail", "gone", "Get it."),
    )
    assert format_report(DoctorReport(checks)).splitlines() == [
        "ok    a       fine",
        "warn  longer  slow",
        "              -> Buy more.",
        "fail  b       gone",
        "              -> Get it.",
        "1 failed, 1 to note.",
    ]
    assert format_report(DoctorReport(checks[:1])).endswith("Everything works.")


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [(("ok", "ok"), "ok"), (("ok", "warn"), "warn"), (("fail", "warn"), "fail")],
)
def test_the_worst_check_is_the_status_of_the_report(statuses, worst):
    checks = tuple(Check("a", status, "x") for status in statuses)
    assert DoctorReport(checks).status == worst


def test_a_user_without_a_home_folder_is_told(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("MISFM_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr("sys.platform", "linux")
    assert store.list_models()
    (check,) = doctor._store_checks()
    assert check.status == "fail"
    assert "there is no folder for your models" in check.detail
    assert "MISFM_HOME" in check.remedy
