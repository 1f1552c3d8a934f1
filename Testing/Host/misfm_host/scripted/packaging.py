"""`slicer.packaging`: the same names and keywords, but the host installs nothing."""

import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement


def load_requirements(path):
    """Read a requirements.txt."""
    lines = (line.split("#")[0].strip() for line in Path(path).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def pip_check(req):
    """Whether requirements are installed."""
    requirements = req if isinstance(req, list) else [req]
    return all(_is_installed(Requirement(str(requirement))) for requirement in requirements)


def _is_installed(requirement):
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def pip_ensure(
    requirements,
    constraints=None,
    skip_packages=None,
    prompt_install=True,
    prompt_restart=True,
    requester=None,
    skip_in_testing=True,
    show_progress=True,
):
    """Install what is missing."""
    wanted = requirements if isinstance(requirements, list) else [requirements]
    missing = [requirement for requirement in wanted if not pip_check(requirement)]
    if missing:
        pip_install([str(requirement) for requirement in missing])


def pip_install(
    requirements,
    constraints=None,
    no_deps_requirements=None,
    skip_packages=None,
    blocking=True,
    show_progress=True,
    requester=None,
    logCallback=None,
    completedCallback=None,
):
    """Refuse; a test that expects an installation replaces this function."""
    raise RuntimeError(f"The test host installs nothing: {requirements}")


def pip_uninstall(requirements, blocking=True, logCallback=None, completedCallback=None):
    """Refuse; a test that expects it replaces this function."""
    raise RuntimeError(f"The test host uninstalls nothing: {requirements}")


def isPipInstallInProgress():
    """Whether pip is running."""
    return False
