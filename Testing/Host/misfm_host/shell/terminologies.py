"""Slicer's terminology files, which its wheel lacks: the same categories, types and modifiers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

_REGIONS = Path(__file__).parent.parent / "terminologies"
_TABLE = Path(__file__).resolve().parents[4] / "MISFMLib" / "models" / "terminology.json"
"""What the two lists hold, compared with Slicer's own files by a test in real Slicer."""
_SIDES = {
    "B": ("51440002", "Right and left"),
    "L": ("7771000", "Left"),
    "R": ("24028007", "Right"),
}
_FILES = {
    3: "SegmentationCategoryTypeModifier-SlicerGeneralAnatomy.term.json",
    4: "SegmentationCategoryTypeModifier-DICOM-Master.term.json",
}
"""By column of the table."""
_GREY = [128, 174, 128]


def write_terminologies(folder: Path) -> None:
    """Write the lists of segments and, shortened, of regions as Slicer keeps them."""
    shutil.copytree(_REGIONS, folder, dirs_exist_ok=True)
    table = json.loads(_TABLE.read_text("utf-8"))
    for column, name in enumerate(table["lists"], start=3):
        categories = [
            {**_code(code, meaning), "showAnatomy": True, "Type": _types(table, meaning, column)}
            for meaning, code in table["categories"].items()
        ]
        content = {
            "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas"
            "/segment-context-schema.json#",
            "SegmentationCategoryTypeContextName": name,
            "SegmentationCodes": {"Category": categories},
        }
        (folder / _FILES[column]).write_text(json.dumps(content), "utf-8")


def _types(table: dict[str, Any], category: str, column: int) -> list[dict[str, Any]]:
    return [
        {
            **_code(row[1], row[2]),
            "recommendedDisplayRGBValue": _GREY,
            **({"Modifier": [_code(*_SIDES[side]) for side in row[column]]} if row[column] else {}),
        }
        for row in table["types"]
        if row[0] == category and row[column] is not None
    ]


def _code(value: str, meaning: str) -> dict[str, Any]:
    return {"CodeMeaning": meaning, "CodingSchemeDesignator": "SCT", "CodeValue": value}
