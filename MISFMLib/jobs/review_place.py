"""The folder of a page to review: what may lie there before it is made."""

from __future__ import annotations

from pathlib import Path

from MISFMLib.errors import OutputError
from MISFMLib.files import check_output
from MISFMLib.replacing import TEMPORARY

REPORTS = "reports"
"""Folder in it where `misfm segment --review` keeps the reports of the cases."""
THUMBNAILS = "thumbnails"
"""Folder in it with the pictures of the cases, which are drawn first."""
_OURS = "data.js"
"""Marks a folder as a page of ours."""


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Write into a new or empty folder, or over a page of ours if that is allowed.

    Raises:
        OutputError: The folder holds something else, or a page that shall not be replaced; or
            nothing can be written there.
    """
    check_output(folder / _OURS, overwrite=True)
    if not folder.exists() or (folder.is_dir() and _is_begun(folder)):
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


def _is_begun(folder: Path) -> bool:
    """Tell whether there is nothing but what a page begins with, as a kill may leave it."""
    names = {path.name for path in folder.iterdir()}
    return all(name in (REPORTS, THUMBNAILS) or name.startswith(TEMPORARY) for name in names)
