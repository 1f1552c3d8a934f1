"""The table of a training store says the same after writing and reading, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from MISFMLib.data.store_index import (
    SETTINGS,
    StoreEntry,
    is_store,
    read_index,
    to_location,
    write_index,
)
from MISFMLib.errors import DataError

ENTRIES = [
    StoreEntry(
        path='LIDC, "IDRI"/a\nb/Lübeck.nii.gz',
        status="ok",
        modality="CT",
        orientation="LPS",
        shape_dhw=(10, 20, 30),
        spacing_dhw=(1.25, 0.1 + 0.2, 1e-3),
        sha256="ab",
        array="arrays/ab/ab.b2nd",
        signature="1:2:3",
    ),
    StoreEntry(path="b", series="1.2.3", reason="localizer", message="It is, a localizer."),
]


def test_the_table_holds_every_field_exactly(tmp_path):
    write_index(ENTRIES, tmp_path)
    assert read_index(str(tmp_path)) == ENTRIES


def test_a_table_that_says_the_same_is_not_touched(tmp_path):
    write_index(ENTRIES, tmp_path)
    before = (tmp_path / "index.csv").stat()
    write_index(ENTRIES, tmp_path)
    after = (tmp_path / "index.csv").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    write_index(ENTRIES[:1], tmp_path)
    assert read_index(str(tmp_path)) == ENTRIES[:1]


def test_a_store_that_is_not_there_or_not_finished_is_an_error(tmp_path):
    with pytest.raises(DataError) as caught:
        read_index(str(tmp_path))
    assert caught.value.code == "store-not-found"
    with pytest.raises(DataError) as caught:
        read_index("memory://nowhere")
    assert caught.value.code == "store-not-found"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("signature", "other"),
        ("10 20 30", "10 20"),
        ("10 20 30", "a few"),
        (",ok,", ",fine,"),
        (",CT,", ",PET,"),
        ("1:2:3", "1:2:3,more"),
        (",1:2:3", ""),
    ],
)
def test_a_damaged_table_is_an_error(old, new, tmp_path):
    write_index(ENTRIES, tmp_path)
    path = tmp_path / "index.csv"
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(DataError) as caught:
        read_index(str(tmp_path))
    assert caught.value.code == "store-unreadable"


@pytest.mark.parametrize(
    "location",
    [
        "s3://bucket/store",
        "memory://a/b",
        "simplecache::gs://bucket/a",
        "abfs+x://c/d",
        "/a/b",
        "a/b:c/d",
    ],
)
def test_a_location_survives_being_taken_for_a_path(location):
    assert to_location(Path(location)) == location


def test_stores_and_urls_are_told_from_folders(tmp_path):
    assert not is_store(tmp_path)
    assert is_store(Path("s3://bucket/store"))
    (tmp_path / SETTINGS).write_text("{}")
    assert is_store(tmp_path)
