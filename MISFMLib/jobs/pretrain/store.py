"""Pretraining from training stores: what is in them, and the settings they were made with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from MISFMLib.configs import PretrainConfig, encode, raise_problems
from MISFMLib.data.store_building import read_recipe
from MISFMLib.data.store_index import is_store, join, to_location
from MISFMLib.data.stored_arrays import usable_entries
from MISFMLib.data.unlabelled import PreparedFile
from MISFMLib.files import write_json
from MISFMLib.jobs.train.run_folder import read_listing

_SETTINGS_OF_STORE = ("modality", "intensity", "spacing_dhw")


def uses_stores(config: PretrainConfig) -> bool:
    """Tell whether a pretraining reads from stores, not from volumes as they were scanned.

    Raises:
        ConfigError: It shall do both.
    """
    stores = [path for path in config.data if is_store(path)]
    if stores and len(stores) < len(config.data):
        others = ", ".join(str(path) for path in config.data if path not in stores)
        raise_problems(
            [f"{stores[0]} is a training store, {others} is none"],
            "Give stores only, or bring all volumes into one store with `misfm prepare`.",
        )
    return bool(stores)


def with_settings_of_stores(config: PretrainConfig) -> PretrainConfig:
    """Return the config with the settings that the stores were made with in place of its own.

    Raises:
        ConfigError: It has settings that would do nothing, or the stores differ in theirs.
        DataError: A store cannot be read.
    """
    problems = [
        f"{name} does nothing with a training store, which was made with its own"
        for name in _SETTINGS_OF_STORE
        if getattr(config, name) != getattr(PretrainConfig, name)
    ]
    preparations = {read_recipe(to_location(path)).preparation for path in config.data}
    if len(preparations) > 1:
        problems.append("the training stores were made with different settings")
    raise_problems(problems, "See the file store.json of each store.")
    preparation = preparations.pop()
    return replace(
        config,
        modality=preparation.modality,
        intensity=preparation.scheme,
        spacing_dhw=preparation.spacing_dhw,
    )


def stored_volumes(stores: Iterable[Path], listing: Path) -> dict[Path, PreparedFile]:
    """Return what is known of the volumes of stores, by the place of their arrays.

    Args:
        stores: Folders or URLs.
        listing: File that keeps the list for a run that goes on, whatever was added to the stores.
    """
    if listing.exists():
        return {file.path: file for file in read_listing(listing, PreparedFile)}
    files = [
        PreparedFile(
            path=Path(join(to_location(store), entry.array)),
            modality=entry.modality,
            orientation=entry.orientation,
            shape_dhw=entry.shape_dhw,
            spacing_dhw=entry.spacing_dhw,
            source=entry.path,
        )
        for store in stores
        for entry in usable_entries(to_location(store))
    ]
    write_json(listing, [encode(file) for file in files])
    return {file.path: file for file in files}
