"""Files of ours: never half-written, never silently cut or replaced, never waited for.

Every result goes through `written_atomically`: written beside its place under a short name, flushed
to the disk, checked, then renamed. Small files are read back (`write_whole`); writers of libraries
that may go on over a full disk bring a check of their own.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from MISFMLib.errors import MISFMError, OutputError
from MISFMLib.replacing import finish_replacements, remove, replace, temporary_name

MOST_TEXT_BYTES = 64 * 2**20
"""No settings, split or job is longer."""
_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,5}){1,2}$")
_unfinished: set[Path] = set()


def check_output(
    path: Path, *, overwrite: bool, foreign: Callable[[Path], str] | None = None
) -> None:
    """Refuse a result that is already there, or whose place cannot be written to.

    Args:
        path: Where the result shall be.
        overwrite: Whether what is there may be replaced.
        foreign: For results that are folders: says why one that is there is none of ours, or
            nothing. Without it no folder is replaced.

    Raises:
        OutputError: `path` exists and may not be replaced, or its folder is read-only or a file.
    """
    try:
        _check_place(path)
        if foreign is not None:
            finish_replacements(path.parent)
        if not path.exists():
            return
    except OSError as error:
        raise output_error(error, path) from error
    if not overwrite:
        raise OutputError(
            f"{path} exists already.",
            code="output-exists",
            remedy="Choose another output, or allow replacing it with --overwrite.",
        )
    problem = _no_result(path, foreign)
    if problem:
        raise OutputError(
            f"{path} is not replaced: {problem}.",
            code="output-not-ours",
            remedy="Move it away, or choose another output.",
        )


def _check_place(path: Path) -> None:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if folder.is_dir() and os.access(folder, os.W_OK):
        return
    reason = "you may not write there" if folder.is_dir() else "it is a file, not a folder"
    raise OutputError(
        f"{path} cannot be written into {folder}: {reason}.",
        code="output-not-writable",
        remedy="Choose a folder where you may write.",
    )


def _no_result(path: Path, foreign: Callable[[Path], str] | None) -> str:
    """Say why what is at a place may not be replaced, or nothing."""
    if foreign is not None:
        if not path.is_dir():
            return "it is no folder, which the result is"
        return "" if not any(path.iterdir()) else foreign(path)
    if path.is_dir():
        return "it is a folder, the result is a file"
    return "" if path.is_file() else "it is a device or a pipe"


@contextlib.contextmanager
def written_atomically(
    path: Path,
    *,
    overwrite: bool = False,
    foreign: Callable[[Path], str] | None = None,
    check: Callable[[Path], None] | None = None,
) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; rename it when the block ends well.

    The temporary name keeps the suffix of `path`, since writers choose the format by it, and is
    short, since that of `path` may be as long as the file system allows. It may become a file or a
    folder. When the block raises, it is removed and `path` stays as it was.

    Args:
        path: Where the result shall be in the end; missing parent folders are made.
        overwrite: Replace a result that is already there.
        foreign: As in `check_output`.
        check: Looks at what was written, flushed to the disk; raises if it is not whole.

    Yields:
        The temporary path, which does not exist yet.

    Raises:
        OutputError: The result exists already, or its place is read-only or full.
    """
    check_output(path, overwrite=overwrite, foreign=foreign)
    temporary = path.with_name(temporary_name() + (_SUFFIX.search(path.name) or [""])[0])
    with unfinished(temporary):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            flush_to_disk(temporary)
            if check is not None:
                check(temporary)
            replace(temporary, path)
            _flush_folder(path.parent)
        except OSError as error:
            raise output_error(error, path) from error


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[None]:
    """Remove a temporary file or folder at the end of the block, or of this process."""
    _unfinished.add(path)
    try:
        yield
    finally:
        remove(path)
        _unfinished.discard(path)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, flush it to the disk and read it back; for parts of a result.

    Raises:
        OSError: It cannot be written, or the disk holds something else than what was written.
    """
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.read_bytes() != content:
        raise OSError(errno.EIO, "the disk holds something else than what was written")


def write_bytes(path: Path, content: bytes, *, overwrite: bool = False) -> None:
    """Write a result that is there as bytes.

    Raises:
        OutputError: The result exists already, or its place is read-only or full.
    """
    with written_atomically(path, overwrite=overwrite) as temporary:
        write_whole(temporary, content)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write text in UTF-8; a name that is no text, which file systems allow, as it came.

    Raises:
        OutputError: The result exists already, or its place is read-only or full.
    """
    write_bytes(path, text.encode("utf-8", "surrogateescape"), overwrite=overwrite)


