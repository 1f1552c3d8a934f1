"""Codes and colours of labels."""

from __future__ import annotations

import itertools

import pytest

from MISFMLib.models.terminology import label_config


@pytest.mark.parametrize(
    ("name", "code", "modifier"),
    [
        ("liver", "10200004", None),
        ("Liver", "10200004", None),
        ("left_kidney", "64033007", "Left"),
        ("kidney_R", "64033007", "Right"),
        ("anterior hippocampus", "5366008", "Anterior"),
        ("left atrium", "82471001", None),
        ("right parotid gland", "45289007", "Right"),
        ("oesophagus", "32849002", None),
        ("Tumour", "108369006", None),
        ("bone", "272673000", None),
    ],
)
def test_common_names_have_their_code(name, code, modifier):
    label = label_config(1, name)

    assert label.name == name
    assert (label.type.value, label.type.scheme) == (code, "SCT")
    assert (label.modifier.meaning if label.modifier else None) == modifier


def test_categories_follow_the_kind_of_structure():
    assert label_config(1, "spleen").category.meaning == "Anatomical Structure"
    assert label_config(1, "bone").category.meaning == "Tissue"
    assert label_config(1, "edema").category.meaning == "Morphologically Altered Structure"


def test_unknown_names_are_tissue():
    label = label_config(4, "left thing")
    assert label.type.meaning == label.category.meaning == "Tissue"
    assert label.modifier is None


def test_neighbouring_labels_have_colours_far_apart():
    colors = [label_config(value, "x").color for value in range(1, 62)]

    assert len(set(colors)) == 61
    for first, second in itertools.pairwise(colors):
        assert sum(abs(a - b) for a, b in zip(first, second, strict=True)) > 80
