"""The module MISFM in the host: it loads, its panel shows, its self-test passes."""

from pathlib import Path

import pytest

_MODULE = Path(__file__).parents[2] / "MISFM" / "MISFM.py"


@pytest.fixture
def panel(load_module):
    """The panel of the module, shown."""
    return load_module(_MODULE)


def test_the_panel_shows_and_fits_into_400_pixels(host, panel, screenshot):
    assert panel.parent.minimumSizeHint.width() <= 400
    assert screenshot("misfm").stat().st_size > 5000


def test_the_panel_survives_closing_the_scene_and_reloading(host, panel):
    import slicer

    slicer.mrmlScene.Clear(False)
    slicer.util.reloadScriptedModule("MISFM")
    host.process_events()
    assert slicer.modules.MISFMWidget is not panel


def test_the_self_test_passes(host, panel):
    import slicer

    with host.testing():
        slicer.selfTests["MISFM"]()


def test_without_a_main_window_the_panel_can_be_made(host, panel):
    import slicer

    with host.headless():
        assert slicer.modules.misfm.createNewWidgetRepresentation() is not None
