"""One source of a training store: read, checked, brought into model space, written.

The work on a source depends on nothing but the source and the recipe, so it may run in any process
of any machine that sees the files.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from MISFMLib.configs import decode, encode
from MISFMLib.data.store_index import (
    ARRAYS,
    HELD_OUT,
    SETTINGS,
    StoreEntry,
    join,
    read_text,
)
from MISFMLib.data.store_sources import Source
from MISFMLib.data.stored_arrays import holds, write_array
from MISFMLib.data.unlabelled import Preparation, PreparedFile, UnlabelledFile, prepare_image
from MISFMLib.data.volume_checks import (
    Limits,
    check_hounsfield,
    check_series,
    check_volume,
    hash_voxels,
)
from MISFMLib.errors import ConfigError, DataError, MISFMError, OutputError, is_out_of_memory
from MISFMLib.files import parse_json
from MISFMLib.volumes.dicom import SeriesInfo, list_series
from MISFMLib.volumes.volume import Geometry, Volume, read_volume

logger = logging.getLogger(__name__)

STORE_FORMAT = 1
_VOLUME_ERRORS = (MISFMError, OSError, RuntimeError, ValueError, MemoryError)
"""What one bad volume can raise, through SimpleITK and torch too."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the volumes of a store are made."""

    preparation: Preparation
    limits: Limits


def read_recipe(location: str) -> Recipe:
    """Read how a store was made.

    Args:
        location: Folder, or URL that fsspec understands.

    Raises:
        DataError: There is no store that this version can read.
    """
    try:
        content = parse_json(read_text(join(location, SETTINGS)))
        if not isinstance(content, dict) or content.pop("format", None) != STORE_FORMAT:
            raise ValueError("another version of MISFM made it")
        return decode(Recipe, content)
    except (OSError, ValueError, ConfigError) as error:
        raise DataError(
            f"{location} is no training store that can be read: {error}.",
            code="store-unreadable",
            remedy="Make it with `misfm prepare`.",
        ) from error


def build_source(source: Source, recipe: Recipe, folder: Path) -> list[StoreEntry]:
    """Prepare the volumes of a source; one that is of no use becomes an entry with the reason.

    Args:
        source: Volume file, of which every channel is a volume, or DICOM folder, of which every
            series is.
        recipe: How volumes are made.
        folder: The store.

    Raises:
        OutputError: An array cannot be written.
    """
    if not source.path.is_dir():
        return _build(source, None, recipe, folder)
    try:
        found = list_series(source.path)
    except _VOLUME_ERRORS as error:
        return [quarantined(source, error)]
    return [entry for series in found for entry in _build(source, series, recipe, folder)]


def quarantined(source: Source, error: BaseException, series: str = "") -> StoreEntry:
    """Return the entry of a volume that is of no use."""
    if isinstance(error, MISFMError):
        reason, message = error.code, error.message
    elif is_out_of_memory(error):
        reason, message = "out-of-memory", "It does not fit into the memory."
    else:
        logger.warning("%s failed", source.name, exc_info=error)
        reason, message = "unexpected-error", f"{type(error).__name__}: {error}"
    # Folders of one machine say nothing elsewhere and may name persons.
    message = " ".join(message.replace(str(source.path), source.name).split())
    message = message.encode("utf-8", "backslashreplace").decode()
    return replace(_blank(source, series), reason=reason, message=message)


def _blank(source: Source, series: str = "") -> StoreEntry:
    return StoreEntry(path=source.name, series=series, signature=source.signature)


def _build(
    source: Source, series: SeriesInfo | None, recipe: Recipe, folder: Path
) -> list[StoreEntry]:
    uid = series.uid if series else None
    try:
        if series:
            check_series(series.modality, series.files)
        volume = read_volume(source.path, series=uid, num_channels=source.num_channels)
    except _VOLUME_ERRORS as error:
        return [quarantined(source, error, uid or "")]
    if source.num_channels == 1 or len(volume.array_CDHW) == 1:
        return [_keep(volume, uid or "", source, recipe, folder)]
    channels = [replace(volume, array_CDHW=channel[None]) for channel in volume.array_CDHW]
    return [
        _keep(channel, f"channel {number}", source, recipe, folder)
        for number, channel in enumerate(channels, 1)
    ]


def _keep(volume: Volume, series: str, source: Source, recipe: Recipe, folder: Path) -> StoreEntry:
    try:
        facts = _hold_out(volume) if source.is_held_out else _store(volume, source, recipe, folder)
        return replace(_blank(source, series), **facts)
    except OutputError:
        raise
    except _VOLUME_ERRORS as error:
        return quarantined(source, error, series)


def _hold_out(volume: Volume) -> dict[str, Any]:
    """Return what tells copies of a volume that must stay unseen."""
    return {
        "reason": HELD_OUT,
        "message": "Its data set keeps it for validation.",
        "sha256": hash_voxels(volume),
    }


def _store(volume: Volume, source: Source, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Write the array of a volume and return what is known of it."""
    check_volume(volume, recipe.limits)
    file = UnlabelledFile(source.path, source.modality)
    image_DHW, facts = prepare_image(volume, file, recipe.preparation)
    if facts.modality == "CT":
        check_hounsfield(volume)
    if facts.problem:
        raise DataError(facts.problem, code="nothing-left", remedy="Leave it out.")
    sha256 = hash_voxels(volume)
    array = _array_name(sha256, volume.geometry, facts, recipe.preparation)
    path = folder / array
    if not holds(path, image_DHW):
        write_array(image_DHW, path)
    return {
        "status": "ok",
        "modality": facts.modality,
        "orientation": facts.orientation,
        "shape_dhw": facts.shape_dhw,
        "spacing_dhw": facts.spacing_dhw,
        "sha256": sha256,
        "array": array,
        "bytes": path.stat().st_size,
    }


def _array_name(
    sha256: str, geometry: Geometry, facts: PreparedFile, preparation: Preparation
) -> str:
    """Name an array by all that it follows from, so that a name never stands for two arrays."""
    space = replace(preparation.model_space(facts.modality, facts.orientation), modality="other")
    # Where voxels stay as they are, copies of a volume share an array though one file rounds.
    spacing_dhw = geometry.spacing_dhw if preparation.spacing_dhw else None
    origin = json.dumps([sha256, encode(space), spacing_dhw])
    name = hashlib.sha256(origin.encode()).hexdigest()[:32]
    return f"{ARRAYS}/{name[:2]}/{name}.b2nd"
