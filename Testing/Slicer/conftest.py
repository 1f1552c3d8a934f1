"""Tests of the Slicer module: in the stand-in of Testing/Host and, unchanged, in real Slicer."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Host"))

from host_fixtures import (  # found through the lines above
    IN_SLICER,
    application,
    as_contours,
    as_surfaces,
    drawing,
    fail_on_swallowed_errors,
    host,
    load_module,
    make_volume,
    running_host,
    screenshot,
)
from panel_fixtures import extensions, panel, settings
from tab_fixtures import tab

__all__ = [
    "application",
    "as_contours",
    "as_surfaces",
    "drawing",
    "extensions",
    "host",
    "load_module",
    "make_volume",
    "panel",
    "running_host",
    "screenshot",
    "settings",
    "tab",
]


def pytest_addoption(parser):
    parser.addoption(
        "--part", default="1/1", metavar="K/N", help="run the Kth of N parts of about equal size"
    )


def pytest_collection_modifyitems(config, items):
    other = "standin_only" if IN_SLICER else "slicer_only"
    for item in items:  # VTK does it, NumPy 2.5 deprecates it
        item.add_marker(pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"))
        for mark in item.iter_markers(other):
            item.add_marker(pytest.mark.skip(reason=f"{other}: {mark.args[0]}"))
    part, parts = map(int, config.getoption("--part", "1/1").split("/"))
    kept = in_part(items, part, parts)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def in_part(items, part, parts):
    """The tests of one of several processes: whole files, the longest dealt out first."""
    costs = Counter()
    for item in items:
        costs[item.path] += 0 if item.get_closest_marker("skip") else cost(item)
    loads, part_of = [0] * parts, {}
    for path in sorted(costs, key=lambda path: (-costs[path], path)):
        part_of[path] = loads.index(min(loads))
        loads[part_of[path]] += costs[path]
    return [item for item in items if part_of[item.path] == part - 1]


def cost(item):
    """How long a test takes beside others, roughly: most of it passes before it begins."""
    if item.get_closest_marker("slow"):
        return 20
    needs = {"application": 20, "tab": 5, "panel": 3, "host": 2}
    return next((units for name, units in needs.items() if name in item.fixturenames), 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    fail_on_swallowed_errors(item)
    return result


@pytest.fixture(scope="session", autouse=True)
def no_power_failures():
    """Files need not be on the disk before a test goes on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _file: None)
        yield


@pytest.fixture(scope="session")
def probe_module():
    """The file of a small scripted module with a .ui file."""
    return Path(__file__).parent / "ProbeMod" / "ProbeMod.py"
