"""Ask an application about 550 expressions; the answers for real Slicer are in slicer_facts.tsv.

Run it in real Slicer or in the host, from this folder, to measure again:

    export MISFM_PROBE_OUTPUT=answers.tsv
    Slicer --additional-module-paths ProbeMod --python-script probe.py
    python ../Host/run.py --dialogs ProbeMod/ProbeMod.py --python-script probe.py
"""

import os
import re
import sys
from pathlib import Path

import slicer

sys.path.insert(0, str(Path(__file__).resolve().parent))


class Recorder:
    """Evaluates expressions and keeps what they answered."""

    def __init__(self):
        self.lines = ["number\toutcome\tname\tvalue\ttype"]

    def __call__(self, name, function):
        """Record what an expression gives: its value and type, or its exception."""
        try:
            value = function()
            cells = ["OK", name, self._shown(value), type(value).__name__]
        except Exception as error:
            cells = ["EXC", name, self._shown(error, str), type(error).__name__]
        self.lines.append("\t".join([str(len(self.lines)), *cells]))

    def not_asked(self, name):
        """Keep the place of an expression that needs what the application lacks."""
        self.lines.append(f"{len(self.lines)}\tNOT ASKED\t{name}\t\t")

    @staticmethod
    def _shown(value, convert=repr):
        """Return the text of a value without addresses and folders, on one line."""
        text = convert(value).split("\n")[0]
        text = re.sub(r" at 0x[0-9a-f]+", "", text)
        text = re.sub(r"0x[0-9a-f]+", "0x", text)
        text = text.replace(str(Path(__file__).resolve().parent), "DIR")
        text = text.replace(slicer.app.slicerHome, "SLICER_HOME")
        return text.replace("\t", " ")[:200]


def main():
    import probe_application
    import probe_processes
    import probe_scene
    import probe_tabs
    import probe_widgets

    slicer.util.selectModule("ProbeMod")
    slicer.app.processEvents()
    fact = Recorder()
    panel = slicer.modules.ProbeModWidget
    probe_application.ask_about_start(fact)
    probe_widgets.ask(fact, panel.ui)
    probe_processes.ask(fact, panel.ui)
    probe_scene.ask(fact, panel)
    probe_application.ask(fact, panel)
    probe_widgets.ask_what_a_walk_through_showed(fact)
    probe_tabs.ask(fact)
    output = Path(os.environ["MISFM_PROBE_OUTPUT"])
    output.write_text("\n".join(fact.lines) + "\n", encoding="utf-8")


try:
    main()
    slicer.util.exit(0)
except BaseException:
    import traceback

    traceback.print_exc()
    slicer.util.exit(1)
