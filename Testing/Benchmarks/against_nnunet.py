"""Our training beside nnU-Net's: the same cases, one thread of one core, the same CPU seconds.

    python -m venv NNUNET && NNUNET/bin/pip install nnunetv2==2.8.1
    python Testing/Benchmarks/against_nnunet.py run DATA WORK --nnunet NNUNET/bin/python
        [--sets hippocampus_mr headneck_ct left_atrium_mr] [--cases 16] [--minutes 10 30]
        [--seeds 1] [--contestants scratch start nnunet-narrow nnunet] [--core 1]
    python Testing/Benchmarks/against_nnunet.py report WORK [--picture FILE.png]

A seed draws the labelled cases; all contestants train on all of them, each from its own plan. Those
of one set, budget and seed take turns of 20 s on one core, so that a machine that is busy or hot is
so for all. Only training counts; it ends when the process has used its CPU seconds, and the
learning rate falls with them. Then whole held-out volumes are segmented, each by its own code
(nnU-Net with its mirror images), and judged by one. nnU-Net is taken from PyPI as it is:

- ``nnunet``: as planned, in float32, which is all that its trainer does on a CPU;
- ``nnunet-narrow``: 8 features instead of 32, 2 patches a step, in the number format of ours, for a
  step of about as many operations. In its favour: its trainer knows no bfloat16 on a CPU.

What lies in WORK is not computed again, and a training that was killed goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from race_report import report
from trials import (
    SETS,
    LabelledCases,
    TrialCommands,
    claimed,
    judge_volumes,
    segment_volumes,
    train_once,
)

from MISFMLib.configs import FinetuneConfig
from MISFMLib.data.cases import Case
from MISFMLib.device import cpu_name, resolve_precision

TURN_S = 20
HELD_OUT = 20
STEPS = 100_000
"""Longer than any budget here; the CPU seconds decide."""
CHECKPOINT_EVERY = 50
_OUR_FORMAT = resolve_precision("auto", torch.device("cpu"))
OURS = {"scratch": None, "start": "pretrained-general"}
THEIRS: dict[str, dict[str, Any]] = {
    "nnunet-narrow": {"features": 8, "batch_size": 2, "bfloat16": _OUR_FORMAT is torch.bfloat16},
    "nnunet": {"features": 0, "batch_size": 0, "bfloat16": False},
}


# ------------------------------------------------------------------------------------- our worker


def train_ours(arguments: argparse.Namespace) -> None:
    """Train for CPU seconds and segment the held-out volumes, in a process of its own."""
    job = json.loads(arguments.job.read_text("utf-8"))
    config = FinetuneConfig(
        data=Path(job["data"]),
        output=Path(job["work"]) / "bundle",
        init=OURS[job["contestant"]],
        steps=STEPS,
        minutes=job["budget_s"] / 60,
        validation_fraction=0.0,
        validate_every=STEPS,
        checkpoint_every=CHECKPOINT_EVERY,
        device="cpu",
        threads=1,
        seed=job["seed"],
        resume=True,
    )
    train_once(config, Path(job["outcome"]))
    images = [Path(image) for (image,) in job["images"]]
    targets = [Path(f"{path}.nii.gz") for path in job["predictions"]]
    segment_volumes(config.output, images, targets)


# -------------------------------------------------------------------------------------- the driver


def run(arguments: argparse.Namespace) -> None:
    """Compute what is not there yet."""
    for name in arguments.sets:
        cases = LabelledCases(arguments.data / name, arguments.work)
        for minutes in arguments.minutes:
            for seed in arguments.seeds:
                folder = arguments.work / name / f"{arguments.cases}-{minutes:g}-{seed}"
                _race(arguments, cases, minutes, seed, folder)


def _race(
    arguments: argparse.Namespace, cases: LabelledCases, minutes: float, seed: int, folder: Path
) -> None:
    """Let the contestants of one set, budget and seed take turns until all are done."""
    with claimed(folder / "race", wait=False) as is_open:
        left = [c for c in arguments.contestants if not (folder / f"{c}.json").exists()]
        if not is_open or not left:
            return
        drawn = cases.drawn(arguments.cases, seed)
        held_out = cases.held_out(HELD_OUT, without=drawn)
        jobs = {}
        for contestant in left:
            work = folder / contestant
            (work / "predicted").mkdir(parents=True, exist_ok=True)
            jobs[contestant] = {
                "contestant": contestant,
                "work": str(work),
                "budget_s": 60 * minutes,
                "seed": seed,
                "outcome": str(work / "outcome.json"),
                "images": [[str(case.images[0])] for case in held_out],
                "predictions": [str(work / "predicted" / case.name) for case in held_out],
            }
            if contestant in OURS:
                jobs[contestant]["data"] = str(cases.write(drawn, (), work / "data"))
            else:
                jobs[contestant] |= THEIRS[contestant]
                jobs[contestant]["dataset"] = _write_raw(cases, drawn, work / "raw")
        _take_turns([_started(arguments, job) for job in jobs.values()])
        for contestant, job in jobs.items():
            _judge(cases, held_out, job, folder / f"{contestant}.json")
            shutil.rmtree(job["work"])


def _started(arguments: argparse.Namespace, job: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the worker of a contestant on the core, in a group of its own, and hold it."""
    path = Path(job["work"]) / "job.json"
    path.write_text(json.dumps(job), "utf-8")
    if job["contestant"] in OURS:
        command = [sys.executable, __file__, "ours", str(path)]
    else:
        worker = Path(__file__).with_name("nnunet_worker.py")
        command = [str(arguments.nnunet), str(worker), str(path)]
    with (path.parent / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(arguments.core), *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=_die_with_the_driver,
        )
    os.killpg(process.pid, signal.SIGSTOP)
    return process


