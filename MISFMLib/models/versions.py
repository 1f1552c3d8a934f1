"""Earlier versions of the user's own models: a model that is replaced can be brought back."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from MISFMLib.errors import BundleError
from MISFMLib.files import written_atomically
from MISFMLib.models import bundle_files, store
from MISFMLib.models.bundle import Bundle, read_bundle
from MISFMLib.models.bundle_manifest import MEAN_DICE, is_model_name


@dataclass(frozen=True)
class Version:
    """An earlier version of a model."""

    number: int
    """1 for the first that was replaced."""
    path: Path
    """Its bundle."""
    mean_dice: float | None
    """Mean Dice of its labels on its held-out cases; None when it was not evaluated."""


def versions_folder(name: str) -> Path:
    """Return the folder of a model's earlier versions, which may not exist yet."""
    return store.home() / "versions" / name


def keep_model(path: Path, name: str) -> Bundle:
    """Install a bundle as a model of the user's own; what has this name becomes a version.

    Args:
        path: Bundle folder.
        name: Name to install it under.

    Raises:
        BundleError: The bundle is damaged, or the name is not allowed.
        OutputError: The store cannot be written; the model that was there stays.
    """
    _check(read_bundle(path), name)
    installed = store.models_folder() / name
    if installed.is_dir():
        target = versions_folder(name) / f"{_newest(name) + 1:04d}"
        with written_atomically(target) as temporary:
            shutil.copytree(installed, temporary)
    with written_atomically(installed, overwrite=True, foreign=store.foreign_model) as temporary:
        bundle_files.copy_files(path, temporary)
    return read_bundle(installed)


def list_versions(name: str) -> list[Version]:
    """Return the earlier versions of a model, the newest first."""
    folders = sorted(versions_folder(name).glob("[0-9]*"), reverse=True)
    return [Version(int(folder.name), folder, _mean_dice(folder)) for folder in folders]


def bring_back(name: str, number: int) -> Bundle:
    """Make an earlier version the model again; what it replaces becomes a version itself.

    Raises:
        BundleError: There is no such version, or it is damaged.
        OutputError: The store cannot be written.
    """
    wanted = next((each for each in list_versions(name) if each.number == number), None)
    if wanted is None:
        raise BundleError(
            f"The model {name} has no earlier version {number}.",
            code="model-unknown",
            remedy="Choose one of its versions.",
        )
    return keep_model(wanted.path, name)


def _check(bundle: Bundle, name: str) -> None:
    """Refuse what `store.import_model` would; without safetensors, since Slicer may lack it."""
    weights = bundle_files.read_file(bundle.path, bundle_files.WEIGHTS)
    if hashlib.sha256(weights).hexdigest() != bundle.manifest.weights_sha256:
        raise BundleError(
            f"The weights in {bundle.path} are not the ones its manifest names.",
            code="bundle-checksum",
            remedy="Train again; the model that was there is as it was.",
        )
    is_bundled = any(
        entry.name == name and entry.origin == "bundled" for entry in store.list_models()
    )
    if is_bundled or not is_model_name(name):
        raise BundleError(
            f"A model cannot be called {name!r}.",
            code="model-name",
            remedy="Choose another name: letters, digits, '.', '-' and '_', and none that a "
            "bundled model has.",
        )


def _newest(name: str) -> int:
    return max((each.number for each in list_versions(name)), default=0)


def _mean_dice(folder: Path) -> float | None:
    try:
        found = read_bundle(folder).manifest.evaluation.get(MEAN_DICE)
    except BundleError:
        return None
    return float(found) if isinstance(found, int | float) else None
