"""Fixtures that several test files share."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("MISFM_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(autouse=True)
def a_private_model_store(tmp_path, monkeypatch):
    """Keep tests away from the user's own models."""
    monkeypatch.setenv("MISFM_HOME", str(tmp_path / "misfm-home"))


@pytest.fixture(scope="module")
def one_thread():
    """Compute with one thread: tiny tensors lose more by sharing the work than they gain."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def seed():
    """Give torch's random numbers a fixed start."""
    pytest.importorskip("torch").manual_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(20231011)


@pytest.fixture(scope="session")
def shared_data():
    """Folder with real volumes; tests that use it are skipped on machines that lack it."""
    if not (SHARED / "data" / "README.md").exists():
        pytest.skip("no real volumes on this machine")
    return SHARED / "data"


@pytest.fixture(scope="session")
def published_fixtures():
    """Folder with outputs of the published networks."""
    if not (SHARED / "spec" / "fixtures" / "README.md").exists():
        pytest.skip("no published outputs on this machine")
    return SHARED / "spec" / "fixtures"


@pytest.fixture(scope="session")
def a_reader():
    """A process that reads volumes and is kept."""
    from MISFMLib.volumes.reader_process import ReaderProcess

    with ReaderProcess() as reader:
        yield reader


@pytest.fixture
def one_reader(a_reader, monkeypatch):
    """Let all batches read in one process: to start one takes longer than a small batch."""
    monkeypatch.setattr(
        "MISFMLib.jobs.segment.worker.ReaderProcess", lambda: contextlib.nullcontext(a_reader)
    )


@pytest.fixture
def results_of(one_thread, tmp_path, monkeypatch):
    """Run a script of Testing/Benchmarks; returns what it has measured.

    In this process, which has imported already what takes longer than some measurements.
    """
    folder = REPOSITORY / "Testing" / "Benchmarks"
    monkeypatch.syspath_prepend(folder)

    def results_of(script, *options):
        results = tmp_path / "results.json"
        monkeypatch.setattr(sys, "argv", [script, *options, "--json", str(results)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runpy.run_path(str(folder / script), run_name="__main__")
        return json.loads(results.read_text("utf-8"))

    return results_of


@pytest.fixture
def write_case(rng):
    """Write a labelled case: noise with a brighter box per label; returns the label map's array."""
    sitk = pytest.importorskip("SimpleITK")

    def write(
        image_path, label_path, *, shape=(10, 12, 14), spacing_xyz=(1.0, 1.0, 1.0), values=(1,)
    ):
        image = rng.normal(0, 20, shape).astype(np.float32)
        label = np.zeros(shape, np.uint8)
        for index, value in enumerate(values):
            start = 1 + 3 * index
            label[2:8, start : start + 3, 3:10] = value
            image[label == value] += 100 * (index + 1)
        for array, path in ((image, image_path), (label, label_path)):
            written = sitk.GetImageFromArray(array)
            written.SetSpacing(spacing_xyz)
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(written, str(path))
        return label

    return write


# -------------------------------------------------------------------- trainings that take a second


@pytest.fixture
def a_preset(monkeypatch):
    """Replace the network presets by a tiny one, and return it."""
    pytest.importorskip("torch")
    from MISFMLib.configs import NetworkConfig, encode
    from MISFMLib.jobs.train import start

    network = NetworkConfig(
        level_channels=(4, 4, 8, 8, 8),
        num_heads=(1, 1, 1),
        depths=(1, 1, 1),
        window_sizes=(2, 2, 2),
        dropout=(0.0,) * 5,
    )
    tiny = json.loads(json.dumps({"max_patch_voxels": 4096, "network": encode(network)}))
    read = start.read_preset
    monkeypatch.setattr(start, "read_preset", lambda name: tiny if name == "small" else read(name))
    return tiny


@pytest.fixture
def a_set(tmp_path, write_case):
    """Write four cases with two labels in the layout of the Decathlon; returns the folder."""
    for index, name in enumerate(("a", "b", "c", "d")):
        write_case(
            tmp_path / f"set/imagesTr/{name}.nii.gz",
            tmp_path / f"set/labelsTr/{name}.nii.gz",
            shape=(12 + index, 14, 16),
            values=(2, 5),
        )
    names = {"0": "background", "2": "left kidney", "5": "spleen"}
    description = {"labels": names, "modality": {"0": "MR"}}
    (tmp_path / "set/dataset.json").write_text(json.dumps(description))
    return tmp_path / "set"


@pytest.fixture
def config(a_set, a_preset, tmp_path):
    """Make settings of `misfm finetune` for that set and network."""
    from MISFMLib.configs import FinetuneConfig

    def make(**options):
        defaults = {
            "data": a_set,
            "output": tmp_path / "model",
            "steps": 2,
            "batch_size": 1,
            "validate_every": 1,
            "device": "cpu",
            "threads": 1,
        }
        return FinetuneConfig(**defaults | options)

    return make


@pytest.fixture
def stop_training():
    """Stop a training of some settings at its first validation."""
    from MISFMLib.events import Metric
    from MISFMLib.jobs.train.finetune import run_finetune

    class Stopped(Exception):
        pass

    def stop_at_first_score(event):
        if isinstance(event, Metric) and "score" in event.values:
            raise Stopped

    def stop(config):
        with pytest.raises(Stopped):
            run_finetune(config, stop_at_first_score)

    return stop


@pytest.fixture
def a_job(monkeypatch):
    """Catch the config that the command line gives to the job."""
    configs = []

    def run_job(_name, config, _events):
        configs.append(config)
        return {}

    monkeypatch.setattr("MISFMLib.commands.jobs.run_job", run_job)
    return configs
