"""The segment job: what it refuses, what it writes, and how batches survive failures and kills."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from MISFMLib import configs
from MISFMLib.configs import (
    IntensityConfig,
    LabelConfig,
    NetworkConfig,
    PreprocessingConfig,
    SegmentConfig,
)
from MISFMLib.errors import (
    BatchError,
    BundleError,
    ConfigError,
    DataError,
    DependencyError,
    JobCancelled,
    OutputError,
)
from MISFMLib.events import CaseDone, Notice, Progress
from MISFMLib.inference.engine import Engine
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.segmenter import Segmenter
from MISFMLib.jobs.segment.plan import SegmentCase, _check_results
from MISFMLib.jobs.segment.segment import run_segment
from MISFMLib.models.bundle import BundleManifest, write_bundle
from MISFMLib.networks import build_network, weights_to_numpy
from MISFMLib.volumes.volume import (
    Geometry,
    Volume,
    distinct_names,
    find_volumes,
    read_label_map,
    read_volume,
    write_volume,
)

pytestmark = pytest.mark.usefixtures("one_reader")
DIRECTION = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
LABELS = (
    LabelConfig(value=1, name="grey", color=(200, 100, 50)),
    LabelConfig(value=3, name="white", color=(50, 100, 200)),
)
RAW = IntensityConfig(scheme="ct-percentile")


class Thresholds(nn.Module):
    """Class 1 above 100, class 2 above 300, by the first channel."""

    def forward(self, image):
        image = image[:, :1]
        return torch.cat([torch.zeros_like(image), image - 100, 2 * image - 400], dim=1)


def a_manifest(num_channels=1, **settings):
    network = NetworkConfig(
        architecture="unet3d",
        in_channels=num_channels,
        num_classes=3,
        level_channels=(2, 2, 2, 2, 2),
        dropout=(0.0,) * 5,
    )
    preprocessing = PreprocessingConfig(
        channels=("T1", "T2", "FLAIR")[:num_channels],
        intensity=(RAW,) * num_channels,
        patch_size=(8, 8, 8),
    )
    values = {"name": "tiny", "network": network, "preprocessing": preprocessing, "labels": LABELS}
    return BundleManifest(**{**values, **settings})


def a_bundle(folder, manifest=None):
    weights = {"weight": np.ones(1, np.float32)}
    return str(write_bundle(folder, manifest or a_manifest(), weights).path)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model that thresholds the raw intensities."""
    monkeypatch.setattr(
        "MISFMLib.inference.engines.network_from_bundle", lambda _bundle: Thresholds()
    )
    return a_bundle(tmp_path / "tiny")


def write_case(path, seed=0, shape=(9, 10, 11)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 500, shape).astype(np.int16)
    geometry = Geometry(shape, (2.0, 0.5, 1.0), (10.0, 20.0, 30.0), DIRECTION)
    write_volume(Volume(array[None], geometry, path.name), path)
    return path


def expected_labels(path):
    array = read_volume(path).array_CDHW[0]
    return np.select([array > 300, array > 100], [3, 1], 0)


def segment(*images, model, output, events=None, **settings):
    settings = {"format": "seg.nrrd", **settings}
    config = configs.SegmentConfig(
        images=tuple(map(Path, images)), model=model, output=output, device="cpu", **settings
    )
    return run_segment(config, events.append if events is not None else lambda _event: None)


