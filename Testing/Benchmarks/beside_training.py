"""How long a segmentation takes beside a training that yields, against one without.

    .venv/bin/python Testing/Benchmarks/beside_training.py VOLUME DATA_SET [--repeats 5] \
        [--model hippocampus-mr]

The panel's own parts, without the panel: a warm worker segments VOLUME, its claim is renewed while
it works, and the training of DATA_SET is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "MISFM")]
HOME = tempfile.mkdtemp(prefix="misfm-beside-")
os.environ["MISFM_HOME"] = HOME

from MISFMSlicer.Jobs.JobRunner import JobRunner  # noqa: E402 found through the lines above
from MISFMSlicer.Jobs.TrainingProcess import TrainingProcess  # noqa: E402
from MISFMSlicer.Jobs.Trainings import newTraining  # noqa: E402

from MISFMLib.events import Failed, Finished  # noqa: E402
from MISFMLib.foreground import Claim, claims_folder  # noqa: E402

_SETTINGS = {"init": "pretrained-general", "minutes": 30, "steps": 100_000, "validate_every": 1000}


def segment(runner: JobRunner, volume: Path, model: str, number: int) -> float:
    """Segment once as the panel does; return the seconds from the click to the result."""
    folder = Path(HOME) / f"run-{number}"
    folder.mkdir()
    config = {"images": [str(volume)], "model": model, "output": str(folder / "labels.seg.nrrd")}
    job = folder / "job.json"
    job.write_text(json.dumps({"job": "segment", "config": config}), "utf-8")
    claim, began = Claim(claims_folder(Path(HOME))), time.monotonic()
    runner.start(job)
    while True:
        claim.renew()
        for event in runner.poll():
            if isinstance(event, Failed):
                raise RuntimeError(event.message)
            if isinstance(event, Finished):
                claim.release()
                return time.monotonic() - began
        time.sleep(0.02)


def train(data: Path) -> TrainingProcess:
    """Start a training and wait until it takes steps."""
    training = newTraining("finetune", {"data": str(data), **_SETTINGS}, {"name": "beside"})
    training.start()
    while not training.metrics:
        training.poll()
        if isinstance(training.end, Failed) or not training.isRunning:
            raise RuntimeError(training.log())
        time.sleep(0.1)
    return training


def main() -> None:
    """Measure without, beside, and without again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("volume", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="hippocampus-mr")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    runner, number = JobRunner(), iter(range(1000))
    volume = options.volume.resolve()

    def several() -> list[float]:
        return [
            segment(runner, volume, options.model, next(number)) for _ in range(options.repeats)
        ]

    segment(runner, volume, options.model, next(number))  # warm
    before = several()
    training = train(options.data.resolve())
    beside = several()
    steps = max(training.metrics)
    training.discard()
    after = several()
    runner.close()
    for title, seconds in (("without", before), ("beside", beside), ("without", after)):
        print(title, " ".join(f"{each:.2f}" for each in seconds), "s")
    ratio = statistics.median(beside) / statistics.median([*before, *after])
    print(f"median beside a training: {ratio:.2f} times that without (at step {steps})")


if __name__ == "__main__":
    main()
