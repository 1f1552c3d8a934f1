"""torch.save with a checksum: a checkpoint in which one bit has changed is not taken for whole.

The file is the zip archive that torch writes; the SHA-256 of all that stands before it is the
archive's comment, its last 64 bytes. Any torch reads the file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO, Any

import torch

_END = b"PK\x05\x06"
"""Signature of the record that ends a zip archive; its last two bytes are the comment's length."""
_END_BYTES = 22
_DIGEST_BYTES = 64


def save_sealed(content: Any, path: Path) -> None:
    """Write tensors and plain containers, with their checksum.

    Raises:
        OSError: They cannot be written.
    """
    with path.open("xb") as file:
        seal = _Seal(file)
        try:
            torch.save(content, seal)  # type: ignore[arg-type]
        except RuntimeError:
            if seal.failure is not None:  # torch only says that the file is shorter than it thought
                raise seal.failure from None
            raise
        seal.close()


def is_sealed(path: Path) -> bool:
    """Tell whether a file is as `save_sealed` has written it.

    Raises:
        OSError: It cannot be read.
    """
    digest, left = hashlib.sha256(), path.stat().st_size - _DIGEST_BYTES
    with path.open("rb") as file:
        while left > 0:
            block = file.read(min(left, 1 << 20))
            if not block:
                return False
            digest.update(block)
            left -= len(block)
        return file.read() == digest.hexdigest().encode()


def has_no_seal(path: Path) -> bool:
    """Tell whether a file ends like one of torch.save, as earlier versions wrote checkpoints.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_BYTES))
        end = file.read()
    return end.startswith(_END) and end.endswith(b"\0\0")


class _Seal:
    """What torch writes into: hashes on the way, and holds the end back, which will change."""

    def __init__(self, file: IO[bytes]) -> None:
        self.failure: OSError | None = None
        self._file = file
        self._digest = hashlib.sha256()
        self._end = b""

    def write(self, data: bytes) -> int:
        """Write the next bytes."""
        if len(data) < _END_BYTES:
            data = self._end + data
            self._pass_on(data[:-_END_BYTES])
        else:
            self._pass_on(self._end)
            self._pass_on(memoryview(data)[:-_END_BYTES])
        self._end = bytes(data[-_END_BYTES:])
        return len(data)

    def flush(self) -> None:
        """Nothing to do: `close` follows."""

    def close(self) -> None:
        """Write the end with the checksum."""
        if not self._end.startswith(_END):
            raise OSError("torch did not write a zip archive")
        self._pass_on(self._end[:-2] + _DIGEST_BYTES.to_bytes(2, "little"))
        self._file.write(self._digest.hexdigest().encode())

    def _pass_on(self, data: bytes | memoryview) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            self.failure = error
            raise
        self._digest.update(data)
