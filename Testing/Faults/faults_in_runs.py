"""Runs of trainings and stores of crops that were damaged after they were written."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import material
from cases import Case

_CONTENTS = (b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"[" * 50_000, b'{"steps": "x"}')


@cache
def _stopped_run() -> Path:
    """Train for a step and stop before the bundle: the run folder stays."""
    folder = Path(tempfile.mkdtemp(prefix="misfm-faults-run-"))
    material.data_set(folder, 3)
    code = (
        "import sys; from MISFMLib.jobs.train import finetune as job\n"
        "from MISFMLib import cli\n"
        "def stop(*arguments, **options): raise SystemExit(0)\n"
        "names = [name for name in vars(job) if name.startswith('write_') and 'bundle' in name]\n"
        "[setattr(job, name, stop) for name in names]\n"
        "cli.main(sys.argv[1:])\n"
    )
    words = ["finetune", "set", "-o", "m", *material.TRAIN]
    subprocess.run([sys.executable, "-c", code, *words], cwd=folder, check=False)
    assert (folder / "m.run" / "checkpoint.previous.pt").exists(), "the run was not stopped"
    return folder


def _resumed(file: str, content: bytes | int, folder: Path) -> list[str]:
    """Resume a run of which a file holds something else; a number flips the bit at that place."""
    shutil.copytree(_stopped_run(), folder, dirs_exist_ok=True)
    for path in folder.glob(f"m.run/{file}"):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            data = bytearray(path.read_bytes())
            data[content * (len(data) - 1) // 100] ^= 8
            path.write_bytes(data)
    return ["finetune", "set", "-o", "m", "--resume", *material.TRAIN, "--events", "json"]


def _trained(folder: Path) -> bool:
    return (folder / "m" / "models" / "model.safetensors").exists()


def runs() -> Iterator[Case]:
    """A training that goes on from a damaged run."""
    case = partial(Case, "runs")
    for content in _CONTENTS:
        yield case(f"settings {content[:12]!r}", partial(_resumed, "settings.json", content))
        for file in ("plan.json", "split.json", "log.jsonl"):
            make = partial(_resumed, file, content)
            yield case(f"{file} {content[:12]!r}", make, "either", _trained)
    for content in (b"", b"PK\x03\x04", b"x" * 5000):
        make = partial(_resumed, "checkpoint*.pt", content)
        yield case(f"both checkpoints {content[:8]!r}", make)
        make = partial(_resumed, "checkpoint.pt", content)
        yield case(f"newest checkpoint {content[:8]!r}", make, "right", _trained)
    for place in range(0, 101, 10):
        make = partial(_resumed, "checkpoint.pt", place)
        yield case(f"checkpoint, bit at {place} %", make, "right", _trained)
    for file in ("image.npy", "label.npy", "centres.npz"):
        for content in (b"", b"\x93NUMPY\x01\x00", b"x" * 300):
            make = partial(_resumed, f"cases/c0/{file}", content)
            yield case(f"{file} {content[:8]!r}", make, "right", _trained)


@cache
def _store() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="misfm-faults-store-"))
    material.data_set(folder, 3)
    words = ["prepare", "set/images", "-o", "store", "--workers", "0"]
    subprocess.run([sys.executable, "-m", "MISFMLib", *words], cwd=folder, check=True)
    return folder


def _prepared(file: str, content: bytes, verb: str, folder: Path) -> list[str]:
    shutil.copytree(_store(), folder, dirs_exist_ok=True)
    for path in folder.glob(f"store/{file}"):
        path.write_bytes(content)
    if verb == "prepare":
        return ["prepare", "set/images", "-o", "store", "--workers", "0", "--events", "json"]
    return ["pretrain", "store", "-o", "m", *material.TRAIN[:-1], "--events", "json"]


def stores() -> Iterator[Case]:
    """A store of which a file holds something else."""
    for verb in ("prepare", "pretrain"):
        for file in ("store.json", "index.csv", "journal.jsonl", "arrays/*/*.b2nd"):
            for content in _CONTENTS:
                make = partial(_prepared, file, content, verb)
                yield Case("stores", f"{verb}, {file} {content[:12]!r}", make, "either")
