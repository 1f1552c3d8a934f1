"""Slips in label maps that a training would swallow, found by the check before it."""

from __future__ import annotations

import numpy as np
import pytest

from MISFMLib.data.cases import Split, find_cases
from MISFMLib.data.label_check import examine_cases
from MISFMLib.data.label_doubts import find_doubts
from MISFMLib.errors import DataError
from MISFMLib.volumes.volume import Geometry, LabelMap, Volume, write_label_map, write_volume

GRID = Geometry((12, 20, 20), (2.0, 1.0, 1.0), (5.0, 6.0, 7.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def labels(*boxes):
    array_DHW = np.zeros(GRID.shape_dhw, np.uint8)
    for value, (d, h, w) in boxes:
        array_DHW[d, h, w] = value
    return array_DHW


BIG = (1, (slice(2, 10), slice(2, 12), slice(2, 12)))
OTHER = (2, (slice(2, 6), slice(14, 18), slice(14, 18)))


@pytest.fixture
def data(tmp_path):
    """Write cases by name; one that is said to copy another has its image."""

    def make(**maps):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir()
        for name, array_DHW in maps.items():
            seed = 7 if "copy" in name else sum(name.encode())
            voxels = np.random.default_rng(seed).normal(size=GRID.shape_dhw).astype(np.float32)
            write_volume(Volume(voxels[None], GRID, name), tmp_path / f"images/{name}.nii.gz")
            write_label_map(LabelMap(array_DHW, GRID), tmp_path / f"labels/{name}.nii.gz")
        return find_cases(tmp_path)

    return make


def doubts_of(found, split):
    return find_doubts(found, split, examine_cases(found, (*split.train, *split.validation)))


def codes(doubts):
    return sorted((each.code, each.case) for each in doubts)


def test_stray_voxels_are_found_with_their_places(data):
    stray = labels(BIG, (1, (0, 18, 19)), (1, (0, 19, 19)))
    found = data(a=stray, b=labels(BIG))
    (doubt,) = doubts_of(found, Split(("a",), ("b",)))
    assert (doubt.code, doubt.case, doubt.values) == ("label-islands", "a", (1,))
    assert doubt.positions_xyz == ((24.0, 24.0, 7.0), (24.0, 25.0, 7.0))


def test_a_second_structure_of_the_same_label_is_no_slip(data):
    two = labels(BIG, (1, (slice(0, 3), slice(16, 20), slice(16, 20))))
    assert doubts_of(data(a=two, b=labels(BIG)), Split(("a",), ("b",))) == []


def test_empty_maps_copies_and_labels_that_nobody_judges_are_told(data):
    found = data(
        a_copy=labels(BIG, OTHER),
        b_copy=labels(BIG, OTHER),
        c=labels(),
        d=labels(BIG),
        e=labels(BIG),
    )
    doubts = doubts_of(found, Split(("a_copy", "b_copy", "c"), ("d", "e")))
    assert codes(doubts) == [
        ("case-repeated", ""),
        ("label-map-empty", "c"),
        ("label-not-judged", ""),
    ]
    by_code = {each.code: each for each in doubts}
    assert by_code["case-repeated"].cases == ("b_copy", "a_copy")
    assert by_code["label-not-judged"].cases == ("a_copy", "b_copy")
    assert by_code["label-not-judged"].values == (2,)


def test_the_error_of_a_data_set_tells_every_problem_to_programs_too(data):
    found = data(a=labels(BIG, (9, (0, 0, 0))), b=labels(BIG))
    for case in found.cases:
        object.__setattr__(case, "label_names", {1: "organ"})
    with pytest.raises(DataError) as caught:
        examine_cases(found, ["a", "b"])
    (problem,) = caught.value.details
    assert (problem["case"], problem["code"], problem["values"]) == ("a", "label-values", (9,))
    assert problem["positions_xyz"] == ((5.0, 6.0, 7.0),)
