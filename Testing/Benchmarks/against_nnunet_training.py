"""A results folder that nnU-Net trains here: its Dice on its validation cases and ours with it.

    python -m venv NNUNET && NNUNET/bin/pip install nnunetv2==2.8.1
    python Testing/Benchmarks/against_nnunet_training.py DATA WORK --nnunet NNUNET/bin/python

DATA is a set in the form of the Medical Segmentation Decathlon, such as
``../shared/data/hippocampus_mr``. nnU-Net trains for about a minute and scores its validation cases
with mirroring (``validation/summary.json``); the folder is imported and the same cases are
segmented with ``--mirroring``, in float32, bfloat16 and, unless left out, without mirroring.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from MISFMLib.metrics import dice
from MISFMLib.volumes.volume import read_label_map

DATASET = "Dataset904_Trained"
RUNS = {
    "float32, mirroring": ("--precision", "fp32", "--mirroring"),
    "bfloat16, mirroring": ("--precision", "bf16", "--mirroring"),
    "float32": ("--precision", "fp32"),
}


def link_raw(data: Path, work: Path, count: int) -> dict[str, int]:
    """Lay the first cases out as nnU-Net wants them; return the labels."""
    given = json.loads((data / "dataset.json").read_text("utf-8"))
    raw = work / "raw" / DATASET
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    cases = given["training"][:count]
    for case in cases:
        image, label = (data / case[key] for key in ("image", "label"))
        name = image.name.removesuffix(".nii.gz")
        (raw / "imagesTr" / f"{name}_0000.nii.gz").symlink_to(image.resolve())
        (raw / "labelsTr" / f"{name}.nii.gz").symlink_to(label.resolve())
    labels = {name.replace(" ", "_"): int(value) for value, name in given["labels"].items()}
    dataset = {
        "channel_names": given["modality"],
        "labels": labels,
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(dataset, indent=2), "utf-8")
    return labels


def mean_dice(predicted: Path, truth: Path, labels: dict[str, int]) -> dict[str, float]:
    """Return the mean over cases of every label's Dice, as nnU-Net's summary has it."""
    scores: dict[str, list[float]] = {name: [] for name, value in labels.items() if value}
    for file in sorted(predicted.glob("*.nii.gz")):
        ours, reference = (read_label_map(f).array_DHW for f in (file, truth / file.name))
        for name in scores:
            scores[name].append(dice(ours == labels[name], reference == labels[name]))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def equal_voxels(first: Path, second: Path) -> float:
    """Return the share of voxels with the same label over all cases of two folders."""
    pairs = [
        tuple(read_label_map(f).array_DHW for f in (file, second / file.name))
        for file in sorted(first.glob("*.nii.gz"))
    ]
    return sum(int((a == b).sum()) for a, b in pairs) / sum(a.size for a, _ in pairs)


def misfm(*words: object) -> None:
    """Run our command line."""
    subprocess.run([sys.executable, "-m", "MISFMLib", *map(str, words)], check=True)


def main() -> None:
    """Train, import, segment, score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--nnunet", type=Path, required=True, help="Python that has nnunetv2")
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--steps", type=int, default=160)
    options = parser.parse_args()
    work = options.work.absolute()
    labels = link_raw(options.data, work, options.cases)
    worker = Path(__file__).with_name("nnunet_trains.py")
    subprocess.run([options.nnunet, worker, work, DATASET, str(options.steps)], check=True)
    trained = work / "results" / DATASET / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    truth = work / "raw" / DATASET / "labelsTr"
    theirs = trained / "fold_0" / "validation"
    summary = json.loads((theirs / "summary.json").read_text("utf-8"))["mean"]
    result = {"nnU-Net, mirroring": {n: summary[str(v)]["Dice"] for n, v in labels.items() if v}}
    os.environ["MISFM_HOME"] = str(work / "home")
    misfm("models", "import", trained, "--name", "trained")
    cases = [file.name for file in sorted(theirs.glob("*.nii.gz"))]
    for number, (name, words) in enumerate(RUNS.items()):
        folder = work / f"ours{number}"
        for case in cases:
            image = work / "raw" / DATASET / "imagesTr" / case.replace(".nii.gz", "_0000.nii.gz")
            misfm("segment", image, "-m", "trained", "-o", folder / case, *words)
        result[f"MISFM, {name}"] = mean_dice(folder, truth, labels)
        result[f"MISFM, {name}"]["equal voxels"] = equal_voxels(folder, theirs)
    print(json.dumps({"cases": len(cases), "Dice": result}, indent=1))


if __name__ == "__main__":
    main()
