"""DICOM SEG: every voxel where the source series has it, with codes, colours and references."""

from __future__ import annotations

import dataclasses
import shutil
import sys

import numpy as np
import pytest

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.configs import Code, CollectConfig, LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.errors import DataError, DependencyError, OutputError
from MISFMLib.export.dicom_seg import check_dicom_source, write_dicom_seg
from MISFMLib.jobs import collect_study
from MISFMLib.jobs.collect import run_collect
from MISFMLib.models.bundle import BundleManifest
from MISFMLib.volumes.dicom import list_series
from MISFMLib.volumes.dicom_seg import read_dicom_seg
from MISFMLib.volumes.same_grid import placed_on
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume, read_label_map, read_volume

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

LABELS = (
    LabelConfig(
        value=1,
        name="liver",
        color=(221, 130, 101),
        category=Code("123037004", "SCT", "Anatomical Structure"),
        type=Code("10200004", "SCT", "Liver"),
    ),
    LabelConfig(
        value=7,
        name="left kidney",
        type=Code("64033007", "SCT", "Kidney"),
        modifier=Code("7771000", "SCT", "Left"),
    ),
    LabelConfig(value=4, name="Größe\\Rest " + 60 * "x"),
)
MANIFEST = BundleManifest(
    name="organs",
    version="2.1.0",
    title="Organs in CT",
    network=NetworkConfig(num_classes=4),
    preprocessing=PreprocessingConfig(),
    labels=LABELS,
    weights_sha256="ab" * 32,
)
SHAPE_DHW, SPACING_DHW = (5, 6, 8), (2.5, 0.75, 1.25)


def an_oblique_direction():
    """Axes x, y, z as columns; turned about all three."""
    turned, _ = np.linalg.qr([[1.0, 0.2, 0.1], [-0.3, 1.0, 0.2], [0.1, -0.4, 1.0]])
    turned *= np.sign(np.diag(turned))
    return turned


@pytest.fixture
def write_series(tmp_path):
    """Write CT slices whose file names do not follow their positions."""

    def write(**changes):
        folder = tmp_path / "series"
        folder.mkdir()
        uids = [pydicom.uid.generate_uid() for _ in range(3)]
        with pydicom.config.disable_value_validation():
            for index in range(SHAPE_DHW[0]):
                dataset = a_slice(index, *uids)
                for name, value in changes.items():
                    delattr(dataset, name) if value is None else setattr(dataset, name, value)
                dataset.save_as(folder / f"{(3 * index) % 5}.dcm", enforce_file_format=True)
        return read_volume(folder)

    return write


