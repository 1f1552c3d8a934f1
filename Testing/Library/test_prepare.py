"""Folders of volumes become a training store: complete, the same from any run, whatever happens."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk

from MISFMLib import cli
from MISFMLib.configs import PrepareConfig
from MISFMLib.data.store_building import read_recipe
from MISFMLib.data.store_index import read_index
from MISFMLib.data.stored_arrays import open_arrays, usable_entries
from MISFMLib.errors import ConfigError, DataError, DeviceError, OutputError
from MISFMLib.events import CaseDone, Notice, Progress
from MISFMLib.jobs import workers as workers_module
from MISFMLib.jobs.prepare import prepare as prepare_job
from MISFMLib.jobs.prepare.prepare import run_prepare
from MISFMLib.jobs.workers import open_workers

pytest.importorskip("blosc2")
REPOSITORY = Path(__file__).resolve().parents[2]


def write(path, array_DHW, spacing_dhw=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array_DHW)
    image.SetSpacing(spacing_dhw[::-1])
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def a_ct(rng, shape=(10, 16, 18)):
    """A body of noise around 50 HU in air."""
    array = np.full(shape, -1000, np.int16)
    array[:, 4:-4, 4:-4] = rng.normal(50, 40, array[:, 4:-4, 4:-4].shape)
    return array


def an_mr(rng, shape=(12, 14, 16)):
    return rng.integers(1, 1000, shape).astype(np.int16)


def write_series(folder, array_DHW, *, modality="CT", uid="1.2.3", image_type="ORIGINAL"):
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index, plane in enumerate(array_DHW):
        image = sitk.GetImageFromArray(plane[np.newaxis])
        fields = {
            "0008|0008": image_type,
            "0008|0018": f"{uid}.{index}",
            "0008|0060": modality,
            "0020|000e": uid,
            "0020|0032": f"0\\0\\{index}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for key, value in fields.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{uid}-{index}.dcm"))
        writer.Execute(image)


@pytest.fixture
def scans(tmp_path, rng):
    """Three volumes, and one of them once more in another format."""
    folder = tmp_path / "scans"
    ct = a_ct(rng)
    write(folder / "a/ct.nii.gz", ct)
    write(folder / "b/mr.mha", an_mr(rng))
    write(folder / "b/other.nrrd", a_ct(rng))
    write(folder / "c/copy of ct.nrrd", ct.astype(np.float32))
    return folder


@pytest.fixture
def config(scans, tmp_path):
    def make(**options):
        defaults = {"data": (scans,), "output": tmp_path / "store", "workers": 0}
        return PrepareConfig(**defaults | options)

    return make


def rows(store):
    return {entry.path: entry for entry in read_index(str(store))}


def reasons(store):
    return {path: entry.reason or entry.status for path, entry in rows(store).items()}


def contents(store):
    """Hash of every file of a store."""
    return {
        file.relative_to(store).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(store.rglob("*"))
        if file.is_file()
    }


def times(store):
    return {file: file.stat().st_mtime_ns for file in store.rglob("*") if file.is_file()}


# ------------------------------------------------------------------------------------- the volumes


def test_a_link_that_leads_nowhere_costs_only_its_own_volume(config, scans, tmp_path, rng):
    """As those of DataLad, which fetches files when they are asked for."""
    elsewhere = tmp_path / "elsewhere.nrrd"
    (scans / "b/link.nrrd").symlink_to(elsewhere)
    run_prepare(config())
    assert reasons(tmp_path / "store")["scans/b/link.nrrd"] == "file-missing"
    write(elsewhere, an_mr(rng))
    report = run_prepare(config())
    assert (report["prepared"], reasons(tmp_path / "store")["scans/b/link.nrrd"]) == (1, "ok")


def test_a_volume_is_cropped_scaled_and_stored(tmp_path, rng):
    ct = a_ct(rng)
    ct[5, 8, 8], ct[5, 8, 9] = 3000, -3000
    write(tmp_path / "scans/ct.nii.gz", ct, (2.5, 0.7, 0.8))
    report = run_prepare(
        PrepareConfig(data=(tmp_path / "scans",), output=tmp_path / "store", workers=0)
    )
    (entry,) = read_index(str(tmp_path / "store"))
    # Three voxels are left around the body.
    body = ct[:, 1:-1, 1:-1]
    assert (entry.path, entry.status, entry.modality) == ("scans/ct.nii.gz", "ok", "CT")
    assert (entry.orientation, entry.shape_dhw) == ("LPS", body.shape)
    assert entry.spacing_dhw == pytest.approx((2.5, 0.7, 0.8))
    volumes = open_arrays(str(tmp_path / "store"))
    expected = (body.clip(-1000, 1000) / np.float32(1000)).astype(np.float16)
    np.testing.assert_array_equal(volumes.crop(0, (0, 0, 0), body.shape), expected)
    assert (report["usable"], report["modalities"]) == (1, {"CT": 1})
    assert report["bytes"] == (tmp_path / "store" / entry.array).stat().st_size


def test_an_mr_keeps_its_percentiles(config, scans, tmp_path):
    run_prepare(config())
    volumes, entries = open_arrays(str(tmp_path / "store")), rows(tmp_path / "store")
    assert entries["scans/b/mr.mha"].modality == "other"
    index = [entry.path for entry in entries.values() if entry.status == "ok"].index(
        "scans/b/mr.mha"
    )
    image = volumes.crop(index, (0, 0, 0), volumes.shape(index)).astype(np.float32)
    low, high = np.percentile(
        sitk.GetArrayFromImage(sitk.ReadImage(str(scans / "b/mr.mha"))), (0.5, 99.5)
    )
    raw = sitk.GetArrayFromImage(sitk.ReadImage(str(scans / "b/mr.mha")))
    expected = (raw.clip(low, high) - low) / (high - low) * 2 - 1
    np.testing.assert_allclose(image, expected, atol=1e-3)


def test_voxels_are_resampled_when_asked(config, scans, tmp_path, rng):
    write(scans / "b/mr.mha", an_mr(rng, (16, 18, 20)))
    run_prepare(config(spacing_dhw=(2.0, 2.0, 2.0)))
    entry = rows(tmp_path / "store")["scans/b/mr.mha"]
    assert (entry.shape_dhw, entry.spacing_dhw) == ((8, 9, 10), (2.0, 2.0, 2.0))


def test_modality_and_intensities_can_be_set(config, scans, tmp_path):
    run_prepare(config(modality="MR", intensity="ct-clip"))
    entry = rows(tmp_path / "store")["scans/b/mr.mha"]
    assert entry.modality == "MR"
    image = open_arrays(str(tmp_path / "store"), [entry]).crop(0, (0, 0, 0), entry.shape_dhw)
    raw = sitk.GetArrayFromImage(sitk.ReadImage(str(scans / "b/mr.mha")))
    np.testing.assert_array_equal(image, (raw / np.float32(1000)).astype(np.float16))


def test_copies_count_once_whatever_their_format(config, tmp_path):
    report = run_prepare(config())
    entries = rows(tmp_path / "store")
    copy = entries["scans/c/copy of ct.nrrd"]
    assert (copy.status, copy.reason) == ("duplicate", "same-voxels")
    assert "scans/a/ct.nii.gz" in copy.message
    assert copy.array == entries["scans/a/ct.nii.gz"].array
    assert (report["usable"], report["duplicates"]) == (3, 1)
    assert len(list((tmp_path / "store/arrays").rglob("*.b2nd"))) == 3


def test_every_series_of_a_dicom_folder_is_a_volume(tmp_path, rng):
    folder = tmp_path / "scans/patient"
    write_series(folder, a_ct(rng), uid="1.2.3")
    write_series(folder, an_mr(rng), uid="1.2.4", modality="MR")
    write_series(folder, an_mr(rng), uid="1.2.5", modality="PT")
    write_series(folder, a_ct(rng), uid="1.2.6", image_type="ORIGINAL\\PRIMARY\\LOCALIZER")
    run_prepare(PrepareConfig(data=(folder,), output=tmp_path / "store", workers=0))
    entries = {entry.series: entry for entry in read_index(str(tmp_path / "store"))}
    assert {uid: entry.reason or entry.modality for uid, entry in entries.items()} == {
        "1.2.3": "CT",
        "1.2.4": "MR",
        "1.2.5": "other-modality",
        "1.2.6": "localizer",
    }


def break_files(folder, rng):
    """Write one file of every kind that goes wrong; return the reason for each."""
    ct = a_ct(rng)
    good = write(folder / "good.nii.gz", ct)
    data = good.read_bytes()
    (folder / "truncated.nii.gz").write_bytes(data[: len(data) // 2])
    (folder / "empty.nii").write_bytes(b"")
    (folder / "text.nrrd").write_text("These are no voxels.")
    write(folder / "constant.nii.gz", np.full((10, 12, 14), 7, np.int16))
    not_finite = ct.astype(np.float32)
    not_finite[3, 4, 5] = np.nan
    write(folder / "nan.nii.gz", not_finite)
    write(folder / "localizer.nii.gz", a_ct(rng, (3, 40, 40)))
    write(folder / "flat.nii.gz", ct[0])
    write(folder / "far apart.nii.gz", a_ct(rng), (12.0, 1.0, 1.0))
    holes = a_ct(rng)
    holes[4] = -1000
    write(folder / "holes.nii.gz", holes)
    labels = np.zeros((10, 12, 14), np.uint8)
    labels[2:8, 2:9, 3:8] = 1
    write(folder / "somebody's contours.nii.gz", labels)
    write(folder / "only air.nii.gz", rng.integers(-3000, -1000, (10, 12, 14)).astype(np.int16))
    colours = sitk.GetImageFromArray(
        rng.integers(0, 255, (9, 9, 9, 3)).astype(np.uint8), isVector=True
    )
    sitk.WriteImage(colours, str(folder / "colours.mha"))
    series = folder / "damaged series"
    write_series(series, a_ct(rng))
    first = sorted(series.iterdir())[0]
    first.write_bytes(first.read_bytes()[:500])
    return {
        "good.nii.gz": "ok",
        "truncated.nii.gz": "file-truncated",
        "empty.nii": "file-truncated",
        "text.nrrd": "not-an-image",
        "constant.nii.gz": "constant-volume",
        "nan.nii.gz": "not-finite",
        "localizer.nii.gz": "too-few-slices",
        "flat.nii.gz": "two-dimensional",
        "far apart.nii.gz": "coarse-voxels",
        "holes.nii.gz": "missing-slices",
        "somebody's contours.nii.gz": "label-map",
        "only air.nii.gz": "nothing-left",
        "colours.mha": "colour-image",
        "damaged series": "dicom-damaged",
    }


def test_volumes_that_fail_are_quarantined_with_the_reason_and_stop_nothing(tmp_path, rng):
    expected = break_files(tmp_path / "scans", rng)
    events = []
    config = PrepareConfig(data=(tmp_path / "scans",), output=tmp_path / "store", workers=0)
    report = run_prepare(config, events.append)
    assert reasons(tmp_path / "store") == {f"scans/{name}": why for name, why in expected.items()}
    assert report["usable"] == 1
    assert sum(report["quarantined"].values()) == len(expected) - 1
    told = {event.case for event in events if isinstance(event, CaseDone)}
    assert told == {f"scans/{name}" for name in expected if name != "good.nii.gz"}
    # Folders of one machine say nothing elsewhere.
    assert str(tmp_path) not in (tmp_path / "store/index.csv").read_text("utf-8")


def test_validation_cases_of_a_data_set_and_their_copies_stay_out(tmp_path, rng):
    root, entries = tmp_path / "set", []
    for name in "ab":
        write(root / f"imagesTr/{name}.nii", an_mr(rng))
        write(root / f"labelsTr/{name}.nii", an_mr(rng))
        entries.append({"image": f"imagesTr/{name}.nii", "label": f"labelsTr/{name}.nii"})
    split = {"train": ["a"], "validation": ["b"]}
    content = {"modality": {"0": "MR"}, "training": entries, "split": split}
    (root / "dataset.json").write_text(json.dumps(content))
    copy = sitk.ReadImage(str(root / "imagesTr/b.nii"))
    (tmp_path / "elsewhere").mkdir()
    sitk.WriteImage(copy, str(tmp_path / "elsewhere/copy.mha"))
    config = PrepareConfig(
        data=(root, tmp_path / "elsewhere"), output=tmp_path / "store", workers=0
    )
    events = []
    for _ in range(2):
        run_prepare(config, events.append)
        assert reasons(tmp_path / "store") == {
            "elsewhere/copy.mha": "held-out",
            "set/imagesTr/a.nii": "ok",
            "set/imagesTr/b.nii": "held-out",
        }
    assert rows(tmp_path / "store")["set/imagesTr/a.nii"].modality == "MR"
    assert [event.status for event in events if isinstance(event, CaseDone)] == ["skipped"]
    # When it is no longer held out, it and its copy count once.
    content["split"] = {"train": ["a", "b"], "validation": []}
    (root / "dataset.json").write_text(json.dumps(content))
    run_prepare(config)
    assert list(reasons(tmp_path / "store").values()) == ["ok", "ok", "same-voxels"]


def write_channels(folder, rng, cases=("a", "b")):
    """A data set of the Decathlon whose channels are the fourth axis of a file."""
    for name in cases:
        channels = [sitk.GetImageFromArray(an_mr(rng)) for _ in range(2)]
        image = folder / f"imagesTr/{name}.nii.gz"
        image.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(sitk.JoinSeries(channels), str(image))
        write(folder / f"labelsTr/{name}.nii.gz", np.ones((12, 14, 16), np.uint8))
    entries = [
        {"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"} for name in cases
    ]
    content = {"training": entries, "modality": {"0": "T2 MRI", "1": "ADC MRI"}}
    (folder / "dataset.json").write_text(json.dumps(content))


def test_every_channel_of_a_file_is_a_volume(tmp_path, rng):
    folder, store = tmp_path / "prostate", tmp_path / "store"
    write_channels(folder, rng)
    channels = [sitk.GetImageFromArray(an_mr(rng)) for _ in range(2)]
    (folder / "imagesTs").mkdir()
    sitk.WriteImage(sitk.JoinSeries(channels), str(folder / "imagesTs/c.nii.gz"))
    report = run_prepare(PrepareConfig(data=(folder,), output=store, workers=0))
    assert (report["usable"], report["modalities"]) == (6, {"MR": 6})
    keys = [entry.key for entry in read_index(str(store))]
    assert ("prostate/imagesTs/c.nii.gz", "channel 2") in keys
    again = run_prepare(PrepareConfig(data=(folder,), output=store, workers=0))
    assert again["prepared"] == 0


def test_a_ct_that_is_not_in_hu_is_quarantined(tmp_path, rng):
    write_series(tmp_path / "scans/raw", rng.integers(0, 2000, (10, 12, 14)).astype(np.int16))
    write_series(tmp_path / "scans/hu", a_ct(rng), uid="1.2.9")
    run_prepare(PrepareConfig(data=(tmp_path / "scans",), output=tmp_path / "store", workers=0))
    assert reasons(tmp_path / "store") == {"scans/raw": "not-hounsfield", "scans/hu": "ok"}


def test_a_volume_too_large_for_the_memory_is_quarantined(config, tmp_path, monkeypatch):
    from MISFMLib.data import store_building

    def read(path, series=None, num_channels=1):
        raise MemoryError

    monkeypatch.setattr(store_building, "read_volume", read)
    with pytest.raises(DataError) as caught:
        run_prepare(config())
    assert caught.value.code == "no-usable-volume"
    assert set(reasons(tmp_path / "store").values()) == {"out-of-memory"}


def test_a_library_that_stumbles_over_a_volume_stops_nothing(config, tmp_path, monkeypatch):
    from MISFMLib.data import store_building

    real = store_building.read_volume

    def read(path, series=None, num_channels=1):
        if path.name == "mr.mha":
            raise ZeroDivisionError("by zero")
        if path.name == "other.nrrd":
            raise RuntimeError("ITK says\nmany things")
        return real(path, series=series)

    monkeypatch.setattr(store_building, "read_volume", read)
    assert run_prepare(config())["quarantined"] == {"unexpected-error": 2}
    found = rows(tmp_path / "store")
    assert found["scans/b/mr.mha"].message == "ZeroDivisionError: by zero"
    assert found["scans/b/other.nrrd"].message == "RuntimeError: ITK says many things"


def test_a_full_disk_is_nobodys_fault_but_the_disks(config, tmp_path, monkeypatch):
    from MISFMLib.data import store_building

    def write_nothing(image_DHW, path):
        raise OutputError("full", code="disk-full", remedy="")

    monkeypatch.setattr(store_building, "write_array", write_nothing)
    with pytest.raises(OutputError) as caught:
        run_prepare(config())
    assert caught.value.code == "disk-full"
    monkeypatch.undo()
    assert run_prepare(config())["usable"] == 3


# ------------------------------------------------------------------------------- again and again


def test_run_twice_it_changes_nothing(config, tmp_path):
    events = []
    first = run_prepare(config())
    files, written = contents(tmp_path / "store"), times(tmp_path / "store")
    second = run_prepare(config(), events.append)
    assert contents(tmp_path / "store") == files
    assert times(tmp_path / "store") == written
    assert (first["prepared"], second["prepared"]) == (4, 0)
    assert second["usable"] == first["usable"]
    assert Notice("4 were prepared already.", "info") in events


def test_what_is_new_is_added_and_what_has_changed_is_prepared_again(config, scans, tmp_path, rng):
    run_prepare(config())
    before = rows(tmp_path / "store")
    write(
        scans / "a/a copy.nii.gz",
        sitk.GetArrayFromImage(sitk.ReadImage(str(scans / "a/ct.nii.gz"))),
    )
    write(scans / "b/other.nrrd", a_ct(rng))
    assert run_prepare(config())["prepared"] == 2
    after = rows(tmp_path / "store")
    # What counted before goes on to count, although the copy has the earlier name.
    assert after["scans/a/a copy.nii.gz"].status == "duplicate"
    assert after["scans/a/ct.nii.gz"] == before["scans/a/ct.nii.gz"]
    old, new = before["scans/b/other.nrrd"], after["scans/b/other.nrrd"]
    assert not (tmp_path / "store" / old.array).exists()
    assert (tmp_path / "store" / new.array).exists()


def test_sources_that_are_gone_stay_in_the_store(config, scans, tmp_path):
    run_prepare(config())
    files = contents(tmp_path / "store")
    shutil.rmtree(scans / "b")
    run_prepare(config())
    assert contents(tmp_path / "store") == files


def test_volumes_that_a_folder_of_the_same_name_replaces_or_lacks_are_told(config, tmp_path, rng):
    other = tmp_path / "second hospital" / "scans"
    write(other / "a/ct.nii.gz", a_ct(rng))
    write(other / "d/ct.nii.gz", a_ct(rng))
    told = []
    for folder in (None, None, other):
        heard = []
        run_prepare(config() if folder is None else config(data=(folder,)), heard.append)
        told.append([event.message for event in _warnings(heard)])
    assert told[:2] == [[], []]
    changed, gone = told[2]
    assert "1 volumes are others than those of these names in the store" in changed
    assert "scans/a/ct.nii.gz" in changed
    assert "3 volumes of the store are no longer in scans" in gone
    assert "scans/b/mr.mha" in gone


def _warnings(events):
    return [event for event in events if isinstance(event, Notice) and event.level == "warning"]


def test_a_copy_takes_the_place_of_an_original_that_changed(config, scans, tmp_path, rng):
    run_prepare(config())
    write(scans / "a/ct.nii.gz", a_ct(rng))
    run_prepare(config())
    found = rows(tmp_path / "store")
    assert found["scans/c/copy of ct.nrrd"].status == "ok"
    assert (tmp_path / "store" / found["scans/c/copy of ct.nrrd"].array).exists()


def test_a_lost_array_is_made_again(config, tmp_path):
    run_prepare(config())
    files = contents(tmp_path / "store")
    (tmp_path / "store" / rows(tmp_path / "store")["scans/b/mr.mha"].array).unlink()
    assert run_prepare(config())["prepared"] == 1
    assert contents(tmp_path / "store") == files


def test_quarantined_volumes_are_tried_again_only_when_asked(config, scans, tmp_path):
    path = scans / "b/mr.mha"
    data, facts = path.read_bytes(), path.stat()
    path.write_bytes(data[:-20] + bytes(20))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert run_prepare(config())["usable"] == 2
    # Repaired in such a way that size and time are the same.
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert run_prepare(config())["prepared"] == 0
    assert run_prepare(config(retry_quarantined=True))["usable"] == 3


def test_a_store_is_not_mixed_from_two_recipes(config, tmp_path):
    run_prepare(config())
    with pytest.raises(ConfigError) as caught:
        run_prepare(config(spacing_dhw=(2.0, 2.0, 2.0)))
    assert caught.value.code == "store-settings"
    assert "spacing_dhw was None and is [2.0, 2.0, 2.0]" in str(caught.value)
    assert read_recipe(str(tmp_path / "store")).limits.min_edge == 8


def test_a_folder_of_something_else_is_left_alone(config, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/thesis.txt").write_text("years of work")
    with pytest.raises(OutputError) as caught:
        run_prepare(config())
    assert caught.value.code == "output-exists"
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["thesis.txt"]


def test_two_runs_on_one_store_would_disturb_each_other(config, tmp_path):
    codes = []

    def start_another(event):
        if isinstance(event, Progress) and event.stage == "prepare" and not codes:
            with pytest.raises(OutputError) as caught:
                run_prepare(config())
            codes.append(caught.value.code)

    run_prepare(config(), start_another)
    assert codes == ["store-busy"]
    run_prepare(config())


@pytest.mark.parametrize("content", ["{", '{"format": 2}', '{"format": 1, "colour": "red"}', "{}"])
def test_a_store_of_another_version_is_refused(content, tmp_path):
    (tmp_path / "store.json").write_text(content)
    with pytest.raises(DataError) as caught:
        read_recipe(str(tmp_path))
    assert caught.value.code == "store-unreadable"


# ------------------------------------------------------------------------------ kills and workers


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
import psutil
from MISFMLib.configs import PrepareConfig
from MISFMLib.events import Progress
from MISFMLib.jobs.prepare.prepare import run_prepare

def kill_after_half(event):
    if isinstance(event, Progress) and event.stage == "prepare" and event.fraction >= 0.5:
        print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    scans, store = map(Path, sys.argv[1:3])
    config = PrepareConfig(data=(scans,), output=store, workers=int(sys.argv[3]))
    run_prepare(config, kill_after_half)
"""


