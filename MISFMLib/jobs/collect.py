"""Bring the cases of an existing data set into a training set: the job behind `misfm collect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from MISFMLib.annotation.labels import match_labels, new_label
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.configs import CollectConfig, LabelConfig
from MISFMLib.data.case_reading import read_case
from MISFMLib.data.cases import Case, LabelledSet, find_cases, listed, with_label_names
from MISFMLib.data.descriptions import IGNORE
from MISFMLib.data.label_check import try_cases
from MISFMLib.errors import BatchError, DataError
from MISFMLib.events import EventSink, Notice, ignore_events
from MISFMLib.jobs.collect_known import OPEN, add_all, add_volume
from MISFMLib.jobs.collect_study import Scan, add_scan, find_scans
from MISFMLib.jobs.progress import counter
from MISFMLib.jobs.segment.channels import channels_together
from MISFMLib.models.terminology import label_config
from MISFMLib.volumes.series_choice import SeriesChoice
from MISFMLib.volumes.volume import (
    LabelMap,
    Volume,
    case_name,
    find_volumes,
    read_volume,
    write_label_map,
)

_UNLABELLED = "imagesTs"
_MODALITIES = ("CT", "MR")


def run_collect(config: CollectConfig, events: EventSink = ignore_events) -> dict[str, Any]:
    """Copy cases into a training set; those that cannot be used are named and left out.

    What the set has already stays as it is there, and gets its labels where it has none.

    Labels keep their numbers and names in a new set; in one that has labels they are matched by
    name, and a name that the set lacks becomes a new label of it, which is told.

    Args:
        config: Data set and training set.
        events: Receives the progress and what was left out.

    Returns:
        Report: the set, how many cases it has with and without labels, those it had
        already (kept), and those refused.

    Raises:
        DataError: The data set cannot be read, or its cases have other channels than the set.
        ConfigError: The choice of a series, or a name of a label, has another form.
        OutputError: The training set cannot be written.
    """
    SeriesChoice.parse(config.series)
    scans = find_scans(config.data) if config.data.is_dir() else []
    if scans:
        return _collect_study(config, scans, events)
    found = _named(with_label_names(find_cases(config.data), config.labels), events)
    found = _with_unlabelled(found)
    channels = found.channels
    if len(channels) == 1 and channels[0] not in _MODALITIES:
        channels = (found.modality or channels[0],)
    made = _open(config.output, _labels(found), channels)
    order = _channel_order(made, channels, config.data, events)
    values = _values(made, found, events)
    images = list(channels_together(_unlabelled(config), len(channels)))
    adds = [
        (case.name, partial(_add_labelled, made, case, values, order, config))
        for case in found.cases
    ]
    adds += [
        (paths[0].name, partial(_add_unlabelled, made, paths, order, config.series))
        for paths in images
    ]
    kept, refused = add_all(adds, counter(events, "collect", len(adds)))
    return _report(made, kept, refused, events)


def _collect_study(config: CollectConfig, scans: list[Scan], events: EventSink) -> dict[str, Any]:
    modalities = {scan.series.modality for scan in scans} & set(_MODALITIES)
    made = _open(config.output, (), tuple(modalities) if len(modalities) == 1 else ("image",))
    if len(made.channels) > 1:
        raise DataError(
            f"Each case of {made.folder} has {len(made.channels)} volumes, and nothing in a DICOM "
            "study says which series belong together.",
            code="channels-differ",
            remedy="Load the series of a patient in Slicer, and add them with their labels there.",
        )
    adds = [(scan.name, partial(add_scan, made, scan, config.series)) for scan in scans]
    kept, refused = add_all(adds, counter(events, "collect", len(adds)))
    return _report(made, kept, refused, events)


def _open(folder: Path, labels: tuple[LabelConfig, ...], channels: tuple[str, ...]) -> TrainingSet:
    """Open a training set, or make it."""
    if (folder / "cases.csv").exists():
        return TrainingSet(folder)
    return TrainingSet.create(folder, labels, channels=channels)


def _channel_order(
    made: TrainingSet, channels: Sequence[str], data: Path, events: EventSink
) -> list[int]:
    """Return which channel of the data set is each of the training set's, told by their names.

    Raises:
        DataError: Its cases have more or fewer volumes than those of the training set.
    """
    if len(made.channels) != len(channels):
        raise DataError(
            f"Each case of {data} has {len(channels)} channels ({', '.join(channels)}), each case "
            f"of the training set {len(made.channels)} ({', '.join(made.channels)}).",
            code="channels-differ",
            remedy="Make a training set of its own from this data set.",
        )
    theirs, ours = ([name.casefold() for name in each] for each in (channels, made.channels))
    if sorted(theirs) == sorted(set(ours)):
        return [theirs.index(name) for name in ours]
    if theirs != ours and len(ours) > 1:
        pairs = ", ".join(f"{a} as {b}" for a, b in zip(channels, made.channels, strict=True))
        events(Notice(f"The channels are taken in their order: {pairs}."))
    return list(range(len(ours)))


def _report(
    made: TrainingSet, kept: Sequence[str], refused: Mapping[str, str], events: EventSink
) -> dict[str, Any]:
    if kept:
        message = f"In the training set already, and left as they are there: {listed(kept)}."
        events(Notice(message, level="info"))
    for name, why in refused.items():
        events(Notice(f"{name} is left out: {why}"))
    rows = made.cases()
    labelled = sum(row.is_labelled for row in rows)
    proposed = sum(row.status == "proposed" for row in rows)
    return {
        "set": str(made.folder),
        "labelled": labelled,
        "unlabelled": len(rows) - labelled,
        "kept": list(kept),
        "refused": dict(refused),
        "exit_code": BatchError.exit_code if refused else 0,
        "text": f"{made.folder} has {labelled} cases with labels and {len(rows) - labelled} without"
        + (f", {proposed} of them with a proposal" if proposed else "")
        + (f"; {len(refused)} were left out" if refused else ""),
    }


def _named(found: LabelledSet, events: EventSink) -> LabelledSet:
    """Name labels to which the data set gives no name by their values, as a training does."""
    if found.label_names:
        return found
    cases = [case.name for case in found.cases]
    facts, _problems = try_cases(found, cases, counter(events, "check", len(cases)))
    values = sorted({value for fact in facts.values() for value in fact.label_values})
    return with_label_names(found, [f"{value}=label {value}" for value in values])


def _with_unlabelled(found: LabelledSet) -> LabelledSet:
    """Name the label of voxels that nobody labelled as data sets do, so that it is kept as that."""
    value = found.cases[0].unlabelled  # as in all of them
    if value is None:
        return found
    return replace(found, label_names={**found.label_names, value: IGNORE})


def _labels(found: LabelledSet) -> tuple[LabelConfig, ...]:
    return tuple(label_config(value, name) for value, name in sorted(found.label_names.items()))


def _values(made: TrainingSet, found: LabelledSet, events: EventSink) -> Mapping[int, int]:
    """Return the set's value of every label of the data set; labels it lacks are added."""
    values, labels = {}, made.labels
    for value, name in sorted(found.label_names.items()):
        known = match_labels([name], labels).values
        if name not in known:
            labels = (*labels, new_label(name, labels))
            events(Notice(f"{name} is a new label of the training set.", level="info"))
        values[value] = known.get(name, labels[-1].value)
    if labels != made.labels:
        made.set_labels(labels)
    return values


