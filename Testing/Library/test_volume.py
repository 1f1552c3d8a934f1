"""Volumes and label maps on disk: grids survive, types survive, and unusable files are named."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib.configs import LabelConfig
from MISFMLib.errors import DataError, OutputError
from MISFMLib.volumes.volume import (
    Geometry,
    LabelMap,
    Volume,
    case_name,
    check_same_grid,
    find_volumes,
    present_values,
    read_label_map,
    read_volume,
    write_label_map,
    write_volume,
)

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".seg.nrrd")
SHAPE = (4, 5, 6)


def a_rotation(rng):
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


IDENTITY = np.eye(3)


def a_geometry(direction=IDENTITY, spacing_dhw=(3.3, 0.7, 0.8), origin_xyz=(-101.25, 55.5, 907.1)):
    return Geometry(SHAPE, spacing_dhw, origin_xyz, tuple(map(float, np.ravel(direction))))


def a_volume(geometry=None, dtype=np.int16, channels=1):
    size = channels * int(np.prod(SHAPE))
    array = np.arange(size).reshape(channels, *SHAPE).astype(dtype)
    return Volume(array, geometry or a_geometry(), "case")


def a_label_map(geometry=None, dtype=np.uint8, highest=3):
    array = np.zeros(SHAPE, dtype)
    array[1:3, 2:4, 1:5] = 1
    array[3, 0, 0] = highest
    return LabelMap(array, geometry or a_geometry())


def refused(code, function, *arguments, **options):
    with pytest.raises(DataError) as caught:
        function(*arguments, **options)
    assert caught.value.code == code
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ----------------------------------------------------------------------------------------- grids


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["plain", "oblique", "left-handed", "negative", "permuted"])
def test_a_label_map_keeps_its_grid(tmp_path, rng, suffix, kind):
    direction = {
        "plain": np.eye(3),
        "oblique": a_rotation(rng),
        "left-handed": a_rotation(rng) @ np.diag([1, 1, -1]),
        "negative": np.diag([-1, -1, 1]),
        "permuted": np.eye(3)[[2, 0, 1]] * (-1, 1, 1),
    }[kind]
    label_map = a_label_map(a_geometry(direction, tuple(rng.uniform(0.3, 6, 3))))
    write_label_map(label_map, tmp_path / f"labels{suffix}")
    again = read_label_map(tmp_path / f"labels{suffix}")
    assert again.geometry.shape_dhw == SHAPE
    assert again.geometry.same_grid(label_map.geometry, tolerance_mm=1e-4)
    np.testing.assert_array_equal(again.array_DHW, label_map.array_DHW)
    assert again.array_DHW.dtype == np.uint8


def test_32_bit_numbers_of_nifti_move_no_voxel_of_a_large_volume(tmp_path, rng):
    geometry = a_geometry(a_rotation(rng), (0.61, 0.71, 0.53), (-998.7, 871.3, -123.4))
    write_label_map(a_label_map(geometry), tmp_path / "labels.nii.gz")
    stored = read_label_map(tmp_path / "labels.nii.gz").geometry
    large = (600, 512, 512)
    wanted = Geometry(large, geometry.spacing_dhw, geometry.origin_xyz, geometry.direction)
    got = Geometry(large, stored.spacing_dhw, stored.origin_xyz, stored.direction)
    assert wanted.distance_mm(got) < 2e-4


def test_positions_follow_the_axes_of_the_array():
    direction = np.array([[0, 0, -1], [1, 0, 0], [0, 1, 0]])  # x to the back, y up, z to the right
    geometry = a_geometry(direction, (5.0, 3.0, 2.0), (10.0, 20.0, 30.0))
    np.testing.assert_allclose(geometry.position_xyz((1, 0, 0)), (5, 20, 30))
    np.testing.assert_allclose(geometry.position_xyz((0, 1, 0)), (10, 20, 33))
    np.testing.assert_allclose(geometry.position_xyz((0, 0, 1)), (10, 22, 30))
    assert geometry.corners_xyz().shape == (8, 3)
    assert geometry.voxel_volume_mm3 == pytest.approx(30)


def test_positions_agree_with_simpleitk(tmp_path, rng):
    geometry = a_geometry(a_rotation(rng))
    write_volume(a_volume(geometry), tmp_path / "image.mha")
    image = sitk.ReadImage(str(tmp_path / "image.mha"))
    for index_xyz in ((0, 0, 0), (5, 0, 3), (2, 4, 1)):
        np.testing.assert_allclose(
            geometry.position_xyz(index_xyz[::-1]),
            image.TransformIndexToPhysicalPoint(index_xyz),
            atol=1e-9,
        )


def test_grids_are_compared_in_millimetres(rng):
    geometry = a_geometry(a_rotation(rng))
    x, y, z = geometry.origin_xyz
    near = a_geometry(geometry.direction, origin_xyz=(x + 5e-4, y, z))
    far = a_geometry(geometry.direction, origin_xyz=(x + 2e-3, y, z))
    assert geometry.same_grid(near)
    assert not geometry.same_grid(far)
    assert geometry.same_grid(far, tolerance_mm=0.01)
    assert not geometry.same_grid(Geometry((4, 6, 5), *list(vars(geometry).values())[1:]))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shape_dhw": (4, 5, 7)}, "4 x 5 x 7 instead of 4 x 5 x 6"),
        ({"spacing_dhw": (3.0, 0.7, 0.8)}, "spacing (3, 0.7, 0.8) instead of (3.3, 0.7, 0.8)"),
        ({"direction": (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)}, "axes (-1, 0, 0"),
        ({"origin_xyz": (-101.25, 55.5, 910.1)}, "origin (-101.25, 55.5, 910.1)"),
    ],
)
def test_a_label_map_on_another_grid_is_refused_with_the_difference(changed, words):
    geometry = Geometry(**{**vars(a_geometry()), **changed})
    labels = LabelMap(np.zeros(geometry.shape_dhw, np.uint8), geometry)
    assert words in refused("grid-mismatch", check_same_grid, a_volume(), labels)


def test_a_label_map_that_is_off_by_rounding_is_accepted():
    x, y, z = a_geometry().origin_xyz
    check_same_grid(a_volume(), a_label_map(a_geometry(origin_xyz=(x + 0.005, y, z))))


def test_a_grid_that_nifti_cannot_store_is_refused_not_changed(tmp_path, capfd):
    nearly = np.eye(3)
    nearly[1, 2] = 9e-4
    geometry = a_geometry(nearly, spacing_dhw=(50.0, 0.7, 0.8))
    with pytest.raises(OutputError) as caught:
        write_label_map(a_label_map(geometry), tmp_path / "labels.nii.gz")
    assert caught.value.code == "grid-not-stored"
    assert list(tmp_path.glob("labels*")) == []
    assert capfd.readouterr().err == ""  # ITK warns of it
    assert sitk.ProcessObject.GetGlobalWarningDisplay()
    write_label_map(a_label_map(geometry), tmp_path / "labels.nrrd")
    assert read_label_map(tmp_path / "labels.nrrd").geometry.same_grid(geometry)


# --------------------------------------------------------------------------------------- volumes


@pytest.mark.parametrize("suffix", SUFFIXES[:-1])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_a_volume_keeps_its_type_and_values(tmp_path, suffix, dtype):
    volume = a_volume(dtype=dtype)
    write_volume(volume, tmp_path / f"scan{suffix}")
    again = read_volume(tmp_path / f"scan{suffix}")
    assert again.array_CDHW.dtype == dtype
    assert again.array_CDHW.flags.c_contiguous
    np.testing.assert_array_equal(again.array_CDHW, volume.array_CDHW)
    assert (again.name, again.modality, again.dicom_files) == ("scan", "", ())


@pytest.mark.parametrize("suffix", SUFFIXES[:-1])
def test_channels_of_one_file_come_first(tmp_path, suffix):
    volume = a_volume(channels=3)
    write_volume(volume, tmp_path / f"scan{suffix}")
    again = read_volume(tmp_path / f"scan{suffix}")
    np.testing.assert_array_equal(again.array_CDHW, volume.array_CDHW)
    assert again.geometry.same_grid(volume.geometry)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.arange(120) * 0.5, np.float32),
        (np.arange(120, dtype=np.int64) - 7, np.int32),
        (np.arange(120, dtype=np.int64) << 33, np.float32),
        (np.arange(120, dtype=np.uint32), np.int32),
    ],
)
def test_64_bit_numbers_become_32_bit_ones(tmp_path, values, dtype):
    sitk.WriteImage(sitk.GetImageFromArray(values.reshape(SHAPE)), str(tmp_path / "scan.nrrd"))
    array = read_volume(tmp_path / "scan.nrrd").array_CDHW
    assert array.dtype == dtype
    np.testing.assert_allclose(array.ravel(), values, rtol=1e-6)


def test_several_files_are_the_channels_of_one_volume(tmp_path):
    write_volume(a_volume(dtype=np.int16), tmp_path / "t1.nii.gz")
    write_volume(a_volume(dtype=np.float32), tmp_path / "flair.nrrd")
    volume = read_volume([tmp_path / "t1.nii.gz", tmp_path / "flair.nrrd"])
    assert volume.array_CDHW.shape == (2, *SHAPE)
    assert volume.array_CDHW.dtype == np.float32
    assert volume.name == "t1"


def test_channels_on_different_grids_are_refused(tmp_path):
    write_volume(a_volume(), tmp_path / "t1.nrrd")
    write_volume(a_volume(a_geometry(spacing_dhw=(3.0, 1.0, 1.0))), tmp_path / "t2.nrrd")
    paths = [tmp_path / "t1.nrrd", tmp_path / "t2.nrrd"]
    assert "t2" in refused("grid-mismatch", read_volume, paths)


def test_an_upper_case_suffix_is_read(tmp_path):
    write_volume(a_volume(), tmp_path / "scan.nii.gz")
    (tmp_path / "scan.nii.gz").rename(tmp_path / "SCAN.NII.GZ")
    assert read_volume(tmp_path / "SCAN.NII.GZ").name == "SCAN"


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    image = sitk.GetImageFromArray(np.arange(120.0).reshape(1, *SHAPE), isVector=False)
    for name in ("scan.nii.gz", "scan.nrrd", "scan.mha"):
        sitk.WriteImage(image, str(tmp_path / name))
        assert read_volume(tmp_path / name).array_CDHW.shape == (1, *SHAPE)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_result_is_replaced_only_on_request(tmp_path, suffix):
    path = tmp_path / f"labels{suffix}"
    write_label_map(a_label_map(), path)
    with pytest.raises(OutputError) as caught:
        write_label_map(a_label_map(), path)
    assert caught.value.code == "output-exists"
    write_label_map(a_label_map(highest=4), path, overwrite=True)
    assert present_values(read_label_map(path).array_DHW) == {0, 1, 4}
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == [path.name]


@pytest.mark.parametrize("name", ["labels.mhd", "labels.png", "labels", "labels.NRRD"])
def test_a_format_that_cannot_be_written_is_refused(tmp_path, name):
    with pytest.raises(OutputError) as caught:
        write_label_map(a_label_map(), tmp_path / name)
    assert caught.value.code == "unsupported-format"


def test_what_simpleitk_cannot_write_is_an_output_error(tmp_path, monkeypatch):
    def broken(*_arguments, **_options):
        raise RuntimeError("Exception thrown in SimpleITK\nITK ERROR: the disk is gone")

    monkeypatch.setattr(sitk, "WriteImage", broken)
    with pytest.raises(OutputError, match="the disk is gone") as caught:
        write_volume(a_volume(), tmp_path / "scan.nii.gz")
    assert caught.value.code == "output-not-writable"
    assert list(tmp_path.glob("*scan*")) == []


# -------------------------------------------------------------------------- volumes that are none


def written(path, array, *, is_vector=None, is_packed=False):
    image = sitk.GetImageFromArray(array, isVector=is_vector)
    sitk.WriteImage(image, str(path), useCompression=is_packed)
    return path


def random_array(rng, shape=(8, 16, 16)):
    return rng.integers(-1000, 1000, shape).astype(np.int16)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_single_slices_and_frames_and_colours_are_refused(tmp_path, rng, name):
    plane = random_array(rng, (16, 16))
    refused("two-dimensional", read_volume, written(tmp_path / name, plane))
    refused("two-dimensional", read_volume, written(tmp_path / name, plane[np.newaxis]))
    frames = written(tmp_path / name, random_array(rng, (3, 8, 16, 16)), is_vector=False)
    assert "16 x 16 x 8 x 3" in refused("four-dimensional", read_volume, frames)
    colours = rng.integers(0, 255, (8, 16, 16, 3)).astype(np.uint8)
    refused("colour-image", read_volume, written(tmp_path / name, colours, is_vector=True))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_constant_and_infinite_intensities_are_refused(tmp_path, rng, name):
    constant = np.full((8, 16, 16), -1024, np.int16)
    assert "-1024" in refused("constant-volume", read_volume, written(tmp_path / name, constant))
    for bad in (np.nan, np.inf):
        array = rng.normal(size=(8, 16, 16)).astype(np.float32)
        array[7, 15, 15] = bad
        refused("not-finite", read_volume, written(tmp_path / name, array))


def test_one_constant_channel_is_refused(tmp_path, rng):
    array = np.stack([random_array(rng), np.zeros((8, 16, 16), np.int16)], axis=-1)
    refused("constant-volume", read_volume, written(tmp_path / "a.mha", array, is_vector=True))


def test_complex_images_are_refused(tmp_path, rng):
    array = rng.normal(size=(8, 16, 16)).astype(np.complex64)
    refused("complex-image", read_volume, written(tmp_path / "a.nii", array))


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("is_packed", [True, False])
def test_a_shortened_file_is_refused(tmp_path, rng, capfd, name, share, is_packed):
    path = written(tmp_path / name, random_array(rng), is_packed=is_packed)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused("file-truncated", read_volume, path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_a_file_without_its_checksum_is_refused(tmp_path, rng, name):
    path = written(tmp_path / name, random_array(rng), is_packed=True)
    path.write_bytes(path.read_bytes()[:-4])
    refused("file-truncated", read_volume, path)


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_shortened_or_missing_data_file_is_refused(tmp_path, rng, is_packed):
    path = written(tmp_path / "a.mhd", random_array(rng), is_packed=is_packed)
    assert read_volume(path).array_CDHW.shape == (1, 8, 16, 16)
    data = tmp_path / ("a.zraw" if is_packed else "a.raw")
    data.write_bytes(data.read_bytes()[:-300])
    refused("file-truncated", read_volume, path)
    data.unlink()
    assert data.name in refused("file-missing", read_volume, path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_damaged_compressed_data_are_refused(tmp_path, rng, capfd, name):
    path = written(tmp_path / name, random_array(rng), is_packed=True)
    data = bytearray(path.read_bytes())
    data[-1500:-1000] = bytes(500)
    path.write_bytes(bytes(data))
    refused("file-damaged", read_volume, path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_data_that_shrink_a_thousandfold_are_read(tmp_path, name):
    array = np.zeros((24, 512, 512), np.uint8)
    array[-1, -1, -1] = 1
    path = written(tmp_path / name, array, is_packed=True)
    assert path.stat().st_size < 30_000
    assert read_volume(path).array_CDHW.sum() == 1


def test_gzip_members_and_padding_behind_each_other_are_read(tmp_path, rng):
    array = random_array(rng)
    data = written(tmp_path / "a.nii", array).read_bytes()
    parts = [gzip.compress(data[:5000]), gzip.compress(data[5000:]), bytes(512)]
    (tmp_path / "b.nii.gz").write_bytes(b"".join(parts))
    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii.gz").array_CDHW[0], array)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.dcm"])
def test_a_file_of_no_bytes_is_called_empty(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert "the file is empty" in refused("file-truncated", read_volume, tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd"])
def test_a_file_that_is_no_image_is_refused(tmp_path, capfd, name):
    (tmp_path / name).write_bytes(b"hello world, this is no image\n" * 30)
    with pytest.raises(DataError) as caught:
        read_volume(tmp_path / name)
    assert caught.value.code in ("not-an-image", "file-damaged")
    assert name in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.nrrd", "NRRD0004\ntype: short\ndimension: 3\nsizes: 0 6 5\nencoding: raw\n\n"),
        ("a.mha", "NDims = 3\nDimSize = 0 6 5\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"),
        ("a.mha", "NDims = 3\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"),
    ],
)
def test_an_image_without_voxels_is_refused(tmp_path, name, header):
    (tmp_path / name).write_text(header)
    refused("empty-volume", read_volume, tmp_path / name)


def a_metaimage(path, spacing="1 1 1", axes="1 0 0 0 1 0 0 0 1"):
    header = (
        f"ObjectType = Image\nNDims = 3\nTransformMatrix = {axes}\nElementSpacing = {spacing}\n"
        "DimSize = 6 5 4\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(header.encode() + np.arange(120, dtype=np.int16).tobytes())
    return path


def an_nrrd(path, fields):
    header = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\n{fields}\nendian: little\n"
    data = np.arange(120, dtype=np.int16).tobytes()
    path.write_bytes(f"{header}encoding: raw\n\n".encode() + data)
    return path


def test_a_voxel_size_of_zero_is_refused(tmp_path):
    refused("zero-spacing", read_volume, a_metaimage(tmp_path / "a.mha", spacing="0 1 1"))
    refused("zero-spacing", read_volume, an_nrrd(tmp_path / "a.nrrd", "spacings: 0 1 1"))
    axes = "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,0)"
    refused("zero-spacing", read_volume, an_nrrd(tmp_path / "a.nrrd", axes))


def test_axes_of_no_regular_grid_are_refused(tmp_path):
    sheared = a_metaimage(tmp_path / "a.mha", axes="1 0 0 0 1 0.1 0 0 1")
    refused("sheared-grid", read_volume, sheared)
    scaled = a_metaimage(tmp_path / "a.mha", axes="2 0 0 0 1 0 0 0 1")
    assert "(2, 1, 1)" in refused("sheared-grid", read_volume, scaled)
    singular = a_metaimage(tmp_path / "a.mha", axes="0 0 0 0 1 0 0 0 1")
    refused("sheared-grid", read_volume, singular)
    axes = "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0.5,2)"
    message = refused("sheared-grid", read_volume, an_nrrd(tmp_path / "a.nrrd", axes))
    assert "14 degrees" in message


def test_what_else_itk_finds_wrong_is_told_in_one_sentence(tmp_path):
    path = an_nrrd(tmp_path / "a.nrrd", "spacings: 1 1 1\nkinds: nonsense domain domain")
    assert "nonsense" in refused("not-an-image", read_volume, path)


def test_missing_files_and_other_formats_are_refused(tmp_path):
    refused("file-missing", read_volume, tmp_path / "absent.nii.gz")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    assert ".nii.gz" in refused("unsupported-format", read_volume, tmp_path / "picture.png")
    (tmp_path / "folder.nii").mkdir()
    refused("unsupported-format", read_label_map, tmp_path / "folder.nii")


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = a_metaimage(tmp_path / "a.mha")

    def denied(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", denied)
    assert "Permission denied" in refused("file-unreadable", read_volume, path)


# ------------------------------------------------------------------------------------ label maps


@pytest.mark.parametrize("highest", [255, 256, 65535])
def test_labels_take_the_smallest_type_that_holds_them(tmp_path, highest):
    labels = a_label_map(dtype=np.uint16, highest=highest)
    write_label_map(labels, tmp_path / "labels.nii.gz")
    again = read_label_map(tmp_path / "labels.nii.gz").array_DHW
    assert again.dtype == (np.uint8 if highest <= 255 else np.uint16)
    np.testing.assert_array_equal(again, labels.array_DHW)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32, np.float64])
def test_labels_in_other_types_are_read(tmp_path, dtype):
    array = a_label_map().array_DHW
    path = written(tmp_path / "labels.nii.gz", array.astype(dtype))
    np.testing.assert_array_equal(read_label_map(path).array_DHW, array)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.5, "label-not-integer"),
        (np.nan, "label-not-integer"),
        (-1, "label-out-of-range"),
        (65536, "label-out-of-range"),
        (np.inf, "label-out-of-range"),
    ],
)
def test_values_that_are_no_labels_are_refused(tmp_path, value, code):
    array = np.zeros(SHAPE)
    array[-1, -1, -1] = value
    refused(code, read_label_map, written(tmp_path / "labels.nrrd", array))


def test_unknown_labels_are_refused(tmp_path):
    write_label_map(a_label_map(highest=9), tmp_path / "labels.nrrd")
    message = refused("unknown-label", read_label_map, tmp_path / "labels.nrrd", allowed_values=[1])
    assert "labels 9, allowed are 1" in message
    assert read_label_map(tmp_path / "labels.nrrd", allowed_values={1, 9})


def test_several_channels_are_no_label_map(tmp_path):
    write_volume(a_volume(channels=2, dtype=np.uint8), tmp_path / "labels.nrrd")
    refused("label-channels", read_label_map, tmp_path / "labels.nrrd")


def test_a_label_map_without_foreground_is_read(tmp_path):
    empty = LabelMap(np.zeros(SHAPE, np.uint8), a_geometry())
    write_label_map(empty, tmp_path / "labels.seg.nrrd", labels=[LabelConfig(value=1, name="a")])
    assert present_values(read_label_map(tmp_path / "labels.seg.nrrd").array_DHW) == {0}


# --------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/case_01.nii.gz", "case_01"),
        ("case.1.seg.nrrd", "case.1"),
        ("CASE.NRRD", "CASE"),
        ("scan.dcm", "scan"),
        ("study/1.2.840.113", "1.2.840.113"),
        ("x.mhd", "x"),
    ],
)
def test_a_case_is_named_after_its_file(tmp_path, path, name):
    assert case_name(tmp_path / path) == name


def test_volumes_are_found_below_a_folder(tmp_path):
    for name in ("b/2.nii.gz", "b/1.mha", "a.NRRD", ".hidden.nii", ".cache/c.nii", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = [path.relative_to(tmp_path).as_posix() for path in find_volumes(tmp_path)]
    assert found == ["a.NRRD", "b/1.mha", "b/2.nii.gz"]
    refused("file-missing", find_volumes, tmp_path / "absent")


# ----------------------------------------------------------------------------------- real volumes


def assert_grid_survives(path, folder):
    volume = read_volume(path)
    labels = (volume.array_CDHW[0] > np.median(volume.array_CDHW[0])).astype(np.uint8)
    for suffix in SUFFIXES:
        result = folder / f"labels{suffix}"
        write_label_map(LabelMap(labels, volume.geometry), result, overwrite=True)
        again = read_label_map(result)
        assert again.geometry.same_grid(volume.geometry, tolerance_mm=1e-4), path
        np.testing.assert_array_equal(again.array_DHW, labels)


def kind_of_grid(path):
    """Tell grids apart but for what differs from patient to patient."""
    if path.is_dir():
        return path
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    numbers = np.round([*reader.GetSpacing(), *reader.GetDirection()])
    return (path.parent, reader.GetPixelID(), *numbers.tolist())


@pytest.mark.slow
def test_every_kind_of_grid_of_all_real_volumes_survives(shared_data, tmp_path):
    volumes = find_volumes(shared_data)
    assert len(volumes) > 900
    kinds = {kind_of_grid(path): path for path in volumes}
    assert len(kinds) > 20
    for path in kinds.values():
        assert_grid_survives(path, tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("space directions", "(nan,nan,nan) (nan,nan,nan) (nan,nan,nan)"),
        ("space directions", "(1,0,0) (0,1,0) (0,0,inf)"),
        ("space origin", "(0,0,NaN)"),
    ],
)
def test_an_nrrd_grid_of_no_numbers_is_refused(tmp_path, field, value):
    fields = {
        "type": "uchar",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "6 5 4",
        "space directions": "(1,0,0) (0,1,0) (0,0,2)",
        "encoding": "raw",
        "space origin": "(0,0,0)",
        field: value,
    }
    header = "NRRD0004\n" + "".join(f"{key}: {text}\n" for key, text in fields.items()) + "\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(range(120)))
    message = refused("zero-spacing", read_volume, tmp_path / "a.nrrd")
    assert field in message
