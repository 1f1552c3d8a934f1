"""Tables and a plot of what `loop_walk.py` has walked.

.venv/bin/python Testing/Benchmarks/loop_table.py WORK [WORK ...] [--plot Docs/loop.png]
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any


def read_walks(folders: list[Path]) -> list[dict[str, Any]]:
    """Return all walks by order and seed."""
    files = sorted(file for folder in folders for file in folder.glob("*/walk.json"))
    walks = [json.loads(file.read_text("utf-8")) for file in files]
    return sorted(walks, key=lambda walk: (walk["seed"], walk["order"]))


def table(walks: list[dict[str, Any]]) -> str:
    """Write a line for every round: the model after it, and the corrections that led to it."""
    head = ("order", "seed", "labelled", "Dice", "proposals' Dice", "voxels corrected")
    head += ("CPU s of training", "Done to next")
    lines = [_line(head), _line(["---"] * len(head))]
    for walk in walks:
        corrections: list[dict[str, Any]] = []
        for each in walk["rounds"]:
            lines.append(_line([walk["order"], walk["seed"], *_round(each, corrections)]))
            corrections = each["corrections"]
        if corrections and not walk["is_done"]:
            lines.append(_line([walk["order"], walk["seed"], "not finished", *[""] * 5]))
    return "\n".join(lines)


def summary(walks: list[dict[str, Any]]) -> str:
    """Write a line for every order: the means over its walks that came to their end."""
    head = ("order", "seeds", "Dice at the end", "Dice over the rounds", "voxels corrected")
    lines = [_line(head), _line(["---"] * len(head))]
    done = [walk for walk in walks if walk["is_done"]]
    for order in sorted({walk["order"] for walk in done}):
        of_order = [walk for walk in done if walk["order"] == order]
        later = [[each["dice"] for each in walk["rounds"][1:]] for walk in of_order]
        corrections = [
            row["changed_voxels"]
            for walk in of_order
            for each in walk["rounds"]
            for row in each["corrections"]
            if row["changed_voxels"] is not None
        ]
        cells = [order, len(of_order), f"{statistics.fmean(dice[-1] for dice in later):.3f}"]
        cells += [f"{statistics.fmean(statistics.fmean(dice) for dice in later):.3f}"]
        lines.append(_line([*cells, f"{statistics.fmean(corrections):.0f}"]))
    return "\n".join(lines)


def _round(each: dict[str, Any], corrections: list[dict[str, Any]]) -> list[str]:
    seen = [row for row in corrections if row["dice"] is not None]
    known = each["training_cpu_s"] == each["training_cpu_s"]
    return [
        str(each["labelled"]),
        f"{each['dice']:.3f}",
        f"{statistics.fmean(row['dice'] for row in seen):.3f}" if seen else "",
        f"{statistics.fmean(row['changed_voxels'] for row in seen):.0f}" if seen else "",
        f"{each['training_cpu_s']:.0f}" if known else "",
        f"{max(row['done_to_next_s'] for row in corrections):.1f} s" if corrections else "",
    ]


def _line(cells: Any) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def plot(walks: list[dict[str, Any]], path: Path) -> None:
    """Draw Dice on held-out cases over the labelled cases, one line for each walk."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    orders = sorted({walk["order"] for walk in walks})
    for walk in walks:
        rounds = walk["rounds"]
        title = f"{walk['order']}, seed {walk['seed']}"
        values = [each["dice"] for each in rounds]
        colour = f"C{orders.index(walk['order'])}"
        places = [each["labelled"] for each in rounds]
        axes.plot(places, values, marker="o", color=colour, label=title)
    axes.set(xlabel="Cases with labels", ylabel="Dice on held-out cases")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=110, bbox_inches="tight")


def main() -> None:
    """Print the tables, and draw the plot if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, nargs="+")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    walks = read_walks(options.work)
    print(table(walks))
    print()
    print(summary(walks))
    if options.plot is not None:
        plot(walks, options.plot)


if __name__ == "__main__":
    main()
