"""What the training benchmarks share: drawn cases, one training, and the judging of whole volumes.

A trial lives in one JSON file. What is there is not computed again, and several processes on one
folder share the load, so that every benchmark can be stopped and started at will.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from MISFMLib.configs import FinetuneConfig
from MISFMLib.data.cases import Case, LabelledSet, find_cases
from MISFMLib.events import Event, Metric
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.jobs.train.finetune import run_finetune
from MISFMLib.metrics import dice
from MISFMLib.models.bundle import read_bundle
from MISFMLib.volumes.volume import read_label_map, read_volume, write_label_map

SETS = ("headneck_ct", "hippocampus_mr", "left_atrium_mr")
COMPLETE = {"headneck_ct": 4}
"""Of these sets only the first labels were drawn in every case."""
LOST = 0.3
"""Dice below which a label is lost."""


class TrialCommands:
    """Command line of a benchmark: ``run DATA WORK`` and ``report WORK``.

    What else they take is added to `run` and `report`.
    """

    def __init__(
        self,
        description: str | None,
        *,
        run: Callable[[argparse.Namespace], None],
        report: Callable[[argparse.Namespace], str],
    ) -> None:
        self._parser = argparse.ArgumentParser(description=description)
        self._commands = self._parser.add_subparsers(dest="command", required=True)
        self.run = self.add("run", run, "compute what is not there yet")
        self.run.add_argument("data", type=Path)
        self.report = self.add(
            "report", lambda arguments: print(report(arguments)), "print the tables"
        )
        for command in (self.run, self.report):
            command.add_argument("work", type=Path)

    def add(
        self, name: str, act: Callable[[argparse.Namespace], None], title: str
    ) -> argparse.ArgumentParser:
        """Add a command, and return its parser."""
        command = self._commands.add_parser(name, help=title)
        command.set_defaults(act=act)
        return command

    def start(self) -> None:
        """Do what the command line asks for."""
        arguments = self._parser.parse_args()
        arguments.act(arguments)


class LabelledCases:
    """A labelled set with its own split, reduced to the labels that all cases have."""

    def __init__(self, folder: Path, work: Path, name: str = "") -> None:
        """Open a set; its trials go into the folder of its name in `work`, or of another name."""
        self.name, self.work = name or folder.name, work
        self.found: LabelledSet = find_cases(_first_labels(folder, work))
        self._cases = {case.name: case for case in self.found.cases}
        self.train = sorted(self.found.split.train)
        """Cases that may be learnt from, with or without their labels."""
        self._validation = sorted(self.found.split.validation)

    def images(self) -> list[Path]:
        """Return the volumes that a pretraining may see."""
        return [self._cases[name].images[0] for name in self.train]

    def drawn(self, count: int, seed: int) -> list[Case]:
        """Draw training cases, as a user has them."""
        return [self._cases[name] for name in random.Random(seed).sample(self.train, count)]

    def held_out(self, most: int | None = None, *, without: Sequence[Case] = ()) -> list[Case]:
        """Return cases that no training sees; with a small validation part training cases too."""
        used = {case.name for case in without}
        names, rest = self._validation, sorted(set(self.train) - used)
        if most and len(names) < most:
            names = names + random.Random(0).sample(rest, min(len(rest), most - len(names)))
        return [self._cases[name] for name in names[:most]]

    def write(self, cases: Sequence[Case], held_out: Sequence[Case], folder: Path) -> Path:
        """Write a data set of these cases; its split holds out others where there are any."""
        names = self.found.label_names
        facts = {
            "labels": {"0": "background", **{str(v): name for v, name in names.items()}},
            "modality": {"0": self.found.modality},
            "training": [
                {"image": str(c.images[0]), "label": str(c.label)} for c in (*cases, *held_out)
            ],
        }
        if held_out:
            facts["split"] = {
                "train": [case.name for case in cases],
                "validation": [case.name for case in held_out],
            }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "dataset.json"
        path.write_text(json.dumps(facts), "utf-8")
        return path


def _first_labels(folder: Path, work: Path) -> Path:
    """Write a data set without the labels that were not drawn in every case."""
    if folder.name not in COMPLETE:
        return folder
    import numpy as np
    import SimpleITK as sitk

    target = work / "labelled" / folder.name
    target.mkdir(parents=True, exist_ok=True)
    facts = json.loads((folder / "dataset.json").read_text("utf-8"))
    with claimed(target / "dataset.json", wait=True) as is_open:
        if not is_open:
            return target
        most = COMPLETE[folder.name]
        for entry in facts["training"]:
            label = sitk.ReadImage(str(folder / entry["label"]))
            array = sitk.GetArrayFromImage(label)
            reduced = sitk.GetImageFromArray(np.where(array <= most, array, 0).astype(np.uint8))
            reduced.CopyInformation(label)
            path = target / "labelsTr" / Path(entry["label"]).name
            path.parent.mkdir(exist_ok=True)
            sitk.WriteImage(reduced, str(path), useCompression=True)
            entry["image"] = str((folder / entry["image"]).resolve())
            entry["label"] = str(path)
        facts["labels"] = {k: v for k, v in facts["labels"].items() if int(k) <= most}
        (target / "dataset.json").write_text(json.dumps(facts), "utf-8")
    return target


class _JudgedError(Exception):
    """The last validation was there; what a training does afterwards is of no interest."""


def last_look(data: Path, output: Path, changes: Sequence[Any] = (), **settings: Any) -> dict:
    """Train, and return what the last validation said, seconds, and the loss.

    Args:
        data: Data set with a split; its validation part judges, once, at the end.
        output: Folder for the run.
        changes: Context managers under which the training runs.
        settings: Of `FinetuneConfig`.
    """
    config = FinetuneConfig(
        data=data,
        output=output,
        device="cpu",
        overwrite=True,
        validate_every=settings["steps"],
        checkpoint_every=settings["steps"],
        **{"threads": 1, **settings},
    )
    values: dict[str, float] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Metric):
            values.update(event.values)
            if "score" in event.values:
                raise _JudgedError

    start = time.process_time()
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(change)
        with suppress(_JudgedError):
            run_finetune(config, listen)
    dice = {n.removeprefix("dice/"): v for n, v in values.items() if n.startswith("dice/")}
    return {"dice": dice, "loss": values["loss"], "cpu_seconds": time.process_time() - start}


def train_once(config: FinetuneConfig, record: Path) -> dict[str, Any]:
    """Train by the clock of CPU seconds, or go on, unless the record tells that this is done.

    Returns:
        Steps, CPU seconds, patch and samples a step, as they are written to the record.
    """
    if not record.exists():
        clock = SimpleNamespace(monotonic=time.process_time)
        with mock.patch("MISFMLib.training.loop.time", clock):
            report = run_finetune(config)
        facts = {
            "steps": report["steps"],
            "cpu_seconds": report["training_seconds"],
            "patch": read_bundle(config.output).manifest.preprocessing.patch_size,
            "batch_size": config.batch_size,
        }
        record.write_text(json.dumps(facts), "utf-8")
    done: dict[str, Any] = json.loads(record.read_text("utf-8"))
    return done


def segment_volumes(model: Path, images: Sequence[Path], targets: Sequence[Path]) -> None:
    """Segment volumes of one channel with a trained model where the label map is not there yet."""
    segmenter = Segmenter.from_bundle(read_bundle(model), SegmenterOptions(device="cpu"))
    for image, target in zip(images, targets, strict=True):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_label_map(segmenter.segment(read_volume((image,))).label_map, target)


def judge_volumes(
    cases: LabelledCases, held_out: Sequence[Case], predicted: Sequence[Path]
) -> dict[str, list[float]]:
    """Return for each label the Dice of every held-out volume."""
    names = {value: name for value, name in cases.found.label_names.items() if value}
    scores: dict[str, list[float]] = {name: [] for name in names.values()}
    for case, path in zip(held_out, predicted, strict=True):
        found = read_label_map(path).array_DHW
        reference = read_label_map(case.label).array_DHW
        for value, name in names.items():
            scores[name].append(dice(found == value, reference == value))
    return scores


@contextmanager
def claimed(target: Path, *, wait: bool) -> Iterator[bool]:
    """Tell whether a target is still to be made, and by this process; the claim dies with it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield not target.exists()


def write_result(result: Path, facts: dict[str, Any]) -> None:
    """Write down a trial."""
    result.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    dice = facts["dice"]
    each = ", ".join(f"{name} {100 * value:.1f}" for name, value in dice.items())
    mean = 100 * statistics.fmean(dice.values())
    print(f"{result.stem}: Dice {mean:.1f} ({each}), {facts['cpu_seconds']:.0f} s", flush=True)
