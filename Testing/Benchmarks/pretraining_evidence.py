"""What pretraining is worth: one fine-tuning, from scratch and from every kind of pretraining.

    python Testing/Benchmarks/pretraining_evidence.py run DATA WORK [--tables methods levels ...]
    python Testing/Benchmarks/pretraining_evidence.py report WORK [--tables ...]

DATA holds the folders named in `SETS` and `UNLABELLED`. The rows of a table differ in their start
only: network, labelled cases, steps, samples and seeds are the same. Held-out cases are never
pretrained on. As published, the weights with the highest Dice on them are kept, here out of a few
looks. What lies in WORK is not computed again, so a run that was stopped goes on when it is started
again, and several processes on one WORK share the load.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import json
import logging
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from MISFMLib.configs import FinetuneConfig, PrepareConfig, PretrainConfig
from MISFMLib.data.cases import Split, find_cases
from MISFMLib.events import Event, Metric
from MISFMLib.jobs.prepare.prepare import run_prepare
from MISFMLib.jobs.pretrain.pretrain import run_pretrain
from MISFMLib.jobs.train.finetune import run_finetune

PATCH = (48, 48, 48)
SEEDS = (1, 2, 3, 4, 5)
MOST_CASES = 16
"""Labelled cases that a seed draws; a smaller number takes the first of these."""
PRETRAINING = {"steps": 4000, "batch_size": 2, "validate_every": 500}
COMMON = {
    "patch_size": PATCH,
    "resolution_mode": 0,
    "checkpoint_every": 500,
    "device": "cpu",
    "threads": 1,
    "overwrite": True,
}
FROM_THE_START = {"warm_up_steps": 0}
"""The tables were begun before a warm-up was the default; the last one shows what it does."""


# ------------------------------------------------------------------------------ what is compared


@dataclass(frozen=True, kw_only=True)
class LabelledData:
    """A labelled set and how every network is fine-tuned on it."""

    title: str
    settings: dict[str, Any]
    """Settings of `FinetuneConfig`."""
    labels: int | None = None
    """Only the labels up to this value, where the others were not drawn in every case."""
    more_held_out: int = 0
    """Training cases that are held out too, where the set's own validation is small."""
    most_held_out: int | None = None
    """Held-out cases that are segmented, where all would take longer than the training."""


MR = {"intensity": "mr-percentile"}
SETS = {
    "hippocampus_mr": LabelledData(
        title="hippocampus MR",
        # Shorter patches do not show which end of the hippocampus they are at.
        settings={
            **MR,
            "steps": 240,
            "learning_rate": 3e-3,
            "patch_size": (32, 48, 32),
            "mirror_axes": (2,),
        },
    ),
    "left_atrium_mr": LabelledData(
        title="left atrium MR, 2 mm",
        settings={
            **MR,
            "steps": 300,
            "learning_rate": 3e-3,
            "patch_size": (32, 48, 48),
            "spacing_dhw": (2.0, 2.0, 2.0),
        },
        more_held_out=16,
    ),
    "headneck_ct": LabelledData(
        title="head-neck CT, 4 mm",
        settings={
            "intensity": "ct-clip",
            "steps": 500,
            "learning_rate": 1e-2,
            "spacing_dhw": (4.0, 4.0, 4.0),
            "mirror_axes": (),
        },
        labels=4,
        most_held_out=12,
    ),
}
UNLABELLED = {
    "ct": ("headneck_ct", "sarcoma_ct_mr/CT"),
    "mr": ("hippocampus_mr", "left_atrium_mr", "sarcoma_ct_mr/MR_T1"),
}


@dataclass(frozen=True)
class Start:
    """Weights that a fine-tuning starts from; fresh ones without settings."""

    title: str
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of `PretrainConfig`."""
    stores: tuple[str, ...] = ("ct", "mr")
    """Unlabelled volumes."""
    init_parts: str = "all"
    """What fine-tuning takes over."""

    def key(self, network: str) -> str:
        """Name of the weights; the same for equal settings, whatever the title."""
        if not self.settings:
            return f"{network}-scratch"
        return "-".join(map(str, (network, *self.settings.values(), *self.stores)))


@dataclass(frozen=True)
class Comparison:
    """One table."""

    title: str
    starts: Sequence[Start]
    sets: Sequence[str]
    case_counts: Sequence[int]
    network: str = "unet3d-small"
    looks: int = 4
    """Validations, evenly over the fine-tuning."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of `FinetuneConfig` that go before those of the set."""
    mark: str = ""
    """Added to the names of the results, where the other parts would be those of another table."""


