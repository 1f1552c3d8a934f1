"""Cost of a whole segmentation on the CPU: MISFM beside MONAI, nnU-Net and the published driver.

    python Testing/Benchmarks/end_to_end.py [--network small|full] [--shape D H W | --quick]
        [--rounds N] [--threads N] [--only NAME ...] [--json FILE]

From a CT-like volume to a label map with five classes: windows of 64 x 128 x 128 voxels at an
overlap of a half, weighted with a Gaussian, no mirroring, one window at a time. Everybody has the
same weights. MISFM runs as ``misfm segment`` runs it, from the intensities as scanned to the labels
on their grid; the others get the prepared volume and compute the network as published, eagerly in
float32. nnU-Net is its own predictor with our network put in, where nnunetv2 is installed.
The weights are random but for norms and class outputs, which are fitted to a window, so that most
classes are found. Such a network does not bear bfloat16 as a trained one does (`precisions.py` has
the Dice of those), so MISFM's check of that is off here. First the gate: everybody has to find
nearly the labels of the published driver. MONAI and nnU-Net count the last window of an axis once,
the published driver twice, which changes a few. Then rounds in which all take turns; CPU seconds of
one thread unless more are asked for.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from driver import monai
from driver import published as published_driver
from forward import LEVEL_CHANNELS, PATCH, networks
from rounds import headline, machine, ratio, spread, take_turns
from torch import nn

from MISFMLib.configs import IntensityConfig, LabelConfig, PreprocessingConfig, Size
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.device import inference_precisions
from MISFMLib.inference import openvino_network
from MISFMLib.inference.deviation import BOUNDS, Deviation
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.inference.windows import WindowConfig, count_windows
from MISFMLib.models.bundle import Bundle, BundleManifest, write_bundle
from MISFMLib.networks import network_from_bundle, weights_to_numpy
from MISFMLib.volumes.volume import Geometry, Volume

TISSUES_HU = (-1000, -100, 40, 150, 700)
"""Air, fat, and three more; the classes."""
QUICK_SHAPE: Size = (16, 64, 96)
QUICK_PATCH: Size = (16, 64, 64)
LEAST_AGREEMENT = 0.95
"""Part of the voxels with the label of the published driver."""
Runner = Callable[[], np.ndarray]


def a_scan(shape: Size) -> tuple[Volume, torch.Tensor]:
    """Return noisy nested ellipsoids in HU, and their classes (D, H, W)."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    classes = np.zeros(shape, np.int64)
    for value, radius in enumerate((0.9, 0.75, 0.5, 0.25), start=1):
        shift = 0.1 * value
        z, y, x = axes[0] / 1.4, axes[1] - shift, axes[2] + shift
        classes[z**2 + y**2 + x**2 < radius**2] = value
    noise = np.random.default_rng(0).normal(0, 20, shape)
    array_DHW = (np.asarray(TISSUES_HU)[classes] + noise).astype(np.int16)
    geometry = Geometry(shape, (1.5, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    return Volume(array_DHW[None], geometry, "scan"), torch.from_numpy(classes)


def fit_norms(network: nn.Module, image: torch.Tensor) -> None:
    """Take the statistics of the norms from one forward."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = None
    network.train()(image)
    network.eval()


def fit_classes(network: nn.Module, image: torch.Tensor, classes: torch.Tensor) -> None:
    """Fit the class outputs of the finest level to a window (ridge regression)."""
    head, seen = network.heads[0].conv, []
    handle = head.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    network(image)
    handle.remove()
    features = seen[0][0].flatten(1).T
    features = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    targets = nn.functional.one_hot(classes.flatten(), len(TISSUES_HU)).double()
    squares = features.T @ features
    ridge = 1e-3 * squares.diagonal().mean() * torch.eye(len(squares))
    solution = torch.linalg.solve(squares + ridge, features.T @ targets).float()
    with torch.no_grad():
        head.weight.copy_(10 * solution[:-1].T.view_as(head.weight))
        head.bias.copy_(10 * solution[-1])


class Finest(nn.Module):
    """The published network reduced to what its driver uses."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (B, K, d, h, w)."""
        return self.network(image)[0]


def preprocessing(patch: Size) -> PreprocessingConfig:
    """Return how the network wants its input."""
    return PreprocessingConfig(
        modality="CT",
        intensity=(IntensityConfig(scheme="ct-clip", clip=(-1000, 1000)),),
        patch_size=patch,
    )


def a_bundle(
    folder: Path, network: nn.Module, patch: Size, num_classes: int = len(TISSUES_HU)
) -> Bundle:
    """Write the network as a model."""
    manifest = BundleManifest(
        name="benchmark",
        network=network.config,
        preprocessing=preprocessing(patch),
        labels=tuple(LabelConfig(value=v, name=str(v)) for v in range(1, num_classes)),
    )
    return write_bundle(folder, manifest, weights_to_numpy(network))


def misfm(bundle: Bundle, volume: Volume, engine: str, precision: str) -> Runner:
    """Return MISFM with one engine."""
    options = SegmenterOptions(device="cpu", engine=engine, precision=precision)
    segmenter = Segmenter.from_bundle(bundle, options)

    def run() -> np.ndarray:
        result = segmenter.segment(volume)
        assert engine in result.engine.lower(), f"{result.engine} computed, not {engine}"
        return result.label_map.array_DHW

    return run


def nnunet(network: nn.Module, image_CDHW: torch.Tensor, patch: Size) -> Runner:
    """Return nnU-Net's predictor with our network, without mirror images."""
    os.environ.setdefault("nnUNet_n_proc_DA", "1")
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.network = network
    predictor.configuration_manager = SimpleNamespace(patch_size=patch)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=len(TISSUES_HU))

    def run() -> np.ndarray:
        with torch.inference_mode():
            logits_KDHW = predictor.predict_sliding_window_return_logits(image_CDHW)
            return logits_KDHW.float().argmax(0).to(torch.uint8).numpy()

    return run


def runners(
    arguments: argparse.Namespace, patch: Size, folder: Path
) -> Iterator[tuple[str, Runner]]:
    """Yield everybody, the published driver first."""
    volume, classes = a_scan(tuple(arguments.shape))
    image_CDHW = prepare_volume(volume, preprocessing(patch)).image_CDHW
    first = tuple(slice(0, edge) for edge in patch)
    window, count = image_CDHW[(slice(None), *first)][None], len(TISSUES_HU)
    published, network = networks(LEVEL_CHANNELS[arguments.network], patch, count)
    fit_norms(network, window)
    fit_classes(network, window, classes[first])
    bundle = a_bundle(folder / "model", network, patch)
    # From the bundle, which rounds the weights; the heads of the coarser levels stay as they are.
    published.load_state_dict(network_from_bundle(bundle).state_dict(), strict=False)
    theirs = Finest(published)
    yield "published driver", lambda: published_driver(image_CDHW, theirs, count, patch)
    yield "MONAI", lambda: monai(image_CDHW, theirs, count, patch)
    if importlib.util.find_spec("nnunetv2") is not None:
        yield "nnU-Net", nnunet(theirs, image_CDHW, patch)
    yield "MISFM, PyTorch fp32", misfm(bundle, volume, "torch", "fp32")
    precisions = reversed(inference_precisions("auto", torch.device("cpu")))
    for precision in precisions if not openvino_network.why_unavailable() else ():
        yield f"MISFM, OpenVINO {precision}", misfm(bundle, volume, "openvino", precision)


def measure(arguments: argparse.Namespace, patch: Size, folder: Path) -> list[dict[str, Any]]:
    """Gate and time everybody."""
    with torch.no_grad():
        everybody = dict(runners(arguments, patch, folder))
    chosen = {name: everybody[name] for name in arguments.only or everybody}
    rows, reference = {}, None
    for name, run in chosen.items():
        labels = run()
        reference = labels if reference is None else reference
        rows[name] = {"name": name, "agreement": float((labels == reference).mean())}
    bad = [name for name, row in rows.items() if row["agreement"] < LEAST_AGREEMENT]
    if bad:
        sys.exit(f"Other labels than {next(iter(rows))}: {[rows[name] for name in bad]}")
    turns = take_turns(chosen, arguments.rounds, is_warm=not arguments.quick)
    for name, seconds in turns.items():
        rows[name] |= seconds
    return list(rows.values())


def print_table(arguments: argparse.Namespace, patch: Size, rows: list[dict[str, Any]]) -> None:
    """Print one line for everybody."""
    windows = count_windows(tuple(arguments.shape), WindowConfig(patch_size=patch))
    print(headline())
    print(f"{arguments.network} PCT-Net, {arguments.shape} voxels, {windows} windows of {patch}")
    print(f"{'':24}{'CPU s median (range)':>26}{'ratio to last':>14}{'same labels':>13}")
    for row in rows:
        relative = ratio(row["cpu_s"], rows[-1]["cpu_s"])
        times = spread(row["cpu_s"])
        print(f"{row['name']:24}{times:>26}{relative:14.2f}{row['agreement']:13.5f}")


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=LEVEL_CHANNELS, default="small")
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 192, 192), help="voxels")
    parser.add_argument("--quick", action="store_true", help="a small volume")
    parser.add_argument("--rounds", type=int, help="rounds that count")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--only", nargs="+", help="names as in the table; the first is the gate")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    patch = QUICK_PATCH if arguments.quick else PATCH
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    if arguments.quick:
        arguments.shape = QUICK_SHAPE
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MISFM_HOME"] = folder  # where conversions are kept
        BOUNDS["bf16"] = Deviation(1.0, 1.0, 0.0)
        rows = measure(arguments, patch, Path(folder))
    print_table(arguments, patch, rows)
    if arguments.json:
        settings = {"network": arguments.network, "shape": arguments.shape, "patch": patch}
        content = {"machine": machine(), **settings, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2), "utf-8")


if __name__ == "__main__":
    main()