def rows_of(table):
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------------- one case


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd"])
def test_a_volume_becomes_a_label_map_on_its_own_grid(tmp_path, model, suffix):
    scan = write_case(tmp_path / "scan.nii.gz")
    events = []
    report = segment(scan, model=model, output=tmp_path / f"out{suffix}", events=events)
    result = read_label_map(tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(result.array_DHW, expected_labels(scan))
    assert result.geometry.same_grid(read_volume(scan).geometry)
    assert events[-1] == CaseDone("scan", "done", outputs=(str(tmp_path / f"out{suffix}"),))
    assert {event.stage for event in events if isinstance(event, Progress)} == {
        "read",
        "segment",
        "write",
    }
    assert "grey" in report["text"]


def test_a_folder_as_output_takes_the_name_of_the_case_and_the_format(tmp_path, model):
    scan = write_case(tmp_path / "scan.one.nrrd")
    segment(scan, model=model, output=tmp_path / "out", format="mha")
    assert files_in(tmp_path / "out") == ["cases.csv", "scan.one.mha"]


def test_all_outputs_of_one_case_are_written(tmp_path, model):
    pytest.importorskip("matplotlib")
    scan = write_case(tmp_path / "patient name" / "scan.nii.gz")
    out = tmp_path / "results"
    segment(
        scan,
        model=model,
        output=out / "labels.nii.gz",
        statistics=out / "volumes.csv",
        overview=out / "picture.png",
        report=out / "report.json",
    )
    assert files_in(out) == ["labels.nii.gz", "picture.png", "report.json", "volumes.csv"]
    labels = expected_labels(scan)
    rows = rows_of(out / "volumes.csv")
    assert [(row["case"], row["name"]) for row in rows] == [("scan", "grey"), ("scan", "white")]
    volumes = [np.count_nonzero(labels == value) / 1000 for value in (1, 3)]
    assert [float(row["volume_ml"]) for row in rows] == pytest.approx(volumes)


def test_the_report_tells_what_made_the_result_but_no_folder(tmp_path, model):
    scan = write_case(tmp_path / "patient name" / "scan.nii.gz")
    settings = {"report": tmp_path / "r.json", "overlap": 0, "precision": "fp32"}
    segment(scan, model=model, output=tmp_path / "o.nii.gz", **settings)
    text = (tmp_path / "r.json").read_text("utf-8")
    report = json.loads(text)
    assert "patient name" not in text
    assert report["model"]["name"] == "tiny"
    assert len(report["model"]["weights_sha256"]) == 64
    assert set(report["versions"]) == {"misfm", "python", "torch", "numpy", "SimpleITK"}
    assert report["options"]["overlap"] == 0
    assert (report["device"], report["precision"], report["windows"]) == ("cpu", "float32", 8)
    assert report["computed_windows"] == 8
    assert report["engine"] == f"PyTorch {torch.__version__}"
    assert report["input"]["files"] == ["scan.nii.gz"]
    assert report["input"]["shape_dhw"] == [9, 10, 11]
    assert report["input"]["direction"] == list(DIRECTION)
    assert set(report["timings_s"]) == {
        "read",
        "preprocess",
        "engine",
        "network",
        "restore",
        "postprocess",
    }
    assert report["peak_memory_bytes"] > 50e6
    labels = expected_labels(scan)
    assert [(item["label"], item["voxels"]) for item in report["labels"]] == [
        (value, np.count_nonzero(labels == value)) for value in (1, 3)
    ]
    assert report["notices"] == []


def test_the_uncertainty_lies_on_the_grid_of_the_volume_and_the_report_says_where_to_look(
    tmp_path, model
):
    array = np.full((12, 40, 40), 40, np.int16)
    array[4:8, 20:30, 8:18] = 100  # background and grey are equally likely here
    array[::5, ::9, ::9] = 99
    geometry = Geometry(array.shape, (2.0, 0.5, 1.0), (10.0, 20.0, 30.0), DIRECTION)
    write_volume(Volume(array[None], geometry, "scan"), tmp_path / "scan.nii.gz")
    path = tmp_path / "uncertainty.nrrd"
    outputs = {"output": tmp_path / "o.nii.gz", "report": tmp_path / "r.json", "uncertainty": path}
    report = segment(tmp_path / "scan.nii.gz", model=model, **outputs)
    uncertainty = read_volume(path)
    assert uncertainty.geometry.same_grid(geometry)
    odds = 1 / (1 + np.e)
    entropy = -odds * np.log(odds) - (1 - odds) * np.log(1 - odds)
    percents = {40: 0, 99: round(100 * entropy / np.log(3)), 100: 63}
    for intensity, percent in percents.items():
        assert (uncertainty.array_CDHW[0][array == intensity] == percent).all()
    first = report["where_to_look"][0]
    assert set(first["labels"]) == {"background", "grey"}
    assert first["peak_entropy"] == 0.63
    index_dhw = tuple(first["index_ijk"][::-1])
    assert array[index_dhw] == 100
    np.testing.assert_allclose(first["position_xyz"], geometry.position_xyz(index_dhw), atol=1e-5)
    assert "Look at" in report["text"]
    assert json.loads(outputs["report"].read_text("utf-8"))["where_to_look"][0] == first


def test_without_uncertainty_the_report_does_not_say_where_to_look(tmp_path, model):
    report = segment(write_case(tmp_path / "a.mha"), model=model, output=tmp_path / "o.mha")
    assert "where_to_look" not in report


def test_a_result_without_any_label_is_announced(tmp_path, model):
    array = np.arange(60, dtype=np.int16).reshape(1, 3, 4, 5)
    geometry = Geometry((3, 4, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), DIRECTION)
    write_volume(Volume(array, geometry, "dark"), tmp_path / "dark.nii.gz")
    events = []
    report = segment(
        tmp_path / "dark.nii.gz", model=model, output=tmp_path / "o.nii.gz", events=events
    )
    assert report["notices"] == ["No voxel of any label was found."]
    assert Notice("No voxel of any label was found.") in events


def test_channels_are_joined_by_commas(tmp_path, model):
    two = a_bundle(tmp_path / "two", a_manifest(2))
    first, second = (write_case(tmp_path / f"{name}.nrrd", seed=5) for name in ("a", "b"))
    segment(f"{first},{second}", model=two, output=tmp_path / "o.nrrd")
    np.testing.assert_array_equal(
        read_label_map(tmp_path / "o.nrrd").array_DHW, expected_labels(first)
    )


@pytest.mark.parametrize(
    "names", [("p_T2", "p_T1"), ("p_0001", "p_0000"), ("p_T1", "p_T2"), ("p_T1", "scan")]
)
def test_channels_whose_names_tell_another_order_are_noticed(tmp_path, model, names):
    two = a_bundle(tmp_path / "two", a_manifest(2))
    files = [write_case(tmp_path / f"{name}.nrrd", seed=5) for name in names]
    events = []
    segment(",".join(map(str, files)), model=two, output=tmp_path / "o.nrrd", events=events)
    told = [event.message for event in events if isinstance(event, Notice)]
    is_told = any("By their names the files are T2, T1" in message for message in told)
    assert is_told == (names in {("p_T2", "p_T1"), ("p_0001", "p_0000")})


def test_channels_of_a_folder_are_put_together_by_their_numbers(tmp_path, model):
    two = a_bundle(tmp_path / "two", a_manifest(2))
    for seed, case in enumerate(("b_2", "a")):
        for channel in (1, 0):
            name = f"{case}_{channel:04}.nrrd"
            write_case(tmp_path / "scans" / name, seed=10 * seed + channel)
    segment(tmp_path / "scans", model=two, output=tmp_path / "out", format="nrrd")
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.nrrd")) == ["a", "b_2"]
    for case in ("a", "b_2"):
        np.testing.assert_array_equal(
            read_label_map(tmp_path / "out" / f"{case}.nrrd").array_DHW,
            expected_labels(tmp_path / "scans" / f"{case}_0000.nrrd"),
        )


@pytest.mark.parametrize("names", [("a_0000",), ("a_0000", "a_0002"), ("a_0001", "a_0002")])
def test_a_case_of_a_folder_with_other_channels_is_refused(tmp_path, model, no_computing, names):
    two = a_bundle(tmp_path / "two", a_manifest(2))
    for name in names:
        write_case(tmp_path / "scans" / f"{name}.nrrd")
    with pytest.raises(DataError, match="a has the channels"):
        segment(tmp_path / "scans", model=two, output=tmp_path / "out")


def test_one_of_two_files_for_a_channel_is_not_taken_without_a_word(tmp_path, model, no_computing):
    two = a_bundle(tmp_path / "two", a_manifest(2))
    for name in ("a_0000.nrrd", "a_0000.nii.gz", "a_0001.nrrd"):
        write_case(tmp_path / "scans" / name)
    with pytest.raises(DataError, match="a has the channels 0, 0, 1"):
        segment(tmp_path / "scans", model=two, output=tmp_path / "out")


def test_numbered_files_that_hold_all_channels_are_cases_of_their_own(tmp_path, model):
    two = a_bundle(tmp_path / "two", a_manifest(2))
    for seed in (0, 1):
        image = sitk.ReadImage(str(write_case(tmp_path / f"{seed}.nrrd", seed=seed)))
        path = tmp_path / "scans" / f"scan_000{seed}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        sitk.WriteImage(sitk.JoinSeries([image, image]), str(path))
    segment(tmp_path / "scans", model=two, output=tmp_path / "out", format="nrrd")
    for seed in (0, 1):
        np.testing.assert_array_equal(
            read_label_map(tmp_path / "out" / f"scan_000{seed}.nrrd").array_DHW,
            expected_labels(tmp_path / f"{seed}.nrrd"),
        )


def test_the_number_of_the_only_channel_is_no_part_of_the_name_where_all_have_it(tmp_path, model):
    for name in ("a_0000", "b_0000"):
        write_case(tmp_path / "all" / f"{name}.nrrd")
        write_case(tmp_path / "some" / f"{name}.nrrd")
    write_case(tmp_path / "some" / "scan.nrrd")
    for folder in ("all", "some"):
        segment(tmp_path / folder, model=model, output=tmp_path / f"{folder}.out", format="nrrd")
    found = sorted(path.stem for path in (tmp_path / "all.out").glob("*.nrrd"))
    assert found == ["a", "b"]
    found = sorted(path.stem for path in (tmp_path / "some.out").glob("*.nrrd"))
    assert found == ["a_0000", "b_0000", "scan"]


def test_a_comma_in_the_name_of_a_file_is_no_channel_separator(tmp_path, model):
    scan = write_case(tmp_path / "Doe,Jane.nrrd")
    segment(scan, model=model, output=tmp_path / "o.nrrd")
    assert (tmp_path / "o.nrrd").exists()


@pytest.mark.parametrize("postprocessing", ["model", "off"])
def test_postprocessing_follows_the_model_unless_it_is_off(tmp_path, model, postprocessing):
    labels = (LabelConfig(value=1, name="grey", min_volume_mm3=1e6), LABELS[1])
    strict = a_bundle(tmp_path / "strict", a_manifest(labels=labels))
    scan = write_case(tmp_path / "scan.nrrd")
    segment(scan, model=strict, output=tmp_path / "o.nrrd", postprocessing=postprocessing)
    has_grey = (read_label_map(tmp_path / "o.nrrd").array_DHW == 1).any()
    assert has_grey == (postprocessing == "off")


def test_threads_are_set(tmp_path, model):
    before = torch.get_num_threads()
    try:
        scan = write_case(tmp_path / "scan.nrrd")
        segment(scan, model=model, output=tmp_path / "o.nrrd", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_real_network_runs_from_its_bundle(tmp_path):
    manifest = a_manifest()
    network = build_network(manifest.network).eval()
    bundle = write_bundle(tmp_path / "real", manifest, weights_to_numpy(network))
    scan = write_case(tmp_path / "scan.nrrd")
    segment(scan, model=str(bundle.path), output=tmp_path / "o.seg.nrrd")
    assert read_label_map(tmp_path / "o.seg.nrrd").geometry.same_grid(read_volume(scan).geometry)


# ------------------------------------------------------------------ refused before any computing


@pytest.fixture
def no_computing(monkeypatch):
    """Make every look at a volume or at weights fail."""

    def fail(*_args, **_kwargs):
        raise AssertionError("this had to be refused before")

    monkeypatch.setattr("MISFMLib.jobs.segment.case.read_volume", fail)
    monkeypatch.setattr("MISFMLib.inference.engines.network_from_bundle", fail)


@pytest.mark.parametrize("name", ["output", "statistics", "overview", "report"])
def test_existing_results_of_one_case_are_refused(tmp_path, model, no_computing, name):
    scan = write_case(tmp_path / "scan.nrrd")
    paths = {
        "output": tmp_path / "o.nrrd",
        "statistics": tmp_path / "v.csv",
        "overview": tmp_path / "p.png",
        "report": tmp_path / "r.json",
    }
    paths[name].write_text("precious")
    with pytest.raises(OutputError, match=paths[name].name):
        segment(scan, model=model, **paths)
    assert paths[name].read_text() == "precious"


def test_existing_results_are_replaced_when_asked_for(tmp_path, model):
    scan = write_case(tmp_path / "scan.nrrd")
    paths = {"output": tmp_path / "o.nrrd", "statistics": tmp_path / "v.csv"}
    paths["report"] = tmp_path / "r.json"
    for path in paths.values():
        path.write_text("old")
    segment(scan, model=model, overwrite=True, **paths)
    assert all(path.stat().st_size > 10 for path in paths.values())


def test_a_pretrained_start_is_no_segmentation_model(tmp_path, no_computing):
    pretrained = a_bundle(tmp_path / "start", a_manifest(kind="pretrained", labels=()))
    with pytest.raises(BundleError, match="start for fine-tuning"):
        segment(tmp_path / "scan.nrrd", model=pretrained, output=tmp_path / "o.nrrd")


def test_a_missing_model_is_an_error(tmp_path, no_computing):
    with pytest.raises(BundleError):
        segment(tmp_path / "scan.nrrd", model="no-such-model", output=tmp_path / "o.nrrd")


@pytest.mark.parametrize("name", ["o.jpg", "o.nii.zip", "o.mhd"])
def test_an_unknown_format_is_refused(tmp_path, model, no_computing, name):
    scan = write_case(tmp_path / "scan.nrrd")
    with pytest.raises(ConfigError, match="ending"):
        segment(scan, model=model, output=tmp_path / name)


def test_several_volumes_do_not_go_into_one_file(tmp_path, model, no_computing):
    scans = [write_case(tmp_path / f"{name}.nrrd") for name in "ab"]
    with pytest.raises(ConfigError, match="one file"):
        segment(*scans, model=model, output=tmp_path / "o.nrrd")
    with pytest.raises(ConfigError, match="one file"):
        segment(*scans, model=model, output=tmp_path / "o", report=tmp_path / "r.json")


def test_wrong_channels_are_refused(tmp_path, model, no_computing):
    scans = [write_case(tmp_path / f"{name}.nrrd") for name in "ab"]
    with pytest.raises(DataError, match="2 channels were given, the model expects 1"):
        segment(",".join(map(str, scans)), model=model, output=tmp_path / "o.nrrd")


def test_a_folder_without_volumes_is_an_error(tmp_path, model, no_computing):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no volume"):
        segment(tmp_path / "empty", model=model, output=tmp_path / "o")


def test_a_result_never_replaces_its_input(tmp_path, model, no_computing):
    scan = write_case(tmp_path / "scans" / "scan.nrrd")
    with pytest.raises(ConfigError, match="replace an input"):
        segment(scan, model=model, output=scan, overwrite=True)
    with pytest.raises(ConfigError, match="replace an input"):
        segment(scan, model=model, output=scan.parent, format="nrrd", overwrite=True)
    with pytest.raises(ConfigError, match="among the inputs"):
        segment(scan.parent, model=model, output=scan.parent)


@pytest.mark.parametrize("option", ["statistics", "overview", "report"])
def test_no_other_result_replaces_the_input_either(tmp_path, model, no_computing, option):
    suffix = {"statistics": ".csv", "overview": ".png", "report": ".json"}[option]
    scan = tmp_path / f"scan{suffix}"
    write_case(tmp_path / "scan.mha")
    (tmp_path / "scan.mha").rename(scan)
    with pytest.raises(ConfigError, match="would replace an input"):
        segment(scan, model=model, output=tmp_path / "out.mha", overwrite=True, **{option: scan})


def test_no_result_lies_among_the_slices_of_a_series(tmp_path, model, no_computing):
    series = tmp_path / "series"
    series.mkdir()
    (series / "1.dcm").write_bytes(b"a slice")
    config = SegmentConfig(
        images=(series,), model=str(model), output=series / "1.dcm", overwrite=True
    )
    case = SegmentCase("series", (series,), series / "1.dcm", None, None)
    with pytest.raises(ConfigError, match="lie among the files of one"):
        _check_results(config, [case])


def test_two_results_never_share_a_file(tmp_path, model, no_computing):
    write_case(tmp_path / "scan.mha")
    result = tmp_path / "result.csv"
    config = SegmentConfig(
        images=(tmp_path / "scan.mha",), model=str(model), output=result, statistics=result
    )
    case = SegmentCase("scan", (tmp_path / "scan.mha",), result, None, None)
    with pytest.raises(ConfigError, match="the one file"):
        _check_results(config, [case])


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("statistics", "table.xlsx"),
        ("overview", "picture.jpg"),
        ("report", "report.txt"),
        ("uncertainty", "uncertainty.png"),
        ("uncertainty", "uncertainty.seg.nrrd"),
    ],
)
def test_other_endings_of_tables_and_pictures_are_refused(
    tmp_path, model, no_computing, option, name
):
    write_case(tmp_path / "scan.mha")
    with pytest.raises(ConfigError, match="was given for a result that ends in"):
        segment(
            tmp_path / "scan.mha",
            model=model,
            output=tmp_path / "out.mha",
            **{option: tmp_path / name},
        )


