"""Models to ship: one folder or zip in MONAI Bundle layout, checked before anything is loaded.

Layout: https://monai.readthedocs.io/en/stable/mb_specification.html, but the weights are kept as
safetensors, never as pickle, and our own settings stand in the metadata under the key ``misfm``.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from MISFMLib.configs import decode
from MISFMLib.errors import BundleError, ConfigError
from MISFMLib.files import check_output, parse_json, write_whole, written_atomically
from MISFMLib.models import bundle_card, bundle_files, bundle_metadata
from MISFMLib.models.bundle_manifest import BundleManifest

__all__ = [
    "Bundle",
    "BundleManifest",
    "check_bundle_output",
    "read_bundle",
    "read_card",
    "read_part",
    "read_previous",
    "read_weights",
    "verify_bundle",
    "write_bundle",
    "zip_bundle",
]


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest has been read and whose files are complete."""

    path: Path
    """Folder or zip."""
    manifest: BundleManifest
    """What its metadata says."""


def read_bundle(path: Path | str) -> Bundle:
    """Read the manifest of a bundle folder or zip; the weights stay untouched.

    Raises:
        BundleError: It is no bundle, is incomplete or unsafe, or was written by a newer version.
    """
    path = Path(path)
    bundle_files.list_files(path)
    return Bundle(path, _manifest(path, bundle_files.read_file(path, bundle_files.METADATA)))


@functools.lru_cache(maxsize=256)  # the panel lists all models whenever something has changed
def _manifest(path: Path, metadata: bytes) -> BundleManifest:
    values = bundle_metadata.own_values(path, _parsed(path, metadata))
    try:
        return decode(BundleManifest, values)
    except ConfigError as error:
        raise BundleError(
            f"{path} has a manifest that cannot be used: {error.message}",
            code="bundle-bad-manifest",
            remedy="Get the bundle again, or update MISFM.",
        ) from error


def verify_bundle(bundle: Bundle) -> None:
    """Check that a bundle is complete, undamaged and holds usable weights.

    Raises:
        BundleError: It is not what its manifest says, or no longer what was read.
    """
    if read_bundle(bundle.path).manifest != bundle.manifest:
        raise _unusable(bundle, "its manifest has changed since it was read", "bundle-changed")
    read_weights(bundle)
    if bundle.path.is_dir():
        for nested in _nested_bundles(bundle):
            verify_bundle(nested)


def _nested_bundles(bundle: Bundle) -> list[Bundle]:
    """Return the models that a bundle brings along."""
    manifest = bundle.manifest
    nested = [read_part(bundle, name) for name in manifest.parts]
    return [read_previous(bundle), *nested] if manifest.preprocessing.previous_labels else nested


def read_weights(bundle: Bundle) -> dict[str, np.ndarray]:
    """Return the weights by name, in the number format of the file.

    The bytes are hashed, compared with the manifest and only then interpreted.

    Raises:
        BundleError: The file is missing or damaged, is not the one the manifest names, or holds
            something else than finite numbers.
    """
    content = bundle_files.read_file(bundle.path, bundle_files.WEIGHTS)
    found, expected = hashlib.sha256(content).hexdigest(), bundle.manifest.weights_sha256
    if found != expected:
        what = f"the weights have SHA-256 {found}, the manifest names {expected or 'none'}"
        raise _unusable(bundle, what, "bundle-checksum")
    import safetensors.numpy  # late: Slicer lists models before it has installed what they need

    try:
        weights: dict[str, np.ndarray] = safetensors.numpy.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        what = f"the weights are no safetensors file of NumPy types ({error})"
        raise _unusable(bundle, what, "bundle-bad-weights") from error
    problem = _weights_problem(weights)
    if problem:
        raise _unusable(bundle, problem, "bundle-bad-weights")
    return weights


def read_previous(bundle: Bundle) -> Bundle:
    """Return the model before this one in a cascade, which lies in the folder of the bundle.

    Raises:
        BundleError: It is missing or damaged, or the bundle is a zip.
    """
    return _nested(bundle, bundle_files.PREVIOUS)


def read_part(bundle: Bundle, name: str) -> Bundle:
    """Return one of the models that segment together with this one.

    Raises:
        BundleError: It is missing or damaged, or the bundle is a zip.
    """
    return _nested(bundle, f"{bundle_files.PARTS}/{name}")


def _nested(bundle: Bundle, place: str) -> Bundle:
    if bundle.path.is_file():
        raise BundleError(
            f"{bundle.path} holds several models, which are not run from a zip.",
            code="bundle-zipped-models",
            remedy="Import it with `misfm models import` first.",
        )
    return read_bundle(bundle.path / place)


