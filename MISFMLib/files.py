"""Writing results so that nothing is ever half-written or silently replaced."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from MISFMLib.errors import OutputError

_unfinished: set[Path] = set()


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a result that is already there, or whose place cannot be written to.

    Raises:
        OutputError: `path` exists and `overwrite` is false, or its folder is read-only or a file.
    """
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        reason = "you may not write there" if folder.is_dir() else "it is a file, not a folder"
        raise OutputError(
            f"{path} cannot be written into {folder}: {reason}.",
            code="output-not-writable",
            remedy="Choose a folder where you may write.",
        )
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already.",
            code="output-exists",
            remedy="Choose another output, or allow replacing it with --overwrite.",
        )


@contextlib.contextmanager
def written_atomically(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; rename it when the block ends well.

    The temporary name keeps the whole suffix of `path`, since writers choose the format by it. It
    may become a file or a folder. When the block raises, it is removed and `path` stays as it was.

    Args:
        path: Where the result shall be in the end; missing parent folders are made.
        overwrite: Replace a result that is already there.

    Yields:
        The temporary path, which does not exist yet.

    Raises:
        OutputError: The result exists already, or its place is read-only or full.
    """
    check_output(path, overwrite=overwrite)
    temporary = path.with_name(f".misfm-{uuid.uuid4().hex[:8]}-{path.name}")
    _unfinished.add(temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        raise _output_error(error, path) from error
    finally:
        _remove(temporary)
        _unfinished.discard(temporary)


def write_json(path: Path, content: Any, *, overwrite: bool = False) -> None:
    """Write JSON with two spaces of indent and a final line break."""
    with written_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def remove_unfinished() -> None:
    """Remove every temporary result of this process; for a cancel that cannot unwind the stack."""
    for temporary in list(_unfinished):
        _remove(temporary)


def _replace(temporary: Path, path: Path) -> None:
    if path.is_dir() and temporary.is_dir():
        # A folder cannot be renamed over another: move the old one aside first.
        aside = temporary.with_name(f"{temporary.name}.old")
        path.replace(aside)
        try:
            temporary.replace(path)
        except OSError:
            aside.replace(path)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    else:
        temporary.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # nothing was written, perhaps not even a parent folder
            path.unlink()


def _output_error(error: OSError, path: Path) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"No space is left on the disk for {path}.",
            code="disk-full",
            remedy="Free some space or choose another output folder.",
        )
    return OutputError(
        f"{path} cannot be written: {error.strerror or error}.",
        code="output-not-writable",
        remedy="Choose a folder where you may write.",
    )
