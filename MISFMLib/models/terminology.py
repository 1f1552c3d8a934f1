"""Codes and colours of common structures, so that every program knows what a label is.

The codes are those of 3D Slicer's terminology files and of DICOM's lists of segmented properties.
"""

from __future__ import annotations

import colorsys
import re

from MISFMLib.configs import Code, LabelConfig

_TISSUE = Code("85756007", "SCT", "Tissue")
_ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
_ALTERATION = Code("49755003", "SCT", "Morphologically Altered Structure")

_ANATOMICAL = {
    "adrenal gland": "23451007",
    "aorta": "15825003",
    "bladder": "89837001",
    "brain": "12738006",
    "brain stem": "119238007",
    "colon": "71854001",
    "duodenum": "38848004",
    "esophagus": "32849002",
    "eyeball": "79652003",
    "femur": "71341001",
    "gallbladder": "28231008",
    "heart": "80891009",
    "hippocampus": "5366008",
    "humerus": "85050009",
    "inferior vena cava": "64131007",
    "kidney": "64033007",
    "larynx": "4596009",
    "left atrium": "82471001",
    "left ventricle": "87878005",
    "liver": "10200004",
    "lung": "39607008",
    "mandible": "91609006",
    "myocardium": "74281007",
    "optic chiasm": "244453006",
    "optic nerve": "18234004",
    "pancreas": "15776009",
    "parotid gland": "45289007",
    "portal vein": "32764006",
    "prostate": "41216001",
    "pulmonary artery": "81040000",
    "rectum": "34402009",
    "right atrium": "73829009",
    "right ventricle": "53085002",
    "skull": "89546000",
    "small intestine": "30315005",
    "spinal cord": "2748008",
    "spleen": "78961009",
    "stomach": "69695003",
    "submandibular gland": "54019009",
    "superior vena cava": "48345005",
    "thyroid": "69748006",
    "trachea": "44567001",
    "uterus": "35039007",
    "vertebra": "51282000",
}
_TISSUES = {"bone": "272673000", "cartilage": "309312004", "muscle": "71616004", "skin": "39937001"}
_ALTERATIONS = {
    "edema": "79654002",
    "lesion": "52988006",
    "mass": "4147007",
    "neoplasm": "108369006",
}
_MODIFIERS = {
    "left": Code("7771000", "SCT", "Left"),
    "right": Code("24028007", "SCT", "Right"),
    "anterior": Code("255549009", "SCT", "Anterior"),
    "posterior": Code("255551008", "SCT", "Posterior"),
}
_SPELLINGS = {
    "brainstem": "brain stem",
    "cord": "spinal cord",
    "eye": "eyeball",
    "oedema": "edema",
    "oesophagus": "esophagus",
    "parotid": "parotid gland",
    "submandibular": "submandibular gland",
    "tumor": "neoplasm",
    "tumour": "neoplasm",
    "urinary bladder": "bladder",
}


def label_config(value: int, name: str) -> LabelConfig:
    """Describe a label: with its code when its name is known, else as tissue, and a colour.

    Args:
        value: Integer in the label map; neighbouring values get colours far apart.
        name: Name for people, such as ``left kidney`` or ``Kidney_L``.
    """
    category, kind, modifier = _codes(name)
    return LabelConfig(
        value=value,
        name=name,
        color=_color(value),
        category=category,
        type=kind,
        modifier=modifier,
    )


def _codes(name: str) -> tuple[Code, Code, Code | None]:
    """Look a name up as it stands, then without a word for the side."""
    words = re.findall(r"[a-z]+", name.lower())
    words = [{"l": "left", "r": "right"}.get(word, word) for word in words]
    side = next((word for word in words if word in _MODIFIERS), None)
    without_side = [word for word in words if word != side]
    for candidate, modifier in ((words, None), (without_side, side)):
        found = _find(" ".join(candidate))
        if found:
            return *found, _MODIFIERS[modifier] if modifier else None
    return _TISSUE, _TISSUE, None


def _find(structure: str) -> tuple[Code, Code] | None:
    structure = _SPELLINGS.get(structure, structure)
    for category, codes in (
        (_ANATOMY, _ANATOMICAL),
        (_TISSUE, _TISSUES),
        (_ALTERATION, _ALTERATIONS),
    ):
        if structure in codes:
            return category, Code(codes[structure], "SCT", structure.capitalize())
    return None


def _color(value: int) -> tuple[int, int, int]:
    """Turn the hue by the golden ratio from one value to the next; darken every second turn."""
    hue = 0.618034 * value
    brightness = 0.9 if int(hue) % 2 == 0 else 0.7
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, 0.6, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)
