"""``python -m MISFMLib`` is the ``misfm`` command."""

import sys

from MISFMLib.cli import main

if __name__ == "__main__":
    sys.exit(main())
