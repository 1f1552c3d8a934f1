"""The folder of a page to review: what may lie there before it is made."""

from __future__ import annotations

from pathlib import Path

from MISFMLib.errors import OutputError
from MISFMLib.files import check_output

REPORTS = "reports"
"""Folder in it where `misfm segment --review` keeps the reports of the cases."""
_OURS = "data.js"
"""Marks a folder as a page of ours."""


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Write into a new or empty folder, or over a page of ours if that is allowed.

    Raises:
        OutputError: The folder holds something else, or a page that shall not be replaced; or
            nothing can be written there.
    """
    check_output(folder / _OURS, overwrite=True)
    if not folder.exists() or (folder.is_dir() and {p.name for p in folder.iterdir()} <= {REPORTS}):
        return
    if not (folder / _OURS).is_file():
        raise OutputError(
            f"{folder} holds other files than a review.",
            code="output-exists",
            remedy="Choose a new folder.",
        )
    if not overwrite:
        raise OutputError(
            f"{folder} holds a review already.",
            code="output-exists",
            remedy="Choose another output, or allow replacing it with --overwrite.",
        )
