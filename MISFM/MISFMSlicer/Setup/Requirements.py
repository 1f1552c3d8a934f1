"""What MISFM needs in Slicer's Python: found without importing it, installed when told to.

Nothing here asks the user: the panel asks once, with `installationQuestion`, and a script installs
when its user wrote ``--install``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from packaging.requirements import Requirement as Specification
from slicer.i18n import tr as _

from ..Jobs.WorkerEnvironment import findPython
from ..Library import findLibrary
from . import Installer

_LIST = Path(__file__).resolve().parents[2] / "Resources" / "requirements.txt"
_OWNED_BY_SLICER = frozenset(
    ("numpy", "packaging", "pip", "pydicom", "requests", "scipy", "setuptools", "simpleitk")
)
"""Packages that Slicer comes with: another version of them can break Slicer."""


class Status(Enum):
    """Colour of a line of the set-up card."""

    GREEN = "green"
    AMBER = "amber"
    """It works, but not as well as it could."""
    RED = "red"
    """Segment cannot work."""


@dataclass(frozen=True)
class Requirement:
    """One line of the set-up card."""

    name: str
    """Stable name: ``library``, ``pytorch``, ``packages``, ``slicer``, ``priority``; ``python``
    instead of the three that concern Slicer's own Python when MISFM_PYTHON names another one."""
    title: str
    """Name for people."""
    status: Status
    message: str
    """What is there, or what is missing and what to do about it."""
    fix: Callable[[], None] | None = None
    """Puts it right, or raises MISFMError; None when it cannot be put right from here."""
    command: str = ""
    """The same for a terminal; empty when there is none."""


def checkRequirements() -> list[Requirement]:
    """Return all lines of the card; fast: it imports none of the packages, and asks nobody."""
    importlib.invalidate_caches()  # packages may have been installed a moment ago
    if os.environ.get("MISFM_PYTHON"):
        return [_library(), _otherPython(), _priority()]
    return [_library(), _pytorch(), _packages(), _slicer(), _priority()]


def missingRequirements() -> list[Requirement]:
    """Return what is red."""
    return [item for item in checkRequirements() if item.status is Status.RED]


def installationQuestion(missing: list[Requirement]) -> str:
    """Return the one question to ask before `installRequirements`."""
    lines = [f"- {item.title}: {item.message}" for item in missing]
    parts = [
        _("MISFM needs:"),
        "\n".join(lines),
        _(
            "It will be downloaded from the Python Package Index and from pytorch.org (PyTorch:"
            " 0.2 GB, with support for NVIDIA GPUs up to 3 GB) into Slicer's own Python. Your"
            " images stay on this computer. Install now?"
        ),
    ]
    return "\n\n".join(parts)


def installRequirements(missing: list[Requirement]) -> None:
    """Put right all that is red, without asking.

    Raises:
        DependencyError: Something could not be installed; the remedy has the exact command.
    """
    for item in missing:
        if item.fix is None:
            raise Installer.failure(item.message, item.command)
        item.fix()


def _library() -> Requirement:
    title = _("MISFM library")
    library = findLibrary()
    if library is None:
        message = _("not found; install the MISFM extension again")
        return Requirement("library", title, Status.RED, message)
    return Requirement("library", title, Status.GREEN, library.version)


def _otherPython() -> Requirement:
    """Tell where jobs run; what that Python lacks is found by the self-check."""
    python = findPython()
    if shutil.which(python) is None:
        message = _("MISFM_PYTHON names {path}, which is no program").format(path=python)
        return Requirement("python", _("Python"), Status.RED, message)
    return Requirement("python", _("Python"), Status.GREEN, python)


def _pytorch() -> Requirement:
    (wanted,) = (item for item in _specifications() if item.name == "torch")
    command = _pipCommand([wanted])
    version = _version("torch")
    if _isSatisfied(wanted):
        return Requirement("pytorch", "PyTorch", Status.GREEN, version)
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        message = _(
            "there is none for Slicer on this Mac, which runs as an Intel program; set MISFM_PYTHON"
            " to a Python that has MISFM installed"
        )
        return Requirement("pytorch", "PyTorch", Status.RED, message)
    if not Installer.hasPyTorchExtension():
        message = _("the extension PyTorch is missing; Slicer has to be restarted after it")
        return Requirement(
            "pytorch", "PyTorch", Status.RED, message, Installer.installPyTorchExtension, command
        )
    message = _("version {version} is too old").format(version=version) if version else _("missing")

    def install() -> None:
        Installer.installPyTorch(str(wanted.specifier), command)

    return Requirement("pytorch", "PyTorch", Status.RED, message, install, command)


def _packages() -> Requirement:
    title = _("Python packages")
    wanted = [item for item in _specifications() if item.name != "torch" and not _isOwned(item)]
    missing = [item for item in wanted if not _isSatisfied(item)]
    if not missing:
        names = ", ".join(item.name for item in wanted)
        return Requirement("packages", title, Status.GREEN, names)
    names = ", ".join(item.name for item in missing)
    message = _("missing or too old: {names}").format(names=names)
    command = _pipCommand(missing)

    def install() -> None:
        Installer.installPackages([str(item) for item in missing], command)

    return Requirement("packages", title, Status.RED, message, install, command)


def _slicer() -> Requirement:
    title = _("Slicer's own packages")
    owned = [item for item in _specifications() if _isOwned(item)]
    lacking = [item for item in owned if not _isSatisfied(item)]
    if lacking:
        message = _("this Slicer is too old, MISFM needs {names}; install a newer Slicer").format(
            names=", ".join(map(str, lacking))
        )
        return Requirement("slicer", title, Status.RED, message)
    versions = ", ".join(f"{item.name} {_version(item.name)}" for item in owned)
    return Requirement("slicer", title, Status.GREEN, versions)


def _priority() -> Requirement:
    """Tell whether Slicer, and with it the worker, computes only when nobody else wants to."""
    title = _("Priority")
    isRoot = hasattr(os, "geteuid") and os.geteuid() == 0  # whose worker sets itself to normal
    if not isRoot and hasattr(os, "getpriority") and os.getpriority(os.PRIO_PROCESS, 0) > 0:
        message = _(
            "Slicer gives way to all other programs, and what it starts does so too. Start Slicer"
            " with SLICER_BACKGROUND_THREAD_PRIORITY=0 in its environment to be faster beside"
            " other work."
        )
        return Requirement("priority", title, Status.AMBER, message)
    return Requirement("priority", title, Status.GREEN, _("normal"))


def _specifications() -> list[Specification]:
    lines = (line.partition("#")[0].strip() for line in _LIST.read_text("utf-8").splitlines())
    return [Specification(line) for line in lines if line]


def _isOwned(specification: Specification) -> bool:
    return specification.name.lower() in _OWNED_BY_SLICER


def _isSatisfied(specification: Specification) -> bool:
    version = _version(specification.name)
    return bool(version) and specification.specifier.contains(version, prereleases=True)


def _version(package: str) -> str:
    """Return the installed version; empty when it is missing or only half removed."""
    try:
        return importlib.metadata.version(package) or ""
    except (importlib.metadata.PackageNotFoundError, KeyError):
        return ""


def _pipCommand(specifications: list[Specification]) -> str:
    wanted = " ".join(f'"{item}"' for item in specifications)
    return f'"{findPython()}" -m pip install {wanted}'
