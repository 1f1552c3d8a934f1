"""Crops from a training store are those of the arrays that went in, wherever the store is."""

from __future__ import annotations

import concurrent.futures as cf
import contextlib
import hashlib
import importlib.util
import json
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from MISFMLib.data.crops import random_box
from MISFMLib.data.store_index import StoreEntry, write_index
from MISFMLib.data.stored_arrays import (
    StoredArrays,
    open_arrays,
    open_volumes,
    usable_entries,
    write_array,
)
from MISFMLib.data.unlabelled import PreparedVolumes
from MISFMLib.errors import DataError, OutputError

blosc2 = pytest.importorskip("blosc2")
fsspec = pytest.importorskip("fsspec")

SHAPES = ((70, 40, 33), (9, 130, 129), (8, 8, 8))


@pytest.fixture
def images_DHW(rng):
    return [rng.uniform(-1, 1, shape).astype(np.float16) for shape in SHAPES]


@pytest.fixture
def store(tmp_path, images_DHW):
    """A store of three arrays, made by hand."""
    entries = []
    for index, image_DHW in enumerate(images_DHW):
        array = f"arrays/0{index}/{index}.b2nd"
        write_array(image_DHW, tmp_path / array)
        entries.append(StoreEntry(path=f"{index}.nii", status="ok", array=array))
    entries.append(StoreEntry(path="bad.nii", reason="constant-volume"))
    write_index(entries, tmp_path)
    return tmp_path


def boxes(rng, shape):
    """Random boxes that lie inside a volume."""
    for _ in range(20):
        start = rng.integers(0, shape)
        yield (
            tuple(start.tolist()),
            tuple((1 + rng.integers(0, np.subtract(shape, start))).tolist()),
        )


def cut(image_DHW, start, size):
    return image_DHW[tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))]


def check_all(volumes, images_DHW, rng):
    assert len(volumes) == len(images_DHW)
    for index, image_DHW in enumerate(images_DHW):
        assert volumes.shape(index) == image_DHW.shape
        for start, size in boxes(rng, image_DHW.shape):
            box = volumes.crop(index, start, size)
            assert box.dtype == np.float16
            np.testing.assert_array_equal(box, cut(image_DHW, start, size))


def test_crops_equal_the_arrays(store, images_DHW, rng):
    check_all(open_arrays(str(store)), images_DHW, rng)


def test_a_store_behind_a_url_gives_the_same_crops(store, images_DHW, rng):
    if not hasattr(blosc2, "CachePolicy"):
        pytest.skip("this Blosc2 cannot read from URLs")
    memory = fsspec.filesystem("memory")
    memory.put(str(store), "/some/store", recursive=True)
    check_all(open_arrays("memory://some/store"), images_DHW, rng)
    # The command line takes locations for paths, which drops a slash.
    places = [Path(f"memory://some/store/arrays/0{index}/{index}.b2nd") for index in range(3)]
    check_all(open_volumes(places), images_DHW, rng)
    memory.rm("/some/store", recursive=True)


def test_a_url_needs_a_blosc2_that_can_read_from_it(monkeypatch):
    monkeypatch.delattr(blosc2, "CachePolicy", raising=False)
    with pytest.raises(Exception, match=r"4\.14") as caught:
        StoredArrays(("memory://nowhere/a.b2nd",)).shape(0)
    assert caught.value.code == "blosc2-too-old"


def test_a_crop_unpacks_only_the_blocks_that_it_touches(tmp_path, rng):
    # The chunks beyond the first are made unreadable: a reader that touched them would fail.
    path = tmp_path / "a.b2nd"
    image_DHW = rng.uniform(-1, 1, (192, 16, 16)).astype(np.float16)
    write_array(image_DHW, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    path.write_bytes(content)
    volumes = StoredArrays((str(path),))
    np.testing.assert_array_equal(volumes.crop(0, (0, 0, 0), (64, 16, 16)), image_DHW[:64])
    with contextlib.suppress(RuntimeError):
        assert not np.array_equal(volumes.crop(0, (64, 0, 0), (64, 16, 16)), image_DHW[64:128])


def test_threads_may_share_the_volumes(store, images_DHW):
    volumes = open_arrays(str(store))

    def all_equal(seed):
        check_all(volumes, images_DHW, np.random.default_rng(seed))
        return True

    with cf.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(all_equal, range(16)))


def test_a_spawned_process_may_be_given_the_volumes(store, images_DHW):
    volumes = open_arrays(str(store))
    assert pickle.loads(pickle.dumps(volumes)) == volumes
    context = multiprocessing.get_context("spawn")
    with cf.ProcessPoolExecutor(1, mp_context=context) as pool:
        box = pool.submit(volumes.crop, 0, (1, 2, 3), (4, 5, 6)).result()
    np.testing.assert_array_equal(box, cut(images_DHW[0], (1, 2, 3), (4, 5, 6)))


def test_random_boxes_reach_beyond_small_volumes(store, images_DHW, rng):
    box = random_box(open_arrays(str(store)), 2, (8, 12, 8), rng).numpy()
    start = next(
        start
        for start in range(-4, 1)
        if np.array_equal(box, np.pad(images_DHW[2], ((0, 0), (-start, 4 + start), (0, 0)), "edge"))
    )
    assert -4 <= start <= 0


def test_the_same_voxels_give_the_same_bytes(tmp_path, images_DHW):
    digests = set()
    for name in ("a.b2nd", "b.b2nd"):
        # Any memory order.
        write_array(images_DHW[0].copy(order="F"), tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_full_disk_leaves_no_array(tmp_path, images_DHW):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError) as caught:
            write_array(images_DHW[0], tmp_path / "a.b2nd")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "output-not-writable"
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_any_usable_volume_is_refused(tmp_path):
    write_index([StoreEntry(path="bad.nii", reason="constant-volume")], tmp_path)
    with pytest.raises(DataError) as caught:
        usable_entries(str(tmp_path))
    assert caught.value.code == "no-usable-volume"


def test_folders_of_a_training_open_as_before(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((3, 4, 5), np.float16))
    volumes = open_volumes([tmp_path])
    assert isinstance(volumes, PreparedVolumes)
    assert volumes.shape(0) == (3, 4, 5)


@pytest.mark.usefixtures("one_thread")
def test_a_crop_from_a_store_is_much_faster_than_unpacking_a_file(tmp_path):
    path = Path(__file__).resolve().parents[1] / "Benchmarks" / "crop_reading.py"
    spec = importlib.util.spec_from_file_location("crop_reading", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.main(["--quick", "--json", str(tmp_path / "times.json")])
    rows = json.loads((tmp_path / "times.json").read_text("utf-8"))["rows"]
    # 50 times for this small volume, 200 times for one of full size.
    assert rows["store"][0] < rows["nii.gz"][0] / 5
