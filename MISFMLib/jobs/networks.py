"""``misfm networks``: what there is to train, with weights, operations, memory and speed."""

from __future__ import annotations

import multiprocessing
import time
import typing
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from MISFMLib.configs import NetworkConfig, NetworkPreset, Size
from MISFMLib.device import set_threads
from MISFMLib.events import EventSink, Notice, Progress
from MISFMLib.jobs.train.start import preset_network
from MISFMLib.networks import build_network, choose_resolution_mode
from MISFMLib.networks.build import build_shapes
from MISFMLib.volumes.volume_types import by

_BATCH = 2
"""Patches of a training step: some norms need two."""
_POLL_S = 0.01
_RUNS = 3
_LONG_S = 2.0
"""Seconds of runs after which none is added: a busy moment hardly counts in so many."""


def list_networks(
    names: Sequence[NetworkPreset],
    patch_size: Size,
    events: EventSink,
    *,
    is_measured: bool,
    threads: int | None = None,
) -> dict[str, Any]:
    """Describe the networks that can be trained from fresh weights.

    Args:
        names: Presets; none for all.
        patch_size: Patch that operations are counted for and that is computed.
        events: Hears progress, and which network could not be measured.
        is_measured: Whether every network computes a patch and a training step here and now, in a
            process of its own.
        threads: CPU threads; all cores when not given.

    Returns:
        The networks, with the key ``text`` for people.
    """
    chosen = list(names) or list(typing.get_args(NetworkPreset))
    rows = []
    for number, name in enumerate(chosen):
        events(Progress("networks", number / len(chosen), name))
        rows.append(_described(name, patch_size, events, is_measured, threads))
    return {"patch_size": list(patch_size), "networks": rows, "text": _text(rows, patch_size)}


def _described(
    name: NetworkPreset, patch: Size, events: EventSink, is_measured: bool, threads: int | None
) -> dict[str, Any]:
    config = _config(name, patch)
    row: dict[str, Any] = {"name": name, "architecture": config.architecture, **_counted(config)}
    if is_measured:
        try:
            row |= _measured(config, threads)
        except (MemoryError, RuntimeError, EOFError) as error:
            events(Notice(f"{name} could not be measured: {error}"))
    return row


def _config(name: NetworkPreset, patch: Size) -> NetworkConfig:
    network, _, _ = preset_network(name)
    mode = choose_resolution_mode((1.0, 1.0, 1.0))
    return replace(network, patch_size=patch, resolution_mode=mode)


def _counted(config: NetworkConfig) -> dict[str, Any]:
    """Count weights and multiply-adds without computing anything."""
    assert config.patch_size is not None
    network = build_shapes(config).eval()
    with torch.device("meta"):
        image_BCDHW = torch.empty(1, config.in_channels, *config.patch_size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(image_BCDHW)
    weights = sum(parameter.numel() for parameter in network.parameters())
    return {"weights": weights, "multiply_adds": counter.get_total_flops() // 2}


def _measured(config: NetworkConfig, threads: int | None) -> dict[str, float]:
    """Compute a patch and a training step in a new process, and watch its memory."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_compute, args=(there, config, threads), daemon=True)
    process.start()
    there.close()
    watched, peak = psutil.Process(process.pid), 0
    while not here.poll(_POLL_S):
        if not process.is_alive():
            raise RuntimeError("its process ended, most likely for want of memory")
        peak = max(peak, watched.memory_info().rss)
    seconds, step_seconds, before = here.recv()
    process.join()
    return {
        "seconds": round(seconds, 3),
        "step_seconds": round(step_seconds, 3),
        "step_bytes": max(0, peak - before),
    }


def _compute(pipe: Any, config: NetworkConfig, threads: int | None) -> None:
    """Send seconds of a patch and of a training step, and the memory before all of it."""
    assert config.patch_size is not None
    set_threads(threads)
    before = psutil.Process().memory_info().rss
    network = build_network(config)
    images = torch.randn(_BATCH, config.in_channels, *config.patch_size)
    seconds = _quickest(lambda: _infer(network, images[:1]))
    step_seconds = _quickest(lambda: _train(network, images))
    pipe.send((seconds, step_seconds, before))


def _quickest(compute: typing.Callable[[], None]) -> float:
    """Return the least seconds of three runs, or of fewer that take long; one before sets up."""
    compute()
    seconds: list[float] = []
    while len(seconds) < _RUNS and sum(seconds) < _LONG_S:
        start = time.perf_counter()
        compute()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _infer(network: torch.nn.Module, image_BCDHW: torch.Tensor) -> None:
    with torch.inference_mode():
        network.eval()(image_BCDHW)


def _train(network: torch.nn.Module, images_BCDHW: torch.Tensor) -> None:
    network.train()(images_BCDHW).square().mean().backward()


def _text(rows: Sequence[dict[str, Any]], patch: Size) -> str:
    head = f"{'network':18} {'weights':>9} {'Gmult-adds':>11}"
    is_measured = any("seconds" in row for row in rows)
    if is_measured:
        head += f" {'s a patch':>10} {'s a step':>9} {'GB a step':>10}"
    lines = [head]
    for row in rows:
        line = f"{row['name']:18} {row['weights'] / 1e6:7.1f} M {row['multiply_adds'] / 1e9:11.1f}"
        if "seconds" in row:
            line += f" {row['seconds']:10.2f} {row['step_seconds']:9.2f}"
            line += f" {row['step_bytes'] / 2**30:10.2f}"
        lines.append(line)
    lines.append(f"For a patch of {by(patch)} voxels with one channel and two classes.")
    if is_measured:
        lines.append(
            f"A step: forward and backward of {_BATCH} patches in float32, on "
            f"{torch.get_num_threads()} threads or as many as --threads says."
        )
    return "\n".join(lines)
