"""The models of this machine: the user's own, the bundled ones, and those that can be had.

Own models are folders in ``models/`` of the store: ``$MISFM_HOME``, or the user's data folder of
the platform. Bundled models lie in ``Resources/Models`` and are never changed. Needs no torch.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from MISFMLib.errors import BundleError
from MISFMLib.events import EventSink, Notice, ignore_events
from MISFMLib.files import check_output, written_atomically
from MISFMLib.models import bundle_files
from MISFMLib.models.bundle import Bundle, read_bundle, verify_bundle, zip_bundle
from MISFMLib.models.bundle_manifest import is_model_name
from MISFMLib.models.catalogue import CatalogueEntry, few_of, meant, read_catalogue
from MISFMLib.models.download import Source, download
from MISFMLib.replacing import finish_replacements
from MISFMLib.resources import resource_path

_NO_HOME = Path(os.devnull, "MISFM")
"""Where there is no home: nothing is ever found below it, and nothing can be written."""


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One line of the list of models; JSON types only."""

    name: str
    """Name to call it by."""
    origin: Literal["mine", "bundled", "available"]
    """mine: in the store. bundled: comes with MISFM. available: not on this machine yet."""
    title: str
    """Name for people."""
    kind: str = ""
    """segmentation or pretrained; empty for a model that is not here."""
    version: str = ""
    """Version of the model; empty for a model that is not here."""
    license: str = ""
    """Licence."""
    path: str = ""
    """Folder of the model; empty for a model that is not here."""
    problem: str = ""
    """Why it cannot be used; empty when it can."""


def home() -> Path:
    """Return the folder of the model store, which may not exist yet."""
    chosen = os.environ.get("MISFM_HOME")
    try:
        return Path(chosen).expanduser() if chosen else _user_data_folder() / "MISFM"
    except RuntimeError:  # Containers and batch systems run as users without name and home.
        return _NO_HOME


def _user_data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def models_folder() -> Path:
    """Return the folder of the user's own models, which may not exist yet."""
    return home() / "models"


def engines_folder(weights_sha256: str) -> Path:
    """Return the folder of what a model was converted to, which may not exist yet."""
    # Hashed once more, since a manifest may say anything.
    return home() / "engines" / hashlib.sha256(weights_sha256.encode()).hexdigest()[:16]


def has_int8(weights_sha256: str) -> bool:
    """Tell whether `misfm quantize` has made a version of these weights for this computer."""
    return any(engines_folder(weights_sha256).glob("*-int8/network.bin"))


def list_models() -> list[ModelEntry]:
    """Return own, bundled and available models, each group by name; damaged ones with a reason."""
    mine, bundled = _folders(models_folder()), _bundled_folders()
    entries = [_installed_entry(path, "mine") for path in mine.values()]
    entries += [_installed_entry(path, "bundled") for path in bundled.values()]
    return entries + [
        ModelEntry(name=entry.name, origin="available", title=entry.title, license=entry.license)
        for entry in _obtainable()
        if entry.name not in mine and entry.name not in bundled
    ]


def find_model(name_or_path: str | Path) -> Bundle:
    """Return an installed model by its name, or a bundle by the path of its folder or zip.

    An own model goes before a bundled one of the same name, and a name before a path.

    Raises:
        BundleError: There is no such model, or it is damaged.
    """
    installed = _bundled_folders() | _folders(models_folder())
    name = str(name_or_path)
    if name in installed:
        return read_bundle(installed[name])
    finish_replacements(Path(name_or_path).parent)
    if Path(name_or_path).exists():
        return read_bundle(name_or_path)
    for entry in _obtainable():
        if entry.name == name:
            raise BundleError(
                f"The model {name} is not installed.",
                code="model-absent",
                remedy=_how_to_get(entry),
            )
    names = [*installed, *(entry.name for entry in _obtainable())]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise BundleError(
        f"There is no model or file {name}; installed are {', '.join(installed) or 'none'}.",
        code="model-unknown",
        remedy=f"{hint}See `misfm models list`, or give the path of a bundle.",
    )


def is_installed(name: str) -> bool:
    """Tell whether a model of this name is here."""
    return name in _bundled_folders() | _folders(models_folder())


def import_model(path: Path, *, name: str | None = None, overwrite: bool = False) -> Bundle:
    """Verify a bundle folder or zip and copy it into the store.

    Args:
        path: Bundle folder or zip.
        name: Name to install it under; the bundle's own name when not given.
        overwrite: Replace an own model of that name.

    Raises:
        BundleError: The bundle is damaged or unsafe, or the name is not allowed.
        OutputError: An own model has that name already, or the store cannot be written.
    """
    bundle = read_bundle(path)
    verify_bundle(bundle)
    name = name or bundle.manifest.name
    if name in _bundled_folders() or not is_model_name(name):
        raise BundleError(
            f"A model cannot be installed as {name!r}.",
            code="model-name",
            remedy="Choose another with --name: letters, digits, '.', '-' and '_', and none that "
            "a bundled model has.",
        )
    folder = models_folder() / name
    with written_atomically(folder, overwrite=overwrite, foreign=foreign_model) as temporary:
        bundle_files.copy_files(bundle.path, temporary)
    return read_bundle(folder)


