"""What is on the disk is what gets installed, and the project's descriptions of itself agree."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import MISFMLib

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "Docs", "findings", "MISFM", "MISFMLib", "Resources", "Testing")
BINARY = {".png", ".gz", ".nrrd", ".qm", ".safetensors", ".npz"}
LARGEST_FILE = 500_000
LARGEST_MODEL = 8_000_000


def repository_files() -> Iterator[Path]:
    """Every file of the project, without what tools and programs leave behind."""
    # .git is a file in a linked work tree.
    yield from (path for path in REPOSITORY.iterdir() if path.is_file() and path.name != ".git")
    for folder in FOLDERS:
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def files_in(folder: str) -> list[str]:
    """Paths below a top-level folder, sorted; the order in which CMake lists must have them."""
    root = REPOSITORY / folder
    return sorted(
        path.relative_to(root).as_posix()
        for path in repository_files()
        if path.is_relative_to(root) and path.name != "CMakeLists.txt"
    )


def scripts_in(folder: str) -> list[str]:
    return [name for name in files_in(folder) if name.endswith(".py")]


def others_in(folder: str) -> list[str]:
    return [name for name in files_in(folder) if not name.endswith(".py")]


def cmake_list(file: str, name: str) -> list[str]:
    """Words of ``set(name …)`` in a CMakeLists.txt."""
    text = re.sub(r"#.*", "", (REPOSITORY / file).read_text("utf-8"))
    found = re.search(rf"\bset\({name}\b([^)]*)\)", text)
    assert found, f"{file} has no set({name} …)"
    return found[1].split()


def cmake_text(name: str) -> str:
    """Value of ``set(name "…")`` in the top CMakeLists.txt."""
    text = (REPOSITORY / "CMakeLists.txt").read_text("utf-8")
    return re.search(rf'set\({name} "([^"]*)"\)', text)[1]


def s4ext() -> dict[str, str]:
    lines = (REPOSITORY / "MISFM.s4ext").read_text("utf-8").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return dict(pairs)


def index_entry() -> dict[str, object]:
    return json.loads((REPOSITORY / "MISFM.json").read_text("utf-8"))


def pyproject() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


# ------------------------------------------------------------------------------------- file lists


@pytest.mark.parametrize(
    ("file", "name", "on_disk"),
    [
        ("MISFM/CMakeLists.txt", "MODULE_PYTHON_SCRIPTS", scripts_in("MISFM")),
        ("MISFM/CMakeLists.txt", "MODULE_PYTHON_RESOURCES", others_in("MISFM")),
        ("MISFMLib/CMakeLists.txt", "MODULE_PYTHON_SCRIPTS", scripts_in("MISFMLib")),
        ("MISFMLib/CMakeLists.txt", "MODULE_PYTHON_RESOURCES", others_in("MISFMLib")),
        ("MISFMLib/CMakeLists.txt", "EXTENSION_RESOURCES", files_in("Resources")),
        ("Testing/CMakeLists.txt", "TESTING_FILES", files_in("Testing")),
    ],
    ids=[
        "module scripts",
        "module files",
        "library scripts",
        "library files",
        "resources",
        "tests",
    ],
)
def test_cmake_lists_every_file(file, name, on_disk):
    assert cmake_list(file, name) == on_disk, (
        f"{file} must say:\nset({name}\n" + "".join(f"  {path}\n" for path in on_disk) + "  )"
    )


def test_the_module_folder_holds_no_second_module():
    # Slicer loads every loose .py file there as a module.
    assert [path.name for path in (REPOSITORY / "MISFM").glob("*.py")] == ["MISFM.py"]


# ----------------------------------------------------------------------------------- descriptions


@pytest.mark.parametrize(
    "keyword",
    ["homepage", "category", "contributors", "description", "iconurl", "screenshoturls", "depends"],
)
def test_the_s4ext_repeats_the_cmake_file(keyword):
    assert s4ext()[keyword] == cmake_text(f"EXTENSION_{keyword.upper()}")


def test_the_s4ext_repeats_the_index_entry():
    entry, old_entry = index_entry(), s4ext()
    for key, keyword in {"scm_url": "scmurl", "scm_revision": "scmrevision"}.items():
        assert entry[key] == old_entry[keyword]
    assert entry["category"] == old_entry["category"]
    assert entry["build_subdirectory"] == old_entry["build_subdirectory"]
    assert entry["tier"] == int(old_entry["tier"])
    assert entry["build_dependencies"] == old_entry["depends"].split()


def test_the_index_entry_has_what_the_index_asks_for():
    known = {"$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies"}
    known |= {"build_subdirectory", "enabled", "tier"}
    entry = index_entry()
    assert {"$schema", "category", "scm_url"} <= set(entry) <= known
    assert entry["scm_url"].startswith("https://")
    assert entry["scm_url"].rsplit("/", 1)[1] == "SlicerMISFM"


def test_the_icon_is_a_png_of_the_size_slicer_asks_for():
    prefix = "https://raw.githubusercontent.com/MISFM/SlicerMISFM/main/"
    icon = REPOSITORY / cmake_text("EXTENSION_ICONURL").removeprefix(prefix)
    header = icon.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:]) == (128, 128)


def test_links_in_the_module_lead_to_the_home_page():
    homepage = cmake_text("EXTENSION_HOMEPAGE")
    sources = [*(REPOSITORY / "MISFM").rglob("*.py"), *(REPOSITORY / "MISFM").rglob("*.ui")]
    links = {
        link
        for source in sources
        for link in re.findall(r"https://github\.com/[\w./-]+", source.read_text("utf-8"))
    }
    assert links == {homepage}


def test_the_version_is_the_same_everywhere():
    citation = (REPOSITORY / "CITATION.cff").read_text("utf-8")
    changelog = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^version: (\S+)$", citation, re.M)[1] == MISFMLib.__version__
    assert MISFMLib.__version__ in re.search(r"^## .*$", changelog, re.M)[0]


def test_the_licence_is_the_same_everywhere():
    assert "Apache License" in (REPOSITORY / "LICENSE.txt").read_text()[:200]
    assert pyproject()["project"]["license"] == "Apache-2.0"
    assert "\nlicense: Apache-2.0\n" in (REPOSITORY / "CITATION.cff").read_text("utf-8")


# ------------------------------------------------------------------------------------------ files


def test_text_files_end_their_lines_with_lf_only():
    texts = [path for path in repository_files() if path.suffix not in BINARY]
    assert [relative(path) for path in texts if b"\r" in path.read_bytes()] == []


def test_no_file_is_too_large():
    models = REPOSITORY / "Resources" / "Models"
    too_large = [
        relative(path)
        for path in repository_files()
        if path.stat().st_size > (LARGEST_MODEL if path.is_relative_to(models) else LARGEST_FILE)
    ]
    assert too_large == []


def test_no_file_names_a_folder_of_somebodys_machine():
    machine_path = re.compile(rb"(?<![\w.~-])/(work|root|home)/\w")
    found = [
        f"{relative(path)}: {line.decode(errors='replace').strip()}"
        for path in repository_files()
        if path.suffix not in BINARY
        for line in path.read_bytes().splitlines()
        if machine_path.search(line)
    ]
    assert found == []


def test_every_dependency_has_one_version_that_is_known_to_work():
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    names = {
        re.match(r"[\w-]+", requirement)[0].lower()
        for group in (project["dependencies"], *extras.values())
        for requirement in group
    }
    constraints = (REPOSITORY / "constraints.txt").read_text("utf-8")
    pinned = {name.lower() for name in re.findall(r"^([\w.-]+)==", constraints, re.M)}
    assert names - pinned == {"misfm"}


@pytest.mark.slow
def test_the_wheel_holds_library_resources_and_command(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("misfm-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (scripts,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "misfm = MISFMLib.__main__:main" in archive.read(scripts).decode()
    resources = {name for name in files_in("Resources") if not name.startswith("Screenshots/")}
    expected = {f"MISFMLib/{name}" for name in files_in("MISFMLib")}
    expected |= {f"MISFMLib/Resources/{name}" for name in resources}
    assert {name for name in names if ".dist-info/" not in name} == expected
