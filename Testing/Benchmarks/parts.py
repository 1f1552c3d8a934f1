"""Five models of one size in one job beside five jobs, in CPU seconds and peak memory.

    python Testing/Benchmarks/parts.py WORK [--steps convert five one] [--spacing 0.75]

The models have the size of TotalSegmentator's parts (25 heads, windows of 128^3) and random weights
but for the last block and layer, as in `whole_against_nnunet.py`, whose volume this takes. All were
converted for OpenVINO before. The labels of both ways are compared. Results gather in
``WORK/parts.json``; what is there is not measured again without ``--again``, nor are models made
again: a command that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from against_nnunet_inference import CASES
from whole_against_nnunet import (
    MISFM,
    apart,
    manifest_of,
    measured,
    network_of,
    train_last,
    write_volume,
)

from MISFMLib.configs import LabelConfig
from MISFMLib.models.bundle import read_bundle, read_weights, write_bundle
from MISFMLib.networks import load_weights, weights_to_numpy

COUNT = 5
SECONDS = ("cpu_s", "s")
STEPS = 15
"""Of training the last block."""


def write_part(work: Path, case: str, number: int) -> None:
    """Write one of the models; all but the first are the first with other noise in the encoder."""
    size = CASES[case][2] - 1
    network = network_of(case)
    if number == 0:
        train_last(network, work / "volume.nii.gz", steps=STEPS)
    else:
        load_weights(network, read_weights(read_bundle(work / "part0")))
        torch.manual_seed(number)
        with torch.no_grad():
            for weight in network.encoder.parameters():
                weight += 0.01 * weight.std().nan_to_num() * torch.randn_like(weight)
    labels = tuple(
        LabelConfig(value=number * size + value, name=f"s{number}-{value}")
        for value in range(1, size + 1)
    )
    manifest = replace(manifest_of(case, network), name=f"part{number}", labels=labels)
    write_bundle(work / manifest.name, manifest, weights_to_numpy(network))


def write_whole(work: Path) -> None:
    """Write the models as one."""
    bundles = [read_bundle(work / f"part{number}") for number in range(COUNT)]
    (first, weights), *others = [(bundle.manifest, read_weights(bundle)) for bundle in bundles]
    labels = tuple(label for bundle in bundles for label in bundle.manifest.labels)
    parts = {manifest.name: (manifest, weights) for manifest, weights in others}
    whole = replace(first, name="whole", labels=labels, parts=tuple(parts))
    write_bundle(work / "whole", whole, weights, parts=parts)


def run(work: Path, model: str, threads: str) -> dict[str, float]:
    """Segment the volume in a fresh process."""
    words = ["segment", str(work / "volume.nii.gz"), "-m", str(work / model), "--overwrite"]
    words += ["-o", str(work / f"{model}.nii.gz"), "--overlap", "0.2", "--threads", threads]
    words += ["--precision", "bf16", "--engine", "openvino"]
    return measured([*MISFM, *words, "--report", str(work / f"{model}-report.json")], work)


def labels_of(work: Path, model: str) -> np.ndarray:
    """Read a result."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(work / f"{model}.nii.gz")))


def compared(work: Path, known: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return both ways side by side."""
    expected = labels_of(work, names[0])
    for name in names[1:]:
        part = labels_of(work, name)
        expected = np.where(part > 0, part, expected)
    both = {
        way: {
            **{key: round(sum(each[key] for each in known[way].values()), 1) for key in SECONDS},
            "peak_mib": max(each["peak_mib"] for each in known[way].values()),
        }
        for way in ("five", "one")
    }
    report = json.loads((work / "whole-report.json").read_text("utf-8"))
    return {
        **both,
        "ratio": {key: round(both["five"][key] / both["one"][key], 2) for key in SECONDS},
        "same labels": bool((labels_of(work, "whole") == expected).all()),
        "engine": report["engine"],
        "timings_s": report["timings_s"],
    }


def main() -> None:
    """Measure the steps asked for and print what is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--case", choices=CASES, default="plain")
    parser.add_argument("--steps", nargs="*", default=["convert", "five", "one"])
    parser.add_argument("--again", action="store_true", help="measure what is known once more")
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 200, 200))
    parser.add_argument("--spacing", type=float, default=1.5)
    parser.add_argument("--threads", default="1")
    options = parser.parse_args()
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "volume.nii.gz").exists():
        apart(write_volume, work / "volume.nii.gz", tuple(options.shape), options.spacing)
    for number in range(COUNT):
        if not (work / f"part{number}").exists():
            apart(write_part, work, options.case, number)
    if not (work / "whole").exists():
        apart(write_whole, work)
    record, names = work / "parts.json", [f"part{number}" for number in range(COUNT)]
    known: dict[str, Any] = json.loads(record.read_text("utf-8")) if record.exists() else {}
    for step in options.steps:
        runs = known.setdefault(step, {})
        for name in ["whole"] if step == "one" else names:
            if name not in runs or options.again:
                runs[name] = run(work, name, options.threads)
                record.write_text(json.dumps(known, indent=1), "utf-8")
    if known.get("five", {}).keys() >= set(names) and known.get("one"):
        print(json.dumps(compared(work, known, names), indent=1))
    else:
        print(json.dumps(known, indent=1))


if __name__ == "__main__":
    main()
