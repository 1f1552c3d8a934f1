"""Look the names of application_names.tsv up in what they come from.

    python application_sources.py                              # in the Qt that is installed here
    python application_sources.py Slicer=DIR@5.12 CTK=DIR@REV  # and in clones of the sources

All rows were looked up in Slicer's branches 5.12 and main of August 2026 with the CTK that these
build (5056664a), in slicer-core 5.12.4 and 5.13, and in PyQt5 5.15 besides PySide6. Methods of Qt
that are neither slots nor properties are in the wrappers of PythonQt that CTK builds (9992368e).
"""

from __future__ import annotations

import functools
import importlib
import re
import subprocess
import sys
from typing import Any

from application_names import listed_names

_QT_MODULES = ("QtWidgets", "QtGui", "QtCore")


def member(name: str) -> str:
    """Return what is looked up in the class of a row; empty for the class itself."""
    return name.rpartition(".")[2]


def is_in_core(class_name: str, name: str) -> bool:
    """Tell whether a class of the slicer-core wheel or of VTK has a member, or is there at all."""
    import slicer
    import vtk

    if "." in class_name:  # a Python module
        return hasattr(importlib.import_module(class_name), member(name))
    cls = getattr(slicer, class_name, None) or getattr(vtk, class_name, None)
    return cls is not None and (member(name) == class_name or hasattr(cls, member(name)))


def is_in_qt(class_name: str, name: str) -> bool:
    """Tell whether a class of Qt has a property, signal, method or flag, or is there at all."""
    cls = _qt_class(class_name)
    if cls is None or member(name) == class_name:
        return cls is not None
    word = member(name)
    accessors = (f"{prefix}{word[0].upper()}{word[1:]}" for prefix in ("is", "set"))
    return any(hasattr(cls, each) for each in (word, *accessors))


def _qt_class(name: str) -> Any:
    for module in _QT_MODULES:
        cls = getattr(importlib.import_module(f"{_binding()}.{module}"), name, None)
        if cls is not None:
            return cls
    return None


@functools.cache
def _binding() -> str:
    try:
        return importlib.import_module("PySide6").__name__
    except ImportError:
        return "PyQt5"


def is_in_file(repository: str, revision: str, path: str, name: str) -> bool:
    """Tell whether a file of a git repository has the word."""
    command = ["git", "-C", repository, "show", f"{revision}:{path}"]
    text = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    return re.search(rf"\b{member(name)}\b", text) is not None


def main() -> None:
    """Print what is not found; the arguments say where the sources are."""
    words = (argument.split("=") for argument in sys.argv[1:])
    clones = {project: place.rsplit("@", 1) for project, place in words}
    checked = missing = 0
    for row in listed_names():
        project, _colon, path = row["source"].partition(":")
        if row["source"] == "Qt":
            found = is_in_qt(row["class"], row["name"])
        elif project in clones:
            found = is_in_file(*clones[project], path, row["name"])
        else:
            continue
        checked += 1
        if not found:
            missing += 1
            print(*row.values(), sep="\t")
    print(f"{checked} looked up, {missing} not found; Qt of {_binding()}")


if __name__ == "__main__":
    main()
