"""The overview picture: the right planes, turned the right way, with names and volumes."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from MISFMLib.configs import LabelConfig
from MISFMLib.errors import ConfigError, DataError, DependencyError, OutputError
from MISFMLib.export.overview import MOST_LABELS, draw_overview, format_ml, write_overview
from MISFMLib.export.planes import choose_position, cut_planes, display_window
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume, read_label_map, read_volume

pytest.importorskip("matplotlib")

IDENTITY = np.eye(3)
LABELS = (
    LabelConfig(value=1, name="liver", color=(255, 0, 0)),
    LabelConfig(value=2, name="spleen", color=(0, 0, 255)),
)


def a_case(image, labels, *, spacing_dhw=(1.0, 1.0, 1.0), direction=IDENTITY, modality="MR"):
    origin = (3.0, -5.0, 8.0)
    geometry = Geometry(image.shape, spacing_dhw, origin, tuple(np.ravel(direction).tolist()))
    return Volume(image[None], geometry, "case 7", modality), LabelMap(labels, geometry)


def a_small_case(rng, **settings):
    image = rng.normal(100, 20, (9, 10, 11)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[2:6, 3:8, 2:5], labels[4:8, 3:6, 6:9] = 1, 2
    return a_case(image, labels, **settings)


def texts(figure):
    shown = [text.get_text() for text in figure.texts]
    return shown + [text.get_text() for axes in figure.axes for text in axes.texts]


# ------------------------------------------------------------------------------------------ planes


def test_patient_right_front_and_head_are_where_radiologists_expect_them():
    image = np.zeros((6, 7, 8), np.float32)  # runs to the head, the back, the left of the patient
    image[5], image[:, 0], image[:, :, 0] = 4, 2, 1
    labels = np.zeros(image.shape, np.uint8)
    labels[2, 3, 4] = 1
    axial, coronal, sagittal = cut_planes(*a_case(image, labels))
    assert axial.letters == ("R", "L", "A", "P")
    assert coronal.letters == ("R", "L", "S", "I")
    assert sagittal.letters == ("A", "P", "S", "I")
    assert [(plane.name, plane.index, plane.count) for plane in (axial, coronal, sagittal)] == [
        ("axial", 2, 6),
        ("coronal", 3, 7),
        ("sagittal", 4, 8),
    ]
    assert (axial.image[0, 1:] == 2).all()
    assert (axial.image[1:, 0] == 1).all()
    assert (coronal.image[0, 1:] == 4).all()
    assert (coronal.image[1:, 0] == 1).all()
    assert (sagittal.image[0, 1:] == 4).all()
    assert (sagittal.image[1:, 0] == 2).all()


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product((1, -1), repeat=3)))
def test_the_planes_are_the_same_however_the_volume_is_stored(rng, axes, flips):
    spacing_dhw = (3.0, 0.5, 1.5)
    volume, label_map = a_small_case(rng, spacing_dhw=spacing_dhw)
    expected = cut_planes(volume, label_map)
    steps = tuple(slice(None, None, flip) for flip in flips)
    # Columns of a direction are the axes x, y, z; those of the array are the other way round.
    direction = (IDENTITY[:, ::-1][:, axes] * flips)[:, ::-1]
    stored = a_case(
        volume.array_CDHW[0].transpose(axes)[steps],
        label_map.array_DHW.transpose(axes)[steps],
        spacing_dhw=tuple(spacing_dhw[axis] for axis in axes),
        direction=direction,
    )
    for plane, same in zip(cut_planes(*stored), expected, strict=True):
        np.testing.assert_array_equal(plane.image, same.image)
        np.testing.assert_array_equal(plane.labels, same.labels)
        assert (plane.name, plane.index, plane.spacing) == (same.name, same.index, same.spacing)
        assert plane.letters == same.letters


def test_an_oblique_volume_names_both_axes_a_side_points_to(rng):
    angle = np.deg2rad(30)
    turned = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    axial, coronal, _ = cut_planes(*a_small_case(rng, direction=turned))
    assert axial.letters == ("R", "L", "AI", "PS")
    assert coronal.letters == ("R", "L", "SA", "IP")


def test_a_volume_tilted_by_a_few_degrees_keeps_its_single_letters(rng):
    angle = np.deg2rad(10)
    turned = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    assert cut_planes(*a_small_case(rng, direction=turned))[0].letters == ("R", "L", "A", "P")


def test_the_planes_pass_the_centre_of_mass():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:7, 5:14, 10:17] = 3
    assert choose_position(labels) == (4, 9, 13)


def test_between_two_organs_the_planes_go_through_one_of_them():
    labels = np.zeros((10, 10, 30), np.uint8)
    labels[3:7, 3:7, 3:8] = labels[3:7, 3:7, 21:26] = 1
    position = choose_position(labels)
    assert labels[position] == 1


def test_without_labels_the_planes_pass_the_middle():
    assert choose_position(np.zeros((9, 10, 4), np.uint8)) == (4, 5, 2)


@pytest.mark.parametrize(
    ("hu", "modality", "window"),
    [
        (-800, "CT", (-1350, 150)),
        (60, "CT", (-160, 240)),
        (700, "CT", (-500, 1300)),
        (60, "", (-160, 240)),  # the air around the patient tells that it is CT
    ],
)
def test_ct_is_shown_in_the_window_of_what_is_labelled(hu, modality, window):
    image = np.full((6, 6, 6), -1000, np.int16)
    labels = np.zeros(image.shape, np.uint8)
    image[2:4, 2:4, 2:4], labels[2:4, 2:4, 2:4] = hu, 1
    planes = cut_planes(*a_case(image, labels, modality=modality))
    assert display_window(planes, modality) == window


def test_ct_without_labels_is_shown_in_the_soft_tissue_window():
    image = np.full((4, 4, 4), -1000, np.int16)
    planes = cut_planes(*a_case(image, np.zeros(image.shape, np.uint8)))
    assert display_window(planes, "CT") == (-160, 240)


def test_the_window_of_mr_ignores_the_air_and_single_bright_voxels(rng):
    image = np.zeros((40, 40, 40), np.float32)
    image[10:30, 10:30, 10:30] = rng.uniform(100, 200, (20, 20, 20))
    image[20, 20, 20] = 1e6
    planes = cut_planes(*a_case(image, np.zeros(image.shape, np.uint8)))
    low, high = display_window(planes, "MR")
    assert 100 <= low < 105
    assert 195 < high <= 200


@pytest.mark.parametrize("value", [0.0, -3.0, 7e9])
def test_a_plane_of_one_intensity_has_a_window_that_is_not_empty(value):
    image = np.full((3, 3, 3), value, np.float64)
    low, high = display_window(cut_planes(*a_case(image, np.zeros((3, 3, 3), np.uint8))), "MR")
    assert low < high


# ----------------------------------------------------------------------------------------- picture


def test_the_picture_shows_labels_in_their_colours_and_voxels_in_their_true_shape(rng, tmp_path):
    from matplotlib.image import imread

    volume, label_map = a_small_case(rng, spacing_dhw=(5.0, 1.0, 1.0))
    path = tmp_path / "pictures" / "overview.png"
    write_overview(volume, label_map, LABELS, path)
    picture = imread(path)[..., :3]
    assert picture.shape == (550, 1760, 3)
    red, green, blue = np.moveaxis(picture, -1, 0)
    assert np.count_nonzero((red > 0.95) & (green < 0.05) & (blue < 0.05)) > 100
    assert np.count_nonzero((blue > 0.95) & (green < 0.05) & (red < 0.05)) > 100
    axial, coronal, sagittal, _ = draw_overview(volume, label_map, LABELS).axes
    assert [axes.get_aspect() for axes in (axial, coronal, sagittal)] == [1.0, 5.0, 5.0]


def test_title_names_volumes_letters_and_slices_are_written_out(rng):
    figure = draw_overview(*a_small_case(rng), LABELS)
    shown = texts(figure)
    assert {"case 7", "liver", "spleen", "0.06 ml", "R", "L", "A", "P", "S", "I"} <= set(shown)
    assert figure.axes[0].get_title() == "axial  5 / 9"
    assert "Hippocampus" in texts(draw_overview(*a_small_case(rng), LABELS, title="Hippocampus"))


def test_the_scale_bar_is_as_long_as_it_says(rng):
    volume, label_map = a_small_case(rng, spacing_dhw=(1.0, 1.0, 4.0))
    axial = draw_overview(volume, label_map, LABELS).axes[0]
    (bar,) = axial.get_lines()
    start, end = bar.get_xdata()
    assert (end - start) * 4.0 == pytest.approx(10)
    assert "10 mm" in [text.get_text() for text in axial.texts]


def test_a_volume_of_less_than_three_millimetres_has_no_scale_bar(rng):
    volume, label_map = a_small_case(rng, spacing_dhw=(0.1, 0.1, 0.1))
    assert not draw_overview(volume, label_map, LABELS).axes[0].get_lines()


def test_of_many_labels_the_largest_are_named_and_the_others_counted(rng):
    image = rng.normal(size=(6, 6, 6))
    labels = np.zeros(216, np.uint8)
    sizes = range(1, 1 + 15)
    stops = np.cumsum(sizes)
    for value, (size, stop) in enumerate(zip(sizes, stops, strict=True), 1):
        labels[stop - size : stop] = value
    configs = [LabelConfig(value=value, name=f"organ {value}") for value in range(1, 16)]
    few = texts(draw_overview(*a_case(image, labels.reshape(6, 6, 6)), configs))
    assert {f"organ {value}" for value in range(1, 16)} <= set(few)
    absent = [LabelConfig(value=value, name=f"organ {value}") for value in range(16, 41)]
    many = texts(draw_overview(*a_case(image, labels.reshape(6, 6, 6)), [*configs, *absent]))
    assert sum(text.startswith("organ") for text in many) == MOST_LABELS
    assert {f"organ {value}" for value in range(1, 16)} <= set(many)
    assert not any("smaller" in text for text in many)
    labels[:30] = np.arange(1, 31)
    rest = texts(draw_overview(*a_case(image, labels.reshape(6, 6, 6)), [*configs, *absent]))
    assert f"and {len(np.unique(labels)) - 1 - MOST_LABELS} smaller" in rest


def test_labels_without_a_name_and_volumes_without_labels_are_shown(rng):
    volume, label_map = a_small_case(rng)
    assert "label 2" in texts(draw_overview(volume, label_map, LABELS[:1]))
    empty = LabelMap(np.zeros_like(label_map.array_DHW), label_map.geometry)
    assert "no labels" in texts(draw_overview(volume, empty, ()))
    assert "0.00 ml" in texts(draw_overview(volume, empty, LABELS))


def test_a_long_name_is_shortened(rng):
    name = "left inferior pulmonary vein and its ostium"
    shown = texts(draw_overview(*a_small_case(rng), [LabelConfig(value=1, name=name)]))
    (shortened,) = (text for text in shown if text.startswith("left inferior"))
    assert len(shortened) == 30
    assert shortened.endswith("\N{HORIZONTAL ELLIPSIS}")


def test_dollar_signs_in_names_are_no_formulas(rng, tmp_path):
    label = LabelConfig(value=1, name=r"$\frac$")
    write_overview(*a_small_case(rng), [label], tmp_path / "a.png", title=r"case $\oops$")


@pytest.mark.parametrize(
    ("volume_ml", "text"),
    [(0.0, "0.00 ml"), (3.456, "3.46 ml"), (34.56, "34.6 ml"), (1567.8, "1568 ml")],
)
def test_volumes_are_written_with_about_three_digits(volume_ml, text):
    assert format_ml(volume_ml) == text


def test_drawing_leaves_the_state_of_pyplot_alone(rng):
    figures_before = sys.modules.get("matplotlib.pyplot")
    draw_overview(*a_small_case(rng), LABELS)
    assert sys.modules.get("matplotlib.pyplot") is figures_before


# ------------------------------------------------------------------------------------------ errors


def test_a_picture_is_only_replaced_when_that_was_asked_for(rng, tmp_path):
    path = tmp_path / "overview.png"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"):
        write_overview(*a_small_case(rng), LABELS, path)
    assert path.read_bytes() == b"old"
    write_overview(*a_small_case(rng), LABELS, path, overwrite=True)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_only_png_is_written(rng, tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.png"):
        write_overview(*a_small_case(rng), LABELS, tmp_path / "overview.jpg")


def test_labels_on_another_grid_are_refused(rng, tmp_path):
    volume, label_map = a_small_case(rng)
    other = LabelMap(label_map.array_DHW[1:], a_case(*[label_map.array_DHW[1:]] * 2)[0].geometry)
    with pytest.raises(DataError, match="grid"):
        write_overview(volume, other, LABELS, tmp_path / "overview.png")


def test_without_matplotlib_the_error_says_what_to_install(rng, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DependencyError, match="matplotlib") as caught:
        write_overview(*a_small_case(rng), LABELS, tmp_path / "overview.png")
    assert "pip install 'misfm[report]'" in caught.value.remedy


# ------------------------------------------------------------------------------------ real volumes


@pytest.mark.parametrize("name", ["t1w", "t2"])
def test_a_spinal_cord_runs_from_top_to_bottom(shared_data, name):
    folder = shared_data / "samples" / "spinalcord_mr"
    volume = read_volume(folder / f"{name}.nii.gz")
    label_map = read_label_map(folder / f"{name}_seg-manual.nii.gz")
    axial, coronal, sagittal = cut_planes(volume, label_map)
    for plane in (coronal, sagittal):
        rows, columns = np.nonzero(plane.labels)
        assert np.ptp(rows) > 2 * np.ptp(columns)
    assert 4 < np.sqrt(np.count_nonzero(axial.labels)) < 16
    assert axial.letters[0] == "R"
