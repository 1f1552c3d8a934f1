"""The module whose panel the facts about real Slicer were measured in (see probe.py)."""

import slicer
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class ProbeMod(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Probe"
        parent.categories = ["Testing"]
        parent.contributors = ["The MISFM developers"]


class ProbeModWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.uiWidget = slicer.util.loadUI(self.resourcePath("UI/ProbeMod.ui"))
        self.layout.addWidget(self.uiWidget)
        self.ui = slicer.util.childWidgetVariables(self.uiWidget)
        self.uiWidget.setMRMLScene(slicer.mrmlScene)


class ProbeModLogic(ScriptedLoadableModuleLogic):
    pass


class ProbeModTest(ScriptedLoadableModuleTest):
    def test_parameter_node_is_a_singleton(self):
        logic = ProbeModLogic()
        assert logic.getParameterNode() is logic.getParameterNode()
