"""``misfm doctor``: what works on this machine, what does not, and what to do about it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from MISFMLib import __version__
from MISFMLib.errors import BundleError
from MISFMLib.models import store

if TYPE_CHECKING:
    from MISFMLib.device import DeviceInfo

Status = Literal["ok", "warn", "fail"]

# Distribution, module and lowest version of what segmenting needs; a test compares with pyproject.
REQUIRED = (
    ("numpy", "numpy", "1.24"),
    ("psutil", "psutil", "5.9"),
    ("pydicom", "pydicom", "3.0"),
    ("safetensors", "safetensors", "0.4.3"),
    ("SimpleITK", "SimpleITK", "2.3"),
    ("torch", "torch", "2.6"),
    ("tqdm", "tqdm", "4.66"),
    ("tyro", "tyro", "1.0"),
)
# Extra, what it is for, and its distributions.
EXTRAS = (
    ("train", "fine-tuning", ("lightning-fabric", "monai", "scipy", "tensorboard")),
    ("dicom", "writing DICOM SEG", ("highdicom",)),
    ("report", "overview pictures", ("matplotlib", "scipy")),
    ("prepare", "training stores", ("blosc2", "fsspec")),
    ("cluster", "preparing on a dask cluster", ("distributed",)),
)
_LOW_MEMORY_BYTES = 4 * 2**30
_LOW_DISK_BYTES = 2 * 2**30
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What was looked at."""
    status: Status
    """ok; warn: works, but slower or with less; fail: jobs that need it cannot run."""
    detail: str
    """What was found."""
    remedy: str = ""
    """What the user can do about it; empty when nothing needs doing."""


@dataclass(frozen=True)
class DoctorReport:
    """All checks, in the order in which people should read them."""

    checks: tuple[Check, ...]
    """The checks."""
    devices: tuple[DeviceInfo, ...] = ()
    """Every device, tried out; empty where torch is missing."""

    @property
    def status(self) -> Status:
        """The worst status of all checks."""
        found = {check.status for check in self.checks}
        return "fail" if "fail" in found else "warn" if "warn" in found else "ok"


def run_doctor() -> DoctorReport:
    """Check versions, packages, devices, memory, disk, models, threads and priority."""
    python = f"{platform.python_version()} on {platform.platform()}"
    checks = [Check("MISFM", "ok", __version__), Check("Python", "ok", python)]
    checks += [_package_check(*package) for package in REQUIRED]
    checks += [_extra_check(*extra) for extra in EXTRAS]
    devices = _devices()
    checks += _device_checks(devices) if devices else []
    checks += [_memory_check(), *_store_checks(), *_model_checks(), _priority_check()]
    return DoctorReport(tuple(checks), devices)


def format_report(report: DoctorReport) -> str:
    """Return the report as lines for people: status, name, detail, and what to do below it."""
    width = max((len(check.name) for check in report.checks), default=0)
    lines = []
    for check in report.checks:
        lines.append(f"{check.status:<4}  {check.name:<{width}}  {check.detail}".rstrip())
        if check.remedy:
            lines.append(f"{'':<6}{'':<{width}}  -> {check.remedy}")
    counts = {status: sum(c.status == status for c in report.checks) for status in ("fail", "warn")}
    lines.append(
        f"{counts['fail']} failed, {counts['warn']} to note."
        if any(counts.values())
        else "Everything works."
    )
    return "\n".join(lines)


# --------------------------------------------------------------------------------------- packages


def _package_check(distribution: str, module: str, lowest: str) -> Check:
    """Check that a required package is new enough and can be imported."""
    remedy = f'Run: python -m pip install "{distribution}>={lowest}"'
    version = _version(distribution)
    if not version:
        return Check(distribution, "fail", "is not installed", remedy)
    try:
        importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a library the package needs is missing
        return Check(distribution, "fail", f"{version} cannot be imported: {error}", remedy)
    if _numbers(version) < _numbers(lowest):
        return Check(distribution, "fail", f"{version} is older than {lowest}", remedy)
    return Check(distribution, "ok", version)


def _extra_check(extra: str, purpose: str, distributions: tuple[str, ...]) -> Check:
    missing = [name for name in distributions if not _version(name)]
    name = f"for {purpose}"
    if missing:
        detail = f"{', '.join(missing)} not installed"
        return Check(name, "warn", detail, f'Run: python -m pip install "misfm[{extra}]"')
    versions = ", ".join(f"{name} {_version(name)}" for name in distributions)
    return Check(name, "ok", versions)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+")[0])[:3])


# ---------------------------------------------------------------------------------------- devices


def _devices() -> tuple[DeviceInfo, ...]:
    try:
        from MISFMLib import device
    except (ImportError, OSError):  # a broken torch is told by its package check
        return ()
    return tuple(device.list_devices())


