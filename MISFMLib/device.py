"""Devices, number formats, CPU threads and seeds; a device counts only once it has computed."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
import torch.nn.functional as F  # noqa: N812 its usual name

from MISFMLib.configs import Precision, SegmentPrecision
from MISFMLib.cores import usable_cores
from MISFMLib.errors import ConfigError, DeviceError

_log = logging.getLogger(__name__)

_DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
_BF16_CAPABILITY = 8
"""Major CUDA compute capability from which the chip itself computes in bfloat16 (Ampere)."""
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile")
_BF16_FEATURES = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class DeviceInfo:
    """One device, and whether it computes."""

    name: str
    """As given to `--device`: cpu, cuda:0, mps."""
    description: str
    """Name of the chip."""
    total_bytes: int
    """Memory of the device."""
    free_bytes: int
    """Memory that is free now."""
    works: bool
    """Convolutions ran on it and gave the right result."""
    problem: str = ""
    """Why it does not work; empty when it does."""


# ---------------------------------------------------------------------------------- which device


def list_devices() -> list[DeviceInfo]:
    """Return every device of this machine, fastest kind first, each tried with a real kernel."""
    return [_device_info(name) for name in _device_names()]


def select_device(name: str) -> torch.device:
    """Choose the device to compute on.

    Args:
        name: auto (first CUDA device that works, else MPS, else the CPU), cpu, cuda, cuda:N or mps.

    Raises:
        ConfigError: `name` is none of these.
        DeviceError: The named device is absent or fails to compute.
    """
    present = _device_names()
    if name == "auto":
        return torch.device(next(filter(_works_or_warn, present)))
    wanted = "cuda:0" if name == "cuda" else name
    if wanted.split(":")[0] not in ("cpu", "cuda", "mps"):
        raise ConfigError(
            f"{name!r} is no device.",
            code="bad-device",
            remedy="Use auto, cpu, cuda, cuda:N or mps.",
        )
    if wanted not in present:
        raise DeviceError(
            f"This machine has no device {name}; it has {', '.join(present)}.",
            code="device-absent",
            remedy="Choose one of them or auto; `misfm doctor` says what is wrong with a GPU.",
        )
    problem = _kernel_problem(wanted)
    if problem:
        raise DeviceError(
            f"{name} does not compute: {problem}.",
            code="device-broken",
            remedy="Use --device cpu; `misfm doctor` says what can be done.",
        )
    return torch.device(wanted)


def _device_names() -> list[str]:
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*(f"cuda:{index}" for index in cuda), *mps, "cpu"]


def _works_or_warn(name: str) -> bool:
    problem = _kernel_problem(name) if name != "cpu" else ""
    if problem:
        _log.warning("%s is not used, it does not compute: %s", name, problem)
    return not problem


def _kernel_problem(name: str) -> str:
    """Run what every network needs on the device; return why that failed, or nothing."""
    try:
        ones = torch.ones(1, 1, 3, 3, 3, device=name)
        summed = F.conv3d(ones, ones)
        spread = F.conv_transpose3d(summed, ones[..., :2, :2, :2], stride=2)
        result = F.max_pool3d(spread, 2).item()
    except RuntimeError as error:  # what torch raises for a missing kernel, driver or memory
        return str(error).strip().splitlines()[0].rstrip(".")
    return "" if result == 27.0 else f"convolutions gave {result} where 27 is right"


def _device_info(name: str) -> DeviceInfo:
    problem = _kernel_problem(name)
    description, total, free = _describe(torch.device(name), works=not problem)
    return DeviceInfo(name, description, total, free, works=not problem, problem=problem)


def _describe(device: torch.device, *, works: bool) -> tuple[str, int, int]:
    """Return chip name, total and free bytes; memory of a broken CUDA device reads as 0 free."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        free = torch.cuda.mem_get_info(device)[0] if works else 0
        return properties.name, properties.total_memory, free
    memory = psutil.virtual_memory()  # Apple's GPU shares the main memory
    chip = "Apple GPU" if device.type == "mps" else cpu_name()
    return chip, memory.total, memory.available


