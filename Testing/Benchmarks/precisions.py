"""Dice of a model on held-out cases in every number format that a CPU computes it in.

    python Testing/Benchmarks/precisions.py MODEL DATA [--split FILE] [--cases N] [--overlap X]
        [--int8] [--json FILE]

Every case is segmented as ``misfm segment`` does it, by PyTorch and by OpenVINO, and compared with
its label map on its own grid. MODEL is an installed name or a bundle, DATA a labelled data set as
for ``misfm finetune``, whose own split says which cases are held out. ``--int8`` first runs ``misfm
quantize`` with the other cases and adds its version of the model.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rounds import machine

from MISFMLib.bundle import Bundle
from MISFMLib.configs import QuantizeConfig
from MISFMLib.data.cases import Case, LabelledSet, find_cases
from MISFMLib.data.split import choose_split
from MISFMLib.device import inference_precisions, set_threads
from MISFMLib.inference import openvino_network
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.jobs.quantize import run_quantize
from MISFMLib.metrics import dice
from MISFMLib.store import find_model
from MISFMLib.volume import read_label_map, read_volume

CPU = torch.device("cpu")


def segmenters(bundle: Bundle, overlap: float, *, with_int8: bool) -> dict[str, Segmenter]:
    """Return a segmenter for every number format, the reference first."""
    engines, manifest = Engines.from_bundle(bundle), bundle.manifest
    precisions = inference_precisions("auto", CPU)[::-1]
    ways = [("PyTorch", "torch", precision) for precision in precisions]
    if not openvino_network.why_unavailable():
        precisions = (*precisions, "int8") if with_int8 else precisions
        ways += [("OpenVINO", "openvino", precision) for precision in precisions]
    made = {}
    for title, engine, precision in ways:
        options = SegmenterOptions(
            device="cpu", engine=engine, precision=precision, overlap=overlap
        )
        made[f"{title} {precision}"] = Segmenter(
            engines, manifest.preprocessing, manifest.labels, options
        )
    return made


def measure(
    bundle: Bundle, cases: Sequence[Case], ours: Mapping[str, Segmenter]
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


def held_out_cases(found: LabelledSet, split: Path | None) -> list[Case]:
    """Return the cases that the model was not trained on."""
    names = set(choose_split(found, split, validation_fraction=0.2, seed=1).validation)
    return [case for case in found.cases if case.name in names]


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name or bundle")
    parser.add_argument("data", type=Path, help="labelled data set")
    parser.add_argument("--split", type=Path, help="JSON file with train and validation")
    parser.add_argument("--cases", type=int, help="so many held-out cases at most")
    parser.add_argument("--overlap", type=float, default=0.5, help="overlap of the windows")
    parser.add_argument("--int8", action="store_true", help="also int8")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    set_threads(None)
    bundle = find_model(arguments.model)
    cases = held_out_cases(find_cases(arguments.data), arguments.split)[: arguments.cases]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MISFM_HOME"] = folder  # where conversions are kept
        if arguments.int8:
            paths = {"model": str(bundle.path), "data": arguments.data, "split": arguments.split}
            print(run_quantize(QuantizeConfig(**paths))["text"])
        ours = segmenters(bundle, arguments.overlap, with_int8=arguments.int8)
        rows = measure(bundle, cases, ours)
    print(f"{bundle.manifest.name}, {len(cases)} held-out cases, overlap {arguments.overlap}")
    print_table(rows)
    if arguments.json:
        content = {"machine": machine(), "model": bundle.manifest.name, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2), "utf-8")


if __name__ == "__main__":
    main()
