"""Pretraining reads its crops from training stores, with the settings these were made with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib.configs import NetworkConfig, PrepareConfig, PretrainConfig, encode
from MISFMLib.data.stored_arrays import StoredArrays, open_volumes
from MISFMLib.errors import ConfigError
from MISFMLib.jobs.prepare.prepare import run_prepare
from MISFMLib.jobs.pretrain import plan as pretrain_plan
from MISFMLib.jobs.pretrain import validation as pretrain_validation
from MISFMLib.jobs.pretrain.pretrain import run_pretrain
from MISFMLib.jobs.train import start as training_start
from MISFMLib.jobs.train.run_folder import RunFolder
from MISFMLib.models.bundle import read_bundle

pytest.importorskip("blosc2")
pytestmark = pytest.mark.usefixtures("one_thread")


def a_tiny_preset(_name):
    network = NetworkConfig(
        architecture="unet3d", level_channels=(4, 4, 8, 8, 8), dropout=(0.0, 0.0, 0.2, 0.2, 0.2)
    )
    return {"max_patch_voxels": 4096, "network": encode(network)}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(training_start, "read_preset", a_tiny_preset)
    monkeypatch.setattr(pretrain_validation, "_JUDGED_SAMPLES", 2)


@pytest.fixture
def make_store(tmp_path, rng):
    """Make a store of some MR volumes."""

    def make(name="store", scans="abc", **options):
        folder = tmp_path / f"scans of {name}"
        folder.mkdir(exist_ok=True)
        for scan in scans:
            array = rng.integers(1, 1000, (18, 20, 22)).astype(np.int16)
            sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{scan}.mha"))
        run_prepare(PrepareConfig(data=(folder,), output=tmp_path / name, workers=0, **options))
        return tmp_path / name

    return make


def a_config(tmp_path, *stores, **options):
    defaults = {
        "data": stores,
        "output": tmp_path / "model",
        "patch_size": (16, 16, 16),
        "resolution_mode": 0,
        "steps": 2,
        "batch_size": 2,
        "validate_every": 2,
        "device": "cpu",
        "threads": 1,
    }
    return PretrainConfig(**defaults | options)


def planned(config):
    return pretrain_plan.plan_pretraining(config, RunFolder.open(config), lambda _event: None)


def test_a_pretraining_from_a_store_ends_in_a_bundle(make_store, tmp_path):
    store = make_store(intensity="ct-clip", spacing_dhw=(1.0, 1.0, 1.0))
    report = run_pretrain(a_config(tmp_path, store))
    assert np.isfinite(report["score"])
    space = read_bundle(Path(report["bundle"])).manifest.preprocessing
    assert (space.intensity[0].scheme, space.spacing_dhw) == ("ct-clip", (1.0, 1.0, 1.0))


def test_all_usable_volumes_of_all_stores_are_learnt_from(make_store, tmp_path):
    job = planned(a_config(tmp_path, make_store("one"), make_store("two", "de")))
    assert (len(job.train), len(job.validation)) == (4, 1)
    volumes = open_volumes(job.train)
    assert isinstance(volumes, StoredArrays)
    assert {volumes.shape(index) for index in range(4)} == {(18, 20, 22)}
    assert not job.folder.cases.exists()


def test_the_volumes_of_a_store_keep_the_names_of_their_files(make_store, tmp_path):
    config = a_config(tmp_path, make_store(), validation_fraction=0.7)
    assert len(set(planned(config).validation_names)) == 2
    job = planned(replace(config, resume=True))
    assert set(job.validation_names) < {"a", "b", "c"}


def test_a_store_behind_a_url_is_planned_like_the_same_on_disk(make_store, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    store = make_store()
    fsspec.filesystem("memory").put(str(store), "/planned/store", recursive=True)
    here = planned(a_config(tmp_path, store))
    there = planned(a_config(tmp_path, Path("memory://planned/store"), output=tmp_path / "other"))
    assert [path.name for path in there.train] == [path.name for path in here.train]
    assert there.preprocessing == here.preprocessing
    locations = open_volumes(there.train).locations
    assert all(location.startswith("memory://planned/store/arrays/") for location in locations)


def test_a_run_that_goes_on_keeps_its_volumes_whatever_was_added(make_store, tmp_path):
    config = a_config(tmp_path, make_store())
    first = planned(config)
    make_store(scans="xyz")
    again = planned(a_config(tmp_path, *config.data, resume=True))
    assert (again.train, again.validation) == (first.train, first.validation)


def test_settings_that_a_store_has_already_are_refused(make_store, tmp_path):
    with pytest.raises(ConfigError, match="spacing_dhw does nothing"):
        planned(a_config(tmp_path, make_store(), spacing_dhw=(1.0, 1.0, 1.0)))


def test_stores_that_were_made_differently_are_not_mixed(make_store, tmp_path):
    stores = make_store("one"), make_store("two", "de", intensity="ct-clip")
    with pytest.raises(ConfigError, match="different settings"):
        planned(a_config(tmp_path, *stores))


def test_stores_and_scans_are_not_mixed(make_store, tmp_path):
    with pytest.raises(ConfigError, match="is none"):
        planned(a_config(tmp_path, make_store(), tmp_path / "scans of store"))
