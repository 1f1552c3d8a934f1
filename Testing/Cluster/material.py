"""What both trials share: volumes, the command, what is there, and the log of what was killed."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("MISFM_SHARED", REPOSITORY.parent / "shared"))
MODEL = "hippocampus-mr"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
MISFM = [sys.executable, "-m", "MISFMLib"]


def make_scans(folder: Path, count: int) -> Path:
    """Link so many volumes of the hippocampus into a folder, or draw phantoms."""
    folder.mkdir(parents=True)
    real = sorted((SHARED / "data" / "hippocampus_mr" / "imagesTr").glob("*.nii.gz"))[:count]
    for path in real:
        (folder / path.name).symlink_to(path)
    if not real:
        sys.path.insert(0, str(REPOSITORY))
        from MISFMLib.data.phantom import draw_phantom
        from MISFMLib.volumes.volume import write_volume

        for seed in range(count):
            write_volume(draw_phantom(seed)[0], folder / f"p{seed:03}.nii.gz")
    return folder


def results(folder: Path) -> dict[str, int]:
    """Return the results and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.nii.gz")}


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def wait_for(what: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until something is true."""
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds:.0f} s")
        time.sleep(0.1)


@dataclass
class Log:
    """Rows of the table of the trial."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)

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
        left = (folder / ".misfm-work").exists()
        assert not lost, lost
        assert len(after) == ended == cases, (len(after), ended, cases)
        assert not left, list((folder / ".misfm-work").rglob("*"))
        self.add(killed, f"nothing of {len(before)} done", f"{ended} done, {again} tried again")


def run(words: Sequence[str], folder: Path, **options: object) -> subprocess.Popen[bytes]:
    """Start a command with its output in a file of the folder."""
    log = (folder / "commands.log").open("ab")
    return subprocess.Popen(words, stdout=log, stderr=log, env=ENVIRONMENT, **options)


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder
