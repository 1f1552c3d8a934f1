"""`misfm evaluate`: pairing, grids, names, tables with stated rules, pictures of the worst."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib import cli
from MISFMLib.configs import EvaluateConfig, LabelConfig
from MISFMLib.errors import ConfigError, DataError, OutputError
from MISFMLib.events import CaseDone, Notice, ignore_events
from MISFMLib.jobs.evaluate.comparison import LabelScore
from MISFMLib.jobs.evaluate.evaluate import run_evaluate
from MISFMLib.jobs.evaluate.tables import label_rows, mean_dice
from MISFMLib.jobs.segment.table import model_name
from MISFMLib.metrics import Agreement
from MISFMLib.models.store import find_model
from MISFMLib.volumes.volume import (
    Geometry,
    LabelMap,
    Volume,
    write_label_map,
    write_volume,
)

SHAPE = (12, 14, 16)
GRID = Geometry(SHAPE, (2.0, 1.0, 1.5), (3.0, -4.0, 5.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
LABELS = (LabelConfig(value=1, name="liver"), LabelConfig(value=2, name="left kidney"))


def two_blocks(shift=0):
    array = np.zeros(SHAPE, np.uint8)
    array[2:6, 2:7, 2 + shift : 8 + shift] = 1
    array[7:11, 8:13, 9:14] = 2
    return array


def write(path, array, labels=(), geometry=GRID):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_label_map(LabelMap(array, geometry), path, labels=labels)


@pytest.fixture
def folders(tmp_path):
    """Three cases, of which the second is off by two columns and the third misses the kidney."""
    missed = two_blocks()
    missed[missed == 2] = 0
    for name, array in (("a", two_blocks()), ("b", two_blocks(2)), ("c", missed)):
        write(tmp_path / "found" / f"{name}.nii.gz", array)
        write(tmp_path / "right" / f"{name}.nii.gz", two_blocks())
    return tmp_path


def evaluate(folder, events=ignore_events, **options):
    settings = {"predictions": folder / "found", "references": folder / "right", "workers": 0}
    return run_evaluate(
        EvaluateConfig(**{"output": folder / "scores", **settings, **options}), events
    )


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_case_and_label_has_a_row(folders):
    report = evaluate(folders)
    rows = {(row["case"], row["label"]): row for row in table(folders / "scores" / "cases.csv")}
    assert len(rows) == 6
    assert float(rows["a", "label 1"]["dice"]) == 1
    # Six columns moved by two: four in common, twelve in both.
    assert float(rows["b", "label 1"]["dice"]) == pytest.approx(8 / 12, abs=1e-6)
    assert float(rows["b", "label 1"]["hausdorff95_mm"]) == pytest.approx(3.0)
    assert float(rows["b", "label 1"]["reference_ml"]) == pytest.approx(4 * 5 * 6 * 3 / 1000)
    assert report["cases"] == 3
    assert report["exit_code"] == 0
    assert "Nothing names the labels 1, 2: --labels 1=liver does." in report["text"]
    named = evaluate(folders, labels=("1=liver", "2=left_kidney"), overwrite=True)
    assert "Nothing names" not in named["text"]


def test_a_missed_label_scores_zero_and_has_no_distance(folders):
    evaluate(folders)
    (row,) = (
        r
        for r in table(folders / "scores" / "cases.csv")
        if r["case"] == "c" and r["label"] == "label 2"
    )
    assert (row["dice"], row["surface_dice"], row["hausdorff95_mm"], row["assd_mm"]) == (
        "0.0",
        "0.0",
        "",
        "",
    )
    (label,) = (r for r in table(folders / "scores" / "labels.csv") if r["label"] == "label 2")
    assert (label["dice_cases"], label["hausdorff95_mm_cases"]) == ("3", "2")
    assert float(label["dice_mean"]) == pytest.approx(2 / 3, abs=1e-6)


def test_a_label_that_occurs_nowhere_does_not_enter_the_mean(folders):
    report = evaluate(folders, labels=("1=liver", "2=kidney", "9=spleen"))
    spleen = report["labels"][-1]
    assert (spleen["label"], spleen["dice_cases"], spleen["dice_mean"]) == ("spleen", 0, "")
    others = [row["dice_mean"] for row in report["labels"][:2]]
    assert report["mean_dice_of_labels"] == pytest.approx(np.mean(others))
    assert "liver" in report["text"]


def test_what_nobody_has_labelled_has_no_score(tmp_path):
    ignored, without_kidney = two_blocks(), two_blocks()
    ignored[:, :, 12:] = 9  # half of the kidney
    without_kidney[without_kidney == 2] = 0
    for name, reference in (("a", ignored), ("b", without_kidney)):
        write(tmp_path / "found" / f"{name}.nii.gz", two_blocks())
        write(tmp_path / "right" / f"{name}.nii.gz", reference)
    content = {
        "labels": {"background": 0, "liver": 1, "kidney": 2, "ignore": 9},
        "training": [{"image": "b.nii.gz", "label": "./right/b.nii.gz", "not_drawn": [2]}],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    report = evaluate(tmp_path)
    scores = [(row["label"], row["dice_cases"], row["dice_mean"]) for row in report["labels"]]
    assert scores == [("liver", 2, 1.0), ("kidney", 1, 1.0)]
    assert "Voxels of the label 9 (ignore) are not compared." in report["text"]
    assert "Labels that nobody has drawn are not compared in b." in report["text"]
    single = {"predictions": tmp_path / "found/a.nii.gz", "references": tmp_path / "right/a.nii.gz"}
    report = evaluate(tmp_path, output=tmp_path / "single", **single)
    assert [row["dice_mean"] for row in report["labels"]] == [1.0, 1.0]


def test_tables_of_many_cases_go_through_the_scores_once():
    def scores():
        for case in "ab":
            for label, dice in (("liver", 0.5), ("kidney", float("nan"))):
                yield LabelScore(case, label, Agreement(dice, 1.0, dice, 1.0), 1.0, 1.0)

    assert mean_dice(scores()) == {"a": 0.5, "b": 0.5}
    counts = [(row["label"], row["dice_cases"]) for row in label_rows(scores())]
    assert counts == [("liver", 2), ("kidney", 0)]


def test_files_that_stand_alone_are_named(folders):
    write(folders / "right" / "d.nii.gz", two_blocks())
    write(folders / "found" / "e.nii.gz", two_blocks())
    report = evaluate(folders)
    assert (report["without_prediction"], report["without_reference"]) == (["d"], ["e"])
    assert report["exit_code"] == 8
    assert "d: has no segmentation" in report["text"]


def test_a_case_on_another_grid_is_left_out_by_name_and_the_others_compared(folders):
    (folders / "found" / "b.nii.gz").unlink()
    moved = Geometry(SHAPE, GRID.spacing_dhw, (13.0, -4.0, 5.0), GRID.direction)
    write(folders / "found" / "b.nii.gz", two_blocks(), geometry=moved)
    heard = []
    config = EvaluateConfig(
        predictions=folders / "found",
        references=folders / "right",
        output=folders / "scores",
        workers=0,
    )
    report = run_evaluate(config, heard.append)
    assert list(report["failed"]) == ["b"]
    assert "does not lie on the grid of its reference" in report["failed"]["b"]
    assert report["cases"] == 2
    assert [e.status for e in heard if isinstance(e, CaseDone)] == ["done", "failed", "done"]


def test_axes_in_another_order_are_the_same_grid(folders):
    (folders / "found" / "b.nii.gz").unlink()
    reversed_grid = Geometry(
        SHAPE, GRID.spacing_dhw, (3.0, -4.0, 5.0 + 11 * 2.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, -1.0)
    )
    write(folders / "found" / "b.nrrd", two_blocks()[::-1].copy(), geometry=reversed_grid)
    report = evaluate(folders)
    assert report["failed"] == {}
    rows = [row for row in table(folders / "scores" / "cases.csv") if row["case"] == "b"]
    assert [float(row["dice"]) for row in rows] == [1, 1]


def test_results_of_a_model_that_numbers_its_labels_otherwise_are_matched_by_name(tmp_path):
    manifest = find_model("hippocampus-mr").manifest
    write(tmp_path / "found" / "a.nii.gz", two_blocks())
    lines = ["case,status,model", f"a,done,{model_name(manifest)}"]
    (tmp_path / "found" / "cases.csv").write_text("\n".join(lines))
    swapped = two_blocks()
    swapped[swapped > 0] = 3 - swapped[swapped > 0]
    write(tmp_path / "right" / "a.nii.gz", swapped)
    labels = {label.name: 3 - label.value for label in manifest.labels}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, **labels}}))
    report = evaluate(tmp_path)
    assert [(row["label"], row["dice_mean"]) for row in report["labels"]] == [
        (name, 1.0) for name in sorted(labels, key=labels.get)
    ]
    (tmp_path / "right" / "a.nii.gz").unlink()
    write(tmp_path / "right" / "a.nii.gz", (two_blocks() == 1).astype(np.uint8))
    report = evaluate(tmp_path, labels=("1=anterior hippocampus",), overwrite=True)
    assert [row["dice_mean"] for row in report["labels"]] == [1.0]
    assert "have no such label: posterior hippocampus" in report["text"]
    # Under other names the numbers count, as before.
    report = evaluate(tmp_path, labels=("1=head", "2=tail"), overwrite=True)
    assert [row["dice_mean"] for row in report["labels"]] == [1.0, 0.0]


def test_labels_that_the_data_set_does_not_have_are_not_compared(tmp_path):
    write(tmp_path / "found" / "a.seg.nrrd", two_blocks(), LABELS)
    write(tmp_path / "right" / "a.nii.gz", (two_blocks() == 2).astype(np.uint8))
    report = evaluate(tmp_path, labels=("1=left kidney",))
    assert [(row["label"], row["dice_mean"]) for row in report["labels"]] == [("left kidney", 1.0)]
    assert "Not compared, since the references have no such label: liver" in report["text"]


def test_a_label_that_only_the_data_set_has_may_be_a_slip(tmp_path):
    write(tmp_path / "found" / "a.seg.nrrd", two_blocks(), LABELS)
    write(tmp_path / "right" / "a.nii.gz", two_blocks())
    with pytest.raises(DataError, match="holds the segments left kidney"):
        evaluate(tmp_path, labels=("1=liver", "2=kidney, left"))


def test_segments_are_matched_by_name(folders):
    swapped = two_blocks()
    swapped[swapped > 0] = 3 - swapped[swapped > 0]
    (folders / "found" / "a.nii.gz").unlink()
    (folders / "right" / "a.nii.gz").unlink()
    write(folders / "right" / "a.seg.nrrd", two_blocks(), LABELS)
    renumbered = [LabelConfig(value=3 - label.value, name=label.name) for label in LABELS]
    write(folders / "found" / "a.seg.nrrd", swapped, renumbered)
    evaluate(folders)
    rows = [row for row in table(folders / "scores" / "cases.csv") if row["case"] == "a"]
    assert [(row["label"], float(row["dice"])) for row in rows] == [
        ("liver", 1),
        ("left kidney", 1),
    ]


def test_segmentations_name_the_labels_where_the_references_do_not(folders):
    for path in sorted((folders / "found").iterdir()):
        write(path.with_name(path.name.replace(".nii.gz", ".seg.nrrd")), two_blocks(), LABELS)
        path.unlink()
    report = evaluate(folders)
    assert [row["label"] for row in report["labels"]] == ["liver", "left kidney"]
    assert "Nothing names" not in report["text"]

    other = [LabelConfig(value=label.value, name=f"another {label.name}") for label in LABELS]
    (folders / "found" / "a.seg.nrrd").unlink()
    write(folders / "found" / "a.seg.nrrd", two_blocks(), other)
    report = evaluate(folders, overwrite=True)
    assert [row["label"] for row in report["labels"]] == ["label 1", "label 2"]


def test_a_reference_that_slicer_saved_as_a_box_is_compared_on_the_whole_grid(folders):
    (folders / "right/a.nii.gz").unlink()
    x, y, z = GRID.position_xyz((1, 1, 1)).tolist()
    part = Geometry((11, 13, 15), GRID.spacing_dhw, (x, y, z), GRID.direction)
    write(folders / "right/a.seg.nrrd", two_blocks()[1:, 1:, 1:], LABELS, part)
    write(folders / "found/a.seg.nrrd", two_blocks(), LABELS)
    (folders / "found/a.nii.gz").unlink()
    evaluate(folders)
    rows = table(folders / "scores" / "cases.csv")
    assert {row["label"]: float(row["dice"]) for row in rows if row["case"] == "a"} == {
        "liver": 1,
        "left kidney": 1,
    }


def test_names_come_from_the_dataset_json_beside_the_references(folders):
    content = {"labels": {"background": 0, "liver": 1, "left kidney": 2}}
    (folders / "dataset.json").write_text(json.dumps(content), "utf-8")
    report = evaluate(folders)
    assert [row["label"] for row in report["labels"]] == ["liver", "left kidney"]


def test_two_files_are_one_case(folders):
    settings = {
        "predictions": folders / "found" / "b.nii.gz",
        "references": folders / "right" / "a.nii.gz",
    }
    report = evaluate(folders, **settings)
    assert report["cases"] == 1


def test_several_processes_find_the_same(folders):
    write(folders / "found" / "d.nii.gz", two_blocks(1))
    write(folders / "right" / "d.nii.gz", two_blocks())
    evaluate(folders)
    evaluate(folders, workers=2, output=folders / "again")
    for name in ("cases.csv", "labels.csv"):
        assert (folders / "again" / name).read_bytes() == (folders / "scores" / name).read_bytes()


def test_the_worst_cases_are_drawn(folders):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    for name in "abc":
        array = rng.integers(0, 100, (1, *SHAPE)).astype(np.int16)
        write_volume(Volume(array, GRID, name), folders / "images" / f"{name}_0000.nii.gz")
    evaluate(folders, images=folders / "images", worst=1)
    assert [path.name for path in (folders / "scores" / "worst").iterdir()] == ["c.png"]
    assert (folders / "scores" / "worst" / "c.png").stat().st_size > 10_000


def test_of_an_image_whose_channels_are_its_fourth_axis_the_first_is_drawn(folders):
    """As the Decathlon has them, which `misfm segment` takes."""
    pytest.importorskip("matplotlib")
    (folders / "images").mkdir()
    image = sitk.ReadImage(str(folders / "right" / "c.nii.gz"))
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(folders / "images" / "c.nii.gz"))
    events = []
    evaluate(folders, events.append, images=folders / "images", worst=1)
    assert not [event for event in events if isinstance(event, Notice)]
    assert (folders / "scores" / "worst" / "c.png").is_file()


def test_a_table_of_another_kind_is_never_replaced(folders):
    other = folders / "found" / "cases.csv"
    other.write_text("case,status,seconds\na,done,1\n")
    with pytest.raises(OutputError, match="no table of an evaluation"):
        evaluate(folders, output=folders / "found", overwrite=True)
    assert other.read_text().startswith("case,status")


def test_an_evaluation_is_not_replaced(folders):
    evaluate(folders)
    with pytest.raises(OutputError):
        evaluate(folders)
    evaluate(folders, overwrite=True)


@pytest.mark.parametrize(
    ("predictions", "references", "code"),
    [
        ("absent", "right", "file-missing"),
        ("found", "right/a.nii.gz", "not-a-pair"),
        ("found", "empty", "no-pair"),
    ],
)
def test_what_cannot_be_paired_is_refused(folders, predictions, references, code):
    (folders / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        evaluate(folders, predictions=folders / predictions, references=folders / references)
    assert caught.value.code == code


def test_folders_of_patients_are_paired_with_the_results_of_a_batch(tmp_path):
    for patient in ("P1", "P2"):
        # As `misfm segment` calls what it makes of P1/t1.nii.gz, P2/t1.nii.gz.
        write(tmp_path / "found" / f"{patient}_t1.nii.gz", two_blocks())
        write(tmp_path / "right" / patient / "seg_final.nii.gz", two_blocks())
        write_scan(tmp_path / "scans" / patient / "t1.nii.gz")
    write(tmp_path / "right" / "P3" / "seg_final.nii.gz", two_blocks())
    heard = []
    report = evaluate(tmp_path, heard.append, images=tmp_path / "scans")
    assert [row["dice_mean"] for row in report["labels"]] == [1.0, 1.0]
    assert report["without_prediction"] == ["P3_seg_final"]
    assert {file.name for file in (tmp_path / "scores" / "worst").iterdir()} == {
        "P1_t1.png",
        "P2_t1.png",
    }
    told = [event.message for event in heard if isinstance(event, Notice)]
    assert told == [
        "No names are the same on both sides. Paired by what tells those of a side apart: "
        "P1_t1 with P1_seg_final, P2_t1 with P2_seg_final."
    ]


def test_names_of_other_patients_are_not_paired(tmp_path):
    write(tmp_path / "found" / "P1_visit1.nii.gz", two_blocks())
    write(tmp_path / "found" / "P2_visit1.nii.gz", two_blocks())
    write(tmp_path / "right" / "P1_visit2.nii.gz", two_blocks())
    write(tmp_path / "right" / "P2_visit2.nii.gz", two_blocks())
    with pytest.raises(DataError) as caught:
        evaluate(tmp_path)
    assert caught.value.code == "no-pair"


def test_references_beside_their_scans_are_told_from_them(tmp_path):
    lines = ["case,status,input"]
    for patient in ("P1", "P2"):
        write(tmp_path / "found" / f"{patient}_ct.nii.gz", two_blocks())
        write_scan(tmp_path / "right" / patient / f"{patient}_ct.nii.gz")
        write(tmp_path / "right" / patient / f"{patient}_seg.nii.gz", two_blocks())
        lines.append(f"{patient}_ct,done,../right/{patient}/{patient}_ct.nii.gz")
    write_scan(tmp_path / "right" / "P3" / "P3_ct.nii.gz")
    lines.append("P3_ct,failed,../right/P3/P3_ct.nii.gz")
    (tmp_path / "found" / "cases.csv").write_text("\n".join(lines), "utf-8-sig")
    report = evaluate(tmp_path)
    assert [row["dice_mean"] for row in report["labels"]] == [1.0, 1.0]
    assert report["exit_code"] == 0


def test_a_scan_is_no_reference(tmp_path):
    write(tmp_path / "found" / "a.nii.gz", two_blocks())
    write_scan(tmp_path / "right" / "a.nii.gz")
    with pytest.raises(DataError, match=r"a\.nii\.gz looks like a scan, not like a label map"):
        evaluate(tmp_path)


def write_scan(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 900, (1, *SHAPE)).astype(np.int16)
    write_volume(Volume(values, GRID, "scan"), path)


def test_two_files_of_one_name_are_refused(folders):
    write(folders / "found" / "a.nrrd", two_blocks())
    with pytest.raises(DataError) as caught:
        evaluate(folders)
    assert caught.value.code == "same-name"


@pytest.mark.parametrize(
    "options", [{"tolerance_mm": 0}, {"worst": -1}, {"tolerance_mm": float("nan")}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        EvaluateConfig(predictions=Path("a"), references=Path("b"), output=Path("c"), **options)


def test_the_command_line_evaluates(folders, capsys):
    words = ["evaluate", str(folders / "found"), str(folders / "right"), "-o", str(folders / "out")]
    assert cli.main(words) == 0
    assert "Mean Dice of the labels" in capsys.readouterr().out


def test_shards_share_the_work_and_the_last_one_writes_the_tables(folders):
    evaluate(folders)
    output = folders / "shards"
    with pytest.raises(ConfigError) as caught:
        evaluate(folders, output=output, merge=True)
    assert caught.value.code == "nothing-to-merge"
    assert not output.exists()
    assert evaluate(folders, output=output, shard="1/2")["open"] == 1
    assert evaluate(folders, output=output, merge=True)["open"] == 1
    assert not (output / "cases.csv").exists()
    assert evaluate(folders, output=output, shard="2/2")["cases"] == 3
    for name in ("cases.csv", "labels.csv", "summary.json"):
        assert (output / name).read_bytes() == (folders / "scores" / name).read_bytes()
    assert evaluate(folders, output=output, shard="2/2")["open"] == 0
    assert not (output / ".misfm-work").exists()


def test_a_stopped_evaluation_goes_on_with_what_has_changed_or_is_missing(folders):
    def stop(event):
        if isinstance(event, CaseDone) and event.case == "b":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(folders, stop)
    (folders / "found" / "a.nii.gz").unlink()
    write(folders / "found" / "a.nii.gz", two_blocks(1))
    heard = []
    report = evaluate(folders, heard.append)
    assert [event.case for event in heard if isinstance(event, CaseDone)] == ["a", "c"]
    assert evaluate(folders, output=folders / "whole")["labels"] == report["labels"]


def test_voxels_beside_a_header_that_has_not_changed_are_compared_anew(folders):
    path = folders / "found" / "a.mhd"
    (folders / "found" / "a.nii.gz").unlink()

    def write_beside(array):
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(sitk.ReadImage(str(folders / "right" / "a.nii.gz")))
        times = path.stat() if path.exists() else None
        sitk.WriteImage(image, str(path))
        if times:
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def stop(event):
        if isinstance(event, CaseDone) and event.case == "b":
            raise KeyboardInterrupt

    write_beside(two_blocks())
    with pytest.raises(KeyboardInterrupt):
        evaluate(folders, stop)
    write_beside(two_blocks(1))
    heard = []
    evaluate(folders, heard.append)
    assert [event.case for event in heard if isinstance(event, CaseDone)] == ["a", "c"]
