"""Find every name of the application that the module uses: of slicer, qt, ctk, vtk and its widgets.

    python Testing/Slicer/application_names.py            # what is used, and where
    python Testing/Slicer/application_names.py --missing  # what application_names.tsv lacks

A name is written with the class it is looked up in, where the source shows it: in the .ui file, in
a constructor call, in AddNewNodeByClass. Of other objects, such as arguments, only the name of the
member is known: ``?.GetImageData``. Names that Python's own types or our classes have too are
told apart only where the class is known.
"""

from __future__ import annotations

import ast
import builtins
import csv
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import ExitStack
from io import BufferedReader
from logging import Logger
from pathlib import Path
from subprocess import Popen

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "MISFM"
LIST = Path(__file__).with_suffix(".tsv")

_APPLICATION = ("slicer", "qt", "ctk", "vtk", "SampleData", "PyTorchUtils")
_APPLICATION += ("DICOMSegmentationPlugin", "DICOMLib")
_WIDGET_OWNERS = {"qMRML": "slicer", "qSlicer": "slicer", "ctk": "ctk", "Q": "qt"}
_CLASS_NAME = r"(vtkMRML|qMRML)\w+"
_PYTHON_TYPES = (
    *(value for value in vars(builtins).values() if isinstance(value, type)),
    *(BufferedReader, ExitStack, Logger, Path, Popen, deque, np.ndarray, os.stat_result),
    *(re.Match, re.Pattern),
)
_PYTHON = {name for type_ in _PYTHON_TYPES for name in dir(type_)}
_PYTHON |= {"contains", "pid", "register", "specifier", "stdin"}  # of Popen, packaging, select
_GIVES_PYTHON = re.compile(r"slicer\.(i18n|util\.(arrayFrom|confirm|getNodes))")
"""What these functions return is of Python or NumPy."""


def used_names() -> dict[str, set[str]]:
    """Return every name and where it is used: file:line, or the .ui file."""
    sources = {path: ast.parse(path.read_text("utf-8")) for path in MODULE.rglob("*.py")}
    library = (ast.parse(path.read_text("utf-8")) for path in _contract())
    ours = set().union(*map(_defined, [*sources.values(), *library]))
    widgets = {}
    found: dict[str, set[str]] = defaultdict(set)
    for path in MODULE.rglob("*.ui"):
        root = ET.parse(path).getroot()
        widgets |= {w.get("name"): _owner(w.get("class")) for w in root.iter("widget")}
        for name in _names_in_ui(root):
            found[name].add(path.name)
    for path, tree in sources.items():
        for name, line in _Names(tree, widgets, ours).names():
            found[name].add(f"{path.stem}:{line}")
    return dict(sorted(found.items()))


def _contract() -> Iterator[Path]:
    """Yield the files of the library that the module uses in Slicer's own process."""
    yield from REPOSITORY.glob("MISFMLib/*.py")
    for room in ("annotation", "configs", "models", "volumes"):
        yield from (REPOSITORY / "MISFMLib" / room).rglob("*.py")


def listed_names() -> list[dict[str, str]]:
    """Return the rows of the list: name, class, source, remark."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _defined(tree: ast.AST) -> set[str]:
    """Return the names of functions, classes, fields and attributes that a source defines."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node):
            names.add(node.attr)
    return names


def _is_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def _owner(widget_class: str) -> str:
    """Return a widget's class as Python finds it: qt.QLabel, slicer.qMRMLNodeComboBox."""
    prefix = next(prefix for prefix in _WIDGET_OWNERS if widget_class.startswith(prefix))
    return f"{_WIDGET_OWNERS[prefix]}.{widget_class}"


def _names_in_ui(root: ET.Element) -> Iterator[str]:
    """Yield classes, properties, flags, signals and slots of a .ui file."""
    classes = {w.get("name"): _owner(w.get("class")) for w in root.iter("widget")}
    for element in (*root.iter("widget"), *root.iter("layout")):
        owner = _owner(element.get("class"))
        yield owner
        # The margins of a layout are one property with four names in .ui files.
        names = {prop.get("name") for prop in element.findall("property")}
        yield from (f"{owner}.{name}" for name in names if not name.endswith("Margin"))
    for flags in (*root.iter("enum"), *root.iter("set")):
        yield from ("qt." + flag.replace("::", ".") for flag in flags.text.split("|"))
    for connection in root.iter("connection"):
        for person, member in (("sender", "signal"), ("receiver", "slot")):
            name = connection.findtext(member).split("(")[0]
            yield f"{classes[connection.findtext(person)]}.{name}"