def foreign_model(folder: Path) -> str:
    """Say why a folder of the store is no model, or nothing; an imported one may hold any file."""
    is_model = (folder / bundle_files.METADATA).is_file()
    return "" if is_model else "it is a folder, but no model"


def export_model(name_or_path: str | Path, path: Path, *, overwrite: bool = False) -> Path:
    """Verify a model and write it as one zip.

    Raises:
        BundleError: There is no such model, or it is damaged.
        OutputError: The zip exists already or cannot be written.
    """
    check_output(path, overwrite=overwrite)
    return zip_bundle(find_model(name_or_path), path, overwrite=overwrite)


def verify_model(name_or_path: str | Path) -> Bundle:
    """Check that a model is complete and its weights are the ones its manifest names.

    Raises:
        BundleError: There is no such model, or it is damaged.
    """
    bundle = find_model(name_or_path)
    verify_bundle(bundle)
    return bundle


def remove_model(name: str) -> None:
    """Delete an own model and what it was converted to.

    Raises:
        BundleError: There is no own model of that name.
    """
    mine = _folders(models_folder())
    if name not in mine:
        what = "comes with MISFM" if name in _bundled_folders() else "is none of your models"
        raise BundleError(
            f"{name} cannot be removed: it {what}.",
            code="model-not-removable",
            remedy=f"Your own models are: {', '.join(mine) or 'none'}.",
        )
    with contextlib.suppress(BundleError):  # a damaged model was never converted
        weights_sha256 = read_bundle(mine[name]).manifest.weights_sha256
        shutil.rmtree(engines_folder(weights_sha256), ignore_errors=True)
    shutil.rmtree(mine[name])


def fetch_model(name: str, events: EventSink = ignore_events) -> Bundle:
    """Download a model of the catalogue, check it and install it; an installed one is returned.

    Raises:
        BundleError: The catalogue does not know it, only people can get it (code
            ``manual-download``), or the download fails.
        OutputError: The file does not fit on the disk or cannot be written.
    """
    if name in _bundled_folders() | _folders(models_folder()):
        events(Notice(f"{name} is installed already.", level="info"))
        return find_model(name)
    obtainable = {entry.name: entry for entry in _obtainable()}
    if name not in obtainable:
        raise BundleError(
            f"The catalogue has no model {name}; it has {few_of(list(obtainable))}.",
            code="model-unknown",
            remedy=f"{meant(name, list(obtainable))}Choose one of `misfm models list`, or install "
            "a file with `misfm models import FILE`.",
        )
    entry = obtainable[name]
    if not entry.url or not entry.sha256:
        raise BundleError(
            f"{name} cannot be downloaded by a program.",
            code="manual-download",
            remedy=_how_to_get(entry),
        )
    archive = home() / "downloads" / f"{name}.zip"
    download(Source(entry.url, entry.sha256), archive, events)
    try:
        return import_model(archive, name=name)
    finally:
        archive.unlink()


def _how_to_get(entry: CatalogueEntry) -> str:
    if entry.url:
        return f"Get it with `misfm models fetch {entry.name}`."
    return (
        f"Download {entry.file} in a browser from {entry.page} and install it with "
        f"`misfm models import {entry.file}`."
    )


def _obtainable() -> list[CatalogueEntry]:
    return [entry for entry in read_catalogue() if entry.kind != "bundled"]


def _bundled_folders() -> dict[str, Path]:
    try:
        return _folders(resource_path("Models"))
    except FileNotFoundError:
        return {}


def _folders(parent: Path) -> dict[str, Path]:
    """Return the models in a folder by name; unfinished ones start with a dot and do not count."""
    finish_replacements(parent)
    if not parent.is_dir():
        return {}
    folders = sorted(path for path in parent.iterdir() if path.is_dir())
    return {path.name: path for path in folders if not path.name.startswith(".")}


def _installed_entry(path: Path, origin: Literal["mine", "bundled"]) -> ModelEntry:
    try:
        manifest = read_bundle(path).manifest
    except BundleError as error:
        return ModelEntry(
            name=path.name, origin=origin, title="", path=str(path), problem=error.message
        )
    return ModelEntry(
        name=path.name,
        origin=origin,
        title=manifest.title or manifest.description,
        kind=manifest.kind,
        version=manifest.version,
        license=manifest.license,
        path=str(path),
    )
