"""What is left on the disk of a Slicer that was killed."""

from __future__ import annotations

import tempfile

import slicer

from .. import TemporaryFolder


def removeLeftovers() -> None:
    """Remove it, the volumes of patients among it; at the start of Slicer."""
    TemporaryFolder.removeLeftovers([slicer.app.temporaryPath, tempfile.gettempdir()])
