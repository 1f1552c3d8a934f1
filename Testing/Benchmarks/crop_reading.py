"""Time of a random crop from a training store, against unpacking the whole volume for it.

    python Testing/Benchmarks/crop_reading.py [--quick] [--json FILE] [--image FILE]

The volume is a synthetic CT of 300 x 400 x 400 voxels (a body of noise in air), or one of yours;
the crops have 64 x 128 x 128 voxels. Times are those of one thread, in CPU milliseconds, which
other programs change less than time on the clock; the files are in the memory of the system. Zarr 3
is a row when it is installed. ``--quick`` takes a small volume; the test suite runs it too.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from MISFMLib.configs import PrepareConfig
from MISFMLib.data.stored_arrays import open_arrays
from MISFMLib.device import cpu_name
from MISFMLib.jobs.prepare.prepare import run_prepare
from MISFMLib.volumes.volume import read_volume

Crop = Callable[[tuple[int, int, int]], Any]


def write_ct(path: Path, shape_dhw: tuple[int, int, int]) -> None:
    """Write an elliptic body of noise around 40 HU with air in it and around it."""
    rng = np.random.default_rng(1)
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape_dhw), indexing="ij")
    array = rng.normal(-1000, 8, shape_dhw)
    array[x**2 + y**2 < 0.9] += 1040
    array[(x - 0.4) ** 2 + y**2 < 0.1] -= 850
    array[x**2 + y**2 < 0.9] += rng.normal(0, 12, np.count_nonzero(x**2 + y**2 < 0.9))
    image = sitk.GetImageFromArray(array.clip(-1024, 3071).astype(np.int16))
    sitk.WriteImage(image, str(path), useCompression=True)


def milliseconds(crop: Crop, starts: Sequence[tuple[int, int, int]]) -> float:
    """Return the median CPU time of a crop."""
    crop(starts[0])
    times = []
    for start in starts:
        began = time.process_time()
        crop(start)
        times.append(time.process_time() - began)
    return 1000 * statistics.median(times)


def box(start: tuple[int, int, int], size: tuple[int, int, int]) -> tuple[slice, ...]:
    """Return the slices of a box."""
    return tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))


def megabytes(path: Path) -> float:
    """Return the size of a file or folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def measure(image: Path, folder: Path, size: tuple[int, int, int], count: int) -> dict[str, Any]:
    """Prepare a volume and measure all ways to a crop."""
    began = time.process_time()
    run_prepare(PrepareConfig(data=(image,), output=folder / "store", workers=0))
    prepared_s = time.process_time() - began
    volumes = open_arrays(str(folder / "store"))
    shape = volumes.shape(0)
    rng = np.random.default_rng(2)
    starts = [tuple(rng.integers(0, np.subtract(shape, size) + 1).tolist()) for _ in range(count)]
    # Two are enough where each takes the same: the whole volume is unpacked.
    rows = {
        image.name.partition(".")[2]: (
            milliseconds(
                lambda start: read_volume(image).array_CDHW[0][box(start, size)], starts[:2]
            ),
            megabytes(image),
        ),
        "store": (
            milliseconds(lambda start: volumes.crop(0, start, size), starts),
            megabytes(folder / "store" / "arrays"),
        ),
    }
    add_zarr(rows, volumes.crop(0, (0, 0, 0), shape), folder / "a.zarr", starts, size)
    return {"shape": shape, "size": size, "prepared_s": prepared_s, "rows": rows}


def add_zarr(
    rows: dict[str, tuple[float, float]],
    image_DHW: np.ndarray,
    path: Path,
    starts: Sequence[tuple[int, int, int]],
    size: tuple[int, int, int],
) -> None:
    """Add a row for the same voxels in Zarr 3, where that is installed."""
    try:
        import zarr
        from zarr.codecs import BloscCodec
    except ImportError:
        return
    array = zarr.create_array(
        str(path),
        shape=image_DHW.shape,
        dtype=image_DHW.dtype,
        chunks=tuple(map(min, (32, 64, 64), image_DHW.shape)),
        compressors=BloscCodec(cname="lz4hc", clevel=5, shuffle="shuffle", typesize=2),
    )
    array[:] = image_DHW

    def crop(start: tuple[int, int, int]) -> Any:
        return zarr.open_array(str(path), mode="r")[box(start, size)]

    rows["zarr"] = (milliseconds(crop, starts), megabytes(path))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small volume")
    parser.add_argument("--image", type=Path, help="a CT of yours in place of the synthetic one")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    shape = (48, 96, 96) if options.quick else (300, 400, 400)
    size = (16, 48, 48) if options.quick else (64, 128, 128)
    with tempfile.TemporaryDirectory() as name:
        image = options.image or Path(name) / "ct.nii.gz"
        if options.image is None:
            write_ct(image, shape)
        result = measure(image, Path(name), size, 10 if options.quick else 50)
    print(f"{cpu_name()}, one thread; prepared in {result['prepared_s']:.1f} s of CPU")
    voxels = math.prod(result["shape"])
    for row, (milliseconds_, megabytes_) in result["rows"].items():
        print(
            f"{row:8}{milliseconds_:9.2f} ms per crop {1000 / milliseconds_:8.0f} crops/s "
            f"{megabytes_:7.1f} MB ({8e6 * megabytes_ / voxels:.1f} bits per voxel)"
        )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