def run_and_kill(scans, store, workers, tmp_path):
    """Start a run that is killed when half of its volumes are done; return its children."""
    script = tmp_path / "killed_run.py"
    script.write_text(textwrap.dedent(KILLED_RUN))
    command = [sys.executable, str(script), str(scans), str(store), str(workers)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    return [int(word) for word in result.stdout.split()]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_to_the_same_store(workers, config, scans, tmp_path):
    run_prepare(config(output=tmp_path / "whole"))
    children = run_and_kill(scans, tmp_path / "store", workers, tmp_path)
    assert bool(children) == bool(workers)
    deadline = time.monotonic() + 20
    while any(map(psutil.pid_exists, children)):
        assert time.monotonic() < deadline, "worker processes outlive a killed run"
        time.sleep(0.1)
    store = tmp_path / "store"
    assert not (store / "index.csv").exists()
    done = [json.loads(line)["path"] for line in (store / "journal.jsonl").read_text().splitlines()]
    assert 2 <= len(done) < 4
    # What a kill at another moment leaves behind.
    with (store / "journal.jsonl").open("a") as journal:
        journal.write('{"path": "scans/b/mr.mha", "entr')
    (store / "arrays/.misfm-12345678-half.b2nd").write_bytes(b"half an array")
    written = times(store / "arrays")

    assert run_prepare(config())["prepared"] == 4 - len(done)
    assert contents(store) == contents(tmp_path / "whole")
    still = times(store / "arrays")
    assert {file: when for file, when in written.items() if "half" not in file.name}.items() <= (
        still.items()
    )


def stop_at(fraction):
    """Make an event sink that stops a run as Ctrl-C does."""

    def sink(event):
        if isinstance(event, Progress) and event.stage == "prepare" and event.fraction >= fraction:
            raise KeyboardInterrupt

    return sink


def test_a_line_that_a_kill_cut_off_spoils_none_of_the_next(config, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_prepare(config(), stop_at(0.25))
    with (tmp_path / "store/journal.jsonl").open("a") as journal:
        journal.write('{"path": "scans/b/mr.mha", "entr')
    with pytest.raises(KeyboardInterrupt):
        run_prepare(config(), stop_at(0.33))
    report = run_prepare(config())
    assert (report["prepared"], report["usable"]) == (2, 3)


def test_processes_make_the_same_store_as_none(config, tmp_path):
    run_prepare(config(output=tmp_path / "alone"))
    run_prepare(config(output=tmp_path / "together", workers=2))
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")


def test_what_others_put_beside_the_arrays_stays(config, tmp_path):
    run_prepare(config())
    (tmp_path / "store/arrays/readme.txt").write_text("mine")
    (tmp_path / "store/arrays/00").mkdir(exist_ok=True)
    (tmp_path / "store/arrays/00/stray.b2nd").write_bytes(b"of a source that has changed")
    run_prepare(config())
    assert (tmp_path / "store/arrays/readme.txt").read_text() == "mine"
    assert not (tmp_path / "store/arrays/00/stray.b2nd").exists()


def test_an_array_that_was_cut_is_named_and_made_again(config, tmp_path):
    run_prepare(config())
    before = contents(tmp_path / "store")
    cut = max((tmp_path / "store/arrays").rglob("*.b2nd"), key=lambda file: file.stat().st_size)
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(DataError, match=cut.name) as caught:
        usable_entries(str(tmp_path / "store"))
    assert caught.value.code == "store-damaged"
    assert run_prepare(config())["prepared"] == 1
    assert contents(tmp_path / "store") == before


def test_a_damaged_journal_costs_only_its_line(config, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_prepare(config(), stop_at(0.5))
    journal = tmp_path / "store/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"\xff\x00{]\n" + lines[1])
    events = []
    report = run_prepare(config(), events.append)
    assert report["usable"] == 3
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert any("line 1, is damaged" in message for message in notices)


def test_a_file_system_without_locks_gets_a_notice(config, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    events = []
    assert run_prepare(config(), events.append)["usable"] == 3
    assert any("has no locks" in event.message for event in events if isinstance(event, Notice))


def test_a_full_disk_in_a_worker_is_no_fault_of_the_volume():
    task = "from MISFMLib import errors; raise errors.OutputError('', code='disk-full', remedy='')"
    with open_workers(1, None) as workers:
        ((_, future),) = workers.results(exec, [task])
    assert future.exception().code == "disk-full"


@pytest.mark.signals
def test_ctrl_c_does_not_wait_for_what_the_workers_are_at(tmp_path):
    files, started = [tmp_path / "a", tmp_path / "b"], []

    def interrupt_once_both_are_at_it():
        while not all(file.exists() for file in files):
            time.sleep(0.01)
        started.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_once_both_are_at_it, daemon=True).start()
    tasks = [f"open({str(file)!r}, 'w').close(); __import__('time').sleep(60)" for file in files]
    with pytest.raises(KeyboardInterrupt), open_workers(2, None) as workers:
        list(workers.results(exec, tasks))
    # Two threads wait for a process: the slower one takes it for alive until the other noted it.
    while multiprocessing.active_children():
        time.sleep(0.01)
        assert time.monotonic() - started[0] < 1.5


def test_a_task_that_brings_its_process_down_is_the_only_one_lost():
    tasks = ["1 + 1", "__import__('os')._exit(1)", "2 + 2", "3 + 3", "1 / 0"]
    with open_workers(1, None) as workers:
        outcomes = dict(workers.results(eval, tasks))
    errors = {task: type(future.exception()) for task, future in outcomes.items()}
    assert errors == {
        "1 + 1": type(None),
        "__import__('os')._exit(1)": BrokenProcessPool,
        "2 + 2": type(None),
        "3 + 3": type(None),
        "1 / 0": ZeroDivisionError,
    }
    assert outcomes["3 + 3"].result() == 6


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_process_that_dies_between_two_tasks_is_replaced():
    def tasks():
        yield "__import__('os').getpid()"
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        while multiprocessing.active_children():
            time.sleep(0.01)
        time.sleep(0.3)  # until the pool has noticed
        yield "1 + 1"

    with open_workers(1, None) as workers:
        outcomes = [future.result() for _, future in workers.results(eval, tasks())]
    assert outcomes[1:] == [2]


def test_a_volume_that_kills_its_process_is_quarantined(config, tmp_path, monkeypatch):
    class Deadly:
        def results(self, function, tasks):
            for task in tasks:
                future = workers_module.cf.Future()
                if task.name.endswith("mr.mha"):
                    future.set_exception(BrokenProcessPool())
                else:
                    future.set_result(function(task))
                yield task, future

    monkeypatch.setattr(prepare_job, "open_workers", lambda *_: _Context(Deadly()))
    assert run_prepare(config())["quarantined"] == {"worker-died": 1}


class _Context:
    def __init__(self, value):
        self.value = value

    def __enter__(self):
        return self.value

    def __exit__(self, *_):
        return None


def test_processes_that_cannot_start_condemn_no_volume(config, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(workers_module, "_start_worker", sys.exit)
    with pytest.raises(DeviceError) as caught:
        run_prepare(config(workers=1))
    assert caught.value.code == "workers-broken"
    assert (tmp_path / "store/journal.jsonl").read_text() == ""


def test_there_is_one_process_per_core_unless_told_otherwise(config, monkeypatch):
    asked = []

    def open_none(count, scheduler):
        asked.append(count)
        return open_workers(0, None)

    monkeypatch.setattr(prepare_job, "open_workers", open_none)
    monkeypatch.setattr(prepare_job, "usable_cores", lambda: 7)
    run_prepare(config(workers=None))
    assert asked == [7]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_two_workers_makes_the_same_store(config, scans, tmp_path, rng):
    distributed = pytest.importorskip("distributed")
    (scans / "text.nrrd").write_text("These are no voxels.")
    run_prepare(config(output=tmp_path / "alone"))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        options = {"workers": None, "scheduler": cluster.scheduler_address}
        report = run_prepare(config(output=tmp_path / "cluster", **options))
        assert report["quarantined"] == {"not-an-image": 1}
        assert run_prepare(config(output=tmp_path / "cluster", **options))["prepared"] == 0
    assert contents(tmp_path / "cluster") == contents(tmp_path / "alone")


def test_a_scheduler_that_is_not_there_is_an_error(config, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers_module, "_CONNECT_TIMEOUT_S", 0.2)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(ConfigError) as caught:
            run_prepare(config(workers=None, scheduler=address))
        assert caught.value.code == "scheduler-unreachable"


# ------------------------------------------------------------------------- manifest, command line


@pytest.fixture
def a_copy(tmp_path, rng):
    """Some of PData: two scans of LUNA16, one of them twice, and two patients of HNSCC."""
    root, scan = tmp_path / "data", a_ct(rng)
    write(root / "luna16/subset0/a.mha", scan)
    write(root / "luna16/subset1/b.mha", a_ct(rng))
    write(root / "LIDC-IDRI/patient/a.mha", scan)
    for name in ("1/ct.mha", "1/second.mha", "2/ct.mha"):
        write(root / "HNSCC" / name, a_ct(rng))
    (root / "HNSCC/3").mkdir()
    (root / "HNSCC/3/ct.mha").write_text("broken")
    return root


def test_a_manifest_tells_what_a_local_copy_lacks(a_copy, tmp_path):
    config = PrepareConfig(
        data=(a_copy,), output=tmp_path / "store", workers=0, manifest="pdata-10k"
    )
    report = run_prepare(config)
    assert report["manifest"]["name"] == "pdata-10k"
    found = {name: count for name, count in report["manifest"]["found"].items() if count}
    assert found == {"LUNA16": 2, "LIDC-IDRI": 1, "HNSCC": 2}
    assert report["manifest"]["missing"]["LUNA16"] == 886
    assert "HNSCC: 2 of 627 patients, 625 missing" in report["text"]
    assert "cancerimagingarchive.net/collection/hnscc" in report["text"]


def test_a_copy_can_be_checked_without_preparing_it(a_copy, tmp_path):
    config = PrepareConfig(
        data=(a_copy,), output=tmp_path / "store", manifest="pdata-1k", check_only=True
    )
    report = run_prepare(config)
    assert report["manifest"]["found"] == {"Head-Neck-PET-CT": 0, "LUNA16": 2, "FLARE22": 0}
    assert "unknown" in report["text"]
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"data": ()}, "no folder"),
        ({"workers": -1}, "workers is -1"),
        ({"workers": 2, "scheduler": "tcp://a:1"}, "workers does nothing"),
        ({"check_only": True}, "check_only"),
        ({"min_edge": 0}, "min_edge"),
        ({"max_spacing_mm": 0.0}, "max_spacing_mm"),
        ({"spacing_dhw": (1.0, 0.0, 1.0)}, "spacing_dhw"),
    ],
)
def test_impossible_settings_are_refused(options, problem, config):
    with pytest.raises(ConfigError, match=problem):
        config(**options)


def test_limits_can_be_set(config, tmp_path):
    run_prepare(config(min_edge=11, max_spacing_mm=1.5))
    assert reasons(tmp_path / "store") == {
        "scans/a/ct.nii.gz": "too-few-slices",
        "scans/b/mr.mha": "ok",
        "scans/b/other.nrrd": "too-few-slices",
        "scans/c/copy of ct.nrrd": "too-few-slices",
    }


def test_the_command_line_prepares_a_store(scans, tmp_path, capsys):
    arguments = ["prepare", str(scans), "-o", str(tmp_path / "store"), "--workers", "0"]
    assert cli.main(arguments) == 0
    assert "3 volumes to learn from" in capsys.readouterr().out
