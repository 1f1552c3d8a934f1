"""The module MISFM in the host: it loads, its panel comes and goes, its self-test passes."""

import gc
import sys
import weakref
from contextlib import suppress

import pytest
from panel_fixtures import MODULE


@pytest.fixture
def panel(load_module):
    """The panel of the module, shown."""
    return load_module(MODULE)


def test_the_panel_shows_and_fits_into_400_pixels(host, panel, screenshot):
    assert panel.parent.minimumSizeHint.width() <= 400
    assert screenshot("misfm").stat().st_size > 5000


def test_the_panel_survives_closing_the_scene_and_reloading(host, panel):
    import slicer

    slicer.mrmlScene.Clear(False)
    slicer.util.reloadScriptedModule("MISFM")
    host.process_events()
    assert slicer.modules.MISFMWidget is not panel


def test_the_panel_opens_with_one_tab_and_the_others_come_one_by_one(host, panel):
    import slicer

    slicer.util.reloadScriptedModule("MISFM")
    widget = slicer.modules.MISFMWidget
    tabs = widget.ui.tabs
    assert tabs.count == 1
    host.wait_until(lambda: tabs.count == 3)
    assert [tabs.tabText(index) for index in range(3)] == ["Segment", "Fine-tune", "Pretrain"]
    slicer.util.reloadScriptedModule("MISFM")
    widget = slicer.modules.MISFMWidget
    assert widget.pretrainTab is widget.pretrainTab
    assert widget.ui.tabs.tabText(2) == "Pretrain", "the order stays when the last is asked for"


def test_a_panel_that_was_half_made_is_replaced_by_the_next_reload(host, panel, monkeypatch):
    import slicer
    from MISFMSlicer.Panel import Widget

    def fail(*_arguments):
        raise RuntimeError("a fault of the tab")

    with monkeypatch.context() as patch:
        patch.setattr(Widget, "SegmentTab", fail)
        with suppress(RuntimeError):  # Slicer prints it
            slicer.util.reloadScriptedModule("MISFM")
    assert not hasattr(slicer.modules.MISFMWidget, "segmentTab")
    host.failures.take()

    slicer.util.reloadScriptedModule("MISFM")
    host.process_events()

    assert slicer.modules.MISFMWidget.ui.segmentButton.visible
    panels = [child.visible for child in panel.parent.children() if child.objectName == "MISFM"]
    assert panels == [True], "nothing is left of the half"


def test_the_self_test_passes(host, panel):
    import slicer

    with host.testing():
        slicer.selfTests["MISFM"]()


@pytest.fixture
def second_panel(host, panel):
    """Another panel, as Slicer's generic test makes one; it is gone after the test."""
    import slicer

    representation = slicer.modules.misfm.createNewWidgetRepresentation()
    yield slicer.modules.MISFMWidget
    # Slicer names the panel that was made last, and reloads that one.
    slicer.modules.MISFMWidget._onModuleAboutToBeUnloaded("MISFM")
    slicer.modules.MISFMWidget = panel
    representation.deleteLater()


def test_without_a_main_window_a_panel_can_be_made(host, panel, request):
    with host.headless():
        assert request.getfixturevalue("second_panel").ui.segmentButton is not None


def test_two_panels_do_not_disturb_each_other(host, panel, second_panel, make_volume):
    volume = make_volume()
    for each in (panel, second_panel):
        host.wait_until(lambda each=each: each.ui.volumeSelector.currentNode() is volume)


def test_nothing_of_a_panel_is_left_after_a_reload(host, load_module):
    import slicer

    panel = load_module(MODULE)
    parts = (panel, panel.logic, panel.segmentTab, panel.segmentTab._options)
    references = [weakref.ref(part) for part in parts]
    before = {name: module for name, module in sys.modules.items() if name.startswith("MISFM")}
    panel.onReload()
    del panel, parts
    sys.modules.update(before)  # other tests hold classes of what was there
    try:
        host.process_events()
        gc.collect()
        assert [reference() for reference in references] == [None] * 4
    finally:
        slicer.util.reloadScriptedModule("MISFM")
