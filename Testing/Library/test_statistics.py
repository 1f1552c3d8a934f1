"""Volumes of labels: counted exactly, listed completely, written as a table."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from MISFMLib.configs import LabelConfig
from MISFMLib.errors import OutputError
from MISFMLib.export.statistics import COLUMNS, LabelVolume, label_volumes, write_statistics
from MISFMLib.volumes.volume import Geometry, LabelMap

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
LABELS = (LabelConfig(value=3, name="spleen, left"), LabelConfig(value=1, name="liver"))


def a_label_map(array, spacing_dhw=(4.0, 2.5, 0.5)):
    return LabelMap(array, Geometry(array.shape, spacing_dhw, (0.0, 0.0, 0.0), IDENTITY))


def test_a_volume_is_the_number_of_voxels_times_their_size():
    array = np.zeros((4, 5, 6), np.uint8)
    array[1:3, :4, 2:5] = 1
    array[0, 0, 0] = 3
    liver, spleen = label_volumes(a_label_map(array), LABELS)
    assert (liver.label, liver.name, liver.voxels) == (1, "liver", 24)
    assert liver.volume_ml == pytest.approx(24 * 4.0 * 2.5 * 0.5 / 1000)
    assert (spleen.voxels, spleen.volume_ml) == (1, pytest.approx(0.005))


def test_a_label_that_is_absent_has_no_volume():
    volumes = label_volumes(a_label_map(np.zeros((2, 2, 2), np.uint8)), LABELS)
    assert volumes == [LabelVolume(1, "liver", 0, 0.0), LabelVolume(3, "spleen, left", 0, 0.0)]


def test_a_value_without_a_name_is_listed_too():
    array = np.zeros((2, 2, 2), np.uint16)
    array[0, 0] = 700
    assert [
        (item.label, item.name, item.voxels) for item in label_volumes(a_label_map(array), ())
    ] == [(700, "label 700", 2)]


def test_the_voxels_of_all_labels_and_of_the_background_add_up(rng):
    array = rng.integers(0, 5, (7, 8, 9)).astype(np.uint8)
    volumes = label_volumes(a_label_map(array), LABELS)
    assert sum(item.voxels for item in volumes) + np.count_nonzero(array == 0) == array.size


def test_the_table_has_a_row_for_every_case_and_label(tmp_path):
    path = tmp_path / "tables" / "volumes.csv"
    cases = {
        "Müller, A": [
            LabelVolume(1, "liver", 2, 0.0123456),
            LabelVolume(3, "spleen, left", 0, 0.0),
        ],
        "b": [LabelVolume(1, "liver", 7, 1500.0)],
    }
    write_statistics(path, cases)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == COLUMNS == ("case", "label", "name", "voxels", "volume_ml")
    assert rows[1:] == [
        ["Müller, A", "1", "liver", "2", "0.012346"],
        ["Müller, A", "3", "spleen, left", "0", "0.000000"],
        ["b", "1", "liver", "7", "1500.000000"],
    ]


def test_a_table_is_only_replaced_when_that_was_asked_for(tmp_path):
    path = tmp_path / "volumes.csv"
    write_statistics(path, {"first": [LabelVolume(1, "liver", 1, 1.0)]})
    with pytest.raises(OutputError, match="exists already"):
        write_statistics(path, {})
    assert "first" in path.read_text("utf-8")
    write_statistics(path, {}, overwrite=True)
    assert path.read_text("utf-8") == "case,label,name,voxels,volume_ml\n"
    assert [file.name for file in tmp_path.glob("*.csv")] == ["volumes.csv"]