def a_slice(index, study, series, frame_of_reference):
    direction, origin = an_oblique_direction(), np.array([-12.5, 33.25, 107.0])
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = pydicom.uid.CTImageStorage
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.FrameOfReferenceUID, dataset.Modality = frame_of_reference, "CT"
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientID, dataset.PatientName = "p-17", "Müller^Jörg"
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.StudyDate, dataset.StudyTime = "20240102", "101112"
    dataset.StudyID = dataset.AccessionNumber = ""
    dataset.SeriesNumber, dataset.InstanceNumber = 3, index + 1
    position = origin + direction[:, 2] * SPACING_DHW[0] * index
    dataset.ImagePositionPatient = position.tolist()
    dataset.ImageOrientationPatient = [*direction[:, 0], *direction[:, 1]]
    dataset.PixelSpacing, dataset.SliceThickness = list(SPACING_DHW[1:]), 2.0
    dataset.Rows, dataset.Columns = SHAPE_DHW[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.PixelData = np.full(SHAPE_DHW[1:], index, np.int16).tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    return dataset


def some_labels(volume, rng):
    values = np.array([0, 1, 7], np.uint8)
    array = rng.choice(values, volume.array_CDHW.shape[1:], p=[0.8, 0.1, 0.1])
    array[1] = 0
    return LabelMap(array, volume.geometry)


def read_back(path, volume, labels=LABELS, *, files=True):
    """Put every frame where its position in the patient lies in the volume."""
    geometry = volume.geometry
    to_axes = np.reshape(geometry.direction, (3, 3)).T
    array = np.zeros(geometry.shape_dhw, np.uint8)
    dataset = pydicom.dcmread(path)
    (shared,) = dataset.SharedFunctionalGroupsSequence
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    np.testing.assert_allclose([*to_axes[0], *to_axes[1]], orientation, atol=1e-5)
    measures = shared.PixelMeasuresSequence[0]
    np.testing.assert_allclose(measures.PixelSpacing, geometry.spacing_dhw[1:], atol=1e-6)
    assert measures.SpacingBetweenSlices == pytest.approx(geometry.spacing_dhw[0])
    pixels = dataset.pixel_array.reshape(-1, *geometry.shape_dhw[1:])
    for frame, groups in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        index_xyz = to_axes @ (position - geometry.origin_xyz) / geometry.spacing_dhw[::-1]
        np.testing.assert_allclose(index_xyz[:2], 0, atol=1e-4)
        depth = round(index_xyz[2])
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        array[depth][frame > 0] = labels[number - 1].value
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        if not files:
            continue
        header = pydicom.dcmread(volume.dicom_files[depth])
        assert source.ReferencedSOPInstanceUID == header.SOPInstanceUID
        np.testing.assert_allclose(header.ImagePositionPatient, position, atol=1e-4)
    return array


def test_every_voxel_lies_where_the_series_has_it(write_series, rng, tmp_path):
    volume = write_series()
    assert volume.array_CDHW[0, :, 0, 0].tolist() == [0, 1, 2, 3, 4]
    label_map = some_labels(volume, rng)
    write_dicom_seg(volume, label_map, MANIFEST, tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", volume), label_map.array_DHW)


def test_an_empty_segmentation_keeps_its_segments(write_series, tmp_path):
    volume = write_series()
    empty = LabelMap(np.zeros(SHAPE_DHW, np.uint8), volume.geometry)
    write_dicom_seg(volume, empty, MANIFEST, tmp_path / "seg.dcm")
    assert not read_back(tmp_path / "seg.dcm", volume).any()
    assert len(pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence) == 3


def test_segments_carry_codes_colours_and_the_model(write_series, rng, tmp_path):
    volume = write_series()
    write_dicom_seg(volume, some_labels(volume, rng), MANIFEST, tmp_path / "seg.dcm")
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    liver, kidney, rest = segmentation.SegmentSequence
    assert segmentation.segmentation_type.value == "BINARY"
    assert [int(item.SegmentNumber) for item in (liver, kidney, rest)] == [1, 2, 3]
    assert (liver.SegmentLabel, kidney.SegmentLabel) == ("liver", "left kidney")
    assert rest.SegmentLabel == ("Größe/Rest " + 60 * "x")[:64]
    assert liver.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    (modifier,) = kidney.SegmentedPropertyTypeCodeSequence[
        0
    ].SegmentedPropertyTypeModifierCodeSequence
    assert modifier.CodeValue == "7771000"
    color = highdicom.color.CIELabColor.from_rgb(221, 130, 101)
    assert tuple(liver.RecommendedDisplayCIELabValue) == color.value
    assert liver.SegmentAlgorithmType == "AUTOMATIC"
    (algorithm,) = liver.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "MISFM"
    assert "organs 2.1.0" in algorithm.AlgorithmParameters
    assert "ab" * 32 in algorithm.AlgorithmParameters
    assert segmentation.SeriesDescription == "Organs in CT"


def test_the_patient_and_the_study_are_those_of_the_series(write_series, rng, tmp_path):
    volume = write_series()
    write_dicom_seg(volume, some_labels(volume, rng), MANIFEST, tmp_path / "seg.dcm")
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    source = pydicom.dcmread(volume.dicom_files[0])
    for name in (
        "PatientID",
        "PatientName",
        "StudyInstanceUID",
        "StudyDate",
        "FrameOfReferenceUID",
    ):
        assert getattr(segmentation, name) == getattr(source, name)
    assert str(segmentation.PatientName) == "Müller^Jörg"
    assert segmentation.SeriesInstanceUID != source.SeriesInstanceUID


def test_a_model_without_a_recorded_checksum_is_written_too(write_series, rng, tmp_path):
    volume = write_series()
    plain = BundleManifest(
        name="organs",
        network=NetworkConfig(num_classes=4),
        preprocessing=PreprocessingConfig(),
        labels=LABELS,
    )
    write_dicom_seg(volume, some_labels(volume, rng), plain, tmp_path / "seg.dcm")
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (segmentation.DeviceSerialNumber, segmentation.SeriesDescription) == (
        "unknown",
        "organs",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"PatientID": None, "PatientName": None, "StudyID": None, "StudyTime": None},
        {"PatientName": "no caret", "AccessionNumber": "longer than sixteen characters"},
    ],
)
def test_anonymised_and_odd_patient_data_is_taken_as_it_is(write_series, rng, tmp_path, changes):
    volume = write_series(**changes)
    label_map = some_labels(volume, rng)
    write_dicom_seg(volume, label_map, MANIFEST, tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", volume), label_map.array_DHW)


def test_a_series_without_identifiers_is_refused(write_series, rng, tmp_path):
    volume = write_series(StudyInstanceUID=None, FrameOfReferenceUID=None)
    with pytest.raises(DataError, match="FrameOfReferenceUID, StudyInstanceUID"):
        write_dicom_seg(volume, some_labels(volume, rng), MANIFEST, tmp_path / "seg.dcm")
    with pytest.raises(DataError, match="FrameOfReferenceUID, StudyInstanceUID"):
        check_dicom_source(volume, MANIFEST)
    assert not list(tmp_path.glob("*.dcm"))


def test_a_series_with_identifiers_passes_the_check(write_series):
    assert check_dicom_source(write_series(), MANIFEST).mended == ()


def test_a_volume_from_another_format_is_refused(tmp_path):
    geometry = Geometry(SHAPE_DHW, SPACING_DHW, (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    volume = Volume(np.zeros((1, *SHAPE_DHW), np.int16), geometry, "case")
    label_map = LabelMap(np.zeros(SHAPE_DHW, np.uint8), geometry)
    with pytest.raises(DataError, match="was not read from DICOM") as caught:
        write_dicom_seg(volume, label_map, MANIFEST, tmp_path / "seg.dcm")
    assert ".seg.nrrd" in caught.value.remedy


def test_a_value_that_is_no_label_of_the_model_is_refused(write_series, tmp_path):
    volume = write_series()
    array = np.zeros(SHAPE_DHW, np.uint16)
    array[0, 0, :3] = (1, 3, 300)
    with pytest.raises(DataError, match=r"\[3, 300\]"):
        write_dicom_seg(volume, LabelMap(array, volume.geometry), MANIFEST, tmp_path / "seg.dcm")


def test_labels_on_another_grid_are_refused(write_series, tmp_path):
    volume = write_series()
    shifted = Geometry(SHAPE_DHW, SPACING_DHW, (0.0, 0.0, 0.0), volume.geometry.direction)
    with pytest.raises(DataError, match="grid"):
        write_dicom_seg(
            volume, LabelMap(np.zeros(SHAPE_DHW, np.uint8), shifted), MANIFEST, tmp_path / "s.dcm"
        )


def test_a_file_is_only_replaced_when_that_was_asked_for(write_series, rng, tmp_path):
    volume = write_series()
    path = tmp_path / "seg.dcm"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"):
        write_dicom_seg(volume, some_labels(volume, rng), MANIFEST, path)
    write_dicom_seg(volume, some_labels(volume, rng), MANIFEST, path, overwrite=True)
    assert path.stat().st_size > 1000


def test_without_highdicom_the_error_says_what_to_install(write_series, rng, tmp_path, monkeypatch):
    volume = write_series()
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(DependencyError, match="highdicom") as caught:
        write_dicom_seg(volume, some_labels(volume, rng), MANIFEST, tmp_path / "seg.dcm")
    assert "pip install 'misfm[dicom]'" in caught.value.remedy
    with pytest.raises(DependencyError):
        check_dicom_source(volume, MANIFEST)


@pytest.mark.parametrize("name", ["hippocrop_mr", "STS_002_ct_mr_rtstruct/MR_T1/image"])
def test_real_series_get_their_voxels_back(shared_data, rng, tmp_path, name):
    volume = read_volume(shared_data / "samples" / "dicom" / name)
    label_map = some_labels(volume, rng)
    write_dicom_seg(volume, label_map, MANIFEST, tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", volume), label_map.array_DHW)


def test_a_seg_is_read_back_as_labels_with_names_on_the_grid_of_its_series(
    write_series, rng, tmp_path
):
    volume = write_series()
    label_map = some_labels(volume, rng)
    path = tmp_path / "seg.dcm"
    write_dicom_seg(volume, label_map, MANIFEST, path)

    found = placed_on(read_dicom_seg(path), volume.geometry, "seg.dcm")

    names = {label.value: label.name for label in LABELS}
    numbers = {name: value for value, name in found.names.items()}
    for value in (1, 7):
        expected = label_map.array_DHW == value
        assert ((found.array_DHW == numbers[names[value]]) == expected).all()


def test_a_seg_of_another_place_is_refused(write_series, rng, tmp_path):
    volume = write_series()
    path = tmp_path / "seg.dcm"
    write_dicom_seg(volume, some_labels(volume, rng), MANIFEST, path)
    x, y, z = volume.geometry.origin_xyz
    moved = dataclasses.replace(volume.geometry, origin_xyz=(x + 0.4, y, z))
    with pytest.raises(DataError, match="does not lie on the grid"):
        placed_on(read_dicom_seg(path), moved, "seg.dcm")


def test_a_file_that_is_no_seg_is_refused(write_series):
    volume = write_series()
    with pytest.raises(DataError) as caught:
        read_dicom_seg(volume.dicom_files[0])
    assert caught.value.code == "dicom-seg-unreadable"


# ------------------------------------------------------------------ what anonymisers and exports do


@pytest.mark.parametrize(
    ("changes", "said", "written"),
    [
        ({"PatientBirthDate": "00000000"}, "PatientBirthDate was left empty", ""),
        ({"PatientBirthDate": "XXXXXXXX"}, "PatientBirthDate was left empty", ""),
        ({"PatientBirthDate": "1950"}, "PatientBirthDate was left empty", ""),
        ({"StudyDate": "2020-01-31"}, "StudyDate was written in another form", "20200131"),
        ({"StudyDate": "20200231"}, "StudyDate was left empty", ""),
        ({"StudyTime": "12:05:30.5"}, "StudyTime was written in another form", "120530.5"),
        ({"StudyTime": "noon"}, "StudyTime was left empty", ""),
        ({"PatientID": ["p", "q"]}, "of several values of PatientID the first was taken", "p"),
    ],
)
def test_values_that_dicom_does_not_allow_are_mended_and_named(
    write_series, rng, tmp_path, changes, said, written
):
    volume = write_series(**changes)
    source = check_dicom_source(volume, MANIFEST)
    assert said in source.mended
    labels = some_labels(volume, rng)
    write_dicom_seg(volume, labels, MANIFEST, tmp_path / "seg.dcm", source=source)
    (keyword,) = changes
    found = pydicom.dcmread(tmp_path / "seg.dcm").get(keyword)
    assert (found or "") == (written or "")


def sources_of(path):
    """The source instance and frame of every frame, by the frame's depth."""
    dataset = pydicom.dcmread(path)
    found = []
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        (derivation,) = frame.DerivationImageSequence
        for source in derivation.SourceImageSequence:
            place = frame.PlanePositionSequence[0].ImagePositionPatient
            found.append((place, source))
    return found


@pytest.mark.parametrize("thickness", [None, "", 2.0])
def test_every_frame_tells_its_thickness_and_its_source(write_series, rng, tmp_path, thickness):
    volume = write_series(SliceThickness=thickness)
    write_dicom_seg(volume, some_labels(volume, rng), MANIFEST, tmp_path / "seg.dcm")
    (shared,) = pydicom.dcmread(tmp_path / "seg.dcm").SharedFunctionalGroupsSequence
    assert shared.PixelMeasuresSequence[0].SliceThickness == pytest.approx(2.5)
    found = sources_of(tmp_path / "seg.dcm")
    uids = {str(pydicom.dcmread(file).SOPInstanceUID): file for file in volume.dicom_files}
    for place, source in found:
        file = uids[source.ReferencedSOPInstanceUID]
        assert np.allclose(place, pydicom.dcmread(file).ImagePositionPatient, atol=1e-4)


def test_slices_at_rounded_places_keep_their_references(write_series, rng, tmp_path):
    volume = write_series()
    for file in volume.dicom_files:
        dataset = pydicom.dcmread(file)
        place = [round(float(value), 2) for value in dataset.ImagePositionPatient]
        dataset.ImagePositionPatient = place
        dataset.save_as(file)
    volume = read_volume(volume.dicom_files[0].parent)
    label_map = some_labels(volume, rng)
    write_dicom_seg(volume, label_map, MANIFEST, tmp_path / "seg.dcm")
    found = read_back(tmp_path / "seg.dcm", volume, files=False)
    np.testing.assert_array_equal(found, label_map.array_DHW)
    assert len(sources_of(tmp_path / "seg.dcm")) > 2


def test_files_without_preamble_can_be_referred_to(write_series, rng, tmp_path):
    volume = write_series()
    for file in volume.dicom_files:
        dataset = pydicom.dcmread(file)
        del dataset.file_meta
        dataset.preamble = None
        pydicom.dcmwrite(
            file, dataset, implicit_vr=True, little_endian=True, enforce_file_format=False
        )
    volume = read_volume(volume.dicom_files[0].parent)
    label_map = some_labels(volume, rng)
    write_dicom_seg(volume, label_map, MANIFEST, tmp_path / "seg.dcm")
    np.testing.assert_array_equal(
        read_back(tmp_path / "seg.dcm", volume, files=False), label_map.array_DHW
    )


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_identifiers_that_differ_from_slice_to_slice_are_refused_at_once(write_series, keyword):
    volume = write_series()
    for file in volume.dicom_files:
        dataset = pydicom.dcmread(file)
        setattr(dataset, keyword, pydicom.uid.generate_uid())
        dataset.save_as(file)
    with pytest.raises(DataError, match=f"5 different {keyword}s"):
        check_dicom_source(volume, MANIFEST)


def test_slices_that_share_an_identifier_are_refused_at_once(write_series):
    volume = write_series()
    for file in volume.dicom_files[:2]:
        dataset = pydicom.dcmread(file)
        dataset.SOPInstanceUID = "1.2.3"
        dataset.save_as(file)
    with pytest.raises(DataError, match="share 4 SOP instance UIDs"):
        check_dicom_source(volume, MANIFEST)


def enhanced(first, count, series):
    """Frames of an Enhanced CT, the slices `first` and following of a series."""
    dataset = a_slice(first, *series)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    position, orientation = np.array(dataset.ImagePositionPatient), dataset.ImageOrientationPatient
    step = an_oblique_direction()[:, 2] * SPACING_DHW[0]
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "SliceThickness"):
        delattr(dataset, name)

    def group(**attributes):
        item = pydicom.Dataset()
        for name, value in attributes.items():
            setattr(item, name, value)
        return pydicom.Sequence([item])

    shared = pydicom.Dataset()
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=orientation)
    shared.PixelMeasuresSequence = group(PixelSpacing=dataset.PixelSpacing, SliceThickness=2.5)
    del dataset.PixelSpacing
    frames = []
    for number in range(count):
        frame = pydicom.Dataset()
        place = (position + step * number).tolist()
        frame.PlanePositionSequence = group(ImagePositionPatient=place)
        frame.FrameContentSequence = group(StackID="1", InStackPositionNumber=number + 1)
        frames.append(frame)
    dataset.NumberOfFrames = count
    dataset.SharedFunctionalGroupsSequence = pydicom.Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence(frames)
    planes = [np.full(SHAPE_DHW[1:], first + number, np.int16) for number in range(count)]
    dataset.PixelData = np.stack(planes).tobytes()
    return dataset


@pytest.mark.parametrize("counts", [(5,), (1, 1, 1, 1, 1), (2, 3)])
def test_enhanced_images_in_one_or_several_files_are_referred_to(tmp_path, rng, counts):
    series = [pydicom.uid.generate_uid() for _ in range(3)]
    first, uids = 0, {}
    for count in counts:
        dataset = enhanced(first, count, series)
        (tmp_path / "s").mkdir(exist_ok=True)
        dataset.save_as(tmp_path / "s" / f"{first}.dcm", enforce_file_format=True)
        uids |= {first + number: (dataset.SOPInstanceUID, number + 1) for number in range(count)}
        first += count
    volume = read_volume(tmp_path / "s")
    label_map = some_labels(volume, rng)
    write_dicom_seg(volume, label_map, MANIFEST, tmp_path / "seg.dcm")
    np.testing.assert_array_equal(
        read_back(tmp_path / "seg.dcm", volume, files=False), label_map.array_DHW
    )
    normal, start = an_oblique_direction()[:, 2], a_slice(0, *series).ImagePositionPatient
    for place, source in sources_of(tmp_path / "seg.dcm"):
        number = round(float(np.dot(np.subtract(place, start), normal)) / 2.5)
        uid, frame = uids[number]
        assert source.ReferencedSOPInstanceUID == uid
        assert source.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2.1"
        assert source.get("ReferencedFrameNumber", 1) == frame
    (referenced,) = pydicom.dcmread(tmp_path / "seg.dcm").ReferencedSeriesSequence
    listed = [item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence]
    assert sorted(listed) == sorted({uid for uid, _ in uids.values()})


def test_a_study_becomes_cases_with_the_labels_of_its_segs(write_series, rng, tmp_path):
    volume = write_series()
    label_map = some_labels(volume, rng)
    write_dicom_seg(volume, label_map, MANIFEST, tmp_path / "series" / "seg.dcm")
    made_in = tmp_path / "set"
    report = run_collect(CollectConfig(data=tmp_path / "series", output=made_in))
    assert (report["labelled"], report["unlabelled"], report["refused"]) == (1, 0, {})
    made = TrainingSet(made_in)
    (row,) = made.cases()
    assert "ller" not in row.name, "no name of a patient becomes that of a file"
    kept = read_label_map(made.label_map(row.name)).array_DHW
    for label, ours in zip(LABELS, made.labels, strict=True):
        assert np.array_equal(kept == ours.value, label_map.array_DHW == label.value)
    again = run_collect(CollectConfig(data=tmp_path / "series", output=made_in))
    assert (again["labelled"], len(again["kept"])) == (1, 1), "the same study is in the set already"
    shutil.rmtree(tmp_path / "series")
    write_dicom_seg(
        write_series(RescaleIntercept=100), label_map, MANIFEST, tmp_path / "series" / "seg.dcm"
    )
    second = run_collect(CollectConfig(data=tmp_path / "series", output=made_in))
    assert (second["labelled"], second["kept"]) == (2, []), "a second study is added to the set"
    assert TrainingSet(made_in).labels == made.labels


def test_labels_that_cannot_be_written_do_not_come_into_the_set(
    write_series, rng, tmp_path, monkeypatch
):
    volume = write_series()
    write_dicom_seg(volume, some_labels(volume, rng), MANIFEST, tmp_path / "series" / "seg.dcm")

    def full(_label_map, path):
        raise OutputError(f"{path} cannot be written.", code="output-not-writable", remedy="")

    monkeypatch.setattr(collect_study, "write_label_map", full)
    with pytest.raises(OutputError):
        run_collect(CollectConfig(data=tmp_path / "series", output=tmp_path / "set"))
    assert TrainingSet(tmp_path / "set").labels == ()


def test_a_study_without_segs_becomes_cases_without_labels(write_series, tmp_path):
    write_series()
    report = run_collect(CollectConfig(data=tmp_path / "series", output=tmp_path / "set"))
    assert (report["labelled"], report["unlabelled"]) == (0, 1)
    assert TrainingSet(tmp_path / "set").channels == ("CT",)


def test_of_a_study_the_chosen_series_becomes_a_case(write_series, tmp_path):
    write_series()
    data = tmp_path / "series"
    (series,) = list_series(data)
    for words, count in (("description=no such", 0), (series.uid, 1)):
        report = run_collect(CollectConfig(data=data, output=tmp_path / "set", series=words))
        assert (report["unlabelled"], len(report["refused"])) == (count, 1 - count)


def test_nothing_in_a_study_says_which_series_belong_to_a_case(write_series, tmp_path):
    write_series()
    TrainingSet.create(tmp_path / "set", channels=("CT", "MR"))
    with pytest.raises(DataError, match="has 2 volumes") as caught:
        run_collect(CollectConfig(data=tmp_path / "series", output=tmp_path / "set"))
    assert "Load the series" in caught.value.remedy