# -------------------------------------------------------------------------------- number formats


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the number format in which the network computes.

    ``auto`` is bfloat16 on CUDA devices and CPUs that compute in it, float16 on older CUDA devices,
    and float32 elsewhere. A CPU without AVX512-BF16 and AMX (see `cpu_features`) imitates bfloat16,
    more slowly than it computes float32, and takes it only when asked for.

    Raises:
        DeviceError: The device does not compute in the chosen format.
    """
    chosen: Precision = _fastest_precision(device) if precision == "auto" else precision
    if chosen not in _supported_precisions(device):
        supported = _supported_precisions(device)
        raise DeviceError(
            f"{device} does not compute in {chosen}; it does in {', '.join(supported)}.",
            code="precision-unsupported",
            remedy="Choose one of them or auto.",
        )
    return _DTYPES[chosen]


def inference_precisions(precision: Precision, device: torch.device) -> tuple[Precision, ...]:
    """Return the number formats in which a network may be run: the best one, then more exact ones.

    Raises:
        DeviceError: The device does not compute in the chosen format.
    """
    dtype = resolve_precision(precision, device)
    best = tuple(name for name, value in _DTYPES.items() if value is dtype)
    may_be_exact = precision == "auto" and device.type == "cpu" and best != ("fp32",)
    return (*best, "fp32") if may_be_exact else best


def autocast(
    device: torch.device, precision: SegmentPrecision
) -> contextlib.AbstractContextManager[object]:
    """Return a context in which networks compute in `precision`; float32 leaves them as they are.

    So does int8, whose networks keep to the number formats they were made with.

    Raises:
        DeviceError: The device does not compute in the chosen format.
    """
    dtype = torch.float32 if precision == "int8" else resolve_precision(precision, device)
    if dtype is torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def _fastest_precision(device: torch.device) -> Precision:
    if device.type == "cpu":
        return "bf16" if _BF16_FEATURES.intersection(cpu_features()) else "fp32"
    return _supported_precisions(device)[0] if device.type == "cuda" else "fp32"


def _supported_precisions(device: torch.device) -> tuple[Precision, ...]:
    """Return the formats of a device; those of a CUDA device fastest first."""
    if device.type == "cuda":
        ampere = torch.cuda.get_device_capability(device)[0] >= _BF16_CAPABILITY
        return ("bf16", "fp16", "fp32") if ampere else ("fp16", "fp32")
    return ("fp32", "bf16") if device.type == "cpu" else ("fp32", "fp16")


# ------------------------------------------------------------------------------- CPU and chance


def set_threads(threads: int | None) -> int:
    """Set the CPU threads of one operation.

    Args:
        threads: Number of threads; None takes `default_threads`.

    Returns:
        The number that was set.
    """
    torch.set_num_threads(threads or default_threads())
    return torch.get_num_threads()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one CPU thread in the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def default_threads() -> int:
    """Return the number of CPU threads that OMP_NUM_THREADS asks for, else all usable cores."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(wanted)) if wanted.isdecimal() else usable_cores()


def chip_name(device: str) -> str:
    """Return the name of the chip that computes on a device."""
    return _describe(select_device(device), works=False)[0]


def cpu_name() -> str:
    """Return the name of the CPU."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_features() -> tuple[str, ...]:
    """Return the instruction sets that matter for speed; empty where nobody tells them."""
    flags = _cpuinfo("flags").split() or _torch_cpu_flags()
    return tuple(feature for feature in _CPU_FEATURES if feature in flags)


def _torch_cpu_flags() -> list[str]:
    """Return what torch knows of the CPU, for systems other than Linux; older torch knows nothing.

    Its names are those of Linux, but for one.
    """
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    names = {"avx512_f": "avx512f"}
    return [names.get(name, name) for name, has in capabilities.items() if has is True]


def _cpuinfo(key: str, path: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    values = (line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == key)
    return next(values, "")


def cuda_peak_bytes(device: torch.device) -> int:
    """Return the most memory that was in use on a CUDA device; 0 on others."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global random numbers, on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
