"""What spreading a cohort brings: two workers, one process, nnU-Net; overhead, kills, memory.

Each piece is measured once and kept in FOLDER/results.json, so that the same command goes on; the
table is printed at the end. Sets are the first 60 hippocampi and 20 CTs of ../shared/data; their
models are nnU-Net's random ones of ../shared/spec/nnunet (A, of 3 stages, for the hippocampi; B,
with residual encoder, for the CTs). nnU-Net computes with the same weights, without mirroring, in
two halves: NNUNET is its command, nnUNetv2_predict, and gives the pieces that need it. On an idle
machine of two cores every piece takes less than five minutes:

    for piece in "hippocampi: one" "hippocampi: two" "hippocampi: nnU-Net, 1st" \\
        "hippocampi: nnU-Net, 2nd" "CTs: one" "CTs: two" overhead "not killed" "killed at half" \\
        "cases done" "handed out"; do ... --only "$piece"; done

    python Testing/Benchmarks/cohort.py FOLDER [--nnunet NNUNET] [--only PIECE ...]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("MISFM_SHARED", REPOSITORY.parent / "shared"))
SETS = {"hippocampi": ("hippocampus_mr", 60), "CTs": ("headneck_ct", 20)}
NNUNET = {"hippocampi": "A_fullres_plain_mr", "CTs": "B_resenc_ct_anisotropic"}
MISFM = [sys.executable, "-m", "MISFMLib"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
ENVIRONMENT.pop("OMP_NUM_THREADS", None)


def images(folder: Path, name: str) -> Path:
    """Link the volumes of a set, named as nnU-Net wants them."""
    target, (data, count) = folder / name, SETS[name]
    if not target.exists():
        target.mkdir(parents=True)
        files = sorted((SHARED / "data" / data / "imagesTr").glob("*.nii.gz"))[:count]
        for path in files:
            stem = path.name.removesuffix(".nii.gz").removesuffix("_0000")
            (target / f"{stem}_0000.nii.gz").symlink_to(path)
    return target


def model(folder: Path, name: str) -> str:
    """Import nnU-Net's model for a set."""
    ENVIRONMENT["MISFM_HOME"] = str(folder / "home")
    done = folder / f"{name}.model"
    if not done.exists():
        source = SHARED / "spec" / "nnunet" / NNUNET[name] / "model"
        (trained,) = source.glob("*/nnUNetTrainer*")
        words = ["models", "import", str(trained), "--name", f"cohort-{name.lower()}"]
        subprocess.run([*MISFM, *words], env=ENVIRONMENT, check=True)
        first = min(images(folder, name).iterdir())
        segment(first, f"cohort-{name.lower()}", folder / "warm")  # converts it, once a computer
        done.touch()
    return f"cohort-{name.lower()}"


def segment(scans: Path, model: str, out: Path, *options: str) -> float:
    """Segment a folder anew; return the seconds of the whole command."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.monotonic()
    words = ["segment", str(scans), "-m", model, "-o", str(out), "--events", "json", *options]
    subprocess.run([*MISFM, *words], env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def predict(folder: Path, name: str, command: str, half: int) -> float:
    """Let nnU-Net segment half of a set with its own workers; return the seconds."""
    source = SHARED / "spec" / "nnunet" / NNUNET[name] / "model"
    (trained,) = source.glob("*/nnUNetTrainer*")
    dataset, (trainer, plans, configuration) = trained.parent.name, trained.name.split("__")
    scans, out = folder / f"{name}-{half}", folder / f"nnunet-{name}-{half}"
    for place in (scans, out):
        shutil.rmtree(place, ignore_errors=True)
    scans.mkdir()
    paths = sorted(images(folder, name).iterdir())
    middle = len(paths) // 2
    for path in paths[:middle] if half == 1 else paths[middle:]:
        (scans / path.name).symlink_to(path)
    places = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), str(source))
    words = [command, "-i", str(scans), "-o", str(out), "-d", dataset[7:10], "--disable_tta"]
    words += ["-tr", trainer, "-p", plans, "-c", configuration, "-f", "0", "-device", "cpu"]
    start = time.monotonic()
    environment = {**ENVIRONMENT, **places, "nnUNet_compile": "f"}
    subprocess.run(words, env=environment, check=True, capture_output=True)
    assert len(list(out.glob("*.nii.gz"))) == len(list(scans.iterdir()))
    return time.monotonic() - start


def overhead(folder: Path) -> float:
    """Return the milliseconds per case that are not the engine's, of one warm process."""
    out, reports = folder / "overhead", folder / "overhead-reports"
    shutil.rmtree(reports, ignore_errors=True)
    options = ("--threads", "1", "--report", str(reports))
    segment(images(folder, "hippocampi"), "hippocampus-mr", out, *options)
    rows = sorted(out.glob("*.nii.gz"), key=lambda path: path.stat().st_mtime_ns)
    ends = [path.stat().st_mtime_ns / 1e9 for path in rows]
    stages = ("network", "engine", "preprocess", "restore", "postprocess")
    own = []
    for before, end, path in zip(ends, ends[1:], rows[1:], strict=False):
        report = json.loads((reports / f"{path.name.removesuffix('.nii.gz')}.json").read_text())
        engine = sum(report["timings_s"].get(stage, 0) for stage in stages)
        own.append(1000 * (end - before - engine))
    return statistics.median(own)


