"""What was tried to make a training from scratch find every label: one change at a time.

    python Testing/Benchmarks/recipes.py run DATA WORK [--sets headneck_ct] [--seeds 1 2 3]
        [--cases 4 16] [--only NAME ...] [--inits MODEL ... [--rate 1e-3]]
    python Testing/Benchmarks/recipes.py report WORK        # prints the tables

DATA holds the labelled sets. Every row is the training of ``misfm finetune`` with the settings of
its set below and one change, or from a model; the judge is the training's own validation on whole
volumes in model space, on cases that it never saw, once, after the last step. What lies in WORK is
not computed again, and several processes share the load.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from recipe_changes import (
    averaged_weights,
    dice_per_sample,
    instance_norm,
    muon,
    sgd,
    weighted_cross_entropy,
    with_background,
    without_prior,
)
from tables import mean_sd, table_row
from trials import LOST, LabelledCases, TrialCommands, claimed, last_look, write_result

HELD_OUT = 12
SETS: dict[str, dict[str, Any]] = {
    "headneck_ct": {"steps": 300, "spacing_dhw": (6.0, 6.0, 6.0), "patch_size": (32, 32, 32)},
    "hippocampus_mr": {"steps": 240, "patch_size": (32, 48, 32)},
    "headneck_ct_4mm": {"steps": 560, "spacing_dhw": (4.0, 4.0, 4.0), "patch_size": (48, 48, 48)},
    "left_atrium_mr": {"steps": 150, "spacing_dhw": (2.0, 2.0, 2.0), "patch_size": (32, 48, 48)},
}
"""Settings of a training that takes a minute or two of one core, and shows what is lost; of
headneck_ct there are larger ones too, for five minutes."""

Change = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Recipe:
    """A change to the training."""

    title: str
    settings: dict[str, Any] = field(default_factory=dict)
    """Of `FinetuneConfig`; those of the set where not given."""
    changes: Sequence[Change] = ()
    """What the product does not offer."""
    faster: float = 1
    """Number of steps as a part of the usual one, where a step sees more or fewer voxels."""


# ------------------------------------------------------------------------------------ the recipes

RECIPES = {
    "default": Recipe("the default: prior, 3e-3, AdamW, warm-up 100"),
    "no-prior-1e-3": Recipe(
        "no prior, rate 1e-3 (as before)", {"learning_rate": 1e-3}, (without_prior,)
    ),
    "no-prior": Recipe("no prior", {}, (without_prior,)),
    "weighted": Recipe(
        "no prior, weighted cross-entropy", {}, (without_prior, weighted_cross_entropy)
    ),
    "prior-weighted": Recipe("weighted cross-entropy", {}, (weighted_cross_entropy,)),
    "1e-3": Recipe("rate 1e-3", {"learning_rate": 1e-3}),
    "1e-2": Recipe("rate 1e-2", {"learning_rate": 1e-2}),
    "no-warm-up": Recipe("no warm-up", {"warm_up_steps": 0}),
    "per-sample": Recipe("Dice of each sample for itself", {}, (dice_per_sample,)),
    "background": Recipe("Dice counts the background too", {}, (with_background,)),
    "batch-4": Recipe("4 patches a step, half the steps", {"batch_size": 4}, faster=0.5),
    "batch-1": Recipe("1 patch a step, twice the steps", {"batch_size": 1}, faster=2),
    "foreground-1/3": Recipe("a third of the patches on a label", {"foreground_share": 0.33}),
    "foreground-1": Recipe("all patches on a label", {"foreground_share": 1.0}),
    "label-patch": Recipe(
        "patches of the size of a label (16), 16 a step",
        {"patch_size": (16, 16, 16), "batch_size": 16},
    ),
    "large-patch": Recipe(
        "patches of 48, 2 a step, a third of the steps", {"patch_size": (48, 48, 48)}, faster=1 / 3
    ),
    "sgd": Recipe("SGD 1e-2, momentum 0.99", {"learning_rate": 1e-2}, (sgd,)),
    "muon": Recipe("Muon, AdamW for biases and norms", {}, (muon,)),
    "instance-norm": Recipe("instance norm", {}, (instance_norm,)),
    "average": Recipe("moving average of the weights (0.98)", {}, (averaged_weights,)),
    "no-deep-supervision": Recipe("finest output only", {"deep_supervision": False}),
    "no-augmentation": Recipe("no augmentation", {"augmentation": "none"}),
    "strong": Recipe("strong augmentation", {"augmentation": "strong"}),
    "ct-percentile": Recipe("CT percentiles to z-score", {"intensity": "ct-percentile"}),
    "unet": Recipe("3D U-Net", {"network": "unet3d-small"}),
    "unet-no-prior-1e-3": Recipe(
        "3D U-Net, no prior, rate 1e-3",
        {"network": "unet3d-small", "learning_rate": 1e-3},
        (without_prior,),
    ),
}
_CT_ONLY = ("ct-percentile",)


def _starts(inits: Sequence[str], rate: float | None) -> dict[str, Recipe]:
    """Return the trainings that begin with a model, at the usual learning rate or another."""
    suffix, settings = (f" at {rate:g}", {"learning_rate": rate}) if rate else ("", {})
    return {
        f"{Path(init).name}{suffix.replace(' ', '-')}": Recipe(
            f"from {Path(init).name}{suffix}", {"init": init, **settings}
        )
        for init in inits
    }


def run(arguments: argparse.Namespace) -> None:
    """Compute what is not there yet, and no other process is computing."""
    for name in arguments.sets:
        cases = LabelledCases(arguments.data / name.removesuffix("_4mm"), arguments.work, name)
        starts = _starts(arguments.inits, arguments.rate)
        recipes = {key: RECIPES[key] for key in arguments.only or ([] if starts else RECIPES)}
        trials = product(arguments.seeds, arguments.cases, {**recipes, **starts}.items())
        for seed, count, (key, recipe) in trials:
            if key in _CT_ONLY and "_ct" not in name:
                continue
            try_once(key, recipe, cases, count, seed)


def try_once(key: str, recipe: Recipe, cases: LabelledCases, count: int, seed: int) -> None:
    """Train and judge unless it is done, or another process is at it."""
    result = cases.work / cases.name / f"{count}-{key.replace('/', '-')}-{seed}.json"
    with claimed(result, wait=False) as is_open:
        if is_open:
            _try(recipe, cases, count, seed, result)


def _try(recipe: Recipe, cases: LabelledCases, count: int, seed: int, result: Path) -> None:
    settings = {**SETS[cases.name], **recipe.settings, "seed": seed}
    settings["steps"] = round(settings["steps"] * recipe.faster)
    drawn = cases.drawn(count, seed)
    held_out = cases.held_out(HELD_OUT, without=drawn)
    data = cases.write(drawn, held_out, result.with_suffix(".data"))
    changes = [change() for change in recipe.changes]
    facts = last_look(data, result.with_suffix(".bundle"), changes, **settings)
    write_result(result, {"title": recipe.title, "cases": count, "seed": seed, **facts})


def report(work: Path) -> str:
    """Write a table in Markdown for every set."""
    sections = []
    for folder in sorted(path for path in work.iterdir() if path.name in SETS):
        rows: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
        for path in sorted(folder.glob("*.json")):
            facts = json.loads(path.read_text("utf-8"))
            rows[facts["cases"], facts["title"]].append(facts)
        order = {recipe.title: place for place, recipe in enumerate(RECIPES.values())}
        keys = sorted(rows, key=lambda key: (-key[0], order.get(key[1], len(order)), key[1]))
        labels = list(rows[keys[0]][0]["dice"])
        head = ["cases", "training", "seeds", "Dice", "against the default"]
        head += [*labels, "lost labels", "CPU s"]
        lines = [f"{folder.name}:", "", table_row(head), table_row(["---"] * len(head))]
        default = RECIPES["default"].title
        lines += [_row(key, rows[key], rows.get((key[0], default), []), labels) for key in keys]
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def _row(
    key: tuple[int, str],
    results: Sequence[dict[str, Any]],
    default: Sequence[dict[str, Any]],
    labels: Sequence[str],
) -> str:
    lost = sum(dice < LOST for result in results for dice in result["dice"].values())
    means = {result["seed"]: statistics.fmean(result["dice"].values()) for result in results}
    each = [mean_sd([result["dice"].get(label, 0) for result in results]) for label in labels]
    seconds = statistics.fmean(result["cpu_seconds"] for result in results)
    count = len(labels) * len(results)
    return table_row(
        [
            *map(str, key),
            str(len(results)),
            mean_sd(list(means.values())),
            "" if results is default else _difference(means, default),
            *each,
            f"{lost} of {count}",
            f"{seconds:.0f}",
        ]
    )


def _difference(means: dict[int, float], default: Sequence[dict[str, Any]]) -> str:
    """Write what the default's Dice of the same seeds is exceeded by: on average, and each."""
    pairs = [
        100 * (means[result["seed"]] - statistics.fmean(result["dice"].values()))
        for result in default
        if result["seed"] in means
    ]
    each = ", ".join(f"{pair:+.1f}" for pair in pairs)
    return f"{statistics.fmean(pairs):+.1f} ({each})" if pairs else ""


def main() -> None:
    commands = TrialCommands(__doc__, run=run, report=lambda given: report(given.work))
    commands.run.add_argument("--sets", nargs="+", default=["headneck_ct"], choices=list(SETS))
    commands.run.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    commands.run.add_argument("--cases", type=int, nargs="+", default=[16])
    commands.run.add_argument("--only", nargs="+", choices=list(RECIPES))
    commands.run.add_argument("--inits", nargs="+", default=[], help="models to start from")
    commands.run.add_argument("--rate", type=float, help="learning rate of those")
    commands.start()


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.ERROR)
    main()