def fusion(title: str, stores: tuple[str, ...] = ("ct", "mr"), **settings: Any) -> Start:
    """Volume Fusion with the blocks of 2025, unless told otherwise."""
    return Start(title, {"method": "volume-fusion", "sampler": "grid", **settings}, stores)


SCRATCH = Start("scratch")
GRID, BOXES = fusion("Volume Fusion, grid"), fusion("Volume Fusion, boxes", sampler="boxes")
RESTORING = ("patch-swapping", "model-genesis", "masked-modelling")
ENCODING = ("rotation", "contrastive")
GRID_ENCODER = replace(GRID, title="Volume Fusion, grid, encoder", init_parts="encoder")
METHODS = [
    SCRATCH,
    GRID,
    GRID_ENCODER,
    BOXES,
    *(Start(f"{name}, encoder", {"method": name}, init_parts="encoder") for name in RESTORING),
    *(Start(name, {"method": name}) for name in ENCODING),
]
LEVELS = [
    fusion(f"K = {count}", **({} if count == 4 else {"num_levels": count}))
    for count in (1, 2, 4, 6, 8)
]
AMOUNTS = [fusion("a tenth", fraction=0.1), fusion("a half", fraction=0.5), fusion("all volumes")]
MODALITIES = [fusion("CT only", ("ct",)), fusion("MR only", ("mr",)), fusion("CT and MR")]
HIPPOCAMPUS, ATRIUM, HEAD_NECK = SETS

TABLES = {
    "methods": Comparison("Methods", METHODS, (HIPPOCAMPUS, HEAD_NECK), (4, 16)),
    "levels": Comparison("Fusion levels K", [SCRATCH, *LEVELS], (HEAD_NECK,), (16,)),
    "amount": Comparison("Amount of unlabelled volumes", [SCRATCH, *AMOUNTS], (HEAD_NECK,), (16,)),
    "modality": Comparison(
        "Across modalities", [SCRATCH, *MODALITIES], (HIPPOCAMPUS, HEAD_NECK), (16,)
    ),
    "networks": Comparison(
        "PCT-Net",
        [SCRATCH, GRID],
        (HIPPOCAMPUS, HEAD_NECK),
        (16,),
        network="small",
        settings={"learning_rate": 3e-3},  # the U-Net's rate is too high for it on the second set
    ),
    "warm-up": Comparison(
        "PCT-Net with a warm-up",
        [SCRATCH, GRID],
        (HEAD_NECK,),
        (16,),
        network="small",
        settings={"learning_rate": 3e-3, "warm_up_steps": 100},
        mark="warm-up",
    ),
    "convergence": Comparison("Convergence", [SCRATCH, GRID, BOXES], (ATRIUM,), (4,), looks=20),
}


# ---------------------------------------------------------------------------------- computing it


