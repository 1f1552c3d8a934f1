"""Volumes, folders of volumes and data sets that are damaged, odd or none."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import material
import numpy as np
import SimpleITK as sitk
from cases import Case

_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")


def _segment(folder: Path, name: str, output: str = "o.nrrd") -> list[str]:
    words = ["segment", name, "-m", str(material.model(folder)), "-o", output]
    return [*words, "--device", "cpu", "--threads", "1", "--events", "json"]


def _cut(suffix: str, share: float, folder: Path) -> list[str]:
    path = material.write_scan(folder / f"a{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return _segment(folder, path.name)


def _flipped(suffix: str, offset: int, folder: Path) -> list[str]:
    """Change one byte of a header to one that is next to it."""
    path = material.write_scan(folder / f"a{suffix}")
    content = bytearray(path.read_bytes())
    content[offset % len(content)] ^= 1
    path.write_bytes(content)
    return _segment(folder, path.name)


def _with(
    suffix: str, change: Callable[[sitk.Image], sitk.Image | None], folder: Path
) -> list[str]:
    path = material.write_scan(folder / f"a{suffix}", dtype="float32")
    image = sitk.ReadImage(str(path))
    image = change(image) or image
    sitk.WriteImage(image, str(path))
    return _segment(folder, path.name)


def _spacing(factor: float, image: sitk.Image) -> None:
    image.SetSpacing([factor * edge for edge in image.GetSpacing()])


def _voxel(value: float, image: sitk.Image) -> None:
    image.SetPixel(3, 4, 5, value)


def _content(name: str, content: bytes, folder: Path) -> list[str]:
    (folder / name).write_bytes(content)
    return _segment(folder, name)


def _special(kind: str, folder: Path) -> list[str]:
    path = folder / "a.nrrd"
    _make_special(kind, path)
    return _segment(folder, path.name)


def _make_special(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling link":
        path.symlink_to("nowhere.nrrd")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")


_SPECIAL = ("pipe", "dangling link", "loop", "device", "folder", "empty")


def _named(name: str, folder: Path) -> list[str]:
    material.write_scan(folder / "a.nrrd").rename(folder / name)
    return _segment(folder, name)


def _giant(edge: int, folder: Path) -> list[str]:
    path = material.write_scan(folder / "a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<8h", content, 40, 3, edge, edge, edge, 1, 1, 1, 1)
    path.write_bytes(content)
    return _segment(folder, path.name)


def _has_result(folder: Path) -> bool:
    return sitk.ReadImage(str(folder / "o.nrrd")).GetSize() == material.SHAPE[::-1]


def volumes() -> Iterator[Case]:
    """One volume that something is wrong with."""
    case = partial(Case, "volumes")
    for suffix in _SUFFIXES:
        for share in (0.0, 0.01, 0.1, 0.5, 0.9, 0.99):
            yield case(f"{suffix} cut to {share}", partial(_cut, suffix, share))
        for offset in range(0, 348, 12 if suffix == ".nii" else 24):
            make = partial(_flipped, suffix, offset)
            yield case(f"{suffix} byte {offset} changed", make, "either", _has_result)
        for factor in (0.0001, 100_000.0):
            change = partial(_spacing, factor)
            yield case(f"{suffix} spacing times {factor}", partial(_with, suffix, change))
        for value in (np.nan, np.inf, -np.inf):
            yield case(f"{suffix} {value}", partial(_with, suffix, partial(_voxel, value)))
        yield case(f"{suffix} text", partial(_content, f"a{suffix}", b"this is no image\n" * 50))
        yield case(f"{suffix} zeros", partial(_content, f"a{suffix}", bytes(5000)))
        yield case(f"{suffix} slice", partial(_with, suffix, lambda image: image[:, :, 5:6]))
        yield case(f"{suffix} constant", partial(_with, suffix, lambda image: image * 0))
    for edge in (0, -5, 1, 3000, 32000):
        yield case(f"edge {edge}", partial(_giant, edge))
    for kind in _SPECIAL:
        yield case(kind, partial(_special, kind))
    for name in (
        "a b.nrrd",
        "a\nb.nrrd",
        "体积.nrrd",
        "\udcff.nrrd",
        "-a.nrrd",
        f"{'n' * 240}.nrrd",
    ):
        yield case(repr(name)[:20], partial(_named, name), "either", _has_result)
    for name in ("a.jpg", "a", "a.tar.gz"):
        yield case(name, partial(_content, name, b"x"))
    yield case("missing", _missing)


def _missing(folder: Path) -> list[str]:
    return _segment(folder, "missing.nrrd")


def _mixed(kind: str, folder: Path) -> list[str]:
    """A folder with two good volumes and something else between them."""
    (folder / "scans").mkdir()
    for name in ("a", "c"):
        material.write_scan(folder / "scans" / f"{name}.nrrd")
    path = folder / "scans" / "b.nrrd"
    if kind in _SPECIAL:
        _make_special(kind, path)
    elif kind == "cut":
        path.write_bytes(material.write_scan(path).read_bytes()[:-500])
    elif kind == "loop of folders":
        (folder / "scans" / "again").symlink_to("..", target_is_directory=True)
    elif kind == "DICOM that is none":
        (folder / "scans" / "d").mkdir()
        (folder / "scans" / "d" / "x.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 64)
    elif kind == "table cut":
        (folder / "o").mkdir()
        (folder / "o" / "cases.csv").write_bytes(b"case,status\na,do")
    elif kind == "result cut":
        (folder / "o").mkdir()
        whole = material.write_labels(folder / "o" / "a.nrrd").read_bytes()
        (folder / "o" / "a.nrrd").write_bytes(whole[:-40])
    return [*_segment(folder, "scans", "o"), "--format", "nrrd"]


def _others_done(folder: Path) -> bool:
    sizes = [sitk.ReadImage(str(folder / "o" / f"{n}.nrrd")).GetSize() for n in "ac"]
    return sizes == [material.SHAPE[::-1]] * 2


def folders() -> Iterator[Case]:
    """Folders in which one thing is wrong: the others are segmented."""
    kinds = (*_SPECIAL, "cut", "loop of folders", "DICOM that is none", "table cut", "result cut")
    for kind in kinds:
        yield Case("folders", kind, partial(_mixed, kind), "right", _others_done)


_DESCRIPTIONS = (
    *(b"", b"{", b"[]", b"null", b"3", b"\xff\xfe", b"[" * 50_000, b'{"training": 3}'),
    *(b'{"training": []}', b'{"training": [3]}', b'{"training": [{"image": 1, "label": 2}]}'),
    *(b'{"training": [{"image": "images/c0.nii.gz"}]}', b'{"labels": 3, "training": [{}]}'),
    b'{"training": [{"image": "nowhere.nii.gz", "label": "nowhere.nii.gz"}]}',
)
_TABLES = (
    *(b"", b"image\n", b"image,label\n", b"a,b\n1,2\n", b"\xff\xfe\x00", b"image,label\nx\n"),
    *(b"image,label\nnowhere.nii.gz,nowhere.nii.gz\n", b'image,label\n"a', b"\0\0\0\n\0"),
)
_SPLITS = (
    *(b"", b"{", b"[]", b'{"train": 3}', b'{"train": [3], "validation": [[]]}', b'{"train": []}'),
    *(b'{"train": ["nobody"], "validation": []}', b'{"train": ["c0"], "validation": ["c0"]}'),
    *(b"[" * 50_000, b"null", b'{"train": "c0", "validation": null}'),
)


def _data(file: str, content: bytes, words: tuple[str, ...], folder: Path) -> list[str]:
    material.data_set(folder, 2)
    (folder / file).write_bytes(content)
    return ["finetune", *words, "-o", "m", *material.TRAIN, "--events", "json"]


def _pair(image: str, label: str, folder: Path) -> list[str]:
    material.data_set(folder, 2)
    for part, kind in (("images", image), ("labels", label)):
        path = folder / "set" / part / "c1.nii.gz"
        if kind == "cut":
            path.write_bytes(path.read_bytes()[:-300])
        elif kind != "good":
            path.unlink()
            _make_special(kind, path)
    return ["finetune", "set", "-o", "m", *material.TRAIN, "--events", "json"]


def data_sets() -> Iterator[Case]:
    """Labelled data sets whose description, split or files are damaged."""
    case = partial(Case, "data sets")
    for content in _DESCRIPTIONS:
        make = partial(_data, "set/dataset.json", content, ("set/dataset.json",))
        yield case(f"dataset.json {content[:30]!r}", make)
    for content in _TABLES:
        yield case(f"table {content[:30]!r}", partial(_data, "t.csv", content, ("t.csv",)))
    for content in _SPLITS:
        words = ("set", "--split", "s.json")
        yield case(f"split {content[:30]!r}", partial(_data, "s.json", content, words))
    for kind in ("cut", *_SPECIAL):
        yield case(f"image {kind}", partial(_pair, kind, "good"), "either")
        yield case(f"label {kind}", partial(_pair, "good", kind), "either")