def write_json(path: Path, content: Any, *, overwrite: bool = False) -> None:
    """Write JSON with two spaces of indent and a final line break."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n", overwrite=overwrite)


def flush_to_disk(path: Path) -> None:
    """Have the system write a file, or all files of a folder; errors that it kept come up here."""
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())


def read_text(path: Path, most_bytes: int = MOST_TEXT_BYTES) -> str:
    """Read a text file in UTF-8, with or without byte order mark.

    Raises:
        OSError: It cannot be read, or is a pipe or device, which might never end.
        ValueError: It is no text, or longer than any file of this kind.
    """
    with open_file(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it has more than {most_bytes / 2**20:.0f} MB")
    try:
        return str(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8 (byte {error.start})") from error


def open_file(path: Path) -> Any:
    """Open a regular file to read bytes; a pipe or device, which may never answer, is refused.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or device"
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
    return path.open("rb")


def real_path(path: Path) -> Path:
    """Return a path without links; one of links that lead in a circle stays as far as it goes."""
    return Path(os.path.realpath(path))


def read_json(path: Path, error_class: type[MISFMError], *, code: str, remedy: str) -> Any:
    """Read a JSON file that a person, another program or an earlier run has written.

    Args:
        path: The file.
        error_class: What to raise when it cannot be read.
        code: Code of that error.
        remedy: Remedy of that error.

    Raises:
        MISFMError: It is missing or no JSON, as `error_class`.
    """
    try:
        return parse_json(read_text(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise error_class(f"{path} cannot be read: {reason}.", code=code, remedy=remedy) from error


def read_json_object(
    path: Path, error_class: type[MISFMError], *, code: str, remedy: str
) -> dict[str, Any]:
    """Read a JSON file as `read_json` does, which has to hold an object."""
    content = read_json(path, error_class, code=code, remedy=remedy)
    if not isinstance(content, dict):
        raise error_class(f"{path} holds no JSON object.", code=code, remedy=remedy)
    return content


def parse_json(text: str) -> Any:
    """Read JSON.

    Raises:
        ValueError: It is none, or nested or long beyond any file of ours.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def remove_unfinished() -> None:
    """Remove every temporary result of this process; for a cancel that cannot unwind the stack."""
    for temporary in list(_unfinished):
        remove(temporary)


def _flush_folder(folder: Path) -> None:
    """Have the system write the names in a folder, where it can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def output_error(error: OSError, path: Path) -> OutputError:
    """Turn the system's refusal to write into our error."""
    # NumPy says without a number that fewer bytes were taken than it gave.
    is_cut = error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error))
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or is_cut:
        return OutputError(
            f"No space is left on the disk for {path}.",
            code="disk-full",
            remedy="Free some space or choose another output folder.",
        )
    remedies = {
        errno.EFBIG: "Raise the limit for the size of files (ulimit -f), or choose another folder.",
        errno.ENAMETOOLONG: "Choose a shorter name.",
        errno.EIO: "Check the disk, or choose another output folder.",
    }
    return OutputError(
        f"{path} cannot be written: {error.strerror or error}.",
        code="output-not-writable",
        remedy=remedies.get(error.errno or 0, "Choose a folder where you may write."),
    )