def _device_checks(devices: Sequence[DeviceInfo]) -> list[Check]:
    from MISFMLib import device

    checks = []
    for info in devices:
        memory = f"{_gigabytes(info.free_bytes)} of {_gigabytes(info.total_bytes)} free"
        if info.works:
            checks.append(Check(info.name, "ok", f"{info.description}, {memory}, computes"))
        else:
            detail = f"{info.description} does not compute: {info.problem}"
            checks.append(Check(info.name, "fail", detail, _device_remedy(info.problem)))
    if not any(check.name.startswith("cuda") for check in checks):
        checks += _unused_gpu_checks()
    features = ", ".join(device.cpu_features()) or "unknown"
    checks += [Check("CPU features", "ok", features), _engine_check()]
    return [*checks, _threads_check(device.default_threads)]


def _engine_check() -> Check:
    """Tell what computes networks on the CPU."""
    import torch

    from MISFMLib.device import inference_precisions
    from MISFMLib.inference import openvino_network

    precision = inference_precisions("auto", torch.device("cpu"))[0]
    problem = openvino_network.why_unavailable()
    if not problem:
        detail = f"OpenVINO {openvino_network.version()} once it pays, until then PyTorch"
        return Check("CPU engine", "ok", f"{detail}; {precision}")
    if not openvino_network.is_x86():
        return Check("CPU engine", "ok", f"PyTorch, {precision}")
    remedy = 'Run: python -m pip install "misfm[cpu]"'
    return Check("CPU engine", "warn", f"PyTorch, {precision}; OpenVINO would be faster", remedy)


def _device_remedy(problem: str) -> str:
    if "out of memory" in problem:
        return "Close other programs that use the GPU."
    if "no kernel image" in problem:
        return "Install a build of torch for this GPU: https://pytorch.org/get-started/locally"
    return "Update the driver of the GPU and restart; until then use --device cpu."


def _unused_gpu_checks() -> list[Check]:
    """Tell of an NVIDIA GPU that torch does not use."""
    import torch

    if not _NVIDIA_DRIVER.exists() and not shutil.which("nvidia-smi"):
        return []
    if torch.version.cuda is None:
        detail = f"there is an NVIDIA driver, but torch {torch.__version__} is built without CUDA"
        remedy = "Install torch with CUDA: https://pytorch.org/get-started/locally"
    else:
        detail = f"torch finds no GPU that works with CUDA {torch.version.cuda}"
        remedy = "Update the NVIDIA driver, and see what `nvidia-smi` tells."
    return [Check("NVIDIA GPU", "warn", detail, remedy)]


def _threads_check(default_threads: Callable[[], int]) -> Check:
    threads, cores = default_threads(), psutil.cpu_count(logical=False) or os.cpu_count() or 1
    detail = f"{threads} used, {cores} cores"
    if threads < cores and os.environ.get("OMP_NUM_THREADS"):
        return Check("CPU threads", "warn", detail, "Unset OMP_NUM_THREADS, or use --threads.")
    return Check("CPU threads", "ok", detail)


# ------------------------------------------------------------------------- memory, disk, priority


def _memory_check() -> Check:
    memory = psutil.virtual_memory()
    detail = f"{_gigabytes(memory.available)} of {_gigabytes(memory.total)} free"
    if memory.available < _LOW_MEMORY_BYTES:
        return Check("memory", "warn", detail, "Close other programs before large volumes.")
    return Check("memory", "ok", detail)


def _store_checks() -> list[Check]:
    """Check the place of the model store: may be written, and has room."""
    home = store.home().absolute()
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    remedy = "Set MISFM_HOME to a folder where you may write."
    if not existing.is_dir():  # a user of a container without a home folder, see `store.home`
        detail = f"there is no folder for your models: {existing} is none"
        return [Check("model store", "fail", detail, remedy)]
    if not os.access(existing, os.W_OK):
        return [Check("model store", "fail", f"{home} cannot be written", remedy)]
    free = shutil.disk_usage(existing).free
    detail = f"{home}, {_gigabytes(free)} free"
    if free < _LOW_DISK_BYTES:
        remedy = "Free some space, or set MISFM_HOME to a folder on another disk."
        return [Check("model store", "warn", detail, remedy)]
    return [Check("model store", "ok", detail)]


def _model_checks() -> list[Check]:
    """Verify every model on this machine."""
    entries = [entry for entry in store.list_models() if entry.origin != "available"]
    if not entries:
        remedy = "See `misfm models list` for models to get."
        return [Check("models", "warn", "no model is installed", remedy)]
    return [_model_check(entry) for entry in entries]


def _model_check(entry: store.ModelEntry) -> Check:
    name = f"model {entry.name}"
    try:
        bundle = store.verify_model(entry.path)
    except BundleError as error:
        remedy = "Reinstall MISFM."
        if entry.origin == "mine":
            remedy = f"{error.remedy} `misfm models remove {entry.name}` deletes it."
        return Check(name, "fail", error.message, remedy)
    return Check(name, "ok", f"{entry.origin}, {bundle.manifest.version}, intact")


def _priority_check() -> Check:
    """Tell of a low priority: programs that 3D Slicer starts inherit nice 19 from it."""
    nice = os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0
    if nice > 0:
        detail = f"nice {nice}: other programs of this machine go first"
        remedy = "Set SLICER_BACKGROUND_THREAD_PRIORITY=0 before 3D Slicer is started."
        return Check("priority", "warn", detail, remedy)
    return Check("priority", "ok", "normal")


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GB"
