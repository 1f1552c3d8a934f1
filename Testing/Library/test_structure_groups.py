"""Structures are grouped by their names."""

from __future__ import annotations

from MISFMLib.models.structure_groups import group_of, grouped
from MISFMLib.models.totalsegmentator import find_task


def test_names_of_people_and_data_sets_find_their_group():
    expected = {
        "Left kidney": "organs",
        "kidney_cyst_left": "lesions",
        "vertebrae_L1": "spine",
        "rib_right_12": "ribs",
        "Rib": "ribs",
        "pulmonary_vein": "vessels",
        "heart_atrium_left": "heart",
        "lung upper lobe left": "lungs",
        "gluteus_maximus_left": "muscles",
        "femur-right": "bones",
        "anterior hippocampus": "head",
        "thing 3": "other",
    }
    assert {name: group_of(name) for name in expected} == expected


def test_no_structure_of_the_whole_body_is_without_a_group():
    groups = grouped(find_task("totalsegmentator-total").labels)
    assert sum(map(len, groups.values())) == 117
    assert "other" not in groups
    assert next(iter(groups)) == "organs"
