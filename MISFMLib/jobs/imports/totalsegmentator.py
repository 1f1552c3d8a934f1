"""Models of TotalSegmentator: found on this computer or downloaded; several can become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from MISFMLib.configs import LabelConfig
from MISFMLib.errors import BundleError
from MISFMLib.events import EventSink, Notice, ignore_events
from MISFMLib.jobs.imports.nnunet import Content, read_trained
from MISFMLib.jobs.imports.nnunet_folder import WANTED, choose, find_trained
from MISFMLib.jobs.imports.sources import opened
from MISFMLib.models import store
from MISFMLib.models.bundle import Bundle, check_bundle_output, write_bundle
from MISFMLib.models.download import Source, download
from MISFMLib.models.totalsegmentator import LICENCE_PAGE, TotalTask, installed_folders

_PLANS = "nnUNetPlans"
"""Beside these lie those of smaller networks in some of its folders."""


def fetch_task(task: TotalTask, events: EventSink = ignore_events) -> Bundle:
    """Install a task of TotalSegmentator as one model.

    Results folders that TotalSegmentator has downloaded are used where they lie; only what is
    missing is downloaded, from its release page.

    Args:
        task: The task.
        events: Hears progress and where the weights were found.

    Raises:
        BundleError: The weights need a licence number, cannot be downloaded or are not known.
        OutputError: The model exists already or cannot be written.
    """
    target = store.models_folder() / task.name
    check_bundle_output(target, overwrite=False)
    contents = [_content(task, number, events) for number in range(len(task.folders))]
    (manifest, weights), *others = contents
    labels = [label for content, _ in contents for label in content.labels]
    _check_labels(task, labels)
    parts = {
        folder.split("_", 1)[0]: content
        for folder, content in zip(task.folders[1:], others, strict=True)
    }
    manifest = replace(
        manifest,
        name=task.name,
        title=f"TotalSegmentator {task.words}",
        description=f"Segments {len(task.labels)} structures. {manifest.description}".strip(),
        license=task.license,
        authors="Jakob Wasserthal et al., University Hospital Basel",
        labels=tuple(labels),
        parts=tuple(parts),
    )
    if task.region and not store.is_installed(task.rough):
        events(
            Notice(
                f"This task looks around {', '.join(task.region)} only, which {task.rough} finds: "
                f"get that too (misfm models fetch {task.rough})."
            )
        )
    bundle = write_bundle(target, manifest, weights, parts=parts)
    for folder in task.folders:
        _archive(folder).unlink(missing_ok=True)
    return bundle


def _content(task: TotalTask, number: int, events: EventSink) -> Content:
    """Return one of the task's models, with the task's label numbers."""
    folder = task.folders[number]
    for place in installed_folders(folder):
        if find_trained(place):
            events(Notice(f"{place.name} was found in {place.parent}.", level="info"))
            return _read(task, place)
    if task.needs_licence:
        raise BundleError(
            f"The weights of {task.words} are given out for a licence number only.",
            code="licence-needed",
            remedy=f"Get one at {LICENCE_PAGE}, let TotalSegmentator download them "
            f"(totalseg_download_weights -t {task.task}), then try again: they are found then.",
        )
    archive = _archive(folder)
    if not archive.is_file():
        _download(task.urls[number], archive, events)
    try:
        return _read(task, archive)
    except BundleError:
        archive.unlink()
        raise


def _archive(folder: str) -> Path:
    """Return the zip of a part; it stays until all parts are there."""
    return store.home() / "downloads" / f"{folder}.zip"


def _download(url: str, archive: Path, events: EventSink) -> None:
    try:
        download(Source(url, None), archive, events)
    except BundleError as error:
        raise BundleError(
            error.message,
            code=error.code,
            remedy="Check the network and HTTPS_PROXY, or download the file on another machine, "
            "unpack it into ~/.totalsegmentator/nnunet/results, and try again.",
        ) from error


def _read(task: TotalTask, path: Path) -> Content:
    with opened(path, WANTED) as place:
        models = find_trained(place)
        with_trainer = [model for model in models if model.name_parts[0] == task.trainer]
        usual = [model for model in with_trainer if model.name_parts[1] == _PLANS]
        model = choose(usual or with_trainer or models, path, task.configuration)
        manifest, weights = read_trained(model)
    names = [label.name for label in manifest.labels]
    labels = []
    for label in manifest.labels:
        value = task.value_of(label.name)
        if value is None:
            if len(task.folders) > 1 or len(names) != len(task.labels):
                raise BundleError(
                    f"{path.name} has the label {label.name}, which {task.words} does not have.",
                    code="other-labels",
                    remedy="Use the weights of the release that the catalogue names.",
                )
            value = label.value  # one model whose labels were renamed since
        labels.append(replace(label, value=value))
    # TotalSegmentator turns all volumes to RAS, whichever reader the plans name.
    space = replace(manifest.preprocessing, overlap=task.overlap, orientation="RAS")
    return replace(manifest, labels=tuple(labels), preprocessing=space), weights


def _check_labels(task: TotalTask, labels: Sequence[LabelConfig]) -> None:
    missing = set(task.labels) - {label.name for label in labels}
    if missing and len(task.folders) > 1:
        raise BundleError(
            f"The weights lack {len(missing)} of the structures of {task.words}, such as "
            f"{min(missing)}.",
            code="other-labels",
            remedy="Use the weights of the release that the catalogue names.",
        )
