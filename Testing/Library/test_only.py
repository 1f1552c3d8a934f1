"""Structures are chosen by their names, as people write them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from MISFMLib.errors import ConfigError
from MISFMLib.jobs.segment.only import wanted_labels
from MISFMLib.models.terminology import label_config

NAMES = ("liver", "kidney_left", "肝臓", "脾臓", "lobe, left", "lobe", "T1+", "T1-")


def chosen(only):
    manifest = SimpleNamespace(
        name="a-model", labels=tuple(label_config(v, name) for v, name in enumerate(NAMES, start=1))
    )
    return [label.name for label in wanted_labels(SimpleNamespace(only=only), manifest)]


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("", list(NAMES)),
        ("Kidney left, LIVER", ["liver", "kidney_left"]),
        ("肝臓", ["肝臓"]),
        ("脾臓,肝臓", ["肝臓", "脾臓"]),
        ("lobe, left", ["lobe, left"]),
        ("liver,lobe,left,lobe", ["liver", "lobe, left", "lobe"]),
        ("T1+", ["T1+"]),
    ],
)
def test_structures_are_found_by_their_names(only, names):
    assert chosen(only) == names


@pytest.mark.parametrize("only", ["left", "胃", ",", "liver,kidney"])
def test_names_that_no_structure_has_are_refused(only):
    with pytest.raises(ConfigError) as caught:
        chosen(only)
    assert caught.value.code == "unknown-structure"
    assert "kidney_left" in caught.value.remedy
