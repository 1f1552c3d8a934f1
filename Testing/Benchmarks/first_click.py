"""What a click on Segment costs beside the network, in the stand-in for Slicer.

    MISFM_PYTHON=venv/bin/python venv-slicer/bin/python Testing/Benchmarks/first_click.py
        [--shape D H W] [--wait SECONDS] [--json FILE]

A CT of 300 x 512 x 512 voxels lies in the scene, as after loading it. The clock runs from the start
of the job to the segmentation in the scene: writing the volume, reading, preparing, segmenting,
writing the labels and loading them. Less the seconds of the network itself, which here is tiny and
has 14 classes, that is what MISFM adds. The first click comes some seconds after the panel is
ready, for which it starts the worker and loads the model; an immediate one waits for that too. The
very first click with a model also converts it to OpenVINO, which is kept. The second click finds
the model in the worker's memory, and the first one of the next session finds it loaded again.
MISFM_PYTHON is a Python with what MISFMLib needs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
for folder in (REPOSITORY / "MISFM", REPOSITORY, REPOSITORY / "Testing" / "Host"):
    sys.path.insert(0, str(folder))

import numpy as np  # noqa: E402
from misfm_host.host import start  # noqa: E402 found through the lines above

WRITE_MODEL = """
import sys
from pathlib import Path
from segment_memory import Setting, write_model
write_model(Path(sys.argv[1]), Setting("first click"))
"""


def write_model(folder: Path) -> None:
    """Write a bundle with a tiny network, by the Python that has the library's packages."""
    paths = os.pathsep.join((str(REPOSITORY), str(Path(__file__).parent)))
    subprocess.run(
        [os.environ["MISFM_PYTHON"], "-c", WRITE_MODEL, str(folder)],
        check=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def add_scan(shape_dhw: tuple[int, int, int]) -> Any:
    """Put an elliptic body with noise in air, in HU, into the scene."""
    import slicer

    depth, height, width = shape_dhw
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    body = np.where((rows / 0.7) ** 2 + (columns / 0.9) ** 2 < 1, 40, -1000)
    noise = np.random.default_rng(0).normal(0, 20, (16, height, width))
    array = np.stack([(body + noise[index % 16]).astype(np.int16) for index in range(depth)])
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(node, array)
    node.SetSpacing(0.8, 0.8, 1.0)
    node.CreateDefaultDisplayNodes()
    return node


def session(
    volume: Any, model: Path, wait_s: float, clicks: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Wait as a user does once the panel is ready, then click; return what `click` says of each."""
    from MISFMSlicer.Job import SegmentRequest
    from MISFMSlicer.Jobs.Logic import MISFMLogic

    request = SegmentRequest((volume,), str(model), options={"device": "cpu", "overlap": 0.0})
    logic = MISFMLogic()
    logic.warmUp(request)
    time.sleep(wait_s)
    rows = {name: click(logic, request) for name in clicks}
    logic.close()
    return rows


def click(logic: Any, request: Any) -> dict[str, Any]:
    """Segment and say how long what took."""
    started = time.perf_counter()
    job = logic.start(request)
    logic.waitFor(job, timeoutS=600)
    seconds = time.perf_counter() - started
    if job.failure is not None:
        sys.exit(f"{job.failure}\n{job.log}")
    stages = job.result.report["timings_s"]
    return {"seconds": seconds, "beside_network_s": seconds - stages["network"], "stages": stages}


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), help="voxels")
    parser.add_argument(
        "--wait", type=float, default=5.0, help="seconds from the panel being ready to the click"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MISFM_HOME"] = str(Path(folder) / "home")
        write_model(Path(folder) / "model")
        start(Path(folder) / "host")
        volume = add_scan(tuple(arguments.shape))
        model = Path(folder) / "model"
        rows = session(volume, model, arguments.wait, ("very first click", "second click"))
        rows |= session(volume, model, arguments.wait, ("first click of the next session",))
    print(f"{arguments.shape} voxels, load {os.getloadavg()}")
    for name, row in rows.items():
        stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in row["stages"].items())
        print(f"{name}: {row['seconds']:.1f} s, {row['beside_network_s']:.1f} s beside the network")
        print(f"  of it in the worker: {stages}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2), "utf-8")


if __name__ == "__main__":
    main()