def small_cases(folder: Path, count: int = 1000) -> Path:
    """Link the hippocampi again and again."""
    target = folder / "small"
    if not target.exists():
        target.mkdir(parents=True)
        files = sorted((SHARED / "data" / "hippocampus_mr" / "imagesTr").glob("*.nii.gz"))
        for number in range(count):
            (target / f"case{number:04}.nii.gz").symlink_to(files[number % len(files)])
    return target


def half(folder: Path) -> float:
    """Segment half of the small cases, be killed, and go on; return the seconds of both parts."""
    scans, out = small_cases(folder), folder / "killed"
    shutil.rmtree(out, ignore_errors=True)
    words = [*MISFM, "segment", str(scans), "-m", "hippocampus-mr", "-o", str(out)]
    words += ["--workers", "2", "--events", "json"]
    start = time.monotonic()
    process = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    while not out.exists() or len(list(out.glob("case*.nii.gz"))) < len(list(scans.iterdir())) / 2:
        time.sleep(0.2)
    process.kill()
    process.wait()
    subprocess.run(words, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


MANY = 100_000


def many_cases(folder: Path) -> tuple[Path, Path]:
    """Write 100 000 small volumes in 1000 folders, and results as of a batch that is done."""
    sys.path.insert(0, str(REPOSITORY))
    import numpy as np

    from MISFMLib.jobs.journal import Journal
    from MISFMLib.jobs.segment.table import CaseRow, CaseTable
    from MISFMLib.models.store import find_model
    from MISFMLib.volumes.volume import Geometry, Volume, write_volume

    scans, out = folder / "many", folder / "many-done"
    if (out / "cases.csv").exists():
        return scans, out
    unit = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    grid = Geometry((8, 9, 10), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), unit)
    source = folder / "one.nii.gz"
    write_volume(Volume(np.zeros((1, 8, 9, 10), np.uint8), grid, "a"), source, overwrite=True)
    content = source.read_bytes()
    out.mkdir(parents=True, exist_ok=True)
    table = CaseTable(out, find_model("hippocampus-mr").manifest)
    journal = Journal(out)
    for number in range(MANY):
        name = f"case{number:06}"
        place = scans / f"p{number // 100:04}" / f"{name}.nii.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        (out / place.name).write_bytes(content)
        engine = "PyTorch in bf16 on cpu"
        row = CaseRow(name, "done", 0.1, engine=engine, tries=1, bytes=len(content))
        journal.add(row.journal(table.model), flush=False)
    journal.close()
    table.write()
    return scans, out


