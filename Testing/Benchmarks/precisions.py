"""Dice of a model on held-out cases in every number format that a CPU computes it in.

    python Testing/Benchmarks/precisions.py MODEL DATA [--split FILE] [--cases N] [--int8]
        [--json FILE]

Every case is segmented as ``misfm segment`` does it, by PyTorch and by OpenVINO, and compared with
its label map on its own grid. MODEL is an installed name or a bundle, DATA a labelled data set as
for ``misfm finetune``, whose own split says which cases are held out. ``--int8`` adds OpenVINO in
int8, which NNCF calibrates on windows of up to 32 of the other cases, with its slow and more
accurate correction of biases.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from forward import quantised
from rounds import machine
from torch import nn

from MISFMLib.bundle import Bundle
from MISFMLib.data.cases import Case, LabelledSet, find_cases
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.data.split import choose_split
from MISFMLib.device import inference_precisions, set_threads
from MISFMLib.inference import openvino_network
from MISFMLib.inference.engines import Engine, Engines
from MISFMLib.inference.openvino_network import OpenVINONetwork
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions, central_window
from MISFMLib.metrics import dice
from MISFMLib.networks import network_from_bundle
from MISFMLib.store import find_model
from MISFMLib.volume import read_label_map, read_volume

CALIBRATION_CASES = 32
CPU = torch.device("cpu")


class OneEngine(Engines):
    """A network that was made outside."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self._engine = Engine(network, "fp32", "OpenVINO")

    def choose(self, *_arguments: object) -> Engine:
        """Return it."""
        return self._engine


def segmenters(bundle: Bundle) -> dict[str, Segmenter]:
    """Return a segmenter for every number format, the reference first."""
    engines, manifest = Engines.from_bundle(bundle), bundle.manifest
    programs = {"PyTorch": "torch"}
    if not openvino_network.why_unavailable():
        programs["OpenVINO"] = "openvino"
    made = {}
    for title, engine in programs.items():
        for precision in reversed(inference_precisions("auto", CPU)):
            options = SegmenterOptions(device="cpu", engine=engine, precision=precision)
            made[f"{title} {precision}"] = Segmenter(
                engines, manifest.preprocessing, manifest.labels, options
            )
    return made


def int8_segmenter(bundle: Bundle, cases: Sequence[Case]) -> Segmenter:
    """Quantise the network with windows from the middle of the cases."""
    manifest, network = bundle.manifest, network_from_bundle(bundle)
    patch_size = manifest.preprocessing.patch_size
    chosen = cases[:: max(1, len(cases) // CALIBRATION_CASES)][:CALIBRATION_CASES]
    windows = [
        central_window(prepare_volume(read_volume(case.images), manifest.preprocessing), patch_size)
        for case in chosen
    ]
    with torch.inference_mode():
        network(windows[0])
    model = quantised(openvino_network.convert(network, windows[0]), windows, is_accurate=True)
    compiled = OpenVINONetwork(model, inference_precisions("auto", CPU)[0], torch.get_num_threads())
    options = SegmenterOptions(device="cpu")
    return Segmenter(OneEngine(compiled), manifest.preprocessing, manifest.labels, options)


def measure(
    bundle: Bundle, cases: Sequence[Case], ours: dict[str, Segmenter]
) -> list[dict[str, Any]]:
    """Segment every case in every format; one row for each format."""
    labels = bundle.manifest.labels
    rows: dict[str, dict[str, Any]] = {
        name: {"name": name, "cpu_s": 0.0, "dice": {label.name: [] for label in labels}}
        for name in ours
    }
    for case in cases:
        volume, known_DHW = read_volume(case.images), read_label_map(case.label).array_DHW
        for name, segmenter in ours.items():
            start = time.process_time()
            found_DHW = segmenter.segment(volume).label_map.array_DHW
            rows[name]["cpu_s"] += time.process_time() - start
            for label in labels:
                value = dice(found_DHW == label.value, known_DHW == label.value)
                rows[name]["dice"][label.name].append(value)
    return list(rows.values())


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print one line per format: means, and the largest difference of a case to the reference."""
    reference = rows[0]["dice"]
    names = "".join(f"{name[:22]:>24}" for name in reference)
    print(f"{'mean Dice':20}{names}{'largest difference':>20}{'CPU s':>9}")
    for row in rows:
        means = "".join(f"{statistics.mean(values):24.5f}" for values in row["dice"].values())
        largest = max(
            abs(a - b)
            for name, values in row["dice"].items()
            for a, b in zip(values, reference[name], strict=True)
        )
        print(f"{row['name']:20}{means}{largest:20.5f}{row['cpu_s']:9.1f}")


def split_cases(found: LabelledSet, split: Path | None) -> tuple[list[Case], list[Case]]:
    """Return the cases to calibrate on and the held-out ones."""
    chosen = choose_split(found, split, validation_fraction=0.2, seed=1)
    by_name = {case.name: case for case in found.cases}
    return [by_name[name] for name in chosen.train], [by_name[name] for name in chosen.validation]


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name or bundle")
    parser.add_argument("data", type=Path, help="labelled data set")
    parser.add_argument("--split", type=Path, help="JSON file with train and validation")
    parser.add_argument("--cases", type=int, help="so many held-out cases at most")
    parser.add_argument("--int8", action="store_true", help="also int8")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    set_threads(None)
    bundle = find_model(arguments.model)
    others, held_out = split_cases(find_cases(arguments.data), arguments.split)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MISFM_HOME"] = folder  # where conversions are kept
        ours = segmenters(bundle)
        if arguments.int8:
            ours["OpenVINO int8"] = int8_segmenter(bundle, others)
        rows = measure(bundle, held_out[: arguments.cases], ours)
    print(f"{bundle.manifest.name}, {len(held_out[: arguments.cases])} held-out cases")
    print_table(rows)
    if arguments.json:
        content = {"machine": machine(), "model": bundle.manifest.name, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2), "utf-8")


if __name__ == "__main__":
    main()
