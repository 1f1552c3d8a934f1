"""What both trials share: volumes, the command, what is there, and the log of what was killed."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("MISFM_SHARED", REPOSITORY.parent / "shared"))
MODEL = "hippocampus-mr"
MARK = "MISFM_CLUSTER_TRIAL"
"""Variable in the environment of every process of a trial, by which they are found again."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", MARK: "1"}
MISFM = [sys.executable, "-m", "MISFMLib"]
ENOUGH = 2
"""Results that are there before something is killed."""


def make_scans(folder: Path, count: int) -> Path:
    """Write so many volumes that each take a second: hippocampi or phantoms, 2 x 2 side by side."""
    sys.path.insert(0, str(REPOSITORY))
    import numpy as np

    from MISFMLib.data.phantom import draw_phantom
    from MISFMLib.volumes.volume import Volume, read_volume, write_volume

    folder.mkdir(parents=True)
    real = sorted((SHARED / "data" / "hippocampus_mr" / "imagesTr").glob("*.nii.gz"))[:count]
    volumes = [read_volume(path) for path in real] or [draw_phantom(n)[0] for n in range(count)]
    for number, volume in enumerate(volumes):
        array = np.tile(volume.array_CDHW, (1, 1, 2, 2))
        geometry = dataclasses.replace(volume.geometry, shape_dhw=array.shape[1:])
        write_volume(Volume(array, geometry, volume.name), folder / f"case{number:02}.nii.gz")
    return folder


def end_processes() -> int:
    """End what a trial has started, this one or one that was interrupted; return how many."""
    marked = [process for process in psutil.process_iter() if _is_marked(process)]
    marked += [step for process in marked for step in _step_above(process)]
    for process in set(marked):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(marked, 20)
    return len(set(marked))


def _step_above(process: psutil.Process) -> list[psutil.Process]:
    """Return SLURM's process above a task, which has written its name over its environment."""
    with contextlib.suppress(psutil.Error):
        parent = process.parent()
        return [parent] if parent is not None and _is_step(parent) else []
    return []


def steps_there() -> int:
    """Return how many of SLURM's processes above tasks there are."""
    return sum(map(_is_step, psutil.process_iter()))


def _is_step(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error, IndexError):
        return process.cmdline()[0].startswith("slurmstepd")
    return False


def _is_marked(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return MARK in process.environ()
    return False


def command(scans: Path, out: Path, *options: str) -> Sequence[str]:
    """Return the command that segments a folder."""
    words = ["segment", str(scans), "-m", MODEL, "-o", str(out), "--threads", "1"]
    return [*MISFM, *words, "--events", "json", *options]


def results(folder: Path) -> dict[str, int]:
    """Return the results and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.nii.gz")}


def at_work(folder: Path) -> list[int]:
    """Return the processes that are in the middle of a case."""
    found = []
    for claim in (folder / ".misfm-work" / "claims").glob("*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(claim.read_text("ascii").split()[-1])
            found += [pid] if psutil.pid_exists(pid) else []
    return found


def half_done(folder: Path, processes: int = 1) -> dict[str, int]:
    """Wait until results are there and so many processes are in the middle of a case."""
    wait_for(lambda: len(results(folder)) >= ENOUGH and len(at_work(folder)) >= processes)
    return results(folder)


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def wait_for(what: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until something is true."""
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds:.0f} s")
        time.sleep(0.02)


@dataclass
class Log:
    """Rows of the table of the trial."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    failures: int = 0
    only: Sequence[str] = ()
    """Parts of the names of the trials that are wanted; all when empty."""

    def trial(self, name: str, function: Callable[..., None], *arguments: object) -> None:
        """Carry a trial out if it is wanted; note what goes wrong, and let the next one begin."""
        if self.only and not any(part in name for part in self.only):
            return
        started = time.monotonic()
        try:
            function(*arguments, self)
        except (AssertionError, TimeoutError, OSError, subprocess.CalledProcessError) as error:
            traceback.print_exc()
            self.failures += 1
            self.add(name, "NOT AS IT SHOULD BE", f"{type(error).__name__}: {error}")
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    def add(self, killed: str, lost: str, after: str) -> None:
        """Add and show a row."""
        self.rows.append((killed, lost, after))
        print("|", " | ".join(self.rows[-1]), "|", flush=True)

    def check(self, killed: str, before: dict[str, int], folder: Path, cases: int) -> None:
        """Compare with what was done before a kill, and with what shall be there in the end."""
        after = results(folder)
        lost = [name for name, written in before.items() if after.get(name) != written]
        rows = table(folder)
        ended = sum(row["status"] == "done" for row in rows.values())
        again = sum(int(row["tries"] or 1) > 1 for row in rows.values())
        left = [str(path) for path in folder.glob(".misfm-*")]
        assert not lost, lost
        assert len(after) == ended == cases, (len(after), ended, cases)
        assert not left, left
        self.add(killed, f"nothing of {len(before)} done", f"{ended} done, {again} tried again")


def run(words: Sequence[str], folder: Path, **options: object) -> subprocess.Popen[bytes]:
    """Start a command with its output in a file of the folder."""
    with (folder / "commands.log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, env=ENVIRONMENT, **options)


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder
