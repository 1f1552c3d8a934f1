"""What the groups of structures are called in the panel."""

from __future__ import annotations

from slicer.i18n import tr as _


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
