"""Pretrain without a window: the options and exit codes of ``misfm pretrain``, inside Slicer.

Folders of volumes, a store of `misfm prepare`, all volumes of a Slicer scene, or a job file::

    Slicer --no-main-window --python-script pretrain.py -- volumes -o start --preset laptop
    Slicer --no-main-window --python-script pretrain.py -- patients.mrb -o start
    Slicer --no-main-window --python-script pretrain.py -- job.json

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

    return run(sys.argv[1:], "pretrain")


exitCode = 1
try:
    exitCode = main()
except BaseException:  # without it Slicer would wait for ever, without a window
    traceback.print_exc()
slicer.util.exit(exitCode)
