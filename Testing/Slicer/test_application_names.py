"""Every name of slicer, qt, ctk and vtk that the module uses has been looked up in the sources."""

import ast
import csv
import importlib

import pytest
from application_names import LIST, _defined, _Names, listed_names, used_names
from application_sources import is_in_core, is_in_qt, member

ROWS = listed_names()
FACTS = LIST.with_name("slicer_facts.tsv")


def from_source(*sources):
    """Return the rows of some sources."""
    return [row for row in ROWS if row["source"] in sources]


def test_the_list_has_what_is_used_and_no_more():
    listed = [row["name"] for row in ROWS]
    assert sorted(listed) == sorted(set(listed))
    used = used_names()
    new = {name: sorted(places) for name, places in used.items() if name not in listed}
    assert new == {}, "look them up in Slicer's, CTK's, VTK's or Qt's sources, then list them"
    assert set(listed) - set(used) == set(), "no longer used: take them out of the list"


def test_every_row_says_where_the_name_was_found():
    known = {"Qt", "slicer-core", "vtk"}
    projects = ("CTK:", "PyTorch:", "Slicer:", "facts:")
    unknown = [
        row for row in ROWS if row["source"] not in known and not row["source"].startswith(projects)
    ]
    assert unknown == []
    assert all(row["class"] for row in ROWS)


def test_what_was_found_in_mrml_and_vtk_is_there(host):
    import slicer

    # A node that Slicer makes at start-up and that is asked for by its ID.
    colours = "slicer.vtkMRMLColorTableNodeIron"
    assert slicer.mrmlScene.GetNodeByID(colours.partition(".")[2]) is not None
    rows = [row for row in from_source("slicer-core", "vtk") if row["name"] != colours]
    assert len(rows) > 100
    assert [row for row in rows if not is_in_core(row["class"], row["name"])] == []


@pytest.mark.standin_only("looks into PySide6, which lists all of Qt's names")
def test_what_was_found_in_qt_is_in_this_qt_too(host):
    rows = from_source("Qt")
    assert len(rows) > 100
    assert [row for row in rows if not is_in_qt(row["class"], row["name"])] == []


@pytest.mark.parametrize("module", ["slicer.util", "slicer.i18n", "slicer.packaging"])
def test_the_host_has_what_the_module_takes_from(host, module):
    names = {member(row["name"]) for row in ROWS if row["class"] == module}
    names -= {"__init__", module.rpartition(".")[2], "editor"}
    assert names
    assert [name for name in names if not hasattr(importlib.import_module(module), name)] == []


def test_what_real_slicer_answered_is_among_the_facts():
    with FACTS.open(encoding="utf-8", newline="") as file:
        numbers = {row["number"] for row in csv.DictReader(file, delimiter="\t")}
    asked = {row["source"].partition(":")[2] for row in ROWS if row["source"].startswith("facts")}
    assert asked <= numbers


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import qt\nt = qt.QTimer()\nt.start()", "qt.QTimer qt.QTimer.start"),
        ("import slicer\nslicer.app.a().b", "slicer.app slicer.app.a slicer.app.a().b"),
        ("from slicer.util import loadUI", "slicer.util.loadUI"),
        ("def f(node):\n    return node.GetName().strip()", "?.GetName"),
        ("def f(ui):\n    ui.run.text = ui.gone.up", "qt.QPushButton.text ui.gone ?.up"),
        ("class A:\n    def own(self): pass\ndef f(a):\n    a.own()", ""),
        ("import json\njson.loads('').foo", ""),
        ("s.Add('vtkMRMLTableNode')", "?.Add slicer.vtkMRMLTableNode"),
        ("import importlib\nm = importlib.import_module('SampleData')\nm.A", "SampleData.A"),
    ],
)
def test_names_are_found_in_a_source(source, expected):
    tree = ast.parse(source)
    found = _Names(tree, {"run": "qt.QPushButton"}, _defined(tree)).names()
    assert {name for name, _line in found} == set(expected.split())
