"""What pretraining is worth: one fine-tuning, from scratch and from every kind of pretraining.

    python Testing/Benchmarks/pretraining_evidence.py run DATA WORK [--tables methods levels ...]
    python Testing/Benchmarks/pretraining_evidence.py report WORK [--tables ...]

DATA holds the folders named in `pretraining_comparisons.py`, as are the tables. The rows of a table
differ in their start only: network, labelled cases, steps, samples and seeds are the same, and
everything else is as in ``misfm finetune``. Held-out cases are never pretrained on. As published,
the weights with the highest Dice on them are kept, here out of a few looks. What lies in WORK is
not computed again, so a run that was stopped goes on when it is started again, and several
processes on one WORK share the load.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretraining_comparisons import (
    SEEDS,
    SETS,
    TABLES,
    UNLABELLED,
    Comparison,
    Start,
    rows_of,
)
from tables import case_means, difference, mean, mean_sd, table_row
from trials import LabelledCases, TrialCommands, claimed

from MISFMLib.configs import FinetuneConfig, PrepareConfig, PretrainConfig
from MISFMLib.events import Event, Metric
from MISFMLib.jobs.prepare.prepare import run_prepare
from MISFMLib.jobs.pretrain.pretrain import run_pretrain
from MISFMLib.jobs.train.finetune import run_finetune

COMMON = {
    "resolution_mode": 0,
    "checkpoint_every": 500,
    "device": "cpu",
    "threads": 1,
    "overwrite": True,
}
PRETRAINING = {
    "patch_size": (48, 48, 48),
    "steps": 4000,
    "batch_size": 2,
    "validate_every": 500,
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
        return self.work / "finetuned" / f"{'-'.join(map(str, parts))}.json"

    def cases(self, set_name: str) -> LabelledCases:
        """Open a labelled set."""
        folder = self.data / set_name
        return LabelledCases(folder, self.work, SETS[set_name].more_held_out)

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

    def volumes(self, folder: str) -> list[Path]:
        """Return a folder, or the training images of a labelled set."""
        return self.cases(folder).images() if folder in SETS else [self.data / folder]

    def finetune(
        self, comparison: Comparison, set_name: str, count: int, seed: int, start: Start
    ) -> None:
        """Fine-tune once and keep curve, Dice of every case, and seconds."""
        result, of_set = self.result(comparison, set_name, count, seed, start), SETS[set_name]
        cases = self.cases(set_name)
        held_out = cases.held_out(of_set.most_held_out)
        bundle = self.pretrained(start, comparison.network)
        curve: dict[int, float] = {}

        def watch(event: Event) -> None:
            if isinstance(event, Metric) and "score" in event.values:
                curve[event.step] = event.values["score"]

        settings = {**COMMON, **of_set.settings}
        report = run_finetune(
            FinetuneConfig(
                data=cases.write(cases.drawn(count, seed), held_out, result.with_suffix(".data")),
                output=result.with_suffix(".bundle"),
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


def run(arguments: argparse.Namespace) -> None:
    """Compute what the tables lack."""
    bench = Bench(arguments.data, arguments.work)
    for name in arguments.tables:
        bench.run(TABLES[name])


def report(arguments: argparse.Namespace) -> str:
    """Write the tables in Markdown."""
    bench = Bench(Path(), arguments.work)
    return "\n".join(_table(bench, TABLES[name]) for name in arguments.tables)


def _table(bench: Bench, comparison: Comparison) -> str:
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
    per_label = [mean_sd([mean(row["dice"][label].values()) for row in rows]) for label in labels]
    overall = mean_sd([mean(case_means(row).values()) for row in rows])
    curve = [mean_sd([row["curve"][str(look)] for row in rows]) for look in looks]
    is_scratch = scratch is None or rows is scratch
    return [overall, *per_label, "" if is_scratch else difference(rows, scratch or []), *curve]


def main() -> None:
    commands = TrialCommands(__doc__, run=run, report=report)
    for command in (commands.run, commands.report):
        command.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    commands.start()


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.ERROR)
    main()
