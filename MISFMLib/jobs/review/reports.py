"""What the report of a segmented case tells a person who checks its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MISFMLib.files import parse_json, read_text


@dataclass(frozen=True)
class Told:
    """What was noticed while a case was segmented."""

    warnings: tuple[str, ...] = ()
    certainty: float | None = None
    """How sure the model was, 0 to 1; None where nobody asked."""
    place_dhw: tuple[int, int, int] | None = None
    """Voxel where it wavered most."""

    def lies_in(self, shape_dhw: tuple[int, ...]) -> bool:
        """Tell whether that voxel is one of a volume, which need not be that of the report."""
        place = self.place_dhw or (-1,)
        return all(0 <= index < size for index, size in zip(place, shape_dhw, strict=False))


def told_by(path: Path | None) -> Told:
    """Read the report of a case; of one that is not there or not ours nothing is told."""
    try:
        content = parse_json(read_text(path)) if path is not None else None
        return _told(content) if isinstance(content, dict) else Told()
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return Told()


def _told(content: dict[str, Any]) -> Told:
    given = content.get("certainty")
    sure = None if given is None else float(given)
    places = content.get("where_to_look") or []
    warnings = tuple(str(notice) for notice in content.get("notices", ()))
    if not places:
        return Told(warnings, sure)
    width, height, depth = map(int, places[0]["index_ijk"])
    labels = " and ".join(map(str, places[0]["labels"]))
    waver = f"The model wavers most between {labels}: the planes show where."
    return Told((*warnings, waver), sure, (depth, height, width))
