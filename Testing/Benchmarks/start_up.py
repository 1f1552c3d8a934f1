"""What passes from nothing to the first window: Python, imports, model, engine.

    python Testing/Benchmarks/start_up.py [--model hippocampus-mr] [--engines torch openvino]
        [--rounds N] [--json FILE]

Every row is a fresh process, as of ``misfm segment`` or the worker of the Slicer module, that
segments a volume of one window twice. OpenVINO's first process converts the model and keeps the
result on disk, where later ones find it. Seconds on the clock; the files are in the memory of the
system, as on a second start of a program. The rows take turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from rounds import headline, machine, spread

from MISFMLib.inference import openvino_network

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = ("Python", "imports", "model", "first window", "second window")
CHILD = """
import json, sys, time
times = [time.time()]
import numpy as np
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.models.store import find_model
from MISFMLib.volumes.volume import Geometry, Volume
import torch

torch.set_num_threads(1)
times.append(time.time())
bundle = find_model(sys.argv[1])
segmenter = Segmenter.from_bundle(bundle, SegmenterOptions(device="cpu", engine=sys.argv[2]))
times.append(time.time())
shape = bundle.manifest.preprocessing.patch_size
channels = len(bundle.manifest.preprocessing.intensity)
array = np.random.default_rng(0).normal(size=(channels, *shape)).astype(np.float32)
grid = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
volume = Volume(array, grid, "noise")
for _ in range(2):
    segmenter.segment(volume)
    times.append(time.time())
print(json.dumps(times))
"""


def seconds_by_stage(model: str, engine: str) -> dict[str, float]:
    """Start a process and return what each stage of it took."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    start = time.time()  # the clock that processes share
    command = [sys.executable, "-c", CHILD, model, engine]
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    times = [start, *json.loads(output.splitlines()[-1])]
    return dict(zip(STAGES, (b - a for a, b in itertools.pairwise(times)), strict=True))


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="hippocampus-mr")
    parser.add_argument("--engines", nargs="+", default=["torch", "openvino"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    if "torch" in arguments.engines:
        seconds_by_stage(arguments.model, "torch")  # brings the files into memory
    rows = defaultdict(list)
    for _ in range(arguments.rounds):
        if "torch" in arguments.engines:
            rows["PyTorch"].append(seconds_by_stage(arguments.model, "torch"))
        if "openvino" not in arguments.engines or openvino_network.why_unavailable():
            continue
        with tempfile.TemporaryDirectory() as home:
            os.environ["MISFM_HOME"] = home
            for name in ("OpenVINO, model not yet converted", "OpenVINO"):
                rows[name].append(seconds_by_stage(arguments.model, "openvino"))
    print(headline())
    for name, results in rows.items():
        print(name)
        for stage in STAGES:
            print(f"  {stage:16}{spread([result[stage] for result in results]):>26} s")
        total = statistics.median(sum(list(result.values())[:-1]) for result in results)
        print(f"  to the first window: {total:.2f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
