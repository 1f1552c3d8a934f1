"""Devices are chosen by what they compute, not by what they claim."""

from __future__ import annotations

import random
import tempfile
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from MISFMLib import cores as cores_module
from MISFMLib import device
from MISFMLib.errors import ConfigError, DeviceError
from MISFMLib.gpus import own_gpu

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda:0"), torch.device("mps")
GIB = 2**30


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two CUDA devices, of which `problems` do not compute."""
    problems: dict[str, str] = {}
    chip = SimpleNamespace(name="Some GPU", total_memory=8 * GIB)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: chip)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * GIB, 8 * GIB))
    monkeypatch.setattr(device, "_kernel_problem", lambda name: problems.get(name, ""))
    return problems


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_without_a_gpu_auto_is_the_cpu(no_gpu):
    assert device.select_device("auto") == CPU
    assert device.select_device("cpu") == CPU


def test_auto_is_the_first_gpu_that_computes(two_gpus, caplog):
    assert device.select_device("auto") == torch.device("cuda:0")
    two_gpus["cuda:0"] = "no kernel image is available"
    assert device.select_device("auto") == torch.device("cuda:1")
    assert "cuda:0 is not used, it does not compute: no kernel image" in caplog.text
    two_gpus["cuda:1"] = "out of memory"
    assert device.select_device("auto") == CPU


def test_mps_goes_before_the_cpu(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(device, "_kernel_problem", lambda name: "")
    assert device.select_device("auto") == MPS
    assert device.select_device("mps") == MPS
    info = device.list_devices()[0]
    assert (info.name, info.description) == ("mps", "Apple GPU")
    assert info.total_bytes == psutil.virtual_memory().total


def test_cuda_without_a_number_is_the_first(two_gpus):
    assert device.select_device("cuda") == torch.device("cuda:0")
    assert device.select_device("cuda:1") == torch.device("cuda:1")


def test_processes_of_a_spread_job_share_the_gpus_out(two_gpus, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with own_gpu("auto") as first, own_gpu("cuda") as second, own_gpu("auto") as third:
        assert (first, second, third) == ("cuda:0", "cuda:1", "cuda:0")
    with own_gpu("cuda:1") as named, own_gpu("cpu") as cpu, own_gpu("auto") as again:
        assert (named, cpu, again) == ("cuda:1", "cpu", "cuda:0")
    two_gpus["cuda:0"] = "no kernel image is available"
    with own_gpu("auto") as first, own_gpu("auto") as second:
        assert (first, second) == ("cuda:1", "cuda:1")
    two_gpus["cuda:1"] = "out of memory"
    with own_gpu("auto") as name:
        assert name == "auto"  # then it is told, and the CPU computes


def test_a_gpu_is_the_same_under_another_number(two_gpus, monkeypatch, tmp_path):
    """As in two tasks of SLURM, of which each sees other GPUs."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def show(*order):
        chips = [SimpleNamespace(uuid=name) for name in order]
        properties = {f"cuda:{index}": chip for index, chip in enumerate(chips)}
        monkeypatch.setattr(torch.cuda, "get_device_properties", properties.__getitem__)

    show("A", "B")
    with own_gpu("auto") as first:
        show("B", "A")
        with own_gpu("auto") as second, own_gpu("auto") as third:
            assert (first, second, third) == ("cuda:0", "cuda:0", "cuda:0")
            assert sorted(path.name for path in tmp_path.glob("*/*")) == ["A-0", "B-0", "B-1"]


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_an_absent_device_names_what_there_is(no_gpu, name):
    with pytest.raises(DeviceError, match=f"no device {name}; it has cpu") as caught:
        device.select_device(name)
    assert caught.value.code == "device-absent"


@pytest.mark.parametrize("name", ["cuda:2", "cuda:x", "cuda:"])
def test_a_gpu_number_too_high_names_what_there_is(two_gpus, name):
    with pytest.raises(DeviceError, match="it has cuda:0, cuda:1, cpu"):
        device.select_device(name)


def test_a_named_device_that_does_not_compute_is_an_error(two_gpus):
    two_gpus["cuda:1"] = "no kernel image is available"
    with pytest.raises(DeviceError, match="no kernel image") as caught:
        device.select_device("cuda:1")
    assert caught.value.code == "device-broken"


@pytest.mark.parametrize("name", ["gpu", "", "CPU", "tpu:0"])
def test_what_is_no_device_is_a_wrong_option(name):
    with pytest.raises(ConfigError, match="auto, cpu, cuda"):
        device.select_device(name)


def test_every_device_is_listed_with_memory_and_state(two_gpus):
    two_gpus["cuda:1"] = "out of memory"
    first, second, cpu = device.list_devices()
    assert (first.name, first.works, first.free_bytes) == ("cuda:0", True, 3 * GIB)
    assert (second.works, second.problem, second.free_bytes) == (False, "out of memory", 0)
    assert second.total_bytes == 8 * GIB
    assert cpu.name == "cpu"
    assert 0 < cpu.free_bytes <= cpu.total_bytes


def test_the_cpu_runs_a_real_kernel():
    assert device._kernel_problem("cpu") == ""


def test_a_kernel_that_fails_or_computes_wrongly_is_a_problem(monkeypatch):
    def fail(*arguments, **options):
        raise NotImplementedError("no kernel image is available.\nCompile with ...")

    for name in ("conv3d", "conv_transpose3d", "max_pool3d"):
        with monkeypatch.context() as patch:
            patch.setattr(torch.nn.functional, name, fail)
            assert device._kernel_problem("cpu") == "no kernel image is available"
    monkeypatch.setattr(
        torch.nn.functional, "conv3d", lambda image, kernel: kernel[..., :1, :1, :1]
    )
    assert device._kernel_problem("cpu") == "convolutions gave 1.0 where 27 is right"


