"""kill -9 at random moments: a job that goes on ends bit for bit as if it had not been killed."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import material  # noqa: E402 found only now

_ROOT = Path(__file__).parents[2]
_TRAIN = (*material.TRAIN, "--steps", "4", "--resume")
_JOBS = {
    "segment": ["segment", "set/images", "-m", "tiny", "-o", "out", "--format", "nrrd"],
    "finetune": ["finetune", "set", "-o", "out", *_TRAIN],
    "pretrain": ["pretrain", "set/images", "-o", "out", *_TRAIN[:-4], *_TRAIN[-3:]],
    "prepare": ["prepare", "set/images", "-o", "out", "--workers", "1"],
    "quantize": ["quantize", "tiny", "set", "--validation-fraction", "0.5"],
}
_OF_EVERY_RUN = ("cases.csv", "metadata.json", "README.md", "lock", "log.jsonl", "journal.jsonl")
"""Files that tell times."""


def start(job: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a job in a folder with its input."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}
    environment["MISFM_HOME"] = str(folder / "home")
    words = [sys.executable, "-m", "MISFMLib", *_JOBS[job]]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)


def fresh() -> Path:
    """Make a folder with the input of every job."""
    folder = Path(tempfile.mkdtemp(prefix="misfm-kill-"))
    material.model(folder)
    material.data_set(folder, 4)
    return folder


def results(job: str, folder: Path) -> dict[str, str]:
    """Return the hash of every file that a job leaves and that tells no time."""
    place = folder / ("home" if job == "quantize" else "out")
    return {
        str(path.relative_to(place)): hashlib.sha256(_content(path)).hexdigest()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.name not in _OF_EVERY_RUN and job != "quantize"
    }


def _content(path: Path) -> bytes:
    """Return the content of a file; of the table of a store without the times of the sources."""
    if path.name != "index.csv":
        return path.read_bytes()
    with path.open(encoding="utf-8", newline="") as file:
        rows = [{**row, "signature": ""} for row in csv.DictReader(file)]
    return repr(rows).encode()


def main() -> int:
    """Kill as many jobs as the command line says, in turn, each once; then let each go on."""
    count, bad = int(sys.argv[1]) if len(sys.argv) > 1 else 60, 0
    chance = random.Random(14)
    whole, seconds, exits = {}, {}, {}
    for job in _JOBS:
        folder, started = fresh(), time.monotonic()
        exits[job] = start(job, folder).wait()
        seconds[job] = time.monotonic() - started
        whole[job] = results(job, folder)
        print(f"{job}: exit {exits[job]} after {seconds[job]:.1f} s, {len(whole[job])} files")
        shutil.rmtree(folder)
    for number in range(count):
        job, folder = list(_JOBS)[number % len(_JOBS)], fresh()
        process, moment = start(job, folder), chance.uniform(0.1, 0.9) * seconds[job]
        time.sleep(moment)
        process.kill()
        process.wait()
        code = start(job, folder).wait()
        same = results(job, folder) == whole[job]
        print(f"{number + 1}: {job} killed after {moment:.1f} s, then exit {code}, same {same}")
        if not same or code not in (exits[job], 5):
            # A bundle that was complete before the kill is refused without --overwrite: exit 5.
            bad += 1
            log = (folder / "log").read_text("utf-8", "replace")[-500:]
            print(log)
        sys.stdout.flush()
        shutil.rmtree(folder)
    print(f"{count} kills, {bad} not as good as new")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
