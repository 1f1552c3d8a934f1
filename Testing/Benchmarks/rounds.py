"""What the benchmarks share: timing in turns, and saying what it was timed on."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from MISFMLib.device import cpu_features, cpu_name

Times = dict[str, list[float]]


def take_turns(
    variants: Mapping[str, Callable[[], Any]], rounds: int, *, is_warm: bool = False
) -> dict[str, Times]:
    """Time every variant once a round; all have been run before.

    Args:
        variants: What to run, by name.
        rounds: How often.
        is_warm: Run each once before it is timed, too, as what runs many times in a row: the memory
            that it uses was given back for the one before it.

    Returns:
        By variant ``cpu_s``, the seconds of all cores, and ``wall_s``, those on the clock.
    """
    times: dict[str, Times] = {name: {"cpu_s": [], "wall_s": []} for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            if is_warm:
                run()
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            times[name]["cpu_s"].append(time.process_time() - cpu)
            times[name]["wall_s"].append(time.perf_counter() - wall)
    return times


def spread(values: list[float]) -> str:
    """Return median and range."""
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def ratio(slow: list[float], fast: list[float]) -> float:
    """Return how many times as fast it is, by the medians."""
    return statistics.median(slow) / statistics.median(fast)


def headline() -> str:
    """Return the line above a table: CPU, threads, load and date."""
    where = machine()
    return f"{where['cpu']}, {where['threads']} thread(s), load {where['load']}, {where['date']}"


def machine() -> dict[str, Any]:
    """Describe the machine and what else it is doing."""
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "features": cpu_features(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "torch": torch.__version__,
    }
