"""Where the files in ``Resources/`` are: beside the package in a source tree, else inside it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_path(name: str) -> Path:
    """Return the path of a file or folder in ``Resources/``.

    Args:
        name: Path relative to ``Resources/``, with forward slashes.

    Raises:
        FileNotFoundError: The installation lacks it.
    """
    for folder in (_PACKAGE / "Resources", _PACKAGE.parent / "Resources"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"Resources/{name} is missing from this installation of MISFM")
