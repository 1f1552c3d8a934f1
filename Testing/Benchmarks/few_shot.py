"""What a few labelled cases are enough for: Dice and minutes of the few-shot preset.

    python Testing/Benchmarks/few_shot.py run DATA WORK [--init MODEL] [--cases 4 8 16]
        [--seeds 1 2 3] [--threads 1] [--warm-up-steps 0]
    python Testing/Benchmarks/few_shot.py report WORK        # prints the table

Trains as ``misfm finetune DATA -o OUTPUT [--init MODEL] --preset few-shot`` does, on one CPU core.
DATA is a labelled set with its own split. A seed draws cases from the training part, as a user has
them; the preset holds out a quarter of these to choose the weights by. All cases of the split's
validation part are segmented afterwards with the finished model: nothing was chosen by them. Runs
from fresh weights and from MODEL share cases, settings and seeds. What lies in WORK is not computed
again, and several processes on one WORK share the load.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tables import difference, mean_sd, table_row
from trials import claimed

from MISFMLib.configs import FinetuneConfig
from MISFMLib.data.cases import Case, LabelledSet, find_cases
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.jobs.quantize import dice_by_label
from MISFMLib.jobs.train.finetune import run_finetune
from MISFMLib.models.bundle import read_bundle
from MISFMLib.resources import read_preset

SCRATCH = "scratch"


def write_data(found: LabelledSet, cases: list[Case], folder: Path) -> Path:
    """Write a data set that has only some cases, and no split of its own."""
    facts = {
        "labels": {"0": "background", **{str(v): name for v, name in found.label_names.items()}},
        "modality": {"0": found.modality},
        "training": [{"image": str(c.images[0]), "label": str(c.label)} for c in cases],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "dataset.json"
    path.write_text(json.dumps(facts), "utf-8")
    return path


def train(
    found: LabelledSet,
    count: int,
    seed: int,
    init: str | None,
    result: Path,
    arguments: argparse.Namespace,
) -> None:
    """Fine-tune once and write minutes and the Dice of every held-out case."""
    by_name = {case.name: case for case in found.cases}
    drawn = random.Random(seed).sample(sorted(found.split.train), count)
    config = FinetuneConfig(
        data=write_data(found, [by_name[name] for name in drawn], result.with_suffix(".data")),
        output=result.with_suffix(".bundle"),
        init=init,
        seed=seed,
        device="cpu",
        threads=arguments.threads,
        overwrite=True,
        warm_up_steps=arguments.warm_up_steps,
        **read_preset("finetune-few-shot"),
    )
    start = time.perf_counter()
    report = run_finetune(config)
    minutes = (time.perf_counter() - start) / 60
    bundle = read_bundle(config.output)
    segmenter = Segmenter.from_bundle(bundle, SegmenterOptions(device="cpu"))
    held_out = [by_name[name] for name in sorted(found.split.validation)]
    dices = dice_by_label(held_out, {"": segmenter}, bundle.manifest.labels)
    names = [case.name for case in held_out]
    facts = {
        "seed": seed,
        "minutes": minutes,
        "steps": report["steps"],
        "dice": {
            label: dict(zip(names, values[""], strict=True)) for label, values in dices.items()
        },
    }
    result.write_text(json.dumps(facts), "utf-8")
    print(f"{result.stem}: {report['steps']} steps, {minutes:.1f} min", flush=True)


def run(arguments: argparse.Namespace) -> None:
    """Compute what is not there yet, and no other process is computing."""
    found = find_cases(arguments.data)
    starts = {SCRATCH: None}
    if arguments.init:
        starts[Path(arguments.init).name] = arguments.init
    for seed in arguments.seeds:
        for count in arguments.cases:
            for name, init in starts.items():
                result = arguments.work / f"{count}-{seed}-{name}.json"
                with claimed(result, wait=False) as is_open:
                    if is_open:
                        train(found, count, seed, init, result, arguments)


def report(work: Path) -> str:
    """Write a table in Markdown."""
    rows: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(work.glob("*.json")):
        count, _seed, name = path.stem.split("-", 2)
        rows[int(count), name].append(json.loads(path.read_text("utf-8")))
    labels = list(next(iter(rows.values()))[0]["dice"])
    head = ["cases", "start", "seeds", "steps", "minutes", "Dice", *labels, "against scratch"]
    lines = [table_row(head), table_row(["---"] * len(head))]
    for (count, name), results in sorted(rows.items(), key=_scratch_first):
        means = [[statistics.fmean(r["dice"][label].values()) for r in results] for label in labels]
        scratch = rows.get((count, SCRATCH), [])
        lines.append(
            table_row(
                [
                    str(count),
                    name,
                    str(len(results)),
                    f"{statistics.fmean(r['steps'] for r in results):.0f}",
                    f"{statistics.fmean(r['minutes'] for r in results):.1f}",
                    mean_sd([statistics.fmean(values) for values in zip(*means, strict=True)]),
                    *map(mean_sd, means),
                    difference(results, scratch) if name != SCRATCH else "",
                ]
            )
        )
    return "\n".join(lines)


def _scratch_first(item: tuple[tuple[int, str], Any]) -> tuple[int, bool, str]:
    count, name = item[0]
    return count, name != SCRATCH, name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    compute = commands.add_parser("run", help="compute what is not there yet")
    compute.add_argument("data", type=Path)
    compute.add_argument("work", type=Path)
    compute.add_argument("--init", help="model to start from, beside fresh weights")
    compute.add_argument("--cases", type=int, nargs="+", default=[4, 8, 16])
    compute.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    compute.add_argument("--threads", type=int, default=1)
    compute.add_argument("--warm-up-steps", type=int, default=FinetuneConfig.warm_up_steps)
    show = commands.add_parser("report", help="print the table")
    show.add_argument("work", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments)
    else:
        print(report(arguments.work))


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.ERROR)
    main()
