"""Volumes, models and data sets that the cases damage."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np

from MISFMLib.configs import LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.models.bundle import BundleManifest, write_bundle
from MISFMLib.networks import build_network, weights_to_numpy
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume, write_label_map, write_volume

SHAPE = (18, 20, 22)
GRID = Geometry(SHAPE, (3.0, 1.5, 1.0), (10.0, -20.0, 30.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))


def scan(seed: int = 0, dtype: str = "int16") -> np.ndarray:
    """Return noise with a bright box."""
    array = np.random.default_rng(seed).normal(100, 10, SHAPE)
    array[5:12, 6:14, 7 : 12 + seed] += 300
    return array.astype(dtype)


def write_scan(path: Path, seed: int = 0, dtype: str = "int16") -> Path:
    """Write a volume."""
    write_volume(Volume(scan(seed, dtype)[None], GRID, path.name), path, overwrite=True)
    return path


def write_labels(path: Path, seed: int = 0) -> Path:
    """Write the label map of a volume."""
    labels = (scan(seed) > 250).astype(np.uint8)
    write_label_map(LabelMap(labels, GRID), path, overwrite=True)
    return path


@functools.cache
def _model() -> Path:
    config = NetworkConfig(
        architecture="unet3d", num_classes=2, level_channels=(2, 2, 2, 2, 2), dropout=(0.0,) * 5
    )
    manifest = BundleManifest(
        name="tiny",
        network=config,
        preprocessing=PreprocessingConfig(patch_size=(16, 16, 16)),
        labels=(LabelConfig(value=1, name="box"),),
    )
    folder = Path(tempfile.mkdtemp(prefix="misfm-faults-")) / "tiny"
    return write_bundle(folder, manifest, weights_to_numpy(build_network(config))).path


def model(folder: Path) -> Path:
    """Put a small model into a folder."""
    return Path(shutil.copytree(_model(), folder / "tiny"))


def data_set(folder: Path, cases: int = 3) -> Path:
    """Make a labelled data set."""
    for index in range(cases):
        (folder / "set" / "images").mkdir(parents=True, exist_ok=True)
        (folder / "set" / "labels").mkdir(exist_ok=True)
        write_scan(folder / "set" / "images" / f"c{index}.nii.gz", index)
        write_labels(folder / "set" / "labels" / f"c{index}.nii.gz", index)
    return folder / "set"


TRAIN = (
    *("--network", "unet3d-small", "--steps", "2", "--batch-size", "2", "--device", "cpu"),
    *("--patch-size", "16", "16", "16", "--validate-every", "1", "--checkpoint-every", "1"),
    *("--threads", "1", "--no-deep-supervision"),
)
"""Options of a training of seconds."""
