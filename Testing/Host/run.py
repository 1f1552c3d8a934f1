"""Open scripted modules without 3D Slicer: `python Testing/Host/run.py MISFM/MISFM.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from misfm_host.command_line import main  # found through the line above

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
