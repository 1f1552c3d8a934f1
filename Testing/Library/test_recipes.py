"""`misfm recipes`: every layout of a download, small and made here, checked and converted."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib import cli
from MISFMLib.data.cases import find_cases
from MISFMLib.errors import BatchError, ConfigError, DataError, OutputError
from MISFMLib.jobs.benchmark.published import published_results
from MISFMLib.jobs.recipes.catalogue import find_recipe, read_recipes
from MISFMLib.jobs.recipes.files import recognise, sort_files
from MISFMLib.jobs.recipes.recipes import check_copy, convert_copy, list_recipes, show_recipe
from MISFMLib.volumes.volume import read_label_map, read_volume

SHAPE = (6, 8, 10)
PAIRS = {
    "segthor": ("train/Patient_07/Patient_07.nii.gz", "train/Patient_07/GT.nii.gz"),
    "btcv": ("RawData/Training/img/img0021.nii.gz", "RawData/Training/label/label0021.nii.gz"),
    "left-atrium-2018": (
        "Training Set/0RZDK210BSMWAA6467LU/lgemri.nrrd",
        "Training Set/0RZDK210BSMWAA6467LU/laendo.nrrd",
    ),
    "lits": ("Training Batch 1/volume-12.nii", "Training Batch 1/segmentation-12.nii"),
    "amos22": ("imagesTr/amos_0004.nii.gz", "labelsTr/amos_0004.nii.gz"),
    "flare22": ("images/FLARE22_Tr_0003_0000.nii.gz", "labels/FLARE22_Tr_0003.nii.gz"),
}


def image_of(array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.5, 2.0))
    image.SetOrigin((5.0, -6.0, 7.0))
    return image


def a_scan(seed=0):
    return np.random.default_rng(seed).integers(-500, 500, SHAPE).astype(np.int16)


def some_labels(values, seed=0):
    return np.random.default_rng(seed).choice(np.array([0, *values], np.uint8), SHAPE)


def put(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(array), str(path))


def write_dicom(folder, array, prefix="IMG-0004-", reverse=False):
    """Write slices whose file names go up while their positions do, or go down."""
    pydicom = pytest.importorskip("pydicom")
    folder.mkdir(parents=True)
    uids = [pydicom.uid.generate_uid() for _ in range(3)]
    for index, plane in enumerate(array):
        made = pydicom.Dataset()
        made.SOPClassUID = pydicom.uid.MRImageStorage
        made.SOPInstanceUID = pydicom.uid.generate_uid()
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = uids
        made.Modality, made.PatientID, made.PatientName = "MR", "p", "P^P"
        made.SeriesNumber, made.InstanceNumber = 1, index + 1
        depth = len(array) - 1 - index if reverse else index
        made.ImagePositionPatient = [5.0, -6.0, 7.0 + 2.0 * depth]
        made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        made.PixelSpacing, made.SliceThickness = [1.5, 1.0], 2.0
        made.Rows, made.Columns = plane.shape
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation = 15, 1
        made.PixelData = plane.astype(np.int16).tobytes()
        made.file_meta = pydicom.dataset.FileMetaDataset()
        made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        made.save_as(folder / f"{prefix}{index + 1:05}.dcm", enforce_file_format=True)


def make_copy(name, folder):
    """Write one case in the layout of a download; return image and labels as they should be."""
    recipe = find_recipe(name)
    scan = a_scan()
    if name in PAIRS:
        raw = sorted(recipe.values) or sorted(recipe.labels)
        labels = some_labels(raw)
        put(folder / PAIRS[name][0], scan)
        put(folder / PAIRS[name][1], labels)
        return scan, np.where(labels == 255, 1, labels)
    if name == "headneck-2015":
        labels = some_labels(range(1, 10))
        case = folder / "0522c0001"
        put(case / "img.nrrd", scan)
        for structure, value in recipe.structures.items():
            put(case / "structures" / f"{structure}.nrrd", (labels == value).astype(np.uint8))
        return scan, labels
    if name == "totalsegmentator":
        labels = some_labels((1, 2))
        put(folder / "s0011" / "ct.nii.gz", scan)
        for value, structure in enumerate(("aorta", "liver", "spleen"), start=1):
            mask = (labels == value).astype(np.uint8)
            put(folder / "s0011" / "segmentations" / f"{structure}.nii.gz", mask)
        return scan, labels
    if name == "chaos-mr-t2":
        return scan, make_chaos(folder, scan)
    labels = some_labels((1, 2))
    write_dicom(folder / "Prostate3T-01-0001" / "study" / "series", scan)
    put(folder / "Prostate3T-01-0001.nrrd", labels)
    return scan, labels


def make_chaos(folder, scan):
    grey = some_labels((63, 126, 189, 252))
    case = folder / "Train_Sets" / "MR" / "5" / "T2SPIR"
    write_dicom(case / "DICOM_anon", scan[::-1], reverse=True)
    (case / "Ground").mkdir()
    for index, plane in enumerate(grey[::-1]):
        path = case / "Ground" / f"IMG-0004-{index + 1:05}.png"
        sitk.WriteImage(sitk.GetImageFromArray(plane), str(path))
    return grey // 63


CONVERTIBLE = [name for name, recipe in read_recipes().items() if recipe.layout != "decathlon"]


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_a_download_is_recognised_and_becomes_a_data_set(tmp_path, name):
    scan, labels = make_copy(name, tmp_path / "copy")
    assert recognise(tmp_path / "copy").name == name
    report = convert_copy(tmp_path / "copy", tmp_path / "out", None)
    assert (report["recipe"], report["cases"]) == (name, 1)
    found = find_cases(tmp_path / "out")
    (case,) = found.cases
    assert (read_volume(case.images).array_CDHW[0] == scan).all()
    assert (read_label_map(case.label).array_DHW == labels).all()
    assert found.modality == find_recipe(name).modality
    if find_recipe(name).labels:
        assert found.label_names == find_recipe(name).labels


def test_cases_that_the_task_leaves_out_are_not_converted(tmp_path):
    make_copy("amos22", tmp_path / "copy")
    put(tmp_path / "copy" / "imagesTr" / "amos_0507.nii.gz", a_scan())
    put(tmp_path / "copy" / "labelsTr" / "amos_0507.nii.gz", some_labels((1,)))
    put(tmp_path / "copy" / "imagesTr" / "amos_0500.nii.gz", a_scan())
    put(tmp_path / "copy" / "labelsTr" / "amos_0500.nii.gz", some_labels((1,)))
    complete = sort_files(tmp_path / "copy", find_recipe("amos22")).complete()
    assert sorted(complete) == ["amos_0004", "amos_0500"]


def test_the_usual_split_is_written_where_there_is_one(tmp_path):
    for number in ("0021", "0022", "0023"):
        put(tmp_path / "copy" / "img" / f"img{number}.nii.gz", a_scan())
        put(tmp_path / "copy" / "label" / f"label{number}.nii.gz", some_labels((1, 13)))
    convert_copy(tmp_path / "copy", tmp_path / "out", "btcv")
    split = find_cases(tmp_path / "out").split
    assert (split.train, split.validation) == (("0021", "0023"), ("0022",))


def test_a_check_names_every_problem(tmp_path):
    make_copy("lits", tmp_path)
    batch = tmp_path / "Training Batch 1"
    put(batch / "volume-13.nii", a_scan())
    put(batch / "volume-14.nii", a_scan())
    put(batch / "segmentation-14.nii", some_labels((1, 7)))
    put(batch / "segmentation-15.nii", some_labels((1,)))
    put(batch / "volume-16.nii", a_scan())
    (batch / "segmentation-16.nii").write_bytes((batch / "segmentation-15.nii").read_bytes()[:400])
    put(batch / "notes.nrrd", a_scan())
    report = check_copy(tmp_path, None)
    text = report["text"]
    assert report["exit_code"] == 3
    for line in (
        "13: no labels",
        "14 holds the values 7",
        "15: no image",
        "16: ",
        "unexpected: Training Batch 1/notes.nrrd",
        "3 complete cases, the download has 131",
    ):
        assert line in text
    assert "12:" not in text


def test_a_conversion_goes_on_and_replaces_nothing(tmp_path):
    make_copy("segthor", tmp_path / "copy")
    damaged = tmp_path / "copy" / "train" / "Patient_08"
    put(damaged / "Patient_08.nii.gz", a_scan())
    put(damaged / "GT.nii.gz", some_labels((9,)))
    with pytest.raises(BatchError, match="Patient_08"):
        convert_copy(tmp_path / "copy", tmp_path / "out", None)
    assert not (tmp_path / "out" / "dataset.json").exists()
    put(damaged / "GT.nii.gz", some_labels((4,)))
    heard = []
    convert_copy(tmp_path / "copy", tmp_path / "out", None, heard.append)
    assert [event.status for event in heard] == ["skipped", "done"]
    with pytest.raises(OutputError):
        convert_copy(tmp_path / "copy", tmp_path / "out", None)


def test_a_slice_without_its_picture_is_named(tmp_path):
    make_copy("chaos-mr-t2", tmp_path / "copy")
    (path,) = (tmp_path / "copy").rglob("IMG-0004-00002.png")
    path.unlink()
    with pytest.raises(BatchError, match=r"IMG-0004-00002\.dcm has no picture"):
        convert_copy(tmp_path / "copy", tmp_path / "out", None)


def test_what_is_no_download_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError):
            check_copy(folder, None)
    with pytest.raises(ConfigError, match="segthor"):
        check_copy(tmp_path, "segthorr")
    make_copy("lits", tmp_path / "copy")
    with pytest.raises(ConfigError):
        convert_copy(tmp_path / "copy", tmp_path / "copy" / "out", None)


def test_a_decathlon_task_needs_no_conversion(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "dataset.json").write_text(json.dumps({"training": []}), "utf-8")
    with pytest.raises(ConfigError, match="no conversion"):
        convert_copy(tmp_path, tmp_path / "out", None)


@pytest.mark.parametrize("name", read_recipes())
def test_a_recipe_is_complete(name):
    recipe = find_recipe(name)
    assert recipe.address.startswith("http")
    assert recipe.licence
    assert recipe.facts
    assert all(fact and source for fact, source in recipe.facts)
    assert re.compile(recipe.image)
    assert set(recipe.values.values()) <= set(recipe.labels)
    text = show_recipe(name)["text"]
    assert recipe.address in text
    for scores in recipe.published.values():
        assert all(30 < score < 100 for score in scores.values())
    assert name in list_recipes()["text"]


def test_published_results_stand_below_the_table_of_a_converted_data_set(tmp_path):
    make_copy("segthor", tmp_path / "copy")
    convert_copy(tmp_path / "copy", tmp_path / "out", None)
    lines = published_results(tmp_path / "out")
    assert any("PCT-Net + Volume Fusion" in line and "average 89.56" in line for line in lines)
    assert published_results(tmp_path / "out" / "dataset.json") == lines
    assert published_results(tmp_path / "copy") == []


def test_the_command_line_has_them(tmp_path, capsys):
    assert cli.main(["recipes", "list"]) == 0
    assert cli.main(["recipes", "show", "segthor"]) == 0
    assert "esophagus" in capsys.readouterr().out
    make_copy("segthor", tmp_path / "copy")
    assert cli.main(["recipes", "check", str(tmp_path / "copy")]) == 3
    assert cli.main(["recipes", "convert", str(tmp_path / "copy"), "-o", str(tmp_path / "o")]) == 0
