"""The files of a local copy: which belong to which case, and which to none."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from MISFMLib.errors import DataError
from MISFMLib.jobs.recipes.catalogue import Recipe, read_recipes

_IGNORED = (".json", ".txt", ".md", ".csv", ".pdf", ".xml", ".xlsx", ".zip", ".gz.aria2")


@dataclass
class CaseFiles:
    """What belongs to one case."""

    images: list[Path] = field(default_factory=list)
    labels: dict[str, Path] = field(default_factory=dict)
    """By structure (masks) or slice (slices); else one under the empty name."""


@dataclass(frozen=True)
class LocalCopy:
    """A folder, sorted."""

    folder: Path
    cases: Mapping[str, CaseFiles]
    unexpected: tuple[Path, ...]
    """Volumes that the recipe has no place for."""

    def complete(self) -> dict[str, CaseFiles]:
        """Return the cases that have an image and a label."""
        return {name: case for name, case in self.cases.items() if case.images and case.labels}


def sort_files(folder: Path, recipe: Recipe) -> LocalCopy:
    """Sort the files below a folder.

    Raises:
        DataError: The folder does not exist.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder.", code="file-missing", remedy="Give the unpacked download."
        )
    image, label = re.compile(recipe.image), re.compile(recipe.label)
    omit = re.compile(recipe.omit) if recipe.omit else None
    cases: dict[str, CaseFiles] = defaultdict(CaseFiles)
    unexpected = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        relative = path.relative_to(folder).as_posix()
        found = label.fullmatch(relative) or image.fullmatch(relative)
        if found is None:
            if not path.name.lower().endswith(_IGNORED):
                unexpected.append(path)
        elif omit and omit.fullmatch(found["case"]):
            continue
        elif found.re is label:
            parts = found.groupdict()
            cases[found["case"]].labels[parts.get("structure") or parts.get("slice") or ""] = path
        else:
            cases[found["case"]].images.append(path)
    return LocalCopy(folder, dict(sorted(cases.items())), tuple(unexpected))


def recognise(folder: Path) -> Recipe:
    """Return the recipe that has a place for most of the files.

    Raises:
        DataError: None fits.
    """
    recipes = read_recipes()
    if (folder / "dataset.json").is_file() and (folder / "imagesTr").is_dir():
        return recipes["msd"]
    complete = {
        name: len(sort_files(folder, recipe).complete())
        for name, recipe in recipes.items()
        if recipe.layout != "decathlon"
    }
    best = max(complete, key=lambda name: complete[name])
    if not complete[best]:
        raise DataError(
            f"{folder} does not look like any data set that there is a recipe for.",
            code="recipe-not-found",
            remedy="Name it with --recipe, and see `misfm recipes list`.",
        )
    return recipes[best]