@dataclass(frozen=True)
class Bench:
    """Where the data are and the results go."""

    data: Path
    work: Path

    def run(self, comparison: Comparison) -> None:
        """Compute what a table lacks and no other process is computing."""
        for set_name, count, seed, start in rows_of(comparison):
            result = self.result(comparison, set_name, count, seed, start)
            with claimed(result, wait=False) as is_open:
                if is_open:
                    self.finetune(comparison, set_name, count, seed, start)

    def result(
        self, comparison: Comparison, set_name: str, count: int, seed: int, start: Start
    ) -> Path:
        """File with the outcome of one fine-tuning."""
        parts = [set_name, count, seed, comparison.looks, start.key(comparison.network)]
        parts += [start.init_parts] if start.init_parts != "all" else []
        parts += [comparison.mark] if comparison.mark else []
        return self.work / "finetuned" / f"{'-'.join(map(str, parts))}.json"

    def pretrained(self, start: Start, network: str) -> Path | None:
        """Return the bundle of a start, pretrained if it is not there yet."""
        if not start.settings:
            return None
        bundle = self.work / "pretrained" / start.key(network)
        with claimed(bundle, wait=True) as is_open:
            if is_open:
                settings = {"network": network, **PRETRAINING, **COMMON, **start.settings}
                stores = tuple(self.store(name) for name in start.stores)
                run_pretrain(PretrainConfig(data=stores, output=bundle, **settings))
                print(f"pretrained {bundle.name}", flush=True)
        return bundle

    def store(self, name: str) -> Path:
        """Return the store of the unlabelled volumes of a modality, without what is held out."""
        store = self.work / "stores" / name
        with claimed(store, wait=True):
            if not (store / "index.csv").exists():
                volumes = [path for folder in UNLABELLED[name] for path in self.volumes(folder)]
                run_prepare(PrepareConfig(data=tuple(volumes), output=store, workers=1))
        return store

    def labelled(self, set_name: str) -> Path:
        """Return the data set's file; of a set with left-out labels one in the work folder."""
        source, labels = self.data / set_name, SETS[set_name].labels
        if labels is None:
            return source / "dataset.json"
        target = self.work / "labelled" / set_name
        with claimed(target, wait=True) as is_open:
            if is_open:
                part = target.with_name(f"{set_name}.part")
                _write_first_labels(source, part, labels)
                part.rename(target)
        return target / "dataset.json"

    def volumes(self, folder: str) -> list[Path]:
        """Return a folder, or the training images of a labelled set."""
        if folder not in SETS:
            return [self.data / folder]
        kept = set(self.split(folder).train)
        cases = find_cases(self.data / folder / "dataset.json").cases
        return [case.images[0] for case in cases if case.name in kept]

    def split(self, set_name: str) -> Split:
        """Return all cases that may be learnt from, and those that are held out."""
        split = find_cases(self.data / set_name / "dataset.json").split
        assert split is not None, f"{set_name} has no split"
        train, extra = sorted(split.train), SETS[set_name].more_held_out
        held_out = (sorted(split.validation) + train[:extra])[: SETS[set_name].most_held_out]
        return Split(tuple(train[extra:]), tuple(held_out))

    def finetune(
        self, comparison: Comparison, set_name: str, count: int, seed: int, start: Start
    ) -> None:
        """Fine-tune once and keep curve, Dice of every case, and seconds."""
        result = self.result(comparison, set_name, count, seed, start)
        split = self.split(set_name)
        train = random.Random(seed).sample(split.train, MOST_CASES)[:count]
        split_file = result.with_suffix(".split")
        split_file.write_text(json.dumps({"train": train, "validation": split.validation}))
        settings = {**COMMON, **FROM_THE_START, **SETS[set_name].settings, **comparison.settings}
        bundle = self.pretrained(start, comparison.network)
        curve: dict[int, float] = {}

        def watch(event: Event) -> None:
            if isinstance(event, Metric) and "score" in event.values:
                curve[event.step] = event.values["score"]

        report = run_finetune(
            FinetuneConfig(
                data=self.labelled(set_name),
                output=self.work / "bundle" / result.stem,
                split=split_file,
                init=str(bundle) if bundle else None,
                init_parts=start.init_parts,
                network=comparison.network,
                seed=seed,
                validate_every=settings["steps"] // comparison.looks,
                **settings,
            ),
            watch,
        )
        with Path(report["scores"]).open(newline="", encoding="utf-8") as file:
            scores = [
                (row["case"], row["label"], float(row["dice"])) for row in csv.DictReader(file)
            ]
        facts = {"curve": curve, "scores": scores, "seconds": report["training_seconds"]}
        result.write_text(json.dumps(facts))
        print(f"{result.stem}: {report['evaluation']['mean Dice of the labels']:.4f}", flush=True)


def _write_first_labels(source: Path, target: Path, labels: int) -> None:
    """Write a data set again without the label values above `labels`."""
    facts = json.loads((source / "dataset.json").read_text())
    for case in facts["training"]:
        image = sitk.ReadImage(source / case["label"])
        path = target / case["label"]
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image * sitk.Cast(image <= labels, image.GetPixelID()), path)
        case["image"] = str(source / case["image"])
    facts["labels"] = {
        value: name for value, name in facts["labels"].items() if int(value) <= labels
    }
    (target / "dataset.json").write_text(json.dumps(facts))


def rows_of(comparison: Comparison) -> Iterator[tuple[str, int, int, Start]]:
    """Yield every fine-tuning of a table, one seed of all rows before the next."""
    for count in comparison.case_counts:
        for seed in SEEDS:
            for set_name in comparison.sets:
                for start in comparison.starts:
                    yield set_name, count, seed, start


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


# ---------------------------------------------------------------------------------- the tables


Dice = dict[str, dict[tuple[int, str], float]]
"""By label: Dice of (seed, case)."""


