"""A file that brings its reader down costs its own case, and nothing else."""

from __future__ import annotations

import os
import pickle
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from MISFMLib.errors import BatchError, DataError, JobCancelled
from MISFMLib.volumes.reader_process import DIED, ReaderProcess
from MISFMLib.volumes.volume import Geometry, Volume, read_volume, write_volume

GRID = Geometry((9, 10, 11), (2.0, 0.5, 1.0), (10.0, 20.0, 30.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))


def fragile(path: Path, **options: object) -> Volume:
    """Read like `read_volume`; files of some names behave as damaged ones do in C++ code."""
    if path.name.startswith("deadly"):
        os.abort()
    if path.name.startswith("chatty"):
        os.write(1, b"ITK says something on stdout\n")
    if path.name.startswith("huge"):
        raise RuntimeError("Failed to allocate memory for image.")
    if path.name.startswith("slow"):
        time.sleep(600)
    return read_volume(path, **options)


def write_case(path, seed=0):
    values = np.random.default_rng(seed).integers(0, 500, GRID.shape_dhw).astype(np.int16)
    write_volume(Volume(values[None], GRID, path.name), path)
    return path


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with ReaderProcess(fragile) as reader:
        yield reader


def test_what_is_read_elsewhere_is_the_same(reader, tmp_path):
    path = write_case(tmp_path / "a.nrrd")
    here, there = read_volume(path), reader(path)
    assert np.array_equal(here.array_CDHW, there.array_CDHW)
    assert (here.geometry, here.name) == (there.geometry, there.name)
    assert there.array_CDHW.flags.writeable


def test_an_error_comes_back_as_it_is(reader, tmp_path):
    with pytest.raises(DataError) as caught:
        reader(tmp_path / "missing.nrrd")
    assert caught.value.code == "file-missing"
    assert caught.value.remedy


def test_a_reader_that_dies_is_said_so_and_the_next_volume_is_read(reader, tmp_path):
    deadly, good = write_case(tmp_path / "deadly.nrrd"), write_case(tmp_path / "good.nrrd")
    with pytest.raises(DataError, match=r"deadly\.nrrd died \(SIGABRT\)") as caught:
        reader(deadly)
    assert caught.value.code == DIED
    assert reader(good).geometry == GRID


def test_what_a_library_prints_is_no_voxel(reader, tmp_path):
    assert reader(write_case(tmp_path / "chatty.nrrd")).geometry == GRID


def test_memory_that_is_full_in_the_reader_is_told_as_here(reader, tmp_path):
    with pytest.raises(MemoryError, match="Failed to allocate"):
        reader(write_case(tmp_path / "huge.nrrd"))


@pytest.mark.signals
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_a_cancel_does_not_wait_for_the_reader(reader, tmp_path):
    def cancel(*_arguments):
        raise JobCancelled

    path = write_case(tmp_path / "slow.nrrd")
    before = signal.signal(signal.SIGALRM, cancel)
    signal.setitimer(signal.ITIMER_REAL, 2.0)
    started = time.monotonic()
    try:
        with pytest.raises(JobCancelled):
            reader(path)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < 4


def test_errors_pass_from_process_to_process():
    for error in (
        DataError("It.", code="a", remedy="Do."),
        JobCancelled(),
        BatchError("x", code="y", remedy=""),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), copy.message, copy.code, copy.remedy) == (
            type(error),
            error.message,
            error.code,
            error.remedy,
        )