# -------------------------------------------------------------------------------- number formats


@pytest.mark.parametrize(
    ("place", "capability", "precision", "expected"),
    [
        (CPU, None, "bf16", torch.bfloat16),
        (CPU, None, "fp32", torch.float32),
        (MPS, None, "auto", torch.float32),
        (MPS, None, "fp16", torch.float16),
        (CUDA, (9, 0), "auto", torch.bfloat16),
        (CUDA, (8, 0), "auto", torch.bfloat16),
        (CUDA, (8, 0), "fp16", torch.float16),
        (CUDA, (7, 5), "auto", torch.float16),
        (CUDA, (7, 5), "fp32", torch.float32),
    ],
)
def test_precision_fits_the_chip(monkeypatch, place, capability, precision, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert device.resolve_precision(precision, place) is expected


@pytest.mark.parametrize(
    ("place", "features", "precision", "expected"),
    [
        (CPU, ["avx2", "avx512_bf16"], "auto", ("bf16", "fp32")),
        (CPU, ["amx_bf16"], "auto", ("bf16", "fp32")),
        (CPU, ["avx2", "avx512f"], "auto", ("fp32",)),
        (CPU, ["avx2"], "bf16", ("bf16",)),
        (CPU, ["avx512_bf16"], "fp32", ("fp32",)),
        (MPS, [], "auto", ("fp32",)),
        (CUDA, [], "auto", ("bf16",)),
    ],
)
def test_networks_compute_in_bfloat16_where_the_cpu_computes_in_it(
    monkeypatch, place, features, precision, expected
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(device, "cpu_features", lambda: features)
    assert device.inference_precisions(precision, place) == expected
    assert device.resolve_precision(precision, place) is device._DTYPES[expected[0]]


@pytest.mark.parametrize(("place", "precision"), [(CPU, "fp16"), (MPS, "bf16"), (CUDA, "bf16")])
def test_a_precision_that_the_chip_lacks_is_an_error(monkeypatch, place, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    with pytest.raises(DeviceError, match=f"does not compute in {precision}; it does in"):
        device.autocast(place, precision)


def test_autocast_changes_the_number_format_only_when_asked():
    layer, volume = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with device.autocast(CPU, "fp32"):
        assert layer(volume).dtype is torch.float32
    with device.autocast(CPU, "bf16"):
        assert layer(volume).dtype is torch.bfloat16
    assert layer(volume).dtype is torch.float32


# ------------------------------------------------------------------------------- CPU and chance


@pytest.fixture
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_as_asked_for(threads_restored, monkeypatch):
    assert device.set_threads(1) == 1 == torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert device.set_threads(None) == 2 == torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert device.set_threads(None) == device.usable_cores()


@pytest.mark.parametrize(("quota", "expected"), [("max 100000", 4), ("250000 100000", 2), ("", 4)])
def test_usable_cores_respect_a_containers_quota(monkeypatch, tmp_path, quota, expected):
    (tmp_path / "cpu.max").write_text(quota, "ascii")
    cores = cores_module._quota_cores(tmp_path / "cpu.max")
    monkeypatch.setattr(cores_module, "_quota_cores", lambda path: cores)
    monkeypatch.setattr(cores_module.psutil, "cpu_count", lambda logical: 4)
    monkeypatch.setattr(cores_module.os, "sched_getaffinity", lambda pid: range(8), raising=False)
    assert cores_module.usable_cores() == expected


def test_usable_cores_respect_the_affinity_and_are_at_least_one(monkeypatch, tmp_path):
    monkeypatch.setattr(cores_module.psutil, "cpu_count", lambda logical: 64)
    monkeypatch.setattr(cores_module.os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert cores_module.usable_cores() == 1
    (tmp_path / "cpu.max").write_text("10000 100000", "ascii")
    assert cores_module._quota_cores(tmp_path / "cpu.max") == 1
    assert cores_module._quota_cores(tmp_path / "absent") > 1000


def test_the_cpu_is_described_from_what_linux_tells(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Some CPU: fast\nflags\t\t: fpu avx2 avx512_bf16\n", "utf-8")
    read = device._cpuinfo
    monkeypatch.setattr(device, "_cpuinfo", lambda key: read(key, path))
    assert device.cpu_name() == "Some CPU: fast"
    assert device.cpu_features() == ("avx2", "avx512_bf16")
    path.unlink()
    assert device.cpu_name()


@pytest.mark.parametrize(
    ("capabilities", "features"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "cpu_name": "x"}, "avx2 avx512f"),
        ({}, ""),
    ],
)
def test_the_cpu_is_described_from_what_torch_tells_where_linux_does_not(
    monkeypatch, capabilities, features
):
    monkeypatch.setattr(device, "_cpuinfo", lambda key: "")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert device.cpu_features() == tuple(features.split())


def test_older_torch_tells_nothing_of_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "_cpuinfo", lambda key: "")
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert device.cpu_features() == ()


def test_the_same_seed_gives_the_same_numbers():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    device.seed_everything(5)
    first = draw()
    assert draw() != first
    device.seed_everything(5)
    assert draw() == first


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_real_gpu_computes_in_its_precision():
    place = device.select_device("auto")
    assert place.type == "cuda"
    assert device.list_devices()[0].works
    with device.autocast(place, "auto"):
        result = torch.nn.Linear(8, 8, device=place)(torch.ones(1, 8, device=place))
    assert result.dtype is device.resolve_precision("auto", place)
