"""GPUs of a machine, shared out among the processes of a job that is spread over several.

The processes may be workers of one command, of a dask cluster, or tasks of a job array: they know
nothing of each other, so each locks the GPU that it takes, and the system frees what has ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch

from MISFMLib.device import select_device
from MISFMLib.errors import DeviceError
from MISFMLib.events import ignore_events
from MISFMLib.locks import open_locked

_log = logging.getLogger(__name__)

_MOST_AT_ONE = 64
"""Processes that are counted at one GPU."""


@contextlib.contextmanager
def own_gpu(name: str) -> Iterator[str]:
    """Take the GPU at which the fewest processes of spread jobs are, for the block.

    Args:
        name: Device as the user gave it. Only ``auto`` and ``cuda`` leave open which GPU it is.

    Yields:
        The name of the GPU, such as ``cuda:2``; `name` where there is nothing to choose.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    taken = _take(count) if count > 1 and name in ("auto", "cuda") else None
    if taken is None:
        yield name
        return
    gpu, lock = taken
    with lock:
        yield gpu


def _take(count: int) -> tuple[str, IO[str]] | None:
    """Lock one of the GPUs where the fewest are; None where none computes or can be locked."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    folder = Path(tempfile.gettempdir(), f"misfm-gpus{user}")
    names = {gpu: _physical(gpu) for gpu in (f"cuda:{number}" for number in range(count))}
    try:
        for place in range(_MOST_AT_ONE):
            for gpu in list(names):
                lock = open_locked(folder / f"{names[gpu]}-{place}", ignore_events)
                if lock is None:
                    continue
                if _computes(gpu):
                    return gpu, lock
                lock.close()
                del names[gpu]
    except OSError as error:
        _log.warning("GPUs are not shared out: %s cannot be written: %s", folder, error)
    return None


def _computes(gpu: str) -> bool:
    """Try one GPU only: on each that is tried half a GB stays taken until the process ends."""
    try:
        select_device(gpu)
    except DeviceError as error:
        _log.warning("%s", error.message)
        return False
    return True


def _physical(gpu: str) -> str:
    """Name a GPU alike in all processes, which may see different ones under the same number."""
    properties = torch.cuda.get_device_properties(gpu)
    return str(getattr(properties, "uuid", "")) or gpu.replace(":", "")
