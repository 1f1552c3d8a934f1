"""Models with damaged files, manifests of any content, and unsafe zips."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import material
from cases import Case

_VALUES: tuple[Any, ...] = (None, -1, 1e300, "x", [], {}, [1, 2], float("nan"), 2**70)
_FILES = (
    *("configs/metadata.json", "configs/inference.json", "models/model.safetensors"),
    *("docs/README.md", "LICENSE"),
)
_PLACES = (
    *(("misfm", key) for key in ("format", "name", "network", "preprocessing", "labels")),
    *(("network", key) for key in ("level_channels", "num_classes", "dropout", "in_channels")),
    *(("preprocessing", key) for key in ("patch_size", "spacing_dhw", "intensity", "orientation")),
)


def _verify(folder: Path, path: str = "tiny") -> list[str]:
    del folder
    return ["models", "verify", path]


def _manifest(part: str, key: str, value: Any, folder: Path) -> list[str]:
    path = material.model(folder) / "configs/metadata.json"
    content = json.loads(path.read_text("utf-8"))
    place = content["misfm"] if part == "misfm" else content["misfm"][part]
    place[key] = value
    path.write_text(json.dumps(content), "utf-8")
    return _verify(folder)


def _file(name: str, what: str, folder: Path) -> list[str]:
    path = material.model(folder) / name
    content = path.read_bytes()
    path.unlink()
    if what == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif what == "folder":
        path.mkdir()
    elif what == "deep":
        path.write_bytes(b"[" * 50_000)
    return _verify(folder)


def _extra(name: str, folder: Path) -> list[str]:
    (material.model(folder) / name).write_bytes(b"x")
    return _verify(folder)


def _zip(kind: str, folder: Path) -> list[str]:
    source = material.model(folder)
    with zipfile.ZipFile(folder / "m.zip", "w") as archive:
        for file in sorted(source.rglob("*")):
            if file.is_file():
                archive.write(file, f"tiny/{file.relative_to(source)}")
        if kind == "leads out":
            archive.writestr("../evil.txt", "x")
        elif kind == "absolute":
            archive.writestr("/evil.txt", "x")
        elif kind == "two models":
            archive.write(source / "configs/metadata.json", "other/configs/metadata.json")
        elif kind == "code":
            archive.writestr("tiny/run.py", "x")
        elif kind == "pickle":
            archive.writestr("tiny/model.pt", "x")
    if kind == "cut":
        content = (folder / "m.zip").read_bytes()
        (folder / "m.zip").write_bytes(content[: len(content) // 2])
    return _verify(folder, "m.zip")


def _named(name: str, folder: Path) -> list[str]:
    material.model(folder)
    return ["models", "info", name]


def models() -> Iterator[Case]:
    """Models that cannot be used."""
    case = partial(Case, "models")
    for part, key in _PLACES:
        for value in _VALUES:
            make = partial(_manifest, part, key, value)
            yield case(f"{part}.{key} is {value!r}"[:60], make, "either")
    for name in _FILES:
        is_text = name in ("docs/README.md", "LICENSE", "configs/inference.json")
        for what in ("missing", "cut", "empty", "flipped", "folder", "deep"):
            expect = (
                "either" if is_text and what in ("cut", "empty", "flipped", "deep") else "clear"
            )
            expect = "either" if what == "flipped" else expect
            yield case(f"{name} {what}", partial(_file, name, what), expect)
    for name in ("model.pt", "run.py", "weights.ckpt"):
        yield case(f"holds {name}", partial(_extra, name))
    for kind in ("leads out", "absolute", "two models", "code", "pickle", "cut"):
        yield case(f"zip {kind}", partial(_zip, kind))
    for name in ("", "nobody", "..", "/dev/zero", "\udcff", "n" * 5000, "a\nb"):
        yield case(f"name {name[:20]!r}", partial(_named, name))
