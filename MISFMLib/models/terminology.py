"""Codes and colours of structures, so that every program knows what a label is.

A name is looked up in the two lists that 3D Slicer comes with (5.12 and 5.13), the second of which
is DICOM's list of segmented properties. Case, order of the words, underscores, plurals and numbers
do not matter: ``kidney_right``, ``Kidney_R`` and ``Right kidney`` are one. What no list can say,
such as anterior or the number of a vertebra, stands in the name alone: Slicer shows a code that it
does not find in the list as none.
"""

from __future__ import annotations

import colorsys
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from MISFMLib.configs import Code, LabelConfig

_TISSUE = Code("85756007", "SCT", "Tissue")
_SIDES = {
    "left": ("L", Code("7771000", "SCT", "Left")),
    "right": ("R", Code("24028007", "SCT", "Right")),
    "both": ("B", Code("51440002", "SCT", "Right and left")),
}
_ANOTHER_SIDE = {"l": "left", "r": "right", "lt": "left", "rt": "right", "bilateral": "both"}
_LITTLE_WORDS = {"and", "of", "or", "structure", "the"}
_PLURALS = {"vertebrae": "vertebra", "discs": "disc", "clavicula": "clavicle", "vena": "vein"}
_PLACES = {
    *("anterior", "caudal", "central", "cranial", "deep", "distal", "dorsal", "inferior"),
    *("inner", "lateral", "lower", "main", "medial", "middle", "outer", "posterior", "proximal"),
    *("superficial", "superior", "upper", "ventral", "whole"),
}
"""Words that may stand before a structure without which it is still the same kind."""
_OTHER_NAMES = {
    "atrial appendage left": "left auricular appendage",
    "atrial appendage right": "right auricular appendage",
    "atrium left": "left atrium",
    "atrium right": "right atrium",
    "autochthon": "muscle",
    "blood pool": "blood",
    "bowel": "intestine",
    "bowel small": "small intestine",
    "brachiocephalic artery": "innominate artery",
    "brachiocephalic trunk": "innominate artery",
    "brachiocephalic vein": "innominate vein",
    "brainstem": "brain stem",
    "cancer": "neoplasm",
    "carcinoma": "neoplasm",
    "cord": "spinal cord",
    "edema": "edema",
    "eye": "eyeball",
    "femoral bone": "femur",
    "femoral head": "femur",
    "gall bladder": "gallbladder",
    "gluteus": "muscle",
    "gluteus maximus": "muscle",
    "gluteus medius": "muscle",
    "gluteus minimus": "muscle",
    "hepatic vessel": "blood vessel",
    "hip": "bone",
    "hip bone": "bone",
    "iliac artery": "common iliac artery",
    "iliac vein": "common iliac vein",
    "iliopsoas": "muscle",
    "intervertebral disc": "cartilage",
    "lesion": "mass",
    "metastasis": "neoplasm secondary",
    "myocardium": "muscle",
    "heart myocardium": "muscle",
    "oedema": "edema",
    "oesophagus": "esophagus",
    "optic nerve": "cranial nerve",
    "parotid": "parotid gland",
    "portal vein splenic vein": "portal vein",
    "psoas": "muscle",
    "quadriceps femoris": "muscle",
    "sartorius": "muscle",
    "shoulder blade": "scapula",
    "skeletal muscle": "muscle",
    "small bowel": "small intestine",
    "subcutaneous fat": "body fat",
    "submandibular": "submandibular gland",
    "suprarenal gland": "adrenal gland",
    "thigh compartment": "muscle",
    "thyroid gland": "thyroid",
    "torso fat": "body fat",
    "tibia": "bone",
    "tumor": "neoplasm",
    "tumour": "neoplasm",
    "urinary bladder": "bladder",
    "ventricle left": "left ventricle",
    "ventricle right": "right ventricle",
    "white matter": "cerebral white matter",
    "windpipe": "trachea",
}
"""What people and data sets call a structure, and a name that a list has for it or its kind."""

Words = frozenset[str]


@dataclass(frozen=True)
class _Type:
    """A structure in Slicer's lists."""

    category: Code
    code: Code
    sides: tuple[str | None, str | None]
    """Letters of `_SIDES` that each list knows of it; None where the list lacks it."""
    colors: tuple[tuple[str, str], ...] = ()
    """Its colours in Slicer as six hexadecimal digits, by letter of a side; of none mostly."""

    def says(self, side: str) -> bool:
        """Tell whether a list has it with a side; an empty side is none."""
        return any(sides is not None and side in sides for sides in self.sides)


@dataclass(frozen=True)
class _Lists:
    names: tuple[str, str]
    types: dict[Words, _Type]

    @property
    def changes(self) -> Iterator[tuple[Words, _Type]]:
        """What grows or happens in any organ, such as cysts and neoplasms."""
        for words, found in self.types.items():
            if found.category.meaning.startswith("Morph") and len(words) == 1:
                yield words, found


