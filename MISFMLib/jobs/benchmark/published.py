"""What the paper reports on a data set, to stand below a table of one's own."""

from __future__ import annotations

from pathlib import Path

from MISFMLib.data.descriptions import read_json
from MISFMLib.errors import DataError
from MISFMLib.jobs.recipes.catalogue import read_recipes


def published_results(data: Path) -> list[str]:
    """Return a line for each published method, where `misfm recipes convert` made the data set.

    Args:
        data: The data set: a folder, or its dataset.json.
    """
    description = data / "dataset.json" if data.is_dir() else data
    try:
        title = read_json(description).get("name") if description.suffix == ".json" else None
    except DataError:
        return []
    found = [recipe for recipe in read_recipes().values() if recipe.title == title]
    return [
        f"Published Dice of {method} (its own split): "
        + ", ".join(f"{label} {score:.2f}" for label, score in scores.items())
        for recipe in found
        for method, scores in recipe.published.items()
    ]