def test_a_file_in_the_way_of_the_output_folder_is_told_before_computing(
    tmp_path, model, no_computing
):
    scan = write_case(tmp_path / "scan.mha")
    (tmp_path / "notes").write_text("no folder")
    with pytest.raises(OutputError, match="it is a file, not a folder"):
        segment(scan, model=model, output=tmp_path / "notes" / "out.mha")


def test_the_same_volume_twice_is_an_error(tmp_path, model, no_computing):
    scan = write_case(tmp_path / "scans" / "scan.nrrd")
    with pytest.raises(DataError, match=r"\(scan\): .*scan.nrrd"):
        segment(scan, scan, model=model, output=tmp_path / "o")
    other = write_case(tmp_path / "scans" / "scan.mha")
    with pytest.raises(DataError) as caught:
        segment(tmp_path / "scans", model=model, output=tmp_path / "o")
    assert str(scan) in caught.value.message
    assert str(other) in caught.value.message


@pytest.mark.parametrize(
    ("missing", "settings", "extra"),
    [
        ("highdicom", {"format": "dcm"}, "dicom"),
        ("matplotlib", {"overview": Path("pictures")}, "report"),
    ],
)
def test_a_missing_package_is_named_before_computing(
    tmp_path, model, no_computing, monkeypatch, missing, settings, extra
):
    scan = write_case(tmp_path / "scan.nrrd")
    monkeypatch.setattr(
        "MISFMLib.jobs.segment.plan.importlib.util.find_spec",
        lambda name: None if name == missing else object(),
    )
    with pytest.raises(DependencyError, match=missing) as caught:
        segment(scan, model=model, output=tmp_path / "o", **settings)
    assert f"misfm[{extra}]" in caught.value.remedy


