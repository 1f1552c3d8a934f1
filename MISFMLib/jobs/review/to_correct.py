"""The list of what a person found wrong or unsure, for a training set and for `misfm finetune`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from MISFMLib.files import write_json, write_text
from MISFMLib.jobs.review.job import ReviewJob
from MISFMLib.jobs.review.verdicts import Verdict


def write_to_correct(
    jobs: Sequence[ReviewJob], verdicts: Mapping[str, Verdict], folder: Path
) -> Iterator[str]:
    """Write to_correct.csv and labels.json, which names its labels.

    Yields:
        What a person should know: verdicts that led to nothing.

    Raises:
        OutputError: The place is read-only or full.
    """
    judged = {name for name, one in verdicts.items() if one.verdict in ("wrong", "unsure")}
    chosen = [job for job in jobs if job.name in judged]
    without_scan = sum(job.image is None for job in chosen)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "image", "label", "note"))
    for job in chosen:
        if job.image is not None:
            files = (str(job.image.absolute()), str(job.label.absolute()))
            writer.writerow((job.name, *files, verdicts[job.name].note))
    write_text(folder / "to_correct.csv", text.getvalue(), overwrite=True)
    if jobs and jobs[0].names:
        labels = {str(value): name for value, name in sorted(jobs[0].names.items())}
        write_json(folder / "labels.json", {"0": "background", **labels}, overwrite=True)
    if without_scan:
        yield f"{without_scan} cases are not in to_correct.csv: give the scans with --images."
    missing = sorted(judged - {job.name for job in jobs})
    if missing:
        yield f"Wrong or unsure, but without a result to correct: {', '.join(missing[:5])}" + (
            f" and {len(missing) - 5} more." if len(missing) > 5 else "."
        )
