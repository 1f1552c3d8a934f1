"""What can be done about a problem of a training set with one click."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from slicer.i18n import tr as _

from MISFMLib.annotation.training_set import TrainingSet

from ..Scene.LabelFiles import removeVoxels, resampleToImage, setValues, takeOut

Problem = Mapping[str, Any]
"""Fields of the library's `data.label_check.Problem`."""
_BOTH_SIDES, _REPEATED = "case-on-both-sides", "case-repeated"


def fixesOf(problem: Problem, trainingSet: TrainingSet) -> list[tuple[str, Callable[[], Any]]]:
    """Return what can be done: a text and what does it; nothing where only a person can help."""
    code, case = problem["code"], problem.get("case", "")
    cases = [case] if case else list(problem.get("cases", ()))
    names = {row.name for row in trainingSet.cases()}
    cases = [name for name in cases if name in names]
    fixes = _ofTheCase(problem, trainingSet, case) if cases else []
    if code == "label-not-trained" and not cases:
        return _takenOut(problem, trainingSet)
    if code == "label-not-trained":
        return [*fixes, *_moves(trainingSet, cases, "train", _("Learn from {case}"))]
    if code == "label-not-judged":
        return [*fixes, *_moves(trainingSet, cases, "validation", _("Hold {case} out"))]
    if code == _BOTH_SIDES:
        fixes += _moves(trainingSet, cases[:1], "train", _("Learn from both"))
    for name in cases:
        text = _("Leave {case} out").format(case=name)
        fixes.append((text, partial(trainingSet.set_status, name, "left out")))
    return fixes


def _ofTheCase(
    problem: Problem, trainingSet: TrainingSet, case: str
) -> list[tuple[str, Callable[[], Any]]]:
    """Return what can be done to the label map of a case."""
    code = problem["code"]
    if code == "label-values":
        return _aboutValues(problem, trainingSet, case)
    if code == "label-islands":
        remove = partial(removeVoxels, trainingSet, case, problem["positions_xyz"])
        return [(_("Remove the stray voxels"), remove)]
    if code == "grid-mismatch":
        resample = partial(resampleToImage, trainingSet, case)
        return [(_("Resample the labels to the image"), resample)]
    if code == "label-map-empty":
        accept = partial(trainingSet.update, case, status="checked")
        return [(_("It is right: there is nothing"), accept)]
    return []


def textOf(problem: Problem, trainingSet: TrainingSet) -> str:
    """Say in a line what is wrong."""
    case, cases = problem.get("case", ""), problem.get("cases", ())
    names = {label.value: label.name for label in trainingSet.labels}
    values = [names.get(value, str(value)) for value in problem.get("values", ())]
    fields = {
        "case": case or (cases[0] if cases else ""),
        "other": cases[-1] if cases else "",
        "labels": ", ".join(values),
        "count": len(problem.get("positions_xyz", ())),
    }
    wording = _wordings().get(problem["code"])
    if wording is not None:
        return wording.format(**fields)
    message = str(problem.get("message", ""))
    return f"{case}: {message}" if case else message


def _wordings() -> dict[str, str]:
    return {
        "label-values": _("{case}: values that this set has no name for: {labels}"),
        "label-islands": _("{case}: {count} stray voxels of {labels}"),
        "grid-mismatch": _("{case}: the labels lie on another grid than the image"),
        "label-map-empty": _("{case}: no label at all, as in a healthy patient"),
        "label-not-judged": _("{labels}: in no held-out case, so nobody will know how well"),
        "label-not-trained": _("{labels}: in no case that is learnt from"),
        _BOTH_SIDES: _("{case} (held out) is the same as {other} (learnt from)"),
        _REPEATED: _("{case} is the same image as {other}"),
    }


def _aboutValues(
    problem: Problem, trainingSet: TrainingSet, case: str
) -> list[tuple[str, Callable[[], Any]]]:
    values = problem["values"]
    fixes = [(_("Remove these voxels"), partial(setValues, trainingSet, case, values, 0))]
    for label in trainingSet.labels if len(values) == 1 else ():
        text = _("They are {label}").format(label=label.name)
        fixes.append((text, partial(setValues, trainingSet, case, values, label.value)))
    return fixes


def _takenOut(problem: Problem, trainingSet: TrainingSet) -> list[tuple[str, Callable[[], Any]]]:
    """Offer to take a label that nobody has drawn out of the set: there would be no other way."""
    values = problem.get("values", ())
    names = ", ".join(label.name for label in trainingSet.labels if label.value in values)
    text = _("Take {label} out of the set").format(label=names)
    return [(text, partial(takeOut, trainingSet, values))] if names else []


def _moves(
    trainingSet: TrainingSet, cases: list[str], side: str, text: str
) -> list[tuple[str, Callable[[], Any]]]:
    return [
        (text.format(case=name), partial(trainingSet.update, name, split=side)) for name in cases
    ]
