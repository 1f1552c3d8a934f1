"""The Slicer module finds the library that belongs to it; the rest of it needs Slicer."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import MISFMLib

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def library_module(monkeypatch):
    """MISFMSlicer.Library, imported as Slicer does: with the module's folder on the path."""
    monkeypatch.syspath_prepend(REPOSITORY / "MISFM")
    return importlib.import_module("MISFMSlicer.Library")


@pytest.mark.parametrize("module_folder", [".", "MISFM"], ids=["installed", "source"])
def test_the_library_beside_the_module_is_imported_before_any_other(
    library_module, tmp_path, monkeypatch, module_folder
):
    (tmp_path / "MISFMLib").mkdir()
    monkeypatch.setattr(sys, "path", ["elsewhere"])
    for _ in range(2):  # Slicer's Reload button imports the module again
        library_module.addLibraryToPath(tmp_path / module_folder)
    assert sys.path == [str(tmp_path), "elsewhere"]


def test_the_search_path_stays_as_it_is_when_there_is_no_library(
    library_module, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "path", ["elsewhere"])
    library_module.addLibraryToPath(tmp_path / "MISFM")
    assert sys.path == ["elsewhere"]


@pytest.mark.parametrize(
    ("module_folder", "origin"),
    [(REPOSITORY / "MISFM", "source"), (REPOSITORY, "installed"), (Path("elsewhere"), "other")],
)
def test_the_module_tells_which_library_it_uses(library_module, module_folder, origin):
    library = library_module.findLibrary(module_folder)
    assert (library.version, library.origin) == (MISFMLib.__version__, origin)
    assert library.folder == REPOSITORY


def test_a_missing_library_is_no_error(library_module, monkeypatch):
    monkeypatch.setitem(sys.modules, "MISFMLib", None)
    assert library_module.findLibrary() is None
