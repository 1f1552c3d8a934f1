"""Files of a model of another program, in a folder or a zip, whichever folders lie around them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from MISFMLib.errors import BundleError, DependencyError
from MISFMLib.files import output_error

_MAX_BYTES = 16 * 2**30
"""Five folds of the largest networks with their optimizers need half of it."""
_MAX_FILES = 20_000


@contextlib.contextmanager
def opened(path: Path, wanted: tuple[str, ...]) -> Iterator[Path]:
    """Give the folder of a model; of a zip, one to which the wanted files are unpacked meanwhile.

    Args:
        path: Folder or zip.
        wanted: Ends of the names that are unpacked, such as ``plans.json``.

    Raises:
        BundleError: It does not exist, is neither of both, or is not safe to unpack.
        OutputError: There is no space to unpack it.
    """
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise BundleError(
            f"{path} does not exist.", code="bundle-not-found", remedy="Check the path."
        )
    with tempfile.TemporaryDirectory(prefix="misfm-import-") as temporary:
        _unpack(path, Path(temporary), wanted)
        yield Path(temporary)


def within(folder: Path, path: str) -> Path | None:
    """Return a file of a folder by its path there; None where that leads out of the folder.

    A file may be a link, as all are in the cache of huggingface_hub.
    """
    folder = Path(os.path.normpath(folder.absolute()))
    file = Path(os.path.normpath(folder / path))
    return file if file.is_relative_to(folder) else None


def refused(what: str, remedy: str = "It cannot be imported.") -> BundleError:
    """Return the error for a model that cannot be imported, with the reason by name."""
    return BundleError(what, code="not-supported", remedy=remedy)


@contextlib.contextmanager
def understood(what: str) -> Iterator[None]:
    """Say of a description that lacks something, or has something else in its place, which it is.

    Args:
        what: The files that are read meanwhile, for the message.

    Raises:
        BundleError: Reading failed in a way that nothing else names.
    """
    try:
        yield
    except KeyError as error:
        raise _not_as_expected(f"{what} lack the entry {error}.") from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _not_as_expected(f"{what} are not as expected: {error}.") from error


def _not_as_expected(what: str) -> BundleError:
    return BundleError(what, code="model-file-damaged", remedy="Get the model again.")


def read_json(path: Path) -> Any:
    """Read a JSON file of a model, which holds an object.

    Raises:
        BundleError: It is missing or no JSON object.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
        if not isinstance(content, dict):
            raise ValueError("an object was expected in it")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(
            f"{path.name} of the model cannot be read: {error}.",
            code="model-file-damaged",
            remedy="Get the model again.",
        ) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of a model, which holds a mapping of plain values.

    Raises:
        BundleError: It is no such file.
        DependencyError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise DependencyError(
            f"{path.name} of the model is YAML, which PyYAML reads; it is not installed.",
            code="yaml-missing",
            remedy="Install it with: pip install pyyaml",
        ) from error
    with understood(path.name):
        try:
            content = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, RecursionError, yaml.YAMLError) as error:
            raise ValueError(error) from error
        if not isinstance(content, dict):
            raise ValueError("a mapping was expected in it")
        return content


def _unpack(path: Path, folder: Path, wanted: tuple[str, ...]) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            _refuse_unsafe(path, infos)
            infos = [i for i in infos if not i.is_dir() and i.filename.endswith(wanted)]
            _refuse_large(path, infos)
            for info in infos:
                target = folder / info.filename.replace("\\", "/")  # zipped by old Windows
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, 2**20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise output_error(error, folder) from error  # the zip may be in order
        raise BundleError(
            f"{path} cannot be unpacked: {error}.",
            code="bundle-damaged",
            remedy="Get the file again.",
        ) from error


def _refuse_unsafe(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    problems = []
    for info in infos:
        name = info.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if name.startswith(("/", "\\")) or ".." in parts or ":" in name:
            problems.append(f"{name!r} leads out of its folder")
        elif stat.S_ISLNK(info.external_attr >> 16):
            problems.append(f"{name!r} is a link")
        elif info.flag_bits & 1:
            problems.append(f"{name!r} is encrypted")
    if problems:
        raise BundleError(
            f"{path} is not safe to unpack: {'; '.join(problems[:5])}.",
            code="bundle-unsafe-zip",
            remedy="Do not use this file; get it from its authors.",
        )


def _refuse_large(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    total = sum(info.file_size for info in infos)
    if total > _MAX_BYTES or len(infos) > _MAX_FILES:
        raise BundleError(
            f"The models in {path} take {total / 2**30:.1f} GiB in {len(infos)} files, which is "
            "more than is unpacked here.",
            code="bundle-too-large",
            remedy="Unpack it yourself and give the folder of one model.",
        )
