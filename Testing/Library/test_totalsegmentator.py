"""Models of TotalSegmentator: a table of tasks, weights found where they lie, several as one."""

from __future__ import annotations

import errno
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISFMLib.api import load_model
from MISFMLib.cli import main
from MISFMLib.errors import BundleError, OutputError
from MISFMLib.jobs.imports import sources, totalsegmentator
from MISFMLib.jobs.segment import as_totalsegmentator, region
from MISFMLib.models import store
from MISFMLib.models.bundle import read_part, verify_bundle
from MISFMLib.models.catalogue import read_catalogue
from MISFMLib.models.totalsegmentator import TotalTask, find_task, read_tasks


def _helpers():
    """Return the maker of results folders from its test file."""
    file = Path(__file__).with_name("test_nnunet_import.py")
    spec = importlib.util.spec_from_file_location("nnunet_helpers", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _helpers()
READER = "NibabelIOWithReorient"
TASK = TotalTask(
    name="totalsegmentator-test",
    task="total_test",
    mode="default",
    folders=("Dataset901_part1", "Dataset902_part2"),
    release="v0",
    configuration="3d_fullres",
    trainer="nnUNetTrainerNoMirroring",
    spacing_xyz=(2.0, 2.0, 2.0),
    labels=("spleen", "liver", "aorta", "heart"),
    needs_licence=False,
)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Put the weights of the task where TotalSegmentator keeps them."""
    results = tmp_path / "totalseg" / "nnunet" / "results"
    for number, (folder, names) in enumerate(
        zip(TASK.folders, (("liver", "spleen"), ("heart", "aorta")), strict=True)
    ):
        values = made.network_weights(seed=number)
        values["decoder.seg_layers.0.bias"] = torch.tensor([0.5, 0.0, 0.0])
        labels = {"background": 0, **{name: i for i, name in enumerate(names, start=1)}}
        made.write_results(
            results,
            plans=made.changed(made.PLANS, dataset_name=folder, image_reader_writer=READER),
            dataset=made.changed(made.DATASET, labels=labels),
            folds={"0": values},
            trainer=TASK.trainer,
        )
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "totalseg"))
    monkeypatch.setattr(totalsegmentator, "download", None)  # must not be called
    return results


@pytest.fixture
def image(tmp_path, rng):
    volume = sitk.GetImageFromArray(rng.normal(size=(20, 30, 26)).astype(np.float32) * 40)
    smooth = sitk.SmoothingRecursiveGaussian(volume, 1.2)
    smooth.SetSpacing((1.5, 1.3, 1.8))
    smooth.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    path = tmp_path / "image.nii.gz"
    sitk.WriteImage(smooth, str(path))
    return path


def labels_of(tmp_path, image, *options) -> np.ndarray:
    output = tmp_path / f"labels{len(options)}.nii.gz"
    words = ["segment", str(image), "-m", TASK.name, "-o", str(output), "--precision", "fp32"]
    assert main([*words, "--engine", "torch", "--overwrite", *options]) == 0
    return sitk.GetArrayFromImage(sitk.ReadImage(str(output)))


def test_the_parts_found_here_become_one_model(weights, image, tmp_path):
    bundle = totalsegmentator.fetch_task(TASK)
    verify_bundle(bundle)
    assert bundle.manifest.parts == ("Dataset902",)
    assert {label.name: label.value for label in bundle.manifest.labels} == {
        "spleen": 1,
        "liver": 2,
        "aorta": 3,
        "heart": 4,
    }
    assert bundle.manifest.preprocessing.overlap == 0.2
    assert bundle.manifest.preprocessing.orientation == "RAS"  # as read by NibabelIOWithReorient
    together = labels_of(tmp_path, image)
    # One after the other: later parts go over earlier ones, with the numbers of the whole task.
    part = read_part(bundle, "Dataset902")
    assert main(["models", "import", str(weights / TASK.folders[0]), "--name", "first"]) == 0
    arrays = []
    for model in ("first", str(part.path)):
        output = tmp_path / f"{Path(model).name}.nii.gz"
        words = ["segment", str(image), "-m", model, "-o", str(output), "--precision", "fp32"]
        assert main([*words, "--engine", "torch", "--overlap", "0.2"]) == 0
        arrays.append(sitk.GetArrayFromImage(sitk.ReadImage(str(output))))
    first = np.array([0, 2, 1])[arrays[0]]  # liver, spleen in that folder
    assert len(np.unique(together)) > 2
    np.testing.assert_array_equal(together, np.where(arrays[1] > 0, arrays[1], first))
    # Asked for some structures the others are left out, and the asked ones do not change.
    np.testing.assert_array_equal(
        labels_of(tmp_path, image, "--only", "Heart"), np.where(together == 4, 4, 0)
    )
    assert main(["segment", str(image), "-m", TASK.name, "-o", "x.nii.gz", "--only", "heart2"]) == 2


def test_volumes_are_turned_whichever_reader_the_plans_name(weights, image, tmp_path):
    expected = totalsegmentator.fetch_task(TASK)
    for file in weights.rglob("plans.json"):
        file.write_text(file.read_text().replace(READER, "SimpleITKIO"))
    given = totalsegmentator.fetch_task(replace(TASK, name="totalsegmentator-stored"))
    assert given.manifest.preprocessing == expected.manifest.preprocessing
    assert read_part(given, "Dataset902").manifest.preprocessing.orientation == "RAS"


def test_weights_are_found_by_the_number_of_their_data_set(weights, monkeypatch):
    (weights / TASK.folders[0]).rename(weights / "Dataset901_part1_of_a_later_release")
    bundle = totalsegmentator.fetch_task(TASK)
    assert bundle.manifest.parts == ("Dataset902",)
    # Beside the usual networks there may be those of other plans.
    place = next((weights / TASK.folders[1]).iterdir())
    shutil.copytree(
        place, place.with_name(place.name.replace("nnUNetPlans", "nnUNetResEncUNetLPlans_8"))
    )
    again = totalsegmentator.fetch_task(replace(TASK, name="again"))
    assert again.manifest.weights_sha256 == bundle.manifest.weights_sha256


def test_what_was_downloaded_before_a_part_failed_is_kept(weights, tmp_path, monkeypatch):
    got = []

    def download(source, target, _events):
        if len(got) == 1 and source.url.endswith("part2.zip"):
            got.append("failed")
            raise BundleError("no network.", code="download-unreachable", remedy="import it")
        got.append(source.url)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = weights / target.stem
        shutil.make_archive(str(target.with_suffix("")), "zip", folder.parent, folder.name)

    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "empty"))
    monkeypatch.setattr(totalsegmentator, "download", download)
    with pytest.raises(BundleError, match="unpack it into"):
        totalsegmentator.fetch_task(TASK)
    totalsegmentator.fetch_task(TASK)
    assert [Path(url).name for url in got] == [
        "Dataset901_part1.zip",
        "failed",
        "Dataset902_part2.zip",
    ]
    assert list((store.home() / "downloads").iterdir()) == []


def test_a_download_stays_where_a_full_disk_cannot_unpack_it(weights, tmp_path, monkeypatch):
    def download(_source, target, _events):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.make_archive(str(target.with_suffix("")), "zip", weights, target.stem)
        monkeypatch.setattr(sources.shutil, "copyfileobj", full)

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "empty"))
    monkeypatch.setattr(totalsegmentator, "download", download)
    with pytest.raises(OutputError, match="No space is left"):
        totalsegmentator.fetch_task(TASK)
    assert (store.home() / "downloads" / "Dataset901_part1.zip").exists()


def test_an_unknown_task_is_answered_with_those_it_may_mean(capsys):
    assert main(["models", "fetch", "total_mr"]) == 4
    told = capsys.readouterr().err
    assert "Did you mean totalsegmentator-total-mr or" in told
    assert len(told) < 600


def test_resampling_as_totalsegmentator_does_it(weights, image, tmp_path, monkeypatch):
    ndimage = pytest.importorskip("scipy.ndimage")
    monkeypatch.setattr(as_totalsegmentator, "find_task", lambda name: TASK)
    totalsegmentator.fetch_task(TASK)
    # Its recipe, restated: RAS, zoom with aligned corners, whole numbers, and back by the nearest.
    given = sitk.ReadImage(str(image))
    turned = sitk.DICOMOrient(given, "RAS")
    array = sitk.GetArrayFromImage(turned).astype(float)
    factors = np.array(turned.GetSpacing()[::-1]) / 2.0
    small = ndimage.zoom(array, factors, order=1, mode="nearest").astype(np.int32)
    resampled = sitk.GetImageFromArray(small)
    resampled.SetSpacing((2.0, 2.0, 2.0))
    resampled.SetDirection(turned.GetDirection())
    sitk.WriteImage(resampled, str(tmp_path / "small.nii.gz"))
    labels = labels_of(tmp_path, tmp_path / "small.nii.gz")
    back = ndimage.zoom(labels, np.divide(array.shape, labels.shape), order=0, mode="nearest")
    expected = sitk.GetImageFromArray(back)
    expected.CopyInformation(turned)
    expected = sitk.Resample(expected, given, sitk.Transform(), sitk.sitkNearestNeighbor)
    result = labels_of(tmp_path, image, "--as", "totalsegmentator")
    for value in (1, 2, 3, 4):
        ours, theirs = result == value, sitk.GetArrayFromImage(expected) == value
        assert 2 * (ours & theirs).sum() >= 0.99 * (ours.sum() + theirs.sum())


FINE = replace(
    TASK,
    name="totalsegmentator-fine",
    region=("liver",),
    rough=TASK.name,
    margin_mm=4.0,
)


@pytest.fixture
def tasks(weights, monkeypatch):
    """Know the tasks of these tests by name; the one with a region is installed."""
    known = {TASK.name: TASK, FINE.name: FINE}
    monkeypatch.setattr(region, "find_task", known.get)
    totalsegmentator.fetch_task(FINE)
    return known


def fine_labels(tmp_path, image, *options) -> tuple[np.ndarray, str]:
    output, report = tmp_path / "fine.nii.gz", tmp_path / "fine.json"
    words = ["segment", str(image), "-m", FINE.name, "-o", str(output), "--precision", "fp32"]
    words += ["--engine", "torch", "--overwrite", "--report", str(report), *options]
    assert main([*words, "--uncertainty", str(tmp_path / "uncertainty.nii.gz")]) == 0
    found = sitk.ReadImage(str(output))
    told = json.loads(report.read_text("utf-8"))
    for place in told["where_to_look"]:
        index = found.TransformPhysicalPointToIndex(place["position_xyz"])
        assert list(index) == place["index_ijk"]
    labels_DHW = sitk.GetArrayFromImage(found)
    assert bool(told["where_to_look"]) == labels_DHW.any()
    return labels_DHW, " ".join(told["notices"])


@pytest.fixture
def calm_image(image):
    """Leave structures to be found in a part of the image only."""
    given = sitk.ReadImage(str(image))
    is_calm = sitk.GetImageFromArray(np.ones((20, 30, 26), np.float32))
    is_calm[6:19, 9:20, 4:12] = 0.0
    is_calm.CopyInformation(given)
    sitk.WriteImage(sitk.Mask(given, sitk.Cast(is_calm, sitk.sitkUInt8), -60, 1), str(image))
    return image


def labels_around(structure: np.ndarray, tmp_path, image, *options) -> np.ndarray:
    """Return the labels of the box around a structure with the margin, cut out and put back."""
    given = sitk.ReadImage(str(image))
    margins = np.divide(FINE.margin_mm, given.GetSpacing()[::-1]).astype(int)
    box = tuple(
        slice(max(0, found.min() - margin), found.max() + 1 + margin)
        for found, margin in zip(structure.nonzero(), margins, strict=True)
    )
    part = given[
        tuple(
            slice(side.start, min(side.stop, size))
            for side, size in zip(box[::-1], given.GetSize(), strict=True)
        )
    ]
    assert part.GetNumberOfPixels() < given.GetNumberOfPixels()
    sitk.WriteImage(part, str(tmp_path / "part.nii.gz"))
    expected = np.zeros(structure.shape, np.uint8)
    expected[box] = labels_of(tmp_path, tmp_path / "part.nii.gz", *options)
    return expected


def test_a_task_looks_where_the_rough_model_has_found_its_structures(tasks, calm_image, tmp_path):
    totalsegmentator.fetch_task(TASK)
    liver = labels_of(tmp_path, calm_image) == 2
    expected = labels_around(liver, tmp_path, calm_image)
    labels, told = fine_labels(tmp_path, calm_image)
    np.testing.assert_array_equal(labels, expected)
    assert "liver" in told
    from_python = load_model(FINE.name, precision="fp32", engine="torch").segment(calm_image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(from_python), expected)
    # Nothing is found where the rough model finds nothing.
    tasks[FINE.name] = replace(FINE, region=("appendix",))
    labels, told = fine_labels(tmp_path, calm_image)
    assert labels.shape == liver.shape
    assert not labels.any()
    assert "none of appendix" in told


def test_structures_that_are_asked_for_are_looked_for_around_them_only(tasks, calm_image, tmp_path):
    tasks[FINE.name] = replace(FINE, region=())
    only = ("--only", "liver")
    whole, told = fine_labels(tmp_path, calm_image, *only)  # the rough model is not installed
    assert "box" not in told
    totalsegmentator.fetch_task(TASK)
    liver = labels_of(tmp_path, calm_image) == 2
    labels, told = fine_labels(tmp_path, calm_image, *only)
    np.testing.assert_array_equal(labels, labels_around(liver, tmp_path, calm_image, *only))
    assert (labels != whole).any()
    assert "box around liver" in told
    # The whole volume is segmented where not all of them were found.
    tasks[FINE.name] = replace(FINE, region=(), labels=("spleen", "liver2", "aorta", "heart"))
    labels, told = fine_labels(tmp_path, calm_image, *only)
    np.testing.assert_array_equal(labels, whole)
    assert "found no liver2: the whole volume" in told


def test_a_task_without_its_rough_model_says_so(tasks, image, tmp_path):
    labels, told = fine_labels(tmp_path, image)
    assert f"misfm models fetch {TASK.name}" in told
    assert len(np.unique(labels)) > 2


def test_every_region_is_found_by_a_task_that_has_its_structures():
    regional = [task for task in read_tasks() if task.region]
    assert len(regional) > 20
    for task in regional:
        assert set(task.region) <= set(find_task(task.rough).labels), task.name
        assert task.margin_mm > 0
    entry = next(each for each in read_catalogue() if each.name.endswith("liver-vessels"))
    assert "around liver only, which totalsegmentator-total-fastest finds" in entry.description


def test_weights_that_need_a_licence_number_say_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path))
    task = find_task("totalsegmentator-tissue-types")
    with pytest.raises(BundleError, match="licence number") as caught:
        totalsegmentator.fetch_task(task)
    assert "totalsegmentator.com" in caught.value.remedy


def test_every_task_is_in_the_catalogue():
    tasks, entries = read_tasks(), {entry.name: entry for entry in read_catalogue()}
    assert {task.name for task in tasks} <= entries.keys()
    total = entries["totalsegmentator-total"]
    assert "117 structures at 1.5 mm" in total.title
    assert total.size_bytes > 10**9
    assert len(find_task("totalsegmentator-total").folders) == 5
    assert all(
        entry.url or "licence number" in entry.license
        for entry in entries.values()
        if entry.kind == "nnunet"
    )
    listed = {entry.name for entry in store.list_models()}
    assert "totalsegmentator-total-fast" in listed
    assert json.loads(json.dumps(list(listed)))


def test_the_numbers_of_a_task_are_those_of_its_labels():
    for task in read_tasks():
        assert len(set(task.labels)) == len(task.labels)
        assert task.values is None or len(task.values) == len(task.labels)
        assert [task.value_of(name) for name in task.labels] == list(
            task.values or range(1, len(task.labels) + 1)
        )