def _add_labelled(
    made: TrainingSet,
    case: Case,
    values: Mapping[int, int],
    order: Sequence[int],
    config: CollectConfig,
) -> bool:
    volume, label_map = read_case(case, series=config.series)
    array_DHW = np.zeros(label_map.array_DHW.shape, np.uint8)
    for value, ours in values.items():
        array_DHW[label_map.array_DHW == value] = ours
    known = np.isin(label_map.array_DHW, [0, *values])
    if not known.all():
        unknown = sorted(set(np.unique(label_map.array_DHW[~known]).tolist()))
        raise DataError(
            f"it has the values {', '.join(map(str, unknown))}, which have no name.",
            code="label-values",
            remedy="Name all labels with --labels, or in dataset.json.",
        )
    row, _is_new = add_volume(made, case.name, _channels(volume, order))
    if row.status not in OPEN:
        return False
    not_drawn = {values[value] for value in case.not_drawn if value in values}
    not_drawn |= {label.value for label in made.labels} - set(values.values())  # others' labels
    renumbered = LabelMap(array_DHW, label_map.geometry)
    if config.as_proposals:
        write_label_map(renumbered, made.proposal(row.name), labels=made.labels, overwrite=True)
        made.update(row.name, status="proposed")
        return True
    made.save_labels(
        row.name,
        lambda path: write_label_map(renumbered, path),
        status="checked",
        not_drawn=tuple(label.name for label in made.labels if label.value in not_drawn),
    )
    return True


def _add_unlabelled(
    made: TrainingSet, paths: Sequence[Path], order: Sequence[int], series: str | None
) -> bool:
    volume = read_volume(paths, series=series, num_channels=len(made.channels))
    name = case_name(paths[0])
    if len(paths) > 1:
        name = name.removesuffix("_0000")
    _row, is_new = add_volume(made, name, _channels(volume, order))
    return is_new


def _channels(volume: Volume, order: Sequence[int]) -> list[Volume]:
    return [replace(volume, array_CDHW=volume.array_CDHW[index, None]) for index in order]


def _unlabelled(config: CollectConfig) -> list[Path]:
    folder = config.unlabelled
    if folder is None:
        root = config.data if config.data.is_dir() else config.data.parent
        folder = root / _UNLABELLED
        if not folder.is_dir():
            return []
    return find_volumes(folder)
