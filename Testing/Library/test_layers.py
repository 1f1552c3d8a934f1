"""Imports go in one direction, and what Slicer's own process needs imports without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = "MISFMLib"

# From the top to the bottom: a module may import from its own layer and from those below.
LAYERS = (
    {"__main__"},
    {"cli", "api"},
    {"commands"},
    {"jobs"},
    {"inference", "training", "export"},
    {"data", "networks", "metrics"},
    {"device", "cores", "energy", "gpus"},
    {"annotation", "volumes"},
    {"models"},
    {
        *("__init__", "configs", "errors", "events", "files", "foreground", "locks", "replacing"),
        "memory",
        "resources",
    },
)
# Neighbours in a layer that must not know each other either.
STRANGERS = {
    "inference": {"training", "export"},
    "export": {"inference", "training"},
    "annotation": {"volumes"},
    "volumes": {"annotation"},
    "data": {"networks", "metrics"},
    "networks": {"data", "metrics"},
    "metrics": {"data", "networks"},
}
# Rooms within a package: each may import from itself, from those after it, and from loose files.
ROOMS = {
    "MISFMLib/jobs": (
        "review",
        "benchmark",
        "recipes",
        "evaluate",
        "segment",
        "pretrain",
        "train",
        "prepare",
    ),
    "MISFM/MISFMSlicer": ("Panel", "Setup", "Jobs", "Scene"),
}
CONTRACT = set().union(*LAYERS[-3:])
"""What the Slicer module may use in Slicer's own process: free of torch."""
SLICER_ONLY = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "PythonQt"}
OPTIONAL = ("highdicom", "lightning_fabric", "matplotlib", "monai", "scipy")
SLICER_SHIPS = {"SimpleITK", "numpy", "packaging", "pydicom", "scipy"}


