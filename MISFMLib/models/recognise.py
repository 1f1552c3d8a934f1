"""What kind of model a file or folder is, from the names in it; needs no torch."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from MISFMLib.files import real_path
from MISFMLib.models.bundle_files import METADATA

Kind = Literal["bundle", "monai", "nnunet", "checkpoint"]
_DEEPEST = 8
"""Folders below the one that was given in which a model is looked for."""
NNUNET_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth")
"""Checkpoints of nnU-Net v2, the one that is taken first."""
_OF_NNUNET = {"plans.json", *NNUNET_CHECKPOINTS}
_OF_NNUNET_1 = {"plans.pkl", "model_final_checkpoint.model", "model_best.model"}


def kind_of(path: Path) -> Kind:
    """Tell what a model is: ours, of MONAI's form, results of nnU-Net, or a checkpoint.

    What is none of these is taken for a bundle of ours, so that its import says what is missing.
    """
    if any((above / "plans.json").is_file() for above in (path.parent, path.parent.parent)):
        return "nnunet"  # a fold or a checkpoint of its results; the import says what to give
    is_file = not path.is_dir()
    if is_file and path.name in _OF_NNUNET:
        return "nnunet"
    if is_file and path.suffix.lower() in (".pt", ".pth"):
        return "checkpoint"
    names = _names(path)
    metadata = [name for name in names if f"/{name}".endswith(f"/{METADATA}")]
    if metadata:
        outermost = min(metadata, key=len)
        return "bundle" if _is_ours(path, outermost) else "monai"
    is_nnunet = any(PurePosixPath(name).name in _OF_NNUNET | _OF_NNUNET_1 for name in names)
    return "nnunet" if is_nnunet else "bundle"


def is_of_nnunet_1(path: Path) -> bool:
    """Tell whether a folder or zip holds results of the first nnU-Net, which are pickled."""
    return any(PurePosixPath(name).name in _OF_NNUNET_1 for name in _names(path))


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, those in linked folders too."""
    seen = {str(parent) for parent in real_path(folder).parents}
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [name for name in folders if os.path.realpath(Path(place, name)) not in seen]
        yield from (Path(place, name) for name in names)


def _names(path: Path) -> list[str]:
    if path.is_dir():
        files = (file.relative_to(path) for file in files_below(path))
        return [file.as_posix() for file in files if len(file.parts) <= _DEEPEST]
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.replace("\\", "/") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError):
        return []


def _is_ours(path: Path, name: str) -> bool:
    try:
        if path.is_dir():
            content = (path / name).read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                content = archive.read(name)
        values = json.loads(content)
    except (OSError, ValueError, RecursionError, zipfile.BadZipFile, NotImplementedError):
        return True
    return not isinstance(values, dict) or "misfm" in values or "network_data_format" not in values
