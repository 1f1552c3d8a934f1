"""Fine-tune without a window: the options and exit codes of ``misfm finetune``, inside Slicer.

A data set as `misfm finetune` takes it, a Slicer scene with volumes and their segmentations, or the
job file of a training that the panel started::

    Slicer --no-main-window --python-script finetune.py -- data-set -o my-model --init MODEL
    Slicer --no-main-window --python-script finetune.py -- patients.mrb -o my-model
    Slicer --no-main-window --python-script finetune.py -- job.json

``--install`` installs first what is missing. No dialog opens; the exit code is Slicer's.
"""

import sys
import traceback
from pathlib import Path

import slicer


def main() -> int:
    """Find the module and run it; return the exit code."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from MISFMSlicer.Library import addLibraryToPath

    addLibraryToPath()
    from MISFMSlicer.Headless import run

    return run(sys.argv[1:], "finetune")


exitCode = 1
try:
    exitCode = main()
except BaseException:  # without it Slicer would wait for ever, without a window
    traceback.print_exc()
slicer.util.exit(exitCode)
