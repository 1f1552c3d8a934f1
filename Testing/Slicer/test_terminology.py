"""The codes of segments are those that Slicer's own terminology files hold."""

import json
from pathlib import Path

import pytest

from MISFMLib.models import terminology
from MISFMLib.models.terminology import label_config, listed

TABLE = json.loads(Path(terminology.__file__).with_name("terminology.json").read_text("utf-8"))
SIDES = {"B": "51440002", "L": "7771000", "R": "24028007"}
NAMES = [
    *("anterior hippocampus", "left kidney", "Liver", "lung_upper_lobe_left", "rib_left_1"),
    *("optic nerve", "liver tumor", "left atrium", "spleen", "vertebrae_L5", "left spleen"),
    *terminology._OTHER_NAMES,
]


@pytest.fixture(scope="module")
def types(running_host):
    """What Slicer's own lists hold: name of the list, code of the category, type."""
    import slicer

    share = Path(slicer.app.slicerHome, slicer.app.slicerSharePath)
    contents = [
        json.loads(path.read_text("utf-8"))
        for path in share.glob("**/Terminologies/SegmentationCategory*.term.json")
    ]
    return [
        (content["SegmentationCategoryTypeContextName"], category["CodeValue"], each)
        for content in contents
        for category in content["SegmentationCodes"]["Category"]
        for each in category["Type"]
    ]


@pytest.fixture(scope="module")
def lists(types):
    """By name of a list: (category, type) -> codes of the modifiers it can have."""
    found = {}
    for name, category, each in types:
        codes = {modifier["CodeValue"] for modifier in each.get("Modifier", ())}
        key = (category, each["CodeValue"])
        found.setdefault(name, {}).setdefault(key, set()).update(codes)
    assert len(found) >= 2
    return found


def test_the_table_says_what_the_lists_of_slicer_hold(lists):
    for category, code, meaning, *columns in (row[:5] for row in TABLE["types"]):
        key = (TABLE["categories"][category], code)
        for name, sides in zip(TABLE["lists"], columns, strict=True):
            assert (key in lists[name]) == (sides is not None), (name, meaning)
            assert sides is None or lists[name][key] >= {SIDES[side] for side in sides}, meaning


@pytest.mark.slicer_only("the stand-in has no colours")
def test_the_colours_of_the_table_are_those_of_slicer(types):
    known = {}
    for _, category, each in types:
        for part in (each, *each.get("Modifier", ())):
            color = tuple(part.get("recommendedDisplayRGBValue", ()))
            known.setdefault((category, each["CodeValue"]), set()).add(color)
    colored = [row for row in TABLE["types"] if len(row) > 5]
    assert len(colored) > 200
    for category, code, meaning, *_, colors in colored:
        given = {tuple(bytes.fromhex(color)) for color in colors.values()}
        assert given <= known[TABLE["categories"][category], code], meaning


@pytest.mark.parametrize("name", NAMES)
def test_slicer_can_show_the_codes_of_every_structure(lists, name):
    label = label_config(1, name)
    terminology_name, modifier = listed(label)
    assert modifier == label.modifier
    modifiers = lists[terminology_name][(label.category.value, label.type.value)]
    assert modifier is None or modifier.value in modifiers


def test_what_a_modifier_could_not_say_is_not_lost_from_the_name(host, tmp_path):
    """Slicer shows an entry with an unknown modifier as none."""
    import numpy as np
    import slicer
    from fake_worker import write_labels

    from MISFMLib.volumes.volume_types import Geometry

    geometry = Geometry((2, 3, 4), (1.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))
    labels = (label_config(1, "anterior hippocampus"), label_config(2, "left hippocampus"))
    array = np.zeros((2, 3, 4), np.uint8)
    array[0], array[1] = 1, 2
    write_labels(tmp_path / "a.seg.nrrd", array, geometry, labels)
    node = slicer.util.loadSegmentation(str(tmp_path / "a.seg.nrrd"))
    logic = slicer.modules.terminologies.logic()
    for index, (name, side) in enumerate(((labels[0].name, ""), (labels[1].name, "Left"))):
        segment = node.GetSegmentation().GetNthSegment(index)
        assert segment.GetName() == name
        entry = slicer.vtkSlicerTerminologyEntry()
        assert logic.DeserializeTerminologyEntry(segment.GetTerminology(), entry)
        assert entry.GetTerminologyContextName() == TABLE["lists"][1]
        assert entry.GetTypeObject().GetCodeMeaning() == "Hippocampus"
        assert (entry.GetTypeModifierObject().GetCodeMeaning() or "") == side
