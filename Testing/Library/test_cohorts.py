"""Batches that many processes work on: claims, tries, shards, workers, and what kills cost."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import errno
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from MISFMLib.configs import (
    IntensityConfig,
    LabelConfig,
    NetworkConfig,
    PreprocessingConfig,
    SegmentConfig,
)
from MISFMLib.errors import BatchError, ConfigError, JobCancelled, OutputError
from MISFMLib.events import CaseDone, Notice, Progress, ignore_events
from MISFMLib.files import write_text, written_atomically
from MISFMLib.inference.segmenter import Segmenter
from MISFMLib.jobs.claims import WORK, claimed
from MISFMLib.jobs.journal import Journal, Journals
from MISFMLib.jobs.segment import elsewhere
from MISFMLib.jobs.segment.batch_job import BatchJob
from MISFMLib.jobs.segment.case import CaseRunner
from MISFMLib.jobs.segment.plan import plan_cases
from MISFMLib.jobs.segment.segment import run_segment
from MISFMLib.jobs.segment.worker import open_worker
from MISFMLib.jobs.workers import open_workers
from MISFMLib.locks import take
from MISFMLib.models.bundle import BundleManifest, write_bundle
from MISFMLib.networks import build_network, weights_to_numpy
from MISFMLib.volumes.volume import Geometry, Volume, read_volume, write_volume

NETWORK = NetworkConfig(
    architecture="unet3d", in_channels=1, num_classes=2, level_channels=(2,) * 5, dropout=(0.0,) * 5
)
MANIFEST = BundleManifest(
    name="tiny",
    network=NETWORK,
    preprocessing=PreprocessingConfig(
        channels=("CT",), intensity=(IntensityConfig(scheme="ct-percentile"),), patch_size=(16,) * 3
    ),
    labels=(LabelConfig(value=1, name="grey", color=(200, 100, 50)),),
)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    weights = weights_to_numpy(build_network(NETWORK))
    return str(write_bundle(tmp_path / "tiny", MANIFEST, weights).path)


@pytest.fixture
def quick(monkeypatch):
    """A network that thresholds and a reader, both in this process."""

    class Threshold(nn.Module):
        def forward(self, image):
            return torch.cat([torch.zeros_like(image), image - 100], dim=1)

    monkeypatch.setattr("MISFMLib.inference.engines.network_from_bundle", lambda _: Threshold())
    read = "MISFMLib.volumes.reader_process.ReaderProcess.__call__"
    monkeypatch.setattr(read, lambda _reader, source, **options: read_volume(source, **options))


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    geometry = Geometry((17, 18, 19), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    for seed, name in enumerate("abcd"):
        array = np.random.default_rng(seed).integers(0, 500, (1, 17, 18, 19)).astype(np.int16)
        write_volume(Volume(array, geometry, name), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def segment(model, scans, tmp_path):
    def run(events=None, **settings):
        settings = {"images": (scans,), "output": tmp_path / "out", "device": "cpu", **settings}
        config = SegmentConfig(model=model, **settings)
        return run_segment(config, ignore_events if events is None else events)

    return run


def table(folder):
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def statuses(folder):
    return {name: row["status"] for name, row in table(folder).items()}


def left_behind(folder, case, tries):
    """What processes leave that were killed over a case."""
    path = folder / WORK / "claims" / case
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("1234\n" * tries)


# ------------------------------------------------------------------------------------ claims, rows


def test_a_case_belongs_to_one_process_until_it_ends(tmp_path):
    with claimed(tmp_path, "a", ignore_events) as first:
        first.begin()
        with claimed(tmp_path, "a", ignore_events) as second:
            assert second is None
        with claimed(tmp_path, "b", ignore_events) as other:
            assert other.tries == 0
    with claimed(tmp_path, "a", ignore_events) as again:
        assert again.tries == 0
    assert not list((tmp_path / WORK / "claims").iterdir())


def test_a_place_that_cannot_hold_a_claim_is_refused(tmp_path, monkeypatch):
    """As /proc, or what is left of a server that is gone: it must not be tried for ever."""

    def absent(path, *_arguments, **_options):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    monkeypatch.setattr("MISFMLib.locks.Path.mkdir", absent)
    with pytest.raises(OutputError), claimed(tmp_path, "a", ignore_events):
        pass


@pytest.mark.parametrize("address", ["foo", "host:87x", "tcp://", "tls://host"])
def test_an_address_that_is_none_is_refused_at_once(address):
    """Dask's client would wait 40 s at its end."""
    pytest.importorskip("distributed")
    with pytest.raises(ConfigError) as caught, open_workers(0, address):
        pass
    assert caught.value.code == "scheduler-unreachable"


