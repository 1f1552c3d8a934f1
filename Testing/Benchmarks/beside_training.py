"""How long Segment takes while a training runs on the same machine, against its time alone.

    MISFM_PYTHON=.venv/bin/python .venv-slicer/bin/python Testing/Benchmarks/beside_training.py \
        ../shared/data/hippocampus_mr [--pairs 12] [--volume FILE] [--json FILE]

The panel's own parts in the stand-in for Slicer: a fine-tuning as the tab Fine-tune starts it, and
Segment with the bundled hippocampus model in the worker that stays warm. The same volume is
segmented in turns alone, the training held by SIGSTOP, and beside it, at a random moment of its
steps and validations; at last once or more while the new model is evaluated. Told are the medians
and the median of the ratios of neighbours, whether both gave the same voxels, and whether the
training came to its end. To be what a user has whom Slicer has given nice 19, and who cannot change
that, on Linux as root: ``setpriv --bounding-set=-sys_nice --inh-caps=-sys_nice nice -n 19 ...``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "Host"), str(REPOSITORY / "MISFM")]

import numpy as np  # noqa: E402
from misfm_host.host import Host, start  # noqa: E402

_MODEL = "hippocampus-mr"
_CASES = 8
_PAUSE_S = (0.3, 2.0)
"""The training goes on for so long before the next click."""
_LONG_S = 240.0


class Trial:
    """The logic of the panel, a training, and a volume to segment."""

    def __init__(self, host: Host, options: argparse.Namespace, folder: Path) -> None:
        import slicer
        from MISFMSlicer.Jobs.Logic import MISFMLogic
        from MISFMSlicer.Jobs.Trainings import newTraining

        self.host, self.random = host, random.Random(1)
        description = json.loads((options.data / "dataset.json").read_text("utf-8"))
        names = sorted(description["split"]["train"])
        self.logic = MISFMLogic()
        path = options.volume or options.data / f"imagesTr/{names[_CASES]}.nii.gz"
        self.volume = slicer.util.loadVolume(str(path), {"show": False})
        config = {
            "data": str(_small_set(options.data, names[:_CASES], folder)),
            "init": "pretrained-general",
            "augmentation": "strong",
            "minutes": options.minutes,
            "steps": 100_000,
            "validate_every": 25,
            "checkpoint_every": 25,
            "warm_up_steps": 50,
        }
        self.training = newTraining("finetune", config, {"name": "beside"})

    def click(self) -> tuple[float, np.ndarray]:
        """Segment; return the seconds and the labels."""
        import slicer
        from MISFMSlicer.Job import SegmentRequest
        from MISFMSlicer.Scene.TrainingCases import labelArray, segmentNames

        began = time.monotonic()
        job = self.logic.start(SegmentRequest((self.volume,), _MODEL))
        self.host.wait_until(lambda: job.hasEnded, _LONG_S)
        seconds = time.monotonic() - began
        if job.result is None:
            raise SystemExit(f"{job.failure}\n{job.log}")
        keys = sorted(segmentNames(job.result.segmentation))
        values = {key: number for number, key in enumerate(keys, start=1)}
        labels = labelArray(job.result.segmentation, self.volume, values)
        slicer.mrmlScene.RemoveNode(job.result.segmentation)
        return seconds, labels

    def alone(self) -> tuple[float, np.ndarray]:
        """Segment while the training stands still, or is over."""
        group = json.loads((self.training.folder / "process.json").read_text("utf-8"))["pid"]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGSTOP)
        try:
            return self.click()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGCONT)

    def pair(self) -> dict[str, Any]:
        """Segment beside the training and alone."""
        self.host.process_events(self.random.uniform(*_PAUSE_S))
        self.training.poll()
        stage = self.training.progress.stage if self.training.progress else ""
        steps = max(self.training.metrics, default=0)
        beside_s, beside = self.click()
        alone_s, alone = self.alone()
        same = bool(np.array_equal(beside, alone))
        return {"stage": stage, "step": steps, "beside": beside_s, "alone": alone_s, "same": same}


def _small_set(data: Path, names: list[str], folder: Path) -> Path:
    for part in ("imagesTr", "labelsTr"):
        target = folder / "set" / part
        target.mkdir(parents=True)
        for name in names:
            shutil.copyfile(data / part / f"{name}.nii.gz", target / f"{name}.nii.gz")
    return folder / "set"


def run(trial: Trial, pairs: int) -> list[dict[str, Any]]:
    """Segment in pairs while it trains, once more while it evaluates, and see it end."""
    from MISFMSlicer.Jobs.TrainingProcess import TrainingState

    training, rows = trial.training, []

    def stage() -> str:
        training.poll()
        return training.progress.stage if training.progress else ""

    trial.click()  # loads the model
    training.start()
    try:
        trial.host.wait_until(lambda: stage() == "train" or not training.isRunning, _LONG_S)
        while len(rows) < pairs and stage() == "train":
            rows.append(trial.pair())
            print(json.dumps(rows[-1]), flush=True)
        training.ask("finish")
        trial.host.wait_until(lambda: stage() != "train" or not training.isRunning, _LONG_S)
        if training.isRunning:
            rows.append(trial.pair())
            print(json.dumps(rows[-1]), flush=True)
        trial.host.wait_until(lambda: not training.isRunning, _LONG_S)
        training.poll()
        if training.state is not TrainingState.FINISHED:
            raise SystemExit(f"The training ended wrong: {training.end}\n{training.log()}")
    finally:
        training.kill()
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return what is to be known of one stage per line."""
    lines = ["| during | pairs | alone | beside | ratio | longest |", "| --- " * 6 + "|"]
    for stage in sorted({row["stage"] for row in rows}):
        of_stage = [row for row in rows if row["stage"] == stage]
        alone = statistics.median(row["alone"] for row in of_stage)
        beside = statistics.median(row["beside"] for row in of_stage)
        ratios = [row["beside"] / row["alone"] for row in of_stage]
        cells = (stage, len(ratios), f"{alone:.2f} s", f"{beside:.2f} s")
        cells += (f"{statistics.median(ratios):.2f}", f"{max(ratios):.2f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the hippocampi, or others to train on")
    parser.add_argument("--volume", type=Path, help="to segment; a hippocampus when not given")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=5.0, help="of the training at most")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MISFM_HOME"] = str(folder / "home")
        trial = Trial(start(folder / "host"), options, folder)
        try:
            rows = run(trial, options.pairs)
        finally:
            trial.logic.close()
    print(f"{os.cpu_count()} cores, nice {os.nice(0)}, load {os.getloadavg()[0]:.1f}")
    print(table(rows))
    print("the same voxels beside and alone:", all(row["same"] for row in rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), "utf-8")


if __name__ == "__main__":
    main()
