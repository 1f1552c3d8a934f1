"""What a pretraining is worth: one fine-tuning, from scratch and from every kind of pretraining.

    python Testing/Benchmarks/pretraining_evidence.py run DATA WORK [--sets headneck_ct]
        [--starts scratch volume-fusion ...] [--pretraining-steps 1000] [--cases 16] [--seeds 1 2 3]
    python Testing/Benchmarks/pretraining_evidence.py report WORK

A start is pretrained once, on the training volumes of the set, or of another where its name says
so, and at the voxel size and patch of its fine-tuning in `recipes.py`, with which it shares WORK,
report and trainings: network, cases, samples and steps of a seed are the same in all rows. Nobody
sees the volumes that judge. A run that was stopped goes on where it was, and several processes
share the load.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from recipes import RECIPES, SETS, Recipe, report, try_once
from trials import LabelledCases, TrialCommands, claimed

from MISFMLib.configs import PretrainConfig
from MISFMLib.jobs.pretrain.pretrain import run_pretrain


@dataclass(frozen=True)
class Start:
    """Pretrained weights."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Of `PretrainConfig`."""
    data: str = ""
    """Folder of volumes in DATA; those of the set to be learnt where not given."""
    init_parts: str = "all"
    """What fine-tuning takes over."""


def _fusion(data: str = "", **settings: Any) -> Start:
    return Start({"method": "volume-fusion", **settings}, data)


STARTS = {
    "volume-fusion": _fusion(),
    "volume-fusion-boxes": _fusion(sampler="boxes"),
    "fusion-masking": Start({"method": "fusion-masking"}),
    **{
        name: Start({"method": name}, init_parts="encoder")
        for name in ("model-genesis", "patch-swapping", "masked-modelling")
    },
    **{name: Start({"method": name}) for name in ("rotation", "contrastive")},
    **{f"levels-{count}": _fusion(num_levels=count) for count in (1, 2, 6, 8)},
    "tenth": _fusion(fraction=0.1),
    "half": _fusion(fraction=0.5),
    "sarcoma-ct": _fusion("sarcoma_ct_mr/CT", modality="CT"),
    "sarcoma-mr": _fusion("sarcoma_ct_mr/MR_T1", modality="MR"),
}
SCRATCH = "scratch"
ENOUGH_HELD_OUT = ("headneck_ct", "hippocampus_mr")
"""Sets whose judges are none of the training volumes, which a pretraining sees."""


def run(arguments: argparse.Namespace) -> None:
    """Compute what is not there yet, and no other process is computing."""
    for name, start in product(arguments.sets, arguments.starts):
        cases = LabelledCases(arguments.data / name, arguments.work)
        key, recipe = "default", RECIPES["default"]
        if start != SCRATCH:
            key = f"{start}-{arguments.pretraining_steps}"
            init = _pretrained(arguments, STARTS[start], cases, key)
            settings = {"init": str(init), "init_parts": STARTS[start].init_parts}
            recipe = Recipe(f"from {key}", settings)
        for seed, count in product(arguments.seeds, arguments.cases):
            try_once(key, recipe, cases, count, seed)


def _pretrained(
    arguments: argparse.Namespace, start: Start, cases: LabelledCases, key: str
) -> Path:
    """Return the bundle of a start, pretrained if it is not there yet."""
    bundle = cases.work / cases.name / "pretrained" / key
    settings: dict[str, Any] = {**SETS[cases.name], "modality": cases.found.modality}
    settings |= {**start.settings, "steps": arguments.pretraining_steps}
    data = (arguments.data / start.data,) if start.data else tuple(cases.images())
    with claimed(bundle, wait=True) as is_open:
        if is_open:
            run_pretrain(
                PretrainConfig(
                    data=data,
                    output=bundle,
                    batch_size=2,
                    seed=1,
                    device="cpu",
                    threads=1,
                    resume=True,
                    **settings,
                )
            )
    return bundle


def main() -> None:
    commands = TrialCommands(__doc__, run=run, report=lambda given: report(given.work))
    choices = [SCRATCH, *STARTS]
    commands.run.add_argument("--sets", nargs="+", default=["headneck_ct"], choices=ENOUGH_HELD_OUT)
    commands.run.add_argument("--starts", nargs="+", default=choices, choices=choices)
    commands.run.add_argument("--pretraining-steps", type=int, default=1000)
    commands.run.add_argument("--cases", type=int, nargs="+", default=[16])
    commands.run.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    commands.start()


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.ERROR)
    main()