def test_dicom_seg_needs_dicom_input(tmp_path, model):
    pytest.importorskip("highdicom")
    scan = write_case(tmp_path / "scan.nrrd")
    events = []
    with pytest.raises(ConfigError, match="not read from DICOM"):
        segment(scan, model=model, output=tmp_path / "o.dcm", events=events)
    assert [event.stage for event in events] == ["read"]


# ----------------------------------------------------------------------------------------- batch


def table_of(folder):
    return {row["case"]: row for row in rows_of(folder / "cases.csv")}


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    for seed, name in enumerate(("a", "b", "c")):
        write_case(folder / f"{name}.nrrd", seed)
    return folder


def test_a_folder_of_volumes_is_segmented_into_a_folder(tmp_path, model, scans):
    dark = read_volume(scans / "b.nrrd")
    write_volume(Volume(dark.array_CDHW // 6, dark.geometry, "b"), scans / "b.nrrd", overwrite=True)
    events = []
    report = segment(scans, model=model, output=tmp_path / "out", format="nii.gz", events=events)
    assert files_in(tmp_path / "out") == ["a.nii.gz", "b.nii.gz", "c.nii.gz", "cases.csv"]
    for name in "abc":
        labels = read_label_map(tmp_path / "out" / f"{name}.nii.gz").array_DHW
        np.testing.assert_array_equal(labels, expected_labels(scans / f"{name}.nrrd"))
    rows = table_of(tmp_path / "out")
    assert [row["status"] for row in rows.values()] == ["done"] * 3
    grey_ml = np.count_nonzero(expected_labels(scans / "c.nrrd") == 1) / 1000
    assert float(rows["c"]["grey (ml)"]) == pytest.approx(grey_ml)
    assert [event.case for event in events if isinstance(event, CaseDone)] == ["a", "b", "c"]
    messages = [event.message for event in events if isinstance(event, Progress)]
    assert "case 2 of 3: window 4 of 8" in messages
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert notices == ["b: No voxel of any label was found."]
    assert report["cases"]["c"]["status"] == "done"


def test_finished_cases_of_a_batch_are_skipped(tmp_path, model, scans):
    out = tmp_path / "out"
    segment(scans / "a.nrrd", model=model, output=out)
    before = (out / "a.seg.nrrd").stat().st_mtime_ns
    events = []
    report = segment(scans, model=model, output=out, events=events)
    statuses = {event.case: event.status for event in events if isinstance(event, CaseDone)}
    assert statuses == {"a": "skipped", "b": "done", "c": "done"}
    assert (out / "a.seg.nrrd").stat().st_mtime_ns == before
    assert report["text"].startswith("2 done, 1 skipped")
    rows = table_of(out)
    assert {row["status"] for row in rows.values()} == {"done"}
    assert float(rows["a"]["white (ml)"]) > 0


def test_a_batch_tells_which_volumes_have_changed_since(tmp_path, model, scans):
    def notices():
        events = []
        segment(scans, model=model, output=tmp_path / "out", events=events)
        return [event.message for event in events if isinstance(event, Notice)]

    assert not any("Changed" in message for message in [*notices(), *notices()])
    changed = sorted(scans.iterdir())[0]
    later = changed.stat().st_mtime + 1000
    os.utime(changed, (later, later))
    assert any(f"were made: {changed.stem}. The results are kept" in each for each in notices())


def test_the_result_of_another_volume_of_that_name_is_not_kept(tmp_path, model):
    out = tmp_path / "out"
    for patient in ("p1", "p2"):
        write_case(tmp_path / patient / "ct.nrrd", seed=int(patient[1]))
    segment(tmp_path / "p1", model=model, output=out)
    with pytest.raises(OutputError, match=r"p1.ct\.nrrd, not from .*p2.ct\.nrrd") as caught:
        segment(tmp_path / "p2", model=model, output=out)
    assert caught.value.code == "other-volume"
    segment(tmp_path / "p1", model=model, output=out)
    segment(tmp_path / "p2", model=model, output=out, overwrite=True)
    assert segment(tmp_path / "p2", model=model, output=out)["text"].startswith("0 done, 1 skipped")


def test_results_are_kept_when_their_volumes_were_copied_or_moved(tmp_path, model, scans):
    out = tmp_path / "out"
    segment(scans, model=model, output=out)
    copied = shutil.copytree(scans, tmp_path / "copied")
    for there in (True, False):
        if not there:
            shutil.rmtree(scans)
        events = []
        report = segment(copied, model=model, output=out, events=events)
        assert report["text"].startswith("0 done, 3 skipped")
        notices = [event.message for event in events if isinstance(event, Notice)]
        assert any("No longer where they were" in notice for notice in notices) is not there


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ({}, {"mirroring": True}, "made as usual, not with mirroring"),
        (
            {"postprocessing": "off", "overlap": 0.25},
            {"overlap": 0.25},
            "made with overlap=0.25 postprocessing=off, not with overlap=0.25",
        ),
    ],
)
def test_the_result_of_other_options_is_not_kept(tmp_path, model, scans, then, now, told):
    out = tmp_path / "out"
    segment(scans / "a.nrrd", model=model, output=out, **then)
    segment(scans / "a.nrrd", model=model, output=out, **then)
    with pytest.raises(OutputError, match=told):
        segment(scans / "a.nrrd", model=model, output=out, **now)
    segment(scans / "a.nrrd", model=model, output=out, overwrite=True, **now)
    segment(scans / "a.nrrd", model=model, output=out, **now)


