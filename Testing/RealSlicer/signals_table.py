"""A batch in a real Slicer, ended in every way: exit codes, what is left, what the table says.

    python Testing/RealSlicer/signals_table.py --slicer KIT/Slicer/Slicer --python PYTHON

The Slicer is the launcher itself, not a script around it; PYTHON has the library and runs the jobs.
SIGINT, SIGTERM and SIGKILL go to the launcher, to the application and to their group, and the
reader of the output goes away. Afterwards no process of the batch may be left, no folder, and the
case that was running is "cancelled" in cases.csv. The exit code is 1 when anything is off. Linux.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "MISFM" / "MISFMScripts" / "segment.py"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: 137}
WAIT_S = 25


def wait_for(condition, seconds: float, what: str):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.1)
    return value


def processes(mark: str) -> dict[int, str]:
    """Return the processes whose environment has a mark, but not ourselves."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"MISFM_BATCH={mark}".encode() in environment and words:
            found[int(folder.name)] = words
    return found


class Batch:
    """A batch of three cases in Slicer, under way with the second one."""

    def __init__(self, options, volumes: Path, folder: Path, **streams) -> None:
        self.folder, self.mark, self.output = folder, folder.name, folder / "out"
        (folder / "tmp").mkdir(parents=True)
        environment = {
            **os.environ,
            "MISFM_BATCH": self.mark,
            "MISFM_PYTHON": options.python,
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "QT_QPA_PLATFORM": "offscreen",
        }
        words = [str(volumes), "-m", "hippocampus-mr", "-o", str(self.output), "--device", "cpu"]
        words += ["--events-file", str(folder / "events.jsonl")]
        self.process = subprocess.Popen(
            [options.slicer, "--no-main-window", "--python-script", str(SCRIPT), "--", *words],
            env=environment,
            start_new_session=True,
            **streams,
        )
        wait_for(self._is_under_way, 120, "the second case has not begun")

    def _is_under_way(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the batch ended by itself with {self.process.returncode}")
        return len(self.rows()) == 2

    def rows(self) -> list[str]:
        table = self.output / "cases.csv"
        if not table.exists():
            return []
        with table.open(encoding="utf-8", newline="") as file:
            return [row["status"] for row in csv.DictReader(file)]

    def application(self) -> int:
        (number,) = (
            number
            for number, words in processes(self.mark).items()
            if "SlicerApp-real" in words.split(" ")[0]
        )
        return number

    def end(self, who: str, number: int) -> None:
        if who == "group":
            os.killpg(self.process.pid, number)
        else:
            os.kill(self.process.pid if who == "launcher" else self.application(), number)

    def problems(self, code: int | None, *, tidies_up: bool) -> list[str]:
        """Return what is wrong once it has ended; `code` None takes any."""
        found = []
        ended = self.process.wait(WAIT_S)
        ended = 128 - ended if ended < 0 else ended
        if code is not None and ended != code:
            found.append(f"exit code {ended} instead of {code}")
        try:
            wait_for(lambda: not processes(self.mark), WAIT_S, "")
        except TimeoutError:
            found.append(f"still running: {list(processes(self.mark).values())}")
        left = [path.name for path in (self.folder / "tmp").rglob("misfm-*")]
        left += [path.name for path in self.output.glob(".misfm-*")]
        if tidies_up and left:
            found.append(f"left: {left}")
        if self.rows() != ["done", "cancelled"]:
            found.append(f"cases are {self.rows()}")
        events = (self.folder / "events.jsonl").read_text("utf-8").splitlines()
        if not events or not all(line.startswith("{") for line in events):
            found.append("the file of events has other lines")
        return found


def ways(options, volumes: Path, out: Path):
    """Yield every way to end a batch and what was wrong with it."""
    for number, code in CODES.items():
        for who in ("application", "launcher", "group"):
            name = f"{signal.Signals(number).name} to the {who}"
            batch = Batch(
                options,
                volumes,
                out / name.replace(" ", "-"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            batch.end(who, number)
            # The launcher passes on an exit code, but not that the application was killed.
            is_killed = number == signal.SIGKILL
            expected = None if is_killed and who == "application" else code
            yield name, code, batch.problems(expected, tidies_up=not is_killed or who == "launcher")
    batch = Batch(options, volumes, out / "pipe", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    batch.process.stdout.close()
    yield "the reader of stdout is gone", 141, batch.problems(141, tidies_up=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slicer", required=True, help="Slicer's launcher")
    parser.add_argument("--python", default=sys.executable, help="Python that has the library")
    options = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="signals-"))
    (out / "volumes").mkdir()
    noise = np.random.default_rng(0)
    for name, size in (("a", 48), ("b", 280), ("c", 280)):
        array = noise.normal(100, 30, (size, size, size)).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(out / "volumes" / f"{name}.nrrd"))
    failed = False
    print("| ended by | exit code | |\n| --- | --- | --- |")
    for name, code, problems in ways(options, out / "volumes", out):
        failed |= bool(problems)
        print(f"| {name} | {code} | {'; '.join(problems) or 'right'} |", flush=True)
    shutil.rmtree(out, ignore_errors=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
