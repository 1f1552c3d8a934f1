"""The sample in Slicer's module Sample Data: a file of this extension, which needs no network.

It was drawn (`misfm demo` draws others); Sample Data fetches it by its address like any other, also
for scripts, which a function of our own would not be called for.
"""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

NAME = "MISFM hippocampus"
_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "SampleData"
_FILE = _FOLDER / "MISFM-hippocampus.nrrd"


def registerSamples() -> None:
    """Offer the sample in the module Sample Data, where there is one."""
    try:
        sampleData = importlib.import_module("SampleData")
    except ImportError:
        return
    sampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="MISFM",
        sampleName=NAME,
        uris=_FILE.as_uri(),
        fileNames=_FILE.name,
        nodeNames=NAME,
        # Sample Data keeps a copy: that of an older version is fetched anew.
        checksums=f"SHA256:{hashlib.sha256(_FILE.read_bytes()).hexdigest()}",
        thumbnailFileName=str(_FOLDER / "hippocampus.png"),
    )