def imports(path: Path, package: str) -> Iterator[str]:
    """Dotted names that a file imports anywhere, `from a import b` as both ``a`` and ``a.b``."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def layer_problems(root: Path) -> list[str]:
    """Every import in the library below `root` that goes up, sideways or out to Slicer."""
    return [
        f"{path.relative_to(root).as_posix()} {problem}"
        for path in sorted((root / LIBRARY).rglob("*.py"))
        for problem in file_problems(path, root)
    ]


def file_problems(path: Path, root: Path) -> list[str]:
    parts = path.relative_to(root).with_suffix("").parts
    importer = parts[1]
    if importer not in set().union(*LAYERS):
        return ["stands in no layer: add it to LAYERS"]
    names = set(imports(path, ".".join(parts[:-1])))
    known = {name.split(".")[1] for name in names if name.startswith(f"{LIBRARY}.")}
    outside = {name.split(".")[0] for name in names} & SLICER_ONLY
    return [f"imports {name}, which only Slicer has" for name in sorted(outside)] + [
        f"imports {imported}, which is not below {importer}"
        for imported in sorted(known - {importer})
        if imported in all_above(importer) | STRANGERS.get(importer, set())
    ]


def all_above(name: str) -> set[str]:
    position = next(index for index, layer in enumerate(LAYERS) if name in layer)
    return set().union(*LAYERS[:position])


def room_problems(root: Path) -> list[str]:
    """Every import from one room into an earlier one."""
    problems = []
    for package, rooms in ROOMS.items():
        for position, room in enumerate(rooms):
            for path in sorted((root / package / room).rglob("*.py")):
                dotted = ".".join(path.relative_to(root / package).parent.parts)
                prefix = package.split("/")[-1] if package.startswith("MISFM/") else package
                base = prefix.replace("/", ".")
                for name in imports(path, f"{base}.{dotted}"):
                    above = [r for r in rooms[:position] if f"{name}.".startswith(f"{base}.{r}.")]
                    problems += [f"{path.relative_to(root).as_posix()} imports {r}" for r in above]
    return sorted(set(problems))


def test_the_library_keeps_its_layers():
    assert layer_problems(REPOSITORY) == []


def test_the_rooms_keep_their_order():
    assert room_problems(REPOSITORY) == []


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("MISFMLib/jobs/train/finetune.py", "from MISFMLib.jobs.pretrain import plan", "pretrain"),
        ("MISFM/MISFMSlicer/Scene/SceneIO.py", "from ..Jobs.Logic import MISFMLogic", "Jobs"),
        ("MISFM/MISFMSlicer/Jobs/Logic.py", "from ..Panel import Widget", "Panel"),
    ],
)
def test_an_import_into_an_earlier_room_is_found(tmp_path, file, line, problem):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert room_problems(tmp_path) == [f"{file} imports {problem}"]


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("errors.py", "import vtk", "imports vtk, which only Slicer has"),
        (
            "volumes/volume.py",
            "from slicer.util import getNode",
            "imports slicer, which only Slicer has",
        ),
        ("networks/pct_net.py", "from MISFMLib.training import loop", "imports training"),
        ("networks/pct_net.py", "from MISFMLib import data", "imports data"),
        ("data/cases.py", "import MISFMLib.networks.blocks", "imports networks"),
        ("inference/segmenter.py", "from MISFMLib.training.loop import fit", "imports training"),
        ("export/overview.py", "from ..inference import segmenter", "imports inference"),
        ("export/parts/overview.py", "from ...training import loop", "imports training"),
        ("models/bundle.py", "def late():\n    from MISFMLib import volumes", "imports volumes"),
        ("configs/network.py", "from MISFMLib.models import bundle", "imports models"),
        ("jobs/segment/batch.py", "from MISFMLib.cli import main", "imports cli"),
        ("surprise.py", "", "stands in no layer"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path, file, line, problem):
    broken = tmp_path / LIBRARY / file
    broken.parent.mkdir(parents=True)
    broken.write_text(line)
    (found,) = layer_problems(tmp_path)
    assert found.startswith(f"{LIBRARY}/{file} {problem}")


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("jobs/segment/batch.py", "from MISFMLib.inference.segmenter import Segmenter"),
        ("training/loop.py", "from MISFMLib.networks import build_network"),
        ("training/loop.py", "from . import losses"),
        ("models/store.py", "from MISFMLib.configs import LabelConfig"),
        ("models/store.py", "from .bundle import read_bundle"),
        ("networks/pct_net.py", "from MISFMLib import __version__"),
    ],
)
def test_an_import_downwards_is_allowed(tmp_path, file, line):
    path = tmp_path / LIBRARY / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert layer_problems(tmp_path) == []


def import_without(modules: list[str], blocked: tuple[str, ...], *flags: str) -> str:
    """Import modules in a new Python that lacks others; return its complaint, empty if none."""
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); "
        f"sys.modules.update(dict.fromkeys({blocked!r})); "
        f"import importlib; [importlib.import_module(name) for name in {modules!r}]"
    )
    command = [sys.executable, "-B", *flags, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode == 0) == (result.stderr == "")
    return result.stderr.strip().rpartition("\n")[2]


def modules_of(names: set[str]) -> list[str]:
    root = REPOSITORY / LIBRARY
    paths = [path.relative_to(root).with_suffix("") for path in root.rglob("*.py")]
    return sorted(".".join([LIBRARY, *path.parts]) for path in paths if path.parts[0] in names)


def test_the_contract_imports_without_torch_and_optional_packages():
    modules = modules_of(CONTRACT)
    assert f"{LIBRARY}.models.bundle" in modules
    assert import_without(modules, ("torch", *OPTIONAL)) == ""


def test_the_lowest_layer_needs_only_the_standard_library():
    modules = modules_of(LAYERS[-1])
    assert f"{LIBRARY}.configs.training" in modules
    assert import_without(modules, (), "-S") == ""


def test_models_are_listed_with_what_a_fresh_slicer_has():
    lacking = ("torch", "psutil", "safetensors", "tqdm", "tyro")
    assert import_without([f"{LIBRARY}.models.store", f"{LIBRARY}.models.bundle"], lacking) == ""


def test_a_list_of_cases_is_handed_out_without_torch_and_simpleitk():
    """They take 90 MB and more, which the list of 100 000 cases would share its memory with."""
    assert import_without([f"{LIBRARY}.jobs.segment.segment"], ("torch", "SimpleITK")) == ""


def test_a_store_is_prepared_without_monai():
    """Every process that helps would import it, which takes most of the time it needs to start."""
    assert import_without([f"{LIBRARY}.jobs.prepare.prepare"], ("monai",)) == ""


def test_a_module_that_needs_torch_is_noticed_when_torch_is_missing():
    assert "torch" in import_without([f"{LIBRARY}.device"], ("torch",))


def test_importing_the_slicer_module_needs_only_what_slicer_has():
    allowed = SLICER_ONLY | SLICER_SHIPS | set(sys.stdlib_module_names) | {"MISFMSlicer"}
    for path in (REPOSITORY / "MISFM").rglob("*.py"):
        package = ".".join(path.relative_to(REPOSITORY / "MISFM").parent.parts)
        for name in imports(path, package):
            first, *rest = name.split(".")
            assert first in allowed or (first == LIBRARY and set(rest[:1]) <= CONTRACT), (
                f"{path.name} imports {name}"
            )
