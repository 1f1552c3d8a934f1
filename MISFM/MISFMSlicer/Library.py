"""Find MISFMLib: beside the installed module, or beside the module's folder in a source tree."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

MODULE_FOLDER = Path(__file__).resolve().parents[1]
"""Folder of MISFM.py."""


@dataclass(frozen=True)
class LibraryInfo:
    """Which MISFMLib this Slicer uses."""

    version: str
    """Version of the library."""
    folder: Path
    """Folder that holds the package."""
    origin: str
    """``installed`` with the extension, ``source`` tree, or ``other``: Slicer's Python packages."""


def addLibraryToPath(moduleFolder: Path = MODULE_FOLDER) -> None:
    """Let Python import the MISFMLib that belongs to this module before any other.

    Slicer adds only the module's own folder to the search path, and adds it last.
    """
    for folder in (moduleFolder, moduleFolder.parent):
        if (folder / "MISFMLib").is_dir():
            if sys.path[0] != str(folder):
                sys.path.insert(0, str(folder))
            return


def findLibrary(moduleFolder: Path = MODULE_FOLDER) -> LibraryInfo | None:
    """Tell which MISFMLib is imported; None when there is none."""
    try:
        import MISFMLib
    except ModuleNotFoundError:
        return None
    folder = Path(MISFMLib.__file__).resolve().parents[1]
    origins = {moduleFolder: "installed", moduleFolder.parent: "source"}
    return LibraryInfo(MISFMLib.__version__, folder, origins.get(folder, "other"))
