"""Places where a result cannot go, disks that are full, and streams that nobody reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import material
from cases import Case

from MISFMLib.volumes.volume import read_label_map

_SUFFIXES = ("nii", "nii.gz", "nrrd", "seg.nrrd", "mha")


def _segment(folder: Path, output: str, *words: str) -> list[str]:
    material.write_scan(folder / "a.nrrd")
    given = ["segment", "a.nrrd", "-m", str(material.model(folder)), "-o", output, *words]
    return [*given, "--device", "cpu", "--threads", "1", "--events", "json"]


def _old(output: str, words: tuple[str, ...], folder: Path) -> list[str]:
    (folder / output).write_bytes(b"old")
    return _segment(folder, output, *words)


def _old_is_there(output: str, folder: Path) -> bool:
    return (folder / output).read_bytes() == b"old"


def _foreign(verb: str, what: str, folder: Path) -> list[str]:
    """An output that is a folder of the user's pictures."""
    place = folder / ("m.run" if what == "run" else "m")
    place.mkdir()
    (place / "holiday.png").write_bytes(b"sea")
    (place / "settings.json").write_text("{}")
    material.data_set(folder, 2)
    if verb == "prepare":
        return ["prepare", "set/images", "-o", "m", "--workers", "0", "--events", "json"]
    return [verb, "set", "-o", "m", "--overwrite", *material.TRAIN[:-1], "--events", "json"]


def _into(kind: str, folder: Path) -> list[str]:
    if kind == "pipe":
        os.mkfifo(folder / "o.nrrd")
    elif kind == "device":
        (folder / "o.nrrd").symlink_to("/dev/null")
    elif kind == "below a file":
        (folder / "o").write_bytes(b"")
        return _segment(folder, "o/x/o.nrrd", "--overwrite")
    elif kind == "long":
        return _segment(folder, f"{'n' * 300}.nrrd")
    elif kind == "long path":
        return _segment(folder, f"{'d/' * 3000}o.nrrd")
    elif kind == "no format":
        return _segment(folder, "o.jpg")
    elif kind == "input":
        return _segment(folder, "a.nrrd", "--overwrite")
    return _segment(folder, "o.nrrd", "--overwrite")


def outputs() -> Iterator[Case]:
    """Results that cannot be written, and what must not be replaced."""
    case = partial(Case, "outputs")
    for suffix in _SUFFIXES:
        name = f"o.{suffix}"
        yield case(f"{name} is there", partial(_old, name, ()))
        for words in ((), ("--uncertainty", "u.nii"), ("--report", "r.json")):
            make = partial(_old, name, ("--overwrite", *words))
            is_whole = partial(_is_whole, name)
            yield case(f"{name} {words} no room", make, "either", is_whole, before="ulimit -f 2")
        make = partial(_segment, output=name)
        yield case(f"new {name}, no room", make, "either", is_whole, before="ulimit -f 2")
    for kind in (*("pipe", "device", "below a file", "long", "long path", "no format", "input"),):
        yield case(kind, partial(_into, kind))
    for verb in ("finetune", "pretrain", "prepare"):
        for what in ("bundle", "run"):
            if (verb, what) != ("prepare", "run"):
                yield case(f"{verb} over pictures ({what})", partial(_foreign, verb, what))
    for name in (f"{'n' * 240}.nii.gz", f"{'体' * 80}.nii.gz"):
        make = partial(_segment, output=name)
        yield case(f"name of {len(name)}", make, "right", partial(_is_there, name))


def _is_whole(output: str, folder: Path) -> bool:
    """Tell whether a small result, which had room, is whole."""
    return read_label_map(folder / output).array_DHW.shape == material.SHAPE


def _is_there(name: str, folder: Path) -> bool:
    return (folder / name).stat().st_size > 100


def _listed(_folder: Path) -> list[str]:
    return ["models", "list"]


def _written(folder: Path) -> bool:
    return (folder / "o.nrrd").stat().st_size > 100


def _quiet(folder: Path) -> list[str]:
    return _segment(folder, "o.nrrd")[:-2]


def streams() -> Iterator[Case]:
    """Closed and full standard output and error."""
    case = partial(Case, "streams")
    for after in (">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full"):
        yield case(f"list {after}", _listed, "either", after=after)
        yield case(f"segment {after}", _quiet, "either", _written, after=after)
    for after in (">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        yield case(f"list {after}", _listed, "right", after=after)
        yield case(f"segment {after}", _quiet, "right", _written, after=after)
    events = partial(_segment, output="o.nrrd")
    yield case("events >/dev/full", events, "clear", after=">/dev/full")
    home = "unset HOME XDG_DATA_HOME MISFM_HOME"
    yield case("no home", _quiet, "right", _written, before=home)