def _die_with_the_driver() -> None:
    """Let Linux kill this process when its parent ends; held, it would stay in memory for good."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _take_turns(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let one process run at a time."""
    left = list(processes)
    while left:
        process = left.pop(0)
        os.killpg(process.pid, signal.SIGCONT)
        try:
            if process.wait(TURN_S):
                for other in left:
                    os.killpg(other.pid, signal.SIGKILL)
                raise SystemExit(f"A contestant failed, see the log in its folder: {process.args}")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGSTOP)
            left.append(process)


def _write_raw(cases: LabelledCases, drawn: Sequence[Case], folder: Path) -> str:
    """Write a data set in nnU-Net's raw format; return its name."""
    name = "Dataset001_Race"
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("imagesTr", "labelsTr"):
        (folder / name / part).mkdir(parents=True)
    for case in drawn:
        image = folder / name / "imagesTr" / f"{case.name}_0000.nii.gz"
        image.symlink_to(Path(case.images[0]).resolve())
        label = folder / name / "labelsTr" / f"{case.name}.nii.gz"
        label.symlink_to(Path(case.label).resolve())
    labels = {label: value for value, label in cases.found.label_names.items() if value}
    description = {
        "channel_names": {"0": cases.found.modality},
        "labels": {"background": 0, **labels},
        "numTraining": len(drawn),
        "file_ending": ".nii.gz",
    }
    (folder / name / "dataset.json").write_text(json.dumps(description), "utf-8")
    return name


def _judge(
    cases: LabelledCases, held_out: Sequence[Case], job: dict[str, Any], result: Path
) -> None:
    """Compare the predicted label maps with the drawn ones, and write down what came out."""
    paths = [Path(f"{path}.nii.gz") for path in job["predictions"]]
    scores = judge_volumes(cases, held_out, paths)
    facts = json.loads(Path(job["outcome"]).read_text("utf-8"))
    means = {name: statistics.fmean(values) for name, values in scores.items()}
    facts |= {"cpu": cpu_name(), "dice": means, "cases": scores}
    result.write_text(json.dumps(facts), "utf-8")
    mean = 100 * statistics.fmean(means.values())
    print(f"{result}: Dice {mean:.1f}, {facts['steps']} steps", flush=True)


def main() -> None:
    commands = TrialCommands(
        __doc__, run=run, report=lambda given: report(given.work, given.picture)
    )
    compute = commands.run
    compute.add_argument("--nnunet", type=Path, required=True, help="Python that has nnunetv2")
    compute.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    compute.add_argument("--cases", type=int, default=16)
    compute.add_argument("--minutes", type=float, nargs="+", default=[10, 30])
    compute.add_argument("--seeds", type=int, nargs="+", default=[1])
    contestants = [*OURS, *THEIRS]
    compute.add_argument("--contestants", nargs="+", default=contestants, choices=contestants)
    compute.add_argument("--core", type=int, default=1)
    commands.report.add_argument("--picture", type=Path)
    ours = commands.add("ours", train_ours, "worker of one training of ours")
    ours.add_argument("job", type=Path)
    commands.start()


if __name__ == "__main__":
    main()
