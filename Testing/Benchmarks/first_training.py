"""What ``misfm finetune`` gives to someone with a few labelled cases who sets nothing, or little.

    python Testing/Benchmarks/first_training.py run DATA WORK [--sets hippocampus_mr ...]
        [--cases 4 16] [--seeds 1] [--preset few-shot] [--patch-size 48 48 48] [--minutes 10]
        [--starts scratch pretrained-general unet3d-small]
    python Testing/Benchmarks/first_training.py report WORK

A seed draws the cases. They alone are given to the training, which holds out a part of them for
itself and decides its own length, voxel size, patch and end; it gets one thread. Twenty volumes
that nothing saw are segmented with the finished model and judge it. Below Dice 0.3 a label is lost.

A training that was killed goes on where it was, as a user's would; what is done is not computed
again, and several processes share the load.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from tables import mean_sd, table_row
from trials import (
    LOST,
    SETS,
    LabelledCases,
    TrialCommands,
    claimed,
    judge_volumes,
    segment_volumes,
    train_once,
    write_result,
)

from MISFMLib.configs import FinetuneConfig
from MISFMLib.data.cases import Case
from MISFMLib.device import cpu_name
from MISFMLib.resources import read_preset

HELD_OUT = 20
STARTS = {
    "scratch": {},
    "pretrained-general": {"init": "pretrained-general"},
    "unet3d-small": {"network": "unet3d-small"},
}
"""The small PCT-Net with fresh weights and with pretrained ones, and another fresh network."""


def run(arguments: argparse.Namespace) -> None:
    """Train and judge what is not there yet."""
    asked = _asked(arguments)
    for seed, name, count, start in product(
        arguments.seeds, arguments.sets, arguments.cases, arguments.starts
    ):
        file = "-".join(map(str, [count, start, *asked, seed]))
        result = arguments.work / name / f"{file}.json"
        with claimed(result, wait=False) as is_open:
            if is_open:
                settings: dict[str, Any] = {}
                for each in (*asked.values(), {"seed": seed, **STARTS[start]}):
                    settings |= each
                cases = LabelledCases(arguments.data / name, arguments.work)
                facts = _train(cases, cases.drawn(count, seed), result, settings)
                write_result(result, {"start": "-".join([start, *asked]), **facts})


def _asked(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the settings that are not the defaults, by names for files and rows."""
    asked: dict[str, dict[str, Any]] = {}
    if arguments.preset:
        asked[arguments.preset] = read_preset(f"finetune-{arguments.preset}")
    if arguments.patch_size:
        patch = tuple(arguments.patch_size)
        asked["x".join(map(str, patch))] = {"patch_size": patch}
    if arguments.minutes:
        asked[f"{arguments.minutes:g}min"] = {"minutes": arguments.minutes}
    return asked


def _train(
    cases: LabelledCases, drawn: Sequence[Case], result: Path, settings: dict[str, Any]
) -> dict[str, Any]:
    """Train on the drawn cases, segment others, and return what came out."""
    work = result.with_suffix(".work")
    config = FinetuneConfig(
        data=cases.write(drawn, (), work / "data"),
        output=work / "model",
        device="cpu",
        threads=1,
        resume=True,
        **settings,
    )
    facts = train_once(config, work / "trained.json")
    held_out = cases.held_out(HELD_OUT, without=drawn)
    predicted = [work / "predicted" / f"{case.name}.nii.gz" for case in held_out]
    segment_volumes(config.output, [Path(case.images[0]) for case in held_out], predicted)
    scores = judge_volumes(cases, held_out, predicted)
    return {
        **facts,
        "cpu": cpu_name(),
        "dice": {label: statistics.fmean(values) for label, values in scores.items()},
        "cases": scores,
    }


def report(work: Path) -> str:
    """Write a table in Markdown."""
    rows: dict[tuple[str, int, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(work.glob("*/*-*-*.json")):
        count, _ = path.stem.split("-", 1)
        facts = json.loads(path.read_text("utf-8"))
        rows[path.parent.name, int(count), facts["start"]].append(facts)
    head = ["set", "cases", "start", "seeds", "steps", "CPU minutes", "Dice", "each label", "lost"]
    lines = [table_row(head), table_row(["---"] * len(head))]
    return "\n".join(lines + [_row(key, results) for key, results in sorted(rows.items())])


def _row(key: tuple[str, int, str], results: Sequence[dict[str, Any]]) -> str:
    name, count, start = key
    found = [dice for result in results for dice in result["dice"].values()]
    each = (
        f"{label} {mean_sd([result['dice'][label] for result in results])}"
        for label in results[0]["dice"]
    )
    cells = [
        name,
        str(count),
        start,
        str(len(results)),
        ", ".join(str(result["steps"]) for result in results),
        ", ".join(f"{result['cpu_seconds'] / 60:.1f}" for result in results),
        mean_sd([statistics.fmean(result["dice"].values()) for result in results]),
        ", ".join(each),
        f"{sum(dice < LOST for dice in found)} of {len(found)}",
    ]
    return table_row(cells)


def main() -> None:
    commands = TrialCommands(__doc__, run=run, report=lambda given: report(given.work))
    commands.run.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    commands.run.add_argument("--cases", type=int, nargs="+", default=[4, 16])
    commands.run.add_argument("--seeds", type=int, nargs="+", default=[1])
    commands.run.add_argument("--preset", help="of misfm finetune, as few-shot")
    commands.run.add_argument("--patch-size", type=int, nargs=3, metavar=("D", "H", "W"))
    commands.run.add_argument("--minutes", type=float, help="of CPU time, after which it ends")
    commands.run.add_argument("--starts", nargs="+", default=["scratch"], choices=list(STARTS))
    commands.start()


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.ERROR)
    main()
