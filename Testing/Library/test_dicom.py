"""DICOM series: what forms a grid is read on exactly that grid, what does not is refused."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from MISFMLib.errors import DataError
from MISFMLib.volumes.dicom import (
    is_dicom,
    is_series_folder,
    list_series,
    planes_of,
    read_series,
)
from MISFMLib.volumes.volume import (
    LabelMap,
    case_name,
    find_volumes,
    read_label_map,
    read_volume,
    write_label_map,
)

CT, MR, ENHANCED_CT = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "2.1"))
RT_STRUCTURE, SEGMENTATION, SPECTROSCOPY = (
    f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("481.3", "66.4", "4.2")
)
AXIAL = (1, 0, 0, 0, 1, 0)
ROWS, COLUMNS = 5, 6


def a_dataset(sop_class=CT, *, syntax=ExplicitVRLittleEndian, modality="CT", series="1.2.3"):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    uid = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2", series
    dataset.Modality, dataset.SeriesDescription = modality, f"series {series}"
    dataset.PatientName, dataset.PatientID = "a", "b"
    return dataset


def with_pixels(dataset, array):
    dataset.Rows, dataset.Columns = array.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.PixelData = array.astype(np.int16).tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def placed(dataset, position, orientation=AXIAL, spacing=(0.7, 0.6), slope=1):
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.9f}" for value in orientation]
    dataset.PixelSpacing = [str(value) for value in spacing]
    dataset.RescaleIntercept, dataset.RescaleSlope = "-1024", str(slope)
    return dataset


def save(dataset, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def slice_values(number, shape=(ROWS, COLUMNS)):
    return np.arange(np.prod(shape)).reshape(shape) + 100 * number


def a_series(folder, positions, *, orientation=AXIAL, prefix="", suffix="", **options):
    """Write one file per position; the values of slice n start at 100 n (stored, before HU)."""
    for number, position in enumerate(positions):
        dataset = with_pixels(a_dataset(**options), slice_values(number))
        # The file names are in another order than the slices.
        name = f"{prefix}{(number * 7) % 10}{number}{suffix}"
        save(placed(dataset, position, orientation), folder / name)
    return folder


def along_z(*depths):
    return [(-100.0, 20.0, depth) for depth in depths]


def refused(code, function, *arguments, **options):
    with pytest.raises(DataError) as caught:
        function(*arguments, **options)
    assert caught.value.code == code
    assert caught.value.remedy
    return str(caught.value)


def normal_of(orientation):
    return np.cross(*np.reshape(orientation, (2, 3)))


# ---------------------------------------------------------------------------------- regular grids


@pytest.mark.parametrize("suffix", ["", ".dcm"])
@pytest.mark.parametrize("depths", [(0, 2.5, 5, 7.5), (7.5, 5, 2.5, 0), (5, 0, 7.5, 2.5)])
def test_slices_are_stacked_by_their_place(tmp_path, depths, suffix):
    volume = read_volume(a_series(tmp_path / "ct", along_z(*depths), suffix=suffix))
    assert volume.geometry.shape_dhw == (4, ROWS, COLUMNS)
    assert volume.geometry.spacing_dhw == (2.5, 0.7, 0.6)
    assert volume.geometry.origin_xyz == (-100, 20, 0)
    assert volume.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    expected = np.stack([slice_values(number) - 1024 for number in np.argsort(depths)])
    np.testing.assert_array_equal(volume.array_CDHW[0], expected)
    assert volume.array_CDHW.dtype == np.int16
    assert (volume.name, volume.modality) == ("ct", "CT")
    places = [pydicom.dcmread(path).ImagePositionPatient[2] for path in volume.dicom_files]
    assert places == sorted(depths)


@pytest.mark.parametrize(
    "orientation",
    [
        (0, 1, 0, 0, 0, -1),  # sagittal
        (1, 0, 0, 0, 0, -1),  # coronal
        (0.8, 0.6, 0, 0.36, -0.48, -0.8),  # oblique
    ],
)
def test_other_orientations_are_read_on_their_own_grid(tmp_path, orientation):
    normal = normal_of(orientation)
    positions = [np.array([10, -20, 30]) + 4 * number * normal for number in (2, 0, 1, 3)]
    folder = a_series(tmp_path, positions, orientation=orientation, modality="MR", sop_class=MR)
    volume = read_volume(folder)
    row, column = np.reshape(orientation, (2, 3))
    for index, (position, file) in enumerate(
        zip(sorted(positions, key=lambda p: p @ normal), volume.dicom_files, strict=True)
    ):
        assert np.allclose(pydicom.dcmread(file).ImagePositionPatient, position, atol=1e-5)
        # DICOM PS3.3, equation C.7.6.2.1-1: the place of a pixel from its row and column.
        pixel = position + row * 0.6 * 3 + column * 0.7 * 2
        np.testing.assert_allclose(volume.geometry.position_xyz((index, 2, 3)), pixel, atol=1e-5)
    assert volume.modality == "MR"


def test_the_grid_survives_writing(tmp_path):
    orientation = (0.8, 0.6, 0, 0.36, -0.48, -0.8)
    positions = [np.array([10, -20, 30]) + 4 * n * normal_of(orientation) for n in range(4)]
    volume = read_volume(a_series(tmp_path / "mr", positions, orientation=orientation))
    labels = LabelMap((volume.array_CDHW[0] > -900).astype(np.uint8), volume.geometry)
    for suffix in (".nii.gz", ".nrrd", ".mha", ".seg.nrrd"):
        write_label_map(labels, tmp_path / f"labels{suffix}")
        again = read_label_map(tmp_path / f"labels{suffix}")
        assert again.geometry.same_grid(volume.geometry, tolerance_mm=1e-4)


def test_rounded_places_and_directions_are_accepted(tmp_path):
    depths = [round(number * 3.27, 1) for number in range(6)]  # off by up to 0.05 of 3.27 mm
    orientation = (0.9998, 0.0175, 0, -0.0175, 0.9998, 0)
    geometry = read_volume(a_series(tmp_path, along_z(*depths), orientation=orientation)).geometry
    axes = np.reshape(geometry.direction, (3, 3))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)


def test_a_fractional_slope_gives_32_bit_floats(tmp_path):
    for number in range(3):
        dataset = with_pixels(a_dataset(MR, modality="MR"), slice_values(number))
        save(placed(dataset, (0, 0, number * 2), slope=0.25), tmp_path / f"{number}.dcm")
    volume = read_volume(tmp_path)
    assert volume.array_CDHW.dtype == np.float32
    assert volume.array_CDHW[0, 1, 0, 1] == 101 * 0.25 - 1024


def test_a_slope_of_its_own_per_slice_keeps_the_values(tmp_path):
    for number, slope in enumerate((1, 0.5, 2)):
        dataset = with_pixels(a_dataset(MR, modality="PT"), slice_values(number))
        save(placed(dataset, (0, 0, number * 2), slope=slope), tmp_path / f"{number}.dcm")
    volume = read_volume(tmp_path)
    assert volume.array_CDHW.dtype == np.float32
    assert volume.array_CDHW[0, 1, 0, 1] == 101 * 0.5 - 1024
    assert volume.modality == ""


def test_a_second_copy_of_a_file_is_left_out(tmp_path, caplog):
    a_series(tmp_path, along_z(0, 2, 4))
    shutil.copy(tmp_path / "00", tmp_path / "00 (copy)")
    assert read_volume(tmp_path).array_CDHW.shape == (1, 3, ROWS, COLUMNS)
    assert "1 copies" in caplog.text


def test_files_without_identifiers_are_one_series(tmp_path):
    a_series(tmp_path, along_z(0, 2, 4))
    for path in list(tmp_path.iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = dataset.SOPInstanceUID = ""
        dataset.save_as(path)
    assert read_volume(tmp_path).array_CDHW.shape == (1, 3, ROWS, COLUMNS)


# ------------------------------------------------------------------------------- irregular series


@pytest.mark.parametrize(
    ("depths", "words"),
    [
        ((0, 5, 10, 20, 25), "5 to 10 mm apart (mostly 5 mm, widest behind slice 3 of 5)"),
        ((0, 2.5, 5, 7.5, 12.5, 17.5, 22.5), "2.5 to 5 mm"),
        ((0, 4.2, 8.4, 14, 19.6), "4.2 to 5.6 mm"),
    ],
)
def test_missing_slices_and_varying_distances_are_refused(tmp_path, depths, words):
    a_series(tmp_path, along_z(*depths))
    assert words in refused("dicom-gaps", read_volume, tmp_path)


@pytest.mark.parametrize("degrees", [2, -15])
def test_a_tilted_gantry_is_refused(tmp_path, degrees):
    angle = math.radians(degrees)
    orientation = (1, 0, 0, 0, math.cos(angle), math.sin(angle))
    a_series(tmp_path, along_z(*range(0, 50, 5)), orientation=orientation)
    message = refused("dicom-tilt", read_volume, tmp_path)
    assert f"a tilt of {abs(degrees)} degrees" in message


def test_a_tilted_gantry_with_varying_distances_is_refused(tmp_path):
    orientation = (1, 0, 0, 0, math.cos(0.3), math.sin(0.3))
    a_series(tmp_path, along_z(0, 5, 10, 20, 30, 40), orientation=orientation)
    refused("dicom-gaps", read_volume, tmp_path)


def test_slices_shifted_sideways_are_refused(tmp_path):
    places = [(0, 0, 0), (0, 0, 2), (0, 0, 4), (0.2, 0, 6), (0, 0, 8)]
    message = refused("dicom-shifted-slice", read_volume, a_series(tmp_path, places))
    assert "slice 4 of 5 (13) is shifted in its plane by 0.2 mm" in message


def test_several_images_of_one_place_are_refused(tmp_path):
    a_series(tmp_path, along_z(0, 2, 4, 0, 2, 4))
    assert "6 slices at 3 places" in refused("dicom-duplicate-slices", read_volume, tmp_path)


def test_a_turned_slice_in_the_midst_of_the_series_is_missed(tmp_path):
    a_series(tmp_path, along_z(0, 2, 4, 6, 10, 12))
    turned = with_pixels(a_dataset(), slice_values(0))
    save(placed(turned, (0, 0, 8), (1, 0, 0, 0, 0, -1)), tmp_path / "turned")
    refused("dicom-gaps", read_volume, tmp_path)


def test_directions_that_are_not_at_right_angles_are_refused(tmp_path):
    a_series(tmp_path, along_z(0, 2, 4), orientation=(1, 0, 0, 0.1, 0.995, 0))
    refused("sheared-grid", read_volume, tmp_path)


@pytest.mark.parametrize("attribute", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_slices_without_a_place_are_refused(tmp_path, attribute):
    a_series(tmp_path, along_z(0, 2, 4))
    for path in list(tmp_path.iterdir()):
        dataset = pydicom.dcmread(path)
        delattr(dataset, attribute)
        dataset.save_as(path)
    refused("dicom-no-positions", read_volume, tmp_path)


@pytest.mark.parametrize("spacing", [None, [0, 0]])
def test_slices_without_pixel_size_are_refused(tmp_path, spacing):
    a_series(tmp_path, along_z(0, 2, 4))
    for path in list(tmp_path.iterdir()):
        dataset = pydicom.dcmread(path)
        del dataset.PixelSpacing
        if spacing:
            dataset.PixelSpacing = spacing
        dataset.save_as(path)
    refused("zero-spacing", read_volume, tmp_path)


def test_a_single_slice_is_refused(tmp_path):
    a_series(tmp_path / "ct", along_z(0), suffix=".dcm")
    refused("two-dimensional", read_volume, tmp_path / "ct")
    refused("two-dimensional", read_volume, tmp_path / "ct" / "00.dcm")


def test_colour_pictures_are_refused(tmp_path):
    for number in range(3):
        dataset = with_pixels(a_dataset(), np.zeros((ROWS, 3 * COLUMNS // 2)))
        dataset.Columns, dataset.SamplesPerPixel = COLUMNS, 3
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation = 7, 0
        save(placed(dataset, (0, 0, number)), tmp_path / str(number))
    refused("colour-image", read_volume, tmp_path)


# ---------------------------------------------------------------------------- folders and choices


def test_several_series_are_listed_and_one_is_read_by_its_identifier(tmp_path):
    a_series(tmp_path, along_z(0, 2, 4), prefix="a", series="1.2.3")
    a_series(tmp_path, along_z(0, 1, 2, 3), prefix="b", series="1.2.4", modality="MR")
    message = refused("dicom-several-series", read_volume, tmp_path)
    assert "1.2.3 (series 1.2.3, CT, 3 slices); 1.2.4 (series 1.2.4, MR, 4 slices)" in message
    assert "--series" in message
    assert read_volume(tmp_path, series="1.2.4").array_CDHW.shape == (1, 4, ROWS, COLUMNS)
    assert "1.2.4" in refused("dicom-unknown-series", read_volume, tmp_path, series="9")


def test_series_are_listed_in_the_order_of_their_slices(tmp_path):
    a_series(tmp_path, along_z(4, 0, 2))
    (series,) = list_series(tmp_path)
    assert (series.uid, series.description, series.modality) == ("1.2.3", "series 1.2.3", "CT")
    assert [path.name for path in series.files] == ["71", "42", "00"]


@pytest.mark.parametrize("character_set", ["ISO_IR 100", "ISO_IR 192"])
def test_descriptions_with_umlauts_are_readable(tmp_path, character_set):
    dataset = with_pixels(a_dataset(), slice_values(0))
    dataset.SpecificCharacterSet, dataset.SeriesDescription = character_set, "Schädel früh"
    save(placed(dataset, (0, 0, 0)), tmp_path / "0")
    assert list_series(tmp_path)[0].description == "Schädel früh"


def test_results_beside_a_scan_are_no_series(tmp_path):
    a_series(tmp_path, along_z(0, 2, 4))
    structures = a_dataset(RT_STRUCTURE, modality="RTSTRUCT", series="1.2.9")
    save(structures, tmp_path / "structures")
    save(a_dataset(SPECTROSCOPY, modality="MR", series="1.2.7"), tmp_path / "spectrum")
    segmentation = with_pixels(
        a_dataset(SEGMENTATION, modality="SEG", series="1.2.8"), np.zeros((ROWS, COLUMNS))
    )
    save(segmentation, tmp_path / "segmentation")
    (tmp_path / "notes.txt").write_text("CT of the head")
    (tmp_path / ".hidden").write_bytes(b"x" * 200)
    assert [series.uid for series in list_series(tmp_path)] == ["1.2.3"]
    assert read_volume(tmp_path).array_CDHW.shape == (1, 3, ROWS, COLUMNS)


def test_a_folder_without_images_is_refused(tmp_path):
    save(a_dataset(RT_STRUCTURE, modality="RTSTRUCT"), tmp_path / "structures")
    a_series(tmp_path / "scan", along_z(0, 2, 4))
    assert "scan" in refused("dicom-no-images", read_volume, tmp_path)
    refused("dicom-no-images", read_volume, tmp_path / "structures")
    refused("file-missing", read_series, tmp_path / "absent")


def test_dicom_folders_are_found_once_and_without_those_of_results(tmp_path):
    a_series(tmp_path / "patient" / "ct", along_z(0, 2, 4))
    save(a_dataset(RT_STRUCTURE, modality="RTSTRUCT"), tmp_path / "patient" / "rt" / "structures")
    damaged = a_series(tmp_path / "damaged", along_z(0, 2), suffix=".dcm") / "00.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    (tmp_path / "patient" / "labels.nii.gz").write_bytes(b"x")
    assert find_volumes(tmp_path) == [
        tmp_path / "damaged",
        tmp_path / "patient" / "ct",
        tmp_path / "patient" / "labels.nii.gz",
    ]
    assert case_name(tmp_path / "patient" / "ct") == "ct"
    assert find_volumes(tmp_path / "patient" / "ct") == [tmp_path / "patient" / "ct"]
    assert not is_series_folder(tmp_path / "patient" / "rt")


# -------------------------------------------------------------------------- damaged and compressed


@pytest.mark.parametrize("share", [0.6, 0.999])
def test_a_shortened_file_is_refused_by_its_name(tmp_path, capfd, share):
    a_series(tmp_path, along_z(0, 2, 4), suffix=".dcm")
    path = tmp_path / "71.dcm"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "71.dcm" in refused("dicom-damaged", read_volume, tmp_path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.110", "JPEG XL"),
        ("1.2.840.10008.1.2.4.103", "MPEG-4"),
        ("1.2.3.4.5", "unknown"),
    ],
)
def test_a_compression_that_cannot_be_unpacked_is_named(tmp_path, capfd, syntax, name):
    for number in range(3):
        dataset = placed(with_pixels(a_dataset(), slice_values(number)), (0, 0, number))
        dataset.PixelData = encapsulate([b"\1" * 500])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        path = save(dataset, tmp_path / f"{number}.dcm")
        data = path.read_bytes()
        old, new = f"{ExplicitVRLittleEndian}\0", syntax
        start = data.index(old.encode())
        # pydicom writes no syntax that it does not know.
        length = len(new) + len(new) % 2
        packed = (
            data[: start - 2] + length.to_bytes(2, "little") + new.encode().ljust(length, b"\0")
        )
        grown = length - len(old)
        group = int.from_bytes(data[140:144], "little") + grown
        packed = packed[:140] + group.to_bytes(4, "little") + packed[144:]
        path.write_bytes(packed + data[start + len(old) :])
    message = refused("dicom-codec", read_volume, tmp_path)
    assert syntax in message
    assert name in message


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_the_file_with_damaged_compressed_pixels_is_named(tmp_path, damaged):
    a_series(tmp_path, along_z(0, 2, 4), suffix=".dcm")
    path = tmp_path / ("00.dcm", "71.dcm", "42.dcm")[damaged]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.90")
    dataset.PixelData = encapsulate([b"\1" * 500])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    assert path.name in refused("dicom-damaged", read_volume, tmp_path)


# ------------------------------------------------------------------------------------ multi-frame


def nested(**attributes):
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return Sequence([item])


def a_multiframe(path, depths, *, syntax=ExplicitVRLittleEndian, slopes=None, is_shared=True):
    """Write an enhanced CT; the values of frame n start at 100 n (stored)."""
    frames = np.stack([slice_values(number) for number in range(len(depths))])
    dataset = with_pixels(a_dataset(ENHANCED_CT, syntax=syntax), frames)
    dataset.NumberOfFrames = len(depths)
    shared = Dataset()
    shared.PixelMeasuresSequence = nested(PixelSpacing=[0.7, 0.6], SliceThickness="2")
    shared.PlaneOrientationSequence = nested(ImageOrientationPatient=list(AXIAL))
    groups = []
    for number, depth in enumerate(depths):
        frame = Dataset()
        frame.PlanePositionSequence = nested(ImagePositionPatient=[1, 2, depth])
        scale = slopes[number] if slopes else 2
        frame.PixelValueTransformationSequence = nested(
            RescaleIntercept="-10", RescaleSlope=str(scale), RescaleType="HU"
        )
        if not is_shared:
            frame.update(shared)
        groups.append(frame)
    if is_shared:
        dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return save(dataset, path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("depths", [(0, 3, 6, 9), (9, 6, 3, 0), (0, 6, 3, 9)])
def test_frames_are_stacked_by_their_place(tmp_path, depths, syntax, is_shared):
    path = a_multiframe(tmp_path / "ct.dcm", depths, syntax=syntax, is_shared=is_shared)
    volume = read_volume(path)
    assert volume.geometry.spacing_dhw == (3, 0.7, 0.6)
    assert volume.geometry.origin_xyz == (1, 2, 0)
    assert volume.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    expected = np.stack([slice_values(number) * 2 - 10 for number in np.argsort(depths)])
    np.testing.assert_array_equal(volume.array_CDHW[0], expected)
    assert (volume.name, volume.modality, volume.dicom_files) == ("ct", "CT", (path,))
    assert read_volume(tmp_path).geometry == volume.geometry


def test_sequences_of_undefined_length_are_read(tmp_path):
    path = a_multiframe(tmp_path / "ct.dcm", (0, 3, 6))
    dataset = pydicom.dcmread(path)
    for element in dataset.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
    dataset.save_as(path)
    assert read_volume(path).geometry.spacing_dhw == (3, 0.7, 0.6)


def test_frames_that_form_no_grid_are_refused(tmp_path):
    refused("dicom-gaps", read_volume, a_multiframe(tmp_path / "a.dcm", (0, 3, 6, 12)))
    path = a_multiframe(tmp_path / "b.dcm", (0, 3, 0, 3))
    refused("dicom-duplicate-slices", read_volume, path)


def test_frames_have_intensity_scales_of_their_own(tmp_path):
    path = a_multiframe(tmp_path / "a.dcm", (0, 6, 3), slopes=(1, 2, 0.5))
    expected = [slice_values(n) * s - 10 for n, s in ((0, 1), (2, 0.5), (1, 2))]
    np.testing.assert_array_equal(read_volume(path).array_CDHW[0], expected)


def test_long_values_among_the_attributes_are_passed_over(tmp_path):
    path = a_multiframe(tmp_path / "ct.dcm", (0, 3, 6))
    dataset = pydicom.dcmread(path)
    dataset.ImageComments = "x" * 9000
    dataset.save_as(path)
    assert read_volume(path).geometry.spacing_dhw == (3, 0.7, 0.6)


def test_places_that_are_no_three_numbers_are_refused(tmp_path):
    path = a_multiframe(tmp_path / "ct.dcm", (0, 3, 6))
    dataset = pydicom.dcmread(path)
    frame = dataset.PerFrameFunctionalGroupsSequence[1]
    frame.PlanePositionSequence[0].ImagePositionPatient = [1, 2]
    dataset.save_as(path)
    refused("dicom-no-positions", read_volume, path)


@pytest.mark.parametrize("slopes", [None, (1, 2, 1)])
@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_multi_frame_files_are_read_in_every_uncompressed_syntax(tmp_path, syntax, slopes):
    if syntax == ExplicitVRBigEndian:
        path = a_multiframe(tmp_path / "ct.dcm", (0, 3, 6), slopes=slopes)
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        written = Dataset(dataset)
        written.file_meta = dataset.file_meta
        written.save_as(path, enforce_file_format=True)
    else:
        path = a_multiframe(tmp_path / "ct.dcm", (0, 3, 6), syntax=syntax, slopes=slopes)
    expected = [slice_values(n) * s - 10 for n, s in enumerate(slopes or (2, 2, 2))]
    np.testing.assert_array_equal(read_volume(path).array_CDHW[0], expected)


def test_frames_without_a_place_are_refused(tmp_path):
    dataset = with_pixels(a_dataset(), np.zeros((4, ROWS, COLUMNS)))
    dataset.NumberOfFrames = 4
    refused("dicom-no-positions", read_volume, save(dataset, tmp_path / "a.dcm"))


def test_the_frames_of_several_files_form_one_volume(tmp_path):
    a_multiframe(tmp_path / "b.dcm", (0, 3, 6))
    a_multiframe(tmp_path / "a.dcm", (9, 15, 12))
    volume = read_volume(tmp_path)
    assert volume.geometry.spacing_dhw == (3, 0.7, 0.6)
    expected = [slice_values(n) * 2 - 10 for n in (0, 1, 2, 0, 2, 1)]
    np.testing.assert_array_equal(volume.array_CDHW[0], expected)
    assert [path.name for path in volume.dicom_files] == ["b.dcm", "a.dcm"]


def test_an_enhanced_image_may_have_one_frame_in_each_file(tmp_path):
    for depth in (6, 0, 3):
        a_multiframe(tmp_path / f"{depth}.dcm", (depth,))
    assert read_volume(tmp_path).geometry.shape_dhw == (3, ROWS, COLUMNS)


# ------------------------------------------------------------------------------------- file kinds


def strip_preamble(path):
    dataset = pydicom.dcmread(path)
    del dataset.file_meta
    dataset.preamble = None
    pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert path.read_bytes()[128:132] != b"DICM"


def test_files_without_preamble_are_read(tmp_path):
    a_series(tmp_path, along_z(0, 2, 4))
    for path in list(tmp_path.iterdir()):
        strip_preamble(path)
        assert is_dicom(path)
    assert read_volume(tmp_path).array_CDHW.shape == (1, 3, ROWS, COLUMNS)


def test_a_damaged_file_without_preamble_is_refused_by_its_name(tmp_path):
    a_series(tmp_path, along_z(0, 2, 4), suffix=".dcm")
    strip_preamble(tmp_path / "71.dcm")
    (tmp_path / "71.dcm").write_bytes((tmp_path / "71.dcm").read_bytes()[:-20])
    assert "71.dcm" in refused("dicom-damaged", read_volume, tmp_path)


def test_what_only_begins_like_dicom_is_left_out_with_a_warning(tmp_path, caplog):
    a_series(tmp_path, along_z(0, 2, 4), suffix=".dcm")
    (tmp_path / "other").write_bytes(b"\x08\x00\x05\x00 and then something else" * 9)
    assert len(list_series(tmp_path)[0].files) == 3
    assert "other begins like DICOM" in caplog.text


def test_other_files_are_no_dicom(tmp_path):
    (tmp_path / "note").write_text("The scan of Monday")
    assert not is_dicom(tmp_path / "note")
    assert not is_dicom(tmp_path / "absent")


# -------------------------------------------------------------------------------------- real ones


def test_real_series_are_read_as_their_conversions_are(shared_data):
    folder = shared_data / "samples" / "dicom"
    mr = read_volume(folder / "STS_002_ct_mr_rtstruct" / "MR_T1" / "image")
    converted = read_volume(shared_data / "samples" / "sarcoma_mr" / "STS_002_image.nii.gz")
    assert mr.geometry.same_grid(converted.geometry)
    np.testing.assert_array_equal(mr.array_CDHW, converted.array_CDHW)
    ct = read_volume(folder / "ct_jpeg2000_20slices")
    labels = read_label_map(folder / "ct_jpeg2000_20slices_seg.nii.gz")
    # The conversion turned the rows round; the corners stayed.
    corners = [np.unique(scan.geometry.corners_xyz(), axis=0) for scan in (ct, labels)]
    np.testing.assert_allclose(*corners, atol=1e-3)
    assert ct.modality == "CT"
    assert ct.array_CDHW.dtype == np.int16


def test_a_real_series_with_a_slice_removed_is_refused(shared_data, tmp_path):
    source = shared_data / "samples" / "dicom" / "hippocrop_mr"
    for path in source.iterdir():
        if path.name != "17.dcm":
            (tmp_path / path.name).symlink_to(path)
    assert "1 to 2 mm apart" in refused("dicom-gaps", read_volume, tmp_path)


def test_planes_say_where_the_slices_of_files_lie(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    files = sorted(a_series(folder, along_z(4, 0, 2)).iterdir())
    planes = planes_of(files)
    assert [plane.position_xyz[2] for plane in planes] == [
        pydicom.dcmread(file).ImagePositionPatient[2] for file in files
    ]
    path = a_multiframe(tmp_path / "frames.dcm", (1, 5, 3))
    assert [plane.position_xyz[2] for plane in planes_of([path])] == [1, 5, 3]
    (tmp_path / "text").write_text("no image")
    refused("dicom-no-images", planes_of, [tmp_path / "text"])
