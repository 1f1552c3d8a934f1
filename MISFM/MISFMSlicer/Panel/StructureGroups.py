"""How the panel shows many structures: in groups, with a search."""

from __future__ import annotations

from slicer.i18n import tr as _

MANY = 12
"""Structures from which they are grouped and can be searched."""


def isFound(name: str, text: str) -> bool:
    """Tell whether a name has all words of a search."""
    return all(word in name.lower() for word in text.lower().split())


def groupTitle(key: str) -> str:
    """Return the name of a group of `MISFMLib.models.structure_groups`."""
    titles = {
        "lesions": _("Lesions"),
        "heart": _("Heart"),
        "vessels": _("Vessels"),
        "spine": _("Spine"),
        "ribs": _("Ribs and sternum"),
        "muscles": _("Muscles"),
        "lungs": _("Lungs and airways"),
        "head": _("Head and neck"),
        "bones": _("Bones"),
        "organs": _("Organs"),
        "tissues": _("Tissues"),
    }
    return titles.get(key, _("Other"))
