"""Cases of a training set in words."""

from __future__ import annotations

from collections.abc import Sequence

from slicer.i18n import tr as _

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.errors import DataError


def noSet() -> str:
    """Say how to get a training set."""
    return _(
        "A model learns from cases with labels. Open… a folder with images and labels; or load a"
        " volume and its segmentation, and press Add labels."
    )


def noLabels() -> DataError:
    """Say that there is nothing to draw in a case."""
    return DataError(
        _("The training set has no labels yet."),
        code="no-labels",
        remedy=_("Add a segmentation first: its segments become the labels of the set."),
    )


def noSegmentation() -> DataError:
    """Say that nothing can be added."""
    return DataError(
        _("A case needs a volume and a segmentation of it."),
        code="no-segmentation",
        remedy=_(
            "Segment the volume, or load its segmentation. Of several that were loaded, hide all"
            " others."
        ),
    )


def isCaseAlready(case: str) -> DataError:
    """Say that a volume was opened from the training set."""
    return DataError(
        _("{case} is a case of this training set already.").format(case=case),
        code="case-known",
        remedy=_("A double-click opens it in Correct; Done keeps its labels."),
    )


def summary(rows: Sequence[CaseRow]) -> str:
    """Say how many cases there are of what kind."""
    labelled = [row for row in rows if row.is_labelled]
    held = sum(row.split == "validation" for row in labelled)
    waiting = sum(row.status in ("unlabelled", "proposed") for row in rows)
    return _("Cases with labels: {labelled}, held out of them: {held}. To do: {waiting}.").format(
        labelled=len(labelled), held=held, waiting=waiting
    )


def statusText(row: CaseRow) -> str:
    """Return the status of a case for its line in the table."""
    names = {
        "unlabelled": _("no labels"),
        "proposed": _("proposed"),
        "corrected": _("corrected"),
        "checked": _("checked"),
        "left out": _("left out"),
    }
    text = names[row.status]
    return _("{status}, held out").format(status=text) if row.split == "validation" else text


def details(row: CaseRow) -> str:
    """Return what else is known of a case."""
    parts = [
        row.name,
        _("{who}, {when}").format(who=row.who, when=row.when[:10]) if row.when else "",
        _("not drawn: {names}").format(names=", ".join(row.not_drawn)) if row.not_drawn else "",
        _("Dice of the proposal {dice}").format(dice=f"{row.dice:.2f}")
        if row.dice is not None
        else "",
    ]
    return "\n".join(part for part in parts if part)


def orderTexts() -> tuple[str, ...]:
    """Return what the orders are called, as `Order.ORDERS` has them."""
    return (_("the one the model is least sure of"), _("the next in the list"), _("any"))


def loopText(
    waitingFor: str, opened: str, rows: Sequence[CaseRow], *, hasModel: bool, isShared: bool
) -> str:
    """Say where the loop stands.

    Args:
        waitingFor: Case whose proposal is computed; empty for none.
        opened: Case that is open; empty for none.
        rows: All cases.
        hasModel: Whether there is a model that proposes.
        isShared: Whether somebody else had the case open before.
    """
    if waitingFor:
        return _("Computing the proposal for {case}").format(case=waitingFor)
    if opened:
        return _openText(opened, isShared=isShared)
    if not rows:
        return _("Add volumes without labels to be led from case to case.")
    if all(row.status not in ("unlabelled", "proposed") for row in rows):
        return _("All cases have labels.")
    if not hasModel:
        return _("There is no model yet that proposes labels: cases open without.")
    return ""


def _openText(case: str, *, isShared: bool) -> str:
    if isShared:
        return _(
            "{case} is open, and somebody else has it open, too: who presses Done last is asked"
            " whose labels stay."
        ).format(case=case)
    return _("{case} is open: correct the outlines, then press Done.").format(case=case)


def goneText(case: str, drawn: str) -> str:
    """Say that an open case was closed since the user has deleted a part of it.

    Args:
        case: Its name.
        drawn: Name of its segmentation, if that is still in the scene.
    """
    if drawn:
        return _(
            "The volume of {case} was deleted. What was drawn is still in the scene, as {drawn}. In"
            " the training set the case is as it was: double-click it there to open it again, and"
            " copy what you need with the module Segmentations."
        ).format(case=case, drawn=drawn)
    return _(
        "{case} was taken out of the scene. In the training set it is as it was:"
        " double-click it there to open it again."
    ).format(case=case)
