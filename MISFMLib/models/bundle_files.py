"""The files of a bundle, in a folder or in a zip, read and packed without trusting either.

A zip is read where it is, never unpacked: names that lead elsewhere, links, encrypted members and
sizes beyond any model are refused before a byte is read. The same files always give the same zip.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from MISFMLib.errors import BundleError
from MISFMLib.files import MOST_TEXT_BYTES, open_file, write_whole

METADATA = "configs/metadata.json"
INFERENCE = "configs/inference.json"
WEIGHTS = "models/model.safetensors"
CARD = "docs/README.md"
LICENSE = "LICENSE"
PREVIOUS = "previous"
"""Folder of the model before in a cascade, itself a bundle."""
PARTS = "parts"
"""Folder of the models that segment together as one, each a bundle."""
_NESTED = re.compile(rf"^(?:{PREVIOUS}|{PARTS}(?:/[^/]+)?)(?:/|$)")
REQUIRED = (METADATA, INFERENCE, WEIGHTS, CARD, LICENSE)

MAX_BYTES = 4 * 2**30
"""No bundle is larger when unpacked; a zip that claims more is a zip bomb."""
MAX_FILES = 1000
_PICKLE_SUFFIXES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz")
_CODE_SUFFIXES = (".ts", ".py", ".pyc", ".so", ".dll")
_LEFT_BY_FILE_MANAGERS = (".DS_Store", "Thumbs.db", "desktop.ini")
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def list_files(path: Path) -> list[str]:
    """Return the names of a bundle's files, relative to its root, sorted, with forward slashes.

    Args:
        path: Bundle folder, or a zip that holds one, at its top or in one folder.

    Raises:
        BundleError: `path` is no bundle, lacks a file, is unsafe to unpack, or holds a file that
            can run code when it is loaded.
    """
    names = sorted(_zip_members(path)) if path.is_file() else _folder_files(path)
    unsafe = [name for name in names if name.lower().endswith(_PICKLE_SUFFIXES + _CODE_SUFFIXES)]
    if unsafe:
        raise BundleError(
            f"{path} holds {', '.join(unsafe)}, which can run code when it is loaded.",
            code="bundle-unsafe-file",
            remedy="Remove it; a bundle keeps its weights in models/model.safetensors.",
        )
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise BundleError(
            f"{path} lacks {', '.join(missing)}.",
            code="bundle-incomplete",
            remedy="Get the bundle again, or convert a published .pt with `misfm convert`.",
        )
    return names


def read_file(path: Path, name: str) -> bytes:
    """Return the content of one file of a bundle.

    Raises:
        BundleError: The file is missing or damaged.
    """
    most = MAX_BYTES if name == WEIGHTS else MOST_TEXT_BYTES
    if not path.is_file():
        try:
            with open_file(path / name) as file:
                _check_length(path, name, os.fstat(file.fileno()).st_size, most)
                content: bytes = file.read()
                return content
        except OSError as error:
            raise _damaged(path, f"{name}: {error.strerror or error}") from error
    members = _zip_members(path)
    if name not in members:
        raise _damaged(path, f"{name} is missing")
    _check_length(path, name, members[name].file_size, most)
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(members[name])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise _damaged(path, f"{name}: {error}") from error


def copy_files(path: Path, folder: Path) -> None:
    """Write the files of a bundle into a new folder."""
    for name in list_files(path):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, read_file(path, name))


def foreign_content(folder: Path) -> str:
    """Say what a folder holds that is no part of a bundle as we write it, or nothing."""
    if not (folder / METADATA).is_file():
        return "it is a folder, but no bundle of ours"
    rooms = {part.as_posix() for name in REQUIRED for part in PurePosixPath(name).parents}
    for path in sorted(folder.rglob("*")):
        name = _NESTED.sub("", path.relative_to(folder).as_posix()) or "."
        is_part = name in (rooms if path.is_dir() else REQUIRED) and not path.is_symlink()
        if not is_part and path.name not in _LEFT_BY_FILE_MANAGERS:
            return f"it holds {name}, which is no part of a bundle"
    return ""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of any size, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def pack_zip(contents: Mapping[str, bytes], path: Path) -> None:
    """Write a zip whose bytes depend on nothing but names and contents."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(contents):
            member = zipfile.ZipInfo(name, _ZIP_DATE)
            member.create_system = 3  # Unix, whichever system writes
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            # Stored, not compressed: weights hardly shrink, and zlib versions differ in bytes.
            archive.writestr(member, contents[name], zipfile.ZIP_STORED)


