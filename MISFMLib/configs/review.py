"""Settings of `misfm review`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from MISFMLib.configs.coding import raise_problems


@dataclass(frozen=True, kw_only=True)
class ReviewConfig:
    """Make a page to check many results by: outliers first, with pictures and reasons."""

    results: Path
    """Folder of label maps, such as `misfm segment` writes for a batch."""
    output: Path
    """Folder of the page; open index.html in it with any browser, no server is needed."""
    images: Path | None = None
    """Folder of the scans, found by the names of the cases; the pictures then show them."""
    series: str | None = None
    """Which volume of a DICOM folder that holds several, as `misfm segment --series` was told."""
    labels: tuple[str, ...] = ()
    """Names of the labels, as 1=left_kidney 2=right_kidney; else those of the files, of
    dataset.json beside them, or of the model that cases.csv names."""
    reports: Path | None = None
    """Folder of the reports that `misfm segment --report` wrote: the page then tells their warnings
    and, of those with --uncertainty, how sure the model was, and shows where it wavered most."""
    verdicts: Path | None = None
    """Verdicts that the page has saved (.csv): the page starts with them, and to_correct.csv lists
    the cases that are wrong or unsure."""
    workers: int | None = None
    """Processes that measure and draw; 0 works in this one; one per core when not given."""
    scheduler: str | None = None
    """Address of a dask scheduler whose workers do that; they must see the same folders."""
    overwrite: bool = False
    """Replace a page that is already there."""

    def __post_init__(self) -> None:
        problems = []
        if self.workers is not None and self.workers < 0:
            problems.append(f"workers is {self.workers}, it must be at least 0")
        raise_problems(problems, "See `misfm review --help`.")