class _Names:
    """The names in one source file."""

    def __init__(self, tree: ast.Module, widgets: dict[str, str], ours: set[str]) -> None:
        self._tree = tree
        self._widgets = widgets
        self._ours = ours
        self._types: dict[str, str] = {}
        """Spelling of an expression, such as ``self._timer``, to the class it is an object of."""
        self._modules = self._imported()
        self._python_names = self._python_imports()
        self._learn(tree)  # for the attributes; variables are learnt anew in each function

    def names(self) -> Iterator[tuple[str, int]]:
        """Yield names with their lines."""
        yield from ((name, 1) for name in self._modules.values() if "." in name)
        attributes = {name: type_ for name, type_ in self._types.items() if "." in name}
        inside = set()
        for function in ast.walk(self._tree):
            if isinstance(function, ast.FunctionDef):
                self._types = dict(attributes)
                self._learn(function)
                inside.update(ast.walk(function))
                yield from self._names_in(ast.walk(function))
        yield from self._names_in(node for node in ast.walk(self._tree) if node not in inside)

    def _learn(self, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._assign(target, node.value)

    def _names_in(self, nodes: Iterator[ast.AST]) -> Iterator[tuple[str, int]]:
        for node in nodes:
            if isinstance(node, ast.Attribute):
                name = self._name(node)
                if name:
                    yield name, node.lineno
            elif isinstance(node, ast.Constant) and re.fullmatch(_CLASS_NAME, str(node.value)):
                yield f"slicer.{node.value}", node.lineno

    def _imported(self) -> dict[str, str]:
        """Return the local names of the application's modules and of what comes from them."""
        names = {}
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Import):
                names |= {a.asname or a.name.partition(".")[0]: a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        roots = {local: name for local, name in names.items() if _is_application(name)}
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign) and _imports_by_text(node.value):
                (target,) = node.targets
                roots[target.id] = node.value.args[0].value
        return roots

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        """Learn the class of a variable from what is assigned to it."""
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, its_value in zip(target.elts, value.elts, strict=True):
                self._assign(one, its_value)
        elif isinstance(target, ast.Name | ast.Attribute):
            found = self._type(value)
            if found:
                self._types[ast.unparse(target)] = found

    def _type(self, node: ast.expr) -> str:
        """Return the class of an object as it is spelled in Python; empty when unknown."""
        if isinstance(node, ast.Attribute) and _is_panel(node.value):
            return self._widgets.get(node.attr, "")
        if isinstance(node, ast.Call):
            made = self._spelling(node.func)
            last = made.rpartition(".")[2]
            if last == "AddNewNodeByClass" and isinstance(node.args[0], ast.Constant):
                return f"slicer.{node.args[0].value}"
            if _is_application(made) and last.startswith(("Q", "vtk", "qMRML", "ctk")):
                return made
        return self._types.get(ast.unparse(node), "")

    def _spelling(self, node: ast.expr) -> str:
        """Return an expression as a path from one of the application's modules, or empty."""
        if isinstance(node, ast.Name):
            return self._modules.get(node.id, "")
        if isinstance(node, ast.Attribute):
            owner = self._type(node.value) or self._spelling(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        if isinstance(node, ast.Call):
            spelling = self._spelling(node.func)
            if not spelling or _GIVES_PYTHON.match(spelling):
                return ""
            return self._type(node) or f"{spelling}()"
        return ""

    def _name(self, node: ast.Attribute) -> str:
        """Return the name of an attribute; empty when it is not the application's."""
        if _is_panel(node.value):
            return "" if node.attr in self._widgets else f"ui.{node.attr}"
        spelling = self._spelling(node)
        if spelling:
            is_of_signal = node.attr in ("connect", "disconnect") and "." in spelling[7:]
            return "" if is_of_signal and not spelling.startswith("slicer.app") else spelling
        if _is_self(node) or node.attr in self._ours | _PYTHON or self._is_python(node):
            return ""
        return f"?.{node.attr}"

    def _is_python(self, node: ast.Attribute) -> bool:
        """Tell whether an expression starts at a Python module, such as json or np."""
        while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
            node = node.func if isinstance(node, ast.Call) else node.value
        return isinstance(node, ast.Name) and node.id in self._python_names

    def _python_imports(self) -> set[str]:
        imports = (n for n in ast.walk(self._tree) if isinstance(n, ast.Import | ast.ImportFrom))
        aliases = (alias for node in imports for alias in node.names)
        return {alias.asname or alias.name for alias in aliases} - set(self._modules)


def _is_application(name: str) -> bool:
    return name.partition(".")[0] in _APPLICATION


def _imports_by_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "importlib.import_module"


def _is_panel(node: ast.expr) -> bool:
    """Tell whether an expression stands for the widgets of the .ui file."""
    return ast.unparse(node).rpartition(".")[2] in ("ui", "_ui")


def main() -> None:
    """Print the names."""
    names = used_names()
    if "--missing" in sys.argv:
        listed = {row["name"] for row in listed_names()} if LIST.exists() else set()
        names = {name: places for name, places in names.items() if name not in listed}
    for name, places in names.items():
        print(f"{name}\t{', '.join(sorted(places)[:3])}")


if __name__ == "__main__":
    main()
