"""A disk that is full: every result is written whole, or refused and what was there kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="this system has no limits for the size of files")

WRITERS = """
import io, json, resource, sys
from pathlib import Path
import numpy as np
from MISFMLib.configs import LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.errors import OutputError
from MISFMLib.models.bundle import BundleManifest, write_bundle, zip_bundle
from MISFMLib.volumes.volume import (
    Geometry, LabelMap, Volume, read_label_map, write_label_map, write_volume
)
from MISFMLib.export.statistics import LabelVolume, write_statistics

folder = Path(sys.argv[1])
shape = (34, 52, 34)
geometry = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
noise = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)
labels = [LabelConfig(value=value, name=str(value)) for value in range(1, 9)]
manifest = BundleManifest(
    name="tiny", labels=labels[:1], network=NetworkConfig(), preprocessing=PreprocessingConfig()
)
weights = {"weight": np.ones((200, 200), np.float32)}


def label_map(path):
    write_label_map(LabelMap(noise, geometry), path, labels=labels, overwrite=True)


def empty_label_map(path):
    write_label_map(LabelMap(np.zeros_like(noise), geometry), path, overwrite=True)


def volume(path):
    write_volume(Volume(noise[None].astype(np.float32), geometry, "x"), path, overwrite=True)


def statistics(path):
    cases = {f"case {n}": [LabelVolume(1, "liver", n, n / 7)] for n in range(2000)}
    write_statistics(path, cases, overwrite=True)


def overview(path):
    from MISFMLib.export.overview import write_overview
    image = Volume(noise[None], geometry, "x")
    write_overview(image, LabelMap(noise, geometry), labels, path, overwrite=True)


def bundle(path):
    write_bundle(path, manifest, weights, overwrite=True)


def zipped(path):
    whole = folder / "whole"
    if not whole.exists():
        bundle(whole)
    from MISFMLib.models.bundle import read_bundle
    zip_bundle(read_bundle(whole), path, overwrite=True)


def checkpoint(path):
    import torch
    from MISFMLib.training.checkpoint import TrainState
    network = torch.nn.Linear(200, 200)
    TrainState(network, torch.optim.AdamW(network.parameters())).save(path)


def array(path):
    from MISFMLib.data.stored_arrays import write_array
    write_array(np.random.default_rng(0).random(shape).astype(np.float16), path)


writers = {
    "l.nii": label_map, "l.nii.gz": label_map, "l.nrrd": label_map, "l.seg.nrrd": label_map,
    "l.mha": label_map, "z.nii": empty_label_map, "u.nii": volume, "u.nrrd": volume,
    "table.csv": statistics,
    "bundle": bundle, "bundle.zip": zipped, "checkpoint.pt": checkpoint,
}
for name, writer, module in (("o.png", overview, "matplotlib"), ("a.b2nd", array, "blosc2")):
    try:
        __import__(module)
        writers[name] = writer
    except ImportError:
        pass


def content(path):
    if path.is_dir():
        return sorted((str(part), part.read_bytes()) for part in path.rglob("*") if part.is_file())
    return path.read_bytes()


outcomes = {}
for name, write in writers.items():
    write(folder / name)
    before = content(folder / name)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        write(folder / name)
        outcomes[name] = "done"
    except OutputError as error:
        outcomes[name] = error.code
    except BaseException as error:
        outcomes[name] = repr(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    if content(folder / name) != before:
        outcomes[name] += ", and what was there is lost"
left = [path.name for path in folder.rglob(".misfm-*")]
print(json.dumps([outcomes, left]))
"""


def test_every_writer_says_that_the_disk_is_full_and_keeps_what_was_there(tmp_path):
    command = [sys.executable, "-c", WRITERS, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    outcomes, leftovers = json.loads(result.stdout.splitlines()[-1])
    assert len(outcomes) >= 11
    assert set(outcomes.values()) <= {"output-not-writable", "disk-full"}, outcomes
    assert leftovers == []


def mount_small_disk(folder: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="not root")
def test_a_disk_that_is_really_full_is_said_so(tmp_path):
    mount_small_disk(tmp_path)
    try:
        code = WRITERS.partition("writers = {")[0] + (
            "for name in ('l.nii', 'l.nrrd', 'l.nii.gz'):\n"
            "    try:\n        label_map(folder / name)\n        print('done')\n"
            "    except OutputError as error:\n        print(error.code)\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        assert set(result.stdout.split()) <= {"output-not-writable", "disk-full"}
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