def label_config(value: int, name: str) -> LabelConfig:
    """Describe a label: with code and colour when a list of Slicer has it, else as tissue.

    Args:
        value: Integer in the label map; neighbouring values that no list has get colours far apart.
        name: Name for people, such as ``left kidney`` or ``Kidney_L``.
    """
    found, side, is_exact = _look_up(name)
    if found is None:
        return LabelConfig(
            value=value, name=name, color=_color(value), category=_TISSUE, type=_TISSUE
        )
    letter, modifier = _SIDES.get(side, ("", None))
    colors = dict(found.colors)
    listed_color = colors.get(letter, colors.get(""))
    color = _color(value)
    if listed_color is not None:
        color = _shade(listed_color, 0.0 if is_exact else value)
    return LabelConfig(
        value=value,
        name=name,
        color=color,
        category=found.category,
        type=found.code,
        modifier=modifier,
    )


def listed(label: LabelConfig) -> tuple[str, Code | None]:
    """Return the list of Slicer that has a label's codes, and the modifier if that list has it.

    Of codes that no list has it is the first list, and the modifier stays.
    """
    lists = _lists()
    codes = (label.category.value, label.type.value)
    known = [t for t in lists.types.values() if (t.category.value, t.code.value) == codes]
    if not known:
        return lists.names[0], label.modifier
    sides = {code.value: letter for letter, code in _SIDES.values()}
    side = sides.get(label.modifier.value, "?") if label.modifier else ""
    for wanted, modifier in ((side, label.modifier), ("", None)):
        for name, letters in zip(lists.names, known[0].sides, strict=True):
            if letters is not None and wanted in letters:
                return name, modifier
    return lists.names[0], None


@functools.cache
def _lists() -> _Lists:
    content = json.loads(Path(__file__).with_name("terminology.json").read_text("utf-8"))
    types: dict[Words, _Type] = {}
    for category, code, meaning, first, second, *colors in content["types"]:
        found = _Type(
            Code(content["categories"][category], "SCT", category),
            Code(code, "SCT", meaning[:1].upper() + meaning[1:]),
            (first, second),
            tuple(colors[0].items()) if colors else (),
        )
        types.setdefault(_words(meaning), found)
    return _Lists(tuple(content["lists"]), types)


def _words(name: str) -> Words:
    """Split a name into words as the lists have them; numbers and little words are left out."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    found = []
    for word in re.findall(r"[^\W_]+", name.lower()):
        if re.search(r"\d", word) and not word.startswith(("1st", "2nd", "3rd")):
            continue
        singular = (
            word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word
        )
        found.append(_PLURALS.get(word, singular))
    words = (_ANOTHER_SIDE.get(word, word) for word in found)
    return frozenset(words) - _LITTLE_WORDS


@functools.cache
def _other_names() -> dict[Words, Words]:
    return {_words(name): _words(known) for name, known in _OTHER_NAMES.items()}


def _look_up(name: str) -> tuple[_Type | None, str, bool]:
    """Look a name up as it stands, then without side, then without words for a place.

    Returns:
        What was found; the side of `_SIDES` that the list has of it, or nothing; whether the name
        says no more than the list, such as the number of a vertebra.
    """
    words = _words(name)
    side = next((word for word in _SIDES if word in words), "")
    for candidate in (words, words - {side}, words - {side} - _PLACES):
        found = _find(candidate)
        if found is not None:
            letter, _ = _SIDES.get(side, ("", None))
            is_sided = bool(side) and side not in candidate and found.says(letter)
            is_whole = candidate >= words - {side} and not re.search(r"\d", name)
            is_exact = is_whole and (is_sided or side in candidate or not side)
            return found, side if is_sided else "", is_exact
    return None, "", True


def _find(words: Words) -> _Type | None:
    types = _lists().types
    found = types.get(_other_names().get(words, words))
    if found is None:  # such as liver tumor, kidney cyst
        others = (types.get(_other_names().get(frozenset({word}), frozenset())) for word in words)
        changes = [change for part, change in _lists().changes if part <= words]
        changes += [t for t in others if t and t.category.meaning.startswith("Morph")]
        found = changes[0] if len(set(changes)) == 1 else None
    return found


def _shade(color: str, value: float) -> tuple[int, int, int]:
    """Lighten or darken a colour a little, by a part that changes from one value to the next."""
    part = 0.5 * (((0.618034 * value + 0.5) % 1) - 0.5)
    channels = (int(color[start : start + 2], 16) for start in (0, 2, 4))
    red, green, blue = (
        round(each + part * (255 - each if part > 0 else each)) for each in channels
    )
    return red, green, blue


def _color(value: int) -> tuple[int, int, int]:
    """Turn the hue by the golden ratio from one value to the next; darken every second turn."""
    hue = 0.618034 * value
    brightness = 0.9 if int(hue) % 2 == 0 else 0.7
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, 0.6, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)
