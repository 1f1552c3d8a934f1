"""One case of a review, before it is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReviewJob:
    """What a worker needs for one case."""

    name: str
    label: Path
    """Label map."""
    image: Path | None
    """Scan: a file or a DICOM folder."""
    names: Mapping[int, str]
    """Value and name of the labels, as far as they are known."""
    thumbnail: Path
    """Where its picture goes."""
    series: str | None
    """Which volume of a DICOM folder that holds several."""
    report: Path | None
    """What `misfm segment` told about it; the file may not be there."""