def report(bench: Bench, comparison: Comparison) -> str:
    """Write a table in Markdown."""
    lines = [f"### {comparison.title}", ""]
    for set_name in comparison.sets:
        for count in comparison.case_counts:
            lines += _section(bench, comparison, set_name, count)
    return "\n".join(lines)


def _section(bench: Bench, comparison: Comparison, set_name: str, count: int) -> list[str]:
    outcomes = {
        start.title: _outcomes(bench, comparison, set_name, count, start)
        for start in comparison.starts
    }
    complete = {title: rows for title, rows in outcomes.items() if rows}
    if not complete:
        return []
    labels = list(next(iter(complete.values()))[0]["dice"])
    looks = _shown_looks(comparison, SETS[set_name].settings["steps"])
    head = [
        "start",
        "seeds",
        "Dice",
        *labels,
        "against scratch",
        *(f"at {look} steps" for look in looks),
    ]
    lines = [
        f"{SETS[set_name].title}, {count} labelled cases",
        "",
        table_row(head),
        table_row(["---"] * len(head)),
    ]
    for title, rows in complete.items():
        lines.append(
            table_row(
                [title, str(len(rows)), *_cells(rows, labels, complete.get("scratch"), looks)]
            )
        )
    return [*lines, ""]


def _shown_looks(comparison: Comparison, steps: int) -> list[int]:
    shares = (0.1, 0.25, 0.5) if comparison.looks == 20 else (0.25, 0.5)
    return [round(share * steps) for share in shares]


def _outcomes(
    bench: Bench, comparison: Comparison, set_name: str, count: int, start: Start
) -> list[dict[str, Any]]:
    outcomes = []
    for seed in SEEDS:
        path = bench.result(comparison, set_name, count, seed, start)
        if path.exists():
            facts = json.loads(path.read_text())
            dice: dict[str, dict[str, float]] = defaultdict(dict)
            for case, label, value in facts["scores"]:
                dice[label][case] = value
            outcomes.append({"seed": seed, "dice": dict(dice), "curve": facts["curve"]})
    return outcomes


def _cells(
    rows: list[dict[str, Any]],
    labels: Sequence[str],
    scratch: list[dict[str, Any]] | None,
    looks: Sequence[int],
) -> list[str]:
    per_label = [mean_sd([_mean(row["dice"][label].values()) for row in rows]) for label in labels]
    overall = mean_sd([_mean(case_means(row).values()) for row in rows])
    curve = [mean_sd([row["curve"][str(look)] for row in rows]) for look in looks]
    is_scratch = scratch is None or rows is scratch
    return [overall, *per_label, "" if is_scratch else difference(rows, scratch or []), *curve]


def difference(rows: list[dict[str, Any]], scratch: list[dict[str, Any]]) -> str:
    """Mean difference of the same cases and seeds, with its 95 % interval.

    Seeds and cases are both drawn anew 5000 times, since both are samples of what could have been.
    """
    base = {row["seed"]: case_means(row) for row in scratch}
    pairs = [(case_means(row), base[row["seed"]]) for row in rows if row["seed"] in base]
    if not pairs:
        return ""
    gain_SC = np.array(
        [[ours[case] - theirs[case] for case in sorted(theirs)] for ours, theirs in pairs]
    )
    rng = np.random.default_rng(0)
    seeds, cases = gain_SC.shape
    drawn = [
        gain_SC[np.ix_(rng.integers(0, seeds, seeds), rng.integers(0, cases, cases))].mean()
        for _ in range(5000)
    ]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{100 * gain_SC.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def case_means(row: dict[str, Any]) -> dict[str, float]:
    """Mean Dice over the labels, by case; a label that a case lacks does not count."""
    values: dict[str, list[float]] = defaultdict(list)
    for dice in row["dice"].values():
        for case, value in dice.items():
            if not np.isnan(value):
                values[case].append(value)
    return {case: _mean(items) for case, items in values.items()}


def _mean(values: Any) -> float:
    return float(np.nanmean(list(values)))


def mean_sd(values: Sequence[float]) -> str:
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{deviation}"


def table_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="compute what is not there yet")
    run.add_argument("data", type=Path)
    show = commands.add_parser("report", help="print the tables")
    for command in (run, show):
        command.add_argument("work", type=Path)
        command.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args()
    bench = Bench(getattr(options, "data", Path()), options.work)
    for name in options.tables:
        if options.command == "run":
            bench.run(TABLES[name])
        else:
            print(report(bench, TABLES[name]))


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.ERROR)
    main()