def resumed(folder: Path) -> list[float]:
    """Return seconds, CPU seconds and MB of a batch of 100 000 cases that are all done."""
    scans, out = many_cases(folder)
    words = [*MISFM, "segment", str(scans), "-m", "hippocampus-mr", "-o", str(out)]
    start = time.monotonic()
    with subprocess.Popen(
        [*words, "--events", "json"], env=ENVIRONMENT, stdout=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    seconds = time.monotonic() - start
    return [seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000]


def handed_out(folder: Path, seconds: float = 60) -> list[float]:
    """Return the most MB of client and dask scheduler while 100 000 cases are being done."""
    import psutil

    scans, _ = many_cases(folder)
    address = "tcp://127.0.0.1:17786"
    words = ["--host", "127.0.0.1", "--port", "17786", "--no-dashboard"]
    dask = [sys.executable, "-m", "dask"]
    work = ["worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    client = [*MISFM, "segment", str(scans), "-m", "hippocampus-mr", "-o", str(folder / "many-new")]
    started = [
        subprocess.Popen(command, env=ENVIRONMENT, cwd=folder, stdout=subprocess.DEVNULL)
        for command in (
            [*dask, "scheduler", *words],
            [*dask, *work],
            [*client, "--scheduler", address, "--events", "json"],
        )
    ]
    most = [0.0, 0.0]
    try:
        until = time.monotonic() + seconds
        begun = folder / "many-new" / ".misfm-work"
        while time.monotonic() < until or not list(begun.glob("rows-*")):
            for index, process in enumerate((started[2], started[0])):
                most[index] = max(most[index], psutil.Process(process.pid).memory_info().rss / 1e6)
            time.sleep(0.2)
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
    return most


def pieces(folder: Path, nnunet: str | None) -> dict[str, object]:
    """Return what there is to measure."""
    found = {}
    for name in SETS:
        scans = images(folder, name)
        ours = model(folder, name)
        out = folder / f"out-{name}"
        for label, options in {
            "one process, two threads": ("--threads", "2"),
            "two workers": ("--workers", "2"),
        }.items():
            found[f"{name}: {label}, s"] = lambda s=scans, m=ours, o=out, x=options: segment(
                s, m, o, *x
            )
        for half, title in ((1, "1st"), (2, "2nd")) if nnunet else ():
            found[f"{name}: nnU-Net, {title} half, s"] = lambda n=name, h=half: predict(
                folder, n, nnunet, h
            )
    found["overhead per case, ms"] = lambda: overhead(folder)
    small = folder / "out-small"
    found["small cases: not killed, s"] = lambda: segment(
        small_cases(folder), "hippocampus-mr", small, "--workers", "2"
    )
    found["small cases: killed at half, s"] = lambda: half(folder)
    found["100,000 cases done: s, CPU s, MB"] = lambda: resumed(folder)
    found["100,000 cases handed out by dask: client MB, scheduler MB"] = lambda: handed_out(folder)
    return found


ONE, TWO = "one process, two threads, s", "two workers, s"
HALVES = ["hippocampi: nnU-Net, 1st half, s", "hippocampi: nnU-Net, 2nd half, s"]
SMALL = "small cases: "
RATIOS = {
    "hippocampi: two workers against one process": ([f"hippocampi: {ONE}"], [f"hippocampi: {TWO}"]),
    "hippocampi: two workers against nnU-Net": (HALVES, [f"hippocampi: {TWO}"]),
    "CTs: two workers against one process": ([f"CTs: {ONE}"], [f"CTs: {TWO}"]),
    "killed against not killed": ([f"{SMALL}killed at half, s"], [f"{SMALL}not killed, s"]),
}


def ratios(results: dict[str, float]) -> dict[str, float]:
    """Return how many times as long the first pieces take as the second ones."""
    return {
        name: sum(results[piece] for piece in above) / sum(results[piece] for piece in below)
        for name, (above, below) in RATIOS.items()
        if {*above, *below} <= set(results)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nnunet")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--count", type=int, default=1000, help="small cases")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    small_cases(arguments.folder, arguments.count)
    kept = arguments.folder / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for name, measure in pieces(arguments.folder, arguments.nnunet).items():
        if name in results or (arguments.only and not any(w in name for w in arguments.only)):
            continue
        results[name] = measure()
        kept.write_text(json.dumps(results, indent=2) + "\n")
    for name, value in results.items():
        values = value if isinstance(value, list) else [value]
        print(f"| {name} | {', '.join(f'{number:.1f}' for number in values)} |")
    for name, ratio in ratios(results).items():
        print(f"| {name} | {ratio:.2f} times |")


if __name__ == "__main__":
    main()