def test_the_result_of_another_series_is_not_kept(tmp_path, model, scans):
    out = tmp_path / "out"
    segment(scans / "a.nrrd", model=model, output=out, series="echo=1")
    segment(scans / "a.nrrd", model=model, output=out, series="echo=1")
    with pytest.raises(OutputError, match="the series echo=1, not with echo=2"):
        segment(scans / "a.nrrd", model=model, output=out, series="echo=2")


def test_a_batch_computes_all_cases_again_when_asked_for(tmp_path, model, scans):
    out = tmp_path / "out"
    segment(scans, model=model, output=out)
    (out / "a.seg.nrrd").write_text("broken")
    segment(scans, model=model, output=out, overwrite=True)
    read_label_map(out / "a.seg.nrrd")


def test_a_result_of_unknown_origin_is_kept_and_said_so(tmp_path, model, scans):
    out = tmp_path / "out"
    segment(scans, model=model, output=out)
    (out / "cases.csv").unlink()
    segment(scans, model=model, output=out)
    assert {row["status"] for row in table_of(out).values()} == {"skipped"}


@pytest.mark.parametrize("name", ["report", "uncertainty"])
def test_kept_results_that_lack_what_is_asked_for_now_are_named(tmp_path, model, scans, name):
    out = tmp_path / "out"
    segment(scans / "a.nrrd", model=model, output=out)
    before = (out / "a.seg.nrrd").read_bytes()
    for has_them in (False, True):
        if has_them:
            segment(scans, model=model, output=out, overwrite=True, **{name: out / "more"})
        events = []
        segment(scans, model=model, output=out, events=events, **{name: out / "more"})
        told = [event.message for event in events if isinstance(event, Notice)]
        assert (
            any("asked for now: a. The results are kept" in each for each in told) is not has_them
        )
        assert (out / "a.seg.nrrd").read_bytes() == before