def read_card(bundle: Bundle) -> str:
    """Return the model card in Markdown."""
    return bundle_files.read_file(bundle.path, bundle_files.CARD).decode("utf-8", "replace")


def write_bundle(
    folder: Path,
    manifest: BundleManifest,
    weights: Mapping[str, np.ndarray],
    *,
    previous: tuple[BundleManifest, Mapping[str, np.ndarray]] | None = None,
    parts: Mapping[str, tuple[BundleManifest, Mapping[str, np.ndarray]]] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write a complete bundle folder: metadata, inference config, weights, card, licence.

    Args:
        folder: Where the bundle shall be.
        manifest: Its ``weights_sha256`` is replaced by that of the weights.
        weights: Arrays by the name they have in the network's state.
        previous: Manifest and weights of the model before this one in a cascade.
        parts: Those of the models in `manifest.parts`, by their names.
        overwrite: Replace a bundle that is already there.

    Raises:
        BundleError: There are no weights, or some are not finite.
        OutputError: The folder exists already or cannot be written.
    """
    files = _contents(manifest, weights)
    if previous is not None:
        nested = _contents(*previous)
        files |= {f"{bundle_files.PREVIOUS}/{name}": data for name, data in nested.items()}
    for part, content in (parts or {}).items():
        place = f"{bundle_files.PARTS}/{part}"
        files |= {f"{place}/{name}": data for name, data in _contents(*content).items()}
    foreign = bundle_files.foreign_content
    with written_atomically(folder, overwrite=overwrite, foreign=foreign) as temporary:
        for name, data in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(temporary / name, data)
    return read_bundle(folder)


def _contents(manifest: BundleManifest, weights: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Return the files of a bundle by name."""
    import safetensors.numpy

    problem = _weights_problem(weights)
    if problem:
        raise BundleError(
            f"The weights of {manifest.name} cannot be stored: {problem}.",
            code="bundle-bad-weights",
            remedy="Train again; if they became infinite in float16, store them in float32.",
        )
    # order="C" and not ascontiguousarray, which would turn scalars into vectors
    arrays = {name: np.asarray(array, order="C") for name, array in weights.items()}
    content = safetensors.numpy.save(arrays, metadata={"format": "pt"})
    manifest = replace(manifest, weights_sha256=hashlib.sha256(content).hexdigest())
    return {
        bundle_files.METADATA: _to_json(bundle_metadata.metadata(manifest)),
        bundle_files.INFERENCE: _to_json(bundle_metadata.inference_config(manifest.network)),
        bundle_files.WEIGHTS: content,
        bundle_files.CARD: bundle_card.card_text(manifest).encode(),
        bundle_files.LICENSE: bundle_card.license_text(manifest).encode(),
    }


def zip_bundle(bundle: Bundle, path: Path, *, overwrite: bool = False) -> Path:
    """Pack a verified bundle into one zip; the same bundle gives the same bytes.

    Raises:
        BundleError: The bundle is damaged.
        OutputError: The zip exists already or cannot be written.
    """
    verify_bundle(bundle)
    contents = {
        f"{bundle.manifest.name}/{name}": bundle_files.read_file(bundle.path, name)
        for name in bundle_files.list_files(bundle.path)
    }
    with written_atomically(path, overwrite=overwrite, check=_check_zip) as temporary:
        bundle_files.pack_zip(contents, temporary)
    return path


def _check_zip(path: Path) -> None:
    """Read a zip back: its members hold checksums.

    Raises:
        OSError: It is not as it was written.
    """
    with zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            raise OSError(errno.EIO, f"{broken} was not written whole")


def check_bundle_output(folder: Path, *, overwrite: bool) -> None:
    """Refuse, before any work, a folder that `write_bundle` will not write.

    Raises:
        OutputError: It exists and may not be replaced, or cannot be written.
    """
    check_output(folder, overwrite=overwrite, foreign=bundle_files.foreign_content)


def _parsed(path: Path, metadata: bytes) -> Any:
    try:
        return parse_json(metadata.decode("utf-8"))
    except ValueError as error:
        raise BundleError(
            f"{path} is damaged: {bundle_files.METADATA} is no JSON ({error}).",
            code="bundle-damaged",
            remedy="Get the bundle again.",
        ) from error


def _to_json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _weights_problem(weights: Mapping[str, np.ndarray]) -> str:
    if not weights:
        return "there are none"
    broken = [name for name, array in weights.items() if not np.isfinite(array).all()]
    return f"{', '.join(broken[:3])} holds NaN or infinity" if broken else ""


def _unusable(bundle: Bundle, what: str, code: str) -> BundleError:
    return BundleError(
        f"{bundle.path} cannot be used: {what}.",
        code=code,
        remedy="Get the bundle again; do not use this copy.",
    )
