"""What is found to be missing, and what is called to install it."""

import importlib.metadata
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import ClassVar

import pytest
import tomllib

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MISFM"))

from MISFMLib.errors import DependencyError

_ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "numpy": "2.1.0",
    "psutil": "6.0",
    "pydicom": "3.0.2",
    "safetensors": "0.5.0",
    "SimpleITK": "2.5.0",
    "torch": "2.9.1+cu128",
    "tqdm": "4.67",
    "tyro": "1.0.1",
}


@pytest.fixture
def requirements(host, monkeypatch):
    from MISFMSlicer.Setup import Requirements

    monkeypatch.delenv("MISFM_PYTHON", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return Requirements


@pytest.fixture
def installed(monkeypatch, requirements):
    """The versions of the installed packages; a test changes them."""
    versions = dict(GOOD)

    def version(package):
        if package not in versions:
            raise importlib.metadata.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return versions


class PyTorchUtilsLogic:
    """With the signatures of github.com/fepegar/SlicerPyTorch, August 2026."""

    calls: ClassVar[list] = []
    error = None

    @staticmethod
    def torchInstalled():
        raise AttributeError("'NoneType' object is not iterable")

    def installTorch(
        self,
        askConfirmation=False,
        forceComputationBackend=None,
        torchVersionRequirement=None,
        torchvisionVersionRequirement=None,
    ):
        if self.error is not None:
            raise self.error
        self.calls.append((askConfirmation, forceComputationBackend, torchVersionRequirement))
        return types.ModuleType("torch")


@pytest.fixture
def pytorch_extension(monkeypatch):
    """The extension PyTorch."""
    utils = types.ModuleType("PyTorchUtils")
    utils.PyTorchUtilsLogic = type("Logic", (PyTorchUtilsLogic,), {"calls": []})
    monkeypatch.setitem(sys.modules, "PyTorchUtils", utils)
    return utils.PyTorchUtilsLogic


@pytest.fixture
def pip(monkeypatch):
    """`slicer.packaging.pip_install`, remembering its calls."""
    import slicer.packaging

    calls = []

    def pip_install(requirements, blocking=True, show_progress=True, requester=None):
        calls.append((requirements, show_progress, requester))

    monkeypatch.setattr(slicer.packaging, "pip_install", pip_install)
    return calls


def line(requirements, name):
    (found,) = (item for item in requirements.checkRequirements() if item.name == name)
    return found


def test_the_list_is_the_one_of_the_library():
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (_ROOT / "MISFM" / "Resources" / "requirements.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == project["dependencies"]


def test_all_is_green_when_all_is_there(requirements, installed, monkeypatch):
    monkeypatch.setattr(os, "getpriority", lambda *_: 0, raising=False)
    monkeypatch.setattr(os, "PRIO_PROCESS", 0, raising=False)
    lines = requirements.checkRequirements()
    assert {item.status for item in lines} == {requirements.Status.GREEN}
    assert [item.name for item in lines] == [
        "library",
        "pytorch",
        "packages",
        "slicer",
        "priority",
    ]
    assert requirements.missingRequirements() == []
    assert "2.9.1+cu128" in line(requirements, "pytorch").message


def test_checking_imports_nothing_heavy(requirements, installed):
    before = set(sys.modules)
    requirements.checkRequirements()
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not loaded & {"torch", "SimpleITK", "PyTorchUtils", "tyro"}


@pytest.mark.parametrize("version", [None, "2.2.2"], ids=["missing", "too old"])
def test_torch_is_installed_by_the_extension_with_the_version_we_need(
    requirements, installed, pytorch_extension, version
):
    installed.pop("torch")
    if version:
        installed["torch"] = version
    pytorch = line(requirements, "pytorch")
    assert pytorch.status is requirements.Status.RED
    assert "torch>=" in pytorch.command
    pytorch.fix()
    ((asks, backend, wanted),) = pytorch_extension.calls
    assert asks is False
    assert backend is None
    assert wanted.startswith(">=2")


def test_a_half_removed_package_counts_as_missing(requirements, installed, pytorch_extension):
    installed["torch"] = None
    assert line(requirements, "pytorch").status is requirements.Status.RED


def test_an_extension_with_other_arguments_is_not_called(
    requirements, installed, pytorch_extension
):
    del installed["torch"]
    pytorch_extension.installTorch = lambda self, confirm=True: pytest.fail("called")
    with pytest.raises(DependencyError) as error:
        line(requirements, "pytorch").fix()
    assert "pip install" in error.value.remedy


@pytest.mark.parametrize(
    "error", [subprocess.CalledProcessError(1, "ltt"), RuntimeError("x"), OSError(28, "full")]
)
def test_a_failed_installation_is_told_with_the_exact_command(
    requirements, installed, pytorch_extension, error
):
    del installed["torch"]
    pytorch_extension.error = error
    pytorch = line(requirements, "pytorch")
    with pytest.raises(DependencyError) as raised:
        pytorch.fix()
    assert pytorch.command in raised.value.remedy


def test_without_the_extension_it_is_installed_first_and_a_restart_asked_for(
    requirements, installed, extensions
):
    del installed["torch"]
    extensions.can_install = True
    with pytest.raises(DependencyError) as error:
        line(requirements, "pytorch").fix()
    assert error.value.code == "restart"
    assert extensions.calls == [("PyTorch", False)]


def test_an_extension_that_cannot_be_installed_is_told(requirements, installed, extensions):
    del installed["torch"]
    with pytest.raises(DependencyError) as error:
        line(requirements, "pytorch").fix()
    assert "Extensions Manager" in error.value.remedy


def test_only_what_is_missing_is_installed_and_never_what_slicer_owns(requirements, installed, pip):
    for name in ("safetensors", "tyro"):
        del installed[name]
    installed["psutil"] = "5.0"
    packages = line(requirements, "packages")
    assert packages.status is requirements.Status.RED
    packages.fix()
    ((wanted, shows_progress, requester),) = pip
    assert sorted(item.partition(">")[0] for item in wanted) == ["psutil", "safetensors", "tyro"]
    assert shows_progress
    assert requester == "MISFM"


def test_what_slicer_owns_and_lacks_is_not_installed(requirements, installed, pip):
    del installed["SimpleITK"]
    installed["numpy"] = "1.20"
    slicers = line(requirements, "slicer")
    assert slicers.status is requirements.Status.RED
    assert slicers.fix is None
    assert "SimpleITK" in slicers.message
    assert "numpy" in slicers.message
    with pytest.raises(DependencyError):
        requirements.installRequirements(requirements.missingRequirements())
    assert pip == []


def test_an_older_slicer_installs_with_its_own_function(requirements, installed, monkeypatch):
    import slicer

    del installed["tyro"]
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    calls = []
    monkeypatch.setattr(slicer.util, "pip_install", calls.append)
    line(requirements, "packages").fix()
    assert calls == [["tyro>=1.0"]]


def test_without_a_window_no_progress_dialog_is_asked_for(host, requirements, installed, pip):
    del installed["tyro"]
    with host.headless():
        line(requirements, "packages").fix()
    assert pip == [(["tyro>=1.0"], False, "MISFM")]


def test_a_packaging_module_with_other_keywords_is_used_without_them(
    requirements, installed, monkeypatch
):
    import slicer.packaging

    del installed["tyro"]
    calls = []
    monkeypatch.setattr(slicer.packaging, "pip_install", lambda wanted: calls.append(wanted))
    line(requirements, "packages").fix()
    assert calls == [["tyro>=1.0"]]


def test_one_question_names_everything(requirements, installed, pytorch_extension, pip):
    for name in ("torch", "tyro"):
        del installed[name]
    missing = requirements.missingRequirements()
    question = requirements.installationQuestion(missing)
    assert "PyTorch" in question
    assert "tyro" in question
    requirements.installRequirements(missing)
    assert len(pytorch_extension.calls) == len(pip) == 1


def test_the_lowest_priority_is_a_warning_with_its_remedy(requirements, installed, monkeypatch):
    monkeypatch.setattr(os, "getpriority", lambda *_: 19, raising=False)
    monkeypatch.setattr(os, "PRIO_PROCESS", 0, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert line(requirements, "priority").status is requirements.Status.GREEN  # it sets itself up
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    priority = line(requirements, "priority")
    assert priority.status is requirements.Status.AMBER
    assert "SLICER_BACKGROUND_THREAD_PRIORITY=0" in priority.message
    assert requirements.missingRequirements() == []


def test_an_intel_mac_is_told_what_to_do(requirements, installed, monkeypatch):
    del installed["torch"]
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    pytorch = line(requirements, "pytorch")
    assert pytorch.fix is None
    assert "MISFM_PYTHON" in pytorch.message


def test_another_python_needs_nothing_in_slicers(requirements, installed, monkeypatch):
    installed.clear()
    monkeypatch.setenv("MISFM_PYTHON", sys.executable)
    assert requirements.missingRequirements() == []
    monkeypatch.setenv("MISFM_PYTHON", "/no/such/python")
    (missing,) = requirements.missingRequirements()
    assert missing.name == "python"


def test_a_missing_library_is_told(requirements, installed, monkeypatch):
    monkeypatch.setattr(requirements, "findLibrary", lambda: None)
    assert line(requirements, "library").status is requirements.Status.RED


def test_a_slicer_without_extensions_manager_is_told_so(requirements, monkeypatch):
    """It was built without: not even the method is there."""
    import slicer
    from MISFMSlicer.Setup import Installer

    class Application:
        def __getattr__(self, name):
            if name == "extensionsManagerModel":
                raise AttributeError(name)
            return getattr(app, name)

    app = slicer.app
    monkeypatch.setattr(slicer, "app", Application())
    with pytest.raises(DependencyError) as caught:
        Installer.installPyTorchExtension()
    assert caught.value.code == "no-extensions"


def test_pips_last_line_is_the_reason_of_a_failure(requirements, installed, monkeypatch):
    import slicer.packaging

    del installed["tyro"]

    def pip_install(wanted, show_progress=True, requester=None, logCallback=None):
        for said in ("Collecting tyro", "ERROR: No space left on device", "", "[notice] new pip"):
            logCallback(said)
        raise subprocess.CalledProcessError(1, "pip install")

    monkeypatch.setattr(slicer.packaging, "pip_install", pip_install)
    with pytest.raises(DependencyError, match="No space left on device") as error:
        line(requirements, "packages").fix()
    assert "non-zero" not in error.value.message