@pytest.mark.parametrize("header", ["name,status,split", "case,label,dice"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_table_of_a_training_set_or_an_evaluation_is_never_replaced(
    tmp_path, model, scans, header, overwrite
):
    table = tmp_path / "out" / "cases.csv"
    table.parent.mkdir()
    table.write_text(f"{header}\na,checked,train\n")
    with pytest.raises(OutputError, match="no table of a batch"):
        segment(scans, model=model, output=tmp_path / "out", overwrite=overwrite)
    assert files_in(tmp_path / "out") == ["cases.csv"]
    assert table.read_text().startswith(header)


def test_results_of_another_model_are_not_mixed_in(tmp_path, model, scans):
    out = tmp_path / "out"
    segment(scans / "a.nrrd", model=model, output=out)
    other = a_bundle(tmp_path / "other", a_manifest(name="other"))
    with pytest.raises(OutputError, match="made by tiny"):
        segment(scans, model=other, output=out)
    segment(scans, model=other, output=out, overwrite=True)
    assert table_of(out)["a"]["model"].startswith("other")


def test_results_that_lack_a_wanted_label_are_not_mixed_in(tmp_path, model, scans):
    out = tmp_path / "out"
    first, second = (label.name for label in LABELS)
    segment(scans / "a.nrrd", model=model, output=out, only=first)
    for only in (None, f"{first},{second}", second):
        with pytest.raises(OutputError, match=f"made without {second}") as caught:
            segment(scans, model=model, output=out, only=only)
        assert caught.value.code == "other-labels"
    segment(scans, model=model, output=out, only=first)
    segment(scans, model=model, output=out, overwrite=True)
    segment(scans, model=model, output=out, only=first)
    assert {row["status"] for row in table_of(out).values()} == {"done"}


def test_a_case_that_fails_does_not_stop_the_others(tmp_path, model, scans):
    (scans / "b.nrrd").write_bytes(b"no image")
    events = []
    with pytest.raises(BatchError, match="1 of 3 cases failed") as caught:
        segment(
            scans,
            model=model,
            output=tmp_path / "out",
            statistics=tmp_path / "v.csv",
            events=events,
        )
    assert "b.nrrd" in caught.value.message
    statuses = {event.case: event.status for event in events if isinstance(event, CaseDone)}
    assert statuses == {"a": "done", "b": "failed", "c": "done"}
    assert files_in(tmp_path / "out") == ["a.seg.nrrd", "c.seg.nrrd", "cases.csv"]
    row = table_of(tmp_path / "out")["b"]
    assert (row["status"], Path(row["input"]).name) == ("failed", "b.nrrd")
    assert "b.nrrd" in row["message"]
    text = (tmp_path / "v.csv").read_text("utf-8")
    assert [line.split(",")[0] for line in text.splitlines()[1::2]] == ["a", "c"]


@pytest.mark.parametrize("error", [RuntimeError("ITK"), MemoryError("full"), ValueError("odd")])
def test_what_one_bad_volume_can_raise_is_kept_to_its_case(
    tmp_path, model, scans, monkeypatch, error, caplog
):
    compute = Segmenter.segment

    def fail(segmenter, volume, events):
        if volume.name == "a":
            raise error
        return compute(segmenter, volume, events)

    monkeypatch.setattr(Segmenter, "segment", fail)
    with pytest.raises(BatchError, match=str(error)):
        segment(scans, model=model, output=tmp_path / "out")
    assert files_in(tmp_path / "out") == ["b.seg.nrrd", "c.seg.nrrd", "cases.csv"]
    assert "a failed" in caplog.text


def test_a_result_that_is_empty_or_cut_is_made_again(tmp_path, model, scans):
    out = tmp_path / "out"
    segment(scans, model=model, output=out)
    whole = {name: (out / f"{name}.seg.nrrd").read_bytes() for name in "abc"}
    (out / "a.seg.nrrd").write_bytes(b"")
    (out / "b.seg.nrrd").write_bytes(whole["b"][: len(whole["b"]) * 2 // 3])

    report = segment(scans, model=model, output=out)

    assert {name: (out / f"{name}.seg.nrrd").read_bytes() for name in "abc"} == whole
    statuses = {name: case["status"] for name, case in report["cases"].items()}
    assert statuses == {"a": "done", "b": "done", "c": "skipped"}


def test_a_case_that_its_reader_did_not_survive_is_not_tried_again(
    tmp_path, model, scans, monkeypatch
):
    tried = []

    def die(_reader, source, **options):
        tried.append(source.name)
        if source.name == "b.nrrd":
            raise DataError("It died.", code="reader-died", remedy="Convert it.")
        return read_volume(source, **options)

    monkeypatch.setattr("MISFMLib.volumes.reader_process.ReaderProcess.__call__", die)
    for expected in (["a.nrrd", "b.nrrd", "c.nrrd"], []):
        tried.clear()
        with pytest.raises(BatchError, match="1 of 3 cases failed"):
            segment(scans, model=model, output=tmp_path / "out")
        assert tried == expected
    assert table_of(tmp_path / "out")["b"]["code"] == "reader-died"
    with pytest.raises(BatchError):
        segment(scans, model=model, output=tmp_path / "out", overwrite=True)
    assert "b.nrrd" in tried


@pytest.fixture
def engines_that_change(monkeypatch):
    """The engine that is chosen changes after the first volume, as when a conversion pays."""
    chosen = []

    def choose(_engines, _name, _precision, work, *_others):
        chosen.append(work.windows)
        name = "OpenVINO 1.0" if len(chosen) == 1 else "PyTorch 2.0"
        return Engine(Thresholds(), "fp32", name)

    def again(_engines, settled, _work, *_others):
        return Engine(Thresholds(), settled.precision, f"{settled.program} 1.0")

    monkeypatch.setattr(Engines, "choose", choose)
    monkeypatch.setattr(Engines, "again", again)
    return chosen


def test_one_engine_computes_a_whole_batch_and_is_written_down(
    tmp_path, model, scans, engines_that_change
):
    out = tmp_path / "out"
    segment(scans, model=model, output=out)
    rows = table_of(out)
    assert {row["engine"] for row in rows.values()} == {"OpenVINO in fp32 on cpu"}
    assert len(engines_that_change) == 1

    (out / "b.seg.nrrd").unlink()
    segment(scans, model=model, output=out)
    assert table_of(out)["b"]["engine"] == "OpenVINO in fp32 on cpu"
    assert len(engines_that_change) == 1


def test_all_volumes_of_a_batch_count_for_the_choice(tmp_path, model, scans, engines_that_change):
    segment(scans / "a.nrrd", model=model, output=tmp_path / "a.nrrd")
    alone = engines_that_change.pop()
    segment(scans, model=model, output=tmp_path / "out")
    assert engines_that_change == [3 * alone]


@pytest.mark.parametrize("settings", [{"engine": "torch"}, {"precision": "bf16"}])
def test_a_batch_does_not_go_on_with_another_engine(
    tmp_path, model, scans, engines_that_change, settings
):
    out = tmp_path / "out"
    segment(scans, model=model, output=out)
    (out / "b.seg.nrrd").unlink()
    with pytest.raises(OutputError, match="OpenVINO in fp32 on cpu") as caught:
        segment(scans, model=model, output=out, **settings)
    assert caught.value.code == "other-engine"
    assert not (out / "b.seg.nrrd").exists()


def test_a_failed_batch_names_the_first_failures(tmp_path, model):
    scans = [tmp_path / f"missing{number}.nrrd" for number in range(5)]
    with pytest.raises(BatchError, match=r"5 of 5 cases failed .*; and 2 more"):
        segment(*scans, model=model, output=tmp_path / "out")


def test_statistics_of_a_resumed_batch_cover_all_cases(tmp_path, model, scans):
    out, table = tmp_path / "out", tmp_path / "volumes.csv"
    segment(scans, model=model, output=out, statistics=table)
    complete = table.read_text("utf-8")
    (out / "b.seg.nrrd").unlink()
    segment(scans, model=model, output=out, statistics=table)
    assert table.read_text("utf-8") == complete


def test_pictures_and_reports_of_a_batch_go_into_folders(tmp_path, model, scans):
    pytest.importorskip("matplotlib")
    segment(
        scans,
        model=model,
        output=tmp_path / "out",
        overview=tmp_path / "pictures",
        report=tmp_path / "reports",
        uncertainty=tmp_path / "uncertainty",
    )
    assert files_in(tmp_path / "pictures") == ["a.png", "b.png", "c.png"]
    assert files_in(tmp_path / "uncertainty") == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert files_in(tmp_path / "reports") == ["a.json", "b.json", "c.json"]


def test_results_below_the_input_folder_are_no_inputs(tmp_path, model, scans):
    settings = {"output": scans / "results", "uncertainty": scans / "uncertainty"}
    segment(scans, model=model, **settings)
    segment(scans, model=model, **settings)
    assert len(files_in(scans / "results")) == 4


def test_segmentations_in_the_input_folder_are_no_inputs(tmp_path, model, scans):
    write_case(scans / "a.seg.nrrd")
    segment(scans, model=model, output=tmp_path / "out")
    assert list(table_of(tmp_path / "out")) == ["a", "b", "c"]


def test_equal_names_are_told_apart_by_their_folders(tmp_path, model):
    for case in ("one", "two"):
        write_case(tmp_path / "cases" / case / "ct.nrrd")
    segment(tmp_path / "cases", model=model, output=tmp_path / "out")
    assert files_in(tmp_path / "out") == ["cases.csv", "one_ct.seg.nrrd", "two_ct.seg.nrrd"]


# ----------------------------------------------------------------------------- cancelled, killed


@pytest.mark.parametrize("stage", ["read", "segment", "write"])
def test_a_keyboard_interrupt_passes_and_leaves_only_the_table(tmp_path, model, scans, stage):
    def interrupt(event):
        if isinstance(event, Progress) and event.stage == stage:
            raise KeyboardInterrupt

    config = configs.SegmentConfig(
        images=(scans,), model=model, output=tmp_path / "out", device="cpu"
    )
    with pytest.raises(KeyboardInterrupt):
        run_segment(config, interrupt)
    assert files_in(tmp_path / "out") == ["cases.csv"]
    assert [row["status"] for row in rows_of(tmp_path / "out" / "cases.csv")] == ["cancelled"]


@pytest.mark.parametrize("stop", [JobCancelled, KeyboardInterrupt])
def test_a_case_that_was_stopped_is_cancelled_and_not_failed(tmp_path, model, scans, stop):
    heard = []

    def hear(event):
        heard.append(event)
        if isinstance(event, Progress) and "case 2 of 3: window" in event.message:
            raise stop()

    with pytest.raises(stop):
        run_segment(
            configs.SegmentConfig(
                images=(scans,), model=str(model), output=tmp_path / "out", device="cpu"
            ),
            hear,
        )
    rows = table_of(tmp_path / "out")
    assert {name: row["status"] for name, row in rows.items()} == {"a": "done", "b": "cancelled"}
    statuses = [event.status for event in heard if isinstance(event, CaseDone)]
    assert statuses == ["done", "cancelled"]
    segment(scans, model=model, output=tmp_path / "out")
    assert {row["status"] for row in table_of(tmp_path / "out").values()} == {"done"}


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_killed_batch_keeps_its_table_and_goes_on(tmp_path, model, scans):
    """Killed after the first case; the second run does only the others."""
    out = tmp_path / "out"
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from MISFMLib.configs import SegmentConfig
        from MISFMLib.events import CaseDone
        from MISFMLib.inference import engines
        from MISFMLib.jobs.segment.segment import run_segment
        import torch

        class Fake(torch.nn.Module):
            def forward(self, x):
                return torch.cat([torch.zeros_like(x), x - 100, 2 * x - 400], dim=1)

        def kill(event):
            if isinstance(event, CaseDone):
                os.kill(os.getpid(), signal.SIGKILL)

        engines.network_from_bundle = lambda _bundle: Fake()
        images, model, output = map(Path, sys.argv[2:])
        config = SegmentConfig(
                images=(images,), model=str(model), output=output, device="cpu", format="seg.nrrd"
            )
        run_segment(config, kill)
        """
    )
    arguments = [str(Path(__file__).parents[2]), str(scans), model, str(out)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=False, timeout=120, env=dict(os.environ)
    )
    assert done.returncode == -signal.SIGKILL
    assert files_in(out) == [".misfm-work", "a.seg.nrrd", "cases.csv"]
    events = []
    segment(scans, model=model, output=out, events=events)
    statuses = {event.case: event.status for event in events if isinstance(event, CaseDone)}
    assert statuses == {"a": "skipped", "b": "done", "c": "done"}
    assert list(table_of(out)) == ["a", "b", "c"]


# ----------------------------------------------------------------------------------------- DICOM


def dicom_series(shared_data):

    folders = [path for path in find_volumes(shared_data / "samples" / "dicom") if path.is_dir()]
    assert folders
    return folders[0]


@pytest.mark.slow
def test_every_real_volume_gets_a_label_map_on_its_own_grid(tmp_path, model, shared_data):
    """Oblique, sagittal, DICOM: crop and resampling are undone on each."""
    settings = PreprocessingConfig(
        intensity=(RAW,), patch_size=(64, 96, 96), spacing_dhw=(3.0, 2.0, 2.0), crop="nonzero"
    )
    resampling = a_bundle(tmp_path / "resampling", a_manifest(preprocessing=settings))
    report = segment(
        shared_data / "samples", model=resampling, output=tmp_path / "out", overlap=0.0
    )
    for name, case in report["cases"].items():
        result = read_label_map(tmp_path / "out" / case["output"])
        expected = case["input"]
        assert list(result.geometry.shape_dhw) == expected["shape_dhw"], name
        for value in ("spacing_dhw", "origin_xyz", "direction"):
            np.testing.assert_allclose(
                getattr(result.geometry, value), expected[value], atol=1e-3, err_msg=name
            )


def test_a_dicom_series_becomes_a_dicom_seg(tmp_path, model, shared_data):
    pytest.importorskip("highdicom")
    pydicom = pytest.importorskip("pydicom")
    segment(dicom_series(shared_data), model=model, output=tmp_path / "o.dcm")
    assert pydicom.dcmread(tmp_path / "o.dcm").Modality == "SEG"


def test_the_statistics_keep_dicom_results_of_earlier_runs(tmp_path, model, shared_data):
    pytest.importorskip("highdicom")
    labels = (LabelConfig(value=7, name="liver"), LabelConfig(value=3, name="spleen" * 12))
    numbered = a_bundle(tmp_path / "numbered", a_manifest(labels=labels))
    tables = []
    for _ in range(2):
        segment(
            dicom_series(shared_data),
            model=numbered,
            output=tmp_path / "out",
            format="dcm",
            statistics=tmp_path / "v.csv",
        )
        tables.append((tmp_path / "v.csv").read_text("utf-8"))
    assert ",7,liver," in tables[0]
    assert tables[1] == tables[0]


# ------------------------------------------------------------------- names and formats of a batch


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("a.nii.gz", "a.nii.gz"),
        ("a.nii", "a.nii"),
        ("a.nrrd", "a.nrrd"),
        ("a.mha", "a.mha"),
        ("a.NII.GZ", "a.nii.gz"),
    ],
)
def test_results_in_a_folder_have_the_format_of_their_image(tmp_path, model, name, result):
    write_case(tmp_path / "scans" / name.lower())
    (tmp_path / "scans" / name.lower()).rename(tmp_path / "scans" / name)
    segment(tmp_path / "scans", model=model, output=tmp_path / "out", format=None)
    assert files_in(tmp_path / "out") == sorted([result, "cases.csv"])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        # A disc of a hospital, BIDS sessions, and one patient beside folders of patients.
        (("PA1/ST1/SE1/a", "PA2/ST1/SE1/a"), ("PA1_a", "PA2_a")),
        (
            ("sub-1/ses-1/anat/T1w", "sub-1/ses-2/anat/T1w", "sub-2/ses-1/anat/T1w"),
            ("sub-1_ses-1_T1w", "sub-1_ses-2_T1w", "sub-2_ses-1_T1w"),
        ),
        (("p1/ct", "p2/late/ct"), ("p1_ct", "p2_late_ct")),
        (("p1/ct", "p2/mr"), ("ct", "mr")),
        (("a_b/c", "a/b_c", "x/c"), ("a_b_c", "b_c", "x_c")),
        (("p/c", "q/c", "x/p_c"), ("p_c", "q_c", "x_p_c")),
    ],
)
def test_equal_names_are_told_apart_by_the_folders_that_differ(tmp_path, paths, names):
    found = distinct_names([tmp_path / f"{path}.nii.gz" for path in paths])
    assert tuple(found) == names


def test_volumes_of_linked_folders_are_found_once(tmp_path):
    for name in ("real/a", "cohort/b"):
        write_case(tmp_path / f"{name}.nii.gz")
    (tmp_path / "cohort/p1").symlink_to(tmp_path / "real")
    (tmp_path / "cohort/p1/back").symlink_to(tmp_path / "cohort")
    (tmp_path / "cohort/c.nii.gz").symlink_to(tmp_path / "real/a.nii.gz")
    found = find_volumes(tmp_path / "cohort")
    assert [str(path.relative_to(tmp_path / "cohort")) for path in found] == [
        "b.nii.gz",
        "c.nii.gz",
        "p1/a.nii.gz",
    ]
