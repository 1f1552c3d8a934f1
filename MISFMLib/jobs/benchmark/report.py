"""The tables of a benchmark: Markdown, CSV and LaTeX, and a box plot."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MISFMLib.files import written_atomically
from MISFMLib.jobs.benchmark.statistics import Difference, compare_rows
from MISFMLib.jobs.evaluate.comparison import LabelScore
from MISFMLib.jobs.evaluate.tables import defined, label_rows, mean_dice, write_table

_SHOWN = (
    ("dice", "Dice", 100, 1),
    ("surface_dice", "surface Dice", 100, 1),
    ("hausdorff95_mm", "HD95 mm", 1, 2),
    ("assd_mm", "ASSD mm", 1, 2),
)
"""Metric, its title, factor and digits."""


@dataclass(frozen=True)
class RowResult:
    """All trainings of one row."""

    name: str
    scores: tuple[tuple[LabelScore, ...], ...]
    """Of each training; the folds of one seed judge different cases."""
    costs: tuple[Mapping[str, Any], ...]

    def of_cases(self) -> dict[str, float]:
        """Return the mean Dice of each case over its labels and the seeds."""
        found: dict[str, list[float]] = {}
        for scores in self.scores:
            for case, dice in mean_dice(scores).items():
                found.setdefault(case, []).append(dice)
        return {case: statistics.fmean(values) for case, values in found.items()}

    def labels(self) -> list[dict[str, Any]]:
        """Return a row for each label, over cases and seeds."""
        return label_rows([score for scores in self.scores for score in scores])

    def mean(self, metric: str) -> tuple[float, float, int]:
        """Return mean, deviation and number of a metric's values over cases, labels and seeds."""
        values = defined(
            getattr(score.agreement, metric) for scores in self.scores for score in scores
        )
        deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
        return (statistics.fmean(values) if values else float("nan")), deviation, len(values)

    def cost(self, name: str) -> float:
        """Return the mean cost of a training; nan where it was not measured."""
        values = [float(cost[name]) for cost in self.costs if cost.get(name) is not None]
        return statistics.fmean(values) if values else float("nan")


def differences(rows: Sequence[RowResult]) -> dict[str, Difference]:
    """Compare the mean Dice of every case with that of the first row."""
    return compare_rows({row.name: row.of_cases() for row in rows}, rows[0].name)


def table_cells(rows: Sequence[RowResult]) -> list[list[str]]:
    """Return the table as text: a head, then one line for each row."""
    compared = differences(rows)
    head = ["", *(title for _, title, *_ in _SHOWN), f"Dice - {rows[0].name} (95 %)", "p"]
    tells_energy = any(row.cost("joules") > 0 for row in rows)
    cells = [[*head, "training s", *(["training Wh"] * tells_energy), "s a case"]]
    for row in rows:
        metrics = [_mean(row, metric, factor, digits) for metric, _, factor, digits in _SHOWN]
        energy = [f"{row.cost('joules') / 3600:.1f}"] if tells_energy else []
        costs = [
            f"{row.cost('training_s'):.0f}",
            *energy,
            f"{row.cost('seconds_per_case'):.1f}",
        ]
        cells.append([row.name, *metrics, *_difference(compared.get(row.name)), *costs])
    return [[_plain(cell) for cell in line] for line in cells]


def _mean(row: RowResult, metric: str, factor: int, digits: int) -> str:
    """Return mean and deviation; of distances also how many labels have one, where some are missed.

    Else a network that misses the hard ones would look better for it.
    """
    mean, deviation, count = row.mean(metric)
    judged = row.mean("dice")[2]
    of_all = f" ({count} of {judged})" if 0 < count < judged else ""
    return f"{factor * mean:.{digits}f} ± {factor * deviation:.{digits}f}{of_all}"


def _difference(found: Difference | None) -> list[str]:
    if found is None:
        return ["", ""]
    span = f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    return [span, f"{found.p:.3g}"]


def _plain(cell: str) -> str:
    return cell.replace(" ± nan", "").replace("nan", "-")


def markdown(cells: Sequence[Sequence[str]], notes: Iterable[str]) -> str:
    """Return a Markdown table with notes below."""
    lines = ["| " + " | ".join(line) + " |" for line in cells]
    lines.insert(1, "|" + " --- |" * len(cells[0]))
    return "\n".join([*lines, "", *notes, ""])


def latex(cells: Sequence[Sequence[str]]) -> str:
    """Return a LaTeX tabular with booktabs rules."""
    lines = [" & ".join(map(_tex, line)) + r" \\" for line in cells]
    columns = "l" + "r" * (len(cells[0]) - 1)
    body = "\n".join([lines[0], r"\midrule", *lines[1:]])
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _tex(cell: str) -> str:
    text = cell.replace("±", r"$\pm$").replace("%", r"\%").replace("_", r"\_")
    return text.replace("&", r"\&")


def write_reports(rows: Sequence[RowResult], notes: Sequence[str], folder: Path) -> list[list[str]]:
    """Write table.md, table.tex, table.csv (labels), cases.csv and, with matplotlib, boxes.png.

    Returns:
        The cells of the table.

    Raises:
        OutputError: The place is read-only or full.
    """
    cells = table_cells(rows)
    for name, text in (("table.md", markdown(cells, notes)), ("table.tex", latex(cells))):
        with written_atomically(folder / name, overwrite=True) as temporary:
            temporary.write_text(text, "utf-8")
    by_label = [{"row": row.name, **label} for row in rows for label in row.labels()]
    write_table(by_label, folder / "table.csv", overwrite=True)
    by_case = [
        {"row": row.name, "case": case, "mean_dice": round(dice, 6)}
        for row in rows
        for case, dice in row.of_cases().items()
    ]
    write_table(by_case, folder / "cases.csv", overwrite=True)
    return cells


def write_boxes(rows: Sequence[RowResult], path: Path) -> None:
    """Draw the mean Dice of the cases of each row as boxes with points.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    from MISFMLib.export.overview import TEXT, new_figure, write_picture  # needs matplotlib

    figure = new_figure((1.5 + 1.4 * len(rows), 5.0))
    axes = figure.add_subplot()
    axes.set_facecolor(figure.get_facecolor())
    values = [list(row.of_cases().values()) for row in rows]
    lines: dict[str, Any] = {
        f"{part}props": {"color": TEXT} for part in ("median", "box", "whisker", "cap")
    }
    axes.boxplot(values, showfliers=False, **lines)
    for position, points in enumerate(values, start=1):
        axes.plot([position] * len(points), points, ".", alpha=0.5)
    axes.set_xticks(range(1, len(rows) + 1), [row.name for row in rows], rotation=20, color=TEXT)
    axes.tick_params(axis="y", colors=TEXT)
    axes.set_ylabel("mean Dice of a case", color=TEXT)
    figure.tight_layout()
    write_picture(figure, path, overwrite=True)
