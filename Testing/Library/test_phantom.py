"""The drawn sample: reproducible, plausible, nobody's; and the script that made its template."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib.data import phantom
from MISFMLib.data.phantom import draw_phantom
from MISFMLib.errors import ConfigError
from MISFMLib.resources import resource_path
from MISFMLib.volumes.volume import check_same_grid, read_label_map, read_volume, write_volume

SCRIPT = Path(__file__).parents[1] / "Benchmarks" / "build_hippocampus_template.py"


@pytest.fixture(scope="module")
def phantoms():
    return [draw_phantom(seed) for seed in range(8)]


@pytest.fixture(scope="module")
def template_script():
    pytest.importorskip("scipy")
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, SCRIPT.stem, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module


def contrasts(image, labels):
    """Mean of the hippocampus and of the brightest tenth, where 0 and 1 hold 98 % of the voxels."""
    low, high = np.percentile(image, (1, 99))
    scaled = (image - low) / (high - low)
    return scaled[labels > 0].mean(), scaled[scaled >= np.percentile(scaled, 90)].mean()


# ----------------------------------------------------------------------------------------- drawing


def test_the_same_seed_draws_the_same_sample_and_another_seed_another_one(phantoms):
    volume, label_map = draw_phantom(3)
    np.testing.assert_array_equal(volume.array_CDHW, phantoms[3][0].array_CDHW)
    np.testing.assert_array_equal(label_map.array_DHW, phantoms[3][1].array_DHW)
    assert volume.geometry == phantoms[3][0].geometry
    assert len({drawn.array_CDHW.tobytes() for drawn, _ in phantoms}) == len(phantoms)
    assert (volume.name, volume.modality, volume.array_CDHW.dtype) == ("phantom-3", "MR", np.int16)


def test_a_sample_lies_obliquely_on_a_right_handed_grid_of_one_millimetre(phantoms):
    for volume, label_map in phantoms:
        check_same_grid(volume, label_map)
        direction = np.reshape(volume.geometry.direction, (3, 3))
        np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(direction) == pytest.approx(1)
        assert 0.9 < np.abs(np.diag(direction)).min() < 1
        assert volume.geometry.spacing_dhw == (1, 1, 1)
        assert np.abs(volume.geometry.origin_xyz).max() > 1


def test_both_parts_are_whole_and_of_the_size_they_have_in_people(phantoms):
    for _, label_map in phantoms:
        anterior, posterior = (np.count_nonzero(label_map.array_DHW == value) for value in (1, 2))
        assert 700 < anterior < 3000
        assert 700 < posterior < 3000
        components = sitk.ConnectedComponent(sitk.GetImageFromArray(label_map.array_DHW), True)
        sizes = np.bincount(sitk.GetArrayFromImage(components).ravel())[1:]
        assert sizes.max() > 0.97 * sizes.sum()


def test_the_anterior_part_lies_in_front_of_the_posterior_part(phantoms):
    for _, label_map in phantoms:
        front, back = (
            label_map.geometry.position_xyz(
                tuple(np.argwhere(label_map.array_DHW == value).mean(0))
            )
            for value in (1, 2)
        )
        assert 10 < back[1] - front[1] < 35  # LPS: y grows to the back


def test_the_hippocampus_keeps_a_distance_from_the_borders_of_the_crop(phantoms):
    for _, label_map in phantoms:
        places = np.argwhere(label_map.array_DHW)
        before = places.min(axis=0)
        after = np.array(label_map.array_DHW.shape) - 1 - places.max(axis=0)
        assert min(*before, *after) >= 5
        assert max(*before, *after) <= 7


def test_the_shape_has_no_folds_also_beyond_the_borders_of_the_template():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        warp = phantom._draw_warp(phantom._read_template(), rng)
        for axis, size in enumerate(phantom._CANVAS_XYZ):
            line = np.zeros((size, 3))
            line[:, axis] = np.arange(size) - (size - 1) / 2
            mapped = [warp.TransformPoint(place)[axis] for place in line.tolist()]
            assert 0.3 < np.diff(mapped).min() <= np.diff(mapped).max() < 2


def test_the_hippocampus_is_darker_than_the_white_matter_around_it(phantoms):
    for volume, label_map in phantoms:
        grey, white = contrasts(volume.array_CDHW[0], label_map.array_DHW)
        assert grey < 0.75 * white


def test_a_sample_survives_being_written(tmp_path, phantoms):
    volume, label_map = phantoms[0]
    write_volume(volume, tmp_path / "sample.nii.gz")
    back = read_volume(tmp_path / "sample.nii.gz")
    check_same_grid(back, label_map)
    np.testing.assert_array_equal(back.array_CDHW, volume.array_CDHW)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed is -1"):
        draw_phantom(-1)


@pytest.mark.parametrize("case", ["hippocampus_011", "hippocampus_215", "hippocampus_368"])
def test_samples_look_like_people_the_template_does_not_know(shared_data, phantoms, case):
    folder = shared_data / "hippocampus_mr"
    image = read_volume(folder / "imagesTr" / f"{case}.nii.gz").array_CDHW[0].astype(float)
    labels = read_label_map(folder / "labelsTr" / f"{case}.nii.gz").array_DHW
    drawn = [contrasts(volume.array_CDHW[0], known.array_DHW) for volume, known in phantoms]
    np.testing.assert_allclose(contrasts(image, labels), np.mean(drawn, axis=0), atol=0.12)


# ---------------------------------------------------------------------------------------- template


def test_the_template_is_small_and_comes_with_its_licence():
    assert resource_path("Samples/hippocampus_template.npz").stat().st_size < 300_000
    licence = resource_path("Samples/LICENSE.txt").read_text("utf-8")
    assert "CC BY-SA 4.0" in licence
    assert "Medical Segmentation" in licence


def test_the_modes_vary_as_the_readme_says():
    with np.load(resource_path("Samples/hippocampus_template.npz")) as content:
        shapes = content["shape_modes"] * content["shape_modes_scale"]
        mean = content["image"] * content["image_scale"]
    assert shapes.shape == (6, 10, 14, 10, 3)
    lengths_mm = np.sqrt((shapes**2).sum(axis=-1).mean(axis=(1, 2, 3)))
    assert (np.diff(lengths_mm) < 0).all()
    assert 1 < lengths_mm[0] < 5
    assert 0 <= mean.min() < 0.2 < 0.9 < mean.max() <= 1.2


def test_a_mode_is_one_standard_deviation_long(template_script, rng, monkeypatch):
    people = np.arange(100)
    axis, weights = rng.normal(size=(4, 5)), rng.normal(size=100)
    noise = 1e-6 * rng.normal(size=(100, 4, 5))
    deviations = (weights - weights.mean())[:, None, None] * axis + noise
    monkeypatch.setattr(template_script, "NUM_MODES", 1)
    (mode,), spread = template_script.principal_modes(deviations, people)
    np.testing.assert_allclose(np.abs(mode), np.abs(axis) * weights.std(), rtol=1e-3)
    assert spread.max() < 1e-4


def test_a_mode_that_shows_one_person_stops_the_script(template_script, rng):
    people = np.repeat(np.arange(50), 2)
    deviations = rng.normal(size=(100, 400))
    deviations[:2] = 100 * rng.normal(size=400)
    with pytest.raises(SystemExit, match="one person makes up"):
        template_script.principal_modes(deviations, people)


def test_a_displacement_is_inverted(template_script):
    scale = sitk.AffineTransform(3)
    scale.SetMatrix(np.diag([1.1, 0.9, 1.05]).ravel().tolist())
    inverse = template_script.inverse_displacement(scale)
    edges = [4.0 * (np.arange(count) - (count - 1) / 2) for count in inverse.shape[:3]]
    places = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1)[..., ::-1]
    expected = places / (1.1, 0.9, 1.05) - places
    inside = (slice(2, -2),) * 3
    np.testing.assert_allclose(inverse[inside], expected[inside], atol=1e-4)


def test_too_few_people_stop_the_script(template_script, tmp_path, monkeypatch):
    (tmp_path / "dataset.json").write_text(json.dumps({"split": {"train": []}}))
    monkeypatch.setattr("sys.argv", ["build", str(tmp_path), str(tmp_path)])
    with pytest.raises(SystemExit, match="0 people, 100 are needed"):
        template_script.main()


def test_a_crop_is_scaled_and_centred_on_its_hippocampus(template_script, tmp_path, rng):
    image = rng.uniform(50, 60, (20, 22, 24)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[5:10, 6:17, 8:11], labels[10:15, 6:17, 8:11] = 1, 2
    for folder, array in (("imagesTr", image), ("labelsTr", labels)):
        stored = sitk.GetImageFromArray(array)
        stored.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
        (tmp_path / folder).mkdir()
        sitk.WriteImage(stored, tmp_path / folder / "hippocampus_012.nii.gz")
    crop = template_script.read_crop(tmp_path, "hippocampus_012")
    assert crop.person == 6
    np.testing.assert_allclose(
        crop.image.TransformPhysicalPointToContinuousIndex((0, 0, 0)), (9, 11, 9.5)
    )
    low, high = np.percentile(sitk.GetArrayFromImage(crop.image), (1, 99))
    assert (low, high) == pytest.approx((0, 1), abs=1e-3)
    assert [sitk.GetArrayFromImage(label).sum() for label in crop.labels] == [165, 165]


def test_a_crop_with_other_axes_stops_the_script(template_script, tmp_path):
    (tmp_path / "imagesTr").mkdir()
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkUInt8), tmp_path / "imagesTr" / "a_1.nii.gz")
    with pytest.raises(SystemExit, match="other axes"):
        template_script.read_crop(tmp_path, "a_1")
