"""The page as files: index.html with its style and program, data.js with the cohort."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from MISFMLib.files import write_bytes, write_text
from MISFMLib.jobs.review.measures import Measures
from MISFMLib.jobs.review.outliers import Finding
from MISFMLib.jobs.review.verdicts import Verdict
from MISFMLib.resources import resource_path

_FILES = ("index.html", "review.css", "review.js")


@dataclass(frozen=True)
class ReviewedCase:
    """One line of the page."""

    name: str
    label: str
    """Path of the label map as Slicer can open it."""
    image: str
    """Path of the scan; empty without."""
    measures: Mapping[str, Measures]
    problem: str = ""
    """Why there is no result, or why it cannot be read."""
    warnings: tuple[str, ...] = ()
    """What else there is to tell, such as a scan unlike those that the model learnt from."""
    certainty: float | None = None
    """How sure the model was, 0 to 1; None where nobody asked."""
    is_drawn: bool = False
    """Whether there is a picture; an empty result has one of the scan."""


def write_page(
    cases: Sequence[ReviewedCase],
    findings: Mapping[str, Finding],
    verdicts: Mapping[str, Verdict],
    folder: Path,
) -> None:
    """Write the page; its pictures lie in thumbnails/ already.

    Args:
        cases: All cases.
        findings: What is unusual about those with a result.
        verdicts: What a person said before.
        folder: Of the page.

    Raises:
        OutputError: The place is read-only or full.
    """
    structures = sorted({name for case in cases for name in case.measures})
    content = {
        "structures": structures,
        "cases": [_row(case, structures, findings, verdicts) for case in cases],
    }
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    # A script and not JSON: a page from the disk may not read other files by itself.
    write_text(folder / "data.js", f"const REVIEW = {text};\n", overwrite=True)
    for name in _FILES:
        content_of = resource_path(f"Review/{name}").read_bytes()
        write_bytes(folder / name, content_of, overwrite=True)


def _row(
    case: ReviewedCase,
    structures: Sequence[str],
    findings: Mapping[str, Finding],
    verdicts: Mapping[str, Verdict],
) -> dict[str, object]:
    finding = findings.get(case.name, Finding(0.0, ()))
    verdict = verdicts.get(case.name, Verdict(""))
    volumes = [
        round(case.measures[name].volume_ml, 3) if name in case.measures else None
        for name in structures
    ]
    return {
        "name": case.name,
        # What has no result stands before all outliers.
        "score": 1000.0 if case.problem else finding.score,
        "reasons": [*([case.problem] if case.problem else finding.reasons), *case.warnings],
        "volumes": volumes,
        "label": case.label,
        "image": case.image,
        "verdict": verdict.verdict,
        "note": verdict.note,
        "sure": None if case.certainty is None else round(case.certainty, 4),
        "picture": case.is_drawn,
    }
