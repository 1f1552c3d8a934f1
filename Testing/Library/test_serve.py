"""``misfm serve``: many jobs in one process, each with its own end, and the model kept loaded."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from MISFMLib import cli
from MISFMLib.configs import LabelConfig, NetworkConfig, PreprocessingConfig, SegmentConfig
from MISFMLib.errors import DataError
from MISFMLib.events import CaseDone, Failed, Finished, Measured, Progress, event_from_json
from MISFMLib.inference.segmenter import SegmenterOptions
from MISFMLib.inference.segmenter_cache import SegmenterCache
from MISFMLib.jobs import serve
from MISFMLib.jobs.serve import Server, WarmJobs
from MISFMLib.models.bundle import BundleManifest, write_bundle
from MISFMLib.networks import build_network, weights_to_numpy
from MISFMLib.volumes.volume import read_label_map


def write_model(folder, seed=0):
    """Write a bundle with random weights."""
    torch.manual_seed(seed)
    network = NetworkConfig(
        architecture="unet3d", num_classes=2, level_channels=(2, 2, 2, 2, 2), dropout=(0.0,) * 5
    )
    manifest = BundleManifest(
        name=folder.name,
        network=network,
        preprocessing=PreprocessingConfig(patch_size=(16, 16, 16)),
        labels=(LabelConfig(value=1, name="liver"),),
    )
    return write_bundle(folder, manifest, weights_to_numpy(build_network(network)))


@pytest.fixture
def a_model(tmp_path):
    return write_model(tmp_path / "tiny")


MEASURED = Measured("a", "cpu", "PyTorch", 0.5, 100_000)


class Client:
    """The other end of a server that runs in this thread, with jobs that the test makes up."""

    def __init__(self, run_job_file=lambda path, events: {"file": path.name}):
        self.events = []
        self.loaded = []
        self.released = 0
        self._reader, self._writer = os.pipe()
        self._server = Server(
            run_job_file=run_job_file,
            load=lambda config, is_wanted: self.load(config, is_wanted),
            describe=lambda error: Failed(str(error), code="described"),
            release=self._release,
            events=self.events.append,
        )

    def load(self, config, is_wanted):
        for step in ("network", "engine"):
            yield
            if "error" in config:
                raise DataError("It was so.", code="so", remedy="Do this.")
            self.loaded.append((config["model"], step))
        if is_wanted is not None and not is_wanted():
            yield MEASURED

    def _release(self):
        self.released += 1

    def send(self, *lines):
        os.write(self._writer, "".join(f"{line}\n" for line in lines).encode())

    def serve(self, idle_s=0.2):
        """Run the server until it ends; what was sent before is its input."""
        try:
            self._server.serve(self._reader, idle_s)
        finally:
            with contextlib.suppress(OSError):
                os.close(self._writer)

    def hang_up(self):
        os.close(self._writer)


def run_command(path):
    return json.dumps({"command": "run", "file": str(path)})


def load_command(model, **config):
    return json.dumps({"command": "load", "config": {"model": str(model), **config}})


def test_each_job_ends_in_one_finished_event(tmp_path):
    client = Client()
    client.send(run_command(tmp_path / "a.json"), run_command(tmp_path / "b.json"))
    client.serve()
    assert client.events == [Finished({"file": "a.json"}), Finished({"file": "b.json"})]


def test_a_job_that_fails_does_not_end_the_server(tmp_path):
    def run(path, events):
        if path.name == "bad.json":
            raise DataError("It was so.", code="so", remedy="Do this.")
        return {}

    client = Client(run)
    client.send(run_command(tmp_path / "bad.json"), run_command(tmp_path / "good.json"))
    client.serve()
    assert client.events == [Failed("It was so. Do this.", "described"), Finished({})]


def test_paths_in_a_job_file_are_relative_to_its_folder(tmp_path):
    folders = []
    client = Client(lambda path, events: folders.append(Path.cwd()) or {})
    (tmp_path / "ein Ordner").mkdir()
    before = Path.cwd()
    client.send(run_command(tmp_path / "ein Ordner" / "job.json"))
    client.serve()
    assert folders == [tmp_path / "ein Ordner"]
    assert Path.cwd() == before


def test_a_folder_that_is_gone_is_a_failure_of_its_job(tmp_path):
    client = Client()
    client.send(run_command(tmp_path / "gone" / "job.json"), run_command(tmp_path / "a.json"))
    client.serve()
    assert [type(event) for event in client.events] == [Failed, Finished]


def test_the_text_for_people_is_not_sent(tmp_path):
    client = Client(lambda path, events: {"text": "many lines", "answer": 42})
    client.send(run_command(tmp_path / "a.json"))
    client.serve()
    assert client.events == [Finished({"answer": 42})]


@pytest.mark.parametrize(
    "line",
    [
        *("no JSON", "[]", "{}", "\N{SNOWMAN}", '{"command": "run"}', '{"command": "load"}'),
        '{"command": "dance"}',
    ],
)
def test_what_is_no_command_is_answered_by_a_failure(line, tmp_path):
    client = Client()
    client.send(line, run_command(tmp_path / "a.json"))
    client.serve()
    assert [type(event) for event in client.events] == [Failed, Finished]


def test_release_frees_what_is_kept(tmp_path):
    client = Client()
    client.send(json.dumps({"command": "release"}))
    client.serve()
    assert client.released == 1
    assert client.events == []


def test_a_model_is_loaded_in_silence():
    client = Client()
    client.send(load_command("a"))
    client.serve()
    assert client.loaded == [("a", "network"), ("a", "engine")]
    assert client.events == []


def test_a_window_is_measured_on_request():
    client = Client()
    client.send(load_command("a").replace("}}", '}, "measure": true}'))
    client.serve()
    assert client.events == [MEASURED]


def test_what_goes_wrong_while_loading_is_left_to_the_job(tmp_path):
    client = Client(lambda path, events: client.loaded.append("job") or {})
    client.send(load_command("a", error=True))
    threading.Timer(0.1, client.send, [run_command(tmp_path / "a.json")]).start()
    client.serve(idle_s=0.5)
    assert client.loaded == ["job"]
    assert client.events == [Finished({})]


def test_no_model_is_loaded_while_commands_wait(tmp_path):
    client = Client(lambda path, events: time.sleep(0.1) or {})
    client.send(run_command(tmp_path / "a.json"))
    client.send(load_command("a"), load_command("b"), run_command(tmp_path / "a.json"))
    client.serve()
    assert client.loaded == []
    assert client.events == [Finished({}), Finished({})]


def test_a_job_waits_for_the_step_at_hand_only(tmp_path):
    client = Client()

    def load(config, is_wanted):
        for step in range(3):
            yield
            client.loaded.append(step)
            if step == 1:
                client.send(run_command(tmp_path / "a.json"))
                time.sleep(0.1)

    client.load = load
    client.send(load_command("a"))
    client.serve()
    assert client.loaded == [0, 1]
    assert client.events == [Finished({"file": "a.json"})]


def test_the_server_ends_when_no_command_comes():
    client = Client()
    start = time.monotonic()
    client.serve(idle_s=0.1)
    assert 0.1 <= time.monotonic() - start < 5


def test_the_end_of_the_input_ends_an_idle_server():
    client = Client()
    client.hang_up()
    client.serve(idle_s=60)
    assert client.events == []


@pytest.mark.signals
def test_the_end_of_the_input_interrupts_a_job(tmp_path):
    client = Client(lambda path, events: client.hang_up() or time.sleep(60))
    client.send(run_command(tmp_path / "a.json"))
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            client.serve(idle_s=60)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert time.monotonic() - start < 10


@pytest.mark.signals
def test_who_hangs_up_on_the_last_event_interrupts_nothing(tmp_path):
    client = Client()

    def hear(event):
        client.hang_up()
        time.sleep(0.3)
        client.events.append(event)

    client._server = dataclasses.replace(client._server, events=hear)
    client.send(run_command(tmp_path / "a.json"))
    client.serve(idle_s=60)
    assert client.events == [Finished({"file": "a.json"})]


def test_a_command_may_come_in_pieces(tmp_path):
    client = Client()

    def send_slowly():
        for piece in (run_command(tmp_path / "a.json") + "\n").encode():
            os.write(client._writer, bytes([piece]))

    thread = threading.Thread(target=send_slowly)
    thread.start()
    client.serve(idle_s=0.5)
    thread.join()
    assert client.events == [Finished({"file": "a.json"})]


# ---------------------------------------------------------------------------------------- the model


def test_the_network_is_loaded_once_for_the_same_model(a_model, monkeypatch):
    loaded = []
    load = serve.importlib.import_module("MISFMLib.inference.engines").network_from_bundle
    monkeypatch.setattr(
        "MISFMLib.inference.engines.network_from_bundle",
        lambda bundle: loaded.append(bundle) or load(bundle),
    )
    cache = SegmenterCache()
    first = cache.get(a_model, SegmenterOptions(device="cpu"))
    second = cache.get(a_model, SegmenterOptions(device="cpu", overlap=0.25))
    assert first.engines is second.engines
    assert second._first._windows.overlap == 0.25
    other = write_model(a_model.path.with_name("other"), seed=1)
    assert cache.get(other, SegmenterOptions(device="cpu")).engines is not first.engines
    cache.get(a_model, SegmenterOptions(device="cpu"))
    assert loaded == [a_model, other, a_model]


def test_a_model_that_was_trained_anew_under_its_name_is_loaded_anew(a_model, tmp_path):
    cache = SegmenterCache()
    first = cache.get(a_model, SegmenterOptions(device="cpu"))
    (tmp_path / "new").mkdir()
    retrained = write_model(tmp_path / "new" / "tiny", seed=1)
    a_model.path.rename(tmp_path / "old")
    retrained.path.rename(a_model.path)
    second = cache.get(type(a_model)(a_model.path, retrained.manifest), SegmenterOptions())
    assert second.engines is not first.engines


def test_clear_lets_go_of_the_network(a_model):
    cache = SegmenterCache()
    first = cache.get(a_model, SegmenterOptions(device="cpu")).engines
    cache.clear()
    assert cache.get(a_model, SegmenterOptions(device="cpu")).engines is not first


def test_the_job_finds_what_was_loaded_ahead(a_model):
    jobs = WarmJobs()
    config = SegmentConfig(images=(Path(),), output=Path(), model=str(a_model.path), device="cpu")
    steps = jobs.load(config, None)
    next(steps)
    assert jobs._segmenters._engines is None
    next(steps)
    engines = jobs._segmenters._engines
    engines.load_kept = lambda *arguments: loaded.append(arguments)
    loaded = []
    assert list(steps) == []
    assert loaded == [("auto", "auto", (1, 16, 16, 16), torch.device("cpu"))]
    assert jobs._segmenters.get(a_model, SegmenterOptions(device="cpu")).engines is engines


def test_only_segmentation_gets_the_cache(monkeypatch):
    calls = []
    fake = type("Job", (), {})()
    fake.run_segment = lambda *arguments: calls.append(arguments) or {}
    fake.run_finetune = fake.run_segment
    fake.SegmenterCache = SegmenterCache
    monkeypatch.setattr(serve.importlib, "import_module", lambda name: fake)
    jobs = WarmJobs()
    jobs.release()
    jobs.run("finetune", "config", print)
    jobs.run("segment", "config", print)
    assert calls[0] == ("config", print)
    assert calls[1][:2] == ("config", print)
    assert len(calls[1]) == 3


def test_a_missing_package_does_not_stop_the_server_from_starting(monkeypatch):
    def refuse(name):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(serve.importlib, "import_module", refuse)
    events = []
    WarmJobs().load_libraries(events.append)
    assert events == [Progress("start", 0.0, "Loading PyTorch")]


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="Unix only")
def test_the_lowest_priority_is_left_where_the_system_allows_it(monkeypatch):
    set_to = []
    monkeypatch.setattr(os, "getpriority", lambda *_: 19)
    monkeypatch.setattr(os, "setpriority", lambda *arguments: set_to.append(arguments[-1]))
    serve.reset_priority()
    assert set_to == [0]

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    serve.reset_priority()
    monkeypatch.setattr(os, "getpriority", lambda *_: 0)
    monkeypatch.setattr(os, "setpriority", lambda *_: pytest.fail("nothing to do"))
    serve.reset_priority()


# ------------------------------------------------------------------------------------- the command


class Worker:
    """``misfm serve`` as the Slicer module starts it."""

    def __init__(self, *options):
        command = [sys.executable, "-m", "MISFMLib", "serve", "--events", "json", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def send(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def run(self, path):
        """Run a job file; return its events."""
        self.send(run_command(path))
        events = []
        while not (events and isinstance(events[-1], Finished | Failed)):
            line = self.process.stdout.readline()
            assert line, "the server has ended"
            events.append(event_from_json(line))
        return events


@pytest.fixture
def a_worker():
    worker = Worker()
    yield worker
    worker.process.stdin.close()
    assert worker.process.wait(timeout=30) == 0
    worker.process.stdout.close()


def write_job(folder, model, image="volume.nrrd"):
    folder.mkdir(exist_ok=True)
    config = {"images": [image], "model": str(model.path), "output": "result.seg.nrrd"}
    path = folder / "job.json"
    path.write_text(json.dumps({"job": "segment", "config": config}))
    return path


def test_a_process_loads_a_model_in_silence(a_worker, a_model, tmp_path, write_case):
    write_case(tmp_path / "volume.nrrd", tmp_path / "label.nrrd", shape=(16, 16, 16))
    for model in (a_model.path, tmp_path / "absent"):
        a_worker.send(load_command(model, device="cpu"))
    events = a_worker.run(write_job(tmp_path, a_model))
    assert events[0] == Progress("start", 0.0, "Loading PyTorch")
    assert events[1] == Progress("read", 0.0, "volume")
    assert isinstance(events[-1], Finished)
    assert read_label_map(tmp_path / "result.seg.nrrd").array_DHW.shape == (16, 16, 16)


def test_a_window_is_measured_when_nobody_waits(a_model):
    config = SegmentConfig(images=(Path(),), output=Path(), model=str(a_model.path), device="cpu")
    *_, measured = WarmJobs().load(config, lambda: False)
    assert (measured.model, measured.device) == (str(a_model.path), "cpu")
    assert measured.engine.startswith("PyTorch")
    assert 0 < measured.window_s < 60
    assert measured.memory_bytes > 1e6


def test_a_job_interrupts_the_measurement(a_model):
    config = SegmentConfig(images=(Path(),), output=Path(), model=str(a_model.path), device="cpu")
    asked = []
    steps = list(WarmJobs().load(config, lambda: bool(asked.append(1)) or len(asked) > 3))
    assert steps == [None, None, None]
    assert len(asked) == 4


def test_a_process_segments_twice_and_survives_a_bad_job_between(
    a_worker, a_model, tmp_path, write_case
):
    for name in ("one", "zwei ä"):
        write_case(tmp_path / name / "volume.nrrd", tmp_path / "label.nrrd", shape=(16, 16, 16))
    first = a_worker.run(write_job(tmp_path / "one", a_model))
    assert first[0] == Progress("start", 0.0, "Loading PyTorch")
    bad = a_worker.run(write_job(tmp_path / "bad", a_model, image="absent.nrrd"))
    assert isinstance(bad[-1], Failed)
    assert "absent.nrrd" in bad[-1].message
    second = a_worker.run(write_job(tmp_path / "zwei ä", a_model))
    for events, folder in ((first, "one"), (second, "zwei ä")):
        assert isinstance(events[-1], Finished)
        assert CaseDone("volume", "done", outputs=("result.seg.nrrd",)) in events
        labels = read_label_map(tmp_path / folder / "result.seg.nrrd").array_DHW
        assert labels.shape == (16, 16, 16)
        assert np.isin(labels, (0, 1)).all()


def test_the_command_ends_when_its_caller_is_gone_or_silent(monkeypatch):
    reader, writer = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(reader))
    assert cli.main(["serve", "--events", "json", "--idle-minutes", "0.001"]) == 0
    os.close(writer)
    assert cli.main(["serve", "--events", "json"]) == 0
    sys.stdin.close()


@pytest.mark.signals
def test_the_end_of_the_input_ends_the_loading_of_libraries():
    reader, writer = os.pipe()
    ended = []

    def warm_up():
        threading.Timer(0.2, os.close, [writer]).start()
        time.sleep(30)
        ended.append("late")

    server = Server(
        run_job_file=lambda *_arguments: {},
        load=lambda *_arguments: iter(()),
        describe=lambda error: Failed(str(error), "internal"),
        release=lambda: None,
        events=lambda _event: None,
    )
    started = time.monotonic()
    server.serve(reader, 5.0, warm_up)
    os.close(reader)
    assert time.monotonic() - started < 2
    assert ended == []


@pytest.mark.parametrize("line", ["[" * 50_000, '{"command": "run", "file": "a\\u0000b"}', "\x00"])
def test_a_line_of_any_form_is_answered(line):
    client = Client()
    client.send(line)
    client.serve()
    (failed,) = client.events
    assert "is not a command" in failed.message
