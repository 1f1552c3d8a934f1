"""The recipes: what is known about each public data set, each fact with its source."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from MISFMLib.errors import ConfigError
from MISFMLib.resources import resource_path


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One data set."""

    name: str
    title: str
    address: str
    """Where its owners offer it."""
    licence: str
    modality: Literal["CT", "MR", "other"]
    cases: int
    """Labelled cases of the download; 0 when that differs."""
    layout: Literal["pairs", "masks", "slices", "series", "decathlon"]
    """pairs: a file of each kind. masks: a mask for each structure. slices: DICOM slices, and a
    picture of labels for each. series: a folder of DICOM, and a label map. decathlon: as wanted."""
    image: str
    """Pattern of an image's path below the folder, with the group ``case``."""
    label: str
    """Pattern of a label's path, with ``case`` and for masks ``structure``."""
    labels: Mapping[int, str]
    """Value and name in the result."""
    values: Mapping[int, int] = field(default_factory=dict)
    """Grey value of the download to value of the result, where they differ."""
    structures: Mapping[str, int] = field(default_factory=dict)
    """Name of a mask's file to value; empty takes all masks by the alphabet."""
    validation: tuple[str, ...] = ()
    """Cases that are usually held out."""
    omit: str = ""
    """Pattern of cases that do not belong to the task."""
    patch_size: tuple[int, ...] = ()
    """Published patch."""
    facts: tuple[tuple[str, str], ...] = ()
    """What good guesses get wrong, each with its source."""
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Mean Dice in per cent by method and structure: MIS-FM, arXiv 2306.16925 and IEEE TIP 2025."""


def read_recipes() -> dict[str, Recipe]:
    """Return all recipes by name."""
    content = json.loads(resource_path("recipes.json").read_text("utf-8"))
    return {entry["name"]: _recipe(entry) for entry in content}


def find_recipe(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        ConfigError: There is none of this name.
    """
    recipes = read_recipes()
    if name not in recipes:
        close = difflib.get_close_matches(name, recipes, n=1)
        raise ConfigError(
            f"There is no recipe {name!r}.",
            code="recipe-not-found",
            remedy=f"Did you mean {close[0]}?" if close else f"There are {', '.join(recipes)}.",
        )
    return recipes[name]


def _recipe(entry: Mapping[str, Any]) -> Recipe:
    numbers = {
        "labels": {int(value): name for value, name in entry["labels"].items()},
        "values": {int(a): int(b) for a, b in entry.get("values", {}).items()},
        "validation": tuple(entry.get("validation", ())),
        "patch_size": tuple(entry.get("patch_size", ())),
        "facts": tuple((fact, source) for fact, source in entry["facts"]),
    }
    return Recipe(**{**entry, **numbers})
