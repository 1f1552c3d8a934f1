"""`misfm review`: what is measured, who stands out and why, the files of the page, verdicts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib import cli
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.configs import CollectConfig, LabelConfig, ReviewConfig
from MISFMLib.data.cases import find_cases
from MISFMLib.errors import ConfigError, DataError, OutputError
from MISFMLib.events import ignore_events
from MISFMLib.jobs.collect import run_collect
from MISFMLib.jobs.review.measures import measure
from MISFMLib.jobs.review.outliers import find_outliers, robust_z
from MISFMLib.jobs.review.review import run_review
from MISFMLib.jobs.review.verdicts import read_verdicts
from MISFMLib.volumes.volume import (
    Geometry,
    LabelMap,
    Volume,
    read_label_map,
    read_volume,
    write_label_map,
    write_volume,
)

SHAPE = (24, 30, 40)
GRID = Geometry(SHAPE, (2.0, 1.0, 1.0), (3.0, -4.0, 5.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
NAMES = {1: "right kidney", 2: "left kidney"}
LABELS = tuple(LabelConfig(value=value, name=name) for value, name in NAMES.items())


def two_boxes(jitter=0, left=2, right=1):
    """Right of the patient is where W starts."""
    array = np.zeros(SHAPE, np.uint8)
    array[6:14, 8:18, 4 : 12 + jitter] = right
    array[6:14, 8:18, 26 : 34 - jitter] = left
    return array


def measured(array, volume=None, geometry=GRID):
    return measure(LabelMap(array, geometry), NAMES, volume)


def a_cohort(count=12):
    return {f"case{i:02}": measured(two_boxes(i % 3)) for i in range(count)}


def test_a_box_is_measured():
    found = measured(two_boxes())["right kidney"]
    assert found.volume_ml == pytest.approx(8 * 10 * 8 * 2 / 1000)
    assert (found.components, found.largest_share, found.cut_by) == (1, 1.0, "")
    assert found.extent_mm == (16.0, 10.0, 8.0)
    surface = 2 * (10 * 8 + 16 * 8 + 16 * 10)
    assert found.roughness == pytest.approx(surface**1.5 / 1280)
    assert found.flat == pytest.approx((80 / surface, 128 / surface, 160 / surface))
    assert found.offset_mm == pytest.approx((0, 0, -22))


def test_measures_do_not_depend_on_the_order_and_sense_of_the_axes():
    reversed_grid = Geometry(
        SHAPE, GRID.spacing_dhw, (3.0, -4.0, 5.0 + 23 * 2), (1.0, 0, 0, 0, 1.0, 0, 0, 0, -1.0)
    )
    array = two_boxes()
    array[:3, 0, 0] = 1
    assert measured(array[::-1].copy(), geometry=reversed_grid) == measured(array)


def test_a_structure_at_the_end_of_the_image_is_cut_off_there():
    array = two_boxes()
    array[14:, 8:18, 4:12] = 1
    assert measured(array)["right kidney"].cut_by == "S"


def test_without_deviations_nobody_stands_out():
    assert {finding.score for finding in find_outliers(a_cohort()).values()} == {0.0}


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        (two_boxes(left=0), "left kidney: missing"),
        (two_boxes(left=1, right=2), "left kidney and right kidney: on each other's side"),
        (np.roll(two_boxes(), 8, axis=0), "lies elsewhere in the image, towards head or feet"),
        (np.where(np.indices(SHAPE)[2] < 8, 0, two_boxes()), "ml, most others"),
    ],
)
def test_a_spoiled_case_stands_first_with_its_reason(spoiled, reason):
    cohort = {**a_cohort(), "spoiled": measured(spoiled)}
    found = find_outliers(cohort)
    assert max(found, key=lambda case: found[case].score) == "spoiled"
    assert any(reason in sentence for sentence in found["spoiled"].reasons)


def test_a_structure_that_the_image_cuts_off_is_not_called_small():
    array = np.zeros(SHAPE, np.uint8)
    array[:3, 8:18, 4:12] = 1
    cohort = {**a_cohort(), "cut": measured(array | (two_boxes() & 2))}
    reasons = find_outliers(cohort)["cut"].reasons
    assert any("cut off by the image's end (I)" in reason for reason in reasons)
    assert not any(reason.startswith("right kidney") and " ml," in reason for reason in reasons)


def test_an_image_that_does_not_belong_to_the_labels_is_seen():
    rng = np.random.default_rng(0)

    def scan(labels):
        array = rng.normal(100, 5, SHAPE).astype(np.float32) + 60 * (labels > 0)
        return Volume(array[np.newaxis], GRID, "scan")

    cohort = {f"case{i}": measured(two_boxes(i % 3), scan(two_boxes(i % 3))) for i in range(10)}
    cohort["wrong"] = measured(two_boxes(), scan(np.roll(two_boxes(), 9, axis=1)))
    found = find_outliers(cohort)
    assert max(found, key=lambda case: found[case].score) == "wrong"
    assert any("darker" in reason for reason in found["wrong"].reasons)


def test_few_cases_are_not_compared():
    cohort = a_cohort(4) | {"spoiled": measured(two_boxes(left=0))}
    assert (
        find_outliers(a_cohort(3) | {"spoiled": measured(two_boxes(left=0))})["spoiled"].score == 0
    )
    assert find_outliers(cohort)["spoiled"].score > 0


def test_z_scores_count_from_the_median_and_have_a_floor():
    values = np.array([1.0, 1.0, 1.0, 1.0, 2.0])
    assert robust_z(values, 0.5).tolist() == [0, 0, 0, 0, 2]


# ---------------------------------------------------------------------------------------- the page


@pytest.fixture
def results(tmp_path):
    """Nine results, of which one lacks a kidney, one is empty and one failed."""
    pytest.importorskip("PIL")
    rng = np.random.default_rng(0)
    for number in range(9):
        array = two_boxes(number % 3, left=0 if number == 4 else 2)
        if number == 7:
            array[:] = 0
        name = f"case{number}"
        write_label_map(
            LabelMap(array, GRID), make(tmp_path / "results") / f"{name}.seg.nrrd", labels=LABELS
        )
        image = rng.integers(0, 50, SHAPE).astype(np.int16) + 100 * (array > 0).astype(np.int16)
        write_volume(
            Volume(image[np.newaxis], GRID, name), make(tmp_path / "scans") / f"{name}_0000.nii.gz"
        )
    rows = "case,status,message\ncase9,failed,It is constant.\ncase1,done,\ncaseX,done,\n"
    (tmp_path / "results" / "cases.csv").write_text(rows, "utf-8")
    return tmp_path


def make(folder):
    folder.mkdir(exist_ok=True)
    return folder


def review(folder, events=ignore_events, **options):
    settings = {"results": folder / "results", "output": folder / "page", "workers": 0}
    return run_review(ReviewConfig(**{**settings, **options}), events)


def data_of(page):
    text = (page / "data.js").read_text("ascii")
    return json.loads(text.removeprefix("const REVIEW = ").removesuffix(";\n"))


def test_the_page_has_every_case_with_volumes_reasons_and_pictures(results):
    report = review(results, images=results / "scans")
    data = data_of(results / "page")
    cases = {case["name"]: case for case in data["cases"]}
    assert len(cases) == 11
    assert "label map is not there" in cases["caseX"]["reasons"][0]
    assert data["structures"] == ["left kidney", "right kidney"]
    assert cases["case0"]["volumes"] == [1.28, 1.28]
    assert cases["case4"]["volumes"][0] is None
    assert "left kidney: missing" in cases["case4"]["reasons"]
    assert cases["case7"]["reasons"] == ["The result is empty."]
    assert cases["case7"]["picture"]  # of the scan
    assert cases["case9"]["reasons"] == ["No result: It is constant."]
    assert report["first"][0] == "case4"
    for name in ("index.html", "review.css", "review.js"):
        assert (results / "page" / name).stat().st_size > 500
    picture = (results / "page" / "thumbnails" / "case0.jpg").read_bytes()
    assert picture[:2] == b"\xff\xd8"
    assert len(picture) < 40_000


def write_series(folder, series="1.2.3", offset=0):
    """Write a scan on GRID as a series of DICOM, with a ramp of grey values from the offset on."""
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    tags = {"0020|000d": "1.2", "0020|000e": series, "0008|0060": "MR"}
    tags |= {"0020|0037": "1\\0\\0\\0\\1\\0"}
    for number in range(SHAPE[0]):
        plane = sitk.GetImageFromArray((np.indices(SHAPE[1:])[0] + offset).astype(np.int16))
        place = "\\".join(map(str, GRID.position_xyz((number, 0, 0))))
        own = {
            "0020|0032": place,
            "0008|0018": f"{series}.4.{number + 1}",
            "0020|0013": str(number),
        }
        for tag, value in (tags | own).items():
            plane.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{series}-{number:02}.dcm"))
        writer.Execute(plane)


def test_scans_are_found_by_the_names_that_segment_gives(results):
    """In folders of their own with one name, one as a series of DICOM."""
    scans = results / "scans"
    (results / "results" / "case8.seg.nrrd").rename(results / "results" / "series.seg.nrrd")
    for number, folder in enumerate(("a, b", "ü ö")):
        make(scans / folder)
        (scans / f"case{number}_0000.nii.gz").rename(scans / folder / "scan.nii.gz")
        label = results / "results" / f"case{number}.seg.nrrd"
        label.rename(results / "results" / f"{folder}_scan.seg.nrrd")
    write_series(make(scans / "series"))
    review(results, images=scans)
    cases = {case["name"]: case for case in data_of(results / "page")["cases"]}
    assert cases["a, b_scan"]["image"] == str(scans / "a, b" / "scan.nii.gz")
    assert cases["ü ö_scan"]["image"] == str(scans / "ü ö" / "scan.nii.gz")
    assert Path(cases["series"]["image"]).parent == scans / "series"
    assert Path(cases["series"]["image"]).is_file()


def test_of_several_series_in_a_folder_the_chosen_one_is_shown(results):
    folder = make(results / "scans" / "case8")
    (results / "scans" / "case8_0000.nii.gz").unlink()
    for number in (3, 5):
        write_series(folder, f"1.2.{number}", 100 * number)

    def shown(**options):
        review(results, images=results / "scans", overwrite=True, **options)
        (case,) = (c for c in data_of(results / "page")["cases"] if c["name"] == "case8")
        return case["image"], [text for text in case["reasons"] if "not shown" in text]

    image, reasons = shown()
    assert (Path(image), len(reasons)) == (folder, 1)
    image, reasons = shown(series="1.2.5")
    assert (Path(image).name[:5], reasons) == ("1.2.5", [])
    with pytest.raises(ConfigError):
        shown(series="eco=2")


def test_the_chosen_series_is_collected_to_be_corrected(results):
    folder = make(results / "scans" / "case8")
    (results / "scans" / "case8_0000.nii.gz").unlink()
    for number in (3, 5):
        write_series(folder, f"1.2.{number}", 100 * number)
    (results / "verdicts.csv").write_text("case,verdict,note\ncase8,wrong,\n", "utf-8")
    review(results, images=results / "scans", verdicts=results / "verdicts.csv")
    data = results / "page" / "to_correct.csv"

    def collected(name, **options):
        config = CollectConfig(data=data, output=results / name, as_proposals=True, **options)
        report = run_collect(config)
        return TrainingSet(results / name), list(report["refused"])

    assert collected("none")[1] == ["case8"]
    made, refused = collected("set", series="1.2.5")
    assert refused == []
    assert read_volume(made.images("case8")).array_CDHW.min() == 500
    with pytest.raises(ConfigError):
        collected("other", series="eco=2")


def test_of_a_scan_whose_channels_are_its_fourth_axis_the_first_is_shown(results):
    path = results / "scans" / "case3_0000.nii.gz"
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(sitk.JoinSeries([image, image + 1]), str(path))
    review(results, images=results / "scans")
    (case,) = (c for c in data_of(results / "page")["cases"] if c["name"] == "case3")
    assert not any("not shown" in reason for reason in case["reasons"])


def test_a_scan_that_cannot_be_read_does_not_hide_the_result(results):
    (results / "scans" / "case3_0000.nii.gz").write_bytes(b"no image")
    review(results, images=results / "scans")
    (case,) = (c for c in data_of(results / "page")["cases"] if c["name"] == "case3")
    assert case["picture"]
    assert any(reason.startswith("The scan is not shown: ") for reason in case["reasons"])


def test_a_case_with_the_number_of_a_channel_is_one_case(results):
    """`misfm segment` keeps it in the name where not all scans have it."""
    (results / "results" / "case0.seg.nrrd").rename(results / "results" / "case0_0000.seg.nrrd")
    table = results / "results" / "cases.csv"
    table.write_text("case,status,message\ncase0_0000,done,\n", "utf-8")
    (results / "scans" / "case1_0000.nii.gz").rename(results / "scans" / "case1.nii.gz")
    review(results, images=results / "scans")
    cases = {case["name"]: case for case in data_of(results / "page")["cases"]}
    assert "case0" not in cases
    assert cases["case0_0000"]["picture"]
    assert cases["case0_0000"]["image"] == str(results / "scans" / "case0_0000.nii.gz")


def test_the_page_tells_what_the_reports_say(results):
    reports = make(results / "reports")
    place = {"index_ijk": [8, 12, 7], "labels": ["left kidney", "background"]}
    told = {"notices": ["It is brighter."], "certainty": 0.75, "where_to_look": [place]}
    (reports / "case2.json").write_text(json.dumps(told), "utf-8")
    far = {**told, "where_to_look": [{**place, "index_ijk": [8, 12, 700]}]}
    (reports / "case3.json").write_text(json.dumps(far), "utf-8")
    (reports / "case5.json").write_text('{"where_to_look": [{}]}', "utf-8")
    (reports / "case4.json").write_text('{"certainty": "high"}', "utf-8")
    review(results, images=results / "scans", output=results / "without")
    review(results, images=results / "scans", reports=reports)
    cases = {case["name"]: case for case in data_of(results / "page")["cases"]}
    assert cases["case2"]["sure"] == 0.75
    assert cases["case2"]["reasons"][-2:] == [
        "It is brighter.",
        "The model wavers most between left kidney and background: the planes show where.",
    ]
    assert cases["case5"]["sure"] is None
    assert cases["case4"]["sure"] is None
    assert cases["case3"]["picture"]

    def picture(page, name):
        return (results / page / "thumbnails" / f"{name}.jpg").read_bytes()

    assert picture("page", "case2") != picture("without", "case2")
    assert picture("page", "case3") == picture("without", "case3")


def test_the_page_needs_nothing_from_the_network(results):
    review(results)
    for name in ("index.html", "review.css", "review.js"):
        text = (results / "page" / name).read_text("utf-8")
        assert "http" not in text
        assert "//cdn" not in text


def test_several_processes_make_the_same_page(results):
    review(results)
    review(results, output=results / "again", workers=2)
    assert data_of(results / "again") == data_of(results / "page")


def test_a_case_that_cannot_be_read_is_on_the_page(results):
    (results / "results" / "case3.seg.nrrd").write_bytes(b"NRRD0004\n")
    review(results)
    (case,) = (c for c in data_of(results / "page")["cases"] if c["name"] == "case3")
    assert case["score"] == 1000
    assert not case["picture"]


def test_verdicts_come_back_and_give_the_list_to_correct(results):
    with (results / "verdicts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [
                ("case", "verdict", "note"),
                ("case1", "wrong", 'says "no", twice'),
                ("case2", "good", ""),
                ("case5", "unsure", ""),
                ("of another cohort", "wrong", ""),
            ]
        )
    heard = []
    review(results, heard.append, images=results / "scans", verdicts=results / "verdicts.csv")
    assert any("without a result to correct: of another cohort" in str(event) for event in heard)
    cases = {case["name"]: case for case in data_of(results / "page")["cases"]}
    assert (cases["case1"]["verdict"], cases["case1"]["note"]) == ("wrong", 'says "no", twice')
    found = find_cases(results / "page" / "to_correct.csv")
    assert [case.name for case in found.cases] == ["case1", "case5"]
    assert found.cases[0].label == results / "results" / "case1.seg.nrrd"


@pytest.mark.parametrize("ending", ["seg.nrrd", "nii.gz"])
def test_what_is_wrong_goes_into_a_training_set_to_be_corrected(results, ending):
    """Nothing is learnt from it before somebody has; also from names with commas."""
    names = dict(zip(("1", "2"), NAMES.values(), strict=True))
    for number in (1, 2):
        label = results / "results" / f"case{number}.seg.nrrd"
        target = results / "results" / f"a, b_{number}.{ending}"
        write_label_map(read_label_map(label), target, labels=LABELS)
        label.unlink()
        (results / "scans" / f"case{number}_0000.nii.gz").rename(
            make(results / "scans" / "a, b") / f"a, b_{number}.nii.gz"
        )
    verdicts = results / "verdicts.csv"
    verdicts.write_text('case,verdict,note\n"a, b_1",wrong,\n"a, b_2",unsure,x\n', "utf-8")
    labels = tuple(f"{value}={name}" for value, name in names.items())
    review(results, images=results / "scans", verdicts=verdicts, labels=labels)
    config = CollectConfig(
        data=results / "page" / "to_correct.csv", output=results / "set", as_proposals=True
    )
    assert run_collect(config)["refused"] == {}
    made = TrainingSet(results / "set")
    assert [row.status for row in made.cases()] == ["proposed", "proposed"]
    assert {str(label.value): label.name for label in made.labels} == names
    proposal = read_label_map(made.proposal(made.cases()[0].name))
    assert np.array_equal(proposal.array_DHW, two_boxes(1))


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "case,verdict\nx,maybe\n", "\xff\xfe"])
def test_other_files_are_no_verdicts(tmp_path, text):
    path = tmp_path / "verdicts.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        read_verdicts(path)
    assert caught.value.code == "verdicts-unreadable"


def test_a_page_is_not_replaced_and_other_files_never(results):
    review(results)
    with pytest.raises(OutputError):
        review(results)
    review(results, overwrite=True)
    # One that was killed while it drew is begun again.
    for name in ("data.js", "index.html", "review.css", "review.js"):
        (results / "page" / name).unlink()
    (results / "page" / ".misfm-0123abcd.js").touch()
    review(results)
    (make(results / "other") / "thesis.txt").write_text("all of it", "utf-8")
    with pytest.raises(OutputError):
        review(results, output=results / "other", overwrite=True)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        review(tmp_path, results=make(tmp_path / "empty"))
    assert caught.value.code == "no-volume"


def test_the_command_line_makes_a_page(results, capsys):
    assert cli.main(["review", str(results / "results"), "-o", str(results / "page")]) == 0
    assert "index.html" in capsys.readouterr().out
    assert Path(results / "page" / "index.html").is_file()
