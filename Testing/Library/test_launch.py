"""Several processes train like one, whether started by this one, by torchrun or by SLURM."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISFMLib.configs import NetworkConfig, PretrainConfig, encode
from MISFMLib.data.pretext import PretextSource
from MISFMLib.errors import ConfigError
from MISFMLib.events import Finished, Metric, event_from_json, ignore_events
from MISFMLib.jobs.pretrain import validation as pretrain_validation
from MISFMLib.jobs.pretrain.methods import build_method
from MISFMLib.jobs.pretrain.pretrain import run_pretrain
from MISFMLib.jobs.train import start as training_start
from MISFMLib.models.bundle import read_bundle
from MISFMLib.networks import network_from_bundle
from MISFMLib.training import launch
from MISFMLib.training.launch import Processes
from MISFMLib.training.loop import fit
from MISFMLib.training.task import FitSettings, Task

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
METHODS = (
    "volume-fusion",
    "fusion-masking",
    "model-genesis",
    "patch-swapping",
    "masked-modelling",
    "rotation",
    "contrastive",
)
# FMUNet normalises every sample by itself; BatchNorm on the CPU sees the samples of one process.
NETWORK = NetworkConfig(
    architecture="fmunet", level_channels=(4, 4, 8, 8, 8), depths=(1, 1, 1), dropout=(0.0,) * 5
)
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "WORLD_SIZE": "4",
    "RANK": "2",
    "LOCAL_RANK": "0",
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2",
}
SLURM = {
    "SLURM_JOB_NAME": "pretrain",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
}


# ------------------------------------------------------------------------------- who is there


@pytest.fixture
def started_by(monkeypatch):
    """Let this process believe that something has started it together with others."""

    def start(variables, **changes):
        for name, value in (variables | changes).items():
            monkeypatch.setenv(name, value)

    return start


def test_a_single_process_is_no_business_of_srun(monkeypatch, tmp_path):
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    assert launch._starter() is None


@pytest.mark.parametrize(
    ("launcher", "rank"), [(TORCHRUN, "RANK"), (SLURM, "SLURM_PROCID")], ids=["torchrun", "slurm"]
)
def test_processes_of_several_machines_find_their_places(launcher, rank, started_by):
    started_by(launcher)
    processes = Processes(CPU, torch.float32)
    assert (processes.count, processes.leads) == (4, False)
    strategy = processes._fabric.strategy
    assert (strategy.num_nodes, strategy.num_processes) == (2, 2)
    assert (strategy.global_rank, strategy.local_rank, strategy.node_rank) == (2, 0, 1)
    started_by({rank: "0"})
    assert Processes(CPU, torch.float32).leads


@pytest.mark.parametrize("alone", [{"SLURM_NTASKS": "1"}, {"SLURM_JOB_NAME": "interactive"}])
def test_a_process_that_slurm_has_started_alone_starts_others_itself(alone, started_by):
    started_by(SLURM, **alone)
    processes = Processes(CPU, torch.float32, 2)
    assert (processes.count, processes.leads) == (2, True)


def test_the_number_of_processes_is_said_once(started_by):
    started_by(TORCHRUN)
    with pytest.raises(ConfigError, match="4 processes were started already"):
        Processes(CPU, torch.float32, 2)


def test_a_batch_that_cannot_be_shared_is_refused(started_by):
    started_by(TORCHRUN)
    config = PretrainConfig(data=(Path("a"),), output=Path("b"), device="cpu", batch_size=2)
    with pytest.raises(ConfigError, match="A batch of 2 cannot be shared"):
        Processes.of(config)


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_every_process_tries_its_own_device(name, started_by, monkeypatch):
    tried = []

    def select_device(name):
        tried.append(name)
        return CPU

    monkeypatch.setattr("MISFMLib.training.launch.select_device", select_device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config = PretrainConfig(data=(Path("a"),), output=Path("b"), device=name)
    Processes.of(config)
    started_by(TORCHRUN, LOCAL_RANK="1")
    Processes.of(config)
    assert tried == [name, "cuda:1"]


# ----------------------------------------------------------------------------- gradients


class Noise:
    """A crop source that is the same in all processes."""

    def __len__(self):
        return 3

    def shape(self, index):
        return (20, 20, 20)

    def crop(self, index, start, size):
        whole = np.random.default_rng(index).uniform(-1, 1, (20, 20, 20)).astype(np.float32)
        return whole[tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))]


def one_step_of_every_method(fabric, folder, events):
    torch.set_num_threads(1)
    settings = FitSettings(
        steps=1,
        minutes=None,
        patience=None,
        batch_size=4,
        accumulate=1,
        recompute_levels=0,
        learning_rate=1e-3,
        weight_decay=0.0,
        optimizer="adam",
        gradient_clip=1e6,
        validate_every=1,
        checkpoint_every=1,
        seed=1,
    )
    for name in METHODS:
        torch.manual_seed(0)
        config = PretrainConfig(data=(Path("a"),), output=Path("b"), method=name)
        classes = {"volume-fusion": 5, "fusion-masking": 6}.get(name, 1)
        deep = classes > 1
        network = NetworkConfig(
            **vars(NETWORK)
            | {"patch_size": (16, 16, 16), "num_classes": classes, "deep_supervision": deep}
        )
        method = build_method(config, network)
        samples = PretextSource(source=Noise(), pretext=method.pretext, batch_size=4, seed=1)
        task = Task(
            network=method.network,
            batches=samples.batch,
            loss=method.loss,
            schedule=lambda _step: 1.0,
        )
        fit(fabric, task, settings, Path(folder) / f"{name}.pt", events)


@pytest.fixture
def moments(tmp_path, monkeypatch):
    """Train with a number of processes; give what Adam has seen of the gradients."""
    folder = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", folder)  # new processes import the training by its name
    monkeypatch.syspath_prepend(folder)
    training = importlib.import_module("test_launch").one_step_of_every_method

    def train(devices):
        place = tmp_path / str(devices)
        place.mkdir()
        with Processes(CPU, torch.float32, devices) as processes:
            processes.run(training, str(place), events=ignore_events)
        states = {
            name: torch.load(place / f"{name}.pt", weights_only=True)["optimizer"]["state"]
            for name in METHODS
        }
        return {
            name: torch.cat([moment["exp_avg"].flatten() for moment in state.values()])
            for name, state in states.items()
        }

    return train


@pytest.mark.slow
def test_gradients_of_two_processes_are_those_of_one_for_every_method(moments):
    one, two = moments(1), moments(2)
    for name in METHODS:
        largest = float(one[name].abs().max())
        assert largest > 0, name
        torch.testing.assert_close(
            two[name],
            one[name],
            rtol=1e-4,
            atol=1e-5 * largest,
            msg=lambda text, name=name: f"{name}: {text}",
        )


# ------------------------------------------------------------------------------ torchrun

PROGRAM = """
import json, os, sys
from pathlib import Path
from MISFMLib import cli
from MISFMLib.configs import NetworkConfig, decode
from MISFMLib.jobs.pretrain import validation as pretrain_validation
from MISFMLib.jobs.train import start as training_start
from MISFMLib.training.checkpoint import TrainState

