"""A model of many structures: groups and a search in the result, ticks for what is wanted."""

import pytest
from fake_worker import FakeRunner

from MISFMLib.models.terminology import label_config

NAMES = [
    *("spleen", "kidney_right", "kidney_left", "liver", "stomach", "aorta", "femur_left"),
    *(f"rib_left_{number}" for number in range(1, 8)),
]


@pytest.fixture
def many(panel, make_volume):
    """The panel with a volume and a worker that knows many structures."""
    panel.widget.logic._runner = FakeRunner(
        tuple(label_config(value, name) for value, name in enumerate(NAMES, start=1))
    )
    panel.runner = panel.widget.logic._runner
    make_volume()
    panel.settle()
    return panel


def shown_rows(table):
    rows = [row for row in range(table.rowCount) if not table.isRowHidden(row)]
    return [table.item(row, 0).text() for row in rows]


def test_many_structures_come_in_groups_and_can_be_searched(many):
    many.segment()
    table = many.ui.resultTable
    assert shown_rows(table)[:6] == ["Organs: 1 of 5", *NAMES[:5]]
    assert "Ribs and sternum: 0 of 7" in shown_rows(table)
    assert many.shown("resultSearch")
    many.ui.resultSearch.setText("left kid")
    assert shown_rows(table) == ["Organs: 1 of 5", "kidney_left"]
    many.ui.resultSearch.setText("")
    assert len(shown_rows(table)) == len(NAMES) + 4


def test_the_title_of_a_group_leads_nowhere_and_its_rows_to_their_segments(many):
    many.segment()
    result = many.widget.segmentTab._result
    inside = result.job.result.segmentation.GetSegmentation()
    many.ui.resultTable.selectRow(0)
    assert result._table.chosen(inside) == ""
    many.ui.resultTable.selectRow(1)
    assert inside.GetSegment(result._table.chosen(inside)).GetName() == "spleen"
    many.ui.resultTable.selectRow(2)
    assert result._table.chosen(inside) == "", "of kidney_right nothing was found"


def test_segments_of_one_name_have_a_row_each_in_their_group(many):
    many.segment()
    result = many.widget.segmentTab._result
    node = result.job.result.segmentation
    node.GetSegmentation().AddEmptySegment("copy", "spleen")
    result.onEdited(node)
    many.widget.enter()
    many.settle()
    shown = shown_rows(many.ui.resultTable)
    assert shown[:4] == ["Organs: 1 of 6", "spleen", "spleen", "kidney_right"]


def test_few_structures_have_no_groups(panel, make_volume):
    make_volume()
    panel.settle()
    panel.segment()
    assert shown_rows(panel.ui.resultTable) == ["left hippocampus", "spleen", "lesion"]
    assert not panel.shown("resultSearch")


def ticked(ticks):
    items = [ticks.item(row) for row in range(ticks.count)]
    return [item.text() for item in items if item.checkState() == 2]


def test_only_what_is_ticked_is_asked_for(panel, make_volume):
    make_volume()
    panel.settle()
    panel.ui.optionsSection.collapsed = False
    ticks = panel.ui.structuresList
    names = [ticks.item(row).text() for row in range(ticks.count)]
    assert len(names) == 2  # of hippocampus-mr, which are too few to be grouped or searched
    assert not panel.shown("structuresSearch")
    ticks.item(1).setCheckState(2)
    panel.settle()
    assert ticked(ticks) == names[1:]
    panel.segment()
    assert panel.runner.jobs[-1]["config"]["only"] == names[1]
    ticks.item(1).setCheckState(0)
    panel.settle()
    panel.segment()
    assert "only" not in panel.runner.jobs[-1]["config"]


def test_a_group_is_ticked_as_a_whole_and_found_by_its_structures(panel, make_volume):
    make_volume()
    panel.settle()
    panel.ui.optionsSection.collapsed = False
    view = panel.widget.segmentTab._structures
    view.update(NAMES)
    ticks = panel.ui.structuresList
    texts = [ticks.item(row).text() for row in range(ticks.count)]
    ticks.item(texts.index("Ribs and sternum (7)")).setCheckState(2)
    view.update(NAMES)
    assert ticked(ticks) == ["Ribs and sternum (7)", *NAMES[7:]]
    assert panel.parameters.structures() == set(NAMES[7:])
    ticks.item(texts.index("rib_left_3")).setCheckState(0)
    view.update(NAMES)
    assert ticked(ticks) == ["rib_left_1", "rib_left_2", *NAMES[10:]]
    panel.ui.structuresSearch.setText("KIDNEY")
    rows = [row for row in range(ticks.count) if not ticks.isRowHidden(row)]
    assert [texts[row] for row in rows] == ["Organs (5)", "kidney_right", "kidney_left"]


def test_the_forecast_counts_the_networks_that_are_run(panel, make_volume):
    from dataclasses import replace

    make_volume()
    panel.settle()
    tab = panel.widget.segmentTab
    model = tab._choices.model
    request = tab._choices.request(model)
    one = tab._outlook.workload(request, model)
    whole = replace(model, networks=(*model.networks, frozenset({"spleen"}), frozenset({"rib"})))
    assert tab._outlook.workload(request, whole).windows == 3 * one.windows
    only = replace(request, options={**request.options, "only": "rib,spleen"})
    assert tab._outlook.workload(only, whole).windows == 2 * one.windows