def _folder_files(path: Path) -> list[str]:
    if not path.is_dir():
        raise BundleError(
            f"{path} does not exist.",
            code="bundle-not-found",
            remedy="Check the path, or see `misfm models list` for installed models.",
        )
    if not (path / METADATA).is_file():
        raise _no_bundle(path, f"it lacks {METADATA}")
    files = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
    return sorted(file.as_posix() for file in files if not _is_clutter(file.parts))


def _zip_members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the bundle's files by their name below the bundle's root."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise _no_bundle(path, f"neither a folder nor a zip that can be read ({error})") from error
    _refuse_unsafe_members(path, infos)
    files = [info for info in infos if not _is_clutter(PurePosixPath(info.filename).parts)]
    root = _root(path, [info.filename for info in files])
    files = [info for info in files if info.filename.startswith(root)]
    members = {info.filename.removeprefix(root): info for info in files}
    if len(members) != len(files):
        raise _damaged(path, "it holds two files of one name")
    return members


def _refuse_unsafe_members(path: Path, infos: Iterable[zipfile.ZipInfo]) -> None:
    """Check what the zip's own table says; zipfile reads no more bytes than the table says."""
    problems, total, count = [], 0, 0
    for info in infos:
        total += info.file_size
        count += 1
        name = info.filename
        if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            problems.append(f"{name!r} leads out of the bundle")
        if stat.S_ISLNK(info.external_attr >> 16):
            problems.append(f"{name!r} is a link")
        if info.flag_bits & 1:
            problems.append(f"{name!r} is encrypted")
    if total > MAX_BYTES or count > MAX_FILES:
        problems.append(f"it would unpack to {count} files and {total / 2**30:.1f} GiB")
    if problems:
        raise BundleError(
            f"{path} is not safe to read: {'; '.join(problems[:5])}.",
            code="bundle-unsafe-zip",
            remedy="Do not use this file; get the bundle from its authors.",
        )


def _root(path: Path, names: Iterable[str]) -> str:
    """Return the folder inside the zip that holds the bundle, with its slash, or nothing."""
    roots = [name.removesuffix(METADATA) for name in names if f"/{name}".endswith(f"/{METADATA}")]
    roots = [root for root in roots if not _is_nested(root)]
    if len(roots) != 1:
        raise _no_bundle(path, f"it holds {len(roots)} files {METADATA}, one was expected")
    return roots[0]


def _check_length(path: Path, name: str, length: int, most: int) -> None:
    if length > most:
        raise _damaged(path, f"{name} has {length / 2**20:.0f} MB, at most {most / 2**20:.0f}")


def _is_nested(root: str) -> bool:
    """Tell whether a folder is that of a bundle within a bundle."""
    parts = PurePosixPath(root).parts
    return parts[-1:] == (PREVIOUS,) or parts[-2:-1] == (PARTS,)


def _is_clutter(parts: tuple[str, ...]) -> bool:
    """Tell what file managers leave behind, such as .DS_Store and __MACOSX."""
    return any(part.startswith((".", "__")) for part in parts)


def _no_bundle(path: Path, why: str) -> BundleError:
    return BundleError(
        f"{path} is no bundle: {why}.",
        code="not-a-bundle",
        remedy="Give a bundle folder or zip; convert a published .pt with `misfm convert`.",
    )


def _damaged(path: Path, what: str) -> BundleError:
    return BundleError(
        f"{path} is damaged: {what}.",
        code="bundle-damaged",
        remedy="Get the bundle again.",
    )
