"""Pictures of the cases that each row of a benchmark segments worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from MISFMLib.configs import BenchmarkConfig
from MISFMLib.data.case_reading import read_case
from MISFMLib.data.cases import Case
from MISFMLib.errors import DataError, DependencyError
from MISFMLib.events import EventSink, Notice
from MISFMLib.jobs.benchmark.carry_out import read_scores
from MISFMLib.jobs.benchmark.plan import Run
from MISFMLib.jobs.evaluate.tables import mean_dice
from MISFMLib.models.bundle import read_bundle
from MISFMLib.volumes.volume import on_grid, read_label_map


def draw_worst(
    runs: Sequence[Run], cases: Mapping[str, Case], config: BenchmarkConfig, events: EventSink
) -> None:
    """Draw the cases of each row with the lowest mean Dice to the folder ``worst``.

    Args:
        runs: Trainings that are done.
        cases: All cases of the data set by name.
        config: How many to draw, and where.
        events: Hears why a picture could not be drawn.
    """
    for row in dict.fromkeys(run.row for run in runs):
        judged = [
            (dice, name, run)
            for run in runs
            if run.row == row
            for name, dice in _means(run).items()
        ]
        for dice, name, run in sorted(judged, key=lambda entry: entry[:2])[: config.worst]:
            try:
                _draw(run, cases[name], dice, config)
            except (DataError, DependencyError) as error:
                events(Notice(f"No picture of {name}: {error}", level="info"))


def _means(run: Run) -> dict[str, float]:
    done = read_scores(run)
    return mean_dice(done[0]) if done else {}


def _draw(run: Run, case: Case, dice: float, config: BenchmarkConfig) -> None:
    from MISFMLib.export.comparison import write_comparison  # needs matplotlib

    volume, reference = read_case(case)
    path = run.folder / "labels" / f"{case.name}.nii.gz"
    prediction = on_grid(read_label_map(path), volume, name=str(path))
    labels = read_bundle(run.folder / "model").manifest.labels
    output = config.output / "worst" / run.folder.name / f"{case.name}.png"
    title = f"{case.name}  {run.row.name}  Dice {dice:.3f}"
    write_comparison(volume, prediction, reference, labels, output, title)
