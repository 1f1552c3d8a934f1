"""Segment without a window: the options and exit codes of ``misfm segment``, inside Slicer.

One case, a folder of volumes, a DICOM study, all volumes of a Slicer scene::

    Slicer --no-main-window --python-script segment.py -- ct.nrrd -m MODEL -o labels.seg.nrrd
    Slicer --no-main-window --python-script segment.py -- volumes -m MODEL -o labels
    Slicer --no-main-window --python-script segment.py -- dicom-study -m MODEL -o labels
    Slicer --no-main-window --python-script segment.py -- patient.mrb -m MODEL -o labels

``--install`` installs first what is missing. ``--events-file FILE`` lets the events of
``misfm segment --events json`` go to a file of their own; on stdout, where Slicer writes lines too,
they are the lines that begin with ``{``. No dialog opens; the exit code is Slicer's: that of the
command, 130 after Ctrl-C, 143 after SIGTERM, 141 when nobody reads what it writes.
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

    return run(sys.argv[1:])


exitCode = 1
try:
    exitCode = main()
except BaseException:  # without it Slicer would wait for ever, without a window
    traceback.print_exc()
slicer.util.exit(exitCode)
