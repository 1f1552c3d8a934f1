"""A result takes the place of another; a kill at any moment leaves the old one or the new one.

A file is renamed over a file in one step. No system does that with folders: the old one has to be
moved aside first. A note beside them tells where they belong, so that whoever looks next can finish
what a kill between the two renames has left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from MISFMLib.locks import take

TEMPORARY = ".misfm-"
"""How names of unfinished results begin."""
_NOTE, _ASIDE = ".note", ".old"
_owner = ""


def temporary_name() -> str:
    """Return a new name for an unfinished result, short and without ending."""
    return f"{TEMPORARY}{_owner}{uuid.uuid4().hex[:8]}"


def set_owner(name: str) -> None:
    """Have temporary names begin with the name of this process, empty for none.

    Whoever learns that it was killed removes with `remove_left` what it was writing.
    """
    global _owner
    _owner = name and f"{name}-"


@contextlib.contextmanager
def owned(name: str) -> Iterator[None]:
    """Have temporary names begin with this one for the block."""
    global _owner
    before = _owner
    set_owner(name)
    try:
        yield
    finally:
        _owner = before


def remove_left(folder: Path, owners: Collection[str]) -> None:
    """Remove the temporary results that processes have left which are no more.

    Args:
        folder: Where results go; it may not exist.
        owners: Names that the processes had given themselves by `set_owner`.
    """
    finish_replacements(folder)  # what one of them has moved aside is needed
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            owner = entry.name.removeprefix(TEMPORARY).partition("-")[0]
            if entry.name.startswith(TEMPORARY) and owner in owners:
                remove(Path(entry.path))


def remove(path: Path) -> None:
    """Remove a temporary file or folder, as far as it is there."""
    with contextlib.suppress(OSError):  # nothing was written, perhaps not even a parent folder
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def replace(temporary: Path, path: Path) -> None:
    """Rename a finished result to its place, over what is there.

    Args:
        temporary: The result, whole and flushed, beside `path`; its name begins with `TEMPORARY`.
        path: Its place.

    Raises:
        OSError: It cannot be renamed; what was there stays.
    """
    if not (path.is_dir() and temporary.is_dir()):
        temporary.replace(path)
        return
    aside, note = _beside(temporary, _ASIDE), _beside(temporary, _NOTE)
    try:
        with note.open("x", encoding="utf-8", errors="surrogateescape") as file:
            with contextlib.suppress(OSError):  # some file systems have no locks
                take(file)  # while it is held nobody else finishes this
            file.write(path.name)
            file.flush()
            os.fsync(file.fileno())
            _swap(temporary, path, aside)
    finally:
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
            note.unlink(missing_ok=True)


def _swap(temporary: Path, path: Path, aside: Path) -> None:
    path.replace(aside)
    try:
        temporary.replace(path)
    except BaseException:
        aside.replace(path)
        raise


def finish_replacements(folder: Path) -> None:
    """Put folders to their place that a kill has left beside it; what cannot be moved stays.

    Args:
        folder: Where they lie; it may not exist.
    """
    for note in folder.glob(f"{TEMPORARY}*{_NOTE}"):
        with (
            contextlib.suppress(OSError),
            note.open("r+", encoding="utf-8", errors="surrogateescape") as file,
        ):
            take(file)
            _finish(note, folder / Path(file.read()).name)


def _finish(note: Path, path: Path) -> None:
    temporary = note.with_name(note.name.removesuffix(_NOTE))
    aside = _beside(temporary, _ASIDE)
    for whole in (temporary, aside):  # the new one first: it was checked before the renames
        if path.name and not path.exists() and whole.exists():
            whole.replace(path)
    for rest in (temporary, aside):
        shutil.rmtree(rest, ignore_errors=True)
    note.unlink(missing_ok=True)


def _beside(temporary: Path, ending: str) -> Path:
    return temporary.with_name(temporary.name + ending)
