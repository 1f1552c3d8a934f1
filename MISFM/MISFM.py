"""Slicer module MISFM: what the extension is, and which library it uses."""

from __future__ import annotations

import html
import re

import slicer
from MISFMSlicer.Library import addLibraryToPath, findLibrary
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

addLibraryToPath()

# Slicer looks for these two by their names; they need the library that was just found.
from MISFMSlicer.Jobs.Logic import MISFMLogic  # noqa: E402
from MISFMSlicer.Panel.Widget import MISFMWidget  # noqa: E402
from MISFMSlicer.Setup.Leftovers import removeLeftovers  # noqa: E402
from MISFMSlicer.Setup.Samples import registerSamples  # noqa: E402

__all__ = ["MISFM", "MISFMLogic", "MISFMTest", "MISFMWidget"]


class MISFM(ScriptedLoadableModule):
    """What Slicer shows about the module; importing it is all that happens at start-up."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        slicer.app.loadTranslations(self.resourcePath("Translations"))
        slicer.app.connect("startupCompleted()", registerSamples)
        slicer.app.connect("startupCompleted()", removeLeftovers)
        parent.title = "MISFM"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["The MISFM developers"]
        parent.helpText = _(
            "Segment CT and MR volumes with PCT-Net, pretrain it with Volume Fusion on volumes"
            " without labels, and fine-tune it on few labels. Everything runs on this computer."
            " Not for clinical use. See the {link_start}documentation{link_end}."
        ).format(
            link_start='<a href="https://github.com/MISFM/SlicerMISFM#readme">', link_end="</a>"
        )
        parent.acknowledgementText = _(
            "PCT-Net and Volume Fusion are the work of Guotai Wang and colleagues:"
            " arXiv 2306.16925 and IEEE Transactions on Image Processing 34, 6041-6052 (2025),"
            " doi 10.1109/TIP.2025.3610249."
        )


class MISFMTest(ScriptedLoadableModuleTest):
    """Self-test that also runs in an installed Slicer (Reload and Test)."""

    def setUp(self) -> None:
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def test_the_module_says_what_it_is(self) -> None:
        """Slicer lists the module in one category, with help and credits."""
        module = slicer.modules.misfm
        assert module.title == "MISFM"
        assert len(module.categories) == 1
        assert "PCT-Net" in module.helpText
        assert "10.1109/TIP.2025.3610249" in module.acknowledgementText

    def test_the_library_is_found(self) -> None:
        """The library that is imported is the one of this module."""
        library = findLibrary()
        assert library is not None
        assert library.origin in ("installed", "source")

    def test_the_panel_says_what_it_needs(self) -> None:
        """Without a volume Segment is disabled and says why."""
        panel = slicer.util.getModuleWidget("MISFM")
        panel.enter()
        slicer.app.processEvents()
        assert not panel.ui.segmentButton.enabled
        why = panel.ui.statusLabel.text
        assert why != ""
        # Slicer turns plain tool tips into rich text: compared is the text, not the markup.
        toolTip = html.unescape(re.sub(r"<[^>]+>", "", panel.ui.segmentButton.toolTip))
        assert toolTip.split() == why.split()
