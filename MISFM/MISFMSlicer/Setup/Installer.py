"""Installing into Slicer's Python, through those who look after it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from subprocess import CalledProcessError
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISFMLib.errors import DependencyError

_EXTENSION = "PyTorch"
_NO_REASON = ("[notice]", "WARNING: You are using pip")
"""How lines of pip begin that come last and say nothing of a failure."""


def failure(message: str, command: str) -> DependencyError:
    """Return the error of an installation that did not work.

    Args:
        message: What went wrong.
        command: What the user can do in a terminal; empty when there is nothing.
    """
    remedy = _("Run this in a terminal and start Slicer again: {command}").format(command=command)
    return DependencyError(message, code="not-installed", remedy=remedy if command else "")


def hasPyTorchExtension() -> bool:
    """Tell whether the extension PyTorch is there."""
    return "PyTorchUtils" in sys.modules or importlib.util.find_spec("PyTorchUtils") is not None


def installPyTorchExtension() -> None:
    """Install the extension PyTorch, which works after a restart of Slicer.

    Raises:
        DependencyError: It could not be installed, or Slicer has to be restarted now.
    """
    # A Slicer that was built without it has not even the method.
    manager = getattr(slicer.app, "extensionsManagerModel", lambda: None)()
    byHand = _("Install the extension {name} in Slicer's Extensions Manager.").format(
        name=_EXTENSION
    )
    if manager is None:
        raise DependencyError(
            _("This Slicer installs no extensions."), code="no-extensions", remedy=byHand
        )
    wasInteractive, manager.interactive = manager.interactive, False  # no question of its own
    try:
        isInstalled = manager.isExtensionInstalled(
            _EXTENSION
        ) or manager.installExtensionFromServer(_EXTENSION, False)
    finally:
        manager.interactive = wasInteractive
    if not isInstalled:
        raise DependencyError(
            _("The extension {name} could not be installed.").format(name=_EXTENSION),
            code="not-installed",
            remedy=byHand,
        )
    raise DependencyError(
        _("The extension {name} is installed now.").format(name=_EXTENSION),
        code="restart",
        remedy=_("Restart Slicer, then go on here."),
    )


def installPyTorch(version: str, command: str) -> None:
    """Install PyTorch for this computer's GPU through the extension PyTorch.

    The extension's torchInstalled() is not asked: it imports torch, and raises where a package is
    half removed.

    Args:
        version: Which versions will do, such as ``>=2.6``.
        command: The same for a terminal.

    Raises:
        DependencyError: It could not be installed.
    """
    utils = importlib.import_module("PyTorchUtils")
    install = utils.PyTorchUtilsLogic().installTorch
    wanted = {"askConfirmation": False, "torchVersionRequirement": version}
    if not _accepts(install, wanted):
        message = _("The extension PyTorch has changed: its installTorch() takes other arguments.")
        raise failure(message, command)
    _run(lambda: install(**wanted), command)


def installPackages(requirements: list[str], command: str) -> None:
    """Install packages with Slicer's own means, and show what happens where there is a window.

    Args:
        requirements: As pip takes them.
        command: The same for a terminal.

    Raises:
        DependencyError: They could not be installed.
    """
    try:
        packaging = importlib.import_module("slicer.packaging")
    except ImportError:  # Slicer 5.10 and older
        _run(lambda: slicer.util.pip_install(requirements), command)
        return
    lines: list[str] = []
    shown = {"show_progress": slicer.util.mainWindow() is not None, "requester": "MISFM"}
    heard = {**shown, "logCallback": lines.append}
    known = (each for each in (heard, shown) if _accepts(packaging.pip_install, each))
    options = next(known, {})
    _run(lambda: packaging.pip_install(requirements, **options), command, lines)


def _accepts(function: Callable[..., Any], keywords: dict[str, Any]) -> bool:
    """Tell whether a function of somebody else still has the keywords that we know of."""
    return set(keywords) <= set(inspect.signature(function).parameters)


def _run(install: Callable[[], Any], command: str, lines: Sequence[str] = ()) -> None:
    """Install; `lines` get what pip says, of which the last one is the reason of a failure."""
    try:
        install()
    except (CalledProcessError, OSError, RuntimeError, ImportError, ValueError) as error:
        said = [line.strip() for line in lines if line.strip() and not line.startswith(_NO_REASON)]
        reason = said[-1] if said and isinstance(error, CalledProcessError) else error
        raise failure(
            _("The installation did not work: {error}").format(error=reason), command
        ) from error
    importlib.invalidate_caches()