def test_a_process_that_died_over_a_case_is_counted(tmp_path):
    left_behind(tmp_path, "a", 2)
    with claimed(tmp_path, "a", ignore_events) as claim:
        assert claim.tries == 2


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_kill_gives_the_claim_back_and_counts_as_a_try(tmp_path):
    pid = os.fork()
    if not pid:
        with claimed(tmp_path, "a", ignore_events) as claim:
            claim.begin()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    with claimed(tmp_path, "a", ignore_events) as claim:
        assert claim.tries == 1


def test_rows_of_all_processes_are_read_and_those_of_ended_ones_removed(tmp_path):
    living, ended = Journal(tmp_path), Journal(tmp_path)
    ended.add({"case": "a", "status": "cancelled"})
    living.add({"case": "a", "status": "done"})
    ended.close()
    with ended.path.open("a") as file:
        file.write('{"case": "b", "st')  # where it was killed
    journals = Journals(tmp_path)
    assert [row["status"] for row in journals.rows()] == ["cancelled", "done"]
    with journals.merging():
        pass
    assert living.path.exists()
    assert not ended.path.exists()
    living.close()
    with journals.merging():
        pass
    assert not (tmp_path / WORK).exists()


def test_without_locks_nobody_is_taken_for_ended(tmp_path, monkeypatch):
    """As on some Lustre: what others write down and what they are writing stays."""

    def no_locks(_file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("MISFMLib.locks.take", no_locks)
    monkeypatch.setattr("MISFMLib.jobs.journal.take", no_locks)
    with contextlib.closing(Journal(tmp_path)) as journal, Journals(tmp_path).merging():
        pass
    assert journal.path.exists()
    day_ago = time.time() - 90_000
    os.utime(journal.path, (day_ago, day_ago))
    with Journals(tmp_path).merging():
        pass
    assert not journal.path.exists()


def test_on_windows_what_a_process_writes_down_can_be_read_meanwhile(tmp_path, monkeypatch):
    """There a lock also keeps others from reading the bytes that it is on."""
    locked = []

    def locking(descriptor, _mode, count):
        start = os.lseek(descriptor, 0, os.SEEK_CUR)
        locked.append(range(start, start + count))

    path = tmp_path / "rows"
    path.write_text("one\n", "ascii")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    with path.open("r+", encoding="ascii") as file:
        assert file.readline() == "one\n"
        place = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        with monkeypatch.context() as on_windows:
            on_windows.setattr("MISFMLib.locks.sys.platform", "win32")
            take(file)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == place
    (region,) = locked
    assert region.start > 64 * 2**20
    assert len(region) == 1


# ------------------------------------------------------------------------------------------ batches


def test_a_case_that_another_run_works_on_is_left_to_it(quick, segment, tmp_path):
    heard = []
    with claimed(tmp_path / "out", "b", ignore_events):
        report = segment(heard.append, statistics=tmp_path / "volumes.csv")
    messages = {event.case: event.message for event in heard if isinstance(event, CaseDone)}
    assert messages["b"] == "Another run works on it."
    assert not (tmp_path / "out" / "b.nii.gz").exists()
    assert report["text"].startswith("3 done, 0 skipped, 1 left to another run")
    assert report["open"] == 1
    assert not (tmp_path / "volumes.csv").exists()  # not of three cases only


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_with_another_model_does_not_join_in(quick, segment, tmp_path, overwrite):
    journal = Journal(tmp_path / "out")
    journal.add({"case": "a", "status": "cancelled", "model": "other 1.0.0 0123"})
    with pytest.raises(OutputError, match="results of other") as caught:
        segment(overwrite=overwrite)
    assert caught.value.code == "output-busy"
    journal.close()  # it was killed
    segment(overwrite=overwrite)
    assert statuses(tmp_path / "out") == dict.fromkeys("abcd", "done")


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_the_next_run_removes_half_results_of_a_killed_one_alone(quick, segment, tmp_path):
    out, reports = tmp_path / "out", tmp_path / "reports"
    pid = os.fork()
    if not pid:
        Journal(out)
        with (
            written_atomically(reports / "a.json") as report,
            written_atomically(out / "a.nii.gz") as result,
        ):
            report.write_bytes(b"half")
            result.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(list(tmp_path.rglob(".misfm-*-*"))) == 2
    with contextlib.closing(Journal(out)), written_atomically(out / "other.nii.gz") as living:
        living.write_bytes(b"half")
        segment(report=reports)
        assert living.exists()
        left = [path for path in tmp_path.rglob(".misfm-*") if path.is_file() and path != living]
        assert left == []


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_kill_while_the_table_is_written_leaves_nothing(quick, segment, tmp_path, monkeypatch):
    """Whoever hands cases out has no journal, but writes the table now and then."""
    out = tmp_path / "out"
    segment(shard="1/2")
    pid = os.fork()
    if not pid:
        monkeypatch.setattr(Path, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with Journals(out).merging():
            write_text(out / "cases.csv", "half", overwrite=True)
    os.waitpid(pid, 0)
    assert len(list(out.glob(".misfm-*.csv"))) == 1
    segment()
    assert list(out.glob(".misfm-*")) == []
    assert statuses(out) == dict.fromkeys("abcd", "done")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_result_of_a_faster_twin_stays(quick, segment, tmp_path, monkeypatch, overwrite):
    """The twin finishes b while this run is at a."""
    segment(output=tmp_path / "twin")
    out, written = tmp_path / "out", []

    def hear(event):
        if isinstance(event, CaseDone) and event.case == "a":
            result = out / "b.nii.gz"
            result.write_bytes((tmp_path / "twin" / "b.nii.gz").read_bytes())
            written.append(result.stat().st_mtime_ns)

    report = segment(hear, overwrite=overwrite)
    assert (out / "b.nii.gz").stat().st_mtime_ns == written[0]
    assert report["cases"]["b"]["status"] == "skipped"


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize(("age_s", "told"), [(0, "done"), (1000, "skipped")])
def test_a_kill_between_a_result_and_its_row_leaves_no_case_open(
    quick, segment, tmp_path, when, age_s, told
):
    """Its row says that it was not finished; a result that is older is none of its process."""
    out, twin = tmp_path / "out", tmp_path / "twin"
    segment(output=twin)

    def kill():
        journal = Journal(out)
        model = table(twin)["b"]["model"]
        journal.add({"case": "b", "status": "cancelled", "model": model, "tries": 1})
        journal.close()
        (out / "b.nii.gz").write_bytes((twin / "b.nii.gz").read_bytes())
        os.utime(out / "b.nii.gz", (time.time() - age_s,) * 2)

    def hear(event):
        if isinstance(event, CaseDone) and event.case == "a" and when == "meanwhile":
            kill()

    if when == "before":
        kill()
    report = segment(hear, statistics=tmp_path / "volumes.csv")
    assert report["open"] == 0
    assert statuses(out) == {**dict.fromkeys("acd", "done"), "b": told}
    size = str((out / "b.nii.gz").stat().st_size) if told == "done" else ""
    assert (table(out)["b"]["bytes"], table(out)["b"]["tries"]) == (size, "1" if size else "")
    assert (tmp_path / "volumes.csv").is_file()


@pytest.mark.parametrize("tries", [0, 1, 2])
def test_a_case_that_killed_processes_is_tried_with_less_memory(
    quick, segment, tmp_path, monkeypatch, tries
):
    steps = []
    step_down = Segmenter.step_down

    def listen(segmenter, number):
        steps.append(number)
        step_down(segmenter, number)

    monkeypatch.setattr(Segmenter, "step_down", listen)
    left_behind(tmp_path / "out", "b", tries)
    heard = []
    segment(heard.append)
    assert steps == [0, tries, 0, 0]
    assert table(tmp_path / "out")["b"]["tries"] == str(tries + 1)
    notices = [event.message for event in heard if isinstance(event, Notice)]
    one_by_one = ["b: A process died over it; trying one window at a time."]
    assert notices == (one_by_one if tries else [])
    assert not (tmp_path / "out" / WORK).exists()


def test_a_case_that_no_process_survived_fails_and_stays_so(quick, segment, tmp_path):
    out = tmp_path / "out"
    left_behind(out, "b", 3)
    for expected in ("done", "skipped"):
        heard = []
        with pytest.raises(BatchError, match=r"1 of 4 cases failed.*3 processes died over it"):
            segment(heard.append)
        assert {event.status for event in heard if isinstance(event, CaseDone)} == {
            expected,
            "failed",
        }
        assert table(out)["b"]["code"] == "worker-died"
    segment(overwrite=True)
    assert statuses(out) == dict.fromkeys("abcd", "done")


@pytest.mark.parametrize("code", ["disk-full", "grid-not-stored"])
def test_a_full_disk_ends_a_batch_and_other_failures_do_not(
    quick, segment, tmp_path, monkeypatch, code
):
    run = CaseRunner.run

    def refuse_b(runner, case, events):
        if case.name == "b":
            raise OutputError("No space is left.", code=code, remedy="Free some.")
        return run(runner, case, events)

    monkeypatch.setattr(CaseRunner, "run", refuse_b)
    with pytest.raises(OutputError if code == "disk-full" else BatchError):
        segment()
    ended = ["done", "cancelled"] if code == "disk-full" else ["done", "failed", "done", "done"]
    assert list(statuses(tmp_path / "out").values()) == ended


def test_shards_share_a_folder_and_the_last_one_completes_the_tables(quick, segment, tmp_path):
    out, volumes = tmp_path / "out", tmp_path / "volumes.csv"
    first = segment(shard="1/2", statistics=volumes)
    assert statuses(out) == {"a": "done", "c": "done"}
    assert first["open"] == 2
    assert "2 of all 4 cases are not done yet" in first["text"]
    assert not volumes.exists()
    last = segment(shard="2/2", statistics=volumes)
    assert list(statuses(out)) == ["a", "b", "c", "d"]
    assert last["open"] == 0
    shards = volumes.read_text("utf-8")
    segment(output=tmp_path / "alone", statistics=tmp_path / "alone.csv")
    assert shards == (tmp_path / "alone.csv").read_text("utf-8")


def test_shards_that_start_while_another_one_ends_find_their_folder(quick, segment, tmp_path):
    """As two tasks of a job array do: one tidies up while the other begins."""

    def tidy_up(event):
        if isinstance(event, (CaseDone, Progress)):
            with Journals(tmp_path / "out").merging():
                pass

    segment(tidy_up, shard="1/2")
    segment(tidy_up, shard="2/2")
    assert statuses(tmp_path / "out") == dict.fromkeys("abcd", "done")


def test_merging_where_no_shard_has_worked_is_refused(quick, segment, scans, tmp_path):
    """As with a mistyped output, or the folder of other scans; no empty table is left there."""
    with pytest.raises(ConfigError) as caught:
        segment(merge=True)
    assert caught.value.code == "nothing-to-merge"
    assert not (tmp_path / "out").exists()
    segment(shard="1/2")
    for path in scans.iterdir():
        path.rename(path.with_name(f"other-{path.name}"))
    with pytest.raises(ConfigError) as caught:
        segment(merge=True)
    assert caught.value.code == "nothing-to-merge"
    assert statuses(tmp_path / "out") == {"a": "done", "c": "done"}


def test_merging_computes_nothing_and_tells_what_failed(quick, segment, scans, tmp_path):
    (scans / "b.nii.gz").write_bytes(b"no image")
    segment(shard="1/2")
    with pytest.raises(BatchError):
        segment(shard="2/2")
    rows = table(tmp_path / "out").values()
    (tmp_path / "out" / "cases.csv").unlink()
    journal = Journal(tmp_path / "out")
    for row in rows:
        journal.add(row)
    journal.close()
    with pytest.raises(BatchError, match="1 of 4 cases failed"):
        segment(merge=True)
    assert statuses(tmp_path / "out") == {"a": "done", "b": "failed", "c": "done", "d": "done"}


def test_the_last_shard_makes_the_page_to_review_also_of_what_failed(
    quick, segment, scans, tmp_path
):
    pytest.importorskip("PIL")
    pytest.importorskip("scipy")
    (scans / "b.nii.gz").write_bytes(b"no image")
    page = tmp_path / "page"
    segment(shard="1/2", review=page)
    assert not (page / "index.html").exists()
    for _again in range(2):
        with pytest.raises(BatchError):
            segment(shard="2/2", review=page, uncertainty=tmp_path / "uncertainty")
    text = (page / "data.js").read_text("ascii")
    data = json.loads(text.removeprefix("const REVIEW = ").removesuffix(";\n"))
    cases = {case["name"]: case for case in data["cases"]}
    assert list(cases) == list("abcd")
    assert cases["b"]["reasons"][0].startswith("No result: ")
    assert cases["a"]["image"] == str(scans / "a.nii.gz")
    assert cases["a"]["sure"] is None
    assert 0 < cases["d"]["sure"] <= 1
    assert sorted(path.stem for path in (page / "reports").iterdir()) == list("acd")


def test_a_page_that_cannot_be_made_is_refused_before_anything_is_computed(
    quick, segment, scans, tmp_path
):
    with pytest.raises(ConfigError, match="not of one file"):
        segment(images=(scans / "a.nii.gz",), output=tmp_path / "a.nii.gz", review=tmp_path / "p")
    with pytest.raises(OutputError, match="other files than a review"):
        segment(review=scans)
    page = tmp_path / "page"
    for options in ({"output": page}, {"output": page / "labels"}, {"report": page / "told"}):
        with pytest.raises(ConfigError, match="among results"):
            segment(review=page, **options)
    (tmp_path / "file").touch()
    for option in ("review", "report", "uncertainty"):
        with pytest.raises(OutputError, match="it is a file, not a folder"):
            segment(**{option: tmp_path / "file" / "folder"})
    assert not (tmp_path / "out").exists()


def test_who_cancels_while_the_page_is_made_is_heard(quick, segment, tmp_path):
    pytest.importorskip("PIL")
    pytest.importorskip("scipy")

    def cancel_at_the_page(event):
        if isinstance(event, Progress) and event.stage == "review":
            raise JobCancelled

    with pytest.raises(JobCancelled):
        segment(review=tmp_path / "page", events=cancel_at_the_page)


def test_contradictory_settings_are_refused(segment):
    for settings in ({"workers": 2, "scheduler": "tcp://x:1"}, {"shard": "3/2"}, {"shard": "1"}):
        with pytest.raises(ConfigError):
            segment(**settings)


def test_a_machine_that_cannot_compute_as_the_others_goes_its_own_way_in_a_shard(
    quick, segment, tmp_path, monkeypatch
):
    segment(shard="1/2")
    text = (tmp_path / "out" / "cases.csv").read_text("utf-8")
    (tmp_path / "out" / "cases.csv").write_text(text.replace("on cpu", "on cuda"), "utf-8")
    (tmp_path / "out" / "c.nii.gz").unlink()
    with pytest.raises(OutputError, match="on cuda"):
        segment()
    segment(shard="1/2", device="auto")
    engines = {name: row["engine"] for name, row in table(tmp_path / "out").items()}
    assert engines["a"].endswith("on cuda")
    assert not engines["c"].endswith("on cuda")


@pytest.mark.parametrize("is_spread", [False, True])
def test_each_process_of_a_spread_batch_has_a_gpu_of_its_own(
    model, tmp_path, monkeypatch, is_spread
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: None)
    monkeypatch.setattr("MISFMLib.device._kernel_problem", lambda _name: "")
    chosen, rough = [], []

    def load(bundle, options):
        chosen.append(options.device)
        return Segmenter.from_bundle(bundle, dataclasses.replace(options, device="cpu"))

    config = SegmentConfig(images=(tmp_path,), model=model, output=tmp_path / "out")
    job = BatchJob(config, "tiny", tmp_path / "out", 1, "", 0, is_spread=is_spread)
    monkeypatch.setattr(
        "MISFMLib.jobs.segment.worker.RegionFirst", lambda options: rough.append(options.device)
    )
    with open_worker(job, 1, load), open_worker(job, 1, load), open_worker(job, 1, load):
        expected = ["cuda:0", "cuda:1", "cuda:0"] if is_spread else ["auto"] * 3
        assert chosen == expected
        assert rough == expected  # the models that find the region of a task


def test_a_large_batch_tells_rate_and_kinds_of_failures(quick, segment, scans):
    for number in range(20):
        (scans / f"bad{number:02}.nii.gz").write_bytes(b"no image")
    heard = []
    with pytest.raises(BatchError):
        segment(heard.append)
    last = [event.message for event in heard if isinstance(event, Progress)][-1]
    assert last.startswith("case 24 of 24 (")
    assert "/s, " in last or "/min, " in last
    assert "failed: 20 not-an-image)" in last


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_workers_make_the_same_results_though_one_is_killed(segment, tmp_path):
    segment(output=tmp_path / "alone", threads=1)
    killed = []

    def kill(event):
        if isinstance(event, CaseDone) and not killed:
            killed.append(multiprocessing.active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    segment(kill, workers=2)
    assert killed
    out = tmp_path / "out"
    assert statuses(out) == dict.fromkeys("abcd", "done")
    for name in "abcd":
        file = f"{name}.nii.gz"
        assert (out / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".gz") == ["cases.csv"]


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_does_the_work_and_lives_on_without_the_model(quick, segment, tmp_path):
    distributed = pytest.importorskip("distributed")
    heard = []
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        segment(heard.append, scheduler=cluster.scheduler_address, device="auto")
        assert not elsewhere._kept
        report = segment(scheduler=cluster.scheduler_address)
    assert statuses(tmp_path / "out") == dict.fromkeys("abcd", "done")
    assert not (tmp_path / "out" / WORK).exists()
    assert sorted(event.case for event in heard if isinstance(event, CaseDone)) == list("abcd")
    last = [event for event in heard if isinstance(event, Progress)][-1]
    assert last.fraction == 1
    assert report["text"].startswith("0 done, 4 skipped")


@pytest.mark.parametrize("channels", [1, 2])
def test_the_time_to_plan_grows_with_the_number_of_volumes(tmp_path, monkeypatch, channels):
    """A search for each volume among all of them takes a minute for so many."""
    count = 10_000 // channels
    endings = [f"_{number:04}" for number in range(channels)]
    found = [tmp_path / f"p{i:06}{end}.nii.gz" for i in range(count) for end in endings]
    monkeypatch.setattr("MISFMLib.jobs.segment.inputs.find_volumes", lambda _folder: found)
    config = SegmentConfig(images=(tmp_path,), model="m", output=tmp_path / "out")
    start = time.process_time()
    plan = plan_cases(config, channels)
    assert len(plan.cases) == count
    assert plan.cases[-1].inputs == tuple(found[-channels:])
    assert time.process_time() - start < 10
