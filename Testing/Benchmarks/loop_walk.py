"""Walk through the annotation loop as a user does, with reference labels as the annotator.

    MISFM_PYTHON=.venv/bin/python .venv-slicer/bin/python Testing/Benchmarks/loop_walk.py \
        DATA WORK [--orders "least sure" "in order" random] [--seeds 1 2] \
        [--labels 1 2 3 4] [--start 4] [--loop 20] [--after 5] [--held-out 20] [--steps 300 100] \
        [--settings JSON] [--kills 0] [--piece-s 0]
    .venv/bin/python Testing/Benchmarks/loop_table.py WORK          # the tables, and a plot

The panel in the stand-in for Slicer is driven by its own buttons: a training set with a few
labelled cases, a first fine-tuning, then Next case, the reference labels in place of what was
proposed, Done; after some corrections the training goes on by itself. After every training a round
ends: the model that proposes is compared with the references of cases that are in no training set.
All orders of a seed begin with the same cases and the same first model. ``--kills`` ends trainings
that many times with SIGKILL and lets them go on. What lies in WORK is not walked again;
``--piece-s`` ends after so many seconds, between two corrections, and the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "Host"), str(REPOSITORY / "MISFM")]

import numpy as np  # noqa: E402
from loop_data import LoopData  # noqa: E402
from misfm_host.host import Host, start  # noqa: E402

from MISFMLib.annotation.training_set import TrainingSet  # noqa: E402
from MISFMLib.models.versions import keep_model  # noqa: E402

_SETTINGS = (
    '{"spacing_dhw": [6, 6, 6], "patch_size": [32, 32, 32], "minutes": null,'
    ' "validate_every": 50, "checkpoint_every": 50, "warm_up_steps": 40, "threads": 1}'
)
"""Of a training of a minute or two of one core, for head-neck CTs."""
_LONG_S = 3600.0


class Walk:
    """One order and seed: the panel, the data, and what happened."""

    def __init__(self, host: Host, options: argparse.Namespace, order: str, seed: int) -> None:
        self.host, self.options, self.order, self.seed = host, options, order, seed
        self.folder = walk_folder(options.work, order, seed)
        self.data = LoopData(options.data, options.labels, seed)
        self.began = time.monotonic()
        self.kills_left = options.kills
        self.state: dict[str, Any] = {"order": order, "seed": seed, "rounds": [], "is_done": False}
        if self._file.exists():
            self.state = json.loads(self._file.read_text("utf-8"))

    @property
    def _file(self) -> Path:
        return self.folder / "walk.json"

    def save(self) -> None:
        """Keep what happened so far."""
        self._file.write_text(json.dumps(self.state, indent=1), "utf-8")

    def open_panel(self) -> None:
        """Open the module on the set, and set what a user would."""
        from MISFMSlicer.Jobs import TrainingProcess

        TrainingProcess._lowerPriority = lambda _pid: None  # others share this machine
        self.host.load_module(REPOSITORY / "MISFM" / "MISFM.py")
        self.widget = self.host.select_module("MISFM")
        self.tab = self.widget.finetuneTab
        self.ui = self.tab._ui
        self.tab._installMissing = lambda: True
        of_form = self.tab.form.config
        settings = {**json.loads(self.options.settings), "seed": self.seed}
        self.tab.form.config = lambda *given: {
            **of_form(*given),
            **settings,
            "steps": self.options.steps[min(1, len(self.state["rounds"]))],
        }
        is_there = self.folder.joinpath("set-is-whole").exists()
        names = self.data.drawn(self.options.start + self.options.loop)
        made = (
            TrainingSet(self.folder / "set")
            if is_there
            else self.data.make_set(self.folder / "set", names, self.options.start)
        )
        self.folder.joinpath("set-is-whole").touch()
        self.tab.setView._use(made)
        self.ui.afterBox.value = self.options.after
        self.ui.orderSelector.setCurrentIndex(self.ui.orderSelector.findData(self.order))
        self.tab.loop._plan()

    def train_first(self) -> None:
        """Press Fine-tune and Keep; the first model of a seed is trained once for all orders."""
        began, spent = time.monotonic(), cpu_seconds()
        kept = self.options.work / f"first-{self.seed}"
        made = self.tab.setView.current
        if kept.exists():
            name = made.name.replace(" ", "-")
            keep_model(kept, name)
            self.tab._models.trained(str(made.folder), self.options.start)
            self.tab._onKept(name)
        else:
            if self.tab.train.training is None:  # else a piece ended before the training
                self.ui.trainButton.click()
            self.wait_for_training()
            self.wait(lambda: not self.ui.outcomeFrame.isHidden())
            shutil.copytree(self.tab.train.training.output, kept)
            self.ui.keepButton.click()
        self.end_round(time.monotonic() - began, cpu_seconds() - spent)

    def wait_for_training(self) -> None:
        """Wait for the end of a training; kill it on the way if that is asked for."""
        while self.tab.isTraining or self.tab.train.canGoOn:
            self.host.process_events(0.2)
            training = self.tab.train.training
            if training is not None and self.tab.train.canGoOn:
                self.ui.trainButton.click()
                self.wait(lambda: self.tab.isTraining)
            steps = len(training.metrics) if training is not None else 0
            if self.kills_left and steps >= 2 and self.tab.isTraining:
                self.kills_left -= 1
                print(f"killed at step {max(training.metrics)}, going on", flush=True)
                training.kill()

    def correct_next(self) -> None:
        """Put the reference in place of the proposal and press Done."""
        import slicer

        if self.tab.loop.case is None:
            self.ui.nextCaseButton.click()
            self.wait(lambda: self.tab.loop.case is not None)
        case, reference = self.tab.loop.case, self.data.reference(self.tab.loop.case.name)
        for key, value in case.values(self.tab.setView.current.labels).items():
            array = (reference == value).astype(np.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(
                array, case.segmentation, key, case.volume
            )
        self.wait(self.is_ahead)  # a person takes minutes for a correction
        began = time.monotonic()
        self.ui.doneButton.click()
        waited = time.monotonic() - began
        row = self.tab.setView.current.case(case.name)
        fields = ("name", "dice", "changed_voxels", "certainty", "split")
        told = {name: getattr(row, name) for name in fields} | {"done_to_next_s": round(waited, 2)}
        self.state["rounds"][-1]["corrections"].append(told)
        self.save()
        print(json.dumps(told), flush=True)

    def is_ahead(self) -> bool:
        """Whether all proposals are there that the panel wants to have by now."""
        proposals = self.tab._proposals
        rows = {row.name: row for row in self.tab.setView.current.cases()}
        return all(
            rows[name].is_labelled or proposals.isCurrent(rows[name]) for name in proposals._wanted
        )

    def end_round(self, seconds: float, cpu: float) -> None:
        """Judge the model that proposes now."""
        made = self.tab.setView.current
        model = self.tab._models.of(made, "")
        scores = self.data.judge(model, self.options.held_out)
        this = {
            "labelled": sum(row.is_labelled for row in made.cases()),
            "dice": float(np.nanmean([np.nanmean(each) for each in scores.values()])),
            "training_s": round(seconds, 1),
            "training_cpu_s": round(cpu, 1),
            "note": self.ui.trainLabel.text,
            "scores": scores,
            "corrections": [],
        }
        self.state["rounds"].append(this)
        self.save()
        print({name: this[name] for name in ("labelled", "dice", "training_s", "note")}, flush=True)

    def run(self) -> None:
        """Walk to the end, or to the end of the piece."""
        self.open_panel()
        print(f"panel open in process {os.getpid()}", flush=True)
        if not self.state["rounds"]:
            self.train_first()
        elif self.tab._models.labelledAt(self.tab.setView.current) > self.labelled_then():
            self.end_round(math.nan, math.nan)  # the piece ended before the training
        while self.tab.isTraining or self.tab.train.canGoOn or self.has_more():
            if not (self.tab.isTraining or self.tab.train.canGoOn):
                if 0 < self.options.piece_s < time.monotonic() - self.began:
                    return
                self.correct_next()
            if self.tab.isTraining or self.tab.train.canGoOn:
                began, spent = time.monotonic(), cpu_seconds()
                self.wait_for_training()
                self.wait(lambda: self.tab.train.training is None)
                self.end_round(time.monotonic() - began, cpu_seconds() - spent)
        self.state["is_done"] = True
        self.save()

    def labelled_then(self) -> int:
        """Return how many cases had labels when the last round ended."""
        return int(self.state["rounds"][-1]["labelled"])

    def has_more(self) -> bool:
        """Whether a case waits for its labels."""
        return any(row.status in ("unlabelled", "proposed") for row in self.tab.setView.rows)

    def wait(self, condition: Any) -> None:
        """Let the application work until a condition holds."""
        self.host.wait_until(condition, _LONG_S)


def cpu_seconds() -> float:
    """Return the CPU time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def walk_folder(work: Path, order: str, seed: int) -> Path:
    """Return where a walk keeps what it has made."""
    return work / f"{order.replace(' ', '-')}-{seed}"