rank = os.environ["RANK"]
place = Path(sys.argv[1])
preset = json.loads((place / "preset.json").read_text())
training_start.read_preset = lambda _name: preset
pretrain_validation._JUDGED_SAMPLES = 2
save = TrainState.save

def recorded(state, path):
    (place / f"checkpoint-written-by-{rank}").touch()
    save(state, path)

TrainState.save = recorded
refused = [*sys.argv[2:], "--preview", "preview.jpg"]
codes = [cli.main(refused), cli.main(sys.argv[2:])]
(place / f"codes-{rank}.json").write_text(json.dumps(codes))
"""


@pytest.fixture
def config(tmp_path, rng, monkeypatch):
    preset = {"max_patch_voxels": 4096, "network": encode(NETWORK)}
    (tmp_path / "preset.json").write_text(json.dumps(preset))
    monkeypatch.setattr(training_start, "read_preset", lambda _name: preset)
    monkeypatch.setattr(pretrain_validation, "_JUDGED_SAMPLES", 2)
    (tmp_path / "scans").mkdir()
    for name in "abcd":
        array = rng.integers(0, 1000, (18, 20, 22)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"scans/{name}.nii.gz"))

    def make(output):
        return PretrainConfig(
            data=(tmp_path / "scans",),
            output=tmp_path / output,
            patch_size=(16, 16, 16),
            resolution_mode=0,
            steps=4,
            batch_size=2,
            validate_every=3,
            checkpoint_every=2,
            # With AdamW rounding alone decides how weights move that have next to no gradient.
            optimizer="adam",
            device="cpu",
            precision="fp32",  # for the same reason
            threads=1,
        )

    return make


def words(config):
    """Write a config as a command line."""
    return [
        *("pretrain", str(config.data[0]), "-o", str(config.output)),
        *("--patch-size", "16", "16", "16", "--resolution-mode", "0", "--steps", "4"),
        *("--batch-size", "2", "--validate-every", "3", "--checkpoint-every", "2"),
        *("--optimizer", "adam"),
        *("--device", "cpu", "--precision", "fp32", "--threads", "1"),
        *("--resume", "--events", "json"),
    ]


def answer(bundle):
    """Return what a network says; weights without any effect may differ."""
    image_BCDHW = torch.rand(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return network_from_bundle(read_bundle(bundle)).eval()(2 * image_BCDHW - 1)


@pytest.mark.slow
def test_two_processes_of_torchrun_go_on_with_what_one_has_begun(config, tmp_path):
    whole = run_pretrain(config("whole"))

    def kill(event):
        if isinstance(event, Metric) and event.step == 3:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run_pretrain(config("model"), kill)
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *(str(tmp_path / "program.py"), str(tmp_path), *words(config("model"))),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    assert done.returncode == 0, done.stderr
    codes = [json.loads((tmp_path / f"codes-{rank}.json").read_text()) for rank in range(2)]
    assert codes == [[2, 0], [0, 0]]  # refused by the first, and the other was let go
    assert [path.name for path in tmp_path.glob("checkpoint-written-by-*")] == [
        "checkpoint-written-by-0"
    ]
    (report,) = (
        event.report
        for event in map(event_from_json, done.stdout.splitlines())
        if isinstance(event, Finished)
    )
    assert report["score"] == pytest.approx(whole["score"], abs=1e-3)
    # The mean, since single voxels magnify the rounding. One step less gives 0.12.
    difference = answer(tmp_path / "model") - answer(tmp_path / "whole")
    assert float(difference.abs().mean()) < 5e-3
