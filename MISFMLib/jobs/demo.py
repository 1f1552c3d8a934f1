"""``misfm demo``: the bundled model on a sample that is drawn on the spot, or on a given volume."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.configs import LabelConfig, SegmentConfig
from MISFMLib.data.phantom import draw_phantom
from MISFMLib.events import EventSink, ignore_events
from MISFMLib.jobs.segment.segment import run_segment
from MISFMLib.models.store import find_model
from MISFMLib.volumes.volume import LabelMap, read_label_map, write_label_map, write_volume

Mask = npt.NDArray[np.bool_]

MODEL = "hippocampus-mr"
SAMPLE, REFERENCE = "sample.nii.gz", "sample-labels.seg.nrrd"
SEGMENTATION, OVERVIEW = "segmentation.seg.nrrd", "overview.png"
VOLUMES, REPORT = "volumes.csv", "report.json"
_CONTENTS = {
    OVERVIEW: "picture: three planes with the labels",
    SEGMENTATION: "labels with names and colours, for 3D Slicer",
    VOLUMES: "volume of every label",
    REPORT: "how it was computed",
    SAMPLE: "the sample: a drawn hippocampus MR crop that is nobody's",
    REFERENCE: "its known labels",
}


def run_demo(  # noqa: PLR0913 the options of the command
    output: Path,
    *,
    image: Path | None = None,
    model: str = MODEL,
    seed: int = 1,
    device: str = "auto",
    overwrite: bool = False,
    events: EventSink = ignore_events,
) -> dict[str, Any]:
    """Segment a sample or a volume; write the segmentation, a table, a report and a picture.

    The picture needs matplotlib and is left out where that is not installed.

    Args:
        output: Folder for the files.
        image: Volume to segment; when not given, a hippocampus MR crop is drawn and kept with its
            known labels.
        model: Installed name or path of the model.
        seed: Which sample is drawn, from 0.
        device: Where the network runs, as in `SegmentConfig`.
        overwrite: Replace files that are already there.
        events: Hears the progress.

    Returns:
        The report of the segmentation, with the folder as ``folder`` and the names of its files as
        ``files``; for a drawn sample also ``dice``, the agreement with the known labels by name.

    Raises:
        MISFMError: The model or the volume cannot be used, or a result cannot be written.
    """
    labels = find_model(model).manifest.labels
    has_picture = importlib.util.find_spec("matplotlib") is not None  # Slicer lacks it
    known = _draw_sample(output, labels, seed, overwrite) if image is None else None
    report = run_segment(
        SegmentConfig(
            images=(image or output / SAMPLE,),
            model=model,
            output=output / SEGMENTATION,
            statistics=output / VOLUMES,
            overview=output / OVERVIEW if has_picture else None,
            report=output / REPORT,
            device=device,
            overwrite=overwrite,
        ),
        events,
    )
    files = [OVERVIEW] * has_picture + [SEGMENTATION, VOLUMES, REPORT]
    demo = {**report, "folder": str(output), "files": files}
    if known is not None:
        found = read_label_map(output / SEGMENTATION)
        demo["files"] = [*files, SAMPLE, REFERENCE]
        demo["dice"] = {
            label.name: _dice(found.array_DHW == label.value, known.array_DHW == label.value)
            for label in labels
        }
    return demo


def format_report(report: dict[str, Any]) -> str:
    """Return the report as a table of the labels and a list of the files, for people."""
    dice = report.get("dice", {})
    width = max(len(item["name"]) for item in report["labels"])
    lines = [f"{'label':<{width}}  {'volume':>10}" + ("  Dice" if dice else "")]
    for item in report["labels"]:
        line = f"{item['name']:<{width}}  {item['volume_ml']:>7.2f} ml"
        agreement = f"  {dice[item['name']]:.3f}" if item["name"] in dice else ""
        lines.append(line + agreement)
    columns = max(map(len, report["files"]))
    lines += ["", f"Written to {report['folder']}:"]
    lines += [f"  {name:<{columns}}  {_CONTENTS[name]}" for name in report["files"]]
    return "\n".join(lines)


def _draw_sample(
    output: Path, labels: Sequence[LabelConfig], seed: int, overwrite: bool
) -> LabelMap:
    volume, known = draw_phantom(seed)
    write_volume(volume, output / SAMPLE, overwrite=overwrite)
    write_label_map(known, output / REFERENCE, labels=labels, overwrite=overwrite)
    return known


def _dice(found: Mask, known: Mask) -> float:
    # Not by MISFMLib.metrics: it needs MONAI, and a demo has to run without what training needs.
    total = int(found.sum() + known.sum())
    return 2 * int((found & known).sum()) / total if total else 1.0