def main() -> None:
    """Walk what is not walked yet: one walk a process, since it is one application."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--orders", nargs="+", default=["least sure", "in order", "random"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--labels", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--start", type=int, default=4)
    parser.add_argument("--loop", type=int, default=20)
    parser.add_argument("--after", type=int, default=5)
    parser.add_argument("--held-out", type=int, default=20)
    parser.add_argument("--steps", type=int, nargs=2, default=[300, 100], help="first, later")
    parser.add_argument("--settings", default=_SETTINGS)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--piece-s", type=float, default=0)
    options = parser.parse_args()
    options.work = options.work.resolve()
    waiting = [
        (order, seed)
        for seed in options.seeds
        for order in options.orders
        if not _is_done(walk_folder(options.work, order, seed))
    ]
    if not waiting:
        print("All walks are done.")
        return
    order, seed = waiting[0]
    folder = walk_folder(options.work, order, seed)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["MISFM_HOME"] = str(folder / "home")
    walk = Walk(start(folder / "host"), options, order, seed)
    try:
        walk.run()
    finally:
        walk.tab.close()
    if not options.piece_s and len(waiting) > 1:
        os.execv(sys.executable, [sys.executable, *sys.argv])


def _is_done(folder: Path) -> bool:
    file = folder / "walk.json"
    return file.exists() and json.loads(file.read_text("utf-8"))["is_done"]


if __name__ == "__main__":
    main()
