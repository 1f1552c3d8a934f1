"""The table and the picture of `against_nnunet.py`."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tables import mean_sd, table_row

TITLES = {
    "scratch": "MISFM, from scratch",
    "start": "MISFM, from pretrained-general",
    "nnunet-narrow": "nnU-Net, narrowed",
    "nnunet": "nnU-Net, as planned",
}

Row = tuple[str, str, float, str]


def _results(work: Path) -> dict[Row, list[dict[str, Any]]]:
    rows: dict[Row, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(work.glob("*/*-*-*/*.json")):
        count, minutes, _seed = path.parent.name.split("-")
        row = (path.parent.parent.name, count, float(minutes), path.stem)
        rows[row].append(json.loads(path.read_text("utf-8")))
    return rows


def _means(results: Sequence[dict[str, Any]]) -> list[float]:
    return [statistics.fmean(result["dice"].values()) for result in results]


def report(work: Path, picture: Path | None) -> str:
    """Write a table in Markdown, and draw the curves."""
    rows = _results(work)
    head = ["set", "cases", "CPU minutes", "training", "seeds", "steps", "Dice", "each label"]
    lines = [table_row(head), table_row(["---"] * len(head))]
    for (name, count, minutes, contestant), results in sorted(rows.items()):
        labels = results[0]["dice"]
        each = (mean_sd([result["dice"][label] for result in results]) for label in labels)
        steps = f"{statistics.fmean(result['steps'] for result in results):.0f}"
        cells = [name, count, f"{minutes:g}", contestant, str(len(results)), steps]
        lines.append(table_row([*cells, mean_sd(_means(results)), ", ".join(each)]))
    if picture:
        _draw(rows, picture)
    return "\n".join(lines)


def _draw(rows: dict[Row, list[dict[str, Any]]], picture: Path) -> None:
    """Draw Dice over CPU minutes, a panel for each set."""
    import matplotlib.pyplot as plt

    sets = sorted({(name, count) for name, count, *_ in rows})
    figure, axes = plt.subplots(1, len(sets), figsize=(4.5 * len(sets), 3.5), squeeze=False)
    for axis, (name, count) in zip(axes[0], sets, strict=True):
        for contestant in TITLES:
            points = sorted(
                (minutes, 100 * statistics.fmean(_means(results)))
                for (of, n, minutes, who), results in rows.items()
                if (of, n, who) == (name, count, contestant)
            )
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", label=TITLES[contestant])
        axis.set(title=f"{name}, {count} cases", xlabel="CPU minutes of one thread", ylim=(0, 100))
        budgets = sorted({minutes for of, n, minutes, _ in rows if (of, n) == (name, count)})
        axis.set_xscale("log")
        axis.set_xticks(budgets, [f"{minutes:g}" for minutes in budgets])
        axis.minorticks_off()
    axes[0][0].set_ylabel("Dice of held-out volumes")
    max(axes[0], key=lambda axis: len(axis.lines)).legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=120)
