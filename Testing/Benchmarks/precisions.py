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
from collections.abc import Collection
from pathlib import Path

import torch
from rounds import machine

from MISFMLib.configs import QuantizeConfig
from MISFMLib.data.cases import Case, LabelledSet, find_cases
from MISFMLib.data.split import choose_split
from MISFMLib.device import inference_precisions, set_threads
from MISFMLib.inference import openvino_network
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.jobs.quantize import dice_by_label, run_quantize
from MISFMLib.models.bundle import Bundle
from MISFMLib.models.store import find_model

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


def print_table(dices: dict[str, dict[str, list[float]]], formats: Collection[str]) -> None:
    """Print one line per format: means, and the largest difference of a case to the first one."""
    print(f"{'mean Dice':20}{''.join(f'{name[:22]:>24}' for name in dices)}{'differs by':>12}")
    first = next(iter(formats))
    for name in formats:
        means = "".join(
            f"{statistics.fmean(by_format[name]):24.5f}" for by_format in dices.values()
        )
        largest = max(
            abs(a - b)
            for by_format in dices.values()
            for a, b in zip(by_format[name], by_format[first], strict=True)
        )
        print(f"{name:20}{means}{largest:12.5f}")


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
        dices = dice_by_label(cases, ours, bundle.manifest.labels)
    print(f"{bundle.manifest.name}, {len(cases)} held-out cases, overlap {arguments.overlap}")
    print_table(dices, ours)
    if arguments.json:
        content = {"machine": machine(), "model": bundle.manifest.name, "dice": dices}
        arguments.json.write_text(json.dumps(content, indent=2), "utf-8")


if __name__ == "__main__":
    main()
