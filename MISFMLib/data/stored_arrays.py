"""Volumes of a training store: compressed in blocks, so that a crop costs only what it touches.

The format is Blosc2's NDArray (``.b2nd``, https://www.blosc.org/c-blosc2), one file per volume,
read from a disk or, through fsspec, by byte ranges from any URL. A crop of 64 x 128 x 128 out of a
CT of 300 x 400 x 400 voxels takes 2 to 3 ms of CPU; Zarr 3 takes four times as long with the same
compression, unpacking a .nii.gz two hundred times (`Testing/Benchmarks/crop_reading.py`).

Axes: D depth, H height, W width.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.configs import Size
from MISFMLib.data.crops import CropSource
from MISFMLib.data.store_index import StoreEntry, is_url, join, read_index, to_location
from MISFMLib.data.unlabelled import PreparedVolumes
from MISFMLib.errors import DataError, DependencyError, OutputError
from MISFMLib.files import written_atomically

_CHUNK, _BLOCK = (64, 128, 128), (32, 32, 32)
"""Voxels that are fetched, and unpacked, together."""
_SUFFIX = ".b2nd"
_OPEN_REMOTE_ARRAYS = 256


def write_array(image_DHW: npt.NDArray[np.float16], path: Path) -> None:
    """Write a volume compressed without loss; the same voxels give the same bytes.

    Raises:
        OutputError: It cannot be written.
    """
    import blosc2

    chunks = tuple(map(min, _CHUNK, image_DHW.shape))
    cparams = blosc2.CParams(
        codec=blosc2.Codec.LZ4HC,
        clevel=5,
        filters=[blosc2.Filter.SHUFFLE],
        typesize=image_DHW.itemsize,
        nthreads=1,
    )

    def check(temporary: Path) -> None:
        if not holds(temporary, image_DHW):
            raise OSError(errno.EIO, "the disk holds something else than what was written")

    with written_atomically(path, overwrite=True, check=check) as temporary:
        try:
            blosc2.asarray(
                np.ascontiguousarray(image_DHW),
                chunks=chunks,
                blocks=tuple(map(min, _BLOCK, chunks)),
                cparams=cparams,
                urlpath=str(temporary),
                mode="w",
            )
        except RuntimeError as error:  # all that Blosc2 says of a full disk
            raise OutputError(
                f"{path} cannot be written: {error}.",
                code="output-not-writable",
                remedy="Check that the folder is writable and the disk has room.",
            ) from error


def holds(path: Path, image_DHW: npt.NDArray[np.float16]) -> bool:
    """Tell whether a file is there that holds a volume, whole."""
    try:
        stored = _open(str(path))
        return bool(stored.shape == image_DHW.shape and (stored[:] == image_DHW).all())
    except (OSError, RuntimeError, ValueError):
        return False


@dataclass(frozen=True)
class StoredArrays:
    """Arrays of a store, each a volume from -1 to 1: a crop source.

    It holds no open files, so any number of threads may share it and processes may be given it.
    """

    locations: tuple[str, ...]
    """Path or URL of every array."""

    def __len__(self) -> int:
        """Return the number of volumes."""
        return len(self.locations)

    def shape(self, index: int) -> Size:
        """Return the voxels of a volume along its axes."""
        return _shape(self.locations[index])

    def crop(self, index: int, start: Size, size: Size) -> npt.NDArray[Any]:
        """Read a box that lies inside the volume, float16."""
        z, y, x = (slice(a, a + b) for a, b in zip(start, size, strict=True))
        box: npt.NDArray[Any] = _open(self.locations[index])[z, y, x]
        return box


def _open(location: str) -> Any:
    """Open an array; a handle is for one thread."""
    if is_url(location):
        return _open_remote(location, threading.get_ident())
    import blosc2

    return blosc2.open(location, mode="r", dparams=blosc2.DParams(nthreads=1))


@lru_cache(_OPEN_REMOTE_ARRAYS)
def _open_remote(location: str, thread: int) -> Any:  # noqa: ARG001 part of the key
    """Open an array once per thread: each opening would ask for the header again."""
    import blosc2

    if not hasattr(blosc2, "CachePolicy"):
        raise DependencyError(
            f"Blosc2 {blosc2.__version__} cannot read from URLs, 4.14 was expected.",
            code="blosc2-too-old",
            remedy="Install it: pip install 'blosc2>=4.14'; it needs Python 3.11.",
        )
    return blosc2.open(location, mode="r", lazy=True, cache_policy=blosc2.CachePolicy.NONE)


@cache
def _shape(location: str) -> Size:
    depth, height, width = _open(location).shape
    return depth, height, width


# ---------------------------------------------------------------------------------------- volumes


def open_volumes(places: Sequence[Path]) -> CropSource:
    """Open prepared volumes: arrays of a store, or folders that `prepare_file` left.

    Args:
        places: All of one kind.
    """
    if all(place.suffix == _SUFFIX for place in places):
        return StoredArrays(tuple(map(to_location, places)))
    return PreparedVolumes(places)


def usable_entries(location: str) -> list[StoreEntry]:
    """Return the rows of the volumes of a store to learn from.

    Raises:
        DataError: There is no finished store, it holds no such volume, or arrays were damaged.
    """
    usable = [entry for entry in read_index(location) if entry.status == "ok"]
    if not is_url(location):
        _check_whole([entry for entry in usable if not entry.is_whole(Path(location))], location)
    if not usable:
        raise DataError(
            f"The training store {location} holds no volume to learn from.",
            code="no-usable-volume",
            remedy="Its table says what is wrong with each.",
        )
    return usable


def _check_whole(damaged: Sequence[StoreEntry], location: str) -> None:
    if damaged:
        listed = ", ".join(f"{entry.array} ({entry.path})" for entry in damaged[:3])
        more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        raise DataError(
            f"The training store {location} is damaged: {listed}{more} is missing or has another "
            "size than it was written with.",
            code="store-damaged",
            remedy="Run the same `misfm prepare` again: it makes what is missing.",
        )


def open_arrays(location: str, entries: Sequence[StoreEntry] | None = None) -> StoredArrays:
    """Open volumes of a store: those of some rows, or all to learn from.

    Raises:
        DataError: There is no finished store, or it holds no volume to learn from.
    """
    entries = usable_entries(location) if entries is None else entries
    return StoredArrays(tuple(join(location, entry.array) for entry in entries))
