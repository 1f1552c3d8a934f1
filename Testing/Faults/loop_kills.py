"""kill -9 of Slicer and of its trainings at random moments of the annotation loop.

    MISFM_PYTHON=.venv/bin/python .venv-slicer/bin/python Testing/Faults/loop_kills.py HIPPOCAMPI \
        [kills]

The walk of `Testing/Benchmarks/loop_walk.py` with trainings of seconds, in the stand-in for Slicer:
in turn the application, a training, or both are killed; then the same command goes on. At the end
every label that Done had confirmed has to be in the set voxel by voxel, every case labelled, every
training come to its end, and nothing half-written left.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_WALK = Path(__file__).parents[1] / "Benchmarks" / "loop_walk.py"
_SETTINGS = {"spacing_dhw": [2, 2, 2], "patch_size": [16, 16, 16], "minutes": None, "threads": 1}
_SETTINGS |= {"validate_every": 10, "checkpoint_every": 5, "warm_up_steps": 5}
_OPTIONS = ("--labels", "1", "2", "--start", "4", "--loop", "9", "--after", "3", "--held-out", "2")
_STEPS = ("--steps", "20", "10", "--orders", "least sure", "--seeds", "1")
_WAIT = (0.3, 4.0)
"""Times as long as the application took to open, so that a busy machine gets as far."""
_MOST_S = 900.0
_CHECK = """
import sys
from pathlib import Path
import numpy as np, SimpleITK as sitk
data, folder, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
for name in names:
    files = (each / "labelsTr" / f"{name}.nii.gz" for each in (folder, data))
    if not np.array_equal(*(sitk.GetArrayFromImage(sitk.ReadImage(str(each))) for each in files)):
        print(name)
"""


class Loop:
    """The walk as a process that can be killed, and what it leaves."""

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work = data, work
        self.folder = work / "least-sure-1"
        self.process: subprocess.Popen[bytes] | None = None
        self.started = self.opening_s = 0.0

    def start(self) -> None:
        """Start the application, or start it again."""
        words = [sys.executable, str(_WALK), str(self.data), str(self.work), *_OPTIONS, *_STEPS]
        self.started = time.monotonic()
        with (self.work / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*words, "--settings", json.dumps(_SETTINGS)],
                env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
                stdout=log,
                stderr=log,
            )

    def wait_for_panel(self) -> float:
        """Wait until the panel is open, so that it is the loop that is killed; tell how long."""
        while self.process.poll() is None and not self.is_open():
            time.sleep(0.2)
            self.opening_s = time.monotonic() - self.started
        return self.opening_s

    def is_open(self) -> bool:
        """Whether the running application has told that its panel is open."""
        lines = (self.work / "log").read_text("utf-8", "replace").splitlines()
        return f"panel open in process {self.process.pid}" in lines

    def training(self) -> int:
        """Return the process of the training that runs, 0 when none does."""
        for file in self.folder.glob("home/trainings/*/process.json"):
            with contextlib.suppress(OSError, ValueError):
                number = int(json.loads(file.read_text("utf-8"))["pid"])
                words = Path(f"/proc/{number}/cmdline").read_bytes()
                if str(file.parent).encode() in words:
                    return number
        return 0

    def confirmed(self) -> list[str]:
        """Return the cases of which Done has come back."""
        file = self.folder / "walk.json"
        with contextlib.suppress(OSError, ValueError):
            rounds = json.loads(file.read_text("utf-8"))["rounds"]
            return [each["name"] for a_round in rounds for each in a_round["corrections"]]
        return []

    def kill(self, what: str) -> str:
        """Kill the application, its training, or both; return what was hit and where it stood."""
        training = self.training()
        hit = []
        if what in ("application", "both"):
            self.process.kill()
            self.process.wait()
            hit.append("application")
        if training and what in ("training", "both"):
            os.killpg(training, signal.SIGKILL)
            hit.append("training")
        state = "while training" if training else "between trainings"
        return f"{' and '.join(hit) or 'nothing'} {state}, {len(self.confirmed())} confirmed"

    def problems(self) -> Iterator[str]:
        """Say what is not as it has to be at the end."""
        names = self.confirmed()
        words = [os.environ["MISFM_PYTHON"], "-c", _CHECK, self.data, self.folder / "set", *names]
        found = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
        yield from (f"labels of {name} are not those confirmed" for name in found.stdout.split())
        rows = (self.folder / "set" / "cases.csv").read_text("utf-8").splitlines()[1:]
        yield from (row for row in rows if row.split(",")[1] not in ("corrected", "checked"))
        state = json.loads((self.folder / "walk.json").read_text("utf-8"))
        if not state["is_done"]:
            yield "the loop has not come to its end"
        rest = list((self.folder / "home" / "trainings").glob("*/job.json"))
        yield from (f"{file.parent} is left" for file in rest)
        for pattern in (".misfm-*.old", ".misfm-*.note"):
            yield from (f"{path} is left" for path in self.folder.rglob(pattern))


def main() -> int:
    """Kill as often as the command line says, then let the loop come to its end."""
    data, count = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 10
    loop = Loop(data, Path(tempfile.mkdtemp(prefix="misfm-loop-kills-")))
    chance, targets = random.Random(17), itertools.cycle(("application", "training", "both"))
    began, kills = time.monotonic(), 0
    loop.start()
    while kills < count and loop.process.poll() is None:
        time.sleep(chance.uniform(*_WAIT) * loop.wait_for_panel())
        hit = loop.kill(next(targets))
        kills += not hit.startswith("nothing")
        print(f"{time.monotonic() - began:5.0f} s: {hit}", flush=True)
        if loop.process.poll() is not None:
            loop.start()
    code = loop.process.wait(_MOST_S)
    problems = list(loop.problems())
    print(f"{kills} kills, exit {code}, {len(loop.confirmed())} cases confirmed")
    print("\n".join(problems) or "Nothing that was confirmed is lost; every run went on.")
    if not problems and not code:
        shutil.rmtree(loop.work)
    return int(bool(problems or code))


if __name__ == "__main__":
    sys.exit(main())
